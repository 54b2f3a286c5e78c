//! Why a launch did not happen or did not finish.

/// A launch that failed. Every variant says what, where and, if it can, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module has no kernel of that name.
    #[error("no kernel `{name}` in the module; it has: {known}")]
    UnknownKernel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The arguments do not fit the kernel's parameters.
    #[error("kernel `{kernel}` takes {expected} arguments, {given} were given")]
    ArgumentCount {
        /// The kernel.
        kernel: String,
        /// Parameters it has.
        expected: usize,
        /// Arguments given.
        given: usize,
    },
    /// One argument has another size than its parameter.
    #[error("argument {index} of kernel `{kernel}` (`{name}`) takes {expected} bytes, {given} were given")]
    ArgumentSize {
        /// The kernel.
        kernel: String,
        /// Position of the argument, from 0.
        index: usize,
        /// Name of the parameter.
        name: String,
        /// Bytes of the parameter.
        expected: usize,
        /// Bytes given.
        given: usize,
    },
    /// The module has no `.global` or `.const` variable of that name.
    #[error("no global or constant variable `{name}` in the module; it has: {known}")]
    UnknownVariable {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// More bytes for a variable than it has.
    #[error("variable `{name}` has {size} bytes, {given} were given")]
    VariableSize {
        /// The variable.
        name: String,
        /// Its bytes.
        size: u64,
        /// Bytes given.
        given: u64,
    },
    /// Grid, block or shared memory out of the limits of a GPU or of the kernel.
    #[error("launch of `{kernel}`: {message}")]
    Shape {
        /// The kernel.
        kernel: String,
        /// Which limit, and the value given.
        message: String,
    },
    /// An instruction (or a form of one) that the emulator does not know.
    #[error("PTX line {line}: not supported: {reason} in `{instruction}`")]
    Unsupported {
        /// The instruction as written.
        instruction: String,
        /// Line of the PTX text, from 1.
        line: u32,
        /// What about it is not known.
        reason: String,
    },
    /// PTX that is wrong in itself: an undeclared name, an operand of the wrong type.
    #[error("PTX line {line}: {message} in `{instruction}`")]
    Invalid {
        /// The instruction as written.
        instruction: String,
        /// Line of the PTX text, from 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// An access that a GPU would answer with an error.
    #[error("PTX line {line}: {message} (`{instruction}`, block {block:?}, thread {thread:?}{})", address_text(*.address))]
    Fault {
        /// What happened.
        message: String,
        /// Line of the PTX text, from 1.
        line: u32,
        /// The instruction as written.
        instruction: String,
        /// Index of the block.
        block: [u32; 3],
        /// Index of the thread in the block.
        thread: [u32; 3],
        /// The address, where one is involved.
        address: Option<u64>,
    },
    /// A call to a function of the device's system (`vprintf`, `malloc`, `free`), which the emulator does not have.
    #[error(
        "PTX line {line}: not supported: a call to `{function}` (`{instruction}`, block {block:?}, thread {thread:?})"
    )]
    SystemCall {
        /// The function.
        function: String,
        /// Line of the call, from 1.
        line: u32,
        /// The call as written.
        instruction: String,
        /// Index of the block.
        block: [u32; 3],
        /// Index of the thread in the block.
        thread: [u32; 3],
    },
    /// More instructions than [`Options::instruction_limit`](crate::Options::instruction_limit) allows.
    #[error("kernel `{kernel}` ran more than {limit} warp instructions; the last was at PTX line {line}")]
    InstructionLimit {
        /// The kernel.
        kernel: String,
        /// The limit.
        limit: u64,
        /// Where a warp was when the limit was reached.
        line: u32,
    },
    /// Longer than [`Options::deadline`](crate::Options::deadline) allows.
    #[error("kernel `{kernel}` did not end in the time it was given; it was at PTX line {line}")]
    Deadline {
        /// The kernel.
        kernel: String,
        /// Where a warp was when the time ended.
        line: u32,
    },
    /// Every thread of a block that has not exited waits at a barrier that cannot complete.
    #[error("block {block:?} is deadlocked: {message}")]
    Deadlock {
        /// Index of the block.
        block: [u32; 3],
        /// Who waits where.
        message: String,
    },
    /// The device's memory is exhausted or an address does not belong to it.
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryError),
}

fn address_text(address: Option<u64>) -> String {
    address
        .map(|address| format!(", address {address:#x}"))
        .unwrap_or_default()
}
