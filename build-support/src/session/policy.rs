//! The policy of a build: may it tune, and on which device?

use crate::environment::Environment;
use std::path::Path;
use std::str::FromStr;

/// The treatment of operators without results: the variable `ENERGY_KERNEL`, or [`Build::policy`](crate::Build::policy).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Uses cached results and tunes what is missing, except in packaged crates, under CI, and when cross-compiling.
    #[default]
    Auto,
    /// Uses cached results and never tunes.
    Cached,
    /// Tunes what is missing if there is a device.
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
                "ENERGY_KERNEL={other} is invalid: write auto, cached, tune or off"
            )),
        }
    }
}

/// The actions that a build may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Embed nothing.
    Nothing,
    /// Use cached results only, for a reason.
    CacheOnly(Why),
    /// Tune.
    Tune {
        /// On a GPU.
        gpu: bool,
        /// On the emulated device, if there is no GPU.
        emulated: bool,
        /// `true` if operators that are being edited are not tuned yet.
        debounce: bool,
        /// `true` to wait while another build tunes the same package.
        wait: bool,
    },
}

/// The reason that a build does not tune.
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
    /// The reason as the end of a sentence. `None` if no warning is needed.
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

/// The policy of the variable, else the one set in code. An invalid variable is reported and means `auto`.
pub(crate) fn policy_of(environment: &Environment, in_code: Policy, warnings: &mut Vec<String>) -> Policy {
    match environment.get("ENERGY_KERNEL").map(Policy::from_str) {
        Some(Ok(policy)) => policy,
        None => in_code,
        Some(Err(problem)) => {
            warnings.push(format!("{problem}; auto is used"));
            Policy::Auto
        }
    }
}

/// Decides what a build may do.
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
    if is_published(manifest_dir, environment.cargo_home.as_deref()) {
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

/// `true` if the package is packaged, vendored, or fetched by cargo from a registry or a repository. Its author ships results, and its
/// users never tune it.
fn is_published(manifest_dir: &Path, cargo_home: Option<&Path>) -> bool {
    let packaged = ["Cargo.toml.orig", ".cargo-checksum.json"];
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    packaged.iter().any(|name| manifest_dir.join(name).exists())
        || cargo_home.is_some_and(|home| canonical(manifest_dir).starts_with(canonical(home)))
        // Cargo puts this file into what it fetches, wherever its home is. In a repository the package may be in a subfolder.
        || manifest_dir.ancestors().any(|folder| folder.join(".cargo-ok").exists())
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
            cargo_home: None,
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
    }

    /// Packages from a registry, a repository or a vendor folder, and packaged ones.
    #[test]
    fn auto_never_tunes_what_is_published() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("cargo-home");
        let of = |folder: &str, marker: Option<&str>| {
            let folder = root.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            if let Some(marker) = marker {
                std::fs::write(folder.join(marker), "").unwrap();
            }
            let mut environment = environment(&[("CARGO_MANIFEST_DIR", folder.to_str().unwrap())]);
            environment.cargo_home = Some(home.clone());
            permission(&environment, Policy::Auto, true, true)
        };
        for (folder, marker) in [
            ("packaged", Some("Cargo.toml.orig")),
            ("vendor/demo", Some(".cargo-checksum.json")),
            (
                "cargo-home/registry/src/index.crates.io-1949cf8c6b5b557f/demo-0.1.0",
                None,
            ),
            (
                "cargo-home/git/checkouts/demo-0123456789abcdef/0123abc/crates/demo",
                None,
            ),
        ] {
            assert_eq!(of(folder, marker), Permission::CacheOnly(Why::Packaged), "{folder}");
        }
        // Fetched into a former cargo home.
        std::fs::create_dir_all(root.path().join("elsewhere/git/checkouts/demo/0123abc/crates")).unwrap();
        std::fs::write(root.path().join("elsewhere/git/checkouts/demo/0123abc/.cargo-ok"), "").unwrap();
        let nested = of("elsewhere/git/checkouts/demo/0123abc/crates/demo", None);
        assert_eq!(nested, Permission::CacheOnly(Why::Packaged));
        // A path dependency may be tuned, as may a folder whose name begins like cargo's home.
        for own in ["own", "cargo-home-of-mine/demo"] {
            assert!(matches!(of(own, None), Permission::Tune { .. }), "{own}");
        }
        // Reached through a link, too.
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(home.join("registry"), root.path().join("linked")).unwrap();
            let linked = of("linked/src/index.crates.io-1949cf8c6b5b557f/demo-0.1.0", None);
            assert_eq!(linked, Permission::CacheOnly(Why::Packaged));
        }
        // `tune` overrides it.
        let mut asked = environment(&[("CARGO_MANIFEST_DIR", root.path().join("packaged").to_str().unwrap())]);
        asked.cargo_home = Some(home);
        assert!(matches!(
            permission(&asked, Policy::Tune, false, true),
            Permission::Tune { .. }
        ));
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
