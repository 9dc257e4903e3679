//! Unstable. The commands that people and CI both use: `cargo xtask COMMAND`.
//!
//! Light on purpose, since it is compiled before everything else: it starts other programs and knows no crate of the host.
#![expect(clippy::print_stderr, reason = "a command line tool talks to its user")]

mod bench;
mod cache;
mod conformance;
mod docs;
mod fuzz;
mod local_models;
mod planted;
mod plugins;
mod quality;
mod schema;
mod servers;
mod steps;
mod test;

use clap::{Parser, Subcommand};

use crate::{bench::Bench, cache::Cache, conformance::Conformance, fuzz::Fuzz, test::Profile};

/// Builds, checks and measures vmcp-host.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format all code
    Fmt {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Formatting, lints, licences and links, without running a test
    Check,
    /// Install what the tests need, build, and run every test
    Test {
        /// Passed on to the test runner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install the real MCP servers and clients of the tests into the cache folder
    InstallServers,
    /// Rebuild the first-party components
    Plugins {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Generate the JSON Schema and the reference page of the configuration
    Schema {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Measure the release build
    Bench {
        #[command(subcommand)]
        bench: Bench,
    },
    /// Run the official conformance suite against the host, before a backend of each era
    Conformance(Conformance),
    /// Run the fuzz targets for some time
    Fuzz(Fuzz),
    /// Plant bugs in the scheduler of composite tools, and see that its tests notice each
    Planted,
    /// Test the models that run from a folder, with one from `PyPI`
    LocalModels,
    /// Check links, flags and keys that the documents name
    DocsCheck,
    /// Everything that CI runs
    Ci,
}

fn main() -> anyhow::Result<()> {
    let cache = Cache::open()?;
    match Cli::parse().command {
        Command::Fmt { check } => quality::fmt(&cache, check),
        Command::Check => quality::check(&cache),
        Command::Test { arguments } => test::run(&cache, Profile::of_environment(), &arguments),
        Command::InstallServers => servers::install(&cache),
        Command::Plugins { check } => plugins::run(check),
        Command::Schema { check } => schema::run(&cache, check),
        Command::Bench { bench } => bench::run_bench(&cache, &bench),
        Command::Conformance(wanted) => conformance::run(&cache, &wanted),
        Command::Fuzz(fuzz) => fuzz::run_targets(&cache, &fuzz),
        Command::Planted => planted::run_all(&cache),
        Command::LocalModels => local_models::test(&cache),
        Command::DocsCheck => docs::check(&cache),
        Command::Ci => ci(&cache),
    }
}

/// What has to hold before a change lands; the quick checks first.
fn ci(cache: &Cache) -> anyhow::Result<()> {
    quality::fmt(cache, true)?;
    quality::deny(cache)?;
    quality::foundations(cache)?;
    docs::check_links(cache)?;
    quality::clippy(cache)?;
    steps::step("components");
    plugins::run(true)?;
    // Schema and reference page are compared by a test.
    test::run(cache, Profile::Ci, &[])?;
    conformance::run(cache, &conformance::Conformance::default())?;
    docs::check(cache)
}
