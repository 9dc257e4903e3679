//! Runs every test: the binaries are built first, since the tests in `tests/` start them.

use std::{path::Path, process::Command};

use crate::{
    cache::Cache,
    planted, servers,
    steps::{self, is_there, step},
};

/// Which profile of `.config/nextest.toml` counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Default,
    /// Tries again what failed, and lists it as flaky.
    Ci,
}

impl Profile {
    /// As the environment has it: services that run CI set `CI`.
    pub(crate) fn of_environment() -> Self {
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        if is_ci { Self::Ci } else { Self::Default }
    }
}

/// `arguments` go to nextest, or to `cargo test` where nextest is missing.
pub(crate) fn run(cache: &Cache, profile: Profile, arguments: &[String]) -> anyhow::Result<()> {
    servers::install(cache)?;
    build_binaries(cache)?;
    if !is_there(Path::new("cargo-nextest")) {
        step("cargo-nextest is not installed; `cargo test` runs the same tests, only more slowly");
    }
    steps::run(tests(cache, profile).args(arguments))?;
    if arguments.is_empty() {
        test_baked(cache, profile)?;
        test_components(cache)?;
        planted::run_all(cache)?;
    }
    step(&format!("all passed; servers, clients and builds are kept in {}", cache.dir().display()));
    Ok(())
}

/// Every test of the host's workspace.
fn tests(cache: &Cache, profile: Profile) -> Command {
    if !is_there(Path::new("cargo-nextest")) {
        return cache.cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    let mut nextest = cache.cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    if profile == Profile::Ci {
        nextest.args(["--profile", "ci"]);
    }
    nextest
}

/// The tests of composite tools once more: with components, baked from the steps, in place of the steps.
fn test_baked(cache: &Cache, profile: Profile) -> anyhow::Result<()> {
    step("composite tools as components");
    // Both runners take a part of the names.
    steps::run(tests(cache, profile).arg("cmp_").env("VMCP_TEST_COMPOSITES", "baked"))
}

/// The components' own tests, which run natively. Their workspaces are not the host's.
fn test_components(cache: &Cache) -> anyhow::Result<()> {
    for manifest in ["plugins/Cargo.toml", "examples/plugins/Cargo.toml"] {
        steps::run(&mut cache.cargo(&["test", "--quiet", "--workspace", "--locked", "--manifest-path", manifest]))?;
    }
    Ok(())
}

/// The binaries in the feature set of the tests, so that nothing is compiled twice.
pub(crate) fn build_binaries(cache: &Cache) -> anyhow::Result<()> {
    steps::run(&mut cache.cargo(&["build", "--workspace", "--bins", "--locked"]))
}
