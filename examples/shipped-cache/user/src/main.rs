//! Says which kernels a dependency's operators use, and runs them. This program has no build script, and tunes nothing.

use energy_kernel::prelude::*;
use energy_kernel::{Objective, Result};

fn main() -> Result<()> {
    let gpu = Gpu::emulated();
    for rows in [16, 40, 64] {
        println!(
            "{}",
            shipped_cache::softmax::plan(&gpu, &Sizes::from([("R", rows), ("C", 512)]))?
        );
        println!(
            "{}",
            shipped_cache::linear::plan(&gpu, &Sizes::from([("M", rows), ("N", 128), ("K", 64)]))?
        );
    }
    let x = Tensor::from_slice(&gpu, &[16, 512], &[1.0f32; 16 * 512])?;
    let y = shipped_cache::softmax(&gpu, &x)?.to_vec()?;
    println!("softmax of equal values: {} (1/512 = {})", y[0], 1.0 / 512.0);

    // The whole front is shipped: another objective chooses another kernel, and nothing is tuned for it.
    gpu.set_objective(Objective::Latency);
    let fastest = shipped_cache::linear::plan(&gpu, &Sizes::from([("M", 16), ("N", 128), ("K", 64)]))?;
    println!("fastest linear: {}", fastest.program());
    Ok(())
}
