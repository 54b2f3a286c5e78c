//! probe
use energy_kernel_compiler::features;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let text = std::fs::read_to_string(&arguments[1]).unwrap();
    let machine = Machine {
        target: Target::Sm80,
        multiprocessors: 108,
    };
    for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        let parts: Vec<&str> = line.split(";;").map(str::trim).collect();
        let op = lang::parse(parts[0].parse().unwrap(), parts[1].parse().unwrap()).unwrap();
        let checked = &op.variants[0].checked;
        let free: Vec<u64> = parts[2].split(',').map(|s| s.trim().parse().unwrap()).collect();
        let sizes = checked.derive(free).unwrap();
        for spec in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let point: Schedule = parts[3].parse().unwrap();
            let lowered = match lower::lowered(checked, &spec, machine.target, &point) {
                Ok(l) => l,
                Err(e) => {
                    println!("{e}");
                    continue;
                }
            };
            let time = |f: &dyn Fn()| {
                (0..5)
                    .map(|_| {
                        let t = Instant::now();
                        f();
                        t.elapsed().as_micros()
                    })
                    .min()
                    .unwrap()
            };
            let f = features::of_lowered(checked, &spec, machine, &lowered, &sizes).unwrap();
            let us = time(&|| {
                features::of_lowered(checked, &spec, machine, &lowered, &sizes).unwrap();
            });
            let low = time(&|| {
                lower::lowered(checked, &spec, machine.target, &point).unwrap();
            });
            let mut inexact: Vec<String> = f
                .counts
                .events()
                .filter(|(_, c)| !c.is_exact())
                .map(|(n, c)| format!("{n} {}..{} {:.0}", c.low, c.high, c.likely))
                .collect();
            for &class in features::Class::ALL {
                let c = f.counts.warp_instructions[class];
                if !c.is_exact() {
                    inexact.push(format!("warps {} {}..{}", class.name(), c.low, c.high));
                }
            }
            println!(
                "{} {:?} {}: {us} µs (lower {low}), inexact {inexact:?} regs {}",
                checked.op().name,
                sizes,
                parts[3],
                f.registers
            );
        }
    }
}
