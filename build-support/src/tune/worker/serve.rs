//! The worker's side: does with a meter what the parent asks for.

use super::message::{Opened, Reply, Request};
use crate::tune::data::{Data, inputs};
use crate::tune::meter::{Meter, MeterError, Problem};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::record::CacheMode;
use energy_kernel_compiler::record::encoding::{encode, read};
use energy_kernel_compiler::size::Specialisation;
use std::io::{self, BufRead, Write};
use std::sync::mpsc;

/// A meter that may have no energy counter.
pub(super) trait Opens: Meter {
    /// Why energy cannot be measured; none where it can.
    fn without_energy(&self) -> Option<&str>;
}

impl Opens for crate::tune::GpuMeter {
    fn without_energy(&self) -> Option<&str> {
        self.without_energy()
    }
}

/// Answers requests until the input ends, which ends the process.
///
/// # Errors
/// The output cannot be written: nobody listens any more.
pub(super) fn serve<M: Opens>(
    open: impl Fn(usize, CacheMode) -> Result<M, String>,
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
        // The parent has gone. Nothing that still runs here is worth waiting for.
        std::process::exit(0);
    });
    let mut served = None;
    for request in requests {
        let reply = match (request, &mut served) {
            (Request::Open { candidates, cache }, _) => {
                let opened = open(usize::try_from(candidates).unwrap_or(usize::MAX), cache);
                Reply::Opened(opened.map(|meter| served.insert(Served::new(meter)).opened()))
            }
            (request, Some(served)) => served.answer(request),
            (_, None) => Reply::Done(Err(MeterError::Broken("no GPU was opened".to_owned()))),
        };
        say(&reply)?;
    }
    Ok(())
}

/// A meter, the problem at hand, and its candidates.
struct Served<M: Meter> {
    meter: M,
    problem: Option<Owned>,
    candidates: Vec<M::Candidate>,
}

/// A problem that belongs to the worker.
struct Owned {
    checked: Checked,
    specialisation: Specialisation,
    sizes: Vec<u64>,
    inputs: Vec<Data>,
    seed: u64,
}

impl Owned {
    fn new(op: Op, specialisation: Specialisation, sizes: Vec<u64>, seed: u64) -> Result<Owned, MeterError> {
        let unfit = |why: String| MeterError::Unfit(why);
        let checked = Checked::new(op).map_err(|_| unfit("the operator does not pass its checks".to_owned()))?;
        checked.verify(&sizes).map_err(|error| unfit(error.to_string()))?;
        let inputs = inputs(&checked, &sizes, seed).map_err(unfit)?;
        Ok(Owned {
            checked,
            specialisation,
            sizes,
            inputs,
            seed,
        })
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            checked: &self.checked,
            specialisation: &self.specialisation,
            sizes: &self.sizes,
            inputs: &self.inputs,
            seed: self.seed,
        }
    }
}

impl<M: Opens> Served<M> {
    fn new(meter: M) -> Served<M> {
        Served {
            meter,
            problem: None,
            candidates: Vec::new(),
        }
    }

    fn opened(&self) -> Opened {
        Opened {
            device: self.meter.device().clone(),
            uuid: self.meter.uuid(),
            machine: self.meter.machine(),
            without_energy: self.meter.without_energy().map(str::to_owned),
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        let Served {
            meter,
            problem,
            candidates,
        } = self;
        let current = || match &*problem {
            Some(owned) => Ok(owned.problem()),
            None => Err(MeterError::Broken("no problem was taken on".to_owned())),
        };
        let loaded = |number: u64| {
            let candidate = usize::try_from(number).ok().and_then(|number| candidates.get(number));
            candidate.ok_or_else(|| MeterError::Broken(format!("there is no candidate {number}")))
        };
        match request {
            Request::Open { .. } => Reply::Opened(Ok(self.opened())),
            Request::Effort(effort) => {
                meter.set_effort(effort);
                Reply::Done(Ok(()))
            }
            Request::Begin {
                op,
                specialisation,
                sizes,
                seed,
                time,
            } => {
                candidates.clear();
                *problem = None;
                let begun = Owned::new(op, specialisation, sizes, seed).and_then(|owned| {
                    meter.begin(owned.problem(), time.deadline())?;
                    *problem = Some(owned);
                    Ok(())
                });
                Reply::Done(begun)
            }
            Request::Load { kernel, places, time } => {
                let loaded = current().and_then(|problem| meter.load(problem, &kernel, &places, time.deadline()));
                Reply::Loaded(loaded.map(|(candidate, results)| {
                    candidates.push(candidate);
                    (candidates.len() as u64 - 1, results)
                }))
            }
            Request::Latency { candidate, time } => {
                let measured =
                    current().and_then(|problem| meter.latency(problem, loaded(candidate)?, time.deadline()));
                Reply::Measured(measured.map(Some))
            }
            Request::Energy {
                candidate,
                latency,
                time,
            } => Reply::Measured(
                current().and_then(|problem| meter.energy(problem, loaded(candidate)?, latency, time.deadline())),
            ),
        }
    }
}
