//! Shared by the tests: the operators of the validation set, and a way to run any schedule of them on the emulator with its sanitizer, or on
//! a GPU ([`on_gpu`]).
//!
//! The compiler's front end reads these operators from their *source*, so that a test can choose schedule, specialisation and target. The
//! macro and the runtime have tests of their own, and [`mod@scenarios`] run on any GPU.

pub mod on_gpu;
pub mod scenarios;
pub mod split_k;
pub mod tools;
pub mod vectors;

use energy_kernel_compiler::bind::Values;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::features;
use energy_kernel_compiler::ir::SizeId;
use energy_kernel_compiler::kernel::{Kernel, MOST_WORKSPACE};
use energy_kernel_compiler::lang;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::reference::{Reference, coordinates};
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::{Extent, Specialisation};
use energy_kernel_compiler::target::Machine;
use energy_kernel_emulator::{Argument, Counts, Launch, Memory, Module, Options};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;

/// The source of the operators in the validation set.
pub const OPERATORS: &str = include_str!("operators.rs");

/// Splits a space of schedules by family.
pub fn families(space: &[Schedule]) -> impl Iterator<Item = &[Schedule]> {
    space.chunk_by(|a, b| a.family() == b.family())
}

/// The families that none of these schedules belongs to. Where `ONLY` leaves out operators, none is missing.
pub fn missing_families<'a>(schedules: impl IntoIterator<Item = &'a Schedule>) -> Vec<&'static str> {
    let seen: BTreeSet<&str> = schedules.into_iter().map(Schedule::family).collect();
    let complete = std::env::var_os("ONLY").is_none() && std::env::var_os("FAMILY").is_none();
    let families = Schedule::FAMILIES.iter().copied();
    families.filter(|family| complete && !seen.contains(family)).collect()
}

/// The numbers of a schedule's parameter, by its name in the text form: three for `block` of `block=16x32x8`. None if the family has no such
/// parameter.
pub fn parameter(schedule: &Schedule, name: &str) -> Option<Vec<u32>> {
    let text = schedule.to_string();
    let pairs = text.split(' ').filter_map(|word| word.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    value.split('x').map(|number| number.parse().ok()).collect()
}

/// The same schedule with one parameter changed. None if the family has no such parameter.
pub fn with_parameter(schedule: &Schedule, name: &str, value: u32) -> Option<Schedule> {
    parameter(schedule, name)?;
    let text = schedule.to_string();
    let changed = text.split(' ').map(|word| match word.split_once('=') {
        Some((key, _)) if key == name => format!("{key}={value}"),
        _ => word.to_owned(),
    });
    changed.collect::<Vec<_>>().join(" ").parse().ok()
}

/// Reads every annotated function of a file.
///
/// # Panics
/// One of them is not valid.
pub fn operators(source: &str) -> Vec<(String, Checked)> {
    let file = syn::parse_file(source).expect("the operators are valid Rust");
    let mut operators = Vec::new();
    for item in file.items {
        let syn::Item::Fn(function) = item else { continue };
        if annotation(&function).is_none() {
            continue;
        }
        let name = function.sig.ident.to_string();
        let variants = operator(function).unwrap_or_else(|error| panic!("{name}: {error}"));
        operators.extend(variants.into_iter().map(|checked| (name.clone(), checked)));
    }
    operators
}

/// The operator of the validation set with that name; the first of several element types.
///
/// # Panics
/// There is none.
pub fn of_validation_set(name: &str) -> Checked {
    let found = operators(OPERATORS).into_iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("{name} is not among the operators")).1
}

/// Reads an annotated function: one operator for each combination of element types.
///
/// # Errors
/// It is not valid.
pub fn operator(mut function: syn::ItemFn) -> syn::Result<Vec<Checked>> {
    let attribute = annotation(&function).map(|at| function.attrs.remove(at).meta);
    let arguments = match attribute {
        Some(syn::Meta::List(list)) => list.tokens,
        _ => proc_macro2::TokenStream::new(),
    };
    let operator = lang::parse(arguments, quote::quote!(#function))?;
    Ok(operator.variants.into_iter().map(|variant| variant.checked).collect())
}

/// The position of `#[energy_kernel]` among a function's attributes.
fn annotation(function: &syn::ItemFn) -> Option<usize> {
    let is_ours = |attribute: &syn::Attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|segment| segment.ident == "energy_kernel")
    };
    function.attrs.iter().position(is_ours)
}

/// A kernel to check: an operator at sizes, and a schedule.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// The operator's name.
    pub name: &'a str,
    /// The operator.
    pub checked: &'a Checked,
    /// All sizes of the call.
    pub sizes: Vec<u64>,
    /// The kernel's knowledge of the sizes.
    pub specialisation: Specialisation,
    /// The kernel's schedule.
    pub schedule: Schedule,
}

/// Compute capability and number of multiprocessors of one GPU for each set of instructions and limits: A100, RTX A6000, RTX 6000 Ada, H100,
/// B200, RTX 5090.
pub const GPUS: [((u32, u32), u32); 6] = [
    ((8, 0), 108),
    ((8, 6), 84),
    ((8, 9), 142),
    ((9, 0), 132),
    ((10, 0), 148),
    ((12, 0), 170),
];

/// The number of sizes for each operator: with `EVERY_CASE` in the environment, and without.
const ROUNDS: [usize; 2] = [3, 1];
/// The number of schedules of a family for each size and specialisation.
const SAMPLES: usize = 3;

/// The validation set for a machine: every operator at random sizes, fixed and as arguments, at random schedules of every family that accepts
/// it.
///
/// The environment variable `SEED` selects another set, `ONLY` keeps the operators with that text in their names, and `EVERY_CASE` draws three
/// times as many cases; `FAMILY` keeps the schedules of one family.
pub fn cases(operators: &[(String, Checked)], machine: Machine) -> Vec<Case<'_>> {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(2);
    let mut random = StdRng::seed_from_u64(seed);
    let only = std::env::var("ONLY").unwrap_or_default();
    let family = std::env::var("FAMILY").ok();
    let rounds = ROUNDS[usize::from(std::env::var_os("EVERY_CASE").is_none())];
    let mut cases = Vec::new();
    for (name, checked) in operators.iter().filter(|(name, _)| name.contains(&only)) {
        for _ in 0..rounds {
            let sizes = random_sizes(checked, &mut random);
            for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
                for points in families(&schedule::space(&Problem::new(checked, &specialisation, machine))) {
                    if family.as_ref().is_some_and(|family| family != points[0].family()) {
                        continue;
                    }
                    cases.extend(points.sample(&mut random, SAMPLES).map(|&schedule| Case {
                        name,
                        checked,
                        sizes: sizes.clone(),
                        specialisation: specialisation.clone(),
                        schedule,
                    }));
                }
            }
        }
    }
    cases
}

/// Thread instructions that the emulator runs in seconds.
const MOST_INSTRUCTIONS: f64 = 5e8;

/// `true` if the emulator runs a kernel in seconds. One that computes a deep intermediate tensor anew for every use may take hours.
pub fn is_short(problem: &Problem<'_>, schedule: &Schedule, sizes: &[u64]) -> bool {
    let features = features::of(problem, schedule, sizes);
    features.is_ok_and(|features| features.counts.thread_instructions.total().low as f64 <= MOST_INSTRUCTIONS)
}

impl Case<'_> {
    /// `true` if the emulator runs it in seconds.
    pub fn is_short(&self, machine: Machine) -> bool {
        let problem = Problem::new(self.checked, &self.specialisation, machine);
        is_short(&problem, &self.schedule, &self.sizes)
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            name, sizes, schedule, ..
        } = self;
        write!(f, "{name} {sizes:?} {:?}: {schedule}", self.specialisation.extents)
    }
}

/// An argument of an operator: a tensor's bytes, or a scalar's.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The elements as they are stored, little-endian.
    pub bytes: Vec<u8>,
}

/// The outputs of a run, and the emulator's counts.
#[derive(Debug)]
pub struct Run {
    /// The elements of each output as they are stored.
    pub outputs: Vec<Vec<u8>>,
    /// The kernel's events.
    pub counts: Counts,
}

/// Runs a kernel of an operator on the emulator with the sanitizer.
///
/// # Errors
/// The kernel does not parse, fails, or has findings.
pub fn run(checked: &Checked, kernel: &Kernel, sizes: &[u64], inputs: &[Input]) -> Result<Run, String> {
    launch(checked, kernel, sizes, inputs, true)
}

/// Counts the events of a kernel on the emulator, without the sanitizer: for kernels that other tests check.
///
/// # Errors
/// The kernel does not parse, or fails.
pub fn count(checked: &Checked, kernel: &Kernel, sizes: &[u64], inputs: &[Input]) -> Result<Counts, String> {
    Ok(launch(checked, kernel, sizes, inputs, false)?.counts)
}

/// The 32-bit values of a thread that are live at once in a kernel's first launch, by the emulator.
///
/// # Panics
/// The kernel does not parse.
pub fn live_registers(kernel: &Kernel) -> u32 {
    let module = Module::parse(&kernel.ptx).expect("PTX of the compiler");
    let live = module.live_registers(&kernel.launches[0].entry);
    live.expect("an entry of the module")
}

fn launch(checked: &Checked, kernel: &Kernel, sizes: &[u64], inputs: &[Input], sanitize: bool) -> Result<Run, String> {
    let op = checked.op();
    let module = Module::parse(&kernel.ptx).map_err(|error| error.to_string())?;
    let memory = Memory::new(1 << 30);
    let upload = |bytes: &[u8]| -> Result<u64, String> {
        let address = memory
            .allocate(bytes.len().max(1) as u64)
            .map_err(|error| error.to_string())?;
        memory.write(address, bytes).map_err(|error| error.to_string())?;
        Ok(address)
    };
    let mut words = Vec::new();
    for (input, given) in op.inputs.iter().zip(inputs) {
        words.push(match input.dims {
            Some(_) => upload(&given.bytes)?,
            None => given
                .bytes
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte)),
        });
    }
    let mut outputs = Vec::new();
    for output in &op.outputs {
        let elements: u64 = output.dims.iter().map(|size| sizes[size.index()]).product();
        let bytes = elements * u64::from(output.element.size());
        let address = memory.allocate(bytes.max(1)).map_err(|error| error.to_string())?;
        outputs.push((address, bytes as usize));
    }
    let grids = kernel.grids(sizes).map_err(|error| error.to_string())?;
    let bytes = kernel
        .scratch_bytes(&grids, sizes, MOST_WORKSPACE)
        .map_err(|error| error.to_string())?;
    let mut scratch = Vec::new();
    for (own, &bytes) in kernel.scratch.iter().zip(&bytes) {
        let address = memory.allocate(bytes.max(1)).map_err(|error| error.to_string())?;
        if own.content.is_zeroed() {
            memory.fill(address, 0, bytes).map_err(|error| error.to_string())?;
        }
        scratch.push(address);
    }
    let index_errors = upload(&[0; 4])?;
    let values = Values {
        inputs: &words,
        outputs: &outputs.iter().map(|(address, _)| *address).collect::<Vec<_>>(),
        sizes,
        index_errors,
        scratch: &scratch,
    };
    let mut counts = Counts::default();
    for (launch, &grid) in kernel.launches.iter().zip(&grids) {
        let bound = launch.bind(&values).map_err(|error| error.to_string())?;
        if grid.contains(&0) {
            continue;
        }
        let request = Launch {
            grid,
            block: launch.block,
            dynamic_shared: launch.dynamic_shared,
            arguments: &bound.to_bytes().map(Argument::Bytes).collect::<Vec<_>>(),
            options: Options {
                sanitize,
                count: true,
                instruction_limit: Some(1 << 32),
                ..Options::default()
            },
        };
        let report = energy_kernel_emulator::launch(&module, &launch.entry, &memory, &request)
            .map_err(|error| error.to_string())?;
        if let Some(finding) = report.findings.first() {
            return Err(format!("{} findings, the first: {finding:?}", report.findings.len()));
        }
        counts += report.counts;
    }
    let zeroed = kernel.scratch.iter().map(|own| own.content.is_zeroed());
    for ((zeroed, address), bytes) in zeroed.zip(scratch).zip(bytes) {
        let mut left = vec![0; if zeroed { bytes as usize } else { 0 }];
        memory.read(address, &mut left).map_err(|error| error.to_string())?;
        if left.iter().any(|&byte| byte != 0) {
            return Err("scratch memory that must be 0 is not after the launch".to_owned());
        }
    }
    let outputs = outputs
        .into_iter()
        .map(|(address, length)| {
            let mut bytes = vec![0; length];
            memory.read(address, &mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        })
        .collect::<Result<_, String>>()?;
    Ok(Run { outputs, counts })
}

/// About the most elements of an output that are compared.
pub const POINTS: u64 = 4096;

/// The first wrong element among about [`POINTS`] elements of each output. An element is wrong if it is outside the reference's error bound.
///
/// # Panics
/// The sizes and inputs are not valid for the operator.
pub fn first_wrong(checked: &Checked, sizes: &[u64], inputs: &[Input], outputs: &[Vec<u8>]) -> Option<String> {
    first_wrong_among(checked, sizes, inputs, outputs, POINTS)
}

/// [`first_wrong`] among about `points` elements of each output.
///
/// # Panics
/// The sizes and inputs are not valid for the operator.
pub fn first_wrong_among(
    checked: &Checked,
    sizes: &[u64],
    inputs: &[Input],
    outputs: &[Vec<u8>],
    points: u64,
) -> Option<String> {
    let bytes: Vec<&[u8]> = inputs.iter().map(|input| input.bytes.as_slice()).collect();
    let reference = Reference::new(checked, sizes, &bytes).expect("the sizes were verified");
    let mut evaluator = reference.evaluator();
    for (position, output) in checked.op().outputs.iter().enumerate() {
        let shape = reference.shape(position);
        let volume: u64 = shape.iter().product();
        let stride = volume.div_ceil(points.max(1)).max(1) | 1;
        for number in (0..volume).step_by(stride as usize).chain(volume.checked_sub(1)) {
            let at = coordinates(number, &shape);
            let expected = evaluator.at(position, &at);
            let width = output.element.size() as usize;
            let got = &outputs[position][number as usize * width..][..width];
            if !expected.accepts(output.element, got) {
                let got = vectors::values(output.element, got)[0];
                return Some(format!("output {position} at {at:?} is {got}, expected {expected:?}"));
            }
        }
    }
    None
}

const SIZES: [u64; 18] = [1, 2, 3, 4, 5, 7, 10, 13, 16, 17, 26, 31, 32, 33, 63, 64, 65, 127];
/// The most elements of an input or output. The emulator runs such kernels in milliseconds.
const VOLUME: u64 = 30_000;

/// Random sizes that an operator accepts: 1, primes, and sizes near the edges of tiles.
pub fn random_sizes(checked: &Checked, random: &mut StdRng) -> Vec<u64> {
    random_sizes_of(checked, &SIZES, VOLUME, random)
}

/// Random sizes that an operator accepts, drawn from `choices`, with at most `most` elements in each input and output.
pub fn random_sizes_of(checked: &Checked, choices: &[u64], most: u64, random: &mut StdRng) -> Vec<u64> {
    let op = checked.op();
    let free = op.sizes.iter().filter(|size| size.definition.is_none()).count();
    loop {
        let chosen: Vec<u64> = (0..free).map(|_| *choices.choose(random).expect("not empty")).collect();
        let Ok(sizes) = checked.derive(chosen) else { continue };
        let volume = |dims: &[SizeId]| dims.iter().map(|size| sizes[size.index()]).product::<u64>();
        let inputs = op.inputs.iter().filter_map(|input| input.dims.as_deref());
        let outputs = op.outputs.iter().map(|output| output.dims.as_slice());
        let small = inputs.chain(outputs).all(|dims| volume(dims) <= most);
        if small && checked.verify(&sizes).is_ok() {
            return sizes;
        }
    }
}

/// A specialisation in which the sizes at the chosen positions have upper bounds, each half as large again as the size. The others are arguments.
pub fn bounded(sizes: &[u64], is_bounded: impl Fn(usize) -> bool) -> Specialisation {
    let mut specialisation = Specialisation::like(sizes);
    for (position, (extent, &size)) in specialisation.extents.iter_mut().zip(sizes).enumerate() {
        if is_bounded(position) {
            *extent = Extent::AtMost {
                multiple_of: extent.multiple_of(),
                most: size + size / 2,
            };
        }
    }
    specialisation
}

/// Tensors of roughly normal numbers, or of integers from −3 to 19.
pub fn random_inputs(checked: &Checked, sizes: &[u64], random: &mut StdRng) -> Vec<Input> {
    let op = checked.op();
    op.inputs
        .iter()
        .map(|input| {
            let elements: u64 = input.dims.iter().flatten().map(|size| sizes[size.index()]).product();
            let bytes = (0..elements)
                .flat_map(|_| {
                    let value = if input.element.is_float() {
                        // The sum of uniform numbers is roughly normal.
                        (0..6).map(|_| random.random::<f64>() - 0.5).sum::<f64>() * 1.4
                    } else {
                        // Some are out of range where they serve as indices.
                        random.random_range(-3i32..20).into()
                    };
                    vectors::store(input.element, value)
                })
                .collect();
            Input { bytes }
        })
        .collect()
}
