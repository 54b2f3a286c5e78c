//! Modules, functions and launches.

use crate::abi::{Array, OptionValue, Out, Text};
use crate::codes::{Answer, Code};
use crate::machine::Machine;
use crate::stream::Work;
use std::sync::Arc;

/// The alternative form of kernel parameters, which is ignored.
type Extra = Array<u8>;

entries! {
    fn cuModuleLoadDataEx(module: Out<u64>, image: Text, count: u32, kinds: Array<i32>, values: Array<OptionValue>) |machine| {
        let (kinds, values) = (kinds.slice(count as usize)?, values.slice(count as usize)?);
        let loaded = load(machine, &image, |log| OptionValue::log(kinds, values, log))?;
        module.set(loaded)
    }

    fn cuModuleLoadData(module: Out<u64>, image: Text) |machine| {
        let loaded = load(machine, &image, |_| {})?;
        module.set(loaded)
    }

    fn cuModuleUnload(module: u64) |machine| {
        machine.current()?;
        machine.outside_captures()?;
        machine.unload(module)
    }

    fn cuModuleGetFunction(function: Out<u64>, module: u64, name: Text) |machine| {
        machine.current()?;
        let handle = machine.function(module, name.read()?)?;
        function.set(handle)
    }

    fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<usize>, module: u64, name: Text) |machine| {
        let device = machine.current()?;
        let module = machine.modules.get(&module).ok_or(Code::INVALID_HANDLE)?;
        let found = module.module.global(&machine.devices[device].memory, name.read()?);
        let (at, length) = found.map_err(|_| Code::OUT_OF_MEMORY)?.ok_or(Code::NOT_FOUND)?;
        address.set(at)?;
        bytes.set(length as usize)
    }

    fn cuFuncGetAttribute(value: Out<i32>, which: u32, function: u64) |machine| {
        machine.current()?;
        value.set(machine.function_attribute(which, function)? as i32)
    }

    fn cuFuncSetAttribute(function: u64, which: u32, value: i32) |machine| {
        machine.current()?;
        machine.set_function_attribute(function, which, value)
    }

    fn cuLaunchKernel(
        function: u64,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: u64,
        parameters: Array<Array<u8>>,
        _extra: Extra,
    ) |machine| {
        let current = machine.current()?;
        let id = machine.stream(stream)?;
        // Launches need a stream of the current context; copies accept any stream.
        if machine.streams[&id].device != current {
            return Err(Code::INVALID_HANDLE);
        }
        let sizes = machine.parameter_sizes(function)?;
        let pointers = parameters.slice(sizes.len())?;
        let arguments: Answer<Vec<Vec<u8>>> = std::iter::zip(pointers, sizes)
            .map(|(pointer, size)| pointer.slice(size).map(<[u8]>::to_vec))
            .collect();
        let shape = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let launch = machine.launch(current, function, shape, shared, arguments?)?;
        machine.enqueue(id, Work::Launch(Arc::new(launch)))
    }
}

fn load(machine: &mut Machine, image: &Text, log: impl Fn(&str)) -> Answer<u64> {
    let device = machine.current()?;
    machine.outside_captures()?;
    let ptx = image.read().map_err(|_| Code::INVALID_PTX)?;
    machine.load(device, ptx).map_err(|(code, text)| {
        eprintln!("virtual GPU: {text}");
        log(&text);
        code
    })
}
