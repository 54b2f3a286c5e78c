//! Other programs, for a time.

use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that was killed is waited for so long. One that is stuck in its driver cannot be killed, and is left behind.
pub const REAPING: Duration = Duration::from_secs(2);

/// The exit and the output of a program.
pub struct Ran {
    /// None: it did not end in time, and was killed.
    pub status: Option<ExitStatus>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Its exit, in words.
    pub fn ending(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => "it did not end in time".to_owned(),
        }
    }

    /// The last line that it wrote: of errors, else of results.
    pub fn last_line(&self) -> &str {
        let lines = self.out.lines().chain(self.err.lines()).map(str::trim);
        lines.rev().find(|line| !line.is_empty()).unwrap_or("it wrote nothing")
    }
}

/// Runs a program to its end, or to that of its time.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command, limit: Duration) -> std::io::Result<Ran> {
    // Files, not pipes: whoever inherits a pipe can keep its reader waiting.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let end = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .spawn()?;
    let status = wait(&mut child, end)?;
    if status.is_none() {
        kill(&mut child);
    }
    let text = |file: &mut std::fs::File| {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Ran {
        status,
        out: text(&mut out)?,
        err: text(&mut err)?,
    })
}

/// Waits for a process, until then at most.
pub fn wait(child: &mut Child, end: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            ended => return Ok(ended),
        }
    }
}

/// Kills a process.
pub fn kill(child: &mut Child) {
    // It may have ended just now.
    let _ = child.kill();
    let _ = wait(child, Instant::now() + REAPING);
}
