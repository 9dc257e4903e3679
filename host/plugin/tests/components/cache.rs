//! Compiled code on disk: found again, and compiled anew when damaged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use vmcp_plugin::{EngineOptions, PluginEngine};

use crate::{Guest, source};

fn load(cache_dir: &Path) {
    let options = EngineOptions { cache_dir: Some(cache_dir.to_owned()), ..EngineOptions::default() };
    PluginEngine::new(options).unwrap().load(source(Guest::default().build())).unwrap();
}

fn files(cache_dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(cache_dir.join("compiled")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_component_is_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path());
    let [code, digest] = files(folder.path()).try_into().unwrap();
    assert_eq!((code.extension().unwrap(), digest.extension().unwrap()), ("cwasm".as_ref(), "sha256".as_ref()));
    let inode = inode(&digest);
    load(folder.path());
    assert_eq!(files(folder.path()), [code, digest.clone()]);
    assert_eq!(self::inode(&digest), inode, "not written again");
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let damages: [fn(&Path, &Path); 4] = [
        |code, _| fs::write(code, "nonsense").unwrap(),
        |code, _| {
            let mut bytes = fs::read(code).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(code, bytes).unwrap();
        },
        |_, digest| fs::remove_file(digest).unwrap(),
        |code, _| fs::write(code, "").unwrap(),
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path());
        let [code, digest] = files(folder.path()).try_into().unwrap();
        let whole = fs::read(&code).unwrap();
        damage(&code, &digest);
        load(folder.path());
        assert_eq!(fs::read(&code).unwrap().len(), whole.len());
        assert_eq!(files(folder.path()).len(), 2);
    }
}

#[cfg(unix)]
fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

#[cfg(not(unix))]
fn inode(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().created().unwrap()
}
