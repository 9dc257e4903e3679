//! Runs the fuzz targets of `tests/fuzz`, with the toolchain of everything else: libFuzzer, coverage by compiler passes that
//! stable has, no sanitizer. There is no unsafe code of ours, so that a finding is a panic, a broken promise or a hang.
//!
//! What is found stays in the cache folder, `fuzz/TARGET/`: `corpus` grows from run to run, `findings` holds inputs that
//! failed, `log` what the last run said.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    cache::Cache,
    steps::{output, run, step},
};

/// What tells libFuzzer which code an input reached.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
];
/// One input may take so many seconds; most take some microseconds.
const HANG: u32 = 10;
const MEMORY_MIB: u32 = 2048;
/// Longest input, in bytes: enough for every form, short enough to try many.
const LONGEST: u32 = 1024;

#[derive(Args)]
pub(crate) struct Fuzz {
    /// One target instead of all: the name of a file in `tests/fuzz/src`
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Take the inputs that reach new code into the committed corpus
    #[arg(long)]
    update_corpus: bool,
}

pub(crate) fn run_targets(cache: &Cache, fuzz: &Fuzz) -> anyhow::Result<()> {
    let all = targets(cache)?;
    let chosen = match &fuzz.target {
        None => all,
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("there is no fuzz target `{target}`, only {}", all.join(", ")),
    };
    let triple = host_triple(cache)?;
    build(cache, &triple)?;
    let mut failed = Vec::new();
    for name in chosen {
        let target = Target::open(cache, &triple, name)?;
        if !target.fuzz(cache, fuzz.seconds)? {
            failed.push(target.findings.display().to_string());
        } else if fuzz.update_corpus {
            target.update_corpus(cache)?;
        }
    }
    if !failed.is_empty() {
        bail!("findings lie in {}; give one to the target's binary to see it again", failed.join(", "));
    }
    Ok(())
}

/// Names of the targets, which each have a file and a corpus of their name.
fn targets(cache: &Cache) -> anyhow::Result<Vec<String>> {
    let folder = cache.root().join("tests/fuzz/corpus");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn host_triple(cache: &Cache) -> anyhow::Result<String> {
    let about = output(cache.command("rustc").arg("-vV"))?;
    let triple = about.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).context("rustc does not say for which machine it builds")
}

fn target_dir(cache: &Cache) -> PathBuf {
    cache.dir().join("fuzz-target")
}

fn build(cache: &Cache, triple: &str) -> anyhow::Result<()> {
    let mut cargo =
        cache.cargo(&["build", "--release", "--locked", "--bins", "--manifest-path", "tests/fuzz/Cargo.toml"]);
    // With a target named, the flags concern neither build scripts nor macros.
    cargo.args(["--target", triple]).env("RUSTFLAGS", COVERAGE.join(" ")).env("CARGO_TARGET_DIR", target_dir(cache));
    run(&mut cargo)
}

struct Target {
    name: String,
    binary: PathBuf,
    /// Committed inputs.
    seeds: PathBuf,
    /// Inputs of this machine that reached new code.
    corpus: PathBuf,
    findings: PathBuf,
    log: PathBuf,
}

impl Target {
    fn open(cache: &Cache, triple: &str, name: String) -> anyhow::Result<Self> {
        let dir = cache.dir().join("fuzz").join(&name);
        let target = Self {
            binary: target_dir(cache).join(triple).join("release").join(&name),
            seeds: cache.root().join("tests/fuzz/corpus").join(&name),
            corpus: dir.join("corpus"),
            findings: dir.join("findings"),
            log: dir.join("log"),
            name,
        };
        for folder in [&target.corpus, &target.findings] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(target)
    }

    /// Runs for `seconds` and says what came of it; false after a finding.
    fn fuzz(&self, cache: &Cache, seconds: u32) -> anyhow::Result<bool> {
        step(&format!("fuzz {} for {seconds} s", self.name));
        let log = fs::File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let status = self
            .command(cache)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", self.findings.display()))
            .arg("-print_final_stats=1")
            // New inputs go to the folder that is named first.
            .args([&self.corpus, &self.seeds])
            .stderr(log)
            .status()
            .with_context(|| format!("`{}` cannot be started", self.binary.display()))?;
        let said = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let stat = |name: &str| {
            let line = said.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line.map_or("?", |rest| rest.trim_start_matches(':').trim()).to_owned()
        };
        let outcome = if status.success() { "no finding" } else { "A FINDING" };
        step(&format!(
            "{}: {} executions, {} a second, {} new inputs, {outcome}",
            self.name,
            stat("number_of_executed_units"),
            stat("average_exec_per_sec"),
            stat("new_units_added"),
        ));
        if !status.success() {
            // From what the target said of itself; a hang has no such line.
            let start = said.lines().position(|line| line.contains("panicked at")).unwrap_or_default();
            said.lines().skip(start).filter(|line| !line.starts_with("stat::")).take(40).for_each(step);
        }
        Ok(status.success())
    }

    /// Adds inputs of this machine that reach what no committed one does.
    fn update_corpus(&self, cache: &Cache) -> anyhow::Result<()> {
        let mut merge = self.command(cache);
        merge.arg("-merge=1").args([&self.seeds, &self.corpus]).stdout(Stdio::null()).stderr(Stdio::null());
        run(&mut merge)
    }

    fn command(&self, cache: &Cache) -> Command {
        let mut command = cache.command(&self.binary);
        command
            .arg(format!("-timeout={HANG}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .arg(format!("-max_len={LONGEST}"))
            .stdin(Stdio::null());
        command
    }
}
