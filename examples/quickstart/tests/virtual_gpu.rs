//! The example on a virtual GPU: what it prints are measurements then.

#![cfg(target_os = "linux")]

use energy_kernel_virtual_gpu::Virtual;
use std::time::Duration;

#[test]
fn the_example_measures_on_a_gpu() {
    // A kernel takes a fifth of a second, so that few launches fill the windows, and ten seconds pass in one.
    let gpu = Virtual::new("8.9")
        .with("KERNEL_US", "200000")
        .with("WATTS", "250")
        .with("CLOCK", "10");
    let run = gpu.finish(
        &mut gpu.command(env!("CARGO_BIN_EXE_quickstart")),
        Duration::from_secs(60),
    );
    let text = run.text.clone();
    run.clean();
    assert!(!text.contains("simulated") && !text.contains("emulated"), "{text}");
    let costs: Vec<(f64, f64)> = text
        .lines()
        .filter(|line| line.contains(" µs ") && line.contains(" µJ"))
        .map(|line| {
            let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            (numbers[0] * 1e-6, numbers[1] * 1e-6)
        })
        .collect();
    assert_eq!(costs.len(), 6, "{text}");
    for (seconds, joules) in costs {
        // By the host's clock, so more where this machine is busy.
        assert!((0.2..1.0).contains(&seconds), "{seconds} s\n{text}");
        let watts = joules / seconds;
        assert!((watts - 250.0).abs() < 25.0, "{watts} W\n{text}");
    }
    let errors = text
        .lines()
        .filter_map(|line| line.split("against the reference: ").nth(1));
    let errors: Vec<f64> = errors.map(|error| error.trim().parse().unwrap()).collect();
    assert!(errors.len() == 3 && errors.iter().all(|error| *error < 0.01), "{text}");
}
