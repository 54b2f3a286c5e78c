//! Running any text at all, for tests and the fuzz target.

use energy_kernel_emulator::{Argument, Launch, Memory, Module, Options, launch};

/// Parses a text and runs each of its kernels under an instruction limit, with all checks and with none.
pub fn exercise(text: &str) {
    let Ok(module) = Module::parse(text) else { return };
    let memory = Memory::new(1 << 20);
    let Ok(buffer) = memory.allocate(4096) else { return };
    for kernel in module.kernels() {
        let arguments: Vec<Argument> = kernel
            .parameters()
            .iter()
            .map(|parameter| match parameter.size {
                8 => Argument::U64(buffer),
                4 => Argument::U32(64),
                size => Argument::Bytes(vec![1; size.min(1 << 16)]),
            })
            .collect();
        for checked in [true, false] {
            let with = Launch {
                grid: [2, 1, 1],
                block: kernel.required_threads().unwrap_or([48, 1, 1]),
                dynamic_shared: 8192,
                arguments: &arguments,
                options: Options {
                    sanitize: checked,
                    count: checked,
                    threads: Some(1),
                    instruction_limit: Some(20_000),
                    approx_error: true,
                    ..Options::default()
                },
            };
            let _ = launch(&module, kernel.name(), &memory, &with);
        }
    }
}
