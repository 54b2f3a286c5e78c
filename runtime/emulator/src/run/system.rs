//! Calls to functions that the GPU's runtime provides: failed assertions are faults, the others are not supported.

use crate::error::{Error, excerpt};
use crate::machine::core::{Core, Stop};
use crate::machine::program::{ASSERTION, FunctionInfo, Operation};
use crate::machine::warp::Warp;

impl Warp {
    /// The error of a call to a function of the GPU's runtime, which a lane has reached.
    #[cold]
    pub(super) fn system_call(&self, core: &Core<'_>, operation: &Operation, lane: usize) -> Stop {
        let program = core.launch.program;
        let Some(frame) = self.stacks[lane].last() else {
            return core.fault(self, operation, lane, None, "a system function runs without a call");
        };
        let function = &program.functions[frame.function as usize];
        let call = &program.operations[frame.resume as usize - 1];
        if function.name == ASSERTION {
            return core.fault(self, call, lane, None, self.failed_assertion(core, function, lane));
        }
        let info = &program.info[call.index as usize];
        Stop::from(Error::SystemCall {
            function: function.name.clone(),
            line: info.line,
            instruction: excerpt(core.launch.text, info.span),
            block: core.block_index,
            thread: core.thread(self, lane),
        })
    }

    /// The message of a failed assertion, from the arguments of `__assertfail` (condition, file, line, function, bytes
    /// of a character).
    fn failed_assertion(&self, core: &Core<'_>, function: &FunctionInfo, lane: usize) -> String {
        let argument = |index: usize| {
            let &(at, size) = function.parameters.get(index)?;
            let at = (self.local_bases[lane] + at) as usize;
            let bytes = self.local[lane].bytes.get(at..at + size as usize)?;
            Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        };
        let text = |index: usize| core.launch.string(argument(index)?);
        match (text(0), text(1), argument(2), text(3)) {
            (Some(condition), Some(file), Some(line), Some(function)) => {
                format!("the assertion `{condition}` failed at {file}:{line} in `{function}`")
            }
            _ => "an assertion failed".into(),
        }
    }
}
