//! Which processes live: each keeps a file locked that is named after it, and a lock ends with its process, however that ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// This process among those that share the runs.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) name: String,
    /// `None` for runs in memory, which no other process sees.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    own: PathBuf,
    /// Locked as long as this process lives.
    _lock: File,
}

impl Holder {
    pub(super) fn in_memory() -> Self {
        Self { name: "this process".into(), files: None }
    }

    /// Takes a name in `folder`, and removes the files of those who are gone.
    pub(super) fn register(folder: PathBuf) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        for entry in fs::read_dir(&folder)? {
            is_locked(&entry?.path())?;
        }
        loop {
            let name = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
            let own = folder.join(&name);
            let lock = OpenOptions::new().write(true).create_new(true).open(&own)?;
            lock.lock()?;
            // Another process may have taken it for one of the dead before it was locked.
            if own.exists() {
                return Ok(Self { name, files: Some(Files { folder, own, _lock: lock }) });
            }
        }
    }

    /// Whether the process of that name lives. In doubt it does: what is held twice is called twice.
    pub(super) fn is_alive(&self, name: &str) -> bool {
        match &self.files {
            None => true,
            Some(_) if name == self.name => true,
            // A name is no path.
            Some(_) if name.contains(['/', '\\']) => false,
            Some(files) => is_locked(&files.folder.join(name)).unwrap_or(true),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What stays is removed by the next process.
        let _ = fs::remove_file(&self.own);
    }
}

/// Whether somebody holds the lock of `file`. One that nobody holds is removed.
fn is_locked(file: &Path) -> io::Result<bool> {
    let lock = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => {
            // A process that has just made its file and not locked it yet is no older than this.
            let is_new = file
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age < std::time::Duration::from_secs(1)));
            if !is_new {
                let _ = fs::remove_file(file);
            }
            Ok(false)
        }
    }
}
