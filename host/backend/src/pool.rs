//! Sessions of a legacy backend beside the host's own: by identity, by what the backend may ask of the client, and by scope.
//! They open with the first call and end when nobody uses them, or when their place is needed.
//!
//! Where a server request cannot be tied to the call that caused it (stdio, HTTP+SSE), a session whose clients can be asked
//! something serves one call at a time. So does one whose clients may give their roots and have no scope: once a server knows
//! the roots of one client, the session serves no other. All other sessions are shared by any number of calls of their key.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
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

/// Processes of one backend at once, beside the host's own: those of a Node server take some 50 MiB each.
const MAX_PROCESSES: usize = 64;
/// Sessions of one backend at once where they are connections or names only.
const MAX_SESSIONS: usize = 256;
/// Sessions of one key that each serve one call at a time, where they are no processes.
const MAX_SESSIONS_PER_KEY: usize = 32;
/// What an ended process has to finish.
const GRACE: Duration = Duration::from_secs(1);
/// What a server has to answer a call that was cancelled, before its session is given up.
const LATE_REPLY: Duration = Duration::from_secs(2);
/// Discovery asks several times in a row, and then perhaps never again.
pub(crate) const IDLE_EVERYONE: Duration = Duration::from_secs(10);

/// How sessions with a backend come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each is a process; there are so many per key.
    Process { per_key: usize },
    /// Each is a connection, on which a server request cannot be tied to its call.
    Connection,
    /// Each is a name that the server gave.
    Name,
}

impl Kind {
    /// - `control`: the host's own session
    /// - `per_key`: processes per key
    pub(crate) fn of(control: &Session, per_key: usize) -> Self {
        match control {
            Session::Duplex { process: Some(_), .. } => Self::Process { per_key },
            Session::Duplex { .. } => Self::Connection,
            Session::LegacyHttp(_) | Session::ModernHttp(_) => Self::Name,
        }
    }

    fn limit(self) -> usize {
        if matches!(self, Self::Process { .. }) { MAX_PROCESSES } else { MAX_SESSIONS }
    }

    fn limit_per_key(self) -> (usize, &'static str) {
        match self {
            Self::Process { per_key } => (per_key.max(1), "`maxProcesses`"),
            Self::Connection | Self::Name => (MAX_SESSIONS_PER_KEY, "limit of sessions for one kind of client"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    /// The canonical text of the capability set.
    capabilities: Bytes,
    scope: Option<Arc<str>>,
    is_everyone: bool,
}

impl Key {
    fn of(client: &ClientProfile) -> Self {
        Self {
            identity: client.identity.clone(),
            capabilities: client.capabilities.bytes().clone(),
            // A client that can be asked nothing gives no answers that could be kept.
            scope: client.scope.clone().filter(|_| !client.is_mute()),
            is_everyone: client.is_everyone(),
        }
    }
}

pub(crate) struct Pool {
    backend: BackendId,
    connector: Arc<Connector>,
    tasks: TaskTracker,
    kind: Kind,
    /// For all sessions together.
    room: Arc<Semaphore>,
    next_number: AtomicU64,
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
}

impl Pool {
    pub(crate) fn new(backend: BackendId, connector: Arc<Connector>, tasks: TaskTracker, kind: Kind) -> Self {
        let room = Arc::new(Semaphore::new(kind.limit()));
        Self { backend, connector, tasks, kind, room, next_number: AtomicU64::new(0), entries: Mutex::default() }
    }

    pub(crate) fn backend(&self) -> &BackendId {
        &self.backend
    }

    /// A session for `client`, opened if there is none to be had.
    ///
    /// - `patience`: longest wait for a session
    pub(crate) async fn acquire(&self, client: &ClientProfile, patience: Duration) -> Result<Lease, CallError> {
        let entry = self.entry(client);
        entry.touch();
        if !entry.is_exclusive {
            let shared = timeout(patience, self.share(entry, client)).await;
            let late = CallError::Timeout { backend: self.backend.clone(), after: patience };
            return shared.unwrap_or(Err(late));
        }
        let Ok(Ok(permit)) = timeout(patience, entry.leases.clone().acquire_owned()).await else {
            let (limit, what) = self.kind.limit_per_key();
            return Err(CallError::Busy { backend: self.backend.clone(), limit, what });
        };
        let (number, session) = match entry.take_free() {
            Some(free) => free,
            None => self.open(&entry, client).await?,
        };
        Ok(Lease { session, exclusive: Some(Exclusive { number, tasks: self.tasks.clone(), permit }), entry })
    }

    async fn share(&self, entry: Arc<Entry>, client: &ClientProfile) -> Result<Lease, CallError> {
        let session = match entry.newest() {
            Some(session) => session,
            None => {
                let _one_opens = entry.opening.lock().await;
                match entry.newest() {
                    Some(session) => session,
                    None => self.open(&entry, client).await?.1,
                }
            }
        };
        Ok(Lease { session, entry, exclusive: None })
    }

    async fn open(&self, entry: &Arc<Entry>, client: &ClientProfile) -> Result<(u64, Session), CallError> {
        let room = self.make_room()?;
        let session =
            Box::pin(self.connector.open_for(client.role())).await.map_err(|error| self.unavailable(&error))?;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let pooled = Pooled { number, session: session.clone(), is_out: entry.is_exclusive, _room: room };
        if let Err(pooled) = entry.add(pooled) {
            self.end_aside([pooled]);
            return Err(self.unavailable(&ConnectError::new("the client's session has ended")));
        }
        Ok((number, session))
    }

    fn unavailable(&self, error: &ConnectError) -> CallError {
        CallError::Unavailable { backend: self.backend.clone(), reason: error.to_string() }
    }

    /// Room for one session more, if need be at the cost of the free one that was not used for longest.
    fn make_room(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let take = || self.room.clone().try_acquire_owned().ok();
        if let Some(room) = take() {
            return Ok(room);
        }
        let ended = {
            let entries = self.entries();
            let unused = entries.values().filter_map(|entry| Some((entry.least_used()?, entry)));
            let oldest = unused.min_by_key(|((last_used, _), _)| *last_used);
            oldest.and_then(|((_, number), entry)| entry.remove(number))
        };
        self.end_aside(ended);
        let limit = self.kind.limit();
        take().ok_or(CallError::Busy { backend: self.backend.clone(), limit, what: "limit of sessions with clients" })
    }

    fn entry(&self, client: &ClientProfile) -> Arc<Entry> {
        let mut entries = self.entries();
        let key = Key::of(client);
        if let Some(entry) = entries.get(&key) {
            return entry.clone();
        }
        if entries.len() >= 2 * self.kind.limit() {
            entries.retain(|_, entry| entry.is_in_use() || !entry.list().sessions.is_empty());
        }
        let is_untied = self.kind != Kind::Name;
        let may_taint = || client.scope.is_none() && client.has_roots();
        let entry = Arc::new(Entry {
            is_exclusive: client.can_be_asked() && !client.is_everyone() && (is_untied || may_taint()),
            has_scope: client.scope.is_some(),
            longest_idle: if client.is_everyone() { IDLE_EVERYONE } else { Duration::MAX },
            opening: tokio::sync::Mutex::default(),
            leases: Arc::new(Semaphore::new(self.kind.limit_per_key().0)),
            list: Mutex::default(),
            last_used: Mutex::new(Instant::now()),
        });
        entries.insert(key, entry.clone());
        entry
    }

    /// Ends the sessions of the client that has this scope.
    pub(crate) fn end_scope(&self, scope: &str) {
        let ended: Vec<_> = self.of_scope(scope, HashMap::remove);
        self.end_aside(ended.iter().flat_map(|entry| entry.end()));
    }

    /// Sends `message` on the sessions of the client that has this scope.
    pub(crate) fn notify_scope(&self, scope: &str, message: &Bytes) {
        let entries = self.of_scope(scope, |entries, key| entries.get(key).cloned());
        for session in entries.iter().flat_map(|entry| entry.sessions()) {
            let message = message.clone();
            self.tasks.spawn(async move { session.notify(message).await });
        }
    }

    fn of_scope<T>(&self, scope: &str, pick: impl Fn(&mut HashMap<Key, Arc<Entry>>, &Key) -> Option<T>) -> Vec<T> {
        let mut entries = self.entries();
        let is_of_scope = |key: &&Key| !key.is_everyone && key.scope.as_deref() == Some(scope);
        let keys: Vec<Key> = entries.keys().filter(is_of_scope).cloned().collect();
        keys.iter().filter_map(|key| pick(&mut entries, key)).collect()
    }

    /// Ends the sessions that nobody has used for so long.
    pub(crate) fn end_idle(&self, idle: Duration) {
        let ended: Vec<_> = self
            .entries()
            .extract_if(|_, entry| !entry.is_in_use() && entry.last_used().elapsed() >= idle.min(entry.longest_idle))
            .collect();
        self.end_aside(ended.iter().flat_map(|(_, entry)| entry.end()));
    }

    fn end_aside(&self, ended: impl IntoIterator<Item = Pooled>) {
        for Pooled { session, .. } in ended {
            self.tasks.spawn(async move { session.close(GRACE).await });
        }
    }

    /// Ends all sessions within `grace`.
    pub(crate) async fn close(&self, grace: Duration) {
        let entries = std::mem::take(&mut *self.entries());
        let ended: Vec<Pooled> = entries.values().flat_map(|entry| entry.end()).collect();
        futures::future::join_all(ended.iter().map(|pooled| pooled.session.close(grace))).await;
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let entries = self.entries();
        entries.values().flat_map(|entry| entry.sessions()).filter_map(|session| session.pid()).collect()
    }

    /// When a call of any client last began or ended.
    pub(crate) fn last_used(&self) -> Option<Instant> {
        self.entries().values().map(|entry| entry.last_used()).max()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Arc<Entry>>> {
        self.entries.lock().expect("no panic while held")
    }
}

/// The sessions of one key.
struct Entry {
    /// Each session serves one call at a time.
    is_exclusive: bool,
    has_scope: bool,
    longest_idle: Duration,
    /// Held by the call that opens the session that others will share.
    opening: tokio::sync::Mutex<()>,
    leases: Arc<Semaphore>,
    list: Mutex<List>,
    last_used: Mutex<Instant>,
}

#[derive(Default)]
struct List {
    /// The one used last at the end.
    sessions: Vec<Pooled>,
    has_ended: bool,
}

struct Pooled {
    number: u64,
    session: Session,
    /// On loan for one call.
    is_out: bool,
    _room: OwnedSemaphorePermit,
}

impl Entry {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().expect("no panic while held")
    }

    fn touch(&self) {
        *self.last_used.lock().expect("no panic while held") = Instant::now();
    }

    /// Adds a session; hands it back when the entry has ended.
    fn add(&self, pooled: Pooled) -> Result<(), Pooled> {
        let mut list = self.list();
        if list.has_ended {
            return Err(pooled);
        }
        list.sessions.push(pooled);
        Ok(())
    }

    /// Takes a session that serves nobody now, the one used last first.
    fn take_free(&self) -> Option<(u64, Session)> {
        let mut list = self.list();
        list.sessions.retain(|pooled| !pooled.session.is_closed());
        let free = list.sessions.iter_mut().rfind(|pooled| !pooled.is_out)?;
        free.is_out = true;
        Some((free.number, free.session.clone()))
    }

    /// The session that calls share.
    fn newest(&self) -> Option<Session> {
        let mut list = self.list();
        list.sessions.retain(|pooled| !pooled.session.is_closed());
        list.sessions.last().map(|pooled| pooled.session.clone())
    }

    fn sessions(&self) -> Vec<Session> {
        self.list().sessions.iter().map(|pooled| pooled.session.clone()).collect()
    }

    fn remove(&self, number: u64) -> Option<Pooled> {
        let mut list = self.list();
        let at = list.sessions.iter().position(|pooled| pooled.number == number)?;
        Some(list.sessions.remove(at))
    }

    /// Makes a session free again.
    fn put_back(&self, number: u64) {
        let mut list = self.list();
        if let Some(at) = list.sessions.iter().position(|pooled| pooled.number == number) {
            let pooled = list.sessions.remove(at);
            list.sessions.push(Pooled { is_out: false, ..pooled });
        }
    }

    /// Takes all sessions away, also those on loan, and lets no new one come.
    fn end(&self) -> Vec<Pooled> {
        let mut list = self.list();
        list.has_ended = true;
        std::mem::take(&mut list.sessions)
    }

    /// Whether a call uses one of its sessions, or is about to: else the map alone holds the entry.
    fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// The session that no call uses and that was used least recently, and when that was.
    fn least_used(self: &Arc<Self>) -> Option<(Instant, u64)> {
        let may_end = self.is_exclusive || !self.is_in_use();
        let list = self.list();
        let free = list.sessions.iter().filter(|pooled| may_end && !pooled.is_out);
        free.map(|pooled| (pooled.session.last_used(), pooled.number)).min()
    }

    /// When a call last began or ended.
    fn last_used(&self) -> Instant {
        *self.last_used.lock().expect("no panic while held")
    }
}

/// A session on loan for one call.
pub(crate) struct Lease {
    pub(crate) session: Session,
    entry: Arc<Entry>,
    /// Of a session that serves one call at a time.
    exclusive: Option<Exclusive>,
}

struct Exclusive {
    number: u64,
    tasks: TaskTracker,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the session back for the next call. Dropped instead, it is given back once the server has answered the call that
    /// was cancelled: what it asks until then must not reach another client.
    pub(crate) fn give_back(mut self) {
        if let Some(exclusive) = self.exclusive.take() {
            exclusive.release(&self.entry, &self.session, true);
        }
    }
}

impl Exclusive {
    /// Makes the session free for the next call, or ends it where it cannot serve another.
    fn release(self, entry: &Entry, session: &Session, is_usable: bool) {
        if is_usable && !session.is_closed() && !session.is_tainted() {
            entry.put_back(self.number);
        } else if let Some(Pooled { session, .. }) = entry.remove(self.number) {
            self.tasks.spawn(async move { session.close(GRACE).await });
        }
        entry.touch();
        // Only now may the next call look for a free session.
        drop(self.permit);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.entry.touch();
        let Some(exclusive) = self.exclusive.take() else { return };
        let (entry, session) = (self.entry.clone(), self.session.clone());
        exclusive.tasks.clone().spawn(async move {
            let has_settled = session.settled(LATE_REPLY).await;
            // Most servers do not answer what was cancelled. What they may ask late harms nobody where the next call is of
            // the same client.
            exclusive.release(&entry, &session, has_settled || entry.has_scope);
        });
    }
}
