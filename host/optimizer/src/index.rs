//! The index: every tool's words and vectors, in memory for the searches, and in SQLite for the next start.
//!
//! Searches read a state that never changes; an update makes the next one and puts it in place. The file is written after that,
//! and what is wrong with a file never reaches a search.

mod dense;
mod fill;
mod lexical;
mod reader;
mod reference;
mod slot;
mod snapshot;
mod storage;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use vmcp_core::ranking::DocumentForm;
use vmcp_store::StoreError;

pub use self::{
    dense::DenseSearch,
    fill::Filled,
    lexical::LexicalSearch,
    reader::Reader,
    slot::{Scored, Slot, SlotSet, Visible},
    storage::Storage,
};
use self::{reference::ReferenceTable, snapshot::Snapshot, storage::Cache};
use crate::{document::ToolDocument, embedding::ModelId, words::Splitter};

/// How the index is kept.
#[derive(Clone, Debug, Default)]
pub struct IndexOptions {
    /// The file; in memory without one.
    pub path: Option<PathBuf>,
}

/// All tools' words and vectors. A handle: clones are the same index.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    current: RwLock<Arc<Snapshot>>,
    /// Held by whoever makes the next state.
    writer: Mutex<Writer>,
    /// Held by whoever asks a provider for vectors.
    filling: tokio::sync::Mutex<()>,
    reference: Arc<ReferenceTable>,
    cache: Cache,
}

#[derive(Default)]
struct Writer {
    splitter: Splitter,
    /// Whether the file has the rows of the current state.
    is_written: bool,
}

/// What an update changed, in documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    pub unchanged: usize,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added + self.changed + self.removed == 0
    }
}

/// What the index holds, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexStatus {
    pub tools: usize,
    /// Distinct ones.
    pub words: usize,
    pub storage: Storage,
    /// Where an unusable index file was moved since the start.
    pub quarantined: Option<PathBuf>,
    /// Forms that can be searched by meaning.
    pub vectors: Vec<VectorStatus>,
}

/// The vectors that one form is searched by.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VectorStatus {
    pub form: DocumentForm,
    pub model: ModelId,
    /// Documents that have one.
    pub vectors: usize,
}

impl Index {
    /// Opens an index without documents; the file, if there is one, remembers words and vectors. Blocks.
    ///
    /// A file that is damaged or somebody else's is moved aside. One that is full or busy is done without; only a path
    /// that cannot be a file is an error.
    pub fn open(options: IndexOptions) -> Result<Self, StoreError> {
        Ok(Self {
            inner: Arc::new(Inner {
                current: RwLock::default(),
                writer: Mutex::default(),
                filling: tokio::sync::Mutex::default(),
                reference: Arc::default(),
                cache: Cache::open(options.path)?,
            }),
        })
    }

    /// Makes the index hold exactly `documents`; of equal advertised names the first counts. Touches only what changed. Blocks,
    /// longest while the file is written; searches find the new documents before that.
    pub fn update(&self, documents: Vec<Arc<ToolDocument>>) -> Changes {
        let mut writer = self.writer();
        let (next, changes) = self.snapshot().updated(documents, &mut writer.splitter);
        if !changes.is_empty() {
            self.replace(next);
        }
        if !changes.is_empty() || !writer.is_written {
            let documents: Vec<_> = self.snapshot().documents().map(|(_, document)| document.clone()).collect();
            writer.is_written = self.inner.cache.hold(&documents, &mut writer.splitter);
        }
        changes
    }

    /// The current state, for one search from its start to its end.
    pub fn read(&self) -> Reader {
        Reader { snapshot: self.snapshot(), reference: self.inner.reference.clone() }
    }

    /// Serves `form` with no vectors any more.
    #[cfg(test)]
    fn forget_vectors(&self, form: DocumentForm) {
        let _writer = self.writer();
        let mut next = Snapshot::clone(&self.snapshot());
        next.set_dense(form, None);
        self.replace(next);
    }

    pub fn status(&self) -> IndexStatus {
        let snapshot = self.snapshot();
        let (storage, quarantined) = self.inner.cache.state();
        let vectors = [DocumentForm::Standard, DocumentForm::Reference].into_iter().filter_map(|form| {
            let image = snapshot.dense(form)?;
            Some(VectorStatus { form, model: image.model().clone(), vectors: image.vectors() })
        });
        IndexStatus {
            tools: snapshot.len(),
            words: snapshot.lexical.distinct_words(),
            storage,
            quarantined,
            vectors: vectors.collect(),
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Only under the writer's lock.
    fn replace(&self, next: Snapshot) {
        let next = Arc::new(next);
        let before = {
            let mut current = self.inner.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next)
        };
        // Freed here, where no search waits for it.
        drop(before);
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
