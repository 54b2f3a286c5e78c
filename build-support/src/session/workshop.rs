//! The benches of the build script, and its messages to the terminal.

use crate::bench::Bench;
use crate::build::Build;
use std::io::Write;

/// Opens benches and announces waits.
pub(crate) trait Workshop {
    /// `true` if benches are compiled in.
    fn can_tune(&self) -> bool;

    /// Opens a GPU if `gpu` allows it and one is usable, else the emulated device if `emulated` allows it.
    fn open(&mut self, gpu: bool, emulated: bool) -> Result<Box<dyn Bench>, String>;

    /// Tells the user that something takes a while.
    fn announce(&mut self, message: &str);
}

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

    /// Writes to the terminal, if there is one: cargo hides the output of build scripts.
    fn announce(&mut self, message: &str) {
        let terminal = if cfg!(windows) { "CONOUT$" } else { "/dev/tty" };
        if let Ok(mut terminal) = std::fs::File::options().write(true).open(terminal) {
            let _ = writeln!(terminal, "\r{message}");
        }
    }
}
