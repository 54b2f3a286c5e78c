//! Parsed modules and their kernels.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::decode::decode;
use crate::error::Error;
use crate::layout::{Base, Layout, Value};
use crate::liveness::live_rows;
use crate::machine::action::Executable;
use crate::machine::address::{CONSTANT_WINDOW, function_address};
use crate::memory::{Instance, Memory, MemoryError};
use crate::parse::syntax::{Space, Type, Unit, Variable};
use crate::parse::{ParseError, parse};

/// A parsed PTX module.
pub struct Module {
    text: String,
    unit: Unit,
    layout: Layout,
    kernels: Vec<Kernel>,
    /// Identifies the module's variables in a [`Memory`].
    number: u64,
}

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The parameter's name.
    pub name: String,
    /// The size in bytes.
    pub size: usize,
    /// The alignment in bytes.
    pub align: usize,
    /// The type, or that of an array's elements. Structures are arrays of `.b8`.
    pub ty: Type,
    /// `true` if it is declared as a pointer (`.ptr`). Compilers do not declare every pointer.
    pub is_pointer: bool,
}

/// A kernel (`.entry`) of a module.
pub struct Kernel {
    name: String,
    parameters: Vec<Parameter>,
    static_shared: u32,
    max_threads: Option<[u32; 3]>,
    required_threads: Option<[u32; 3]>,
    pub(crate) function: usize,
    pub(crate) executable: OnceLock<Result<Arc<Executable>, Error>>,
    live_registers: OnceLock<u32>,
}

impl Kernel {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's parameters in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The size of static shared memory in bytes.
    pub fn static_shared(&self) -> u32 {
        self.static_shared
    }

    /// The block shape of `.maxntid`, whose number of threads no launch may exceed.
    pub fn max_threads(&self) -> Option<[u32; 3]> {
        self.max_threads
    }

    /// The block shape of `.reqntid`, which every launch must have.
    pub fn required_threads(&self) -> Option<[u32; 3]> {
        self.required_threads
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.name)
            .field("parameters", &self.parameters)
            .field("static_shared", &self.static_shared)
            .finish()
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("target", &self.unit.target)
            .field("kernels", &self.kernels)
            .finish()
    }
}

impl Module {
    /// Parses PTX text. An instruction that the emulator does not know is an error only when a kernel that reaches it
    /// is launched.
    ///
    /// # Errors
    ///
    /// The text is not PTX, or has a directive or a variable that the emulator does not know.
    pub fn parse(ptx: &str) -> Result<Module, ParseError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let unit = parse(ptx)?;
        let layout = Layout::new(&unit)?;
        let entries = unit
            .functions
            .iter()
            .enumerate()
            .filter(|(_, function)| function.is_entry && function.body.is_some());
        let kernels = entries.map(|(index, function)| Kernel {
            name: function.name.clone(),
            parameters: (function.parameters.iter())
                .map(|parameter| Parameter {
                    name: parameter.name.clone(),
                    size: parameter.size() as usize,
                    align: parameter.align as usize,
                    ty: parameter.ty,
                    is_pointer: parameter.is_pointer,
                })
                .collect(),
            static_shared: {
                let shared = layout.shared(&unit, index);
                shared.size - shared.reserved
            },
            max_threads: function.max_threads,
            required_threads: function.required_threads,
            function: index,
            executable: OnceLock::new(),
            live_registers: OnceLock::new(),
        });
        let kernels = kernels.collect();
        Ok(Module {
            text: ptx.to_owned(),
            unit,
            layout,
            kernels,
            number: NEXT.fetch_add(1, Relaxed),
        })
    }

    /// The module's kernels in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.kernels.iter()
    }

    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// The PTX version, (8, 0) for `.version 8.0`.
    pub fn version(&self) -> (u32, u32) {
        self.unit.version
    }

    /// The first target, such as `sm_80`.
    pub fn target(&self) -> &str {
        &self.unit.target
    }

    /// Checks that the emulator knows every instruction of a kernel and of the functions that it reaches. A launch does
    /// the same; the result is kept.
    ///
    /// # Errors
    ///
    /// There is no such kernel, or an instruction is unknown or invalid.
    pub fn check(&self, kernel: &str) -> Result<(), Error> {
        self.executable(self.find(kernel)?).map(|_| ())
    }

    /// The largest number of 32-bit values of a thread that are live at once in a kernel, without the functions that it calls. ptxas
    /// needs a few registers more.
    ///
    /// # Errors
    ///
    /// There is no such kernel, or an instruction is unknown or invalid.
    pub fn live_registers(&self, kernel: &str) -> Result<u32, Error> {
        let kernel = self.find(kernel)?;
        let executable = self.executable(kernel)?;
        Ok(*kernel.live_registers.get_or_init(|| live_rows(&executable)))
    }

    /// The address and the size of a `.global` variable in a memory; `None` if there is no such variable. Creates the
    /// module's variables in the memory if it does not have them.
    ///
    /// # Errors
    ///
    /// The memory cannot hold the module's variables.
    pub fn global(&self, memory: &Memory, name: &str) -> Result<Option<(u64, u64)>, MemoryError> {
        let Some(variable) = self
            .unit
            .variables
            .iter()
            .find(|variable| variable.name == name && variable.space == Space::Global)
        else {
            return Ok(None);
        };
        let instance = self.instance(memory)?;
        Ok(Some((instance.globals + self.layout.globals[name], variable.size())))
    }

    /// Writes the first bytes of a `.global` or `.const` variable in a memory, as `cudaMemcpyToSymbol` does. Running
    /// launches keep the constants that they started with.
    ///
    /// # Errors
    ///
    /// There is no such variable, it has fewer bytes, or the memory cannot hold the module's variables.
    pub fn write_variable(&self, memory: &Memory, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let placed = |variable: &&Variable| matches!(variable.space, Space::Global | Space::Constant);
        let mut variables = self.unit.variables.iter().filter(placed);
        let Some(variable) = variables.clone().find(|variable| variable.name == name) else {
            let known: Vec<&str> = variables.by_ref().map(|variable| variable.name.as_str()).collect();
            return Err(Error::UnknownVariable {
                name: name.into(),
                known: known.join(", "),
            });
        };
        if bytes.len() as u64 > variable.size() {
            return Err(Error::VariableSize {
                name: name.into(),
                size: variable.size(),
                given: bytes.len() as u64,
            });
        }
        let instance = self.instance(memory)?;
        if variable.space == Space::Global {
            memory.write(instance.globals + self.layout.globals[name], bytes)?;
        } else {
            let at = self.layout.constants[name] as usize;
            let mut constants = instance.constants.to_vec();
            constants[at..at + bytes.len()].copy_from_slice(bytes);
            memory.replace_constants(self.number, constants.into());
        }
        Ok(())
    }

    /// Frees the module's variables in a memory. The next launch there creates them anew.
    ///
    /// # Errors
    ///
    /// The variables' memory was freed by [`Memory::free`].
    pub fn unload(&self, memory: &Memory) -> Result<(), MemoryError> {
        match memory.drop_instance(self.number) {
            Some(instance) if instance.globals != 0 => memory.free(instance.globals),
            _ => Ok(()),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Kernel, Error> {
        self.kernel(name).ok_or_else(|| Error::UnknownKernel {
            name: name.into(),
            known: self
                .kernels
                .iter()
                .map(|kernel| kernel.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    pub(crate) fn executable(&self, kernel: &Kernel) -> Result<Arc<Executable>, Error> {
        kernel
            .executable
            .get_or_init(|| decode(&self.unit, &self.text, &self.layout, kernel.function).map(Arc::new))
            .clone()
    }

    pub(crate) fn parameter_ranges(&self, kernel: &Kernel) -> &[(u32, u32)] {
        self.layout.parameters.get(&kernel.function).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn instance(&self, memory: &Memory) -> Result<Instance, MemoryError> {
        memory.instance(self.number, || {
            let globals = if self.layout.global_size > 0 {
                memory.allocate(self.layout.global_size)?
            } else {
                0
            };
            let mut constants = vec![0; self.layout.constant_size as usize];
            for image in &self.layout.images {
                let bytes: Vec<u8> = (image.values.iter())
                    .flat_map(|value| initial_bytes(image.ty, *value, globals))
                    .collect();
                if image.space == Space::Constant {
                    let at = image.at as usize;
                    constants[at..at + bytes.len()].copy_from_slice(&bytes);
                } else {
                    // Bytes without an initial value are zero.
                    memory.define(globals + image.at, image.size)?;
                    memory.write(globals + image.at, &bytes)?;
                }
            }
            Ok(Instance {
                globals,
                constants: constants.into(),
            })
        })
    }
}

fn initial_bytes(ty: Type, value: Value, globals: u64) -> impl Iterator<Item = u8> {
    let bits = match value {
        Value::Bits(bits) => bits,
        Value::Address {
            base,
            offset,
            generic,
            mask,
        } => {
            let base = match base {
                Base::Global(at) => globals + at,
                Base::Constant(at) if generic => CONSTANT_WINDOW + at,
                Base::Constant(at) => at,
                Base::Function(function) => function_address(function),
            };
            let address = base.wrapping_add_signed(offset);
            (address & mask) >> mask.trailing_zeros().min(63)
        }
    };
    bits.to_le_bytes().into_iter().take(ty.size().min(8) as usize)
}
