//! The layer: the operators put together.

use crate::operators;
use crate::random::tensor;
use crate::{FEATURES, GROUPS, HEAD, HEADS, INNER, POSITIONS};
use energy_kernel::{Element, Gpu, Plan, Result, Sizes, Tensor, f16};

/// Added to mean squares.
const EPSILON: f32 = 1e-5;
/// The longest wave of the rotary embedding has 2π times as many positions, nearly.
const THETA: f64 = 10_000.0;

/// The element type of the products' weights.
pub trait Weight:
    Element + operators::linear::W + operators::output::W + operators::gated::W + operators::down::W
{
    /// A row of weights as it is stored, and its scale.
    fn row(weights: &[f16]) -> (Vec<Self>, f32);
}

impl Weight for f16 {
    fn row(weights: &[f16]) -> (Vec<f16>, f32) {
        (weights.to_vec(), 1.0)
    }
}

impl Weight for i8 {
    /// The weight of the largest magnitude becomes ±127, the others the nearest of what lies between.
    fn row(weights: &[f16]) -> (Vec<i8>, f32) {
        let largest = weights.iter().fold(0.0f32, |most, w| most.max(w.to_f32().abs()));
        let scale = largest / 127.0;
        let nearest = |w: &f16| (w.to_f32() / scale).round_ties_even() as i8;
        (weights.iter().map(nearest).collect(), scale)
    }
}

/// A matrix of weights.
struct Matrix<W> {
    weight: Tensor<W>,
    scale: Tensor<f32>,
}

impl<W: Weight> Matrix<W> {
    /// A matrix with these weights, row by row.
    fn new(gpu: &Gpu, columns: usize, weights: &[f16]) -> Result<Matrix<W>> {
        let (rows, scales): (Vec<Vec<W>>, Vec<f32>) = weights.chunks(columns).map(W::row).unzip();
        Ok(Matrix {
            weight: Tensor::from_slice(gpu, &[rows.len(), columns], &rows.concat())?,
            scale: Tensor::from_slice(gpu, &[scales.len()], &scales)?,
        })
    }
}

/// The parameters of a layer on a GPU, the weights of its products stored as `W`.
pub struct Layer<W> {
    gpu: Gpu,
    attention_norm: Tensor<f16>,
    query: Matrix<W>,
    key: Matrix<W>,
    value: Matrix<W>,
    output: Matrix<W>,
    feed_forward_norm: Tensor<f16>,
    gate: Matrix<W>,
    up: Matrix<W>,
    down: Matrix<W>,
    /// Cosines and sines of each position's angles.
    cosine: Tensor<f32>,
    sine: Tensor<f32>,
}

/// Keys and values of the tokens so far: `(capacity, groups, features of a head)`, of which the first `length` are there.
///
/// A clone shares the memory and has a length of its own: what either appends, the other may overwrite.
#[derive(Clone)]
pub struct Cache {
    keys: Tensor<f16>,
    values: Tensor<f16>,
    length: usize,
}

impl Cache {
    /// An empty cache for so many tokens.
    ///
    /// # Errors
    /// The GPU is out of memory.
    pub fn new(gpu: &Gpu, capacity: usize) -> Result<Cache> {
        let shape = [capacity, GROUPS, HEAD];
        Ok(Cache {
            keys: Tensor::zeros(gpu, &shape)?,
            values: Tensor::zeros(gpu, &shape)?,
            length: 0,
        })
    }

    /// The number of tokens that it holds.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl<W: Weight> Layer<W> {
    /// A layer of random weights, always the same ([`tensor`]).
    ///
    /// # Errors
    /// The GPU is out of memory.
    pub fn random(gpu: &Gpu) -> Result<Layer<W>> {
        let gain = |number| Tensor::from_slice(gpu, &[FEATURES], &tensor(number, FEATURES, 1.0, 0.25));
        let matrix = |number, rows: usize, columns: usize, scale| {
            Matrix::new(gpu, columns, &tensor(number, rows * columns, 0.0, scale))
        };
        let half = HEAD / 2;
        let angles: Vec<f64> = (0..POSITIONS * half)
            .map(|at| (at / half) as f64 * THETA.powf(-((at % half) as f64) / half as f64))
            .collect();
        let table = |function: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| function(angle) as f32).collect();
            Tensor::from_slice(gpu, &[POSITIONS, half], &values)
        };
        Ok(Layer {
            gpu: gpu.clone(),
            attention_norm: gain(1)?,
            query: matrix(2, HEADS * HEAD, FEATURES, 0.125)?,
            key: matrix(3, GROUPS * HEAD, FEATURES, 0.125)?,
            value: matrix(4, GROUPS * HEAD, FEATURES, 0.125)?,
            output: matrix(5, FEATURES, HEADS * HEAD, 0.0625)?,
            feed_forward_norm: gain(6)?,
            gate: matrix(7, INNER, FEATURES, 0.0625)?,
            up: matrix(8, INNER, FEATURES, 0.0625)?,
            down: matrix(9, FEATURES, INNER, 0.0625)?,
            cosine: table(f64::cos)?,
            sine: table(f64::sin)?,
        })
    }

    /// The layer's output `(T, 512)` for the next tokens `(T, 512)`, whose keys and values join the cache; not where it fails.
    ///
    /// # Errors
    /// The tokens have another number of features, there is no room in the cache or among the positions, or the GPU fails.
    pub fn forward(&self, x: &Tensor<f16>, cache: &mut Cache) -> Result<Tensor<f16>> {
        let attended = self.attention(x, cache)?;
        let output = self.feed_forward(&attended)?;
        cache.length += output.shape()[0];
        Ok(output)
    }

    /// Writes keys and values behind those that are in the cache.
    fn attention(&self, x: &Tensor<f16>, cache: &Cache) -> Result<Tensor<f16>> {
        let gpu = &self.gpu;
        let normed = operators::rms_norm(gpu, x, &self.attention_norm, EPSILON)?;
        let tokens = normed.shape()[0];
        let new = cache.length..cache.length + tokens;
        let (cosine, sine) = (self.cosine.slice(new.clone())?, self.sine.slice(new.clone())?);

        // New keys and values are computed in their place in the cache.
        let keys = self.linear(&normed, &self.key)?.reshape(&[tokens, GROUPS, HEAD])?;
        operators::rotary::into(gpu, &keys, &cosine, &sine, &mut cache.keys.slice(new.clone())?)?;
        let mut values = cache.values.slice(new.clone())?.reshape(&[tokens, GROUPS * HEAD])?;
        operators::linear::into(gpu, &normed, &self.value.weight, &self.value.scale, &mut values)?;
        let (keys, values) = (cache.keys.slice(..new.end)?, cache.values.slice(..new.end)?);

        let queries = self.linear(&normed, &self.query)?.reshape(&[tokens, HEADS, HEAD])?;
        let queries = operators::rotary(gpu, &queries, &cosine, &sine)?;
        let attended = operators::attention(gpu, &queries, &keys, &values)?.reshape(&[tokens, HEADS * HEAD])?;
        operators::output(gpu, &attended, &self.output.weight, &self.output.scale, x)
    }

    fn feed_forward(&self, x: &Tensor<f16>) -> Result<Tensor<f16>> {
        let gpu = &self.gpu;
        let normed = operators::rms_norm(gpu, x, &self.feed_forward_norm, EPSILON)?;
        let (gate, up) = (&self.gate, &self.up);
        let inner = operators::gated(gpu, &normed, &gate.weight, &gate.scale, &up.weight, &up.scale)?;
        operators::down(gpu, &inner, &self.down.weight, &self.down.scale, x)
    }

    fn linear(&self, x: &Tensor<f16>, matrix: &Matrix<W>) -> Result<Tensor<f16>> {
        operators::linear(&self.gpu, x, &matrix.weight, &matrix.scale)
    }

    /// The plans of the kernels that [`forward`](Layer::forward) launches, in order, when so many tokens join a cache that then holds `positions`.
    ///
    /// # Errors
    /// Fewer positions than tokens.
    pub fn plans(&self, tokens: usize, positions: usize) -> Result<Vec<Plan>> {
        let gpu = &self.gpu;
        let sizes = |more: &[(&str, usize)]| -> Sizes {
            let all = [("T", tokens)].into_iter().chain(more.iter().copied());
            all.map(|(name, size)| (name, size as u64)).collect()
        };
        let norm = || operators::rms_norm::plan(gpu, &sizes(&[("D", FEATURES)]));
        let linear = |n| operators::linear::plan::<W>(gpu, &sizes(&[("K", FEATURES), ("N", n)]));
        let rotary = |heads| operators::rotary::plan(gpu, &sizes(&[("H", heads), ("E", HEAD)]));
        let attention = sizes(&[("S", positions), ("G", GROUPS), ("H", HEADS), ("E", HEAD)]);
        Ok(vec![
            norm()?,
            linear(GROUPS * HEAD)?,
            rotary(GROUPS)?,
            linear(GROUPS * HEAD)?,
            linear(HEADS * HEAD)?,
            rotary(HEADS)?,
            operators::attention::plan(gpu, &attention)?,
            operators::output::plan::<W>(gpu, &sizes(&[("K", HEADS * HEAD), ("N", FEATURES)]))?,
            norm()?,
            operators::gated::plan::<W>(gpu, &sizes(&[("K", FEATURES), ("N", INNER)]))?,
            operators::down::plan::<W>(gpu, &sizes(&[("K", INNER), ("N", FEATURES)]))?,
        ])
    }
}
