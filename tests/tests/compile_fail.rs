//! Compares rustc's errors for wrong operators, `compile-fail/NAME.rs`, with the expected ones, `compile-fail/NAME.stderr`.
//!
//! `TRYBUILD=overwrite cargo test -p energy-kernel-tests --test compile_fail` writes the expectations anew.

#[test]
fn wrong_operators_are_explained_at_their_place() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("compile-fail/*.rs");
}
