//! Parses any text and runs every kernel in it. Nothing may panic, hang or touch the host's memory.
//!
//! The tests' kernels are the seed. Half of the mutations move, repeat or replace whole words, because mutated bytes
//! seldom parse. In this folder:
//!
//! ```text
//! cargo install cargo-fuzz
//! mkdir -p corpus/launch && cp ../tests/foreign/kernels/*.ptx corpus/launch/
//! cargo +nightly fuzz run launch -- -max_total_time=600 -max_len=40000 -timeout=30
//! ```

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../../tests/common/exercise.rs"]
mod exercise;

fuzz_target!(|text: &[u8]| exercise::exercise(&String::from_utf8_lossy(text)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let Ok(text) = std::str::from_utf8(&data[..size]) else {
        return fuzzer_mutate(data, size, max_size);
    };
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut words: Vec<&str> = text
        .split_inclusive([' ', ',', ';', '.', '\n', ']', '[', '{', '}', ':'])
        .collect();
    let mut state = u64::from(seed) | 1;
    let mut below = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit.max(1)
    };
    const NUMBERS: [&str; 8] = [
        "0,",
        "-1,",
        "255;",
        "4294967295,",
        "0x8000000000000000,",
        "65536]",
        "1048576,",
        "32;",
    ];
    for _ in 0..1 + below(3) {
        if words.is_empty() {
            break;
        }
        let (at, other) = (below(words.len()), below(words.len()));
        match below(5) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[other]),
            2 => words[at] = words[other],
            3 => words.swap(at, other),
            _ => words[at] = NUMBERS[below(NUMBERS.len())],
        }
    }
    let mutated = words.concat();
    let kept = mutated.len().min(max_size).min(data.len());
    data[..kept].copy_from_slice(&mutated.as_bytes()[..kept]);
    kept
});
