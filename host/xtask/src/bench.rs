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
    /// How long searches take, how soon many tools are ready and what memory that takes; options are passed on, see
    /// `cargo xtask bench search -- --help`
    Search {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What a composite tool costs beyond the calls that it makes
    Workflows {
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
    let (name, json, more) = match bench {
        Bench::Conflict => return run(&mut cache.cargo(&["bench", "--locked", "--package", "vmcp-plugin"])),
        Bench::Able { json } => ("able", *json, [].as_slice()),
        Bench::Overhead { json } => ("overhead", *json, [].as_slice()),
        Bench::Start { json } => ("start", *json, [].as_slice()),
        Bench::Faults { json } => ("faults", *json, [].as_slice()),
        Bench::Search { arguments } => ("search", false, arguments.as_slice()),
        Bench::Workflows { json } => ("workflows", *json, [].as_slice()),
        Bench::Sessions { json } => ("sessions", *json, [].as_slice()),
    };
    // Apart from each other, so that what the tests need is not built into the host.
    run(&mut cache.cargo(&["build", "--release", "--locked", "--package", "vmcp-host"]))?;
    run(&mut cache.cargo(&["build", "--release", "--locked", "--package", "vmcp-tests", "--bins"]))?;
    let mut bench = cache.command(cache.binary("release", "vmcp-bench"));
    run(bench.arg(name).args(json.then_some("--json")).args(more))
}
