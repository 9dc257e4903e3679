//! Legacy clients: what `initialize` agreed on, and which requests are under way. Modern clients have no session.
//!
//! `table` finds sessions by their ids, `ticket` is what an id says to those who can open it.

mod table;
mod ticket;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use vmcp_core::{
    id::{BackendId, Identity, ViewId},
    json::RawJson,
};
use vmcp_mcp::era::Revision;

use self::ticket::SessionNumber;
use crate::question::Questions;

pub use self::table::{IDLE_LIFETIME, LONGEST_LIFETIME, MAX_SESSIONS, SessionError, Sessions};
pub(crate) use self::ticket::Owner;

/// Most requests of one session under way at a time.
pub const MAX_IN_FLIGHT: usize = 1000;

/// One legacy client.
#[derive(Debug)]
pub struct Session {
    pub id: Arc<str>,
    pub revision: Revision,
    pub identity: Identity,
    pub view: ViewId,
    /// What the client said in `initialize` that it can be asked: a JSON object.
    pub capabilities: RawJson,
    /// URIs whose changes the client wants to hear of, as they are advertised.
    pub subscriptions: Mutex<HashSet<String>>,
    /// Everything that the backends send, until the client says otherwise.
    log_level: Mutex<Option<LogLevel>>,
    /// Ends the stream that carries the session's notifications: there is one at a time.
    stream: Mutex<Option<CancellationToken>>,
    in_flight: Mutex<HashMap<RawJson, CancellationToken>>,
    pub(crate) questions: Questions,
    /// The tasks that the client has begun: where, and their names there.
    pub(crate) tasks: Mutex<HashSet<(BackendId, String)>>,
    /// `None` for the session of a connection, which nobody finds by its id.
    listing: Option<Listing>,
    started: Instant,
    /// Milliseconds after `started`.
    last_used: AtomicU64,
}

/// What only a session has that is found by its id.
#[derive(Debug)]
struct Listing {
    number: SessionNumber,
    owner: Owner,
    /// `None`: further away than the clock reaches.
    expires: Option<Instant>,
}

/// How it is known to which session a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionTie {
    /// By the id that it carries. The session is in the table of [`Sessions`], and its id is sealed.
    Id,
    /// By the connection on which it comes, and with which the session ends.
    Connection,
}

impl Session {
    /// The session of a connection. It is in no table; [`Sessions::begin`] makes those that are found by their ids.
    pub fn new(revision: Revision, identity: Identity, capabilities: RawJson) -> Arc<Self> {
        let id = uuid::Uuid::new_v4().to_string().into();
        Arc::new(Self::made(id, revision, identity, ViewId::default(), capabilities, None))
    }

    fn made(
        id: Arc<str>,
        revision: Revision,
        identity: Identity,
        view: ViewId,
        capabilities: RawJson,
        listing: Option<Listing>,
    ) -> Self {
        Self {
            id,
            revision,
            identity,
            view,
            capabilities,
            subscriptions: Mutex::default(),
            log_level: Mutex::default(),
            stream: Mutex::default(),
            in_flight: Mutex::default(),
            questions: Questions::default(),
            tasks: Mutex::default(),
            listing,
            started: Instant::now(),
            last_used: AtomicU64::new(0),
        }
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

    /// Whether it is found by its id, and not by its connection.
    pub fn is_listed(&self) -> bool {
        self.listing.is_some()
    }

    fn touch(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(now, Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_used.load(Ordering::Relaxed)))
    }

    /// Whether a stream is open or a request under way.
    fn is_in_use(&self) -> bool {
        let has_stream = || {
            let stream = self.stream.lock().expect("no panic while locked");
            // The stream itself holds a clone; a cancelled one has ended.
            stream.as_ref().is_some_and(|stream| !stream.is_cancelled())
        };
        self.has_requests() || has_stream()
    }

    fn has_requests(&self) -> bool {
        !self.in_flight.lock().expect("no panic while locked").is_empty()
    }

    /// Whether the session may go: it has expired, or was not used for `longest_idle`. What is under way comes first, and
    /// what is open counts as use.
    fn is_over(&self, longest_idle: Duration) -> bool {
        let is_in_use = self.is_in_use();
        if is_in_use {
            self.touch();
        }
        match self.listing.as_ref().is_some_and(Listing::has_expired) {
            true => !self.has_requests(),
            false => !is_in_use && self.idle() >= longest_idle,
        }
    }

    fn has_subscriptions(&self) -> bool {
        !self.subscriptions.lock().expect("no panic while locked").is_empty()
    }

    pub(crate) fn end(&self) {
        self.in_flight.lock().expect("no panic while locked").values().for_each(CancellationToken::cancel);
        if let Some(stream) = self.stream.lock().expect("no panic while locked").take() {
            stream.cancel();
        }
    }
}

impl Listing {
    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| Instant::now() >= expires)
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
