//! Items that run one after another in a child process, so that a fault or a hang costs one of them.
//!
//! ```text
//!   parent: deadlines, results              child: this executable, `child SET FROM`
//!   ┌───────────┐ ◀── a line as an item begins, a line as it ends ── ┌───────┐
//!   │ supervise │                                                    │ serve │──▶ the GPU
//!   └───────────┘ kills what is silent, starts again behind it       └───────┘
//! ```

use crate::program::{REAPING, kill, wait};
use crate::{correctness, interface, split_k};
use clap::Args;
use energy_kernel::Error;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A process has so long to open the GPU, and to find its first item.
const OPENING: Duration = Duration::from_secs(30);

/// An item that has taken so long when the time ends is named: it may be one that hangs.
const SUSPICIOUS: Duration = Duration::from_secs(3);

/// The most processes in a row that may end without having begun an item.
const MOST_LOST: usize = 3;

/// Characters of a reason, at most.
const LONGEST: usize = 300;

/// The work of a child process.
pub trait Set {
    /// The item of that number; none behind the last one.
    fn item(&self, number: usize) -> Option<Item<'_>>;
}

/// One of many things to be tried.
pub struct Item<'a> {
    /// A description that suffices to repeat it.
    pub name: String,
    /// Does it.
    pub run: Box<dyn FnOnce() -> std::result::Result<Value, Trouble> + 'a>,
}

/// Why an item failed.
#[derive(Debug)]
pub struct Trouble {
    pub why: String,
    /// `true` if the process is of no use any more.
    pub fatal: bool,
}

impl Trouble {
    /// A result that is not what it should be.
    pub fn wrong(why: impl ToString) -> Trouble {
        Trouble {
            why: why.to_string(),
            fatal: false,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble {
            fatal: matches!(error, Error::Driver { .. }),
            why: error.to_string(),
        }
    }
}

/// A process that runs items.
#[derive(Debug, Args)]
pub struct Child {
    /// The name of the items: `interface`, `split_k`, `correctness:FAMILY`.
    set: String,
    /// The first item.
    from: usize,
    /// The item to stop at.
    to: usize,
    #[arg(long)]
    tiny: bool,
}

impl Child {
    /// Runs the items, and says what becomes of them.
    pub fn serve(&self) -> ExitCode {
        let opened: energy_kernel::Result<Box<dyn Set>> = match self.set.split_once(':') {
            Some(("correctness", family)) => {
                correctness::Kernels::open(family, self.tiny).map(|set| Box::new(set) as _)
            }
            _ if self.set == "split_k" => split_k::SplitK::open(self.tiny).map(|set| Box::new(set) as _),
            _ if self.set == "interface" => interface::Scenarios::open().map(|set| Box::new(set) as _),
            _ => {
                eprintln!("there is no set `{}`", self.set);
                return ExitCode::from(2);
            }
        };
        let set = match opened {
            Ok(set) => set,
            Err(error) => {
                say(&json!({ "lost": error.to_string() }));
                return ExitCode::from(1);
            }
        };
        // The last panic, with its place.
        static PANIC: Mutex<String> = Mutex::new(String::new());
        std::panic::set_hook(Box::new(|panic| {
            if let Ok(mut last) = PANIC.lock() {
                *last = panic.to_string();
            }
        }));
        for number in self.from..self.to {
            let Some(item) = set.item(number) else { break };
            say(&json!({ "begin": number, "name": item.name }));
            let ended = std::panic::catch_unwind(AssertUnwindSafe(item.run)).unwrap_or_else(|_| {
                Err(Trouble {
                    why: PANIC.lock().map_or_else(|_| "panicked".to_owned(), |last| last.clone()),
                    fatal: true,
                })
            });
            match ended {
                Ok(value) => say(&json!({ "end": number, "value": value })),
                Err(trouble) => {
                    say(&json!({ "end": number, "why": trouble.why, "fatal": trouble.fatal }));
                    if trouble.fatal {
                        // Without destructors, which would wait for a device that is broken.
                        std::process::exit(0);
                    }
                }
            }
        }
        say(&json!({ "done": true }));
        ExitCode::SUCCESS
    }
}

/// The beginning of a text that may be long: that of a panic that shows two tensors, say.
fn in_a_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// A line to the parent.
fn say(value: &Value) {
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "{value}").and_then(|()| out.flush());
    if said.is_err() {
        // Nobody listens any more.
        std::process::exit(1);
    }
}

/// An item that has come to an end, one way or another.
pub struct Ended {
    /// Its number in the set.
    pub number: usize,
    pub name: String,
    /// The result, or the reason of the failure, in one line.
    pub result: std::result::Result<Value, String>,
}

/// The limits of a set's run.
pub struct Plan<'a> {
    pub set: &'a str,
    pub items: Range<usize>,
    pub tiny: bool,
    /// An item may take so long.
    pub patience: Duration,
    /// No item is begun or gone on with afterwards.
    pub end: Instant,
}

/// Runs items in child processes, one after another, and passes on what becomes of each. A process that dies, or is silent for too long, is
/// replaced behind the item that it was at.
///
/// # Errors
/// No process can run any item, and why.
pub fn supervise(plan: &Plan<'_>, mut ended: impl FnMut(Ended)) -> std::result::Result<(), String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut next = plan.items.start;
    let mut lost = 0;
    while next < plan.items.end && Instant::now() < plan.end {
        let mut command = Command::new(&executable);
        command.args(["child", plan.set, &next.to_string(), &plan.items.end.to_string()]);
        if plan.tiny {
            command.arg("--tiny");
        }
        let begun = next;
        match follow(command, plan, &mut next, &mut ended)? {
            Stopped::Done => return Ok(()),
            Stopped::Lost(why) if next == begun => {
                lost += 1;
                if lost == MOST_LOST {
                    return Err(why);
                }
            }
            Stopped::Lost(_) => lost = 0,
        }
    }
    Ok(())
}

/// Why a child is followed no longer.
enum Stopped {
    /// It has come to the end of its items, or time has.
    Done,
    /// It has ended, or was killed.
    Lost(String),
}

/// Follows one child. `next` is the item behind those that have ended.
fn follow(
    mut command: Command,
    plan: &Plan<'_>,
    next: &mut usize,
    ended: &mut impl FnMut(Ended),
) -> std::result::Result<Stopped, String> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| error.to_string())?;
    let lines = lines(child.stdout.take());
    // The item that is under way, or none; and since when.
    let (mut at, mut since) = (None::<String>, Instant::now());
    let stopped = loop {
        let patience = if at.is_some() { plan.patience } else { OPENING };
        let limit = (since + patience).min(plan.end);
        let why = match lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(line) if line["done"] == true => {
                // Its GPU memory is freed in order.
                let _ = wait(&mut child, Instant::now() + REAPING);
                break Stopped::Done;
            }
            Ok(line) if line["lost"].is_string() => {
                break Stopped::Lost(line["lost"].as_str().unwrap_or_default().to_owned());
            }
            Ok(line) => {
                since = Instant::now();
                if let Some(name) = line["name"].as_str() {
                    at = Some(name.to_owned());
                } else if let Some(name) = at.take() {
                    let number = *next;
                    *next += 1;
                    let result = match line["why"].as_str() {
                        Some(why) => Err(in_a_line(why)),
                        None => Ok(line["value"].clone()),
                    };
                    ended(Ended { number, name, result });
                    if line["fatal"] == true {
                        break Stopped::Lost("it is of no use any more".to_owned());
                    }
                }
                continue;
            }
            // An item that has just begun ran out of the step's time; an older one exceeded its own.
            Err(RecvTimeoutError::Timeout) if since.elapsed() < plan.patience.min(SUSPICIOUS) => break Stopped::Done,
            Err(RecvTimeoutError::Timeout) => format!("did not end in {:.0} s", since.elapsed().as_secs_f64()),
            Err(RecvTimeoutError::Disconnected) => match wait(&mut child, Instant::now() + REAPING) {
                Ok(Some(status)) => format!("its process ended: {status}"),
                Ok(None) => "its process does not end".to_owned(),
                Err(error) => format!("its process ended: {error}"),
            },
        };
        if let Some(name) = at {
            let number = *next;
            *next += 1;
            ended(Ended {
                number,
                name,
                result: Err(why.clone()),
            });
        }
        break Stopped::Lost(why);
    };
    kill(&mut child);
    Ok(stopped)
}

/// A line of a child's output. Other lines are skipped.
fn lines(output: Option<std::process::ChildStdout>) -> Receiver<Value> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
            let Ok(line) = line else { break };
            if let Ok(value) = serde_json::from_str(&line)
                && send.send(value).is_err()
            {
                break;
            }
        }
    });
    receive
}
