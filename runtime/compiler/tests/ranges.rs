//! The range proof: what it must accept, what it must not.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::size::Sizes;

fn verify(source: &str, sizes: &[(&str, u64)]) -> Result<(), String> {
    let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    let checked: &Checked = &operator.variants[0].checked;
    let sizes: Sizes = sizes.iter().copied().collect();
    let sizes = checked.bind(&sizes).map_err(|error| error.to_string())?;
    checked.verify(&sizes).map_err(|error| error.to_string())
}

#[test]
fn conditions_narrow() {
    let guarded = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| if i < N { x[[i]] } else { y[[i]] } }";
    assert_eq!(verify(guarded, &[("N", 3), ("M", 10)]), Ok(()));
    let pair = "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N, N)> { |i, j| if j <= i { x[[i - j]] } else { 0.0 } }";
    assert_eq!(verify(pair, &[("N", 5)]), Ok(()));
    let open = "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N, N)> { |i, j| x[[i - j]] }";
    assert!(verify(open, &[("N", 5)]).unwrap_err().contains("from -4 to 4"));
}

#[test]
fn a_condition_that_may_wrap_says_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| if i * 100000 < N { x[[i * 100000]] } else { y[[i]] } }";
    assert!(verify(source, &[("N", 1), ("M", 30_000)]).is_err());
    assert_eq!(verify(source, &[("N", 1), ("M", 100)]), Ok(()));
}

#[test]
fn conditions_on_remainders_end() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, ()> { sum(|i: M, j: M| if i - i % 3 < 3 + j { x[[i % 2 - N]] } else { y[[j]] }) }";
    assert!(verify(source, &[("N", 2), ("M", 7)]).is_err());
}

#[test]
fn an_axis_that_never_runs_asks_for_nothing() {
    let source = "fn f(x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>) -> Tensor<f32, (M,)> { |i| x[[i + 7]] + y[[i]] }";
    assert_eq!(verify(source, &[("N", 1), ("M", 0)]), Ok(()));
    assert!(verify(source, &[("N", 1), ("M", 1)]).is_err());
}
