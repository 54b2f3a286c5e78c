//! Where the build script's benches come from.

use crate::Build;
use crate::session::{Bench, Workshop};
use std::io::Write;

/// The benches that are compiled in.
pub(crate) struct Own {
    #[cfg_attr(not(feature = "tune"), expect(dead_code, reason = "only tuning has settings"))]
    build: Build,
}

impl Own {
    pub(crate) fn new(build: &Build) -> Own {
        Own { build: build.clone() }
    }
}

impl Workshop for Own {
    fn can_tune(&self) -> bool {
        cfg!(feature = "tune")
    }

    #[cfg(feature = "tune")]
    fn open(&mut self, gpu: bool, emulated: bool) -> Result<Box<dyn Bench>, String> {
        let opened = crate::tune::open(gpu, emulated, self.build.settings(), |_| ());
        opened.map(|laboratory| laboratory as Box<dyn Bench>)
    }

    #[cfg(not(feature = "tune"))]
    fn open(&mut self, _: bool, _: bool) -> Result<Box<dyn Bench>, String> {
        Err("energy-kernel-build is used without its feature `tune`".to_owned())
    }

    /// To the terminal, if there is one: cargo hides what a build script prints.
    fn announce(&mut self, message: &str) {
        let terminal = if cfg!(windows) { "CONOUT$" } else { "/dev/tty" };
        if let Ok(mut terminal) = std::fs::File::options().write(true).open(terminal) {
            let _ = writeln!(terminal, "\r{message}");
        }
    }
}
