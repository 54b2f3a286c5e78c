//! Whether a build tunes.

use crate::environment::Environment;
use std::path::Path;
use std::str::FromStr;

/// What a build does about operators without results: the variable `ENERGY_KERNEL`, or [`Build::policy`](crate::Build::policy).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Uses what is cached and tunes what is missing, where that is welcome.
    #[default]
    Auto,
    /// Uses what is cached.
    Cached,
    /// Tunes what is missing, wherever a device can be had.
    Tune,
    /// Embeds nothing: every operator runs untuned.
    Off,
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        match text {
            "auto" => Ok(Policy::Auto),
            "cached" => Ok(Policy::Cached),
            "tune" => Ok(Policy::Tune),
            "off" => Ok(Policy::Off),
            other => Err(format!(
                "ENERGY_KERNEL={other} is not understood: auto, cached, tune or off is expected"
            )),
        }
    }
}

/// What a build may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Embed nothing.
    Nothing,
    /// Use what is cached, for a reason.
    CacheOnly(Why),
    /// Tune.
    Tune {
        /// On a GPU.
        gpu: bool,
        /// On the emulated device, where there is no GPU.
        emulated: bool,
        /// Whether operators that are being edited are left alone for a while.
        debounce: bool,
        /// Whether to wait while another build tunes the same.
        wait: bool,
    },
}

/// Why a build does not tune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Asked,
    Nested,
    Packaged,
    CrossCompiling,
    Documentation,
    ContinuousIntegration,
    NotCompiledIn,
}

impl Why {
    /// The reason as a sentence's end; none where nobody needs to be told.
    pub(crate) const fn explanation(self) -> Option<&'static str> {
        match self {
            Why::Asked => Some("ENERGY_KERNEL=cached forbids tuning"),
            Why::CrossCompiling => Some("the target is not this machine"),
            Why::ContinuousIntegration => Some("CI is set"),
            Why::NotCompiledIn => Some("energy-kernel-build is used without its feature `tune`"),
            Why::Nested | Why::Packaged | Why::Documentation => None,
        }
    }
}

/// The policy in force: the variable's, else the one set in code. A variable that is not understood is reported, and means
/// `auto`.
pub(crate) fn policy_of(environment: &Environment, in_code: Policy, warnings: &mut Vec<String>) -> Policy {
    match environment.get("ENERGY_KERNEL").map(Policy::from_str) {
        Some(Ok(policy)) => policy,
        None => in_code,
        Some(Err(problem)) => {
            warnings.push(format!("{problem}; it is taken for auto"));
            Policy::Auto
        }
    }
}

/// What a build may do.
pub(crate) fn permission(environment: &Environment, policy: Policy, or_emulated: bool, can_tune: bool) -> Permission {
    let release = environment.get("PROFILE") == Some("release");
    let cache_only = Permission::CacheOnly;
    match policy {
        Policy::Off => return Permission::Nothing,
        Policy::Cached => return cache_only(Why::Asked),
        Policy::Auto | Policy::Tune => {}
    }
    if environment.is_on("ENERGY_KERNEL_NESTED") {
        return cache_only(Why::Nested);
    }
    if policy == Policy::Tune {
        return match can_tune {
            false => cache_only(Why::NotCompiledIn),
            true => Permission::Tune {
                gpu: true,
                emulated: or_emulated,
                debounce: false,
                wait: true,
            },
        };
    }
    let manifest_dir = Path::new(environment.get("CARGO_MANIFEST_DIR").unwrap_or("."));
    if manifest_dir.join("Cargo.toml.orig").exists() {
        return cache_only(Why::Packaged);
    }
    if environment.is_on("DOCS_RS") {
        return cache_only(Why::Documentation);
    }
    if environment.get("TARGET") != environment.get("HOST") {
        return cache_only(Why::CrossCompiling);
    }
    if !can_tune {
        return cache_only(Why::NotCompiledIn);
    }
    let ci = environment.is_on("CI");
    if ci && !or_emulated {
        return cache_only(Why::ContinuousIntegration);
    }
    Permission::Tune {
        gpu: !ci,
        emulated: or_emulated,
        debounce: !release,
        wait: release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let basic = [
            ("TARGET", "x86"),
            ("HOST", "x86"),
            ("PROFILE", "debug"),
            ("CARGO_MANIFEST_DIR", "/nonexistent"),
        ];
        let all = basic.iter().chain(variables);
        Environment {
            variables: all.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            user_cache: None,
            gpus: String::new(),
            now: SystemTime::UNIX_EPOCH,
            invoked: SystemTime::UNIX_EPOCH,
        }
    }

    fn auto(variables: &[(&str, &str)], or_emulated: bool) -> Permission {
        permission(&environment(variables), Policy::Auto, or_emulated, true)
    }

    #[test]
    fn auto_tunes_at_home_in_debug_and_release() {
        let debug = Permission::Tune {
            gpu: true,
            emulated: false,
            debounce: true,
            wait: false,
        };
        let release = Permission::Tune {
            gpu: true,
            emulated: false,
            debounce: false,
            wait: true,
        };
        assert_eq!(auto(&[], false), debug);
        assert_eq!(auto(&[("PROFILE", "release")], false), release);
    }

    #[test]
    fn auto_never_tunes_where_it_is_not_welcome() {
        assert_eq!(
            auto(&[("TARGET", "arm")], true),
            Permission::CacheOnly(Why::CrossCompiling)
        );
        assert_eq!(
            auto(&[("DOCS_RS", "1")], true),
            Permission::CacheOnly(Why::Documentation)
        );
        assert_eq!(
            auto(&[("ENERGY_KERNEL_NESTED", "1")], true),
            Permission::CacheOnly(Why::Nested)
        );
        assert_eq!(
            auto(&[("CI", "true")], false),
            Permission::CacheOnly(Why::ContinuousIntegration)
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Cargo.toml.orig"), "").unwrap();
        let packaged = [("CARGO_MANIFEST_DIR", folder.path().to_str().unwrap())];
        assert_eq!(auto(&packaged, true), Permission::CacheOnly(Why::Packaged));
    }

    #[test]
    fn under_ci_the_emulated_device_is_tuned_and_no_gpu() {
        let emulated = Permission::Tune {
            gpu: false,
            emulated: true,
            debounce: true,
            wait: false,
        };
        assert_eq!(auto(&[("CI", "true")], true), emulated);
        assert!(matches!(
            auto(&[("CI", "false")], false),
            Permission::Tune { gpu: true, .. }
        ));
        assert!(matches!(auto(&[("CI", "")], false), Permission::Tune { gpu: true, .. }));
    }

    #[test]
    fn the_variable_rules_and_nonsense_is_reported() {
        let mut warnings = Vec::new();
        let of = |value: &str, warnings: &mut Vec<String>| {
            policy_of(&environment(&[("ENERGY_KERNEL", value)]), Policy::Off, warnings)
        };
        assert_eq!(of("tune", &mut warnings), Policy::Tune);
        assert_eq!(of("", &mut warnings), Policy::Off);
        assert!(warnings.is_empty());
        assert_eq!(of("always", &mut warnings), Policy::Auto);
        assert!(warnings[0].contains("ENERGY_KERNEL=always") && warnings[0].contains("auto, cached, tune or off"));
        let everywhere = permission(
            &environment(&[("CI", "1"), ("TARGET", "arm")]),
            Policy::Tune,
            false,
            true,
        );
        assert!(matches!(
            everywhere,
            Permission::Tune {
                gpu: true,
                wait: true,
                debounce: false,
                ..
            }
        ));
        assert_eq!(
            permission(&environment(&[]), Policy::Auto, true, false),
            Permission::CacheOnly(Why::NotCompiledIn)
        );
    }
}
