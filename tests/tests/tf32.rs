//! `tf32(x)` equals `cvt.rna.tf32.f32` for every `f32`; `tf32_toward_zero(x)` truncates.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_emulator::{Argument, Launch, Memory, Module, Options};
use energy_kernel_tests::{Input, operators, run};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CONVERSION: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry convert(.param .u64 data)
{
    .reg .b32 %r<4>;
    .reg .f32 %f<2>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd0, [data];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %ctaid.x;
    mad.lo.s32 %r2, %r1, 128, %r0;
    mad.wide.u32 %rd1, %r2, 4, %rd0;
    ld.global.f32 %f0, [%rd1];
    cvt.rna.tf32.f32 %r3, %f0;
    st.global.b32 [%rd1], %r3;
    ret;
}";

/// Every exponent, with mantissas near the points where the kept or the discarded bits carry; and random numbers.
fn numbers() -> Vec<u32> {
    let mut numbers = Vec::new();
    for sign_and_exponent in 0..512u32 {
        for kept in [0, 1, 2, 0x1FF, 0x200, 0x3FE, 0x3FF] {
            for cut in [0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF] {
                numbers.push(sign_and_exponent << 23 | kept << 13 | cut);
            }
        }
    }
    let mut random = StdRng::seed_from_u64(17);
    numbers.extend((0..1 << 18).map(|_| random.random::<u32>()));
    numbers.resize(numbers.len().next_multiple_of(128), 0);
    numbers
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    bytes.chunks(4).map(word).collect()
}

fn converted(bytes: &[u8]) -> Vec<u32> {
    let module = Module::parse(CONVERSION).expect("it parses");
    let memory = Memory::new(1 << 24);
    let data = memory.allocate(bytes.len() as u64).expect("room");
    memory.write(data, bytes).expect("allocated");
    let launch = Launch {
        grid: [bytes.len() as u32 / 512, 1, 1],
        block: [128, 1, 1],
        dynamic_shared: 0,
        arguments: &[Argument::U64(data)],
        options: Options::default(),
    };
    energy_kernel_emulator::launch(&module, "convert", &memory, &launch).expect("it runs");
    let mut results = vec![0; bytes.len()];
    memory.read(data, &mut results).expect("allocated");
    words(&results)
}

/// The result of an operator of one tensor.
fn through(function: &str, numbers: &[u32]) -> Vec<u32> {
    let source =
        format!("#[energy_kernel] fn all(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |n| {function}(x[[n]]) }}");
    let (_, checked) = operators(&source).remove(0);
    let sizes = vec![numbers.len() as u64];
    let exact = Specialisation::exact(&sizes);
    let space = schedule::space(&Problem::new(&checked, &exact, Machine::like(Target::Sm80)));
    let kernel = lower::lower(&Problem::new(&checked, &exact, Machine::like(Target::Sm80)), space[0])
        .expect("the point is legal");
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let run = run(&checked, &kernel, &sizes, &[Input { bytes }]).expect("it runs");
    words(&run.outputs[0])
}

#[test]
fn tf32_rounds_as_the_instruction_does() {
    let numbers = numbers();
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let expected = converted(&bytes);
    for ((number, expected), got) in numbers.iter().zip(expected).zip(through("tf32", &numbers)) {
        let both_nan = f32::from_bits(expected).is_nan() && f32::from_bits(got).is_nan();
        assert!(
            expected == got || both_nan,
            "{number:#010x}: {got:#010x}, not {expected:#010x}"
        );
        assert_eq!(
            f32::from_bits(*number).is_nan(),
            f32::from_bits(got).is_nan(),
            "{number:#010x}"
        );
    }
}

#[test]
fn tf32_toward_zero_is_the_largest_not_beyond() {
    let numbers = numbers();
    for (&number, got) in numbers.iter().zip(through("tf32_toward_zero", &numbers)) {
        let (x, y) = (f32::from_bits(number), f32::from_bits(got));
        let quiet = number & 0x40_0000 != 0;
        if x.is_nan() {
            assert!(y.is_nan() || (!quiet && y.is_infinite()), "{number:#010x}: {y}");
            continue;
        }
        assert_eq!(got & 0x1FFF, 0, "{number:#010x}: {got:#010x}");
        assert_eq!(x.is_sign_negative(), y.is_sign_negative(), "{number:#010x}: {y}");
        // The next one is beyond the number, unless both are infinity.
        let next = f32::from_bits(got.wrapping_add(0x2000));
        assert!(y.abs() <= x.abs(), "{number:#010x}: {y:e}");
        assert!(x.abs() < next.abs() || x.is_infinite(), "{number:#010x}: {y:e}");
    }
}
