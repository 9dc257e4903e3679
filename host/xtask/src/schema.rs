//! The committed JSON Schema and reference page of the configuration. `vmcp-config` makes them from its types; a test of
//! that crate compares, and writes when it is told to.

use crate::{cache::Cache, steps};

pub(crate) fn run(cache: &Cache, check: bool) -> anyhow::Result<()> {
    let mut config =
        cache.cargo(&["run", "--quiet", "--locked", "--package", "vmcp-config", "--example", "schema", "--"]);
    steps::run(config.args(check.then_some("--check")))
}
