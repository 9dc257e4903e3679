//! What can go wrong with a file, and which of it a caller can live with.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

/// Why a database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder, the file or its lock cannot be made or moved.
    #[error("cannot {action} `{}`", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// Another process opens, migrates or replaces the same file, and does not come to an end.
    #[error("`{}` is held by another process", path.display())]
    Locked { path: PathBuf },
    /// SQLite refused.
    #[error("the database `{name}` failed")]
    Sql { name: String, source: rusqlite::Error },
}

impl StoreError {
    /// The disk is full or does not take what is written to it: what is there can still be read, perhaps.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sql { source, .. } => {
                matches!(source.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
            }
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Locked { .. } => false,
        }
    }

    /// The file is damaged: [`Database::replace`](crate::Database::replace) makes a new one.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Sql { source, .. } if source_is_corrupt(source))
    }

    /// Another process kept the file for longer than the busy timeout; it may work next time.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Sql { source, .. } => {
                matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
            }
            Self::Locked { .. } => true,
            Self::File { .. } => false,
        }
    }
}

pub(crate) fn source_is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
