//! Tunes the annotated operators, on the local GPU or, without one, a few candidates on the emulated device.

fn main() {
    // Few, for there are many operators and sizes.
    energy_kernel_build::Build::new()
        .or_emulated()
        .emulated_candidates(3)
        .run();
}
