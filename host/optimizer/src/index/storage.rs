//! The durable part of the index: the documents' words in FTS5, and vectors by model and text.
//!
//! A cache: nothing in it that the backends and an embedding provider could not give again. What a search needs is in memory, so
//! a file that fails costs the next start some time and nothing else.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use vmcp_core::with_cause;
use vmcp_store::{
    Database, Format, Location, Opened, StoreError,
    rusqlite::{Connection, OptionalExtension, Result as SqlResult, Transaction, params},
};

use super::lexical::COLUMNS;
use crate::{document::ToolDocument, embedding::ModelId, words::Splitter};

static FORMAT: Format = Format {
    application_id: 0x766D_6370, // "vmcp"
    is_durable: false,
    migrations: &["
        CREATE TABLE tool (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest BLOB NOT NULL);
        CREATE VIRTUAL TABLE word USING fts5(
            server, name, description, parameter_names, parameter_descriptions, enum_values, tokenize = 'ascii'
        );
        CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, used INTEGER NOT NULL);
        CREATE TABLE provider (label TEXT PRIMARY KEY, model INTEGER NOT NULL REFERENCES model);
        CREATE TABLE embedding (
            model INTEGER NOT NULL REFERENCES model, text BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, text)
        ) WITHOUT ROWID;
    "],
};

/// For how long the vectors of a model that nobody uses are kept.
const UNUSED_MODEL: Duration = Duration::from_hours(30 * 24);
/// A model's day of use is written this often.
const USE_PRECISION: Duration = Duration::from_hours(24);
/// Vectors of a model that are kept whether a document needs them or not, and how many more for each document.
const SPARE_VECTORS: usize = 10_000;
const VECTORS_PER_DOCUMENT: usize = 4;

/// The sha256 of a text that was embedded.
pub(super) type TextDigest = [u8; 32];

/// Where the index lives beside memory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Storage {
    /// In memory only, as configured.
    Memory,
    File(PathBuf),
    /// The file took no more: the index goes on in memory, and a later update or start tries again.
    Lost {
        path: PathBuf,
        reason: String,
    },
}

pub(super) struct Cache {
    database: Database,
    state: Mutex<State>,
}

struct State {
    storage: Storage,
    quarantined: Option<PathBuf>,
}

impl Cache {
    /// Opens the file. Where the disk is full or the file busy, the cache is in memory and says so.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, StoreError> {
        let location = path.clone().map_or(Location::Memory, Location::File);
        let (opened, lost) = match Database::open(location, &FORMAT) {
            Ok(opened) => (opened, None),
            Err(error) if error.is_full() || error.is_busy() => {
                (Database::open(Location::Memory, &FORMAT)?, Some(with_cause(&error)))
            }
            Err(error) => return Err(error),
        };
        let Opened { database, quarantined } = opened;
        let storage = match (path, lost) {
            (None, _) => Storage::Memory,
            (Some(path), None) => Storage::File(path),
            (Some(path), Some(reason)) => {
                tracing::warn!(file = %path.display(), %reason, "cannot use the index file; going on in memory");
                Storage::Lost { path, reason }
            }
        };
        Ok(Self { database, state: Mutex::new(State { storage, quarantined }) })
    }

    pub(super) fn state(&self) -> (Storage, Option<PathBuf>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.storage.clone(), state.quarantined.clone())
    }

    /// Makes the rows those of `documents`. Rows that are right are not touched. Tells whether the file has them all now.
    pub(super) fn hold(&self, documents: &[Arc<ToolDocument>], splitter: &mut Splitter) -> bool {
        let mut wanted: HashMap<&str, &ToolDocument> = HashMap::with_capacity(documents.len());
        wanted.extend(documents.iter().map(|document| (document.name(), &**document)));
        let mut hold = || -> Result<(), StoreError> {
            let is_right = self.database.read(|c| Ok(Difference::find(c, &wanted)?.is_empty()))?;
            if is_right {
                return Ok(());
            }
            // Found again inside of the transaction: another host may have written in between.
            self.database.write(|tx| Difference::find(tx, &wanted)?.settle(tx, splitter))
        };
        let outcome = match hold() {
            Err(error) if error.is_corrupt() => self.replace().and_then(|()| hold()),
            outcome => outcome,
        };
        self.note(&outcome);
        outcome.is_ok()
    }

    /// The vectors that are known for these texts.
    pub(super) fn vectors(&self, model: &ModelId, texts: &[TextDigest]) -> HashMap<TextDigest, Box<[i8]>> {
        let found = self.database.read(|c| {
            let mut select = c.prepare(
                "SELECT vector FROM embedding WHERE model = (SELECT id FROM model WHERE name = ?1) AND text = ?2",
            )?;
            let mut found = HashMap::new();
            for text in texts {
                let vector = select.query_row(params![model.as_str(), text], |row| {
                    Ok(row.get_ref(0)?.as_blob()?.iter().map(|byte| byte.cast_signed()).collect())
                });
                if let Some(vector) = vector.optional()? {
                    found.insert(*text, vector);
                }
            }
            Ok(found)
        });
        self.tolerate(found)
    }

    /// Keeps vectors for the next time.
    pub(super) fn keep(&self, model: &ModelId, vectors: &[(TextDigest, Box<[i8]>)]) {
        let kept = self.database.write(|tx| {
            let model = model_row(tx, model)?;
            let mut insert = tx.prepare("INSERT OR REPLACE INTO embedding (model, text, vector) VALUES (?, ?, ?)")?;
            for (text, vector) in vectors {
                let bytes: Vec<u8> = vector.iter().map(|number| number.cast_unsigned()).collect();
                insert.execute(params![model, text, bytes])?;
            }
            Ok(())
        });
        self.tolerate(kept);
    }

    /// The model that a provider had last time.
    pub(super) fn last_model(&self, provider: &str) -> Option<ModelId> {
        let model = self.database.read(|c| {
            c.query_row(
                "SELECT model.name FROM provider JOIN model ON model.id = provider.model WHERE label = ?",
                [provider],
                |row| row.get::<_, String>(0),
            )
            .optional()
        });
        self.tolerate(model).map(ModelId::new)
    }

    /// Notes that a provider's model serves, and drops vectors that have become useless: those of models that were not used for
    /// long, and those of the model in use that no text of `live` needs, once they are many.
    pub(super) fn used(
        &self,
        provider: &str,
        model: &ModelId,
        documents: usize,
        live: impl FnOnce() -> Vec<TextDigest>,
    ) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let outcome = self.database.read(|c| is_noted(c, provider, model, now)).and_then(|noted| {
            let bound = SPARE_VECTORS + VECTORS_PER_DOCUMENT * documents;
            let crowded = self.database.read(|c| count_vectors(c, model))? > bound;
            if noted && !crowded {
                return Ok(());
            }
            self.database.write(|tx| {
                note_use(tx, provider, model, now)?;
                drop_unused_models(tx, now)?;
                if crowded { drop_all_but(tx, model, &live()) } else { Ok(()) }
            })
        });
        self.tolerate(outcome);
    }

    /// The rows of tools and of their words.
    #[cfg(test)]
    pub(super) fn rows(&self) -> (usize, usize) {
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            self.database.read(|c| c.query_row(&sql, [], |row| row.get(0))).unwrap()
        };
        (count("tool"), count("word"))
    }

    #[cfg(test)]
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// What `outcome` holds, or nothing: a cache that fails is an empty one.
    fn tolerate<T: Default>(&self, outcome: Result<T, StoreError>) -> T {
        if outcome.as_ref().is_err_and(StoreError::is_corrupt) {
            let replaced = self.replace();
            self.note(&replaced);
        } else if outcome.is_err() {
            self.note(&outcome);
        }
        outcome.unwrap_or_default()
    }

    fn replace(&self) -> Result<(), StoreError> {
        let moved = self.database.replace()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.quarantined = moved.or(state.quarantined.take());
        Ok(())
    }

    /// Tells the log when the file stops or begins again to take what is written.
    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        let Some(path) = self.database.path() else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (outcome, &state.storage) {
            (Ok(_), Storage::Lost { .. }) => {
                tracing::info!(file = %path.display(), "the index file is written again");
                state.storage = Storage::File(path.to_owned());
            }
            (Err(error), storage) => {
                let reason = with_cause(error);
                if !matches!(storage, Storage::Lost { .. }) {
                    tracing::warn!(file = %path.display(), %reason, "cannot write the index file; going on in memory");
                }
                state.storage = Storage::Lost { path: path.to_owned(), reason };
            }
            (Ok(_), _) => {}
        }
    }
}

/// What has to happen for the rows to be those of the documents.
struct Difference<'a> {
    /// Rows of tools that are gone or have changed.
    outdated: Vec<i64>,
    missing: Vec<&'a ToolDocument>,
}

impl<'a> Difference<'a> {
    fn find(connection: &Connection, wanted: &HashMap<&str, &'a ToolDocument>) -> SqlResult<Self> {
        let mut missing = wanted.clone();
        let mut outdated = Vec::new();
        let mut select = connection.prepare("SELECT id, name, digest FROM tool")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_str()?;
            let digest = row.get_ref(2)?.as_blob()?;
            match wanted.get(name) {
                Some(document) if document.digest() == digest => drop(missing.remove(name)),
                _ => outdated.push(row.get(0)?),
            }
        }
        let mut missing: Vec<&ToolDocument> = missing.into_values().collect();
        missing.sort_unstable_by_key(|document| document.name());
        Ok(Self { outdated, missing })
    }

    fn is_empty(&self) -> bool {
        self.outdated.is_empty() && self.missing.is_empty()
    }

    fn settle(&self, transaction: &Transaction<'_>, splitter: &mut Splitter) -> SqlResult<()> {
        let mut delete_words = transaction.prepare("DELETE FROM word WHERE rowid = ?")?;
        let mut delete_tool = transaction.prepare("DELETE FROM tool WHERE id = ?")?;
        for id in &self.outdated {
            delete_words.execute([id])?;
            delete_tool.execute([id])?;
        }
        let mut insert_tool = transaction.prepare("INSERT INTO tool (name, digest) VALUES (?, ?)")?;
        let mut insert_words = transaction.prepare(
            "INSERT INTO word (rowid, server, name, description, parameter_names, parameter_descriptions, enum_values)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?;
        for document in &self.missing {
            let id = insert_tool.insert(params![document.name(), document.digest()])?;
            let [server, name, description, names, descriptions, values] = column_texts(document, splitter);
            insert_words.execute(params![id, server, name, description, names, descriptions, values])?;
        }
        Ok(())
    }
}

/// The words of each column with spaces between.
pub(super) fn column_texts(document: &ToolDocument, splitter: &mut Splitter) -> [String; COLUMNS] {
    let mut texts: [String; COLUMNS] = Default::default();
    document.each_word(splitter, |column, word| {
        let text = &mut texts[column];
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    });
    texts
}

fn model_row(transaction: &Transaction<'_>, model: &ModelId) -> SqlResult<i64> {
    transaction.execute("INSERT INTO model (name, used) VALUES (?, 0) ON CONFLICT DO NOTHING", [model.as_str()])?;
    transaction.query_row("SELECT id FROM model WHERE name = ?", [model.as_str()], |row| row.get(0))
}

/// Whether the file says already that the provider has this model and uses it these days.
fn is_noted(connection: &Connection, provider: &str, model: &ModelId, now: Duration) -> SqlResult<bool> {
    let since = seconds(now.saturating_sub(USE_PRECISION));
    connection
        .prepare(
            "SELECT 1 FROM provider JOIN model ON model.id = provider.model
             WHERE label = ? AND model.name = ? AND model.used >= ?",
        )?
        .exists(params![provider, model.as_str(), since])
}

fn note_use(transaction: &Transaction<'_>, provider: &str, model: &ModelId, now: Duration) -> SqlResult<()> {
    let model = model_row(transaction, model)?;
    transaction.execute("UPDATE model SET used = ? WHERE id = ?", params![seconds(now), model])?;
    transaction.execute("INSERT OR REPLACE INTO provider (label, model) VALUES (?, ?)", params![provider, model])?;
    Ok(())
}

fn drop_unused_models(transaction: &Transaction<'_>, now: Duration) -> SqlResult<()> {
    // A model without a date is being filled right now, perhaps by another host.
    let since = seconds(now.saturating_sub(UNUSED_MODEL));
    let unused = "SELECT id FROM model WHERE used > 0 AND used < ?";
    transaction.execute(&format!("DELETE FROM embedding WHERE model IN ({unused})"), [since])?;
    transaction.execute(&format!("DELETE FROM provider WHERE model IN ({unused})"), [since])?;
    transaction.execute("DELETE FROM model WHERE used > 0 AND used < ?", [since])?;
    Ok(())
}

fn count_vectors(connection: &Connection, model: &ModelId) -> SqlResult<usize> {
    let sql = "SELECT count(*) FROM embedding WHERE model = (SELECT id FROM model WHERE name = ?)";
    connection.query_row(sql, [model.as_str()], |row| row.get(0))
}

fn drop_all_but(transaction: &Transaction<'_>, model: &ModelId, live: &[TextDigest]) -> SqlResult<()> {
    let model = model_row(transaction, model)?;
    transaction.execute_batch("CREATE TEMP TABLE live (text BLOB PRIMARY KEY) WITHOUT ROWID")?;
    let mut insert = transaction.prepare("INSERT OR IGNORE INTO live (text) VALUES (?)")?;
    live.iter().try_for_each(|text| insert.execute([text]).map(drop))?;
    drop(insert);
    transaction.execute("DELETE FROM embedding WHERE model = ? AND text NOT IN (SELECT text FROM live)", [model])?;
    transaction.execute_batch("DROP TABLE live")
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
