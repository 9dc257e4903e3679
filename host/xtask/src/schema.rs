//! The committed JSON Schema and reference page of the configuration. `vmcp-config` makes them from its types, and its
//! tests compare; told to, the same tests write.

use crate::{cache::Cache, steps};

pub(crate) fn run(cache: &Cache, check: bool) -> anyhow::Result<()> {
    let tests = ["test", "--quiet", "--locked", "--package", "vmcp-config", "--test", "config", "the_committed"];
    let mut config = cache.cargo(&tests);
    if !check {
        config.env("UPDATE", "1");
    }
    steps::run(&mut config)
}
