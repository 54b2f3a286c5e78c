//! The queue: buckets are worked on one after another, within a time.
//!
//! ```text
//!   share of the time left ──▶ journal ──▶ job ──▶ store ──▶ journal deleted
//!                                  └── an observer is told of each bucket ──┘
//! ```
//! The build script, `tune` and `tune --sweep` differ in the [`Work`] and in the [`Observer`] that reports it.

use crate::bench::{Bench, Job};
use crate::buckets::{Bucket, cache_file};
use crate::cache::{Cache, CachedStages, Place};
use energy_kernel_compiler::record::{DeviceClass, Record};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// The work on each bucket of a queue.
pub trait Work {
    /// The result of one bucket.
    type Output;

    /// The bucket's journal. `None` if an interrupted job resumes in another way, or not at all.
    fn journal(&self, bucket: Bucket<'_>) -> Option<PathBuf> {
        let _ = bucket;
        None
    }

    /// Works on one bucket.
    ///
    /// # Errors
    /// The reason that there is no result.
    fn run(&mut self, job: &Job<'_>) -> Result<Self::Output, String>;

    /// Stores a result. The queue then deletes the journal.
    ///
    /// # Errors
    /// The result cannot be written. The journal stays.
    fn store(&mut self, bucket: Bucket<'_>, output: &Self::Output) -> io::Result<()> {
        let _ = (bucket, output);
        Ok(())
    }
}

/// The end of the work on one bucket.
#[derive(Debug)]
pub enum Ended<T> {
    /// There is a result, and it is stored.
    Stored(T),
    /// There is a result, but it could not be stored.
    NotStored(T, io::Error),
    /// There is no result, for a reason.
    Failed(String),
}

/// Is told of each bucket of a queue.
pub trait Observer<T> {
    /// Work on a bucket begins.
    fn begin(&mut self, bucket: Bucket<'_>) {
        let _ = bucket;
    }

    /// Work on a bucket has ended.
    fn end(&mut self, bucket: Bucket<'_>, ended: Ended<T>);

    /// The time ended before the last `left` buckets. Nothing follows.
    fn out_of_time(&mut self, left: usize);
}

/// Works on buckets in order until `end`. Each may take an equal share of the time left, so a bucket that ends early leaves more to the
/// ones after it.
pub fn run<W: Work>(buckets: &[Bucket<'_>], end: Instant, work: &mut W, observer: &mut dyn Observer<W::Output>) {
    for (number, &bucket) in buckets.iter().enumerate() {
        let time = end.saturating_duration_since(Instant::now());
        let left = buckets.len() - number;
        if time.is_zero() {
            return observer.out_of_time(left);
        }
        let share = time / u32::try_from(left).unwrap_or(u32::MAX);
        let journal = work.journal(bucket);
        let (found, sizes) = bucket;
        let job = Job {
            found,
            sizes,
            deadline: Instant::now() + share,
            limit: end,
            journal: journal.as_deref(),
            stages: None,
        };
        observer.begin(bucket);
        let ended = match work.run(&job) {
            Err(why) => Ended::Failed(why),
            Ok(output) => match work.store(bucket, &output) {
                Err(error) => Ended::NotStored(output, error),
                Ok(()) => {
                    journal.iter().for_each(|journal| drop(std::fs::remove_file(journal)));
                    Ended::Stored(output)
                }
            },
        };
        observer.end(bucket, ended);
    }
}

/// Tunes each bucket on a bench and stores its record in the user's cache.
pub struct Tuning<'a> {
    /// The device.
    pub bench: &'a mut dyn Bench,
    /// The cache of the package.
    pub cache: &'a Cache,
    /// The extension of journals: [`JOURNAL`], or one of its own for measurements that must not be mixed with those. `None` for no journals.
    pub journal: Option<&'a str>,
    /// `true` if a record replaces the one in the cache because the user asked for a new one.
    pub replace: bool,
    /// The time that cache files get, if it is not the present.
    pub modified: Option<SystemTime>,
    /// The time at which tuning began.
    pub begun: SystemTime,
}

impl std::fmt::Debug for Tuning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tuning")
            .field("device", self.bench.device())
            .field("cache", self.cache)
            .finish_non_exhaustive()
    }
}

/// The usual extension of a journal.
pub const JOURNAL: &str = "journal";

impl Work for Tuning<'_> {
    type Output = Record;

    fn journal(&self, bucket: Bucket<'_>) -> Option<PathBuf> {
        let extension = self.journal?;
        Some(journal_path(
            self.cache.state()?,
            bucket,
            self.bench.device(),
            extension,
        ))
    }

    fn run(&mut self, job: &Job<'_>) -> Result<Record, String> {
        let stages = CachedStages {
            cache: self.cache,
            replaced_since: self.replace.then_some(self.begun),
            modified: self.modified,
        };
        self.bench.tune(&Job {
            stages: Some(&stages),
            ..*job
        })
    }

    fn store(&mut self, (found, _): Bucket<'_>, record: &Record) -> io::Result<()> {
        let file = cache_file(found, self.bench.device(), record.clone());
        let operator = std::slice::from_ref(found);
        let stored = match self.replace {
            true => self.cache.replace(Place::User, &file, operator),
            false => self.cache.store(Place::User, &file, operator, self.modified),
        };
        stored.map(drop)
    }
}

/// The path of a bucket's journal.
fn journal_path(state: &Path, (found, sizes): Bucket<'_>, device: &DeviceClass, extension: &str) -> PathBuf {
    let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
    let mut name = format!(
        "{}-{}-{}",
        found.fingerprint.short(),
        device.file_stem(),
        sizes.join("x")
    );
    name.truncate(200);
    state.join(format!("{name}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::scan::{Found, operators};
    use std::time::Duration;

    fn found() -> Found {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.rs");
        let source =
            "#[energy_kernel(tune(N = [1, 2, 3, 4]))] fn id(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] }";
        std::fs::write(&file, source).unwrap();
        operators(&[file]).remove(0)
    }

    /// Notes the share of each job. The job of size 2 fails, and the result of size 3 cannot be stored.
    struct Noted {
        begun: Instant,
        folder: tempfile::TempDir,
        shares: Vec<f64>,
    }

    impl Work for Noted {
        type Output = u64;

        fn journal(&self, (_, sizes): Bucket<'_>) -> Option<PathBuf> {
            Some(self.folder.path().join(sizes[0].to_string()))
        }

        fn run(&mut self, job: &Job<'_>) -> Result<u64, String> {
            self.shares.push((job.deadline - self.begun).as_secs_f64());
            std::fs::write(job.journal.unwrap(), "measured").unwrap();
            match job.sizes[0] {
                2 => Err("no".to_owned()),
                size => Ok(size),
            }
        }

        fn store(&mut self, _: Bucket<'_>, output: &u64) -> io::Result<()> {
            match output {
                3 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        }
    }

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Observer<u64> for Told {
        fn begin(&mut self, (_, sizes): Bucket<'_>) {
            self.0.push(format!("begin {}", sizes[0]));
        }

        fn end(&mut self, _: Bucket<'_>, ended: Ended<u64>) {
            self.0.push(match ended {
                Ended::Stored(output) => format!("stored {output}"),
                Ended::NotStored(output, _) => format!("not stored {output}"),
                Ended::Failed(why) => format!("failed: {why}"),
            });
        }

        fn out_of_time(&mut self, left: usize) {
            self.0.push(format!("{left} left"));
        }
    }

    #[test]
    fn each_job_gets_an_equal_share_of_the_time_left() {
        let (found, begun) = (found(), Instant::now());
        let (mut told, folder) = (Told::default(), tempfile::tempdir().unwrap());
        let mut work = Noted {
            begun,
            folder,
            shares: Vec::new(),
        };
        let buckets = crate::buckets(&[&found]);
        run(&buckets, begun + Duration::from_secs(1200), &mut work, &mut told);
        // Jobs take no time here, so the shares grow: a quarter, a third, a half, all.
        for (share, expected) in work.shares.iter().zip([300.0, 400.0, 600.0, 1200.0]) {
            assert!((share - expected).abs() < 5.0, "{:?}", work.shares);
        }
        let expected = [
            "begin 1",
            "stored 1",
            "begin 2",
            "failed: no",
            "begin 3",
            "not stored 3",
            "begin 4",
            "stored 4",
        ];
        assert_eq!(told.0, expected);
        let left = [1, 2, 3, 4].map(|size: u64| work.folder.path().join(size.to_string()).exists());
        assert_eq!(left, [false, true, true, false], "only stored results need no journal");
    }

    #[test]
    fn no_job_begins_after_the_end() {
        let (found, begun) = (found(), Instant::now());
        let (mut told, folder) = (Told::default(), tempfile::tempdir().unwrap());
        let mut work = Noted {
            begun,
            folder,
            shares: Vec::new(),
        };
        run(&crate::buckets(&[&found]), begun, &mut work, &mut told);
        assert_eq!((told.0, work.shares), (vec!["4 left".to_owned()], Vec::new()));
    }
}
