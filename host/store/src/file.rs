//! The file around a database: its folder, its permissions, the lock that opening it takes, and the way aside.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::StoreError;

/// Longest wait for another process that opens the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// What SQLite keeps beside a database.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Makes the folder (0700) and an empty file (0600) where there is none yet.
pub(crate) fn prepare(path: &Path) -> Result<(), StoreError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::File { action, path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed("make the folder", folder))?;
    }
    private_file().open(path).map_err(failed("open", path))?;
    Ok(())
}

/// Opening options that make a missing file with mode 0600.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Held while a file is opened, migrated or moved aside, so that of several processes one does it and the others find it done.
/// Ends with the process at the latest.
pub(crate) struct OpenLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl OpenLock {
    pub(crate) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let lock_path = with_suffix(path, ".lock");
        let failed = |source| StoreError::File { action: "lock", path: lock_path.clone(), source };
        let file = private_file().open(&lock_path).map_err(failed)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => wait_a_little(),
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.to_owned() }),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "everything in this crate runs on blocking threads")]
fn wait_a_little() {
    thread::sleep(Duration::from_millis(10));
}

/// Renames the file and its companions to `NAME.broken-<unix seconds>`; returns the new path of the file.
pub(crate) fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut aside = with_suffix(path, &format!(".broken-{seconds}"));
    for attempt in 1.. {
        if !aside.exists() {
            break;
        }
        aside = with_suffix(path, &format!(".broken-{seconds}-{attempt}"));
    }
    fs::rename(path, &aside).map_err(|source| StoreError::File {
        action: "move aside",
        path: path.to_owned(),
        source,
    })?;
    for companion in COMPANIONS {
        let from = with_suffix(path, companion);
        match fs::rename(&from, with_suffix(&aside, companion)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File { action: "move aside", path: from, source });
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
