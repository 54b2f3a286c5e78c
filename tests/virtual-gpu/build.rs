//! The library stays loaded once it was: a program that closes it, as after a fault in `cuInit`, finds the same GPUs when it opens it again.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
