//! One run of the build script: from sources and caches to bundles, tuning what is missing where that is allowed.
//!
//! Nothing here fails: whatever goes wrong becomes a warning, and the operators concerned run untuned.

use crate::Build;
use crate::bundle::assemble;
use crate::cache::{Cache, Contents, Place, write_atomically};
use crate::editing::Editing;
use crate::environment::{Environment, WATCHED};
use crate::locks::Lock;
use crate::policy::{Permission, Policy, permission, policy_of};
use crate::scan::{self, Found};
use crate::sources::Sources;
use crate::stamp::{Memo, Stamp, file_lines, remember, remembered};
use crate::watch::watched;
use energy_kernel_compiler::file;
use energy_kernel_compiler::record::encoding::{LIMIT, encode};
use energy_kernel_compiler::record::{Bundle, CacheFile, DeviceClass, Fingerprint, Index, Record};
use energy_kernel_compiler::tuning::UNNAMED;
use std::collections::BTreeSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A device on which operators are tuned.
pub trait Bench {
    /// Which class it is of.
    fn device(&self) -> &DeviceClass;

    /// The name of the device's lock, the same in all processes that measure on this device. By default the device class; none for a simulated
    /// device, whose figures nothing disturbs.
    fn lock(&self) -> Option<String> {
        lock_of(self.device())
    }

    /// Tunes one bucket of one operator.
    ///
    /// # Errors
    /// Nothing could be measured, and why.
    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String>;
}

/// The name of a device's lock, made from its class.
pub(crate) fn lock_of(device: &DeviceClass) -> Option<String> {
    (!device.simulated).then(|| device.file_stem())
}

/// What a bench is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The operator.
    pub found: &'a Found,
    /// The sizes to tune for: one of its buckets.
    pub sizes: &'a [u64],
    /// When to stop: nothing is begun later but the first measurement.
    pub deadline: Instant,
    /// When even that is broken off, where a device can: the end of all jobs.
    pub limit: Instant,
    /// Where measured points are noted as they come, so that an interrupted tuning resumes.
    pub journal: Option<&'a Path>,
}

/// Where benches come from, and who is told what happens.
pub(crate) trait Workshop {
    /// Whether there are any.
    fn can_tune(&self) -> bool;

    /// Opens one: a GPU where that is allowed and one is usable, else the emulated device where that is allowed.
    fn open(&mut self, gpu: bool, emulated: bool) -> Result<Box<dyn Bench>, String>;

    /// Tells people that something takes a while.
    fn announce(&mut self, message: &str);
}

/// What a run of the build script tells cargo.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Lines of a build script's output.
    pub(crate) directives: Vec<String>,
    /// Whether the next run may skip everything if nothing changed.
    pub(crate) settled: bool,
}

/// A run of the build script.
pub(crate) fn execute(build: &Build, environment: &Environment, workshop: &mut dyn Workshop) -> Outcome {
    let paths = [
        environment.get("CARGO_MANIFEST_DIR"),
        environment.get("CARGO_PKG_NAME"),
        environment.get("OUT_DIR"),
    ];
    let [Some(manifest_dir), Some(package), Some(out_dir)] = paths else {
        let problem =
            "energy_kernel_build::run() belongs in a build script: cargo's variables are not set, or are not UTF-8";
        return Outcome {
            directives: vec![warning(problem)],
            settled: false,
        };
    };
    let session = Session {
        build,
        environment,
        package: package.to_owned(),
        manifest_dir: PathBuf::from(manifest_dir),
        output: Path::new(out_dir).join(Index::FOLDER),
        cache: Cache::of(Path::new(manifest_dir), package, user_cache(build, environment)),
        sources: Sources::of(Path::new(manifest_dir), &build.source_dirs),
    };
    // Whatever is wrong with us, the build goes on.
    catch_unwind(AssertUnwindSafe(|| session.run(workshop))).unwrap_or_else(|_| Outcome {
        directives: vec![warning(
            "energy-kernel failed while it looked for operators, which run untuned; please report it. \
             ENERGY_KERNEL=off builds without",
        )],
        settled: false,
    })
}

/// The variable rules, then what is set in code.
fn user_cache<'a>(build: &'a Build, environment: &'a Environment) -> Option<&'a Path> {
    let in_code = build
        .cache_dir
        .as_deref()
        .filter(|_| environment.get("ENERGY_KERNEL_CACHE_DIR").is_none());
    in_code.or(environment.user_cache.as_deref())
}

/// An operator's bundle, to be written; none where it lies there already.
struct Assembled {
    fingerprint: Fingerprint,
    operator: String,
    bundle: Option<(Bundle, Memo)>,
    /// Warnings about it.
    says: Vec<String>,
}

struct Session<'a> {
    build: &'a Build,
    environment: &'a Environment,
    package: String,
    manifest_dir: PathBuf,
    output: PathBuf,
    cache: Cache,
    sources: Sources,
}

impl Session<'_> {
    fn run(&self, workshop: &mut dyn Workshop) -> Outcome {
        let mut warnings = Vec::new();
        let policy = policy_of(self.environment, self.build.policy, &mut warnings);
        let permission = permission(self.environment, policy, self.build.or_emulated, workshop.can_tune());
        // Without a place to keep results, nothing is lost where none are made.
        if policy != Policy::Off
            && let Err(problem) = self.cache.create(Some(self.environment.invoked))
        {
            let would_keep = matches!(permission, Permission::Tune { .. });
            warnings.extend(match self.cache.refused() {
                Some(refused) => Some(format!("the user's cache is not used: {refused}")),
                None => would_keep.then(|| {
                    format!("results are not kept in the user's cache: {problem}; ENERGY_KERNEL_CACHE_DIR names another folder")
                }),
            });
        }
        let mut elsewhere = remembered(&self.output);
        let mut files = self.sources.walk();
        files.extend(self.sources.manifest().map(Path::to_owned));
        files.extend(elsewhere.iter().cloned());
        // As they are before they are read: what is saved while something is tuned is for the next run to see.
        let sources = file_lines(&files);
        let stamp = self.stamp(permission, &sources);
        if let Some(directives) = stamp.unchanged() {
            return Outcome {
                directives,
                settled: true,
            };
        }
        let mut again = false;
        if permission == Permission::Nothing {
            self.write(None, &[], &mut warnings);
        } else {
            let scan = scan::scan(&self.sources);
            let found = scan.operators;
            elsewhere = scan.elsewhere;
            self.cache.note(&found);
            warnings.extend(one_of(
                assumptions(&found),
                &format!("`cargo energy-kernel show --package {}` names them", self.package),
            ));
            let mut contents = self.cache.read(&found);
            warnings.extend(one_of(
                std::mem::take(&mut contents.warnings),
                "`cargo energy-kernel doctor` names them",
            ));
            again = self.tune((policy, permission), &found, &mut contents, workshop, &mut warnings);
            let mut stale = Vec::new();
            let bundles = self.assemble(&found, &contents, &mut stale);
            let all = format!("`{} --again` measures all of them again", self.command());
            warnings.extend(one_of(stale, &all));
            self.write(Some(&found), &bundles, &mut warnings);
            remember(&self.output, &elsewhere);
        }
        let directives = self.directives(&warnings, again, &elsewhere);
        // The stamp is made anew: tuning has written to the cache.
        let settled = !again && self.stamp(permission, &sources).write(&directives).is_ok();
        Outcome { directives, settled }
    }

    fn stamp(&self, permission: Permission, sources: &str) -> Stamp {
        Stamp::of(
            self.build,
            (self.environment, permission),
            sources,
            &self.folders(),
            &self.cache,
            &self.output,
        )
    }

    /// The folders that are read.
    fn folders(&self) -> Vec<&Path> {
        let caches = [Place::Shipped, Place::User]
            .into_iter()
            .filter_map(|place| self.cache.folder(place));
        let sources = self.sources.folders().iter().map(PathBuf::as_path);
        sources.chain(caches).collect()
    }

    /// What is to be tuned: buckets without a record; where that is asked for, also those whose energy was not measured.
    fn jobs<'f>(
        &self,
        found: &[&'f Found],
        contents: &Contents,
        device: &DeviceClass,
        refine: bool,
    ) -> Vec<(&'f Found, &'f [u64])> {
        let mut jobs = missing(found, contents, device);
        if refine {
            jobs.extend(unmeasured(found, contents, device));
        }
        jobs
    }

    /// Tunes what is missing. Whether the script should be run again at the next build.
    fn tune(
        &self,
        (policy, permission): (Policy, Permission),
        found: &[Found],
        contents: &mut Contents,
        workshop: &mut dyn Workshop,
        warnings: &mut Vec<String>,
    ) -> bool {
        let unknown = |contents: &Contents| found.iter().any(|f| !contents.operators.contains_key(&f.fingerprint));
        let (gpu, emulated, debounce, wait) = match permission {
            Permission::Tune {
                gpu,
                emulated,
                debounce,
                wait,
            } => (gpu, emulated, debounce, wait),
            Permission::Nothing => return false,
            Permission::CacheOnly(why) => {
                if let Some(why) = why.explanation()
                    && unknown(contents)
                {
                    warnings.push(self.untuned(found, contents, why));
                }
                return false;
            }
        };
        if found.is_empty() {
            return false;
        }
        let open = |workshop: &mut dyn Workshop| {
            catch_unwind(AssertUnwindSafe(|| workshop.open(gpu, emulated)))
                .unwrap_or_else(|_| Err("looking for a GPU failed".to_owned()))
        };
        let bench = match open(workshop) {
            Ok(bench) => bench,
            Err(why) => {
                if unknown(contents) {
                    warnings.push(self.untuned(found, contents, &why));
                }
                return false;
            }
        };
        let device = bench.device().clone();
        let mut waiting = 0;
        let mut candidates: Vec<&Found> = found.iter().collect();
        if debounce && let Some(state) = self.cache.state() {
            let before = Editing::read(state);
            let mut editing = before.clone();
            let now = self.environment.seconds();
            editing.note(found.iter().map(|f| (f.name.as_str(), f.fingerprint)), now);
            candidates.retain(|f| {
                let rests = !editing.is_edited(&f.name, f.fingerprint, now);
                waiting += usize::from(!rests && !missing(&[f], contents, &device).is_empty());
                rests
            });
            editing.write(&before, state);
        }
        let refine = policy == Policy::Tune;
        let jobs = self.jobs(&candidates, contents, &device, refine);
        if jobs.is_empty() {
            return waiting > 0;
        }
        // Waiting counts: a build takes no longer than its budget.
        let budget = match device.simulated {
            true => self.build.budget.min(EMULATED_BUDGET),
            false => self.build.budget,
        };
        let end = Instant::now() + budget;
        let device_lock = bench.lock();
        let mut bench = Some(bench);
        let patience = wait.then_some(end);
        let Some(_tuning) = self.take(Lock::Tuning, patience, &mut bench, workshop) else {
            warnings.push(self.busy(&jobs, &format!("tuning {}", self.package)));
            return true;
        };
        // The other process may have tuned the same operators.
        for known in self.cache.read(found).operators.into_values() {
            known.devices.into_values().for_each(|file| contents.add(file, found));
        }
        let jobs = self.jobs(&candidates, contents, &device, refine);
        if jobs.is_empty() {
            return waiting > 0;
        }
        // A debug build waits too: otherwise each build of a workspace would tune only one of its packages.
        let measuring = device_lock.map(|name| self.take(Lock::Device(&name), Some(end), &mut bench, workshop));
        if let Some(None) = measuring {
            warnings.push(self.busy(&jobs, &format!("measuring on {}", device.name)));
            return true;
        }
        match bench.map_or_else(|| open(workshop), Ok) {
            Ok(mut bench) => self.tune_all(&jobs, contents, bench.as_mut(), (budget, end), workshop, warnings),
            Err(why) => warnings.push(self.untuned(found, contents, &why)),
        }
        waiting > 0
    }

    /// Takes a lock, waiting until `until`; none if another process still has it. The inner option is none if locks cannot be kept: then this build
    /// tunes without. While it waits, it drops the bench: to the other process it would be a foreign process on the GPU.
    fn take(
        &self,
        lock: Lock<'_>,
        until: Option<Instant>,
        bench: &mut Option<Box<dyn Bench>>,
        workshop: &mut dyn Workshop,
    ) -> Option<Option<File>> {
        match (self.cache.try_lock(lock), until) {
            (Ok(None), None) => None,
            (Ok(None), Some(end)) => {
                workshop.announce(&format!(
                    "energy-kernel: {} waits for another process that is {}, for at most {} s; ENERGY_KERNEL=cached builds without",
                    self.package,
                    match lock {
                        Lock::Device(_) => "measuring on the same device",
                        Lock::Tuning | Lock::Writing => "tuning it",
                    },
                    end.saturating_duration_since(Instant::now()).as_secs(),
                ));
                *bench = None;
                self.cache
                    .lock_until(lock, end)
                    .map_or(Some(None), |taken| taken.map(Some))
            }
            (taken, _) => Some(taken.unwrap_or(None)),
        }
    }

    /// The warning that another process has a lock.
    fn busy(&self, jobs: &[(&Found, &[u64])], what: &str) -> String {
        format!(
            "another process is {what}: {} of {} stay untuned in this build; the next one tunes what is left, as does `{}`",
            sizes(jobs.len()),
            list(jobs.iter().map(|(found, _)| found.name.as_str())),
            self.command()
        )
    }

    fn tune_all(
        &self,
        jobs: &[(&Found, &[u64])],
        contents: &mut Contents,
        bench: &mut dyn Bench,
        (budget, end): (Duration, Instant),
        workshop: &mut dyn Workshop,
        warnings: &mut Vec<String>,
    ) {
        let device = bench.device().clone();
        workshop.announce(&format!(
            "energy-kernel: tuning {} on {} for at most {} s; ENERGY_KERNEL=cached builds without, Ctrl-C stops",
            sizes(jobs.len()),
            device.name,
            end.saturating_duration_since(Instant::now()).as_secs(),
        ));
        let mut skipped = 0;
        let mut untuned = Vec::new();
        let mut not_kept = Vec::new();
        let mut without_energy = Vec::new();
        let mut defects = Vec::new();
        for (number, &(found, sizes)) in jobs.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                skipped = jobs.len() - number;
                break;
            }
            // Each job may take its share; what one leaves over goes to those after it.
            let share = left / u32::try_from(jobs.len() - number).unwrap_or(u32::MAX);
            let journal = self
                .cache
                .state()
                .map(|state| journal_path(state, found, &device, sizes));
            let job = Job {
                found,
                sizes,
                deadline: Instant::now() + share,
                limit: end,
                journal: journal.as_deref(),
            };
            let result = catch_unwind(AssertUnwindSafe(|| bench.tune(&job)));
            let named = names(found, sizes);
            match result {
                Ok(Ok(record)) => {
                    let rejected = record.rejected.iter().filter(|one| one.reason.is_defect());
                    defects.extend(rejected.map(|one| one.complaint(&found.name, &named)));
                    if !record.energy_measured {
                        without_energy.push(format!("{} ({named})", found.name));
                    }
                    let file = cache_file(found, &device, record);
                    let operator = std::slice::from_ref(found);
                    let stored = self
                        .cache
                        .store(Place::User, &file, operator, Some(self.environment.invoked));
                    if let Err(problem) = stored {
                        not_kept.push(format!(
                            "the result for {} ({named}) is not kept in the user's cache: {problem}",
                            found.name
                        ));
                    } else if let Some(journal) = &journal {
                        let _ = std::fs::remove_file(journal);
                    }
                    contents.add(file, operator);
                }
                Ok(Err(problem)) => untuned.push(format!("{} ({named}) runs untuned: {problem}", found.name)),
                Err(_) => untuned.push(format!("{} ({named}) runs untuned: tuning it failed", found.name)),
            }
        }
        warnings.extend(one_of(untuned, &format!("`{}` says why", self.command())));
        warnings.extend(one_of(defects, "`cargo energy-kernel report` lists them"));
        if let Some(first) = without_energy.first() {
            let more = match without_energy.len() {
                1 => String::new(),
                several => format!(" and {} more", several - 1),
            };
            warnings.push(format!(
                "energy was not measured as far as it should be for {first}{more}; `{}` goes on with it, or says what is in the way",
                self.command()
            ));
        }
        // Where there is no place for any result, that has been said.
        if self.cache.create(None).is_ok() {
            warnings.extend(one_of(not_kept, "`cargo energy-kernel doctor` looks into it"));
        }
        if skipped > 0 {
            warnings.push(format!(
                "the time for tuning ({} s) ended before {skipped} of {} sizes; `{}` tunes them",
                budget.as_secs(),
                jobs.len(),
                self.command(),
            ));
        }
    }

    fn untuned(&self, found: &[Found], contents: &Contents, why: &str) -> String {
        let without = found
            .iter()
            .filter(|f| !contents.operators.contains_key(&f.fingerprint));
        format!(
            "{} will run untuned: {why}. On a machine with the GPU, `{}` tunes them",
            list(without.map(|f| f.name.as_str())),
            self.command()
        )
    }

    fn command(&self) -> String {
        format!("cargo energy-kernel tune --package {}", self.package)
    }

    /// The bundles of all operators of which something is known. Compiling is slow in an unoptimised build script: what
    /// was made of the same records before, by the same script, is taken as it lies there.
    fn assemble(&self, found: &[Found], contents: &Contents, stale: &mut Vec<String>) -> Vec<Assembled> {
        let mut bundles: Vec<Assembled> = Vec::new();
        for first in found {
            let Some(known) = contents.operators.get(&first.fingerprint) else {
                continue;
            };
            if bundles.iter().any(|other| other.fingerprint == first.fingerprint) {
                continue;
            }
            // Operators of one meaning have one bundle, for the sizes of all of them.
            let same: Vec<&Found> = found.iter().filter(|f| f.fingerprint == first.fingerprint).collect();
            let memo = Memo::of(first.fingerprint, &same, known, self.build.objective, &self.output);
            let (bundle, says) = match memo.find() {
                Some(says) => (None, says),
                None => {
                    let mut says = Vec::new();
                    let Some(bundle) = assemble(&same, known, self.build.objective, &mut says) else {
                        continue;
                    };
                    (Some((bundle, memo)), says)
                }
            };
            stale.extend(says.iter().cloned());
            bundles.push(Assembled {
                fingerprint: first.fingerprint,
                operator: first.name.clone(),
                bundle,
                says,
            });
        }
        bundles.sort_by_key(|bundle| bundle.fingerprint);
        bundles
    }

    /// Writes bundles, then the index, so that every bundle that an index names exists. A bundle that cannot be written is left out with a warning.
    /// `found` are all operators of the package; none if the script did not look for them.
    fn write(&self, found: Option<&[Found]>, bundles: &[Assembled], warnings: &mut Vec<String>) {
        let output = self.output.display();
        let mut left_out = Vec::new();
        let mut fingerprints = Vec::new();
        let written = std::fs::create_dir_all(&self.output).and_then(|()| {
            for assembled in bundles {
                match self.write_bundle(assembled) {
                    Ok(()) => fingerprints.push(assembled.fingerprint),
                    Err(problem) => left_out.push(format!(
                        "{} is not embedded, and runs untuned: {problem}",
                        assembled.operator
                    )),
                }
            }
            let found = found.map(|found| {
                let all: BTreeSet<Fingerprint> = found.iter().map(|found| found.fingerprint).collect();
                all.into_iter().collect()
            });
            let index = Index {
                package: self.package.clone(),
                manifest_dir: self.manifest_dir.display().to_string(),
                fingerprints,
                found,
            };
            self.put(Index::FILE, &encode(&index).map_err(std::io::Error::other)?)
        });
        match written {
            Ok(()) => warnings.extend(one_of(left_out, "they run untuned, too")),
            Err(problem) => {
                warnings.push(format!("nothing is embedded, {output} cannot be written: {problem}"));
            }
        }
    }

    fn write_bundle(&self, assembled: &Assembled) -> std::io::Result<()> {
        if let Some((bundle, memo)) = &assembled.bundle {
            let bytes = encode(bundle).map_err(std::io::Error::other)?;
            self.put(&Bundle::file_name(&assembled.fingerprint), &bytes)?;
            // Without it the next run compiles again, and no more.
            let _ = memo.write(&assembled.says);
        }
        Ok(())
    }

    /// Leaves a file that is right already as it is: rustc watches what is embedded.
    fn put(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.output.join(name);
        if file::read(&path, LIMIT as u64).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        write_atomically(&path, bytes, None)
    }

    fn directives(&self, warnings: &[String], again: bool, elsewhere: &[PathBuf]) -> Vec<String> {
        let mut directives: Vec<String> = WATCHED
            .iter()
            .map(|variable| format!("cargo::rerun-if-env-changed={variable}"))
            .collect();
        let mut read = self.folders();
        read.extend(self.sources.manifest());
        read.extend(elsewhere.iter().map(PathBuf::as_path));
        let watched = watched(&read, &self.output.join("watched"));
        directives.extend(
            watched
                .iter()
                .map(|path| format!("cargo::rerun-if-changed={}", path.display())),
        );
        if again {
            // A path that does not exist reruns the script at every build, and that is what is wanted here.
            directives.push(format!(
                "cargo::rerun-if-changed={}",
                self.output.join("again").display()
            ));
        }
        directives.extend(warnings.iter().map(|text| warning(text)));
        directives
    }
}

/// All buckets of these operators, each once: operators of one meaning share what is known of them.
pub fn buckets<'a>(found: &[&'a Found]) -> Vec<(&'a Found, &'a [u64])> {
    let mut seen = BTreeSet::new();
    found
        .iter()
        .flat_map(|&f| f.buckets.iter().map(move |sizes| (f, sizes.as_slice())))
        .filter(|(f, sizes)| seen.insert((f.fingerprint, *sizes, &f.specialisation)))
        .collect()
}

/// One sentence for each attribute whose `tune(…)` leaves out a size: the value that tuning assumes.
pub fn assumptions(found: &[Found]) -> Vec<String> {
    let mut said = Vec::new();
    for found in found.iter().filter(|found| !found.assumed.is_empty()) {
        let values: Vec<String> = found.assumed.iter().map(|size| format!("{size} = {UNNAMED}")).collect();
        let sentence = format!(
            "{} ({}:{}) is tuned for {}, because its `tune(…)` does not say; name the sizes that it is called with",
            found.checked.op().name,
            found.file.display(),
            found.line,
            values.join(", "),
        );
        // It is one attribute, for all of its element types.
        if !said.contains(&sentence) {
            said.push(sentence);
        }
    }
    said
}

/// The buckets without a usable record on a device.
pub fn missing<'a>(found: &[&'a Found], contents: &Contents, device: &DeviceClass) -> Vec<(&'a Found, &'a [u64])> {
    let known = |f: &Found, sizes: &[u64]| {
        contents
            .get(&f.fingerprint, device)
            .and_then(|file| file.record(sizes, &f.specialisation))
            .is_some_and(|record| f.is_usable(device, record))
    };
    let mut missing = buckets(found);
    missing.retain(|(f, sizes)| !known(f, sizes));
    missing
}

/// Which buckets have a record on a device whose energy was not measured.
pub fn unmeasured<'a>(found: &[&'a Found], contents: &Contents, device: &DeviceClass) -> Vec<(&'a Found, &'a [u64])> {
    let without = |f: &Found, sizes: &[u64]| {
        let file = contents.get(&f.fingerprint, device);
        file.and_then(|file| file.record(sizes, &f.specialisation))
            .is_some_and(|record| !record.energy_measured)
    };
    let mut unmeasured = buckets(found);
    unmeasured.retain(|(f, sizes)| without(f, sizes));
    unmeasured
}

/// A cache file that holds one record.
pub fn cache_file(found: &Found, device: &DeviceClass, record: Record) -> CacheFile {
    let op = found.checked.op();
    CacheFile {
        fingerprint: found.fingerprint,
        operator: found.name.clone(),
        size_names: op.sizes.iter().map(|size| size.name.clone()).collect(),
        device: device.clone(),
        records: vec![record],
    }
}

/// The journal of a tuning.
pub fn journal_path(state: &Path, found: &Found, device: &DeviceClass, sizes: &[u64]) -> PathBuf {
    let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
    let mut name = format!(
        "{}-{}-{}",
        found.fingerprint.short(),
        device.file_stem(),
        sizes.join("x")
    );
    name.truncate(200);
    state.join(format!("{name}.journal"))
}

/// Sizes for people: `M = 16, K = 384`.
pub fn names(found: &Found, sizes: &[u64]) -> String {
    let names = found.checked.op().sizes.iter().zip(sizes);
    let pairs: Vec<String> = names.map(|(size, value)| format!("{} = {value}", size.name)).collect();
    pairs.join(", ")
}

/// A number of sizes for messages.
fn sizes(count: usize) -> String {
    match count {
        1 => "1 size".to_owned(),
        several => format!("{several} sizes"),
    }
}

/// A list of names for messages: each once, at most three.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    names.for_each(|name| {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    });
    match distinct.as_slice() {
        [first, second, third, _, ..] => format!("{first}, {second}, {third} and {} more", distinct.len() - 3),
        few => few.join(", "),
    }
}

/// One warning for many of a kind: the first, and where to find the others.
fn one_of(warnings: Vec<String>, others: &str) -> Option<String> {
    let more = warnings.len().saturating_sub(1);
    let first = warnings.into_iter().next()?;
    Some(match more {
        0 => first,
        _ => format!("{first} (and {more} more; {others})"),
    })
}

/// A warning as a line for cargo. File names and errors from outside may hold control characters.
fn warning(text: &str) -> String {
    format!("cargo::warning={}", text.replace(char::is_control, " "))
}

/// The most time that a build spends on the emulated device: what it finds serves no GPU.
const EMULATED_BUDGET: Duration = Duration::from_secs(30);

/// Longer than anybody waits, and short enough to be added to any time.
pub const LONGEST_BUDGET: Duration = Duration::from_secs(366 * 24 * 3600);

/// The time a build may spend on tuning unless it is told otherwise.
pub(crate) const DEFAULT_BUDGET: Duration = Duration::from_secs(120);
