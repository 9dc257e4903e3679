//! `components.lock`: which bytes were built, from which inputs, by which compiler.
//!
//! A test of `vmcp-builtin` reads it and needs no compiler to tell that a component is older than its sources.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const LOCK: &str = "plugins/builtin/components.lock";

#[derive(Deserialize, Serialize)]
pub(super) struct Lock {
    /// `rustc -vV` of the compiler.
    pub(super) rustc: String,
    /// By path in the repository.
    components: BTreeMap<String, Built>,
    /// Digest of every input file, by path in the repository.
    inputs: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize)]
struct Built {
    sha256: String,
    /// Files, and folders whose sources all count.
    inputs: Vec<String>,
}

impl Lock {
    pub(super) fn new(rustc: &str) -> Self {
        Self { rustc: rustc.into(), components: BTreeMap::new(), inputs: BTreeMap::new() }
    }

    pub(super) fn read(repository: &Path) -> Result<Self> {
        let text = fs::read_to_string(repository.join(LOCK)).context(LOCK)?;
        serde_json::from_str(&text).context(LOCK)
    }

    pub(super) fn add(&mut self, repository: &Path, wasm: &str, bytes: &[u8], inputs: Vec<String>) -> Result<()> {
        for input in &inputs {
            for file in sources(&repository.join(input))? {
                let digest = sha256(&fs::read(&file)?);
                let path = file.strip_prefix(repository).expect("inputs lie in the repository");
                self.inputs.insert(path.to_string_lossy().replace('\\', "/"), digest);
            }
        }
        self.components.insert(wasm.into(), Built { sha256: sha256(bytes), inputs });
        Ok(())
    }

    pub(super) fn write(&self, repository: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(repository.join(LOCK), text).context(LOCK)
    }
}

/// `input` itself, or all sources below it.
fn sources(input: &Path) -> Result<Vec<PathBuf>> {
    if input.is_file() {
        return Ok(vec![input.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(input).with_context(|| format!("reading {}", input.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if is_source(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_source(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["rs", "toml", "wit", "wat", "lock"].iter().any(|known| extension == *known))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
