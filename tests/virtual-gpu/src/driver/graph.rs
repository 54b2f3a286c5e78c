//! Graphs. Only capture makes them.

use crate::abi::Out;
use crate::capture::Executable;
use crate::codes::Code;
use crate::stream::Work;
use std::sync::Arc;

entries! {
    fn cuGraphInstantiateWithFlags(executable: Out<u64>, graph: u64, _flags: u64) |machine| {
        machine.current()?;
        let graph = machine.graphs.get(&graph).ok_or(Code::INVALID_HANDLE)?;
        let made = Arc::new(Executable::new(graph));
        let handle = machine.handle();
        machine.executables.insert(handle, made);
        executable.set(handle)
    }

    fn cuGraphUpload(executable: u64, stream: u64) |machine| {
        machine.stream(stream)?;
        machine.executables.get(&executable).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }

    fn cuGraphLaunch(executable: u64, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        let executable = machine.executables.get(&executable).ok_or(Code::INVALID_HANDLE)?.clone();
        machine.enqueue(id, Work::Graph(executable))
    }

    fn cuGraphExecDestroy(executable: u64) |machine| {
        machine.current()?;
        machine.executables.remove(&executable).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }

    fn cuGraphDestroy(graph: u64) |machine| {
        machine.current()?;
        machine.graphs.remove(&graph).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }
}
