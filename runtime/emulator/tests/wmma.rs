//! `wmma`: every shape, type and layout, against products of integers.

mod common;

use common::{HEAD, download, try_run, upload};
use energy_kernel_emulator::{Argument, Error, FindingKind, Memory, Options, Report};

/// An element type: its name, its size in bytes, and its encoding of small integers.
#[derive(Clone, Copy)]
struct Element {
    name: &'static str,
    bytes: usize,
    encode: fn(i64) -> u64,
}

const F16: Element = Element {
    name: "f16",
    bytes: 2,
    encode: |value| half::f16::from_f64(value as f64).to_bits().into(),
};
const BF16: Element = Element {
    name: "bf16",
    bytes: 2,
    encode: |value| half::bf16::from_f64(value as f64).to_bits().into(),
};
const F32: Element = Element {
    name: "f32",
    bytes: 4,
    encode: |value| (value as f32).to_bits().into(),
};
const TF32: Element = Element { name: "tf32", ..F32 };
const F64: Element = Element {
    name: "f64",
    bytes: 8,
    encode: |value| (value as f64).to_bits(),
};
const S8: Element = Element {
    name: "s8",
    bytes: 1,
    encode: |value| value as u64 & 0xff,
};
const U8: Element = Element { name: "u8", ..S8 };
const S32: Element = Element {
    name: "s32",
    bytes: 4,
    encode: |value| value as u64 & 0xffff_ffff,
};

/// The numbers of registers of A, B, C and D in the PTX manual.
fn registers(shape: &str, factor: Element, sum: Element) -> [usize; 4] {
    let sums = if sum.name == "f16" {
        4
    } else if sum.name == "f64" {
        2
    } else {
        8
    };
    let [a, b] = match (shape, factor.name) {
        (_, "f16") => [8, 8],
        ("m16n16k16", "bf16") | ("m16n16k8", "tf32") => [4, 4],
        ("m8n32k16", "bf16") => [2, 8],
        ("m32n8k16", "bf16") => [8, 2],
        ("m16n16k16", _) => [2, 2],
        ("m8n32k16", _) => [1, 4],
        ("m32n8k16", _) => [4, 1],
        _ => [1, 1],
    };
    [a, b, sums, sums]
}

/// A matrix in memory, with lines of `stride` elements.
struct Matrix {
    rows: usize,
    columns: usize,
    by_columns: bool,
    stride: usize,
    element: Element,
}

impl Matrix {
    fn layout(&self) -> &'static str {
        if self.by_columns { "col" } else { "row" }
    }

    fn at(&self, row: usize, column: usize) -> usize {
        self.element.bytes
            * if self.by_columns {
                column * self.stride + row
            } else {
                row * self.stride + column
            }
    }

    fn size(&self) -> usize {
        self.at(self.rows, self.columns) + 64
    }

    fn bytes(&self, values: impl Fn(usize, usize) -> i64) -> Vec<u8> {
        let mut bytes = vec![0xff; self.size()];
        for row in 0..self.rows {
            for column in 0..self.columns {
                let encoded = (self.element.encode)(values(row, column)).to_le_bytes();
                let at = self.at(row, column);
                bytes[at..at + self.element.bytes].copy_from_slice(&encoded[..self.element.bytes]);
            }
        }
        bytes
    }
}

fn list(name: &str, count: usize) -> String {
    let names: Vec<String> = (0..count).map(|register| format!("%{name}{register}")).collect();
    format!("{{{}}}", names.join(", "))
}

fn run(body: &str, arguments: &[Argument], memory: &Memory) -> Result<Report, Error> {
    let text = format!(
        "{HEAD}.shared .align 128 .b8 box[4096];\n.visible .entry test(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) {{
        .reg .b64 %p, %q, %pa, %pb, %pc, %pd; .reg .b32 %t, %x, %y; .reg .pred %go;
        ld.param.u64 %pa, [a]; ld.param.u64 %pb, [b]; ld.param.u64 %pc, [c]; ld.param.u64 %pd, [d]; mov.u32 %t, %tid.x;
        {body} ret; }}"
    );
    let options = Options {
        sanitize: true,
        count: true,
        ..Options::default()
    };
    try_run(&text, "test", [1, 1, 1], 32, memory, arguments, options)
}

/// Loads, multiplies and stores, and compares the product with integers. Every second and third time, A goes through
/// shared memory or a generic address.
fn multiply(case: usize, shape: &str, [a, b, c, d]: &[Matrix; 4], types: &str) {
    let sum_type = |element: Element| if element.name == "s32" { "s32" } else { element.name };
    let counts = {
        let [ra, rb, rc, _] = registers(shape, a.element, c.element);
        let [.., rd] = registers(shape, a.element, d.element);
        [ra, rb, rc, rd]
    };
    let value = |seed: usize, row: usize, column: usize| ((row * 7 + column * 5 + seed * 3) % 7) as i64 - 3;
    let positive = a.element.name == "u8";
    let left = |row, column| {
        if positive {
            value(1, row, column).abs()
        } else {
            value(1, row, column)
        }
    };
    let right = |row, column| {
        if positive {
            value(2, row, column).abs()
        } else {
            value(2, row, column)
        }
    };
    let start = |row, column| value(3, row, column) * 10;
    let memory = Memory::new(1 << 20);
    let pointers = [
        upload(&memory, &a.bytes(left)),
        upload(&memory, &b.bytes(right)),
        upload(&memory, &c.bytes(start)),
        upload(&memory, &vec![0xee; d.size()]),
    ];
    let ty = |element: Element| if element.bytes == 8 { "f64" } else { "b32" };
    let (space, address) = match case % 3 {
        0 => (".global", "%pa"),
        1 => (".shared", "%x"),
        _ => ("", "%p"),
    };
    let copy = format!(
        "mov.u32 %x, box; mov.u32 %y, {words}; COPY: setp.ge.u32 %go, %t, %y; @%go bra COPIED;
        mul.wide.u32 %p, %t, 4; add.u64 %q, %pa, %p; ld.global.b32 %y, [%q]; mad.lo.u32 %x, %t, 4, %x; st.shared.b32 [%x], %y;
        mov.u32 %x, box; mov.u32 %y, {words}; add.u32 %t, %t, 32; bra COPY; COPIED: bar.warp.sync 0xffffffff; cvta.global.u64 %p, %pa;",
        words = a.size() / 4
    );
    let names = ["A", "B", "C", "D"];
    let declare: String = (0..4)
        .map(|at| {
            format!(
                ".reg .{} %{}<{}>;\n",
                ty([a, b, c, d][at].element),
                names[at],
                counts[at]
            )
        })
        .collect();
    let body = format!(
        "{declare} {copy}
        wmma.load.a.sync.aligned.{}.{shape}{space}.{} {}, [{address}], {};
        wmma.load.b.sync.aligned.{}.{shape}.global.{} {}, [%pb], {};
        wmma.load.c.sync.aligned.{}.{shape}.global.{} {}, [%pc], {};
        wmma.mma.sync.aligned.{}.{}.{shape}.{types} {}, {}, {}, {};
        wmma.store.d.sync.aligned.{}.{shape}.global.{} [%pd], {}, {};",
        a.layout(),
        a.element.name,
        list("A", counts[0]),
        a.stride,
        b.layout(),
        b.element.name,
        list("B", counts[1]),
        b.stride,
        c.layout(),
        sum_type(c.element),
        list("C", counts[2]),
        c.stride,
        a.layout(),
        b.layout(),
        list("D", counts[3]),
        list("A", counts[0]),
        list("B", counts[1]),
        list("C", counts[2]),
        d.layout(),
        sum_type(d.element),
        list("D", counts[3]),
        d.stride,
    );
    let arguments = pointers.map(Argument::U64);
    let report = run(&body, &arguments, &memory).unwrap_or_else(|error| panic!("{error}\n{body}"));
    assert_eq!(report.findings, [], "{body}");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let counted = report.counts;
    assert_eq!(counted.matrix_flops, 2 * (m * n * k) as u64);
    assert_eq!(counted.warp_instructions.matrix, 1);
    assert_eq!(counted.global_store_bytes, (m * n * d.element.bytes) as u64);
    let expected =
        d.bytes(|row, column| start(row, column) + (0..k).map(|at| left(row, at) * right(at, column)).sum::<i64>());
    let stored = download(&memory, pointers[3], d.size());
    for row in 0..m {
        for column in 0..n {
            let at = d.at(row, column);
            let (got, wanted) = (&stored[at..at + d.element.bytes], &expected[at..at + d.element.bytes]);
            assert_eq!(got, wanted, "element {row}, {column} of {body}");
        }
    }
    // The bytes between the lines are unchanged.
    let touched = stored.iter().filter(|byte| **byte != 0xee).count();
    assert!(touched <= m * n * d.element.bytes, "{body}");
}

#[test]
fn every_shape_type_and_layout() {
    let all = ["m16n16k16", "m8n32k16", "m32n8k16"];
    let groups: [(&[&str], Element, Element, Element, &str); 10] = [
        (&all, F16, F32, F32, "f32.f32"),
        (&all, F16, F16, F16, "f16.f16"),
        (&all, F16, F16, F32, "f32.f16"),
        (&all, F16, F32, F16, "f16.f32"),
        (&all, BF16, F32, F32, "f32.bf16.bf16.f32"),
        (&all, S8, S32, S32, "s32.s8.s8.s32"),
        (&all, U8, S32, S32, "s32.u8.u8.s32"),
        (&all, S8, S32, S32, "satfinite.s32.s8.s8.s32"),
        (&["m16n16k8"], TF32, F32, F32, "f32.tf32.tf32.f32"),
        (&["m8n8k4"], F64, F64, F64, "f64.f64.f64.f64"),
    ];
    let mut case = 0;
    for (shapes, factor, c, d, types) in groups {
        for shape in shapes {
            let extents: Vec<usize> = shape[1..]
                .split(['n', 'k'])
                .map(|part| part.parse().expect("a number"))
                .collect();
            let [m, n, k] = extents[..] else { panic!("{shape}") };
            for layouts in 0..16 {
                let matrix = |rows: usize, columns: usize, element: Element, bit: usize| Matrix {
                    rows,
                    columns,
                    by_columns: layouts >> bit & 1 != 0,
                    // Lines wider than the matrix, aligned for every fragment.
                    stride: 32 + 32 * (case % 2),
                    element,
                };
                let matrices = [
                    matrix(m, k, factor, 0),
                    matrix(k, n, factor, 1),
                    matrix(m, n, c, 2),
                    matrix(m, n, d, 3),
                ];
                multiply(case, shape, &matrices, types);
                case += 1;
            }
        }
    }
}

/// Loads A, and stores sums.
fn moves(load: &str, store: &str) -> Result<Report, Error> {
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &[0; 4096]);
    let body = format!(".reg .b32 %A<8>, %D<8>; {load} {store}");
    run(&body, &[buffer; 4].map(Argument::U64), &memory)
}

const LOAD: &str = "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%A0, %A1, %A2, %A3, %A4, %A5, %A6, %A7}, [%pa]";
const LOAD_SUMS: &str =
    "wmma.load.c.sync.aligned.row.m16n16k16.global.f32 {%D0, %D1, %D2, %D3, %D4, %D5, %D6, %D7}, [%pa], 16;";
const STORE: &str =
    "wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%pd], {%D0, %D1, %D2, %D3, %D4, %D5, %D6, %D7}, 16;";

#[test]
fn moves_are_counted_and_checked() {
    let report = moves(&format!("{LOAD}; {LOAD_SUMS}"), STORE).expect("no error");
    assert_eq!(report.findings, []);
    let counted = report.counts;
    // 512 bytes of halves in one request, 1024 of floats in two.
    assert_eq!(
        (
            counted.global_load_bytes,
            counted.global_load_requests,
            counted.global_load_sectors
        ),
        (1536, 3, 48)
    );
    assert_eq!(
        (
            counted.global_store_bytes,
            counted.global_store_requests,
            counted.global_store_sectors
        ),
        (1024, 2, 32)
    );
    assert_eq!((counted.load_efficiency(), counted.store_efficiency()), (1.0, 1.0));
    let kinds = |load: String, store: &str| {
        let report = moves(&load, store).expect("no error");
        report
            .findings
            .into_iter()
            .map(|finding| finding.kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(format!("{LOAD}, 16;"), ""), []);
    // A start that is not a multiple of the fragment's 32 bytes; a stride that is not a multiple of 16 bytes.
    assert_eq!(kinds(format!("{LOAD}, 24;"), ""), []);
    assert_eq!(kinds(format!("{LOAD}, 20;"), ""), [FindingKind::Misaligned]);
    assert_eq!(
        kinds(format!("{};", LOAD.replace("[%pa]", "[%pa+16], 16")), ""),
        [FindingKind::Misaligned]
    );
    assert_eq!(kinds(format!("{LOAD}, 4096;"), ""), [FindingKind::OutOfBounds]);
    assert_eq!(kinds(String::new(), STORE), [FindingKind::UninitialisedRegister]);
    // A store to shared memory races like any other.
    let shared = STORE.replace("global", "shared").replace("%pd", "%x");
    let race = format!("{LOAD_SUMS} mov.u32 %x, box; {shared} mad.lo.u32 %x, %t, 4, %x; st.shared.u32 [%x], %t;");
    assert_eq!(kinds(race.clone(), ""), []);
    assert_eq!(
        kinds(race.replace(&shared, &format!("st.shared.u32 [%x], %t; {shared}")), ""),
        [FindingKind::SharedRace]
    );
    // Threads with different addresses.
    let apart = format!("mul.wide.u32 %p, %t, 32; add.u64 %pa, %pa, %p; {LOAD};");
    assert!(matches!(moves(&apart, ""), Err(Error::Fault { .. })));
}

/// A move of a fragment between 16 KB of shared memory that hold 0, 1, 2, … in bytes, and registers.
struct Move {
    role: &'static str,
    layout: &'static str,
    shape: &'static str,
    element: Element,
    registers: usize,
}

/// Every fragment.
fn fragments() -> Vec<Move> {
    let wide = ["m16n16k16", "m8n32k16", "m32n8k16"].as_slice();
    let groups: [(&[&str], Element, &[Element]); 5] = [
        (wide, F16, &[F16, F32]),
        (wide, BF16, &[]),
        (wide, S8, &[S32]),
        (&["m16n16k8"], TF32, &[]),
        (&["m8n8k4"], F64, &[F64]),
    ];
    let mut moves = Vec::new();
    for (shapes, factor, sums) in groups {
        for &shape in shapes {
            let [a, b, ..] = registers(shape, factor, F32);
            let factors = [("a", factor, a), ("b", factor, b)];
            let sums = sums.iter().map(|sum| ("c", *sum, registers(shape, factor, *sum)[2]));
            for (role, element, registers) in factors.into_iter().chain(sums) {
                moves.extend(["row", "col"].map(|layout| Move {
                    role,
                    layout,
                    shape,
                    element,
                    registers,
                }));
            }
        }
    }
    moves
}

impl Move {
    /// The registers after a load with lines of `stride` elements, and its passes over the banks.
    fn load(&self, space: &str, stride: usize) -> (Vec<u8>, u64, u64) {
        let memory = Memory::new(1 << 20);
        let size = 16 << 10;
        let bytes: Vec<u8> = (0..size).map(|at| (at ^ at >> 8) as u8).collect();
        let (input, output) = (upload(&memory, &bytes), upload(&memory, &[0; 32 * 64]));
        let (ty, width) = if self.element.bytes == 8 {
            ("f64", 8)
        } else {
            ("b32", 4)
        };
        let stores: String = (0..self.registers)
            .map(|at| format!("st.global.{ty} [%o+{}], %w{at};", at * width))
            .collect();
        let address = if space == "global" { "%p" } else { "%x" };
        let text = format!(
            "{HEAD}.shared .align 128 .b8 box[{size}]; .visible .entry test(.param .u64 in, .param .u64 out) {{
            .reg .b64 %p, %q, %o; .reg .b32 %t, %x, %v; .reg .pred %go; .reg .{ty} %w<8>;
            ld.param.u64 %p, [in]; ld.param.u64 %o, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %q, %t, 64; add.u64 %o, %o, %q;
            COPY: mul.wide.u32 %q, %t, 4; add.u64 %q, %p, %q; ld.global.b32 %v, [%q]; mov.u32 %x, box; mad.lo.u32 %x, %t, 4, %x;
            st.shared.b32 [%x], %v; add.u32 %t, %t, 32; setp.lt.u32 %go, %t, {}; @%go bra COPY; bar.warp.sync 0xffffffff;
            mov.u32 %x, box; wmma.load.{}.sync.aligned.{}.{}.{space}.{} {}, [{address}], {stride}; {stores} ret; }}",
            size / 4,
            self.role,
            self.layout,
            self.shape,
            self.element.name,
            list("w", self.registers),
        );
        let arguments = [Argument::U64(input), Argument::U64(output)];
        let options = Options {
            sanitize: true,
            count: true,
            ..Options::default()
        };
        let report = try_run(&text, "test", [1, 1, 1], 32, &memory, &arguments, options).expect("a launch");
        assert_eq!(report.findings, [], "{text}");
        let counts = report.counts;
        let passes = counts.shared_load_transactions;
        let conflicts = counts.shared_load_bank_conflicts;
        (download(&memory, output, 32 * 64), passes, conflicts)
    }
}

#[test]
fn loads_from_shared_memory_are_those_from_global_memory() {
    for fragment in fragments() {
        for stride in [32, 48] {
            let what = || {
                format!(
                    "{} {} {} {}",
                    fragment.role, fragment.layout, fragment.shape, fragment.element.name
                )
            };
            let (shared, global) = (fragment.load("shared", stride), fragment.load("global", stride));
            assert_eq!(shared.0, global.0, "{} with lines of {stride}", what());
        }
    }
}

/// The accesses are those that ptxas generates for these instructions on sm_80.
#[test]
fn bank_conflicts_of_loads_are_those_of_the_assembled_code() {
    let of = |role: &str, layout: &str, shape: &str, name: &str, stride: usize| {
        let fragments = fragments();
        let found = fragments.iter().find(|fragment| {
            (fragment.role, fragment.layout, fragment.shape, fragment.element.name) == (role, layout, shape, name)
        });
        let (_, passes, conflicts) = found.expect("a fragment").load("shared", stride);
        (passes, conflicts)
    };
    // Four `LDSM` matrices of eight lines, 32, 48, 64 and 256 bytes apart.
    for (role, layout) in [("a", "row"), ("a", "col"), ("b", "row"), ("b", "col")] {
        let halves = |stride: usize| of(role, layout, "m16n16k16", "f16", stride);
        assert_eq!(
            [16, 24, 32, 128].map(halves),
            [(8, 4), (4, 0), (16, 12), (32, 28)],
            "{role} {layout}"
        );
    }
    assert_eq!(of("a", "row", "m8n32k16", "bf16", 32), (8, 6));
    assert_eq!(of("a", "row", "m32n8k16", "bf16", 128), (64, 56));
    // Bytes: two matrices along k; across k 8 × 4 bytes a load, 64 or 256 bytes apart.
    assert_eq!(
        [16, 64, 256].map(|stride| of("a", "row", "m16n16k16", "s8", stride)),
        [(2, 0), (8, 6), (16, 14)]
    );
    assert_eq!(
        [16, 64, 256].map(|stride| of("b", "row", "m16n16k16", "s8", stride)),
        [(16, 8), (32, 24), (32, 24)]
    );
    // Floats: eight lines of 16 bytes, or four of 32.
    assert_eq!(
        [8, 12, 32].map(|stride| of("a", "row", "m16n16k8", "tf32", stride)),
        [(8, 4), (4, 0), (32, 28)]
    );
    assert_eq!(
        [16, 24, 32].map(|stride| of("a", "col", "m16n16k8", "tf32", stride)),
        [(8, 4), (4, 0), (16, 12)]
    );
    // Sums: four loads of 8 bytes, two phases each; across the lines eight of 4 bytes.
    assert_eq!(
        [16, 24, 32].map(|stride| of("c", "row", "m16n16k16", "f32", stride)),
        [(16, 8), (8, 0), (32, 24)]
    );
    assert_eq!(
        [16, 20, 32].map(|stride| of("c", "col", "m16n16k16", "f32", stride)),
        [(32, 24), (8, 0), (32, 24)]
    );
    assert_eq!(of("c", "col", "m8n32k16", "f32", 24), (8, 0));
    assert_eq!(
        [8, 10, 16].map(|stride| of("c", "row", "m8n8k4", "f64", stride)),
        [(4, 0), (8, 4), (8, 4)]
    );
}

#[test]
fn what_is_not_known_is_named() {
    for (instruction, reason) in [
        (
            "wmma.load.a.sync.aligned.row.m8n8k32.global.s4 {%A0}, [%pa]",
            "this shape",
        ),
        (
            "wmma.load.a.sync.aligned.row.m16n16k8.global.f16 {%A0}, [%pa]",
            "this combination of shape and type",
        ),
        (
            "wmma.load.a.sync.aligned.m16n16k16.global.f16 {%A0}, [%pa]",
            "a matrix without a layout",
        ),
        (
            "wmma.load.d.sync.aligned.row.m16n16k16.global.f32 {%A0}, [%pa]",
            "a move of this matrix",
        ),
        (
            "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32.satfinite {%A0}, {%A0}, {%A0}, {%A0}",
            "this combination of shape and types",
        ),
    ] {
        match moves(&format!("{instruction};"), "") {
            Err(Error::Unsupported { reason: found, .. }) => assert_eq!(found, reason, "{instruction}"),
            other => panic!("{instruction}: {other:?}"),
        }
    }
}

#[test]
fn a_product_with_another_layout_than_its_load_is_wrong() {
    // Rows 0, 1, 2, … times the identity.
    let memory = Memory::new(1 << 20);
    let matrix = |value: &dyn Fn(usize, usize) -> f64| -> Vec<u8> {
        let encode = |at: usize| half::f16::from_f64(value(at / 16, at % 16)).to_bits().to_le_bytes();
        (0..256).flat_map(encode).collect()
    };
    let pointers = [
        upload(&memory, &matrix(&|row, _| row as f64)),
        upload(&memory, &matrix(&|row, column| f64::from(row == column))),
        upload(&memory, &[0; 1024]),
        upload(&memory, &[0; 1024]),
    ];
    for (layout, right) in [("row", true), ("col", false)] {
        let body = format!(
            ".reg .b32 %A<8>, %B<8>, %D<8>; {LOAD}; {} {}
            wmma.mma.sync.aligned.{layout}.row.m16n16k16.f32.f32 {d}, {}, {}, {d}; {STORE}",
            LOAD.replace(".a.", ".b.").replace("%A", "%B").replace("%pa", "%pb") + ";",
            LOAD_SUMS.replace("%pa", "%pc"),
            list("A", 8),
            list("B", 8),
            d = list("D", 8),
        );
        run(&body, &pointers.map(Argument::U64), &memory).unwrap_or_else(|error| panic!("{error}\n{body}"));
        let stored = download(&memory, pointers[3], 1024);
        let rows = stored
            .chunks_exact(4)
            .enumerate()
            .all(|(at, bytes)| f32::from_le_bytes(bytes.try_into().expect("four bytes")) == (at / 16) as f32);
        assert_eq!(rows, right, "{layout}");
    }
}
