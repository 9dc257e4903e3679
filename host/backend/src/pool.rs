//! Sessions of a legacy backend beside the host's own: by identity and by what the backend may ask of the client. They open
//! with the first call and end when nobody uses them.
//!
//! Where a server request cannot be tied to the call that caused it (stdio, HTTP+SSE), a session whose clients can be asked
//! something serves one call at a time. All others are shared by any number of calls of their key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use vmcp_core::{
    call::CallError,
    id::{BackendId, Identity},
};

use crate::{
    connect::{ConnectError, Connector},
    message::ClientProfile,
    session::Session,
};

/// Kinds of clients that a backend keeps sessions for at once.
const MAX_KEYS: usize = 16;
/// What an ended process has to finish.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    /// The text of the capability set.
    capabilities: Bytes,
}

pub(crate) struct Pool {
    backend: BackendId,
    connector: Arc<Connector>,
    tasks: TaskTracker,
    /// Sessions per key where each serves one call at a time.
    max_per_key: usize,
    /// Whether a server request cannot be tied to its call on this transport.
    is_untied: bool,
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
}

struct Entry {
    /// For keys whose calls share one session.
    shared: tokio::sync::Mutex<Option<Session>>,
    leases: Arc<Semaphore>,
    free: Mutex<Vec<Session>>,
    last_used: Mutex<Instant>,
}

impl Pool {
    pub(crate) fn new(
        backend: BackendId,
        connector: Arc<Connector>,
        tasks: TaskTracker,
        max_per_key: usize,
        is_untied: bool,
    ) -> Self {
        Self { backend, connector, tasks, max_per_key: max_per_key.max(1), is_untied, entries: Mutex::default() }
    }

    /// A session for `client`, opened if there is none to be had.
    ///
    /// - `patience`: longest wait for a session that serves one call at a time
    pub(crate) async fn acquire(&self, client: &ClientProfile, patience: Duration) -> Result<Lease, CallError> {
        let key = Key { identity: client.identity.clone(), capabilities: client.capabilities.bytes().clone() };
        let entry = self.entry(key)?;
        *entry.last_used.lock().expect("no panic while held") = Instant::now();
        if !self.is_untied || client.is_mute() {
            let mut shared = entry.shared.lock().await;
            let session = match shared.take().filter(|session| !session.is_closed()) {
                Some(session) => session,
                None => self.open(client).await?,
            };
            *shared = Some(session.clone());
            return Ok(Lease { session, exclusive: None });
        }
        let Ok(Ok(permit)) = timeout(patience, entry.leases.clone().acquire_owned()).await else {
            return Err(CallError::Busy {
                backend: self.backend.clone(),
                limit: self.max_per_key,
                what: "`maxProcesses`",
            });
        };
        let free = entry.take_free();
        let session = match free {
            Some(session) => session,
            None => self.open(client).await?,
        };
        let exclusive = Some(Exclusive { entry, tasks: self.tasks.clone(), _permit: permit });
        Ok(Lease { session, exclusive })
    }

    async fn open(&self, client: &ClientProfile) -> Result<Session, CallError> {
        self.connector.open_for(&client.capabilities).await.map_err(|error| self.unavailable(&error))
    }

    fn unavailable(&self, error: &ConnectError) -> CallError {
        CallError::Unavailable { backend: self.backend.clone(), reason: error.to_string() }
    }

    fn entry(&self, key: Key) -> Result<Arc<Entry>, CallError> {
        let mut entries = self.entries.lock().expect("no panic while held");
        if let Some(entry) = entries.get(&key) {
            return Ok(entry.clone());
        }
        if entries.len() >= MAX_KEYS {
            let unused = entries.iter().filter(|(_, entry)| self.is_unused(entry));
            let oldest = unused.min_by_key(|(_, entry)| entry.last_used()).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|oldest| entries.remove(&oldest)) else {
                return Err(CallError::Busy {
                    backend: self.backend.clone(),
                    limit: MAX_KEYS,
                    what: "limit of different clients",
                });
            };
            self.end_aside(&entry);
        }
        let entry = Arc::new(Entry {
            shared: tokio::sync::Mutex::new(None),
            leases: Arc::new(Semaphore::new(self.max_per_key)),
            free: Mutex::default(),
            last_used: Mutex::new(Instant::now()),
        });
        entries.insert(key, entry.clone());
        Ok(entry)
    }

    /// Whether no call uses the entry: then the map alone holds it, and no lease is out.
    fn is_unused(&self, entry: &Arc<Entry>) -> bool {
        Arc::strong_count(entry) == 1 && entry.leases.available_permits() == self.max_per_key
    }

    /// Ends the sessions that nobody has used for so long.
    pub(crate) fn end_idle(&self, idle: Duration) {
        let mut entries = self.entries.lock().expect("no panic while held");
        let ended: Vec<Key> = entries
            .iter()
            .filter(|(_, entry)| self.is_unused(entry) && entry.last_used().elapsed() >= idle)
            .map(|(key, _)| key.clone())
            .collect();
        for entry in ended.iter().filter_map(|key| entries.remove(key)) {
            self.end_aside(&entry);
        }
    }

    fn end_aside(&self, entry: &Arc<Entry>) {
        for session in entry.sessions() {
            self.tasks.spawn(async move { session.close(GRACE).await });
        }
    }

    /// Ends all sessions within `grace`.
    pub(crate) async fn close(&self, grace: Duration) {
        let entries = std::mem::take(&mut *self.entries.lock().expect("no panic while held"));
        let sessions: Vec<Session> = entries.values().flat_map(|entry| entry.sessions()).collect();
        futures::future::join_all(sessions.iter().map(|session| session.close(grace))).await;
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let entries = self.entries.lock().expect("no panic while held");
        entries.values().flat_map(|entry| entry.sessions()).filter_map(|session| session.pid()).collect()
    }
}

impl Entry {
    /// A session that serves nobody now, the one used last first.
    fn take_free(&self) -> Option<Session> {
        let mut free = self.free.lock().expect("no panic while held");
        free.retain(|session| !session.is_closed());
        free.pop()
    }

    /// All that are not out on a lease.
    fn sessions(&self) -> Vec<Session> {
        let free = self.free.lock().expect("no panic while held").clone();
        let shared = self.shared.try_lock().ok().and_then(|shared| shared.clone());
        free.into_iter().chain(shared).collect()
    }

    /// When a call last began, or ended on a session that it shared.
    fn last_used(&self) -> Instant {
        let began = *self.last_used.lock().expect("no panic while held");
        self.sessions().iter().map(Session::last_used).chain([began]).max().unwrap_or(began)
    }
}

/// A session on loan for one call.
pub(crate) struct Lease {
    pub(crate) session: Session,
    exclusive: Option<Exclusive>,
}

struct Exclusive {
    entry: Arc<Entry>,
    tasks: TaskTracker,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the session back for the next call. Dropped instead, it is ended: the server may still be busy with the call,
    /// and what it asks then would reach another client.
    pub(crate) fn give_back(mut self) {
        if let Some(exclusive) = self.exclusive.take().filter(|_| !self.session.is_closed()) {
            exclusive.entry.free.lock().expect("no panic while held").push(self.session.clone());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(exclusive) = self.exclusive.take() {
            let session = self.session.clone();
            exclusive.tasks.spawn(async move { session.close(GRACE).await });
        }
    }
}
