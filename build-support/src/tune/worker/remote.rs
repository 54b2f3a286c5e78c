//! The parent's side: a meter whose candidates run in a worker.

use super::VARIABLE;
use super::message::{Left, Opened, Reply, Request};
use crate::tune::meter::{Effort, Measured, Meter, MeterError, Place, Problem};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::encoding::{encode, read};
use energy_kernel_compiler::record::{CacheMode, DeviceClass, Reason};
use energy_kernel_compiler::target::Machine;
use std::cell::Cell;
use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How long the parent waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a worker to say that it serves. An executable that does not serve never says it.
    pub first_word: Duration,
    /// For any request, whatever its deadline. The longest ones open a GPU, make up gigabytes of inputs, or measure after a warm-up.
    pub request: Duration,
    /// Beyond a request's deadline. A worker that keeps deadlines answers within it.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            first_word: Duration::from_secs(5),
            request: Duration::from_secs(120),
            grace: Duration::from_secs(15),
        }
    }
}

/// A candidate is compiled and run once within this time, or it counts as hung.
const LOADING: Duration = Duration::from_secs(30);

/// A worker that was killed is waited for this long; one that hangs in its driver is left behind.
const REAPING: Duration = Duration::from_secs(2);

/// After so many losses in a row, with nothing measured between them, the device counts as broken.
const MOST_LOSSES: usize = 16;

/// A GPU behind a worker.
pub(crate) struct Remote {
    command: Box<dyn Fn() -> Command>,
    patience: Patience,
    candidates: usize,
    cache: CacheMode,
    opened: Opened,
    effort: Effort,
    /// The problem at hand.
    begun: Option<Request>,
    /// None after it was lost, until the next request.
    worker: Option<Worker>,
    /// The number of workers so far: candidates of earlier ones are gone.
    generation: u64,
    /// Workers lost since something was measured.
    losses: usize,
}

/// A candidate, loaded again where its worker was lost.
pub(crate) struct Candidate {
    kernel: Kernel,
    /// The worker that holds it, and its number there.
    held: Cell<(u64, u64)>,
}

/// Why there is no worker.
pub(crate) enum Start {
    /// The executable does not serve, or cannot be started; and why.
    NotServing(String),
    /// The worker can use no GPU; and why.
    NoGpu(String),
}

/// Why a request has no answer.
enum Loss {
    /// The worker did not answer in time, and was killed.
    Silent,
    /// The worker died: how.
    Died(String),
}

impl Remote {
    /// Starts this executable as a worker, which opens the first GPU.
    ///
    /// # Errors
    /// It does not serve, or there is no GPU that can be used.
    pub(crate) fn start(candidates: usize, cache: CacheMode) -> Result<Remote, Start> {
        let executable = std::env::current_exe().map_err(|error| Start::NotServing(error.to_string()))?;
        let command = Box::new(move || Command::new(&executable));
        Remote::start_with(command, Patience::default(), candidates, cache)
    }

    /// [`Remote::start`] with another command, and other patience.
    pub(super) fn start_with(
        command: Box<dyn Fn() -> Command>,
        patience: Patience,
        candidates: usize,
        cache: CacheMode,
    ) -> Result<Remote, Start> {
        let mut worker = Worker::spawn(&mut command(), patience).map_err(Start::NotServing)?;
        let opened = open(&mut worker, candidates, cache).map_err(Start::NoGpu)?;
        Ok(Remote {
            command,
            patience,
            candidates,
            cache,
            opened,
            effort: Effort::default(),
            begun: None,
            worker: Some(worker),
            generation: 1,
            losses: 0,
        })
    }

    /// Why energy cannot be measured; none where it can.
    pub(crate) fn without_energy(&self) -> Option<&str> {
        self.opened.without_energy.as_deref()
    }

    /// A worker that has taken on the problem at hand: the one there is, or the next.
    fn worker(&mut self) -> Result<&mut Worker, MeterError> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => {
                let broken = |why: String| MeterError::Broken(format!("the GPU cannot be opened again: {why}"));
                let mut worker = Worker::spawn(&mut (self.command)(), self.patience).map_err(broken)?;
                open(&mut worker, self.candidates, self.cache).map_err(broken)?;
                self.generation += 1;
                let effort = Request::Effort(self.effort);
                for request in [Some(&effort), self.begun.as_ref()].into_iter().flatten() {
                    match worker.ask(request, Instant::now() + self.patience.request) {
                        Ok(Reply::Done(done)) => done?,
                        Ok(reply) => return Err(misunderstood(&reply)),
                        Err(loss) => return Err(MeterError::Broken(loss.to_string())),
                    }
                }
                worker
            }
        };
        Ok(self.worker.insert(worker))
    }

    /// Asks the worker. A loss of the worker is the candidate's; too many in a row are the device's.
    fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Reply, MeterError> {
        let error = match self.worker()?.ask(request, deadline) {
            Ok(reply) => match reply.error() {
                None => {
                    self.losses = 0;
                    return Ok(reply);
                }
                // The worker's context serves no other candidate.
                Some(MeterError::Rejected {
                    reason: reason @ (Reason::Faulted | Reason::Hung | Reason::Late),
                    detail,
                }) => MeterError::rejected(*reason, detail),
                // It may be the candidate, or not: another worker finds out.
                Some(MeterError::Broken(why)) => MeterError::rejected(Reason::NotLaunched, why),
                Some(_) => return Ok(reply),
            },
            Err(loss @ Loss::Silent) => MeterError::rejected(Reason::Hung, loss),
            Err(loss @ Loss::Died(_)) => MeterError::rejected(Reason::Crashed, loss),
        };
        self.worker = None;
        self.losses += 1;
        match self.losses < MOST_LOSSES {
            true => Err(error),
            false => Err(MeterError::Broken(format!(
                "{MOST_LOSSES} candidates in a row ended their process; the last was {error}"
            ))),
        }
    }

    fn send(&mut self, kernel: &Kernel, places: &[Place], deadline: Instant) -> Result<(u64, Vec<u64>), MeterError> {
        let deadline = deadline.min(Instant::now() + LOADING);
        let request = Request::Load {
            kernel: kernel.clone(),
            places: places.to_vec(),
            time: Left::until(deadline),
        };
        match self.ask(&request, deadline)? {
            Reply::Loaded(loaded) => loaded,
            reply => Err(misunderstood(&reply)),
        }
    }

    /// The candidate's number at the worker, where it is loaded anew if need be.
    fn number(&mut self, candidate: &Candidate, deadline: Instant) -> Result<u64, MeterError> {
        self.worker()?;
        let (generation, number) = candidate.held.get();
        if generation == self.generation {
            return Ok(number);
        }
        let (number, _) = self.send(&candidate.kernel, &[], deadline)?;
        candidate.held.set((self.generation, number));
        Ok(number)
    }

    fn measure(&mut self, request: &Request, deadline: Instant) -> Result<Option<Measured>, MeterError> {
        match self.ask(request, deadline)? {
            Reply::Measured(measured) => measured,
            reply => Err(misunderstood(&reply)),
        }
    }
}

impl Reply {
    /// The error that it tells of.
    fn error(&self) -> Option<&MeterError> {
        match self {
            Reply::Ready | Reply::Opened(_) => None,
            Reply::Done(done) => done.as_ref().err(),
            Reply::Loaded(loaded) => loaded.as_ref().err(),
            Reply::Measured(measured) => measured.as_ref().err(),
        }
    }
}

impl Meter for Remote {
    type Candidate = Candidate;

    fn device(&self) -> &DeviceClass {
        &self.opened.device
    }

    fn uuid(&self) -> Option<String> {
        self.opened.uuid.clone()
    }

    fn machine(&self) -> Machine {
        self.opened.machine
    }

    fn most_candidates(&self) -> usize {
        self.candidates
    }

    fn energy_is_free(&self) -> bool {
        false
    }

    fn set_effort(&mut self, effort: Effort) {
        self.effort = effort;
        // A worker that is lost here learns of it when it is started anew.
        let _ = self.ask(&Request::Effort(effort), Instant::now());
    }

    fn begin(&mut self, problem: Problem<'_>, deadline: Instant) -> Result<(), MeterError> {
        let request = Request::Begin {
            op: problem.checked.op().clone(),
            specialisation: problem.specialisation.clone(),
            sizes: problem.sizes.to_vec(),
            seed: problem.seed,
            time: Left::until(deadline),
        };
        self.begun = None;
        // What an earlier problem left behind is no fault of this one: it has two tries.
        let mut begun = self.ask(&request, deadline);
        if let Err(MeterError::Rejected { .. }) = begun {
            begun = self.ask(&request, deadline);
        }
        match begun {
            Ok(Reply::Done(Ok(()))) => {
                self.begun = Some(request);
                Ok(())
            }
            Ok(Reply::Done(Err(error))) => Err(error),
            Ok(reply) => Err(misunderstood(&reply)),
            Err(error) => Err(MeterError::Broken(error.to_string())),
        }
    }

    fn load(
        &mut self,
        _: Problem<'_>,
        kernel: &Kernel,
        places: &[Place],
        deadline: Instant,
    ) -> Result<(Candidate, Vec<u64>), MeterError> {
        let (number, results) = self.send(kernel, places, deadline)?;
        let candidate = Candidate {
            kernel: kernel.clone(),
            held: Cell::new((self.generation, number)),
        };
        Ok((candidate, results))
    }

    fn latency(&mut self, _: Problem<'_>, candidate: &Candidate, deadline: Instant) -> Result<Measured, MeterError> {
        let request = Request::Latency {
            candidate: self.number(candidate, deadline)?,
            time: Left::until(deadline),
        };
        let measured = self.measure(&request, deadline)?;
        measured.ok_or_else(|| MeterError::Broken("a latency has no figure".to_owned()))
    }

    fn energy(
        &mut self,
        _: Problem<'_>,
        candidate: &Candidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, MeterError> {
        let request = Request::Energy {
            candidate: self.number(candidate, deadline)?,
            latency,
            time: Left::until(deadline),
        };
        self.measure(&request, deadline)
    }
}

/// Has a worker open the first GPU.
fn open(worker: &mut Worker, candidates: usize, cache: CacheMode) -> Result<Opened, String> {
    let request = Request::Open {
        candidates: candidates as u64,
        cache,
    };
    match worker.ask(&request, Instant::now() + worker.patience.request) {
        Ok(Reply::Opened(opened)) => opened,
        Ok(reply) => Err(misunderstood(&reply).to_string()),
        Err(loss) => Err(loss.to_string()),
    }
}

fn misunderstood(reply: &Reply) -> MeterError {
    MeterError::Broken(format!("the worker answered another question: {reply:?}"))
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Silent => write!(f, "the process that ran it did not answer in time, and was killed"),
            Loss::Died(how) => write!(f, "the process that ran it died ({how})"),
        }
    }
}

/// A process that serves.
struct Worker {
    child: Child,
    input: ChildStdin,
    replies: Receiver<Reply>,
    patience: Patience,
}

impl Worker {
    /// Starts a process, and waits until it says that it serves.
    fn spawn(command: &mut Command, patience: Patience) -> Result<Worker, String> {
        command.env(VARIABLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for the parent, whose end is the worker's.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(command, 0x0000_0200);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("its pipes are closed".to_owned());
        };
        let (sender, replies) = sync_channel(1);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Ok(Some(reply)) = read::<Reply>(&mut output) {
                if sender.send(reply).is_err() {
                    return;
                }
            }
        });
        let worker = Worker {
            child,
            input,
            replies,
            patience,
        };
        match worker.replies.recv_timeout(patience.first_word) {
            Ok(Reply::Ready) => Ok(worker),
            _ => Err("the executable does not call `Build::run` or `serve_if_asked` first".to_owned()),
        }
    }

    /// Sends a request, and waits for its reply until some time after the deadline.
    fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Reply, Loss> {
        let bytes = encode(request).map_err(|error| Loss::Died(error.to_string()))?;
        // It reads whatever it does: requests never wait in the pipe for long.
        if self.input.write_all(&bytes).and_then(|()| self.input.flush()).is_err() {
            return Err(self.death());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let time = left.min(self.patience.request) + self.patience.grace;
        match self.replies.recv_timeout(time) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) => Err(Loss::Silent),
            Err(RecvTimeoutError::Disconnected) => Err(self.death()),
        }
    }

    fn death(&mut self) -> Loss {
        Loss::Died(match self.end() {
            Some(status) => status.to_string(),
            None => "it cannot be ended".to_owned(),
        })
    }

    /// Ends the process, waits for a while, and returns how it ended.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        let end = Instant::now() + REAPING;
        // One that died by itself says how.
        let mut status = self.child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < end {
            let _ = self.child.kill();
            std::thread::sleep(Duration::from_millis(2));
            status = self.child.try_wait().ok().flatten();
        }
        status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
