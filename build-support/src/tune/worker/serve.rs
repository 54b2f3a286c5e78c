//! The worker's side: answers the parent's requests with a backend.

use super::message::{Opened, Reply, Request};
use crate::tune::backend::{Backend, BackendError, Instance};
use crate::tune::data::{Data, inputs};
use crate::tune::gpu::GpuBackend;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::record::CacheMode;
use energy_kernel_compiler::record::encoding::{encode, read};
use energy_kernel_compiler::size::Specialisation;
use std::io::{self, BufRead, Write};
use std::sync::mpsc;

/// A backend that may lack an energy counter.
pub(super) trait Opens: Backend {
    /// The reason that energy cannot be measured. `None` if it can.
    fn without_energy(&self) -> Option<&str>;
}

impl Opens for GpuBackend {
    fn without_energy(&self) -> Option<&str> {
        self.without_energy()
    }
}

/// Answers requests. The end of the input ends the process.
///
/// # Errors
/// The output cannot be written, because the parent has ended.
pub(super) fn serve<B: Opens>(
    open: impl Fn(usize, CacheMode) -> Result<B, String>,
    mut input: impl BufRead + Send + 'static,
    mut output: impl Write,
) -> io::Result<()> {
    let mut say = |reply: &Reply| {
        let bytes = encode(reply).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        output.write_all(&bytes)?;
        output.flush()
    };
    say(&Reply::Ready)?;
    let (sender, requests) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        while let Ok(Some(request)) = read::<Request>(&mut input) {
            if sender.send(request).is_err() {
                return;
            }
        }
        // The parent has ended. Do not wait for running kernels.
        std::process::exit(0);
    });
    let mut served = None;
    for request in requests {
        let reply = match (request, &mut served) {
            (Request::Open { candidates, cache }, _) => {
                let opened = open(usize::try_from(candidates).unwrap_or(usize::MAX), cache);
                Reply::Opened(opened.map(|backend| served.insert(Served::new(backend)).opened()))
            }
            (request, Some(served)) => served.answer(request),
            (_, None) => Reply::Done(Err(BackendError::Broken("no GPU was opened".to_owned()))),
        };
        say(&reply)?;
    }
    Ok(())
}

/// A backend, its current instance and that instance's candidates.
struct Served<B: Backend> {
    backend: B,
    instance: Option<Owned>,
    candidates: Vec<B::Candidate>,
}

/// An instance that owns its data.
struct Owned {
    checked: Checked,
    specialisation: Specialisation,
    sizes: Vec<u64>,
    inputs: Vec<Data>,
    seed: u64,
    warm_inputs: Vec<u32>,
}

impl Owned {
    fn new(
        op: Op,
        specialisation: Specialisation,
        sizes: Vec<u64>,
        seed: u64,
        warm_inputs: Vec<u32>,
    ) -> Result<Owned, BackendError> {
        let unfit = |why: String| BackendError::Unfit(why);
        let checked = Checked::new(op).map_err(|_| unfit("the operator is invalid".to_owned()))?;
        checked.verify(&sizes).map_err(|error| unfit(error.to_string()))?;
        let inputs = inputs(&checked, &sizes, seed).map_err(unfit)?;
        Ok(Owned {
            checked,
            specialisation,
            sizes,
            inputs,
            seed,
            warm_inputs,
        })
    }

    fn instance(&self) -> Instance<'_> {
        Instance {
            checked: &self.checked,
            specialisation: &self.specialisation,
            sizes: &self.sizes,
            inputs: &self.inputs,
            seed: self.seed,
            warm_inputs: &self.warm_inputs,
        }
    }
}

impl<B: Opens> Served<B> {
    fn new(backend: B) -> Served<B> {
        Served {
            backend,
            instance: None,
            candidates: Vec::new(),
        }
    }

    fn opened(&self) -> Opened {
        Opened {
            device: self.backend.device().clone(),
            uuid: self.backend.uuid(),
            machine: self.backend.machine(),
            without_energy: self.backend.without_energy().map(str::to_owned),
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        let Served {
            backend,
            instance,
            candidates,
        } = self;
        let current = || match &*instance {
            Some(owned) => Ok(owned.instance()),
            None => Err(BackendError::Broken("no instance was begun".to_owned())),
        };
        let loaded = |number: u64| {
            let candidate = usize::try_from(number).ok().and_then(|number| candidates.get(number));
            candidate.ok_or_else(|| BackendError::Broken(format!("there is no candidate {number}")))
        };
        match request {
            Request::Open { .. } => Reply::Opened(Ok(self.opened())),
            Request::Effort(effort) => {
                backend.set_effort(effort);
                Reply::Done(Ok(()))
            }
            Request::Begin {
                op,
                specialisation,
                sizes,
                seed,
                warm_inputs,
                time,
            } => {
                candidates.clear();
                *instance = None;
                let begun = Owned::new(op, specialisation, sizes, seed, warm_inputs).and_then(|owned| {
                    backend.begin(owned.instance(), time.deadline())?;
                    *instance = Some(owned);
                    Ok(())
                });
                Reply::Done(begun)
            }
            Request::Load { kernel, indices, time } => {
                let loaded = current().and_then(|instance| backend.load(instance, &kernel, &indices, time.deadline()));
                Reply::Loaded(loaded.map(|(candidate, results)| {
                    candidates.push(candidate);
                    (candidates.len() as u64 - 1, results)
                }))
            }
            Request::Latency { candidate, time } => {
                let measured =
                    current().and_then(|instance| backend.latency(instance, loaded(candidate)?, time.deadline()));
                Reply::Measured(measured.map(Some))
            }
            Request::Energy {
                candidate,
                latency,
                time,
            } => Reply::Measured(
                current().and_then(|instance| backend.energy(instance, loaded(candidate)?, latency, time.deadline())),
            ),
        }
    }
}
