//! Dimensions, indices, sizes and axes beyond 2³¹, end to end. The emulated device and the reference store only pages that are not all 0.

#[path = "long_dimensions/operators.rs"]
mod operators;

use energy_kernel::prelude::*;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::reference::Reference;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::tuning::is_wide;
use energy_kernel_compiler::{lower, schedule};
use operators::*;

const LONG: usize = 3_000_000_000;
const LONGER: usize = (1 << 32) + 16;

/// The reference's outputs as bytes. Arguments are the bytes of tensors and scalars.
fn expected(name: &str, shapes: &[&[u64]], inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    let operators = energy_kernel_tests::operators(include_str!("long_dimensions/operators.rs"));
    let (_, checked) = operators.iter().find(|(other, _)| other == name).unwrap();
    let sizes = checked.sizes_of(shapes).unwrap();
    let reference = Reference::new(checked, &sizes, inputs).unwrap();
    (0..checked.op().outputs.len())
        .map(|output| reference.output(output))
        .collect()
}

/// A tensor of bytes, most of which are 0.
struct Sparse {
    host: Vec<u8>,
    device: Tensor<u8>,
}

impl Sparse {
    fn new(gpu: &Gpu, len: usize, elements: &[(usize, u8)]) -> Sparse {
        let mut host = vec![0; len];
        let device = Tensor::<u8>::zeros(gpu, &[len]).unwrap();
        for &(at, value) in elements {
            host[at] = value;
            device.slice(at..at + 1).unwrap().copy_from_slice(&[value]).unwrap();
        }
        Sparse { host, device }
    }
}

fn bytes<T: Copy>(values: &[T], convert: impl Fn(T) -> Vec<u8>) -> Vec<u8> {
    values.iter().flat_map(|&value| convert(value)).collect()
}

/// Synchronises, with or without reporting indices out of range.
fn reported<T>(gpu: &Gpu, call: impl FnOnce() -> T) -> (T, bool) {
    gpu.check_indices(true);
    let result = call();
    let reported = gpu.synchronize().is_err();
    gpu.check_indices(false);
    (result, reported)
}

/// Gathers by `i32` and `i64` ids from a dimension beyond 2³¹. Ids out of range read 0 and are reported.
#[test]
fn ids_are_compared_as_what_they_are() {
    let gpu = Gpu::emulated();
    let ids = [-2_000_000_000, 5, 20, i32::MAX, -1, i32::MIN, 0];
    for (len, elements) in [
        (
            LONG,
            [
                (5, 1),
                (20, 2),
                (i32::MAX as usize, 3),
                (2_294_967_296, 4),
                (LONG - 1, 5),
            ],
        ),
        (
            LONGER,
            [
                (5, 1),
                (20, 2),
                (i32::MAX as usize, 3),
                (2_294_967_296, 4),
                (LONGER - 1, 5),
            ],
        ),
    ] {
        let x = Sparse::new(&gpu, len, &elements);
        let narrow = bytes(&ids, |id| id.to_le_bytes().to_vec());
        let device_ids = Tensor::from_slice(&gpu, &[ids.len()], &ids).unwrap();
        let shapes: [&[u64]; 2] = [&[len as u64], &[ids.len() as u64]];
        let (y, wrong) = reported(&gpu, || gathered_i32(&gpu, &x.device, &device_ids).unwrap());
        assert_eq!(y.to_vec().unwrap(), [0, 1, 2, 3, 0, 0, 0]);
        assert_eq!(
            y.to_vec().unwrap(),
            expected("gathered_i32", &shapes, &[&x.host, &narrow])[0]
        );
        assert!(wrong);
        let y = gathered_or(&gpu, &x.device, &device_ids).unwrap();
        assert_eq!(y.to_vec().unwrap(), [9, 1, 2, 3, 9, 9, 0]);
        let valid = Tensor::from_slice(&gpu, &[4], &[5, 20, i32::MAX, 0]).unwrap();
        let (_, wrong) = reported(&gpu, || gathered_i32(&gpu, &x.device, &valid).unwrap());
        assert!(!wrong, "valid ids are reported");

        let long = [2_294_967_296, len as i64 - 1, len as i64, -1, 5];
        let device_ids = Tensor::from_slice(&gpu, &[5], &long).unwrap();
        let y = gathered_i64(&gpu, &x.device, &device_ids).unwrap();
        assert_eq!(y.to_vec().unwrap(), [4, 5, 0, 0, 1]);
    }
}

/// Arithmetic with an id does not wrap, with 32-bit and with 64-bit indices.
#[test]
fn indices_made_of_ids_do_not_wrap() {
    let gpu = Gpu::emulated();
    for len in [LONG, 1 << 14] {
        let last = len / 4096 * 4096 - 4096;
        let x = Sparse::new(&gpu, len, &[(4096, 1), (4097, 2), (last, 3), (last + 3, 4)]);
        let z = Tensor::<u8>::zeros(&gpu, &[4]).unwrap();
        // The fourth, times 4096, is 2³² + 4096.
        let ids = [1, (last / 4096) as i32, 1 << 20, (1 << 20) + 1, -1, i32::MIN, i32::MAX];
        let device_ids = Tensor::from_slice(&gpu, &[ids.len()], &ids).unwrap();
        let host_ids = bytes(&ids, |id| id.to_le_bytes().to_vec());
        let shapes: [&[u64]; 3] = [&[len as u64], &[ids.len() as u64], &[4]];
        let inputs: [&[u8]; 3] = [&x.host, &host_ids, &[0; 4]];
        let (y, wrong) = reported(&gpu, || flattened_rows(&gpu, &x.device, &device_ids, &z).unwrap());
        let y = y.to_vec().unwrap();
        assert_eq!(y[..8], [1, 2, 0, 0, 3, 0, 0, 4], "{len}");
        assert_eq!(y[8..], [0; 20], "{len}");
        assert_eq!(y, expected("flattened_rows", &shapes, &inputs)[0]);
        assert!(wrong);
        let y = flattened_rows_or(&gpu, &x.device, &device_ids, &z)
            .unwrap()
            .to_vec()
            .unwrap();
        assert_eq!(y[8..], [9; 20], "{len}");
        assert_eq!(y, expected("flattened_rows_or", &shapes, &inputs)[0]);
        for alone in &ids[2..] {
            let id = Tensor::from_slice(&gpu, &[1], &[*alone]).unwrap();
            let (_, wrong) = reported(&gpu, || flattened_rows(&gpu, &x.device, &id, &z).unwrap());
            assert!(wrong, "{alone} is not reported");
        }
        for (name, y) in [
            ("halves", halves(&gpu, &x.device, &device_ids, &z)),
            ("beside", beside(&gpu, &x.device, &device_ids, &z)),
        ] {
            assert_eq!(
                y.unwrap().to_vec().unwrap(),
                expected(name, &shapes, &inputs)[0],
                "{name} {len}"
            );
        }
    }
}

#[test]
fn bytes_and_positions_are_indices() {
    let gpu = Gpu::emulated();
    let x = Sparse::new(&gpu, LONG, &[(7, 1), (2_500_000_007, 2), (2_800_000_005, 3), (5, 4)]);
    let ids = Tensor::from_slice(&gpu, &[4], &[0u8, 25, 30, 255]).unwrap();
    assert_eq!(
        scaled_u8(&gpu, &x.device, &ids).unwrap().to_vec().unwrap(),
        [1, 2, 0, 0]
    );
    let ids = Tensor::from_slice(&gpu, &[4], &[0i8, 25, -1, -128]).unwrap();
    assert_eq!(
        scaled_i8(&gpu, &x.device, &ids).unwrap().to_vec().unwrap(),
        [1, 2, 9, 9]
    );
    let y = Tensor::from_slice(
        &gpu,
        &[3, 4],
        &[0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0f32],
    )
    .unwrap();
    assert_eq!(
        at_the_largest(&gpu, &x.device, &y).unwrap().to_vec().unwrap(),
        [3, 4, 0]
    );

    let pages = [2_500, 1, -3];
    let at = [7, 999_999, 1_000_000, 2_000_005];
    let (device_pages, device_at) = (
        Tensor::from_slice(&gpu, &[3], &pages),
        Tensor::from_slice(&gpu, &[4], &at),
    );
    let y = paged(&gpu, &x.device, &device_pages.unwrap(), &device_at.unwrap()).unwrap();
    assert_eq!(y.to_vec().unwrap(), [2, 0, 0, 0]);
    let integers = |values: &[i32]| bytes(values, |value| value.to_le_bytes().to_vec());
    let shapes: [&[u64]; 3] = [&[LONG as u64], &[3], &[4]];
    let inputs: [&[u8]; 3] = [&x.host, &integers(&pages), &integers(&at)];
    assert_eq!(y.to_vec().unwrap(), expected("paged", &shapes, &inputs)[0]);
}

#[test]
fn axes_beyond_two_billion_are_values() {
    let gpu = Gpu::emulated();
    let x = Sparse::new(&gpu, LONG, &[(7, 1), (LONG - 8, 2), (LONG - 9, 3), (LONG - 3, 4)]);
    let ids = [LONG as i64 - 1, LONG as i64 - 3, 3, LONG as i64, -1];
    let device_ids = Tensor::from_slice(&gpu, &[5], &ids).unwrap();
    let (place, whole, shifted) = of_an_intermediate(&gpu, &x.device, &device_ids).unwrap();
    let (place, whole, shifted) = (
        place.to_vec().unwrap(),
        whole.to_vec().unwrap(),
        shifted.to_vec().unwrap(),
    );
    assert_eq!(place, [2_999_999_999.0, 2_999_999_997.0 + 4.0, 3.0, 0.0, 0.0]);
    assert_eq!(whole, [8_999_999_998, 8_999_999_992, 10, 0, 0]);
    assert_eq!(shifted[0], 2.0 + 1.0);
    let host_ids = bytes(&ids, |id| id.to_le_bytes().to_vec());
    let expected = expected("of_an_intermediate", &[&[LONG as u64], &[5]], &[&x.host, &host_ids]);
    assert_eq!(bytes(&place, |value| value.to_le_bytes().to_vec()), expected[0]);
    assert_eq!(bytes(&whole, |value| value.to_le_bytes().to_vec()), expected[1]);
    assert_eq!(bytes(&shifted, |value| value.to_le_bytes().to_vec()), expected[2]);
}

#[test]
fn sizes_and_what_is_made_of_them_are_values() {
    let gpu = Gpu::emulated();
    let one = Tensor::from_slice(&gpu, &[2], &[1.0f32, 2.0]).unwrap();
    let long = Tensor::<u8>::zeros(&gpu, &[50_000, 50_000]).unwrap();
    let (floats, integers, doubles) = volume(&gpu, &long, &one).unwrap();
    assert_eq!(floats.to_vec().unwrap(), [2.5e9, 5e9]);
    assert_eq!(integers.to_vec().unwrap(), [2_500_000_000, 2_500_000_001]);
    assert_eq!(doubles.to_vec().unwrap(), [2.5e9 - 1.0, 5e9 - 1.0]);
    let side = Tensor::<u8>::zeros(&gpu, &[50_003]).unwrap();
    let (floats, larger, rests) = area(&gpu, &side, &side, &one).unwrap();
    let square = 50_003i64 * 50_003;
    assert_eq!(floats.to_vec().unwrap(), [square as f32, 2.0 * square as f32]);
    assert_eq!(larger.to_vec().unwrap(), [true, true]);
    let rest = ((square % 1000) as i32).wrapping_add(square as i32);
    assert_eq!(rests.to_vec().unwrap(), [rest, rest + 1]);
    let host = vec![0; 50_003];
    let ones = bytes(&[1.0f32, 2.0], |value| value.to_le_bytes().to_vec());
    let expected = expected("area", &[&[50_003], &[50_003], &[2]], &[&host, &host, &ones]);
    assert_eq!(
        bytes(&rests.to_vec().unwrap(), |value| value.to_le_bytes().to_vec()),
        expected[2]
    );
}

#[test]
fn sums_of_axes_do_not_wrap() {
    let gpu = Gpu::emulated();
    for columns in [70_000usize, 100, 1] {
        let mut values = vec![1.0f32; 2 * columns];
        values[columns - 1] = 2.0;
        values[columns] = 2.0;
        let x = Tensor::from_slice(&gpu, &[2, columns], &values).unwrap();
        let (sums, squares, thirds, ends) = ramps(&gpu, &x).unwrap();
        let c = columns as i64;
        let total = c * (c - 1) / 2;
        assert_eq!(sums.to_vec().unwrap(), [total; 2]);
        let last = (c - 1) * (c - 1);
        assert_eq!(ends.to_vec().unwrap(), [last - (5 - last) + c - 1, last - (5 - last)]);
        let host = bytes(&values, |value| value.to_le_bytes().to_vec());
        let expected = expected("ramps", &[&[2, columns as u64]], &[&host]);
        assert_eq!(
            bytes(&thirds.to_vec().unwrap(), |value| value.to_le_bytes().to_vec()),
            expected[2]
        );
        let exact = (c - 1) * c * (2 * c - 1) / 6;
        let squares = squares.to_vec().unwrap();
        assert_eq!(
            squares,
            [exact as f32 * values[0], (exact + c) as f32 * values[columns]]
        );
    }
}

/// Searching a position among 70000² takes hours, so this test only looks for a 64-bit position in the kernel.
#[test]
fn positions_keep_their_bits() {
    let source = "#[energy_kernel] fn f(x: Tensor<f32, (R, C)>) -> Tensor<i64, ()> { argmax(|r, c| x[[r, c]]) as i64 }";
    let operators = energy_kernel_tests::operators(source);
    let checked = &operators[0].1;
    let sizes = [70_000, 70_000];
    assert_eq!(checked.verify(&sizes), Ok(()));
    let specialisation = Specialisation {
        wide: is_wide(checked, &sizes),
        ..Specialisation::like(&sizes)
    };
    assert!(specialisation.wide);
    for point in schedule::space(&Problem::new(checked, &specialisation, Machine::like(Target::Sm80))) {
        let kernel = lower::lower(
            &Problem::new(checked, &specialisation, Machine::like(Target::Sm80)),
            point,
        )
        .unwrap();
        assert!(!kernel.ptx.contains("cvt.u32.u64"), "{point}\n{}", kernel.ptx);
    }
}
