//! The state of driver and NVML, and how every call gets at it: counted, traced, and failed where that was asked for.

use crate::capture::{Capture, Executable, Graph};
use crate::clock::{Counter, Power};
use crate::codes::{Answer, Code};
use crate::cost::Cost;
use crate::modules::{Function, Launch, Loaded};
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

/// Everything. Behind one lock: work is executed by whoever must wait for it, while nobody else calls.
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
    /// Modules that were loaded so far, rejected ones too.
    pub loads: u64,
    /// Costs of launches that were executed.
    pub costs: HashMap<LaunchKey, Cost>,
    /// Kernels that were executed.
    pub executed: u64,
    handles: u64,
    start: Instant,
    calls: BTreeMap<&'static str, u64>,
    /// Calls that had been made when faults were set.
    before_faults: BTreeMap<&'static str, u64>,
    injected: u64,
    problems: Vec<String>,
    trace: Option<std::fs::File>,
}

/// What tells launches of different costs apart: the function's handle, grid, block, dynamic shared memory.
pub type LaunchKey = (u64, [u32; 3], [u32; 3], u32);

/// A GPU and its primary context.
pub struct Device {
    pub profile: &'static Profile,
    pub memory: Arc<Memory>,
    /// Allocations that the program has not freed, by their addresses.
    pub live: HashMap<u64, Allocation>,
    /// The error that everything on it answers since it happened.
    pub broken: Option<Code>,
    /// How often the context is retained. At 0 it is gone, and with it all that was made in it.
    pub users: u32,
    /// Tells the context from earlier ones of this device.
    pub generation: u32,
    pub legacy: StreamId,
    /// When all that was begun will have ended, in seconds.
    pub busy_until: f64,
    pub power: Power,
    pub counter: Counter,
}

/// Memory that a program has.
#[derive(Clone, Copy)]
pub struct Allocation {
    pub bytes: u64,
    pub kind: AllocationKind,
}

/// Where memory comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AllocationKind {
    Plain,
    /// In the order of a stream.
    Pooled,
    /// Of a graph: that of this capture.
    OfGraph(u64),
}

/// An event.
pub struct Event {
    pub device: usize,
    pub timed: bool,
    pub recorded: Recorded,
    /// It was asked for since it was recorded, and was not ready.
    pub asked: bool,
}

/// Where an event stands.
#[derive(Clone)]
pub enum Recorded {
    Never,
    At(Arc<Mark>),
    /// In a capture: which, and the nodes it comes after.
    Captured(u64, Vec<usize>),
}

/// How a call ends: at once, at a time, or never.
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

/// Where the first device's memory begins; others follow a tebibyte apart.
const MEMORIES: u64 = 0x7000_0000_0000;

/// The first context's handle; others follow at distances that leave room for later generations.
const CONTEXTS: u64 = 0x10_0000;
const GENERATIONS: u64 = 0x1_0000;

impl Machine {
    fn new(settings: Settings) -> Machine {
        let device = |(number, profile): (usize, &&'static Profile)| Device {
            profile,
            memory: Arc::new(Memory::starting_at(MEMORIES + ((number as u64) << 40), settings.memory)),
            live: HashMap::new(),
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

    /// A handle that was never given out before.
    pub fn handle(&mut self) -> u64 {
        self.handles += 0x10;
        self.handles
    }

    /// Seconds since the process first called.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Notes something that the program did wrong.
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

    /// The device of an ordinal.
    pub fn device(&mut self, ordinal: c_int) -> Answer<&mut Device> {
        self.initialised()?;
        let device = usize::try_from(ordinal).ok().and_then(|at| self.devices.get_mut(at));
        device.ok_or(Code::INVALID_DEVICE)
    }

    /// The device whose context is current, if nothing broke it.
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

    /// That nothing broke a device.
    pub fn healthy(&self, device: usize) -> Answer {
        self.devices[device].broken.map_or(Ok(()), Err)
    }

    /// The handle of a device's context.
    pub fn context(&self, device: usize) -> u64 {
        CONTEXTS + GENERATIONS * device as u64 + u64::from(self.devices[device].generation)
    }

    /// The handle of the current context; 0 if there is none.
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

    /// What a call of a function comes to, and its number.
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

    /// From now on these faults happen; calls are counted anew.
    pub fn set_faults(&mut self, faults: Vec<Fault>) {
        self.settings.fail = faults;
        self.before_faults = self.calls.clone();
    }

    fn traced(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(file) = &mut self.trace {
            // A trace that cannot be written is not worth a failure.
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
            queued: self.streams.values().map(|stream| stream.queue.len() as u64).sum(),
            executed: self.executed,
            injected: self.injected,
            problems: self.problems.clone(),
        }
    }
}

/// The state; none where the settings are wrong, which was said when they were read.
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

/// Writes the report of this process into the folder of reports.
extern "C" fn leave() {
    let Some(machine) = machine() else { return };
    let machine = lock(machine);
    let Some(folder) = &machine.settings.report else { return };
    let path = folder.join(format!("{}.report", std::process::id()));
    if let Err(error) = std::fs::write(&path, machine.report().to_string()) {
        eprintln!("virtual GPU: {}: {error}", path.display());
    }
}

/// Answers a call: with what was asked for instead, or with what `body` says. Whoever waits does so without the lock.
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
