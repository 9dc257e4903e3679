//! The lock against the committed bytes and against the sources on disk. No compiler is needed for that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Lock {
    components: BTreeMap<String, Built>,
    inputs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Built {
    sha256: String,
    inputs: Vec<String>,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn lock() -> Lock {
    serde_json::from_str(&fs::read_to_string(repository().join("plugins/builtin/components.lock")).unwrap()).unwrap()
}

fn sha256(path: &str) -> String {
    fs::read(repository().join(path))
        .map_or_else(|_| "(no such file)".into(), |bytes| hex::encode(Sha256::digest(bytes)))
}

/// `input` itself, or every source below it.
fn sources(input: &str, found: &mut BTreeSet<String>) {
    let path = repository().join(input);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name();
            sources(&format!("{input}/{}", name.to_str().unwrap()), found);
        }
    } else if [".rs", ".toml", ".wit", ".wat", ".lock"].iter().any(|extension| input.ends_with(extension)) {
        found.insert(input.to_owned());
    }
}

#[test]
fn committed_components_are_those_of_the_lock() {
    for (path, built) in lock().components {
        assert_eq!(sha256(&path), built.sha256, "{path} is not what the lock says: run `cargo xtask plugins`");
    }
}

#[test]
fn no_component_is_older_than_its_sources() {
    let lock = lock();
    for (path, built) in &lock.components {
        let mut sources_now = BTreeSet::new();
        for input in &built.inputs {
            sources(input, &mut sources_now);
        }
        let changed = sources_now.iter().filter(|source| lock.inputs.get(*source) != Some(&sha256(source)));
        let changed: Vec<&String> = changed.collect();
        assert!(changed.is_empty(), "{path} is older than {changed:?}: run `cargo xtask plugins`");
    }
    let gone: Vec<&String> = lock.inputs.keys().filter(|source| !repository().join(source).is_file()).collect();
    assert!(gone.is_empty(), "components were built from {gone:?}, which are gone: run `cargo xtask plugins`");
}

#[test]
fn every_component_in_the_folder_is_carried_and_locked() {
    let lock = lock();
    for builtin in super::all() {
        let built = &lock.components[&format!("plugins/builtin/{}.wasm", builtin.name)];
        assert_eq!(hex::encode(Sha256::digest(builtin.wasm)), built.sha256, "{}", builtin.name);
    }
    let locked = lock.components.keys().filter(|path| path.starts_with("plugins/builtin/"));
    assert_eq!(locked.count(), super::all().len());
}
