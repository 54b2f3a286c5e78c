//! Appends measurements to a trace as they come.

use super::error::TraceError;
use super::file::text_of;
use super::recorded::{self, Recorded, RecordedProblem, Trace};
use crate::tune::append::append;
use energy_kernel_compiler::file;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{DeviceClass, PackedKernel};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A trace that is being recorded. Each measurement is in the file before the next one begins.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: File,
    /// The contents of the file when it was opened.
    known: Trace,
    /// The device and problem of the last lines.
    current: Option<(DeviceClass, RecordedProblem)>,
}

impl Recorder {
    /// Opens a trace, or begins one. A partial last line is removed. The file is locked: if two processes recorded it, points would follow the
    /// wrong operator.
    ///
    /// # Errors
    /// The file is not a trace, is damaged, is being recorded by another process, or cannot be written.
    pub fn open(path: &Path) -> Result<Recorder, TraceError> {
        let failed = |problem: &dyn std::fmt::Display| TraceError::Unreadable(format!("{}: {problem}", path.display()));
        let opened = file::open(path, File::options().read(true).append(true).create(true));
        let mut file = opened.map_err(|error| failed(&error))?;
        // Some file systems have no locks.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(failed(
                &"another sweep is recording it; wait for that, or name another file",
            ));
        }
        let bytes = file.metadata().map_err(|error| failed(&error))?.len();
        let mut known = Trace::default();
        let mut complete = true;
        if bytes > 0 {
            // Read the open file: some systems forbid opening a locked file again.
            let text = text_of(&file, path)?;
            known = Trace::parse(&text).map_err(|error| failed(&error))?;
            complete = text[..known.whole].ends_with('\n');
            if bytes != text.len() as u64 {
                return Err(failed(
                    &"it is compressed and cannot be appended to; decompress it first",
                ));
            }
            file.set_len(known.whole as u64).map_err(|error| failed(&error))?;
        }
        if !complete {
            file.write_all(b"\n").map_err(|error| failed(&error))?;
        }
        Ok(Recorder {
            path: path.to_owned(),
            file,
            known,
            current: None,
        })
    }

    /// `true` if the file held the energy of a candidate when it was opened.
    pub fn holds(&self, device: &DeviceClass, problem: &RecordedProblem, schedule: &str, kernel: &Kernel) -> bool {
        let hash = PackedKernel::hash(kernel);
        let known = self.find(device, problem, schedule, hash);
        known.is_some_and(|point| point.energy.is_some())
    }

    fn find(
        &self,
        device: &DeviceClass,
        problem: &RecordedProblem,
        schedule: &str,
        kernel: [u8; 32],
    ) -> Option<&Recorded> {
        let same = (self.known.recordings.iter())
            .find(|recording| recording.device == *device && recording.problem == *problem)?;
        (same.points.iter()).find(|point| point.schedule == schedule && point.kernel_hash == kernel)
    }

    /// Appends a measurement.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(
        &mut self,
        device: &DeviceClass,
        problem: &RecordedProblem,
        point: &Recorded,
    ) -> Result<(), TraceError> {
        let mut lines = String::new();
        let is_about = |(d, p): &(DeviceClass, RecordedProblem)| d == device && p == problem;
        let begins = !self.current.as_ref().is_some_and(is_about);
        if begins {
            lines += &format!("{}\n{}\n", recorded::header(device), recorded::problem(problem));
        }
        lines += &format!("{}\n", recorded::point(point));
        append(&mut self.file, lines.as_bytes())
            .map_err(|error| TraceError::Unreadable(format!("{}: {error}", self.path.display())))?;
        // Only after a success: otherwise the next point must repeat the header.
        if begins {
            self.current = Some((device.clone(), problem.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;
    use crate::tune::testing::{conditions, device};
    use energy_kernel_compiler::record::{CacheMode, Conditions, Estimate, Fingerprint, Flag, Inputs};

    fn described(operator: &str, extent: u64) -> RecordedProblem {
        RecordedProblem {
            fingerprint: Fingerprint([7; 32]),
            operator: operator.to_owned(),
            sizes: vec![("R".to_owned(), extent), ("C \"x\"".to_owned(), u64::MAX)],
            features: vec!["threads".to_owned(), "blocks".to_owned()],
        }
    }

    fn point(random: &mut Random) -> Recorded {
        let mut estimate = |scale: f64| Estimate {
            mean: scale * random.unit(),
            interval: scale * 1e-3 * random.unit(),
        };
        let (latency, energy) = (estimate(1e-3), estimate(0.5));
        let known = Conditions {
            driver: "580.95\u{e9}".to_owned(),
            simulated_profile: Some("hopper".to_owned()),
            sm_clock_mhz: Some(1980.0 * random.unit()),
            memory_clock_mhz: Some(1.0),
            temperature_celsius: Some(-3.5),
            power_watts: Some(random.unit()),
            power_limit_watts: Some(700.0),
            throttle_reasons: random.next(),
            window_seconds: random.unit(),
            launches: random.next(),
            inputs: Inputs::Random { seed: random.next() },
            cache: CacheMode::Warm,
            flags: vec![Flag::Throttled, Flag::ShortWindow],
        };
        Recorded {
            schedule: format!("plain threads={}", random.below(1000)),
            kernel_hash: std::array::from_fn(|_| random.next() as u8),
            features: vec![random.normal(), 1e300 * random.normal()],
            latency,
            energy: (random.below(2) == 0).then_some(energy),
            conditions: if random.below(2) == 0 { known } else { conditions() },
            measured_at: random.next(),
        }
    }

    #[test]
    fn what_is_written_is_read_to_the_bit_and_two_traces_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut random = Random::new(4);
        let other = DeviceClass {
            name: "another\nline".replace('\n', " "),
            simulated: true,
            ..device()
        };
        let groups = [
            (device(), described("a", 1)),
            (device(), described("b", 2)),
            (other, described("a", 1)),
        ];
        let points: Vec<Vec<Recorded>> = (0..groups.len())
            .map(|_| (0..20).map(|_| point(&mut random)).collect())
            .collect();
        for turn in 0..4 {
            // Open the file for each point, and alternate between problems.
            let mut recorder = Recorder::open(&path).unwrap();
            for ((device, problem), points) in groups.iter().zip(&points) {
                for point in &points[5 * turn..][..5] {
                    assert!(
                        recorder
                            .find(device, problem, &point.schedule, point.kernel_hash)
                            .is_none()
                    );
                    recorder.note(device, problem, point).unwrap();
                }
            }
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for trace in [Trace::read(&path).unwrap(), Trace::parse(&text.repeat(2)).unwrap()] {
            assert_eq!(trace.recordings.len(), groups.len());
            for ((recording, (device, problem)), points) in trace.recordings.iter().zip(&groups).zip(&points) {
                assert_eq!((&recording.device, &recording.problem), (device, problem));
                assert_eq!(&recording.points, points);
            }
        }
        let recorder = Recorder::open(&path).unwrap();
        let found = recorder.find(
            &groups[1].0,
            &groups[1].1,
            &points[1][3].schedule,
            points[1][3].kernel_hash,
        );
        assert_eq!(found, Some(&points[1][3]));
        assert!(
            recorder
                .find(&groups[0].0, &groups[0].1, &points[1][3].schedule, [0; 32])
                .is_none()
        );
    }

    #[test]
    fn what_is_measured_again_counts_as_measured_last_and_no_feature_is_none() {
        let mut random = Random::new(5);
        let (device, problem) = (device(), described("a", 1));
        let mut first = point(&mut random);
        first.features[1] = f64::NAN;
        let second = Recorded {
            latency: Estimate {
                mean: 2.0,
                interval: 0.0,
            },
            ..first.clone()
        };
        let lines = [
            recorded::header(&device),
            recorded::problem(&problem),
            recorded::point(&first),
            recorded::point(&second),
        ];
        let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let trace = Trace::parse(&text.join("\n")).unwrap();
        let [recording] = &trace.recordings[..] else { panic!() };
        assert_eq!(recording.points.len(), 1);
        assert_eq!(recording.points[0].latency.mean, 2.0);
        assert!(recording.points[0].features[1].is_nan());
    }

    #[test]
    fn cut_off_anywhere_nothing_complete_is_lost_and_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut random = Random::new(6);
        let (device, problem) = (device(), described("a", 1));
        let points: Vec<Recorded> = (0..3).map(|_| point(&mut random)).collect();
        let mut recorder = Recorder::open(&path).unwrap();
        points
            .iter()
            .for_each(|point| recorder.note(&device, &problem, point).unwrap());
        drop(recorder);
        let bytes = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').collect();
        for end in (ends[0]..bytes.len()).step_by(7).chain(ends.iter().copied()) {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let mut recorder = Recorder::open(&path).unwrap();
            // The first two lines are not points.
            let complete = ends.iter().filter(|&&at| at <= end).count().saturating_sub(2);
            let kept = |p: &&Recorded| recorder.find(&device, &problem, &p.schedule, p.kernel_hash).is_some();
            assert_eq!(points.iter().filter(kept).count(), complete, "cut off at {end}");
            points[complete..]
                .iter()
                .for_each(|point| recorder.note(&device, &problem, point).unwrap());
            assert_eq!(
                Trace::read(&path).unwrap().recordings[0].points,
                points,
                "cut off at {end}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_other_files_are_left_alone() {
        let mut random = Random::new(7);
        let good = [
            recorded::header(&device()),
            recorded::problem(&described("a", 1)),
            recorded::point(&point(&mut random)),
        ];
        let text = |lines: &[serde_json::Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        assert!(Trace::parse(&text(&good)).is_ok());
        let changes: [(usize, &str, serde_json::Value, &str); 12] = [
            (1, "trace", 2.into(), "has version 2"),
            (1, "device", serde_json::json!({}), "compute_capability"),
            (2, "fingerprint", "ab".into(), "64 hexadecimal"),
            (2, "sizes", serde_json::json!([["R", -1]]), "not a whole number"),
            (2, "sizes", serde_json::json!([["R"]]), "names and numbers"),
            (
                3,
                "features",
                serde_json::json!([1.0]),
                "1 features, and the operator names 2",
            ),
            (3, "latency_s", serde_json::json!([-1.0, 0.0]), "positive"),
            (3, "energy_j", serde_json::json!([1.0]), "mean"),
            (3, "measured_at", 1.5.into(), "measured_at"),
            (3, "schedule", "x".repeat(5000).into(), "schedule"),
            (
                3,
                "conditions",
                serde_json::json!({"inputs_seed": 1, "cache": "hot"}),
                "cold or warm",
            ),
            (3, "kernel", "g".repeat(64).into(), "kernel"),
        ];
        for (line, field, value, says) in changes {
            let mut lines = good.clone();
            lines[line - 1][field] = value;
            let error = Trace::parse(&text(&lines)).unwrap_err();
            let TraceError::Malformed { line: told, problem } = &error else {
                panic!("{error}")
            };
            assert!(*told == line && problem.contains(says), "{error}");
        }
        for (lines, line) in [(&good[1..], 1), (&[good[0].clone(), good[2].clone()][..], 2)] {
            let error = Trace::parse(&text(lines)).unwrap_err();
            assert!(
                matches!(error, TraceError::Malformed { line: told, .. } if told == line),
                "{error}"
            );
        }
        // Damage before the last line is an error.
        let damaged = text(&good).replacen("\"schedule\"", "schedule", 1) + &text(&good);
        assert!(Trace::parse(&damaged).is_err());
        assert!(Trace::parse("").is_err() && Trace::parse(&"[".repeat(100_000)).is_err());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "time,energy\n1,2\n").unwrap();
        let error = Recorder::open(&path).unwrap_err().to_string();
        assert!(error.contains("a.csv: line 1: this is not a trace"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"time,energy\n1,2\n");
        assert!(Recorder::open(&folder.path().join("none/a")).is_err());
    }

    #[test]
    fn two_do_not_record_one_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut random = Random::new(9);
        let mut first = Recorder::open(&path).unwrap();
        let error = Recorder::open(&path).unwrap_err().to_string();
        assert!(error.contains("a.jsonl: another sweep is recording it"), "{error}");
        first.note(&device(), &described("a", 1), &point(&mut random)).unwrap();
        drop(first);
        assert!(Recorder::open(&path).is_ok());
    }

    /// A damaged trace is refused or read. Whatever is read can be written and read again.
    #[test]
    fn damaged_traces_are_refused_or_read_and_never_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut random = Random::new(8);
        let mut recorder = Recorder::open(&path).unwrap();
        for extent in [1, 2] {
            for _ in 0..2 {
                recorder
                    .note(&device(), &described("a", extent), &point(&mut random))
                    .unwrap();
            }
        }
        drop(recorder);
        let whole = std::fs::read(&path).unwrap();
        let (mut read, mut refused) = (0, 0);
        for _ in 0..600 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                let end = (at + random.below(40) as usize).min(bytes.len());
                match random.below(5) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = b"0123456789-.eE,:[]{}\"\n"[random.below(22) as usize],
                    2 => drop(bytes.drain(at..end)),
                    3 => bytes.extend_from_within(at..end),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            let (Ok(trace), Ok(mut recorder)) = (Trace::read(&path), Recorder::open(&path)) else {
                refused += 1;
                continue;
            };
            read += 1;
            for recording in &trace.recordings {
                for point in &recording.points {
                    recorder.note(&recording.device, &recording.problem, point).unwrap();
                }
            }
            let again = Trace::read(&path).unwrap();
            // NaN is unequal to itself, but has the same text.
            assert_eq!(format!("{:?}", again.recordings), format!("{:?}", trace.recordings));
        }
        assert!(read > 50 && refused > 50, "{read} {refused}");
    }
}
