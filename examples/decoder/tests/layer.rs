//! The layer against a `float64` re-computation (`vectors/README.md`), on the emulated device.
//!
//! Tokens come in parts, as prompts and single tokens; the re-computation has all of them at once.

use decoder::random::tensor;
use decoder::{Cache, FEATURES, Layer, Weight};
use energy_kernel::{Error, Gpu, Tensor, f16};

const TOKENS: usize = 9;

/// The tolerance of an output, of a magnitude up to 4.6: four times the error of rounding it to `f16`. All that the layer keeps on
/// the way is rounded to `f16` as well.
const LARGEST: f64 = 4.0 / 512.0;
/// The root mean square of the differences, relative to that of the outputs: two units of `f16`'s rounding, 2⁻¹¹.
const MEAN: f64 = 2.0 / 2048.0;
/// The same of what weights in `i8` make of the outputs. Rounding uniform weights to 127 steps adds 1/254 to each product, and one follows another.
const QUANTISED: f64 = 4.0 / 254.0;

#[test]
fn half_weights() {
    let outputs = outputs::<f16>(&[5, 1, 1, 1, 1]);
    assert_near(&outputs, &expected("f16"));
    assert_near(&self::outputs::<f16>(&[9]), &expected("f16"));
}

#[test]
fn int8_weights() {
    let outputs = outputs::<i8>(&[1, 3, 4, 1]);
    assert_near(&outputs, &expected("i8"));
    let lost = relative(&outputs, &expected("f16"));
    println!("i8 against f16: {lost:.1e}");
    assert!(lost > MEAN && lost < QUANTISED, "i8 against f16: {lost:.1e}");
}

#[test]
fn the_cache_is_full() {
    let gpu = Gpu::emulated();
    let layer = Layer::<f16>::random(&gpu).expect("a layer");
    let mut cache = Cache::new(&gpu, 3).expect("a cache");
    let x = Tensor::zeros(&gpu, &[2, FEATURES]).expect("two tokens");
    layer.forward(&x, &mut cache).expect("there is room");
    assert!(matches!(layer.forward(&x, &mut cache), Err(Error::Slice { .. })));
    assert_eq!(cache.length(), 2);
    let nothing = layer
        .forward(&x.slice(..0).expect("no token"), &mut cache)
        .expect("nothing to do");
    assert_eq!((nothing.shape(), cache.length()), ([0, FEATURES].as_slice(), 2));
    layer
        .forward(&x.slice(..1).expect("one token"), &mut cache)
        .expect("there is room for one");
    assert_eq!(cache.length(), 3);
}

#[test]
fn plans_are_for_the_sizes_of_the_call() {
    let layer = Layer::<i8>::random(&Gpu::emulated()).expect("a layer");
    for (tokens, positions) in [(5, 5), (1, 6), (16, 40)] {
        let plans = layer.plans(tokens as usize, positions as usize).expect("plans");
        for plan in &plans {
            assert_eq!(plan.sizes().get("T"), Some(tokens), "{plan}");
            assert!(plan.sizes().get("S").is_none_or(|size| size == positions), "{plan}");
        }
        let names: Vec<&str> = plans.iter().map(|plan| plan.operator()).collect();
        let attention = "rms_norm linear rotary linear linear rotary attention output";
        assert_eq!(names.join(" "), format!("{attention} rms_norm gated down"));
    }
    assert!(layer.plans(2, 1).is_err(), "more tokens than positions");
}

/// The layer's outputs for all tokens, which come so many at a time.
fn outputs<W: Weight>(parts: &[usize]) -> Vec<f64> {
    assert_eq!(parts.iter().sum::<usize>(), TOKENS);
    let gpu = Gpu::emulated();
    let layer = Layer::<W>::random(&gpu).expect("a layer");
    let mut cache = Cache::new(&gpu, TOKENS).expect("a cache");
    let tokens = tensor(0, TOKENS * FEATURES, 0.0, 1.0);
    let tokens = Tensor::from_slice(&gpu, &[TOKENS, FEATURES], &tokens).expect("all tokens");
    let mut outputs = Vec::new();
    for &part in parts {
        let x = tokens
            .slice(cache.length()..cache.length() + part)
            .expect("some of them");
        let y = layer.forward(&x, &mut cache).expect("the layer runs");
        assert_eq!(y.shape(), x.shape());
        outputs.extend(y.to_vec().expect("its output").into_iter().map(f16::to_f64));
    }
    outputs
}

fn expected(name: &str) -> Vec<f64> {
    let path = format!("{}/vectors/{name}.f64", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (values, rest) = bytes.as_chunks();
    assert!(rest.is_empty() && values.len() == TOKENS * FEATURES);
    values.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

fn assert_near(outputs: &[f64], expected: &[f64]) {
    let differences = outputs.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f64::max);
    let mean = relative(outputs, expected);
    println!("largest difference {largest:.1e}, root mean square {mean:.1e} of the outputs'");
    assert!(largest <= LARGEST, "largest difference {largest:.1e}");
    assert!(
        mean <= MEAN,
        "root mean square of the differences {mean:.1e} of the outputs'"
    );
}

/// The root mean square of differences, relative to that of the expected values.
fn relative(outputs: &[f64], expected: &[f64]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let differences = square(&mut outputs.iter().zip(expected).map(|(a, b)| a - b));
    (differences / square(&mut expected.iter().copied())).sqrt()
}
