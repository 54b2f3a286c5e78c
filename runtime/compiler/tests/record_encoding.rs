//! The encoding of records and bundles: round trips, and cheap errors for hostile bytes.

use bincode::{Encode, config};
use energy_kernel_compiler::fingerprint;
use energy_kernel_compiler::ir::{InputId, SizeId};
use energy_kernel_compiler::kernel::{Kernel, Launch, Parameter, ParameterValue, Scratch, ScratchContent};
use energy_kernel_compiler::lang;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::encoding::{DecodeError, Document, FORMAT_VERSION, LIMIT, decode, encode, read};
use energy_kernel_compiler::record::*;
use energy_kernel_compiler::schedule::{self, Plain, Program, Schedule};
use energy_kernel_compiler::size::{Extent, SizeExpr, SizeOp, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts the bytes that a thread has allocated, and the maximum.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards to the system's allocator; the counters are plain cells without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.with(|held| {
            held.set(held.get().saturating_add(layout.size()));
            PEAK.with(|peak| peak.set(peak.get().max(held.get())));
        });
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the peak of allocated bytes above the level before.
fn peak_of<R>(action: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = action();
    (result, PEAK.get().saturating_sub(before))
}

fn point(threads: u32, latency: f64, energy: Option<f64>) -> Point {
    let estimate = |mean: f64| Estimate {
        mean,
        interval: mean / 100.0,
    };
    Point {
        program: Schedule::Plain(Plain { threads }).into(),
        kernel_hash: [threads as u8; 32],
        latency: estimate(latency),
        energy: energy.map(estimate),
        conditions: Conditions {
            driver: "580.65".into(),
            simulated_profile: None,
            sm_clock_mhz: Some(1980.0),
            memory_clock_mhz: Some(3201.0),
            temperature_celsius: Some(41.5),
            power_watts: Some(412.0),
            power_limit_watts: Some(700.0),
            throttle_reasons: 4,
            window_seconds: 2.1,
            launches: 1000,
            inputs: Inputs::Random { seed: 7 },
            cache: CacheMode::Cold,
            flags: vec![Flag::AtPowerLimit],
        },
    }
}

fn device() -> DeviceClass {
    DeviceClass {
        name: "NVIDIA H200".into(),
        compute_capability: (9, 0),
        multiprocessors: 132,
        memory_bytes: 150_000_000_000,
        simulated: false,
    }
}

fn record(size: u64) -> Record {
    Record {
        sizes: vec![size, 64],
        specialisation: Specialisation::like(&[size, 64]),
        front: vec![point(64, 1e-5, Some(3e-3)), point(128, 1.2e-5, Some(2e-3))],
        rejected: vec![Rejected::new(
            Schedule::Plain(Plain { threads: 256 }),
            Reason::Wrong,
            "element 3 of output 0 is 7",
        )],
        statistics: Statistics {
            space: 4,
            compiled: 4,
            timed: 4,
            seconds: 9.5,
            ..Statistics::default()
        },
        measured_at: 1_790_000_000,
        energy_measured: true,
        space_version: 6,
    }
}

fn cache_file() -> CacheFile {
    CacheFile {
        fingerprint: Fingerprint([3; 32]),
        operator: "softmax".into(),
        size_names: vec!["R".into(), "C".into()],
        device: device(),
        records: vec![record(16), record(256)],
    }
}

fn kernel() -> Kernel {
    let rows = SizeExpr::Binary(
        SizeOp::DivCeil,
        Box::new(SizeExpr::Size(SizeId(0))),
        Box::new(SizeExpr::Const(4)),
    );
    let parameter = |value, bytes| Parameter { value, bytes };
    Kernel {
        ptx: ".version 7.0\n.target sm_80\n".repeat(500),
        launches: vec![Launch {
            entry: "ek_softmax_row".into(),
            grid: [rows, SizeExpr::Const(1), SizeExpr::Const(1)],
            block: [128, 1, 1],
            cluster: [1; 3],
            dynamic_shared: 4096,
            parameters: vec![
                parameter(ParameterValue::Input(InputId(0)), 8),
                parameter(ParameterValue::Output(0), 8),
                parameter(ParameterValue::Size(SizeId(0)), 4),
                parameter(ParameterValue::Scratch(0), 8),
                parameter(ParameterValue::Scratch(1), 8),
            ],
        }],
        scratch: [
            ScratchContent::Partials { block_bytes: 1024 },
            ScratchContent::Arrivals { blocks: 4 },
        ]
        .map(|content| Scratch { launch: 0, content })
        .to_vec(),
    }
}

fn bundle() -> Bundle {
    let candidate = |point| Candidate {
        point,
        kernel: 0,
        stale: false,
    };
    Bundle {
        fingerprint: Fingerprint([3; 32]),
        operator: "softmax".into(),
        objective: Objective::default(),
        kernels: vec![PackedKernel::pack(&kernel()).unwrap()],
        devices: vec![TunedDevice {
            device: device(),
            buckets: vec![TunedBucket {
                sizes: vec![16, 64],
                specialisation: Specialisation::like(&[16, 64]),
                front: record(16).front.into_iter().map(candidate).collect(),
                measured_at: 1,
                energy_measured: true,
                space_version: 6,
                record: record(16).content(),
            }],
        }],
    }
}

/// A document with a correct header and hash around any payload, as an attacker would write it.
fn forged(kind: [u8; 4], payload: &[u8]) -> Vec<u8> {
    of_version(FORMAT_VERSION, kind, payload)
}

fn of_version(version: u16, kind: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89EKERN\r\n".to_vec();
    bytes.extend(kind);
    bytes.extend(version.to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    let digest = Sha256::new().chain_update(&bytes).chain_update(payload).finalize();
    bytes.extend(digest);
    bytes.extend(payload);
    bytes
}

fn payload(value: impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, config::standard()).unwrap()
}

#[test]
fn documents_come_back_as_they_were() {
    let file = cache_file();
    let bytes = encode(&file).unwrap();
    assert_eq!(bytes, encode(&file).unwrap());
    assert_eq!(decode::<CacheFile>(&bytes), Ok(file.clone()));
    assert_eq!(
        bytes,
        forged(CacheFile::KIND, &payload(&file)),
        "the header is what the documentation says"
    );
    let bundle = bundle();
    assert_eq!(decode::<Bundle>(&encode(&bundle).unwrap()), Ok(bundle));
    let index = Index {
        package: "a".into(),
        manifest_dir: "/a".into(),
        fingerprints: vec![Fingerprint([1; 32]), Fingerprint([2; 32])],
        found: Some(vec![Fingerprint([1; 32]), Fingerprint([2; 32]), Fingerprint([4; 32])]),
    };
    assert!(index.has_missed(&Fingerprint([3; 32])) && !index.has_missed(&Fingerprint([4; 32])));
    assert_eq!(decode::<Index>(&encode(&index).unwrap()), Ok(index));
}

/// Measured records are rare. This one was published in format 3.
#[test]
fn a_file_of_an_earlier_format_is_read() {
    let bytes = include_bytes!("formats/3.ekcache");
    assert_eq!(bytes[12], 3);
    let file = decode::<CacheFile>(bytes).unwrap();
    assert_eq!((file.operator.as_str(), file.records.len()), ("softmax", 2));
    assert!(file.records.iter().all(|record| record.space_version == 6));
    assert_eq!(decode::<CacheFile>(&encode(&file).unwrap()), Ok(file.clone()));
    // Its operator still has the same fingerprint, although formats and spaces have new versions.
    let source = "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
        let peak = |r| max(|c| x[[r, c]]);
        let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
        |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
    }";
    let parsed = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    assert_eq!(fingerprint::of(&parsed.variants[0].checked), Ok(file.fingerprint));
    // No other kind of document was ever published.
    let former = of_version(3, *b"BNDL", &payload(bundle()));
    assert_eq!(decode::<Bundle>(&former), Err(DecodeError::Version { found: 3 }));
}

#[test]
fn a_kernels_hash_is_of_its_text_and_of_its_launch() {
    let hash = |change: &dyn Fn(&mut Kernel)| {
        let mut changed = kernel();
        change(&mut changed);
        PackedKernel::hash(&changed)
    };
    let hashes = [
        hash(&|_| ()),
        hash(&|k| k.ptx.push(' ')),
        hash(&|k| k.launches[0].block[0] += 1),
        hash(&|k| k.launches[0].grid[1] = SizeExpr::Const(7)),
        hash(&|k| k.launches[0].cluster[0] = 2),
        hash(&|k| k.launches[0].dynamic_shared += 16),
        hash(&|k| k.launches[0].parameters.truncate(1)),
        hash(&|k| k.scratch[1].content = ScratchContent::Arrivals { blocks: 8 }),
        hash(&|k| k.launches.push(k.launches[0].clone())),
    ];
    for (number, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..number].contains(hash), "{number}");
    }
    assert_eq!(hashes[0], PackedKernel::hash(&kernel()));
}

/// Under another name, an operator has the same fingerprint, and its kernels differ only in their names.
#[test]
fn a_kernels_hash_is_the_same_under_another_name() {
    let checked = |name: &str| {
        let item = format!("fn {name}(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> {{ |r| sum(|c| x[[r, c]]) }}");
        let parsed = lang::parse(Default::default(), item.parse().unwrap()).unwrap();
        parsed.variants.into_iter().next().unwrap().checked
    };
    let specialisation = Specialisation::like(&[16, 64]);
    let space = schedule::space(&Problem::new(
        &checked("total"),
        &specialisation,
        Machine::like(Target::Sm80),
    ));
    for schedule in space.iter().step_by(space.len().div_ceil(20)) {
        let kernel = |name| {
            lower(
                &Problem::new(&checked(name), &specialisation, Machine::like(Target::Sm80)),
                schedule,
            )
            .unwrap()
        };
        let (one, other) = (kernel("total"), kernel("r"));
        assert!(one.name() != other.name() && one.ptx != other.ptx);
        assert_eq!(PackedKernel::hash(&one), PackedKernel::hash(&other));
    }
}

#[test]
fn kernels_are_unpacked_as_they_were_and_smaller_meanwhile() {
    let bundle = bundle();
    let candidate = &bundle.devices[0].buckets[0].front[0];
    assert_eq!(bundle.kernel(candidate), Ok(kernel()));
    assert!(encode(&bundle).unwrap().len() < kernel().ptx.len() / 4);
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let bytes = encode(&cache_file()).unwrap();
    for length in 0..bytes.len() {
        decode::<CacheFile>(&bytes[..length]).unwrap_err();
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        decode::<CacheFile>(&damaged).unwrap_err();
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(matches!(decode::<CacheFile>(&longer), Err(DecodeError::Length { .. })));
}

/// The front of a record in formats 3 and 4, which had a schedule in place of a program.
fn points_of_format_4(record: &Record) -> Vec<impl Encode + '_> {
    let points = record.front.iter().map(|point| {
        let figures = (&point.kernel_hash, &point.latency, &point.energy);
        (schedule_of(&point.program), figures, &point.conditions)
    });
    points.collect()
}

fn schedule_of(program: &Program) -> &Schedule {
    program.lone().expect("a program of one stage")
}

#[test]
fn records_of_format_4_are_converted() {
    let file = cache_file();
    let records: Vec<_> = (file.records.iter())
        .map(|record| {
            let rejected: Vec<_> = (record.rejected.iter())
                .map(|each| (schedule_of(&each.program), each.reason, &each.detail))
                .collect();
            let bucket = (&record.sizes, &record.specialisation);
            let candidates = (points_of_format_4(record), rejected, record.statistics);
            (
                bucket,
                candidates,
                record.measured_at,
                record.energy_measured,
                record.space_version,
            )
        })
        .collect();
    let head = (file.fingerprint, &file.operator, &file.size_names);
    let bytes = of_version(4, *b"CACH", &payload((head, &file.device, records)));
    assert_eq!(decode::<CacheFile>(&bytes), Ok(file));
}

/// Format 3 counted wrong candidates in the statistics, and listed no rejected ones.
#[test]
fn records_of_format_3_are_converted() {
    let file = cache_file();
    let records: Vec<_> = (file.records.iter())
        .map(|record| {
            let s = record.statistics;
            let statistics = (s.space, s.compiled, 5u64, s.timed, s.energy_measured, s.predicted);
            let statistics = (statistics, s.prediction_error, s.seconds, s.seed);
            let bucket = (&record.sizes, &record.specialisation, points_of_format_4(record));
            (bucket, statistics, record.measured_at, record.energy_measured)
        })
        .collect();
    let head = (file.fingerprint, &file.operator, &file.size_names, 5u32);
    let bytes = of_version(3, *b"CACH", &payload((head, &file.device, records)));
    let mut expected = file.clone();
    for record in &mut expected.records {
        record.rejected.clear();
        record.space_version = 5;
    }
    assert_eq!(decode::<CacheFile>(&bytes), Ok(expected));
    let cut = of_version(3, *b"CACH", &payload((head, &file.device)));
    assert!(matches!(decode::<CacheFile>(&cut), Err(DecodeError::Payload(_))));
    let oldest = of_version(2, *b"CACH", &payload(file));
    assert_eq!(decode::<CacheFile>(&oldest), Err(DecodeError::Version { found: 2 }));
}

#[test]
fn a_stream_of_documents_is_read_past_what_stands_between() {
    let file = cache_file();
    let bytes = encode(&file).unwrap();
    let noise = b"a build script says \x89\x89EKER something\n";
    let stream = [noise.as_slice(), &bytes, &bytes, noise].concat();
    let mut stream = stream.as_slice();
    for _ in 0..2 {
        assert_eq!(read::<CacheFile>(&mut stream).unwrap().as_ref(), Some(&file));
    }
    assert_eq!(read::<CacheFile>(&mut stream).unwrap(), None);
    let cut = &bytes[..bytes.len() - 1];
    assert!(read::<CacheFile>(&mut &*cut).is_err());
    let mut long = bytes.clone();
    long[14..18].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(read::<CacheFile>(&mut long.as_slice()).is_err());
}

#[test]
fn each_check_names_its_reason() {
    let bytes = encode(&cache_file()).unwrap();
    assert_eq!(
        decode::<CacheFile>(b"PK\x03\x04 something else altogether"),
        Err(DecodeError::Magic)
    );
    assert!(matches!(decode::<Bundle>(&bytes), Err(DecodeError::Kind { .. })));
    let mut newer = bytes.clone();
    newer[12] = 9;
    assert_eq!(decode::<CacheFile>(&newer), Err(DecodeError::Version { found: 9 }));
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(decode::<CacheFile>(&damaged), Err(DecodeError::Hash));
    let trailing = [payload(cache_file()), vec![0]].concat();
    assert!(matches!(
        decode::<CacheFile>(&forged(*b"CACH", &trailing)),
        Err(DecodeError::Payload(_))
    ));
    assert!(matches!(
        decode::<CacheFile>(&vec![0; LIMIT + 1]),
        Err(DecodeError::TooLong { .. })
    ));
}

#[test]
fn values_that_make_no_sense_are_refused_both_ways() {
    type Change = fn(&mut CacheFile);
    let wrong: [(&str, Change); 19] = [
        ("no number", |f| f.records[0].front[0].latency.mean = f64::NAN),
        ("infinite", |f| f.records[0].front[0].latency.mean = f64::INFINITY),
        ("negative energy", |f| {
            f.records[0].front[1].energy.as_mut().unwrap().mean = -1.0
        }),
        ("negative interval", |f| f.records[0].front[1].latency.interval = -1.0),
        ("unsorted front", |f| f.records[0].front.reverse()),
        ("beaten point", |f| {
            f.records[0].front[1].energy.as_mut().unwrap().mean = 4e-3
        }),
        ("unmeasured behind", |f| f.records[0].front[1].energy = None),
        ("same schedule twice", |f| {
            f.records[0].front[1].program = f.records[0].front[0].program.clone()
        }),
        ("empty front", |f| f.records[0].front.clear()),
        ("another size", |f| f.records[0].sizes[0] = 17),
        ("too few sizes", |f| f.records[0].sizes.truncate(1)),
        ("alignment", |f| {
            f.records[0].specialisation.extents[0] = Extent::Any { multiple_of: 0 }
        }),
        ("unsorted buckets", |f| f.records.reverse()),
        ("control characters", |f| f.operator = "a\u{1b}[2Jb".into()),
        ("simulated figures", |f| {
            f.records[0].front[0].conditions.simulated_profile = Some("hopper".into())
        }),
        ("simulated device", |f| f.device.simulated = true),
        ("no multiprocessors", |f| f.device.multiprocessors = 0),
        ("a clock below zero", |f| {
            f.records[0].front[0].conditions.sm_clock_mhz = Some(-1.0)
        }),
        ("a window that is no time", |f| {
            f.records[0].front[0].conditions.window_seconds = f64::NAN
        }),
    ];
    for (what, change) in wrong {
        let mut file = cache_file();
        change(&mut file);
        assert!(encode(&file).is_err(), "{what} was written");
        let read = decode::<CacheFile>(&forged(*b"CACH", &payload(&file)));
        assert!(
            matches!(read, Err(DecodeError::Invalid(_))),
            "{what} was read: {read:?}"
        );
    }
}

#[test]
fn a_bundle_that_points_outside_itself_is_refused() {
    let mut bundle = bundle();
    bundle.devices[0].buckets[0].front[1].kernel = 1;
    assert!(decode::<Bundle>(&forged(*b"BNDL", &payload(&bundle))).is_err());
}

/// Ten bytes that announce 2⁶⁰ elements must not reserve them.
#[test]
fn announced_lengths_are_not_believed() {
    let huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let start = payload(Fingerprint([0; 32]));
    for skipped in 0..4 {
        let bytes = [start.as_slice(), &vec![0; skipped], &huge, &[0; 64]].concat();
        let (result, peak) = peak_of(|| decode::<CacheFile>(&forged(*b"CACH", &bytes)));
        assert!(result.is_err());
        assert!(peak < 1 << 20, "{peak} bytes for a file of {}", bytes.len());
    }
}

/// Lists of nearly empty elements have the worst ratio of memory to bytes.
#[test]
fn memory_stays_within_a_small_multiple_of_the_limit() {
    let count = 600_000usize;
    let names = [
        payload(Fingerprint([0; 32])),
        payload(""),
        payload(count as u64),
        vec![0; count],
    ]
    .concat();
    let document = forged(*b"CACH", &names);
    let (result, peak) = peak_of(|| decode::<CacheFile>(&document));
    assert!(result.is_err());
    assert!(peak <= 2 * LIMIT, "{peak}");
    let bucket = [
        payload(0u64),
        payload(Specialisation::like(&[])),
        payload(0u64),
        payload(0u64),
        vec![0],
        payload(0u32),
        vec![0; 32],
    ]
    .concat();
    let buckets = 4000usize;
    let device = [payload(device()), payload(buckets as u64), bucket.repeat(buckets)].concat();
    let start = |devices: usize| {
        [
            payload(Fingerprint([0; 32])),
            payload(""),
            payload(Objective::Latency),
            payload(0u64),
            payload(devices as u64),
        ]
        .concat()
    };
    let document = |devices: usize| forged(*b"BNDL", &[start(devices), device.repeat(devices)].concat());
    let most = (LIMIT - 1000) / device.len();
    let mut decoded = 0;
    for devices in [most / 20, most / 2] {
        let document = document(devices);
        let (result, peak) = peak_of(|| decode::<Bundle>(&document));
        match result {
            Err(DecodeError::Invalid(_)) => decoded += 1,
            Err(DecodeError::Payload(limit)) => assert_eq!(limit, "LimitExceeded"),
            other => panic!("an empty front is not valid: {other:?}"),
        }
        assert!(peak <= 4 * LIMIT, "{peak}");
    }
    assert!(decoded > 0, "some should reach the end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_payload_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for kind in [CacheFile::KIND, Bundle::KIND, Index::KIND] {
            let document = forged(kind, &bytes);
            let former = of_version(3, kind, &bytes);
            let ((), peak) = peak_of(|| {
                let _ = decode::<CacheFile>(&document);
                let _ = decode::<CacheFile>(&former);
                let _ = decode::<Bundle>(&document);
                let _ = decode::<Index>(&document);
                let _ = decode::<CacheFile>(&bytes);
            });
            prop_assert!(peak <= 2 * LIMIT, "{}", peak);
        }
    }

    /// Changes inside a valid document get further than noise does. Decoded values are valid and can be encoded again.
    #[test]
    fn a_changed_payload_is_decoded_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = payload(cache_file());
        let mut packed = payload(bundle());
        for (at, value) in &changes {
            let position = at.index(file.len());
            file[position] = *value;
            let position = at.index(packed.len());
            packed[position] = *value;
        }
        if let Ok(file) = decode::<CacheFile>(&forged(CacheFile::KIND, &file)) {
            prop_assert!(encode(&file).is_ok());
        }
        if let Ok(bundle) = decode::<Bundle>(&forged(Bundle::KIND, &packed)) {
            for candidate in bundle.devices.iter().flat_map(|d| &d.buckets).flat_map(|b| &b.front) {
                let (_, peak) = peak_of(|| bundle.kernel(candidate).is_ok());
                prop_assert!(peak <= 4 * LIMIT, "{}", peak);
            }
        }
    }
}

/// A chain of errors prints everything once: `Display` never includes a source.
#[test]
fn errors_print_nothing_twice() {
    let invalid = encoding::Invalid("the device has no name".to_owned());
    let overflow = energy_kernel_compiler::size::SizeExprError::Overflow;
    let errors: [Box<dyn std::error::Error>; 3] = [
        Box::new(DecodeError::from(invalid.clone())),
        Box::new(encoding::EncodeError::from(invalid.clone())),
        Box::new(energy_kernel_compiler::features::Error::from(overflow)),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            text.contains(&invalid.to_string()) || text.contains(&overflow.to_string()),
            "{text}"
        );
        assert!(error.source().is_none(), "{text}");
    }
}
