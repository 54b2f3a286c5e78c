//! Modules, functions and launches, and the limits that the driver enforces on them.

use crate::codes::{Answer, Code};
use crate::cost;
use crate::machine::Machine;
use crate::profile::{PLAIN_SHARED, REGISTERS, ptx_version};
use crate::settings::{Defect, Suspect};
use crate::stream::Failure;
use energy_kernel_emulator::{Argument, Error, Launch as Emulated, Module, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A launch of more warp instructions counts as endless.
const MOST_INSTRUCTIONS: u64 = 1 << 34;

/// A loaded module.
pub struct Loaded {
    pub device: usize,
    pub module: Module,
    pub defect: Option<Defect>,
    pub unloaded: AtomicBool,
}

/// A kernel of a loaded module.
pub struct Function {
    pub module: Arc<Loaded>,
    pub entry: String,
    /// The most bytes of dynamic shared memory of a launch.
    pub most_dynamic: u32,
}

/// A launch with copied arguments.
pub struct Launch {
    /// The function's handle.
    pub function: u64,
    pub module: Arc<Loaded>,
    pub entry: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    arguments: Vec<Argument>,
}

impl Launch {
    /// The aligned 64-bit words of the arguments. Addresses are among them.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        let bytes = self.arguments.iter().filter_map(|argument| match argument {
            Argument::Bytes(bytes) => Some(bytes),
            _ => None,
        });
        bytes.flat_map(|bytes| {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().map(|word| u64::from_le_bytes(*word))
        })
    }
}

/// Function attributes by number.
mod attribute {
    pub const MAX_THREADS_PER_BLOCK: u32 = 0;
    pub const SHARED_SIZE_BYTES: u32 = 1;
    pub const CONST_SIZE_BYTES: u32 = 2;
    pub const LOCAL_SIZE_BYTES: u32 = 3;
    pub const NUM_REGS: u32 = 4;
    pub const PTX_VERSION: u32 = 5;
    pub const BINARY_VERSION: u32 = 6;
    pub const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
    pub const PREFERRED_SHARED_MEMORY_CARVEOUT: u32 = 9;
    pub const NON_PORTABLE_CLUSTER_SIZE_ALLOWED: u32 = 14;
}

impl Machine {
    /// Loads PTX. An error carries the compiler's log.
    pub fn load(&mut self, device: usize, ptx: &str) -> Result<u64, (Code, String)> {
        self.loads += 1;
        let profile = self.devices[device].profile;
        let concerned = |suspect: &Suspect| match suspect {
            Suspect::Containing(text) => ptx.contains(text.as_str()),
            Suspect::Loaded(which) => which.is(self.loads),
        };
        let defect = self.settings.kernels.iter().find(|(_, suspect)| concerned(suspect));
        let defect = defect.map(|(defect, _)| *defect);
        let invalid = |message: String| (Code::INVALID_PTX, format!("ptxas fatal   : {message}"));
        if defect == Some(Defect::Rejected) {
            return Err(invalid("this kernel is to be rejected".to_owned()));
        }
        let module = Module::parse(ptx).map_err(|error| invalid(error.to_string()))?;
        let most = ptx_version(self.settings.cuda.unwrap_or(profile.cuda));
        if module.version() > most {
            let (major, minor) = module.version();
            let message = format!(
                "ptxas application ptx input, line 1; fatal   : Unsupported .version {major}.{minor}; current version is '{}.{}'",
                most.0, most.1
            );
            return Err((Code::UNSUPPORTED_PTX_VERSION, message));
        }
        if !profile.takes(module.target()) {
            let message = format!(
                "{} does not run on a GPU of capability {}",
                module.target(),
                profile.version()
            );
            return Err((Code::NO_BINARY_FOR_GPU, message));
        }
        for kernel in module.kernels() {
            if kernel.static_shared() > PLAIN_SHARED {
                let (name, bytes) = (kernel.name(), kernel.static_shared());
                return Err(invalid(format!(
                    "Entry function '{name}' uses too much shared data ({bytes:#x} bytes, {PLAIN_SHARED:#x} max)"
                )));
            }
            module
                .check(kernel.name())
                .map_err(|error| invalid(error.to_string()))?;
        }
        let handle = self.handle();
        let loaded = Loaded {
            device,
            module,
            defect,
            unloaded: AtomicBool::new(false),
        };
        self.modules.insert(handle, Arc::new(loaded));
        Ok(handle)
    }

    pub fn unload(&mut self, handle: u64) -> Answer {
        let module = self.modules.remove(&handle).ok_or(Code::INVALID_HANDLE)?;
        self.functions
            .retain(|_, function| !Arc::ptr_eq(&function.module, &module));
        module.unloaded.store(true, Relaxed);
        let freed = module.module.unload(&self.devices[module.device].memory);
        freed.map_err(|_| Code::INVALID_VALUE)
    }

    pub fn function(&mut self, module: u64, entry: &str) -> Answer<u64> {
        let module = self.modules.get(&module).ok_or(Code::INVALID_HANDLE)?.clone();
        let kernel = module.module.kernel(entry).ok_or(Code::NOT_FOUND)?;
        let most_dynamic = PLAIN_SHARED - kernel.static_shared();
        let handle = self.handle();
        let entry = entry.to_owned();
        self.functions.insert(
            handle,
            Function {
                module,
                entry,
                most_dynamic,
            },
        );
        Ok(handle)
    }

    fn known(&self, function: u64) -> Answer<&Function> {
        self.functions.get(&function).ok_or(Code::INVALID_HANDLE)
    }

    pub fn function_attribute(&self, which: u32, function: u64) -> Answer<u32> {
        let function = self.known(function)?;
        let kernel = function.module.module.kernel(&function.entry).ok_or(Code::NOT_FOUND)?;
        let most_threads = kernel.max_threads().or(kernel.required_threads());
        let version = |(major, minor): (u32, u32)| 10 * major + minor;
        Ok(match which {
            attribute::MAX_THREADS_PER_BLOCK => most_threads.map_or(1024, |threads| threads.iter().product()),
            attribute::SHARED_SIZE_BYTES => kernel.static_shared(),
            attribute::CONST_SIZE_BYTES => 0,
            attribute::LOCAL_SIZE_BYTES => match function.module.defect {
                Some(Defect::Spills) => 64,
                _ => 0,
            },
            attribute::NUM_REGS => self.settings.registers,
            attribute::PTX_VERSION => version(function.module.module.version()),
            attribute::BINARY_VERSION => version(self.devices[function.module.device].profile.capability),
            attribute::MAX_DYNAMIC_SHARED_SIZE_BYTES => function.most_dynamic,
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    pub fn set_function_attribute(&mut self, function: u64, which: u32, value: i32) -> Answer {
        let known = self.known(function)?;
        let kernel = known.module.module.kernel(&known.entry).ok_or(Code::NOT_FOUND)?;
        let room = self.devices[known.module.device].profile.most_shared() - kernel.static_shared();
        let value = u32::try_from(value).map_err(|_| Code::INVALID_VALUE)?;
        match which {
            attribute::MAX_DYNAMIC_SHARED_SIZE_BYTES if value <= room => {
                let known = self.functions.get_mut(&function).ok_or(Code::INVALID_HANDLE)?;
                known.most_dynamic = value;
                Ok(())
            }
            attribute::PREFERRED_SHARED_MEMORY_CARVEOUT if value <= 100 => Ok(()),
            attribute::NON_PORTABLE_CLUSTER_SIZE_ALLOWED if value <= 1 => Ok(()),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    /// Returns the bytes of each parameter of a function.
    pub fn parameter_sizes(&self, function: u64) -> Answer<Vec<usize>> {
        let function = self.known(function)?;
        let kernel = function.module.module.kernel(&function.entry).ok_or(Code::NOT_FOUND)?;
        Ok(kernel.parameters().iter().map(|parameter| parameter.size).collect())
    }

    /// Returns a launch of a function within the limits.
    pub fn launch(
        &self,
        device: usize,
        handle: u64,
        (grid, block): ([u32; 3], [u32; 3]),
        shared: u32,
        arguments: Vec<Vec<u8>>,
    ) -> Answer<Launch> {
        let function = self.known(handle)?;
        if function.module.device != device {
            return Err(Code::INVALID_HANDLE);
        }
        let kernel = function.module.module.kernel(&function.entry).ok_or(Code::NOT_FOUND)?;
        let threads = block.iter().map(|extent| u64::from(*extent)).product::<u64>();
        let fits = |most: Option<[u32; 3]>| {
            most.is_none_or(|most| threads <= most.iter().map(|extent| u64::from(*extent)).product())
        };
        let cuda = self.settings.cuda.unwrap_or(self.devices[device].profile.cuda);
        let most_parameters = if cuda >= 12_010 { 32_764 } else { 4096 };
        let legal = !grid.contains(&0)
            && grid[0] <= i32::MAX as u32
            && grid[1..].iter().all(|extent| *extent <= 65_535)
            && (1..=1024).contains(&threads)
            && block[2] <= 64
            && fits(kernel.max_threads())
            && kernel.required_threads().is_none_or(|required| block == required)
            && shared <= function.most_dynamic
            && arguments.iter().map(Vec::len).sum::<usize>() <= most_parameters;
        if !legal {
            return Err(Code::INVALID_VALUE);
        }
        if threads * u64::from(self.settings.registers) > u64::from(REGISTERS) {
            return Err(Code::LAUNCH_OUT_OF_RESOURCES);
        }
        Ok(Launch {
            function: handle,
            module: function.module.clone(),
            entry: function.entry.clone(),
            grid,
            block,
            shared,
            arguments: arguments.into_iter().map(Argument::Bytes).collect(),
        })
    }

    /// Runs a kernel, and keeps its cost.
    pub fn execute(&mut self, device: usize, launch: &Launch) -> Result<(), Failure> {
        let wrong = |code, problem: String| {
            Err(Failure {
                code,
                problem: Some(problem),
            })
        };
        let entry = &launch.entry;
        if launch.module.unloaded.load(Relaxed) {
            return wrong(
                Code::ILLEGAL_ADDRESS,
                format!("`{entry}` ran after its module was unloaded"),
            );
        }
        match launch.module.defect {
            Some(Defect::Illegal) => {
                return Err(Failure {
                    code: Code::ILLEGAL_ADDRESS,
                    problem: None,
                });
            }
            Some(Defect::Crashes) => std::process::abort(),
            Some(Defect::Idle) => return Ok(()),
            _ => {}
        }
        self.executed += 1;
        let fixed = self.settings.kernel_us;
        let unknown = !self.costs.contains_key(&launch.key());
        let count = unknown && fixed.is_none();
        let options = Options {
            sanitize: self.settings.sanitize,
            count,
            threads: Some(self.settings.threads),
            instruction_limit: Some(MOST_INSTRUCTIONS),
            ..Options::default()
        };
        let emulated = Emulated {
            grid: launch.grid,
            block: launch.block,
            dynamic_shared: launch.shared,
            arguments: &launch.arguments,
            options,
        };
        let (profile, memory) = (self.devices[device].profile, &self.devices[device].memory);
        let report = match energy_kernel_emulator::launch(&launch.module.module, entry, memory, &emulated) {
            Ok(report) => report,
            Err(error) => return wrong(code_of(&error), format!("`{entry}`: {error}")),
        };
        if let Some(first) = report.findings.first() {
            let count = report.findings.len();
            return wrong(
                Code::LAUNCH_FAILED,
                format!("`{entry}`: {count} findings, the first: {first}"),
            );
        }
        if unknown {
            let blocks = launch.grid.iter().map(|extent| u64::from(*extent)).product();
            let threads = launch.block.iter().product();
            let mut cost = cost::launch(profile, &report.counts, blocks, threads, launch.shared);
            if let Some(microseconds) = fixed {
                cost.seconds = microseconds * 1e-6;
            }
            cost.seconds /= self.settings.speed;
            cost.joules /= self.settings.speed;
            self.costs.insert(launch.key(), cost);
        }
        Ok(())
    }
}

/// Returns the code that a GPU reports for an emulator's error.
fn code_of(error: &Error) -> Code {
    match error {
        Error::Fault { message, .. } if message.contains("align") => Code::MISALIGNED_ADDRESS,
        Error::Fault { .. } | Error::Memory(_) => Code::ILLEGAL_ADDRESS,
        Error::InstructionLimit { .. } | Error::Deadlock { .. } => Code::LAUNCH_TIMEOUT,
        _ => Code::LAUNCH_FAILED,
    }
}
