//! Test vectors that numpy made.

use crate::Input;
use energy_kernel_compiler::element::{Element, Numbers};
use energy_kernel_compiler::reference::{self, Number};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One operator at one size.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// The operator's name.
    pub operator: String,
    /// Its sizes.
    pub sizes: BTreeMap<String, u64>,
    inputs: Vec<InputEntry>,
    outputs: Vec<OutputEntry>,
}

#[derive(Debug, Deserialize)]
struct InputEntry {
    #[serde(rename = "type")]
    element: String,
    value: Option<f64>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    bytes: usize,
}

#[derive(Debug, Deserialize)]
struct OutputEntry {
    #[serde(rename = "type")]
    element: String,
    abs: f64,
    rel: f64,
    offset: usize,
    bytes: usize,
}

/// The expected values of an output.
#[derive(Debug)]
pub struct Expected {
    /// The element type in memory.
    pub element: Element,
    /// The values before rounding to the element type. Integers up to 2⁵³ are exact.
    pub values: Vec<f64>,
    /// The largest absolute error.
    pub absolute: f64,
    /// The largest relative error.
    pub relative: f64,
}

/// All cases, with their data.
///
/// # Panics
/// A file is missing or not in the format of `make.py`.
pub fn cases() -> Vec<(Case, Vec<Input>, Vec<Expected>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let index = std::fs::read_to_string(folder.join("index.json")).expect("index.json");
    let data = std::fs::read(folder.join("vectors.bin")).expect("vectors.bin");
    let cases: Vec<Case> = serde_json::from_str(&index).expect("index.json is what make.py writes");
    cases
        .into_iter()
        .map(|case| {
            let inputs = case.inputs.iter().map(|entry| entry.read(&data)).collect();
            let outputs = case.outputs.iter().map(|entry| entry.read(&data)).collect();
            (case, inputs, outputs)
        })
        .collect()
}

fn element(name: &str) -> Element {
    Element::from_name(name).unwrap_or_else(|| panic!("{name} is no element type"))
}

impl InputEntry {
    fn read(&self, data: &[u8]) -> Input {
        let bytes = match self.value {
            Some(value) => store(element(&self.element), value),
            None => data[self.offset..self.offset + self.bytes].to_vec(),
        };
        Input { bytes }
    }
}

impl OutputEntry {
    fn read(&self, data: &[u8]) -> Expected {
        let element = element(&self.element);
        let values = data[self.offset..self.offset + self.bytes]
            .chunks_exact(8)
            .map(|bytes| {
                let bytes: [u8; 8] = bytes.try_into().expect("eight bytes");
                if element.is_float() {
                    f64::from_le_bytes(bytes)
                } else {
                    i64::from_le_bytes(bytes) as f64
                }
            })
            .collect();
        Expected {
            element,
            values,
            absolute: self.abs,
            relative: self.rel,
        }
    }
}

impl Expected {
    /// The first element of an output that is wrong.
    pub fn first_wrong(&self, output: &[u8]) -> Option<String> {
        let got = values(self.element, output);
        if got.len() != self.values.len() {
            return Some(format!("{} elements instead of {}", got.len(), self.values.len()));
        }
        got.iter()
            .zip(&self.values)
            .enumerate()
            .find_map(|(at, (&got, &expected))| {
                let near = (got - expected).abs() <= self.absolute + self.relative * expected.abs();
                let same = got == expected || (got.is_nan() && expected.is_nan());
                (!near && !same).then(|| format!("element {at} is {got}, expected {expected}"))
            })
    }
}

/// The numbers that an element's bytes stand for.
pub fn values(element: Element, bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(element.size() as usize)
        .map(|bytes| reference::loaded(element, bytes).float())
        .collect()
}

/// The bytes of a number in memory.
pub fn store(element: Element, value: f64) -> Vec<u8> {
    let number = match element.numbers() {
        Numbers::Float(_) => Number::Float(value),
        Numbers::Integer(_) => Number::Integer(value as i64),
        Numbers::Truth => Number::Bool(value != 0.0),
    };
    reference::stored(element, number)
}
