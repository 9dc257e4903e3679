//! Measures the build that ships: release profile, default features, a process like any other.

use clap::Subcommand;

use crate::{cache::Cache, steps::run};

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What the host adds to a call: direct and through the host, side by side
    Overhead {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What it costs a client to be one that can be asked something
    Able {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// How long conflict resolution takes with thousands of tools
    Conflict,
    /// From exec to ready, and the memory it takes
    Start {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// How much one faulty backend slows the others
    Faults {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What idle sessions cost, and whether those that are gone leave something behind
    Sessions {
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run_bench(cache: &Cache, bench: &Bench) -> anyhow::Result<()> {
    let (name, json) = match bench {
        Bench::Conflict => return run(&mut cache.cargo(&["bench", "--locked", "--package", "vmcp-plugin"])),
        Bench::Able { json } => ("able", *json),
        Bench::Overhead { json } => ("overhead", *json),
        Bench::Start { json } => ("start", *json),
        Bench::Faults { json } => ("faults", *json),
        Bench::Sessions { json } => ("sessions", *json),
    };
    // Apart from each other, so that what the tests need is not built into the host.
    run(&mut cache.cargo(&["build", "--release", "--locked", "--package", "vmcp-host"]))?;
    run(&mut cache.cargo(&["build", "--release", "--locked", "--package", "vmcp-tests", "--bins"]))?;
    let mut bench = cache.command(cache.binary("release", "vmcp-bench"));
    run(bench.arg(name).args(json.then_some("--json")))
}
