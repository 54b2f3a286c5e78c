//! NVIDIA's tools, which only some machines have.

use std::io::Write;

/// The paths of the tools that these environment variables name.
///
/// If one is not set, the test must return, and a line on standard error names it. If `ENERGY_KERNEL_DEMAND_TOOLS` is set, this fails instead.
///
/// # Panics
/// `ENERGY_KERNEL_DEMAND_TOOLS` is set, and one of the variables is not.
pub fn tools<const N: usize>(test: &str, variables: [&str; N]) -> Option<[String; N]> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let missing: Vec<&str> = variables.into_iter().filter(|name| value(name).is_none()).collect();
    if missing.is_empty() {
        return Some(variables.map(|name| value(name).unwrap_or_default()));
    }
    let what = if missing.len() == 1 {
        "path of the tool"
    } else {
        "paths of the tools"
    };
    let remedy = format!("set {} to the {what}", missing.join(" and "));
    assert!(
        value("ENERGY_KERNEL_DEMAND_TOOLS").is_none(),
        "{test} needs a tool: {remedy}"
    );
    // libtest captures what `eprintln!` prints, but not this.
    let _ = writeln!(std::io::stderr(), "{test} is left out: {remedy}");
    None
}
