//! Formatting, lints and the rules for dependencies.

use anyhow::{Context, bail};

use crate::{
    cache::Cache,
    docs,
    steps::{is_there, output, run, step},
};

const DENY_VERSION: &str = "0.20.2";

pub(crate) fn fmt(cache: &Cache, check: bool) -> anyhow::Result<()> {
    let arguments: &[&str] = if check { &["fmt", "--all", "--", "--check"] } else { &["fmt", "--all"] };
    run(&mut cache.cargo(arguments))?;
    // The components are a workspace of their own.
    run(cache.cargo(arguments).current_dir(cache.root().join("plugins")))
}

pub(crate) fn clippy(cache: &Cache) -> anyhow::Result<()> {
    run(&mut cache.cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

/// Licences, bans and sources; the advisory database is a matter of machines that can reach it.
pub(crate) fn deny(cache: &Cache) -> anyhow::Result<()> {
    install_deny(cache)?;
    run(&mut cache.cargo(&["deny", "--log-level", "error", "--workspace", "check", "bans", "licenses", "sources"]))
}

/// Packages that the default build stands on, not only its tests or tools.
const FOUNDATIONS: [&str; 8] =
    ["axum", "reqwest", "rmcp", "serde-saphyr", "tokio", "wasmtime", "wasmtime-wasi", "wit-bindgen"];

/// The default build has every package that it is meant to stand on.
pub(crate) fn foundations(cache: &Cache) -> anyhow::Result<()> {
    let tree = output(&mut cache.cargo(&["tree", "--locked", "--edges", "normal", "--prefix", "none"]))?;
    let has = |name: &&str| tree.lines().any(|line| line.split(' ').next() == Some(*name));
    let missing: Vec<_> = FOUNDATIONS.iter().copied().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("the default build lacks {}", missing.join(", "))
}

pub(crate) fn check(cache: &Cache) -> anyhow::Result<()> {
    fmt(cache, true)?;
    deny(cache)?;
    foundations(cache)?;
    docs::check_links(cache)?;
    clippy(cache)
}

fn install_deny(cache: &Cache) -> anyhow::Result<()> {
    let tools = cache.tools();
    if is_there(&tools.join("bin/cargo-deny")) {
        return Ok(());
    }
    step("cargo-deny is missing and gets installed once, which takes some minutes");
    let mut install = cache.cargo(&["install", "cargo-deny", "--version", DENY_VERSION, "--locked", "--root"]);
    // A folder of its own: as part of the target folder its files would stay for ever.
    let target = tools.join("build");
    run(install.arg(&tools).env("CARGO_TARGET_DIR", &target)).context("cargo-deny could not be installed")?;
    std::fs::remove_dir_all(&target).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error.into()),
    })
}
