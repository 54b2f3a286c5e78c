//! Random normal numbers.

use rand::RngExt;
use rand::rngs::StdRng;

/// One of them, by Box and Muller.
pub fn normal(random: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
