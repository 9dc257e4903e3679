//! One backend: kept connected by a task of its own, and called by anybody.
//!
//! The supervisor connects, watches, and connects anew with growing waits; callers read the present connection without a
//! lock. A backend that fails keeps its failure to itself: its callers get a typed error at once, others notice nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use vmcp_core::{
    call::{CallError, Reply},
    id::BackendId,
};
use vmcp_mcp::{
    envelope::{Notification, write_notification},
    era::Era,
};

use crate::{
    connect::{ConnectError, Connector, Opened},
    handshake::BackendInfo,
    listen::{self, Ears},
    live::Live,
    message::{BackendChange, BackendRequest, BackendState, ClientProfile, EventSender},
    pool::{self, Pool},
    report::{BackendReport, Record},
    retry::Delays,
    slots::Slots,
    spec::{BackendContext, BackendSpec, Transport},
};

/// Changes that a slow reader may lag behind.
const CHANGES: usize = 64;
/// A connection that held so long is restored at once when it breaks.
const SERVED_LONG: Duration = Duration::from_secs(10);
/// Between two verifications.
const VERIFICATION_PAUSE: Duration = Duration::from_secs(1);
/// Sessions beside the host's own end after so long without a call, unless the configuration says otherwise.
const IDLE_SESSION: Duration = Duration::from_mins(5);
/// What processes have to end when the host shuts down and nobody called [`Backend::stop`].
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// What is waited for beyond the grace: a kill needs a moment to be seen.
const STOP_MARGIN: Duration = Duration::from_millis(1500);

/// One MCP server behind the host.
pub struct Backend {
    spec: BackendSpec,
    context: Arc<BackendContext>,
    connector: Arc<Connector>,
    state: watch::Sender<BackendState>,
    changes: broadcast::Sender<BackendChange>,
    live: ArcSwapOption<Live>,
    /// The resources of which a modern backend is to tell.
    watched: watch::Sender<Arc<[String]>>,
    slots: Slots,
    /// Somebody wants to call an idle backend.
    demand: Notify,
    stopping: CancellationToken,
    stop_grace: Mutex<Duration>,
    is_started: AtomicBool,
    record: Mutex<Record>,
}

/// Why a connection is given up.
enum End {
    Idle,
    Lost(String),
}

impl Backend {
    /// A backend that is not started yet.
    pub fn new(spec: BackendSpec, context: Arc<BackendContext>) -> Arc<Self> {
        let (changes, _) = broadcast::channel(CHANGES);
        let connector = Arc::new(Connector::new(spec.clone(), context.clone(), changes.clone()));
        Arc::new(Self {
            slots: Slots::new(spec.max_concurrency),
            stopping: context.shutdown.child_token(),
            state: watch::Sender::new(BackendState::Idle),
            live: ArcSwapOption::empty(),
            watched: watch::Sender::new(Arc::default()),
            demand: Notify::new(),
            stop_grace: Mutex::new(SHUTDOWN_GRACE),
            is_started: AtomicBool::new(false),
            record: Mutex::default(),
            changes,
            connector,
            context,
            spec,
        })
    }

    pub fn id(&self) -> &BackendId {
        &self.spec.id
    }

    pub fn spec(&self) -> &BackendSpec {
        &self.spec
    }

    /// Begins to connect in the background and keeps the backend connected until it is stopped. A lazy one waits for the
    /// first call. Only the first call of this counts.
    pub fn start(self: &Arc<Self>) {
        if self.is_started.swap(true, Ordering::SeqCst) {
            return;
        }
        if !self.spec.lazy {
            self.state.send_replace(BackendState::Starting);
        }
        self.context.tasks.spawn(self.clone().supervise());
    }

    /// Where the backend stands, now and from now on.
    pub fn state(&self) -> watch::Receiver<BackendState> {
        self.state.subscribe()
    }

    /// What happens apart from calls, from now on.
    pub fn changes(&self) -> broadcast::Receiver<BackendChange> {
        self.changes.subscribe()
    }

    /// Waits until the backend is connected and tells what it is. Starts an idle one. The first failure ends the wait, and
    /// `start_timeout` at the latest.
    pub async fn connected(&self) -> Result<BackendInfo, CallError> {
        let live = match self.live() {
            Some(live) => live,
            None => self.wait_until_live().await?,
        };
        Ok(live.info.as_ref().clone())
    }

    /// Carries `request` to the backend and its reply back. What the backend sends on the way goes to `events`.
    ///
    /// Dropping the future cancels the call at the backend.
    pub async fn call(&self, request: BackendRequest, events: EventSender) -> Result<Reply, CallError> {
        self.answer(request, events).await.map(|(_, reply)| reply)
    }

    /// As [`call`](Self::call), with the era in which the backend replied.
    pub async fn answer(&self, request: BackendRequest, events: EventSender) -> Result<(Era, Reply), CallError> {
        let limit = request.timeout.unwrap_or(self.spec.request_timeout);
        let Some(_slot) = self.slots.enter(limit).await else {
            return Err(CallError::Busy {
                backend: self.spec.id.clone(),
                limit: self.slots.limit,
                what: "`maxConcurrency`",
            });
        };
        let live = match self.live() {
            Some(live) => live,
            None => self.wait_until_live().await?,
        };
        let outcome = live.call(request, events, limit).await;
        if let Err(CallError::ConnectionLost { .. } | CallError::Unavailable { .. }) = outcome {
            live.suspect();
        }
        outcome.map(|reply| (live.info.era, reply))
    }

    /// Sets the resources whose updates a modern backend is to tell as [`BackendChange::ResourceUpdated`]. Legacy backends are
    /// subscribed to by `resources/subscribe` in the host's own name.
    pub fn watch(&self, mut uris: Vec<String>) {
        uris.sort_unstable();
        uris.dedup();
        self.watched.send_if_modified(|watched| {
            let is_new = **watched != *uris;
            if is_new {
                *watched = uris.into();
            }
            is_new
        });
    }

    /// Whether any number of calls of this client share one session at a legacy backend: what a call leaves behind there,
    /// as a task, is then found by the next.
    pub fn shares_sessions_with(&self, client: &ClientProfile) -> bool {
        let is_tied = matches!(self.spec.transport, Transport::StreamableHttp { .. }) && !self.connector.is_sse();
        !client.can_be_asked() || (is_tied && !client.has_roots())
    }

    /// Ends the sessions of the one client that has this scope: it is gone. Must be called within the runtime.
    pub fn end_scope(&self, scope: &str) {
        if let Some(live) = &*self.live.load() {
            live.pool.end_scope(scope);
        }
    }

    /// Passes a notification of the client that has this scope on to its sessions, if there are any. Must be called within the
    /// runtime.
    pub fn notify_scope(&self, scope: &str, notification: &Notification) {
        if let Some(live) = &*self.live.load() {
            let message = write_notification(&notification.method, notification.params.as_ref());
            live.pool.notify_scope(scope, &message);
        }
    }

    /// The backend at this moment.
    pub fn report(&self) -> BackendReport {
        let live = self.live.load_full();
        let pids = live.map(|live| live.pids()).unwrap_or_default();
        let record = self.record().clone();
        let state = self.state.borrow().clone();
        BackendReport::new(
            self.spec.id.clone(),
            self.spec.transport.label(),
            &state,
            record,
            pids,
            self.slots.in_flight(),
        )
    }

    /// Ends the backend for good: calls under way fail, processes have `grace` to end.
    pub async fn stop(&self, grace: Duration) {
        *self.stop_grace.lock().expect("no panic while held") = grace;
        self.stopping.cancel();
        if !self.is_started.load(Ordering::SeqCst) {
            self.state.send_replace(BackendState::Stopped);
        }
        let mut state = self.state.subscribe();
        let stopped = state.wait_for(|state| matches!(state, BackendState::Stopped));
        drop(timeout(grace + STOP_MARGIN, stopped).await);
    }

    /// The present connection, unless it is known to have ended.
    fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full().filter(|live| !live.control.is_closed())
    }

    async fn wait_until_live(&self) -> Result<Arc<Live>, CallError> {
        let backend = || self.spec.id.clone();
        let deadline = Instant::now() + self.spec.start_timeout;
        let mut state = self.state.subscribe();
        self.demand.notify_one();
        loop {
            if let Some(live) = self.live() {
                return Ok(live);
            }
            match &*state.borrow_and_update() {
                BackendState::Failed { error, .. } => {
                    return Err(CallError::Unavailable { backend: backend(), reason: error.clone() });
                }
                BackendState::Stopped => {
                    return Err(CallError::Unavailable { backend: backend(), reason: "it was stopped".to_owned() });
                }
                _ => {}
            }
            if !matches!(timeout_at(deadline, state.changed()).await, Ok(Ok(()))) {
                return Err(CallError::Timeout { backend: backend(), after: self.spec.start_timeout });
            }
        }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().expect("no panic while held")
    }

    /// Connects, watches and connects anew until the backend is stopped.
    async fn supervise(self: Arc<Self>) {
        let stopping = self.stopping.clone();
        stopping.run_until_cancelled(self.keep_connected()).await;
        let grace = *self.stop_grace.lock().expect("no panic while held");
        if let Some(live) = self.live.swap(None) {
            live.close(grace).await;
        }
        self.state.send_replace(BackendState::Stopped);
    }

    async fn keep_connected(&self) {
        let mut delays = Delays::new();
        let mut was_connected = false;
        if self.spec.lazy {
            self.demand.notified().await;
        }
        loop {
            self.state.send_replace(BackendState::Starting);
            let live = match self.connect().await {
                Ok(live) => live,
                Err(error) => {
                    self.wait_after_failure(&error, &mut delays).await;
                    continue;
                }
            };
            self.live.store(Some(live.clone()));
            self.state.send_replace(BackendState::Ready(live.info.clone()));
            if was_connected {
                drop(self.changes.send(BackendChange::Reconnected));
            }
            was_connected = true;
            match self.look_after(&live).await {
                End::Idle => {
                    self.state.send_replace(BackendState::Idle);
                    live.close(SHUTDOWN_GRACE).await;
                    // What was learnt from it holds: the next start is no reconnection.
                    (was_connected, delays) = (false, Delays::new());
                    self.demand.notified().await;
                }
                End::Lost(why) => {
                    warn!(backend = %self.spec.id, why, "lost the backend");
                    self.live.store(None);
                    drop(self.changes.send(BackendChange::Lost));
                    {
                        let mut record = self.record();
                        record.restarts += 1;
                        record.last_error = Some(why.clone());
                    }
                    let served_long = live.since.elapsed() >= SERVED_LONG;
                    self.context.tasks.spawn(async move { live.close(SHUTDOWN_GRACE).await });
                    if served_long {
                        delays = Delays::new();
                    } else {
                        self.wait_after_failure(&ConnectError::new(why), &mut delays).await;
                    }
                }
            }
        }
    }

    /// Tells of the failure and waits for the next try.
    async fn wait_after_failure(&self, error: &ConnectError, delays: &mut Delays) {
        let retry_in = delays.next();
        warn!(backend = %self.spec.id, ?retry_in, hint = error.what_to_do(), "cannot use the backend: {error}");
        self.record().last_error = Some(error.to_string());
        self.state.send_replace(BackendState::Failed {
            error: error.to_string(),
            hint: error.what_to_do().map(str::to_owned),
            retry_in,
        });
        sleep(retry_in).await;
    }

    async fn connect(&self) -> Result<Arc<Live>, ConnectError> {
        let began = Instant::now();
        let Opened { session: control, info } =
            match timeout(self.spec.start_timeout, self.connector.open_control()).await {
                Ok(opened) => opened?,
                Err(_) => {
                    let after = self.spec.start_timeout;
                    return Err(ConnectError::new(format!("it did not start within {after:?} (`startTimeout`)")));
                }
            };
        let took = began.elapsed();
        self.record().start_ms = u64::try_from(took.as_millis()).ok();
        info!(backend = %self.spec.id, ?took, era = %info.era, revision = info.revision, "connected");
        let info = Arc::new(info);
        let suspicion = Arc::new(Notify::new());
        let stop_listening = self.stopping.child_token();
        let ears = Ears {
            info: info.clone(),
            changes: self.changes.clone(),
            suspicion: suspicion.clone(),
            stop: stop_listening.clone(),
            tasks: self.context.tasks.clone(),
        };
        listen::start(&control, ears, self.watched.subscribe());
        let make_pool =
            |kind| Pool::new(self.spec.id.clone(), self.connector.clone(), self.context.tasks.clone(), kind);
        let pool = make_pool(pool::Kind::of(&control, self.spec.max_processes));
        let shares_sessions = self.spec.shared_sessions;
        Ok(Arc::new(Live::new(info, control, pool, shares_sessions, suspicion, stop_listening.drop_guard())))
    }

    /// Looks after a connection until it ends.
    async fn look_after(&self, live: &Live) -> End {
        let idle_session = self.spec.idle_timeout.unwrap_or(IDLE_SESSION);
        let idle_backend = self.spec.idle_timeout.filter(|_| matches!(self.spec.transport, Transport::Stdio { .. }));
        let shortest_idle = idle_session.min(pool::IDLE_EVERYONE);
        let mut look = interval((shortest_idle / 4).max(Duration::from_millis(20)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closed = async {
            match live.control.closed() {
                Some(closed) => closed.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(closed);
        loop {
            tokio::select! {
                biased;
                () = &mut closed => {
                    let why = live.control.why_closed();
                    return End::Lost(why.map_or_else(|| "the connection ended".to_owned(), |why| why.to_string()));
                }
                () = live.suspicion.notified() => {
                    if let Err(why) = live.verify().await {
                        return End::Lost(why);
                    }
                    // Further suspicions of this moment are answered too.
                    sleep(VERIFICATION_PAUSE).await;
                }
                _ = look.tick() => {
                    live.pool.end_idle(idle_session);
                    if idle_backend.is_some_and(|idle| self.retire(live, idle)) {
                        return End::Idle;
                    }
                }
            }
        }
    }

    /// Takes the connection away from callers if nobody has used it for so long.
    fn retire(&self, live: &Live, idle: Duration) -> bool {
        let is_idle = || self.slots.in_flight() == 0 && live.last_used().elapsed() >= idle;
        if !is_idle() {
            return false;
        }
        let taken = self.live.swap(None);
        // A call that entered before the swap may have the connection; one that comes now starts a new one.
        if is_idle() {
            return true;
        }
        self.live.store(taken);
        false
    }
}
