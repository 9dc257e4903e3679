//! Legacy clients: what `initialize` agreed on, and which requests are under way. Modern clients have no session.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use vmcp_core::{
    id::{Identity, ViewId},
    json::RawJson,
};
use vmcp_mcp::era::Revision;

/// Sessions that nobody used for so long are ended.
pub const IDLE_LIFETIME: Duration = Duration::from_mins(30);
/// Most sessions at a time; beyond, the longest idle one is ended.
const MAX_SESSIONS: usize = 100_000;
/// Most requests of one session under way at a time.
pub const MAX_IN_FLIGHT: usize = 1000;

/// One legacy client.
#[derive(Debug)]
pub struct Session {
    pub id: Arc<str>,
    pub revision: Revision,
    pub identity: Identity,
    pub view: ViewId,
    /// URIs whose changes the client wants to hear of, as they are advertised.
    pub subscriptions: Mutex<HashSet<String>>,
    /// Everything that the backends send, until the client says otherwise.
    log_level: Mutex<Option<LogLevel>>,
    /// Ends the stream that carries the session's notifications: there is one at a time.
    stream: Mutex<Option<CancellationToken>>,
    in_flight: Mutex<HashMap<RawJson, CancellationToken>>,
    started: Instant,
    /// Milliseconds after `started`.
    last_used: AtomicU64,
}

impl Session {
    pub fn new(revision: Revision, identity: Identity) -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().to_string().into(),
            revision,
            identity,
            view: ViewId::default(),
            subscriptions: Mutex::default(),
            log_level: Mutex::default(),
            stream: Mutex::default(),
            in_flight: Mutex::default(),
            started: Instant::now(),
            last_used: AtomicU64::new(0),
        })
    }

    pub fn set_log_level(&self, level: LogLevel) {
        *self.log_level.lock().expect("no panic while locked") = Some(level);
    }

    /// The level that the client asked for, if it did.
    pub fn log_level(&self) -> Option<LogLevel> {
        *self.log_level.lock().expect("no panic while locked")
    }

    /// Begins a stream of the session's notifications, which ends the one before. The token fires when this one has to
    /// end, with the session at the latest.
    pub fn begin_stream(&self) -> CancellationToken {
        let token = CancellationToken::new();
        if let Some(earlier) = self.stream.lock().expect("no panic while locked").replace(token.clone()) {
            earlier.cancel();
        }
        token
    }

    /// Notes a request, so that `notifications/cancelled` finds it; forgotten when the guard is dropped.
    pub fn begin(self: &Arc<Self>, id: &RawJson) -> Result<InFlight, BeginError> {
        let mut in_flight = self.in_flight.lock().expect("no panic while locked");
        if in_flight.len() >= MAX_IN_FLIGHT {
            return Err(BeginError::TooMany);
        }
        if in_flight.contains_key(id) {
            return Err(BeginError::IdInUse(id.clone()));
        }
        let cancelled = CancellationToken::new();
        in_flight.insert(id.clone(), cancelled.clone());
        Ok(InFlight { session: self.clone(), id: id.clone(), cancelled })
    }

    /// Cancels the request `id` if it is under way.
    pub fn cancel(&self, id: &RawJson) {
        if let Some(request) = self.in_flight.lock().expect("no panic while locked").get(id) {
            request.cancel();
        }
    }

    fn touch(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_used.load(Ordering::Relaxed)))
    }

    /// Whether nothing of the session is open and it was not used for long.
    fn is_abandoned(&self) -> bool {
        let has_stream = || {
            let stream = self.stream.lock().expect("no panic while locked");
            // The stream itself holds a clone; a cancelled one has ended.
            stream.as_ref().is_some_and(|stream| !stream.is_cancelled())
        };
        self.idle() >= IDLE_LIFETIME
            && !has_stream()
            && self.in_flight.lock().expect("no panic while locked").is_empty()
    }

    pub(crate) fn end(&self) {
        self.in_flight.lock().expect("no panic while locked").values().for_each(CancellationToken::cancel);
        if let Some(stream) = self.stream.lock().expect("no panic while locked").take() {
            stream.cancel();
        }
    }
}

/// Why a request cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error("the client has {MAX_IN_FLIGHT} requests under way, which is the most there may be")]
    TooMany,
    #[error("the id {} is that of a request under way", .0.as_str())]
    IdInUse(RawJson),
}

/// A request of a session under way.
#[derive(Debug)]
pub struct InFlight {
    session: Arc<Session>,
    id: RawJson,
    /// Fires when the client cancels the request or its session ends.
    pub cancelled: CancellationToken,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.session.touch();
        self.session.in_flight.lock().expect("no panic while locked").remove(&self.id);
    }
}

/// Severity of a log message, as the protocol orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// All sessions of the process.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: RwLock<HashMap<Arc<str>, Arc<Session>>>,
}

impl Sessions {
    pub fn add(&self, session: Arc<Session>) {
        let mut by_id = self.by_id.write().expect("no panic while locked");
        let is_full = by_id.len() >= MAX_SESSIONS;
        let oldest = || by_id.values().max_by_key(|session| session.idle()).map(|session| session.id.clone());
        if let Some(oldest) = is_full.then(oldest).flatten() {
            by_id.remove(&oldest).inspect(|session| session.end());
        }
        by_id.insert(session.id.clone(), session);
    }

    /// The session `id`, which counts as used now.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.by_id.read().expect("no panic while locked").get(id).cloned()?;
        session.touch();
        Some(session)
    }

    /// Forgets the session.
    pub(crate) fn remove(&self, id: &str) {
        self.by_id.write().expect("no panic while locked").remove(id);
    }

    /// The sessions that nobody used for too long.
    pub(crate) fn abandoned(&self) -> Vec<Arc<Session>> {
        let by_id = self.by_id.read().expect("no panic while locked");
        by_id.values().filter(|session| session.is_abandoned()).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.read().expect("no panic while locked").len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
