//! Formatting, lints and the rules for dependencies.

use anyhow::Context;

use crate::{
    cache::Cache,
    docs,
    steps::{is_there, run, step},
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
    run(&mut cache.cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]))
}

pub(crate) fn check(cache: &Cache) -> anyhow::Result<()> {
    fmt(cache, true)?;
    deny(cache)?;
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
