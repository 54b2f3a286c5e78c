//! Errors of launches.

/// The reason why a launch was refused or did not finish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module has no kernel of that name.
    #[error("no kernel `{name}` in the module; it has: {known}")]
    UnknownKernel {
        /// The name that was asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// The number of arguments is not that of the kernel's parameters.
    #[error("kernel `{kernel}` takes {expected} arguments, {given} were given")]
    ArgumentCount {
        /// The kernel.
        kernel: String,
        /// The number of its parameters.
        expected: usize,
        /// The number of arguments given.
        given: usize,
    },
    /// An argument's size is not that of its parameter.
    #[error("argument {index} of kernel `{kernel}` (`{name}`) takes {expected} bytes, {given} were given")]
    ArgumentSize {
        /// The kernel.
        kernel: String,
        /// The argument's position, from 0.
        index: usize,
        /// The parameter's name.
        name: String,
        /// The parameter's size in bytes.
        expected: usize,
        /// Bytes given.
        given: usize,
    },
    /// The module has no `.global` or `.const` variable of that name.
    #[error("no global or constant variable `{name}` in the module; it has: {known}")]
    UnknownVariable {
        /// The name that was asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// A write of more bytes than the variable has.
    #[error("variable `{name}` has {size} bytes, {given} were given")]
    VariableSize {
        /// The variable.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// Bytes given.
        given: u64,
    },
    /// Grid, block or shared memory beyond a limit of GPUs or of the kernel.
    #[error("launch of `{kernel}`: {message}")]
    Shape {
        /// The kernel.
        kernel: String,
        /// The limit, and the value given.
        message: String,
    },
    /// An instruction, or a form of one, that the emulator does not know.
    #[error("PTX line {line}: not supported: {reason} in `{instruction}`")]
    Unsupported {
        /// The instruction as it is written.
        instruction: String,
        /// Line of the PTX text, from 1.
        line: u32,
        /// The part that the emulator does not know.
        reason: String,
    },
    /// Invalid PTX, such as an undeclared name or an operand of the wrong type.
    #[error("PTX line {line}: {message} in `{instruction}`")]
    Invalid {
        /// The instruction as it is written.
        instruction: String,
        /// Line of the PTX text, from 1.
        line: u32,
        /// The mistake.
        message: String,
    },
    /// An operation that a GPU would answer with an error, such as an access out of bounds.
    #[error("PTX line {line}: {message} (`{instruction}`, block {block:?}, thread {thread:?}{})", address_text(*.address))]
    Fault {
        /// The mistake, with its values.
        message: String,
        /// Line of the PTX text, from 1.
        line: u32,
        /// The instruction as it is written.
        instruction: String,
        /// The block's index.
        block: [u32; 3],
        /// The thread's index in the block.
        thread: [u32; 3],
        /// The address, if the operation has one.
        address: Option<u64>,
    },
    /// A call to a function of CUDA's device runtime that the emulator does not have (`vprintf`, `malloc`, `free`).
    #[error(
        "PTX line {line}: not supported: a call to `{function}` (`{instruction}`, block {block:?}, thread {thread:?})"
    )]
    SystemCall {
        /// The function.
        function: String,
        /// Line of the call, from 1.
        line: u32,
        /// The call as it is written.
        instruction: String,
        /// The block's index.
        block: [u32; 3],
        /// The thread's index in the block.
        thread: [u32; 3],
    },
    /// The launch ran more instructions than [`Options::instruction_limit`](crate::Options::instruction_limit) allows.
    #[error("kernel `{kernel}` ran more than {limit} warp instructions; the last was at PTX line {line}")]
    InstructionLimit {
        /// The kernel.
        kernel: String,
        /// The limit.
        limit: u64,
        /// The line at which a warp was when the launch reached the limit.
        line: u32,
    },
    /// The launch ran past its [`Options::deadline`](crate::Options::deadline).
    #[error("kernel `{kernel}` did not end before its deadline; it was at PTX line {line}")]
    Deadline {
        /// The kernel.
        kernel: String,
        /// The line at which a warp was at the deadline.
        line: u32,
    },
    /// Every live thread of a block waits, at barriers that cannot complete.
    #[error("block {block:?} is deadlocked: {message}")]
    Deadlock {
        /// The block's index.
        block: [u32; 3],
        /// The threads that wait, and where.
        message: String,
    },
    /// The device memory is exhausted, or an address is in none of its allocations.
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryError),
}

fn address_text(address: Option<u64>) -> String {
    address
        .map(|address| format!(", address {address:#x}"))
        .unwrap_or_default()
}

/// The text of a span on one line, for a message: line breaks and runs of blanks become single spaces, and a long text
/// is cut.
pub(crate) fn excerpt(text: &str, span: (usize, usize)) -> String {
    let words = text.get(span.0..span.1).unwrap_or_default().split_whitespace();
    let mut line = words.collect::<Vec<_>>().join(" ");
    if line.len() > 160 {
        let end = (0..=157).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}
