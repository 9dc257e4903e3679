//! One database, in memory or in a file that other processes may have open too.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::{
    StoreError,
    error::source_is_corrupt,
    file::{self, OpenLock},
};

/// Longest wait for a lock that another connection holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that the write-ahead log keeps on disk between bursts.
const WAL_LIMIT: i64 = 16 << 20;

/// What kind of database it is, and how it came to its present shape.
#[derive(Debug)]
pub struct Format {
    /// `PRAGMA application_id`: tells our files from others. Not 0.
    pub application_id: i32,
    /// SQL of each step, oldest first. `PRAGMA user_version` counts those that a file has seen; released ones never change.
    pub migrations: &'static [&'static str],
    /// Whether what was written outlives a power cut, and not only the process: each write then waits for the disk.
    pub is_durable: bool,
}

/// Where a database lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Memory,
    File(PathBuf),
}

/// A database that is ready, and what became of a file that was not.
#[derive(Debug)]
pub struct Opened {
    pub database: Database,
    /// Where the unusable file went that lay in its place.
    pub quarantined: Option<PathBuf>,
}

/// A connection, used by one caller at a time.
pub struct Database {
    connection: Mutex<Connection>,
    location: Location,
    format: &'static Format,
}

impl Database {
    /// Opens a database and brings it to the newest format.
    ///
    /// A file that is damaged, of another program or of a newer version of ours is moved aside, together with its log, and a
    /// new one takes its place.
    pub fn open(location: Location, format: &'static Format) -> Result<Opened, StoreError> {
        let (connection, quarantined) = connect(&location, format)?;
        Ok(Opened { database: Self { connection: Mutex::new(connection), location, format }, quarantined })
    }

    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::Memory => None,
            Location::File(path) => Some(path),
        }
    }

    /// Runs `work` on the connection.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.lock()).map_err(|source| self.failed(source))
    }

    /// Runs `work` in a transaction that has the right to write from its beginning; an error undoes all of it.
    pub fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| self.failed(source))
    }

    /// Moves the file aside, which turned out to be damaged, and goes on with a new one. Returns where it went; nothing for a
    /// database in memory, which is simply made anew.
    pub fn replace(&self) -> Result<Option<PathBuf>, StoreError> {
        let mut connection = self.lock();
        // Closed first, so that its locks are gone and its log is no longer in use.
        *connection = Connection::open_in_memory().map_err(|source| self.failed(source))?;
        let moved = match &self.location {
            Location::Memory => None,
            Location::File(path) => {
                let _lock = OpenLock::acquire(path)?;
                Some(quarantine(path, &"damaged")?)
            }
        };
        let (fresh, quarantined) = connect(&self.location, self.format)?;
        *connection = fresh;
        Ok(quarantined.or(moved))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in a caller's closure has rolled its transaction back: the connection is fine.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sql { name: self.location.to_string(), source }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("location", &self.location).finish_non_exhaustive()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str(":memory:"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Why a file cannot be used.
enum Refusal {
    /// Its content: another file in its place would do.
    Content(String),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        match source_is_corrupt(&error) {
            true => Self::Content(error.to_string()),
            false => Self::Sql(error),
        }
    }
}

fn connect(location: &Location, format: &Format) -> Result<(Connection, Option<PathBuf>), StoreError> {
    let failed = |refusal| StoreError::Sql {
        name: location.to_string(),
        source: match refusal {
            Refusal::Sql(source) => source,
            Refusal::Content(reason) => {
                rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(reason))
            }
        },
    };
    let Location::File(path) = location else {
        let connection = Connection::open_in_memory().map_err(Refusal::Sql).map_err(failed)?;
        return Ok((ready(connection, format).map_err(failed)?, None));
    };
    file::prepare(path)?;
    let _lock = OpenLock::acquire(path)?;
    match open_file(path, format) {
        Ok(connection) => Ok((connection, None)),
        Err(Refusal::Content(reason)) => {
            let aside = quarantine(path, &reason)?;
            file::prepare(path)?;
            Ok((open_file(path, format).map_err(failed)?, Some(aside)))
        }
        Err(refusal) => Err(failed(refusal)),
    }
}

fn quarantine(path: &Path, reason: &dyn fmt::Display) -> Result<PathBuf, StoreError> {
    let aside = file::move_aside(path)?;
    tracing::warn!(file = %path.display(), moved_to = %aside.display(), %reason, "database is unusable; made anew");
    Ok(aside)
}

fn open_file(path: &Path, format: &Format) -> Result<Connection, Refusal> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    check_owner(&connection, format)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", if format.is_durable { "FULL" } else { "NORMAL" })?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    check_pages(&connection)?;
    ready(connection, format)
}

/// Refuses files of others and of the future. An empty file is nobody's yet.
fn check_owner(connection: &Connection, format: &Format) -> Result<(), Refusal> {
    let application_id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id != format.application_id && (application_id != 0 || objects != 0) {
        return Err(Refusal::Content("it belongs to another program".into()));
    }
    let version = version(connection)?;
    if version > format.migrations.len() {
        let newest = format.migrations.len();
        return Err(Refusal::Content(format!("its format is {version}, this program knows up to {newest}")));
    }
    Ok(())
}

/// Reads all pages of all tables. What virtual tables think of their content is left out: it takes ten times as long.
fn check_pages(connection: &Connection) -> Result<(), Refusal> {
    let mut select = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")?;
    let tables: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let mut verdict = String::new();
        connection.pragma(None, "quick_check", &table, |row| {
            verdict = row.get(0)?;
            Ok(())
        })?;
        if verdict != "ok" {
            return Err(Refusal::Content(verdict));
        }
    }
    Ok(())
}

/// Runs the migrations that the database has not seen, all or none.
fn ready(mut connection: Connection, format: &Format) -> Result<Connection, Refusal> {
    if version(&connection)? < format.migrations.len() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        // Looked at again: another process may have been quicker.
        for migration in format.migrations.iter().skip(version(&transaction)?) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", format.application_id)?;
        transaction.pragma_update(None, "user_version", format.migrations.len())?;
        transaction.commit()?;
    }
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    // A negative one is none of ours; as a huge one it is refused.
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
