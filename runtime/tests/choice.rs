//! The kernel that a call uses: from embedded bundles and the user cache, and why they may not be used.

use energy_kernel::__private::{OperatorData, VariantData};
use energy_kernel::tools::compiler::check::Checked;
use energy_kernel::tools::compiler::lang::parse;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::record::*;
use energy_kernel::tools::compiler::schedule::{self, Schedule};
use energy_kernel::tools::compiler::size::Specialisation;
use energy_kernel::tools::compiler::target::{Machine, Target};
use energy_kernel::tools::compiler::tuning::Tuning;
use energy_kernel::tools::compiler::{element::Element, fingerprint};
use energy_kernel::tools::{Argument, View};
use energy_kernel::{__private::Call, Gpu, Operator, Origin, RecordSource, Sizes, Tensor};
use energy_kernel_compiler::problem::Problem;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PACKAGE: &str = "a-package";

/// `y = 2 x`, tuned for two numbers of rows.
fn operator() -> &'static (Checked, Tuning) {
    static OPERATOR: OnceLock<(Checked, Tuning)> = OnceLock::new();
    OPERATOR.get_or_init(|| {
        let attribute = "tune(M = [16, 256], N = 64)".parse().unwrap();
        let item = "fn double(x: Tensor<f32, (M, N)>) -> Tensor<f32, (M, N)> { |m, n| x[[m, n]] * 2.0 }";
        let parsed = parse(attribute, item.parse().unwrap()).unwrap();
        (parsed.variants[0].checked.clone(), parsed.tuning)
    })
}

fn specialisation() -> Specialisation {
    let (checked, tuning) = operator();
    tuning.specialisation(checked).unwrap()
}

/// Three schedules of the operator.
fn schedules() -> Vec<Schedule> {
    let space = schedule::space(&Problem::new(
        &operator().0,
        &specialisation(),
        Machine::like(Target::Sm90),
    ));
    assert!(space.len() >= 3);
    vec![space[0], space[space.len() / 2], space[space.len() - 1]]
}

fn kernel_of(schedule: &Schedule) -> energy_kernel::tools::compiler::kernel::Kernel {
    lower(
        &Problem::new(&operator().0, &specialisation(), Machine::like(Target::Sm90)),
        schedule,
    )
    .unwrap()
}

/// A front of three: the fastest; one 3 % slower with less energy; one much slower with the least energy.
fn front(simulated: bool) -> Vec<Point> {
    let figures = [(10.0, 9.0), (10.3, 7.0), (14.0, 4.0)];
    let estimate = |mean: f64| Estimate {
        mean: mean * 1e-6,
        interval: 1e-8,
    };
    let points = schedules()
        .into_iter()
        .zip(figures)
        .map(|(schedule, (latency, energy))| Point {
            kernel_hash: PackedKernel::hash(&kernel_of(&schedule)),
            program: schedule.into(),
            latency: estimate(latency),
            energy: Some(estimate(energy)),
            conditions: Conditions {
                driver: String::new(),
                simulated_profile: simulated.then(|| "hopper".to_owned()),
                sm_clock_mhz: None,
                memory_clock_mhz: None,
                temperature_celsius: None,
                power_watts: None,
                power_limit_watts: None,
                throttle_reasons: 0,
                window_seconds: 0.0,
                launches: 100,
                inputs: Inputs::Random { seed: 1 },
                cache: CacheMode::Cold,
                flags: Vec::new(),
            },
        });
    points.collect()
}

fn buckets() -> Vec<Vec<u64>> {
    let (checked, tuning) = operator();
    tuning.buckets(checked).unwrap()
}

fn bundle(device: DeviceClass, stale: bool) -> Bundle {
    let front: Vec<Candidate> = front(device.simulated)
        .into_iter()
        .enumerate()
        .map(|(at, point)| Candidate {
            point,
            kernel: at as u32,
            stale,
        })
        .collect();
    let bucket = |sizes: Vec<u64>| TunedBucket {
        sizes,
        specialisation: specialisation(),
        front: front.clone(),
        measured_at: 1000,
        energy_measured: true,
        space_version: schedule::SPACE_VERSION,
        record: [0; 32],
    };
    Bundle {
        fingerprint: fingerprint::of(&operator().0).unwrap(),
        operator: "double".to_owned(),
        objective: Objective::Edp,
        kernels: schedules()
            .iter()
            .map(|s| PackedKernel::pack(&kernel_of(s)).unwrap())
            .collect(),
        devices: vec![TunedDevice {
            device,
            buckets: buckets().into_iter().map(bucket).collect(),
        }],
    }
}

/// The operator as the macro would embed it with these bytes as its bundle.
fn embedded(bundle: Option<Vec<u8>>) -> &'static Operator {
    let operator = encoding::encode(operator().0.op()).unwrap().leak();
    let bundle = bundle.map(|bytes| &*bytes.leak());
    let variants = vec![VariantData {
        types: &[],
        operator,
        bundle,
    }]
    .leak();
    Box::leak(Box::new(Operator::new(OperatorData {
        name: "double",
        package: PACKAGE,
        variants,
    })))
}

fn with(bundle: &Bundle) -> &'static Operator {
    embedded(Some(encoding::encode(bundle).unwrap()))
}

fn sizes(m: u64, n: u64) -> Sizes {
    Sizes::from([("M", m), ("N", n)])
}

/// Checks the result of a call.
fn check(operator: &Operator, gpu: &Gpu, m: usize, n: usize) {
    let numbers: Vec<f32> = (0..m * n).map(|i| i as f32).collect();
    let x = Tensor::from_slice(gpu, &[m, n], &numbers).unwrap();
    let inputs = [Argument::tensor(&x)];
    let call = Call::new(operator.variant(&[]).unwrap(), gpu, &inputs).unwrap();
    let y = call.output::<f32>(0).unwrap();
    call.launch(&[View::from(&y)]).unwrap();
    let expected: Vec<f32> = numbers.iter().map(|v| v * 2.0).collect();
    assert_eq!(y.to_vec().unwrap(), expected, "{m} × {n}");
}

fn reason(operator: &Operator, gpu: &Gpu, sizes: &Sizes) -> String {
    let plan = operator.variant(&[]).unwrap().plan(gpu, sizes).unwrap();
    assert!(!plan.is_tuned() && plan.figures().is_none(), "{plan}");
    match plan.origin() {
        Origin::Untuned { reason } => reason.clone(),
        origin => panic!("{origin}"),
    }
}

#[test]
fn the_objective_chooses_from_the_bundle() {
    let gpu = Gpu::emulated();
    let operator = with(&bundle(gpu.device_class().clone(), false));
    let variant = operator.variant(&[]).unwrap();
    let chosen = |objective| {
        if let Some(objective) = objective {
            gpu.set_objective(objective);
        }
        let plan = variant.plan(&gpu, &sizes(16, 64)).unwrap();
        assert_eq!(plan.alternatives().len(), 3);
        assert!(
            plan.figures().unwrap().simulated && plan.to_string().contains("(simulated)"),
            "{plan}"
        );
        let position = plan
            .alternatives()
            .iter()
            .position(|alternative| alternative.chosen)
            .unwrap();
        assert_eq!(plan.program().lone(), Some(&schedules()[position]));
        assert_eq!(plan.ptx(), kernel_of(plan.program().lone().unwrap()).ptx);
        check(operator, &gpu, 16, 64);
        position
    };
    assert_eq!(chosen(None), 2, "the build's, the least product of both");
    assert_eq!(chosen(Some(Objective::default())), 1);
    assert_eq!(chosen(Some(Objective::Latency)), 0);
    assert_eq!(chosen(Some(Objective::Energy { slack: 0.5 })), 2);
}

/// A program switches between throughput and energy while it runs. Its calls follow.
#[test]
fn calls_follow_a_change_of_the_objective() {
    let gpu = Gpu::emulated();
    let operator = with(&bundle(gpu.device_class().clone(), false));
    let plan = || operator.variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
    let mut launched = Vec::new();
    for objective in [
        Objective::Latency,
        Objective::default(),
        Objective::Edp,
        Objective::Latency,
    ] {
        gpu.set_objective(objective);
        assert_eq!(gpu.objective(), Some(objective));
        // The resolved call is kept by shapes, but must not outlive the objective.
        let launch = || {
            check(operator, &gpu, 16, 64);
            Ok(())
        };
        let (energy, ()) = gpu.simulate(launch).unwrap();
        // A difference of two sums, so its last bits may differ.
        launched.push((plan().program().clone(), (energy.energy_j * 1e15).round()));
    }
    assert_eq!(launched[0], launched[3], "back again");
    assert!(launched[0].0 != launched[1].0 && launched[1].0 != launched[2].0);
    assert!(
        launched[0].1 != launched[1].1 || launched[1].1 != launched[2].1,
        "calls follow the plan"
    );

    let told = plan().to_string();
    let lines: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("  * ") || line.starts_with("  - "))
        .collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert!(
        lines[0].starts_with("  * 10.000 ± 0.010 µs, 9.000 ± 0.010 µJ (simulated): "),
        "{told}"
    );
    assert!(
        lines[2].starts_with("  - 14.000 ± 0.010 µs, 4.000 ± 0.010 µJ (simulated): "),
        "{told}"
    );
    for (line, schedule) in lines.iter().zip(schedules()) {
        assert!(line.ends_with(&schedule.to_string()), "{told}");
    }
    assert!(
        told.contains("\n  figures: ") && told.contains("\n  alternatives, fastest first:"),
        "{told}"
    );
    // A call of other sizes uses the bucket's kernel and its figures.
    let told = operator
        .variant(&[])
        .unwrap()
        .plan(&gpu, &sizes(13, 64))
        .unwrap()
        .to_string();
    assert!(told.contains("\n  figures measured at M = 16: "), "{told}");
    assert!(
        told.contains("\n  alternatives measured at M = 16, fastest first:"),
        "{told}"
    );
}

#[test]
fn a_call_uses_the_fitting_bucket_and_is_correct_at_every_size() {
    let gpu = Gpu::emulated();
    let operator = with(&bundle(gpu.device_class().clone(), false));
    let bucket = |m| {
        let plan = operator.variant(&[]).unwrap().plan(&gpu, &sizes(m, 64)).unwrap();
        match plan.origin() {
            Origin::Tuned {
                sizes,
                source,
                matches,
                stale,
                ..
            } => {
                assert_eq!(
                    (*source, *matches, *stale),
                    (RecordSource::Embedded, Match::Same, false)
                );
                Some(sizes.get("M").unwrap())
            }
            _ => None,
        }
    };
    // The smallest bucket that holds the size, else the largest: a tuned kernel takes any value.
    for (size, fits) in [
        (1, 16),
        (16, 16),
        (17, 256),
        (32, 256),
        (256, 256),
        (257, 256),
        (4096, 256),
    ] {
        assert_eq!(bucket(size), Some(fits), "M = {size}");
    }
    for m in [1, 16, 17, 32, 256, 272] {
        check(operator, &gpu, m, 64);
    }
    assert!(reason(operator, &gpu, &sizes(16, 65)).starts_with("these sizes were not tuned"));
    check(operator, &gpu, 16, 65);
}

#[test]
fn unfit_results_are_not_used() {
    let gpu = Gpu::emulated();
    let own = gpu.device_class().clone();
    let wanted = sizes(16, 64);
    assert!(reason(embedded(None), &gpu, &wanted).starts_with("nothing was tuned for it on simulated hopper"));

    let mut bytes = encoding::encode(&bundle(own.clone(), false)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = embedded(Some(bytes));
    assert!(reason(damaged, &gpu, &wanted).starts_with("nothing was tuned"));
    check(damaged, &gpu, 16, 64);

    let another = Bundle {
        fingerprint: Fingerprint([7; 32]),
        ..bundle(own.clone(), false)
    };
    assert!(reason(with(&another), &gpu, &wanted).starts_with("nothing was tuned"));

    // Measurements of a real GPU never serve an emulated one.
    let real = DeviceClass {
        simulated: false,
        ..own
    };
    assert!(reason(with(&bundle(real, false)), &gpu, &wanted).starts_with("the tuned kernels are for other devices"));
}

#[test]
fn results_of_another_gpu_of_the_same_capability_are_borrowed() {
    let gpu = Gpu::emulated();
    let lender = DeviceClass {
        name: "another".to_owned(),
        ..gpu.device_class().clone()
    };
    let operator = with(&bundle(lender, false));
    let plan = operator.variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
    assert!(
        matches!(
            plan.origin(),
            Origin::Tuned {
                matches: Match::Borrowed,
                ..
            }
        ),
        "{plan}"
    );
    assert!(plan.to_string().contains("borrowed"), "{plan}");
    check(operator, &gpu, 16, 64);
}

#[test]
fn stale_results_are_used_without_their_figures() {
    let gpu = Gpu::emulated();
    let operator = with(&bundle(gpu.device_class().clone(), true));
    let plan = operator.variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
    assert!(matches!(plan.origin(), Origin::Tuned { stale: true, .. }), "{plan}");
    assert_eq!(plan.figures(), None);
    assert!(
        plan.alternatives()
            .iter()
            .all(|alternative| alternative.figures.is_none())
    );
    check(operator, &gpu, 16, 64);
}

#[test]
fn an_unaligned_tensor_uses_another_kernel() {
    let gpu = Gpu::emulated();
    let operator = with(&bundle(gpu.device_class().clone(), false));
    // The tensor starts behind one element, at 4 bytes.
    let numbers: Vec<f32> = (0..16 * 64 + 1).map(|i| i as f32).collect();
    let x = Tensor::from_slice(&gpu, &[16 * 64 + 1], &numbers)
        .unwrap()
        .slice(1..)
        .unwrap()
        .reshape(&[16, 64])
        .unwrap();
    let whole = Tensor::<f32>::zeros(&gpu, &[16 * 64 + 1]).unwrap();
    let y = whole.slice(1..).unwrap().reshape(&[16, 64]).unwrap();
    let z = Tensor::<f32>::zeros(&gpu, &[16, 64]).unwrap();
    for (from, to) in [(&x, &z), (&z, &y)] {
        let inputs = [Argument::tensor(from)];
        Call::new(operator.variant(&[]).unwrap(), &gpu, &inputs)
            .unwrap()
            .launch(&[View::from(to)])
            .unwrap();
    }
    let expected: Vec<f32> = numbers[1..].iter().map(|v| v * 4.0).collect();
    assert_eq!(y.to_vec().unwrap(), expected);
}

#[test]
fn unlisted_element_types_are_an_error() {
    let error = embedded(None).variant(&[Element::F16]).unwrap_err();
    assert_eq!(error.to_string(), "`double` is not made for f16");
    let variants: &[VariantData] = &[VariantData {
        types: &[],
        operator: b"from another version",
        bundle: None,
    }];
    let operator = Operator::new(OperatorData {
        name: "double",
        package: PACKAGE,
        variants,
    });
    assert!(matches!(
        operator.variant(&[]),
        Err(energy_kernel::Error::Embedded { .. })
    ));
}

/// Runs a test again in a process of its own with this user cache, because a process reads its cache once. Returns `true` in that process.
fn with_cache(test: &str, folder: &Path) -> bool {
    const CASE: &str = "ENERGY_KERNEL_TEST_CACHE";
    if std::env::var_os(CASE).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CASE, "")
        .env(energy_kernel::CACHE_FOLDER_VARIABLE, folder)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// Each program would resolve it to another folder.
#[test]
fn a_relative_folder_is_refused_and_the_plan_says_so() {
    if !with_cache("a_relative_folder_is_refused_and_the_plan_says_so", Path::new("rel")) {
        return;
    }
    let gpu = Gpu::emulated();
    let plan = embedded(None).variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
    assert!(
        matches!(plan.origin(), Origin::Untuned { reason } if reason.contains("rel means another folder")),
        "{plan}"
    );
}

#[test]
fn the_newest_result_of_both_sources_is_used() {
    let folder = tempfile::tempdir().unwrap();
    if !with_cache("the_newest_result_of_both_sources_is_used", folder.path()) {
        return;
    }
    let folder = std::env::var_os(energy_kernel::CACHE_FOLDER_VARIABLE).unwrap();
    let gpu = Gpu::emulated();
    let device = gpu.device_class().clone();
    let write = |measured_at: u64, front: Vec<Point>, package: &str| {
        let energy_measured = front.iter().any(|point| point.energy.is_some());
        let record = Record {
            sizes: buckets()[0].clone(),
            specialisation: specialisation(),
            front,
            rejected: Vec::new(),
            statistics: Statistics::default(),
            measured_at,
            energy_measured,
            space_version: schedule::SPACE_VERSION,
        };
        let file = CacheFile {
            fingerprint: fingerprint::of(&operator().0).unwrap(),
            operator: "double".to_owned(),
            size_names: vec!["M".to_owned(), "N".to_owned()],
            device: device.clone(),
            records: vec![record],
        };
        let folder = Path::new(&folder).join(package);
        std::fs::create_dir_all(&folder).unwrap();
        let name = CacheFile::file_name(&file.fingerprint, &file.device);
        std::fs::write(folder.join(&name), encoding::encode(&file).unwrap()).unwrap();
        std::fs::write(
            folder.join(format!("{}-damaged.ekcache", file.fingerprint.short())),
            b"nothing",
        )
        .unwrap();
    };
    let source = |operator: &Operator| {
        let plan = operator.variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
        check(operator, &gpu, 16, 64);
        match plan.origin() {
            Origin::Tuned { source, stale, .. } => Some((*source, *stale, plan.figures().is_some())),
            _ => None,
        }
    };
    let embedded_only = bundle(device.clone(), false);
    write(1, front(true), "another-package");
    assert_eq!(source(embedded(None)), None, "the cache of another package");
    write(999, front(true), PACKAGE);
    assert_eq!(source(embedded(None)), Some((RecordSource::UserCache, false, true)));
    assert_eq!(
        source(with(&embedded_only)),
        Some((RecordSource::Embedded, false, true)),
        "the bundle is newer"
    );
    write(1001, front(true), PACKAGE);
    assert_eq!(
        source(with(&embedded_only)),
        Some((RecordSource::UserCache, false, true)),
        "the cache is newer"
    );
    let future = SystemTime::now() + Duration::from_secs(24 * 3600);
    write(
        future.duration_since(UNIX_EPOCH).unwrap().as_secs(),
        front(true),
        PACKAGE,
    );
    assert_eq!(
        source(with(&embedded_only)),
        Some((RecordSource::Embedded, false, true)),
        "nothing is known of the age of what is dated in the future"
    );
    // An endless file is skipped.
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        "/dev/zero",
        Path::new(&folder).join(PACKAGE).join(format!(
            "{}-zero.ekcache",
            fingerprint::of(&operator().0).unwrap().short()
        )),
    )
    .unwrap();
    write(1001, front(true), PACKAGE);
    assert_eq!(
        source(with(&embedded_only)),
        Some((RecordSource::UserCache, false, true))
    );
    let unmeasured = Point {
        energy: None,
        ..front(true).remove(0)
    };
    write(1001, vec![unmeasured], PACKAGE);
    assert_eq!(
        source(with(&embedded_only)),
        Some((RecordSource::Embedded, false, true)),
        "the cache is newer, but has no energies"
    );
    let measured_elsewhere = front(true)
        .into_iter()
        .map(|point| Point {
            kernel_hash: [0; 32],
            ..point
        })
        .collect();
    write(1002, measured_elsewhere, PACKAGE);
    assert_eq!(
        source(embedded(None)),
        Some((RecordSource::UserCache, true, false)),
        "other code than was measured"
    );
}

/// Counts the warnings of this thread.
#[derive(Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}: {value:?}; ", field.name());
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Runs work and returns its warnings.
fn warnings(work: impl FnOnce()) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Warnings(heard.clone()), work);
    Arc::try_unwrap(heard).unwrap().into_inner().unwrap()
}

/// If the device refuses the embedded kernels, the untuned kernel runs, with a single warning.
#[test]
fn a_refused_kernel_is_replaced_by_the_untuned_one() {
    let gpu = Gpu::emulated();
    let mut refused = bundle(gpu.device_class().clone(), false);
    for kernel in &mut refused.kernels {
        let mut broken = kernel.unpack().unwrap();
        broken.ptx = broken.ptx.replace("ld.global", "ld.elsewhere");
        *kernel = PackedKernel::pack(&broken).unwrap();
    }
    let operator = with(&refused);
    let heard = warnings(|| {
        for m in [16, 17, 3, 256, 16] {
            check(operator, &gpu, m, 64);
        }
        let plan = operator.variant(&[]).unwrap().prepare(&gpu, &sizes(32, 64)).unwrap();
        assert!(!plan.is_tuned(), "{plan}");
    });
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].contains("operator: \"double\"") && heard[0].contains("the untuned one runs"),
        "{heard:?}"
    );
    let reason = reason(operator, &gpu, &sizes(16, 64));
    assert!(reason.starts_with("the tuned kernel cannot be loaded: "), "{reason}");
    assert!(!reason.contains('\n'), "{reason}");

    // Another device may accept them.
    let another = Gpu::emulated();
    let plan = operator.variant(&[]).unwrap().plan(&another, &sizes(16, 64)).unwrap();
    assert!(plan.is_tuned(), "{plan}");
}

/// Kernels beyond the machine's limits are skipped: the next point of the front is used, then another record, then the untuned kernel.
#[test]
fn kernels_beyond_the_limits_are_skipped() {
    let gpu = Gpu::emulated();
    let shared = gpu.machine().limits.shared_per_block;
    let too_large = |large: &[usize]| {
        let mut bundle = bundle(gpu.device_class().clone(), false);
        for &at in large {
            let mut kernel = bundle.kernels[at].unpack().unwrap();
            kernel.launches[0].dynamic_shared = shared + 1;
            bundle.kernels[at] = PackedKernel::pack(&kernel).unwrap();
        }
        bundle
    };
    // The build's objective prefers the last point, then the one in the middle.
    for (large, chosen) in [
        (&[][..], Some(2)),
        (&[2], Some(1)),
        (&[1, 2], Some(0)),
        (&[0, 1, 2], None),
    ] {
        let operator = with(&too_large(large));
        check(operator, &gpu, 16, 64);
        let plan = operator.variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
        let found = plan.alternatives().iter().position(|alternative| alternative.chosen);
        assert_eq!(found, chosen, "{plan}");
        if chosen.is_none() {
            let reason = reason(operator, &gpu, &sizes(16, 64));
            let expected = format!("and {} bytes of shared memory, but this machine's may have", shared + 1);
            assert!(reason.contains(&expected), "{reason}");
        }
    }
    // A record of another GPU with the same compute capability.
    let mut both = too_large(&[0, 1, 2]);
    let mut lent = bundle(
        DeviceClass {
            name: "another".to_owned(),
            ..gpu.device_class().clone()
        },
        false,
    );
    let own = both.kernels.len() as u32;
    both.kernels.append(&mut lent.kernels);
    for bucket in &mut lent.devices[0].buckets {
        bucket.front.iter_mut().for_each(|candidate| candidate.kernel += own);
    }
    both.devices.append(&mut lent.devices);
    let plan = with(&both).variant(&[]).unwrap().plan(&gpu, &sizes(16, 64)).unwrap();
    assert!(plan.to_string().contains("borrowed"), "{plan}");
}
