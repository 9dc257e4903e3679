//! The official conformance suite against the host: both sets of requirements, each with a legacy and a modern backend
//! behind it. There is no list of failures that are expected.
//!
//! The backend is `fixture-backend` of `tests/`, which has all that the suite looks for; `--direct` shows that without the
//! host between. The runs know nothing of each other and happen side by side.

mod process;
mod results;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};

use self::{
    process::Suite,
    results::{Results, Verdict},
};
use crate::{
    cache::Cache,
    servers,
    steps::{self, step},
};

/// Which of the runs to make; all by default.
#[derive(Args, Default)]
pub(crate) struct Conformance {
    /// With this backend only
    #[arg(long, value_enum)]
    only: Option<Era>,
    /// This set of requirements only
    #[arg(long, value_enum, value_name = "REVISION")]
    requirements: Option<Requirements>,
    /// Without the host: each set of requirements against the backend of its era
    #[arg(long)]
    direct: bool,
}

/// What the backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Era {
    Legacy,
    Modern,
}

/// What the suite demands, and which revision it speaks itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Requirements {
    #[value(name = "2025-11-25")]
    R2025_11_25,
    #[value(name = "2026-07-28")]
    R2026_07_28,
}

/// One run of the suite.
#[derive(Clone, Debug)]
struct Run {
    era: Era,
    requirements: Requirements,
    is_direct: bool,
    /// Where everything goes that it writes.
    results: PathBuf,
}

impl Era {
    fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl Requirements {
    fn name(self) -> &'static str {
        match self {
            Self::R2025_11_25 => "2025-11-25",
            Self::R2026_07_28 => "2026-07-28",
        }
    }

    fn era(self) -> Era {
        match self {
            Self::R2025_11_25 => Era::Legacy,
            Self::R2026_07_28 => Era::Modern,
        }
    }
}

impl Run {
    fn name(&self) -> String {
        let way = if self.is_direct { "direct" } else { "host" };
        format!("{} {way} {}", self.requirements.name(), self.era.name())
    }
}

pub(crate) fn run(cache: &Cache, wanted: &Conformance) -> anyhow::Result<()> {
    let suite = servers::install_suite(cache)?;
    // In the feature set of the tests, so that nothing is compiled twice.
    let mut build = cache.cargo(&["build", "--workspace", "--locked", "--bin", "fixture-backend"]);
    steps::run(if wanted.direct { &mut build } else { build.args(["--bin", "vmcp-host"]) })?;
    let results = cache.dir().join("conformance-results");
    let runs = wanted.runs(&results);
    if runs.is_empty() {
        bail!("nothing to run: `--direct` puts each set of requirements before the backend of its own era");
    }
    let _alone = lock(&results)?;
    step(&format!("{} runs of the conformance suite", runs.len()));
    let outcomes: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = runs.iter().map(|run| scope.spawn(|| make(cache, &suite, run))).collect();
        started.into_iter().map(|run| run.join().unwrap_or_else(|_| Err(anyhow!("the run panicked")))).collect()
    });
    report(&runs, &outcomes);
    step(&format!("everything that the runs wrote is in {}", results.display()));
    let failed = outcomes.iter().filter(|outcome| !outcome.as_ref().is_ok_and(Results::meet_requirements)).count();
    if failed > 0 {
        bail!("{failed} of {} runs of the conformance suite failed", runs.len());
    }
    Ok(())
}

/// Waits for others that write there.
fn lock(results: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(results)?;
    let file = File::create(results.join("lock"))?;
    if file.try_lock().is_err() {
        step("another conformance run is under way; waiting for it");
        file.lock()?;
    }
    Ok(file)
}

impl Conformance {
    fn runs(&self, results: &Path) -> Vec<Run> {
        let mut runs = Vec::new();
        for requirements in Requirements::value_variants().iter().copied() {
            for era in Era::value_variants().iter().copied() {
                let is_wanted = self.only.is_none_or(|only| only == era)
                    && self.requirements.is_none_or(|only| only == requirements)
                    && (!self.direct || requirements.era() == era);
                if is_wanted {
                    let mut run = Run { era, requirements, is_direct: self.direct, results: PathBuf::new() };
                    run.results = results.join(run.name().replace(' ', "-"));
                    runs.push(run);
                }
            }
        }
        runs
    }
}

fn make(cache: &Cache, suite: &Path, run: &Run) -> anyhow::Result<Results> {
    let start = Instant::now();
    if run.results.exists() {
        fs::remove_dir_all(&run.results)?;
    }
    fs::create_dir_all(&run.results)?;
    let (backend, backend_url) = process::start_fixture(cache, run)?;
    let host = if run.is_direct { None } else { Some(process::start_host(cache, run, &backend_url)?) };
    let url = host.as_ref().map_or(&backend_url, |host| &host.url);
    let output = Suite { folder: suite, run }.test(url)?;
    drop((host, backend));
    Results::read(run, &output, start.elapsed())
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn report(runs: &[Run], outcomes: &[anyhow::Result<Results>]) {
    println!(
        "{:<26} {:>9} {:>7} {:>7}  {:>9} {:>7} {:>7}  {:>8} {:>6}",
        "", "required", "checks", "failed", "unscored", "checks", "failed", "warnings", "time"
    );
    for (run, outcome) in runs.iter().zip(outcomes) {
        match outcome {
            Ok(results) => {
                let (required, unscored) = (results.totals(true), results.totals(false));
                println!(
                    "{:<26} {:>9} {:>7} {:>7}  {:>9} {:>7} {:>7}  {:>8} {:>4} s",
                    run.name(),
                    required.scenarios,
                    required.passed + required.failed,
                    required.failed,
                    unscored.scenarios,
                    unscored.passed + unscored.failed,
                    unscored.failed,
                    required.warnings + unscored.warnings,
                    results.took.as_secs(),
                );
            }
            Err(error) => println!("{:<26} {error:#}", run.name()),
        }
    }
    for (run, outcome) in runs.iter().zip(outcomes) {
        let findings = outcome.as_ref().map(|results| results.findings.as_slice()).unwrap_or_default();
        for (verdict, is_required, title) in [
            (Verdict::Failed, true, "failed"),
            (Verdict::Failed, false, "failed, but is not scored"),
            (Verdict::Warned, true, "warned"),
            (Verdict::Warned, false, "warned, but is not scored"),
        ] {
            for finding in findings.iter().filter(|it| it.verdict == verdict && it.is_required == is_required) {
                println!("{}: {} / {} {title}: {}", run.name(), finding.scenario, finding.check, finding.message);
            }
        }
    }
}
