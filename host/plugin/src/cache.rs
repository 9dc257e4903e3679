//! Compiled code on disk, so that a start does not compile again.
//!
//! `compiled/<sha256 of the component>-<engine>.cwasm`, beside it the sha256 of that file. Loading runs what the file says
//! as native code, so the folder belongs to this user alone, files appear whole or not at all, and an entry is checked
//! against its digest each time; a damaged one is compiled again. Every failure here costs time, never the start.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::engine::compatibility;

/// Half-written files older than this were left by a process that died.
const MAX_WRITE_TIME: Duration = Duration::from_hours(1);
/// Bytes of all compiled code together; the entries not used for longest are removed beyond it.
const MAX_BYTES: u64 = 512 << 20;

/// The folder of compiled code, if there is one.
pub(crate) struct CompileCache {
    folder: Option<PathBuf>,
}

/// Code that was compiled in this process, or checked against its digest.
pub(crate) enum CompiledCode {
    InMemory(Vec<u8>),
    OnDisk(PathBuf),
}

impl CompileCache {
    /// Prepares `compiled/` in `cache_dir`. When that fails there is no cache, and the log says why.
    pub(crate) fn open(cache_dir: Option<&Path>) -> Self {
        let Some(folder) = cache_dir.map(|cache_dir| cache_dir.join("compiled")) else { return Self { folder: None } };
        match make_private(&folder) {
            Ok(()) => Self { folder: Some(folder) },
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "compiled components are not kept");
                Self { folder: None }
            }
        }
    }

    /// The code kept for the component of this digest.
    pub(crate) fn find(&self, engine: &Engine, digest: &str) -> Option<CompiledCode> {
        let path = self.entry(engine, digest)?;
        match check_entry(&path) {
            Ok(()) => Some(CompiledCode::OnDisk(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "a damaged cache entry is compiled again");
                None
            }
        }
    }

    /// Compiles the component of this digest and keeps the code.
    pub(crate) fn compile(&self, engine: &Engine, digest: &str, bytes: &[u8]) -> wasmtime::Result<CompiledCode> {
        let code = engine.precompile_component(bytes)?;
        let Some(path) = self.entry(engine, digest) else { return Ok(CompiledCode::InMemory(code)) };
        match write_entry(&path, &code) {
            Ok(()) => {
                self.prune(&path);
                Ok(CompiledCode::OnDisk(path))
            }
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "a compiled component could not be kept");
                Ok(CompiledCode::InMemory(code))
            }
        }
    }

    fn entry(&self, engine: &Engine, digest: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{digest}-{}.cwasm", compatibility(engine))))
    }

    /// Removes the oldest entries beyond [`MAX_BYTES`], but never `keep`.
    fn prune(&self, keep: &Path) {
        let Some(folder) = &self.folder else { return };
        if let Err(error) = prune_folder(folder, keep, MAX_BYTES) {
            tracing::debug!(folder = %folder.display(), %error, "old compiled components could not be removed");
        }
    }
}

impl CompiledCode {
    /// Fails when `engine` cannot run the code, be it too large for its pool.
    #[expect(unsafe_code, reason = "wasmtime runs what the code says; it is ours, see SAFETY")]
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        match self {
            // SAFETY: the bytes are the compiler's output in this process, unchanged.
            Self::InMemory(code) => unsafe { Component::deserialize(engine, code) },
            // SAFETY: the file was just written by us or matched the digest that we wrote beside it, in a folder to which
            // only this user can write; files in it are replaced, never changed in place.
            Self::OnDisk(path) => unsafe { Component::deserialize_file(engine, path) },
        }
    }
}

/// Makes `folder` and takes every right from others. Refuses a folder of somebody else.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let owner = fs::metadata(folder)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the folder belongs to user {owner}")));
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn digest_file(entry: &Path) -> PathBuf {
    entry.with_extension("cwasm.sha256")
}

/// Compares an entry with its digest, and marks it as used.
fn check_entry(path: &Path) -> io::Result<()> {
    let code = fs::read(path)?;
    let expected =
        fs::read_to_string(digest_file(path)).map_err(|error| io::Error::other(format!("its digest: {error}")))?;
    let actual = hex::encode(Sha256::digest(&code));
    if actual != expected.trim() {
        return Err(io::Error::other(format!("it has sha256 {actual}, but {} was written", expected.trim())));
    }
    // The age decides what is removed first; an entry that cannot be marked is only removed earlier.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Ok(())
}

/// Writes the code and its digest. Two processes may do so at once: should they mix, the entry does not match and is
/// compiled again.
fn write_entry(path: &Path, code: &[u8]) -> io::Result<()> {
    replace(path, code)?;
    replace(&digest_file(path), hex::encode(Sha256::digest(code)).as_bytes())
}

/// Puts a file in place whole or not at all. After a power cut it may still be damaged: then its digest tells.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary); // it may not exist, and the first error is the one to tell
    }
    written
}

fn prune_folder(folder: &Path, keep: &Path, max_bytes: u64) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        let modified = metadata.modified()?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cwasm") => entries.push((modified, metadata.len(), path)),
            Some("tmp") if modified.elapsed().is_ok_and(|age| age > MAX_WRITE_TIME) => fs::remove_file(path)?,
            _ => {}
        }
    }
    entries.sort();
    let mut total: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in entries {
        if total <= max_bytes {
            break;
        }
        if path != keep {
            fs::remove_file(&path)?;
            let _ = fs::remove_file(digest_file(&path)); // without its entry it says nothing
            total -= bytes;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_not_used_for_longest_are_removed_first() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |name: &str, age: u64| {
            let path = folder.path().join(format!("{name}.cwasm"));
            write_entry(&path, &[0; 100]).unwrap();
            let modified = SystemTime::now() - Duration::from_secs(age);
            File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
            path
        };
        let (oldest_but_new, old, young) = (entry("a", 300), entry("b", 200), entry("c", 100));
        let left_behind = folder.path().join("d.7-0.tmp");
        fs::rename(entry("d", 4_000), &left_behind).unwrap();
        prune_folder(folder.path(), &oldest_but_new, 200).unwrap();
        assert!(!left_behind.exists());
        assert!(oldest_but_new.exists() && !old.exists() && !digest_file(&old).exists() && young.exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_reach_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let compiled = folder.path().join("compiled");
        fs::create_dir(&compiled).unwrap();
        fs::set_permissions(&compiled, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(CompileCache::open(Some(folder.path())).folder.is_some());
        assert_eq!(fs::metadata(&compiled).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_means_no_cache() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(CompileCache::open(Some(file.path())).folder.is_none());
    }
}
