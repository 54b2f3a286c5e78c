//! One `mma.sync`, with operands given as matrices.

use super::{download, run_with, upload};
use energy_kernel_emulator::{Argument, Memory, Options, Report};

/// A matrix by rows, as the bits of its elements.
pub struct Operand {
    /// The bits of an element.
    pub bits: u32,
    pub elements: Vec<u64>,
}

/// Element (row, column) of an operand, by lane and position within the lane's elements, as the PTX manual gives it for
/// A (m × k), B (k × n) and C (m × n).
fn place(operand: char, bits: u32, m: usize, lane: usize, position: usize) -> (usize, usize) {
    let (group, thread) = (lane / 4, lane % 4);
    let width = (32 / bits).max(1) as usize;
    match operand {
        'A' => {
            let register = position / width;
            let low_half = m == 8 || register.is_multiple_of(2);
            let block = if m == 8 { register } else { register / 2 };
            (
                if low_half { group } else { group + 8 },
                thread * width + position % width + block * 4 * width,
            )
        }
        'B' => (thread * width + position % width + position / width * 4 * width, group),
        _ => (if position < 2 { group } else { group + 8 }, thread * 2 + position % 2),
    }
}

/// D of one instruction, by rows, given A (m × k), B (k × 8) and C (m × 8). Expects no finding.
pub fn product(
    head: &str,
    instruction: &str,
    (m, k): (usize, usize),
    operands: &[Operand; 3],
    options: Options,
) -> (Vec<u64>, Report) {
    let shapes = [('A', m, k), ('B', k, 8), ('C', m, 8)];
    let registers = |index: usize| {
        let (_, rows, columns) = shapes[index];
        rows * columns * operands[index].bits as usize / operands[index].bits.max(32) as usize / 32
    };
    let mut bytes = Vec::new();
    for lane in 0..32 {
        for (operand, (name, rows, columns)) in operands.iter().zip(shapes) {
            for position in 0..rows * columns / 32 {
                let (row, column) = place(name, operand.bits, m, lane, position);
                let element = operand.elements[row * columns + column];
                bytes.extend_from_slice(&element.to_le_bytes()[..operand.bits as usize / 8]);
            }
        }
    }
    let memory = Memory::new(1 << 20);
    let input = upload(&memory, &bytes);
    let per_lane = bytes.len() / 32;
    let output = memory.allocate(32 * 64).expect("memory");
    let (mut text, mut offset, mut lists) = (String::new(), 0, Vec::new());
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let ty = if operands[index].bits == 64 { "f64" } else { "b32" };
        let names: Vec<String> = (0..registers(index))
            .map(|register| format!("%{name}{register}"))
            .collect();
        text += &format!(".reg .{ty} %{name}<{}>;\n", names.len());
        for name in &names {
            text += &format!("ld.global.{ty} {name}, [%p+{offset}];\n");
            offset += operands[index].bits.max(32) / 8;
        }
        lists.push(format!("{{{}}}", names.join(", ")));
    }
    let c = &operands[2];
    let (ty, width) = if c.bits == 64 { ("f64", 8) } else { ("b32", 4) };
    text += &format!(
        "{instruction} {}, {}, {}, {};\n",
        lists[2], lists[0], lists[1], lists[2]
    );
    for register in 0..registers(2) {
        text += &format!("st.global.{ty} [%q+{}], %c{register};\n", register * width);
    }
    let per_output = registers(2) * width;
    let text = format!(
        "{head}.visible .entry test(.param .u64 in, .param .u64 out) {{ .reg .b64 %p, %q, %o; .reg .b32 %t;
        ld.param.u64 %p, [in]; ld.param.u64 %q, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %o, %t, {per_lane}; add.u64 %p, %p, %o;
        mul.wide.u32 %o, %t, {per_output}; add.u64 %q, %q, %o; {text} ret; }}"
    );
    let arguments = [Argument::U64(input), Argument::U64(output)];
    let options = Options {
        sanitize: true,
        count: true,
        ..options
    };
    let report = run_with(&text, "test", [1, 1, 1], 32, &memory, &arguments, options);
    assert_eq!(report.findings, [], "{text}");
    let stored = download(&memory, output, 32 * per_output);
    let mut result = vec![0; m * 8];
    for lane in 0..32 {
        for position in 0..m * 8 / 32 {
            let size = c.bits as usize / 8;
            let at = lane * per_output + position * size;
            let mut element = [0; 8];
            element[..size].copy_from_slice(&stored[at..at + size]);
            let (row, column) = place('C', c.bits, m, lane, position);
            result[row * 8 + column] = u64::from_le_bytes(element);
        }
    }
    (result, report)
}
