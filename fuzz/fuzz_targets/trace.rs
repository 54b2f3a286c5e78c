//! A trace, ours or another tuner's: read, swept, replayed, appended to.

#![no_main]

use energy_kernel_build::tune::ReplayBackend;
use energy_kernel_build::tune::trace::{Mapping, Recorder, Trace, read};
use std::fs::write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = tempfile::NamedTempFile::new() else {
        return;
    };
    let path = file.path();
    if write(path, bytes).is_err() {
        return;
    }
    for sweep in read(path, &Mapping::default()).unwrap_or_default() {
        assert!(sweep.points.iter().all(|point| point.features.len() == sweep.columns.len()));
        assert!(sweep.points.iter().all(|point| point.latency > 0.0 && point.energy > 0.0));
    }
    let Ok(trace) = Trace::read(path) else { return };
    let _ = ReplayBackend::new(trace.clone(), 1);
    // What is packed cannot be appended to.
    let Ok(mut recorder) = Recorder::open(path) else { return };
    for recording in &trace.recordings {
        for point in &recording.points {
            recorder
                .note(&recording.device, &recording.problem, point)
                .expect("what was read can be written");
        }
    }
    let again = Trace::read(path).expect("what was written can be read");
    // Not a number is unequal to itself, but looks the same.
    assert_eq!(format!("{:?}", again.recordings), format!("{:?}", trace.recordings));
});
