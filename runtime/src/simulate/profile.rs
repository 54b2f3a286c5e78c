//! The GPUs that an emulated device can represent.

use energy_kernel_compiler::datasheet::Datasheet;

/// The GPU that an emulated device represents.
///
/// ```
/// use energy_kernel::simulate::Profile;
///
/// assert_eq!(Profile::from_name("ampere"), Some(Profile::Ampere));
/// assert_eq!(Profile::Hopper.name(), "hopper");
/// assert_eq!(Profile::Hopper.datasheet().multiprocessors, 132);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Like an H100 SXM.
    #[default]
    Hopper,
    /// Like an A100 SXM.
    Ampere,
    /// Like an RTX 4000 Ada.
    Ada,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 3] = [Profile::Hopper, Profile::Ampere, Profile::Ada];

    /// The name of the profile: `hopper`, `ampere` or `ada`.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Hopper => "hopper",
            Profile::Ampere => "ampere",
            Profile::Ada => "ada",
        }
    }

    /// Returns the profile with this name.
    pub fn from_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The published figures that latency and energy are simulated from.
    pub const fn datasheet(self) -> Datasheet {
        match self {
            Profile::Hopper => Datasheet::H100,
            Profile::Ampere => Datasheet::A100,
            Profile::Ada => Datasheet::RTX_4000_ADA,
        }
    }
}
