//! Legacy clients: what `initialize` agreed on, and which requests are under way. Modern clients have no session.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
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
    /// The capabilities that the client declared, an object.
    pub capabilities: RawJson,
    pub client_info: Option<RawJson>,
    /// URIs whose changes the client wants to hear of.
    pub subscriptions: Mutex<HashSet<String>>,
    /// Everything that the backends send, until the client says otherwise.
    log_level: AtomicU8,
    in_flight: Mutex<HashMap<RawJson, CancellationToken>>,
    started: Instant,
    /// Milliseconds after `started`.
    last_used: AtomicU64,
}

impl Session {
    pub fn new(
        revision: Revision,
        identity: Identity,
        capabilities: RawJson,
        client_info: Option<RawJson>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().to_string().into(),
            revision,
            identity,
            view: ViewId::default(),
            capabilities,
            client_info,
            subscriptions: Mutex::default(),
            log_level: AtomicU8::new(LogLevel::Debug as u8),
            in_flight: Mutex::default(),
            started: Instant::now(),
            last_used: AtomicU64::new(0),
        })
    }

    pub fn set_log_level(&self, level: LogLevel) {
        self.log_level.store(level as u8, Ordering::Relaxed);
    }

    /// Whether a log message of `level` is for this client.
    pub fn wants_log(&self, level: LogLevel) -> bool {
        level as u8 >= self.log_level.load(Ordering::Relaxed)
    }

    /// Notes a request, so that `notifications/cancelled` finds it; forgotten when the guard is dropped.
    /// `None` when the client reuses an id that is under way, or has too many.
    pub fn begin(self: &Arc<Self>, id: &RawJson) -> Option<InFlight> {
        let mut in_flight = self.in_flight.lock().expect("no panic while locked");
        if in_flight.len() >= MAX_IN_FLIGHT || in_flight.contains_key(id) {
            return None;
        }
        let cancelled = CancellationToken::new();
        in_flight.insert(id.clone(), cancelled.clone());
        Some(InFlight { session: self.clone(), id: id.clone(), cancelled })
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

    fn end(&self) {
        self.in_flight.lock().expect("no panic while locked").values().for_each(CancellationToken::cancel);
    }
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

    /// Ends the session; `false` when there is none.
    pub fn end(&self, id: &str) -> bool {
        let ended = self.by_id.write().expect("no panic while locked").remove(id);
        ended.inspect(|session| session.end()).is_some()
    }

    /// Ends what has been idle for too long.
    pub fn sweep(&self) {
        self.by_id.write().expect("no panic while locked").retain(|_, session| {
            let keep = session.idle() < IDLE_LIFETIME;
            if !keep {
                session.end();
            }
            keep
        });
    }

    pub fn len(&self) -> usize {
        self.by_id.read().expect("no panic while locked").len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
