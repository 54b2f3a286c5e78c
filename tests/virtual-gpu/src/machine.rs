//! The state behind driver and NVML. Every call passes through [`answer`], which counts it, traces it and injects faults.

use crate::capture::{Capture, Executable, Graph};
use crate::clock::{Counter, Power};
use crate::codes::{Answer, Code};
use crate::cost::Cost;
use crate::modules::{Function, Launch, Loaded};
use crate::order::Past;
use crate::profile::Profile;
use crate::report::Report;
use crate::settings::{Fate, Fault, Settings};
use crate::stream::{Mark, Stream, StreamId};
use energy_kernel_emulator::Memory;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// The state of all devices, behind one lock. A thread that must wait for work executes that work itself, under the lock.
pub struct Machine {
    pub settings: Settings,
    pub devices: Vec<Device>,
    pub initialised: bool,
    pub nvml_users: u32,
    pub streams: BTreeMap<StreamId, Stream>,
    pub thread_streams: HashMap<(ThreadId, usize), StreamId>,
    pub events: HashMap<u64, Event>,
    pub modules: HashMap<u64, Arc<Loaded>>,
    pub functions: HashMap<u64, Function>,
    pub graphs: HashMap<u64, Graph>,
    pub executables: HashMap<u64, Arc<Executable>>,
    pub captures: HashMap<u64, Capture>,
    /// The number of modules loaded so far, rejected ones included.
    pub loads: u64,
    /// The work that the host has waited for.
    pub host: Past,
    /// The costs of launches that have run at least once.
    pub costs: HashMap<LaunchKey, Cost>,
    /// The number of kernels executed.
    pub executed: u64,
    handles: u64,
    start: Instant,
    calls: BTreeMap<&'static str, u64>,
    /// The call counts at the moment faults were set.
    before_faults: BTreeMap<&'static str, u64>,
    injected: u64,
    problems: Vec<String>,
    trace: Option<std::fs::File>,
}

/// The key of a launch's cost: function handle, grid, block, bytes of dynamic shared memory.
pub type LaunchKey = (u64, [u32; 3], [u32; 3], u32);

/// A GPU and its primary context.
pub struct Device {
    pub profile: &'static Profile,
    pub memory: Arc<Memory>,
    /// Allocations not yet freed by the program, by address.
    pub live: BTreeMap<u64, Allocation>,
    /// Bytes of freed allocations, by address. Addresses are never reused.
    pub freed: BTreeMap<u64, u64>,
    /// The sticky error: every later call on this device returns it.
    pub broken: Option<Code>,
    /// The reference count of the primary context. At 0 the context and everything made in it are gone.
    pub users: u32,
    /// Distinguishes this context from earlier ones of the device.
    pub generation: u32,
    pub legacy: StreamId,
    /// The time at which all scheduled work ends, in seconds.
    pub busy_until: f64,
    pub power: Power,
    pub counter: Counter,
}

/// An allocation of device memory.
pub struct Allocation {
    pub bytes: u64,
    pub kind: AllocationKind,
    /// The stream and the position of a stream-ordered allocation.
    pub born: Option<(StreamId, u64)>,
    pub uses: Past,
}

/// The allocator of a piece of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AllocationKind {
    Plain,
    /// Stream-ordered.
    Pooled,
    /// Allocated by the graph of this capture.
    OfGraph(u64),
}

/// An event.
pub struct Event {
    pub device: usize,
    pub timed: bool,
    pub recorded: Recorded,
    /// `true` if it was queried since it was recorded, and was not ready.
    pub asked: bool,
}

/// The point in a stream at which an event was recorded.
#[derive(Clone)]
pub enum Recorded {
    Never,
    At(Arc<Mark>),
    /// In a capture: its number, and the nodes before the event.
    Captured(u64, Vec<usize>),
}

/// The time at which a call returns.
pub enum Pause {
    None,
    Until(f64),
    Forever,
}

impl From<()> for Pause {
    fn from((): ()) -> Pause {
        Pause::None
    }
}

/// A device and the generation of its context.
type Context = (usize, u32);

thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// The first address of device 0. Devices are one tebibyte apart.
const MEMORIES: u64 = 0x7000_0000_0000;

/// The handle of device 0's context. Devices are far enough apart for many generations of contexts.
const CONTEXTS: u64 = 0x10_0000;
const GENERATIONS: u64 = 0x1_0000;

impl Machine {
    fn new(settings: Settings) -> Machine {
        let device = |(number, profile): (usize, &&'static Profile)| Device {
            profile,
            memory: Arc::new(Memory::starting_at(MEMORIES + ((number as u64) << 40), settings.memory)),
            live: BTreeMap::new(),
            freed: BTreeMap::new(),
            broken: None,
            users: 0,
            generation: 0,
            legacy: 0,
            busy_until: 0.0,
            power: Power::new(profile.idle_watts, &settings),
            counter: Counter::new(&settings),
        };
        Machine {
            devices: settings.devices.iter().enumerate().map(device).collect(),
            initialised: false,
            nvml_users: 0,
            streams: BTreeMap::new(),
            thread_streams: HashMap::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            graphs: HashMap::new(),
            executables: HashMap::new(),
            captures: HashMap::new(),
            loads: 0,
            host: Past::default(),
            costs: HashMap::new(),
            executed: 0,
            handles: 0x1000,
            start: Instant::now(),
            calls: BTreeMap::new(),
            before_faults: BTreeMap::new(),
            injected: 0,
            problems: Vec::new(),
            trace: settings.trace.as_ref().and_then(|path| {
                let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
                opened
                    .inspect_err(|error| eprintln!("virtual GPU: {}: {error}", path.display()))
                    .ok()
            }),
            settings,
        }
    }

    /// Returns a handle that was never used before.
    pub fn handle(&mut self) -> u64 {
        self.handles += 0x10;
        self.handles
    }

    /// Seconds since the first call of this process.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Reports a mistake of the program.
    pub fn problem(&mut self, text: String) {
        eprintln!("virtual GPU: {text}");
        self.problems.push(text);
    }

    pub fn initialised(&self) -> Answer {
        match self.initialised {
            true => Ok(()),
            false => Err(Code::NOT_INITIALIZED),
        }
    }

    /// Returns the device of an ordinal.
    pub fn device(&mut self, ordinal: c_int) -> Answer<&mut Device> {
        self.initialised()?;
        let device = usize::try_from(ordinal).ok().and_then(|at| self.devices.get_mut(at));
        device.ok_or(Code::INVALID_DEVICE)
    }

    /// Returns the device whose context is current on this thread, unless a sticky error broke it.
    pub fn current(&self) -> Answer<usize> {
        self.initialised()?;
        let (number, generation) = CURRENT.get().ok_or(Code::INVALID_CONTEXT)?;
        let device = &self.devices[number];
        if device.users == 0 || device.generation != generation {
            return Err(Code::CONTEXT_IS_DESTROYED);
        }
        self.healthy(number)?;
        Ok(number)
    }

    /// Returns the sticky error of a device, if there is one.
    pub fn healthy(&self, device: usize) -> Answer {
        self.devices[device].broken.map_or(Ok(()), Err)
    }

    /// Returns the handle of a device's context.
    pub fn context(&self, device: usize) -> u64 {
        CONTEXTS + GENERATIONS * device as u64 + u64::from(self.devices[device].generation)
    }

    /// Returns the handle of the current context, or 0.
    pub fn current_context() -> u64 {
        CURRENT.get().map_or(0, |(device, generation)| {
            CONTEXTS + GENERATIONS * device as u64 + u64::from(generation)
        })
    }

    pub fn set_current(&self, handle: u64) -> Answer {
        let known = (0..self.devices.len()).find(|device| self.context(*device) == handle);
        let context = match known {
            _ if handle == 0 => None,
            Some(device) if self.devices[device].users > 0 => Some((device, self.devices[device].generation)),
            _ => return Err(Code::INVALID_CONTEXT),
        };
        CURRENT.set(context);
        Ok(())
    }

    /// Counts a call. Returns its number and the fault injected into it.
    fn begin(&mut self, function: &'static str) -> (u64, Option<Fate>) {
        let calls = self.calls.entry(function).or_default();
        *calls += 1;
        let call = *calls;
        let counted = call - self.before_faults.get(function).unwrap_or(&0);
        let fault = self
            .settings
            .fail
            .iter()
            .find(|fault| fault.concerns(function, counted));
        let fate = fault.map(|fault| fault.fate);
        if fate.is_some() {
            self.injected += 1;
        }
        if let Some(Fate::Breaks(code)) = fate {
            let device = CURRENT.get().map_or(0, |(device, _)| device);
            if let Some(device) = self.devices.get_mut(device) {
                device.broken = Some(Code(code));
            }
        }
        (call, fate)
    }

    /// Replaces the faults to inject. Calls are counted from here.
    pub fn set_faults(&mut self, faults: Vec<Fault>) {
        self.settings.fail = faults;
        self.before_faults = self.calls.clone();
    }

    fn traced(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(file) = &mut self.trace {
            // A trace is a debugging aid: the call goes on without it.
            let _ = writeln!(file, "{text}");
        }
    }

    fn report(&self) -> Report {
        let left = [
            (
                "contexts",
                self.devices.iter().map(|device| device.users as usize).sum(),
            ),
            ("memory", self.devices.iter().map(|device| device.live.len()).sum()),
            (
                "streams",
                self.streams.values().filter(|stream| stream.is_left()).count(),
            ),
            ("events", self.events.len()),
            ("modules", self.modules.len()),
            ("graphs", self.graphs.len()),
            ("executables", self.executables.len()),
            ("captures", self.captures.len()),
        ];
        Report {
            calls: self
                .calls
                .iter()
                .map(|(name, calls)| ((*name).to_owned(), *calls))
                .collect(),
            left: left
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| (kind.to_owned(), count as u64))
                .collect(),
            queued: self.streams.values().map(Stream::pending).sum(),
            executed: self.executed,
            injected: self.injected,
            problems: self.problems.clone(),
        }
    }
}

/// Returns the state, or none if the settings are invalid. The error is printed once.
fn machine() -> Option<&'static Mutex<Machine>> {
    static MACHINE: OnceLock<Option<Mutex<Machine>>> = OnceLock::new();
    MACHINE
        .get_or_init(|| {
            let variables = std::env::vars_os().map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            });
            match Settings::parse(variables) {
                Ok(settings) => {
                    if settings.report.is_some() {
                        // SAFETY: `leave` is a function of this library, which is never unloaded before the process ends.
                        unsafe { atexit(leave) };
                    }
                    Some(Mutex::new(Machine::new(settings)))
                }
                Err(error) => {
                    eprintln!("virtual GPU: {error}");
                    None
                }
            }
        })
        .as_ref()
}

unsafe extern "C" {
    fn atexit(handler: extern "C" fn()) -> c_int;
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes this process's report into the folder of reports.
extern "C" fn leave() {
    let Some(machine) = machine() else { return };
    let machine = lock(machine);
    let Some(folder) = &machine.settings.report else { return };
    let path = folder.join(format!("{}.report", std::process::id()));
    if let Err(error) = std::fs::write(&path, machine.report().to_string()) {
        eprintln!("virtual GPU: {}: {error}", path.display());
    }
}

/// Answers a call: with the injected fault if there is one, else with the result of `body`. The lock is released before the thread waits.
pub fn answer<P: Into<Pause>>(function: &'static str, body: impl FnOnce(&mut Machine) -> Answer<P>) -> c_int {
    let Some(shared) = machine() else {
        return Code::UNKNOWN.0;
    };
    let mut machine = lock(shared);
    let (call, fate) = machine.begin(function);
    let answered = match fate {
        Some(Fate::Hangs) => Ok(Pause::Forever),
        Some(Fate::Crashes) => std::process::abort(),
        Some(Fate::Fails(code) | Fate::Breaks(code)) => Err(Code(code)),
        None if machine.settings.lie.contains(&function) => Ok(Pause::None),
        None => body(&mut machine).map(Into::into),
    };
    let code = answered.as_ref().map_or_else(|code| code.0, |_| 0);
    machine.traced(format_args!("{function} #{call} {code}"));
    let start = machine.start;
    drop(machine);
    match answered {
        Ok(Pause::Until(time)) => sleep_until(start, time),
        Ok(Pause::Forever) => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        Ok(Pause::None) | Err(_) => {}
    }
    code
}

fn sleep_until(start: Instant, time: f64) {
    let left = time - start.elapsed().as_secs_f64();
    if left > 0.0 {
        std::thread::sleep(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX));
    }
}

impl Launch {
    pub fn key(&self) -> LaunchKey {
        (self.function, self.grid, self.block, self.shared)
    }
}
