//! Calibrates the energy counter of the first GPU.

use super::backend::{Backend, BackendError, Instance};
use super::data::inputs;
use super::gpu::GpuBackend;
use energy_kernel::energy::Calibration;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule;
use energy_kernel_compiler::size::Specialisation;
use std::time::{Duration, Instant};

/// The load must have run once within this time.
const CALIBRATION: Duration = Duration::from_secs(60);

/// Calibrates the energy counter of the first GPU, also under a load that is switched on and off. Takes some 20 s.
///
/// # Errors
/// The reason that there is no GPU or no usable counter.
pub fn calibrate() -> Result<Calibration, String> {
    // Reads and writes 64 MB per launch: some 30 µs.
    let text = "fn load(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }";
    let item = text.parse().map_err(|error| format!("{error}"))?;
    let attribute = "tune(N = 8388608)".parse().map_err(|error| format!("{error}"))?;
    let parsed = lang::parse(attribute, item).map_err(|error| error.to_string())?;
    let checked = &parsed.variants.first().ok_or("no operator")?.checked;
    let sizes = [8_388_608];
    let specialisation = Specialisation::like(&sizes);
    let mut backend = GpuBackend::open(1)?;
    let machine = backend.machine();
    let problem = Problem::new(checked, &specialisation, machine);
    let kernel = lower(&problem, schedule::default(&problem, &sizes)).map_err(|error| error.to_string())?;
    let inputs = inputs(checked, &sizes, 0)?;
    let instance = Instance {
        checked,
        specialisation: &specialisation,
        sizes: &sizes,
        inputs: &inputs,
        seed: 0,
        warm_inputs: &[],
    };
    let calibrated = (|| {
        let deadline = Instant::now() + CALIBRATION;
        backend.begin(instance, deadline)?;
        let (candidate, _) = backend.load(instance, &kernel, &[], deadline)?;
        backend.calibrate(instance, &candidate)
    })();
    calibrated.map_err(|error: BackendError| error.to_string())
}
