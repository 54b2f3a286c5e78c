//! The parent's side: a backend whose candidates run in a worker.

use super::message::{Left, Opened, Reply, Request, VARIABLE};
use crate::tune::backend::{Backend, BackendError, Effort, Instance, Measured, OutputIndex};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::encoding::{encode, read};
use energy_kernel_compiler::record::{CacheMode, DeviceClass, Reason};
use energy_kernel_compiler::target::Machine;
use std::cell::Cell;
use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// The parent's timeouts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a worker's first word. An executable that does not serve never sends it.
    pub first_word: Duration,
    /// For any request. The longest ones open a GPU, draw gigabytes of inputs, or measure after a warm-up.
    pub request: Duration,
    /// Beyond a request's deadline. A working worker answers by then.
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

/// The time to compile a candidate and run it once. After that it counts as hung.
const LOADING: Duration = Duration::from_secs(30);

/// The longest wait for a killed worker. One that hangs in its driver is left behind.
const REAPING: Duration = Duration::from_secs(2);

/// The number of workers lost in a row, with no measurement in between, after which the device counts as broken.
const MOST_LOSSES: usize = 16;

/// A GPU behind a worker.
pub(crate) struct Remote {
    command: Box<dyn Fn() -> Command>,
    patience: Patience,
    candidates: usize,
    cache: CacheMode,
    opened: Opened,
    effort: Effort,
    /// The request that began the current instance.
    begun: Option<Request>,
    /// `None` after a loss, until the next request.
    worker: Option<Worker>,
    /// The number of workers so far. Candidates of earlier ones are lost.
    generation: u64,
    /// The workers lost since the last measurement.
    losses: usize,
}

/// A candidate. It is loaded again if its worker was lost.
pub(crate) struct RemoteCandidate {
    kernel: Kernel,
    /// The generation of the worker that holds it, and its number there.
    held: Cell<(u64, u64)>,
}

/// The reason that there is no worker.
pub(crate) enum Start {
    /// The executable does not serve, or cannot be started.
    NotServing(String),
    /// The worker cannot use a GPU.
    NoGpu(String),
}

/// The reason that a request has no answer.
enum Loss {
    /// The worker did not answer in time, and was killed.
    Silent,
    /// The worker died; the text says how.
    Died(String),
}

impl Remote {
    /// Starts this executable as a worker, which opens the first GPU.
    ///
    /// # Errors
    /// This executable does not serve, or no GPU can be used.
    pub(crate) fn start(candidates: usize, cache: CacheMode) -> Result<Remote, Start> {
        let executable = std::env::current_exe().map_err(|error| Start::NotServing(error.to_string()))?;
        let command = Box::new(move || Command::new(&executable));
        Remote::start_with(command, Patience::default(), candidates, cache)
    }

    /// [`Remote::start`] with another command and other timeouts.
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

    /// The reason that energy cannot be measured. `None` if it can.
    pub(crate) fn without_energy(&self) -> Option<&str> {
        self.opened.without_energy.as_deref()
    }

    /// A worker that has begun the current instance: the running one, or a new one.
    fn worker(&mut self) -> Result<&mut Worker, BackendError> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => {
                let broken = |why: String| BackendError::Broken(format!("the GPU cannot be opened again: {why}"));
                let mut worker = Worker::spawn(&mut (self.command)(), self.patience).map_err(broken)?;
                open(&mut worker, self.candidates, self.cache).map_err(broken)?;
                self.generation += 1;
                let effort = Request::Effort(self.effort);
                for request in [Some(&effort), self.begun.as_ref()].into_iter().flatten() {
                    match worker.ask(request, Instant::now() + self.patience.request) {
                        Ok(Reply::Done(done)) => done?,
                        Ok(reply) => return Err(misunderstood(&reply)),
                        Err(loss) => return Err(BackendError::Broken(loss.to_string())),
                    }
                }
                worker
            }
        };
        Ok(self.worker.insert(worker))
    }

    /// Asks the worker. The candidate is to blame for a lost worker, unless too many are lost in a row: then the device is.
    fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Reply, BackendError> {
        let error = match self.worker()?.ask(request, deadline) {
            Ok(reply) => match reply.error() {
                None => {
                    self.losses = 0;
                    return Ok(reply);
                }
                // The worker's context serves no other candidate.
                Some(BackendError::Rejected {
                    reason: reason @ (Reason::Faulted | Reason::Hung | Reason::Late),
                    detail,
                }) => BackendError::rejected(*reason, detail),
                // The candidate may not be to blame: try the next one with another worker.
                Some(BackendError::Broken(why)) => BackendError::rejected(Reason::NotLaunched, why),
                Some(_) => return Ok(reply),
            },
            Err(loss @ Loss::Silent) => BackendError::rejected(Reason::Hung, loss),
            Err(loss @ Loss::Died(_)) => BackendError::rejected(Reason::Crashed, loss),
        };
        self.worker = None;
        self.losses += 1;
        match self.losses < MOST_LOSSES {
            true => Err(error),
            false => Err(BackendError::Broken(format!(
                "{MOST_LOSSES} candidates in a row ended their process; the last one: {error}"
            ))),
        }
    }

    fn send(
        &mut self,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(u64, Vec<u64>), BackendError> {
        let deadline = deadline.min(Instant::now() + LOADING);
        let request = Request::Load {
            kernel: kernel.clone(),
            indices: indices.to_vec(),
            time: Left::until(deadline),
        };
        match self.ask(&request, deadline)? {
            Reply::Loaded(loaded) => loaded,
            reply => Err(misunderstood(&reply)),
        }
    }

    /// The candidate's number at the worker. Loads the candidate again if its worker was lost.
    fn number(&mut self, candidate: &RemoteCandidate, deadline: Instant) -> Result<u64, BackendError> {
        self.worker()?;
        let (generation, number) = candidate.held.get();
        if generation == self.generation {
            return Ok(number);
        }
        let (number, _) = self.send(&candidate.kernel, &[], deadline)?;
        candidate.held.set((self.generation, number));
        Ok(number)
    }

    fn measure(&mut self, request: &Request, deadline: Instant) -> Result<Option<Measured>, BackendError> {
        match self.ask(request, deadline)? {
            Reply::Measured(measured) => measured,
            reply => Err(misunderstood(&reply)),
        }
    }
}

impl Reply {
    /// The error in the reply.
    fn error(&self) -> Option<&BackendError> {
        match self {
            Reply::Ready | Reply::Opened(_) => None,
            Reply::Done(done) => done.as_ref().err(),
            Reply::Loaded(loaded) => loaded.as_ref().err(),
            Reply::Measured(measured) => measured.as_ref().err(),
        }
    }
}

impl Backend for Remote {
    type Candidate = RemoteCandidate;

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
        // If the worker is lost here, the next one is told when it starts.
        let _ = self.ask(&Request::Effort(effort), Instant::now());
    }

    fn begin(&mut self, instance: Instance<'_>, deadline: Instant) -> Result<(), BackendError> {
        let request = Request::Begin {
            op: instance.checked.op().clone(),
            specialisation: instance.specialisation.clone(),
            sizes: instance.sizes.to_vec(),
            seed: instance.seed,
            warm_inputs: instance.warm_inputs.to_vec(),
            time: Left::until(deadline),
        };
        self.begun = None;
        // An earlier instance may have left the worker broken, so try twice.
        let mut begun = self.ask(&request, deadline);
        if let Err(BackendError::Rejected { .. }) = begun {
            begun = self.ask(&request, deadline);
        }
        match begun {
            Ok(Reply::Done(Ok(()))) => {
                self.begun = Some(request);
                Ok(())
            }
            Ok(Reply::Done(Err(error))) => Err(error),
            Ok(reply) => Err(misunderstood(&reply)),
            Err(error) => Err(BackendError::Broken(error.to_string())),
        }
    }

    fn load(
        &mut self,
        _: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(RemoteCandidate, Vec<u64>), BackendError> {
        let (number, results) = self.send(kernel, indices, deadline)?;
        let candidate = RemoteCandidate {
            kernel: kernel.clone(),
            held: Cell::new((self.generation, number)),
        };
        Ok((candidate, results))
    }

    fn latency(
        &mut self,
        _: Instance<'_>,
        candidate: &RemoteCandidate,
        deadline: Instant,
    ) -> Result<Measured, BackendError> {
        let request = Request::Latency {
            candidate: self.number(candidate, deadline)?,
            time: Left::until(deadline),
        };
        let measured = self.measure(&request, deadline)?;
        measured.ok_or_else(|| BackendError::Broken("a latency has no figure".to_owned()))
    }

    fn energy(
        &mut self,
        _: Instance<'_>,
        candidate: &RemoteCandidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, BackendError> {
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

fn misunderstood(reply: &Reply) -> BackendError {
    BackendError::Broken(format!("the worker answered another question: {reply:?}"))
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Silent => write!(f, "its process did not answer in time and was killed"),
            Loss::Died(how) => write!(f, "its process died ({how})"),
        }
    }
}

/// A process that serves requests.
struct Worker {
    child: Child,
    input: ChildStdin,
    replies: Receiver<Reply>,
    patience: Patience,
}

impl Worker {
    /// Starts a process and waits for its first word.
    fn spawn(command: &mut Command, patience: Patience) -> Result<Worker, String> {
        command.env(VARIABLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C goes to the parent only, whose end ends the worker.
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

    /// Sends a request and waits for its reply until some time after the deadline.
    fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Reply, Loss> {
        let bytes = encode(request).map_err(|error| Loss::Died(error.to_string()))?;
        // A thread of the worker always reads, so the pipe never stays full.
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

    /// Ends the process, waits a while, and returns its exit status.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        let end = Instant::now() + REAPING;
        // A process that died by itself has a status of its own.
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
