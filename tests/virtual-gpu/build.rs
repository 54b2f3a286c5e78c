//! Keeps the library loaded after `dlclose`: a program that closes it after a failed `cuInit` finds the same devices when it opens it again.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
