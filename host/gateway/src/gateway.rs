//! The state of the gateway and its life: which backends there are, what they offered, and the current catalog.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use indexmap::IndexMap;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmcp_backend::{Backend, BackendState, Transport};
use vmcp_core::{capability::Kind, catalog::Catalog, extension::ConflictResolver, id::BackendId};
use vmcp_mcp::envelope::Notification;
use vmcp_workflow::{Composite, runs::RunStore};

use crate::{
    aggregator::{AggregateError, Offer},
    authored::HostInfo,
    discovery::Discovered,
    last_seen::LastSeen,
    legacy_task::WaitingTasks,
    parked::ParkedCalls,
    refresh,
    rules::Rules,
    runs::{self, Revive, Runs},
    seal::Sealer,
    session::{LogLevel, Session, Sessions},
    subscriptions::Subscriptions,
    tool_search::ToolSearch,
};

/// Backends whose lists are read at the same time.
const PARALLEL_DISCOVERIES: usize = 10;
/// Events that a slow listener may lag behind before it loses some; losing one means listing once more than needed.
const EVENT_BACKLOG: usize = 256;

/// What a gateway is made of.
pub struct GatewayOptions {
    pub host: HostInfo,
    pub backends: Vec<Arc<Backend>>,
    pub rules: Rules,
    pub resolver: Arc<dyn ConflictResolver>,
    pub last_seen: LastSeen,
    /// Seals what clients keep for the host.
    pub sealer: Arc<Sealer>,
    /// How long a call waits for what its client is asked.
    pub input_timeout: Duration,
    /// How long the first catalog waits for backends that are still starting.
    pub patience: Duration,
    /// Shows `find_tool` and `call_tool` in place of all tools.
    pub tool_search: Option<Arc<ToolSearch>>,
    pub composites: Vec<Arc<Composite>>,
    /// Where their runs are kept.
    pub runs: Arc<dyn RunStore>,
    /// How long a run waits for its client.
    pub run_lifetime: Duration,
    pub revive: Arc<Revive>,
    /// Whether one backend that is down makes the whole host not ready.
    pub all_or_nothing: bool,
}

/// Many servers as one.
pub struct Gateway {
    pub host: HostInfo,
    pub sessions: Sessions,
    pub(crate) backends: HashMap<BackendId, Arc<Backend>>,
    pub(crate) rules: Rules,
    pub(crate) resolver: Arc<dyn ConflictResolver>,
    pub(crate) last_seen: LastSeen,
    pub(crate) slots: Mutex<BTreeMap<BackendId, Slot>>,
    pub(crate) subscriptions: Subscriptions,
    /// Watchers that are gone.
    pub(crate) departed: mpsc::UnboundedSender<Arc<str>>,
    departures: Mutex<Option<mpsc::UnboundedReceiver<Arc<str>>>>,
    pub(crate) parked: ParkedCalls,
    pub(crate) waiting_tasks: WaitingTasks,
    /// How long anything waits for what a client is asked.
    pub(crate) input_timeout: Duration,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) nudge: Notify,
    /// Fires when the backends are about to end: no more catalogs.
    stopping: CancellationToken,
    pub(crate) discoveries: Semaphore,
    pub(crate) patience: Duration,
    pub(crate) started: Instant,
    /// The most verbose level that any client asked for.
    pub(crate) log_level: watch::Sender<Option<LogLevel>>,
    pub(crate) tool_search: Option<Arc<ToolSearch>>,
    /// By the names that clients know.
    pub(crate) composites: IndexMap<Arc<str>, Arc<Composite>>,
    pub(crate) runs: Runs,
    /// For runs, which outlive the requests that began them.
    me: Weak<Self>,
    all_or_nothing: bool,
    catalog: ArcSwap<Catalog>,
    standing: watch::Sender<Standing>,
    events: broadcast::Sender<GatewayEvent>,
}

/// What is known of one backend's offer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    pub discovered: Option<Arc<Discovered>>,
    /// Whether calls can succeed now.
    pub available: bool,
    /// Whether the first catalog need not wait for it any more.
    pub settled: bool,
    /// Why its lists could not be read, if so.
    pub error: Option<String>,
}

/// Whether there is a catalog yet.
#[derive(Clone, Debug)]
enum Standing {
    Waiting,
    Stands,
    /// The very first catalog could not be built.
    Failed(Arc<AggregateError>),
}

/// Something that clients may want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayEvent {
    /// The list of this kind differs from before.
    ListChanged(Kind),
    /// A resource changed, by its advertised URI.
    ResourceUpdated { uri: Arc<str> },
}

/// One backend, for `/status`, `doctor` and `tools`.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    #[serde(flatten)]
    pub report: vmcp_backend::BackendReport,
    /// In the words of `/status`: `healthy`, `unhealthy`, or `unknown` while it is starting or not needed yet.
    pub health: &'static str,
    /// How the host proves to the backend who it is: `header_injection` or `unauthenticated`.
    pub auth_type: &'static str,
    /// Tools, prompts, resources and templates it offered when it was last asked.
    pub offers: [usize; 4],
    /// Why its lists could not be read, if so.
    pub discovery_error: Option<String>,
}

impl Gateway {
    pub fn new(options: GatewayOptions) -> Arc<Self> {
        let recall = |backend: &Arc<Backend>| {
            let discovered = options.last_seen.recall(backend.id(), &reached(backend)).map(Arc::new);
            (backend.id().clone(), Slot { discovered, ..Slot::default() })
        };
        let slots = options.backends.iter().map(recall).collect();
        let (departed, departures) = mpsc::unbounded_channel();
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            slots: Mutex::new(slots),
            host: options.host,
            sessions: Sessions::new(options.sealer.clone()),
            backends: options.backends.into_iter().map(|backend| (backend.id().clone(), backend)).collect(),
            rules: options.rules,
            resolver: options.resolver,
            last_seen: options.last_seen,
            subscriptions: Subscriptions::default(),
            departed,
            departures: Mutex::new(Some(departures)),
            waiting_tasks: WaitingTasks::default(),
            parked: ParkedCalls::new(options.sealer.clone(), options.input_timeout, options.run_lifetime),
            input_timeout: options.input_timeout,
            sealer: options.sealer,
            nudge: Notify::new(),
            stopping: CancellationToken::new(),
            discoveries: Semaphore::new(PARALLEL_DISCOVERIES),
            patience: options.patience,
            started: Instant::now(),
            log_level: watch::Sender::new(None),
            tool_search: options.tool_search,
            composites: options.composites.into_iter().map(|one| (one.name.clone(), one)).collect(),
            runs: Runs::new(options.runs, options.revive),
            all_or_nothing: options.all_or_nothing,
            catalog: ArcSwap::default(),
            standing: watch::Sender::new(Standing::Waiting),
            events: broadcast::Sender::new(EVENT_BACKLOG),
        })
    }

    /// The gateway for what outlives a borrow of it.
    pub(crate) fn shared(&self) -> Arc<Self> {
        self.me.upgrade().expect("whoever calls it has one")
    }

    /// Starts the backends, and keeps the catalog up to date until `shutdown`.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker, shutdown: &CancellationToken) {
        for backend in self.backends.values() {
            backend.start();
            let following = refresh::keep_discovered(self.clone(), backend.clone());
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(following));
        }
        if let Some(search) = self.tool_search.clone() {
            let filling = async move { search.optimizer().keep_filled().await };
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(filling));
        }
        let aggregating = refresh::keep_aggregated(self.clone(), self.stopping.clone());
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(aggregating));
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(refresh::sweep_sessions(self.clone())));
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(refresh::sweep_parked(self.clone())));
        if !self.composites.is_empty() {
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(runs::keep_going(self.clone())));
        }
        if let Some(departures) = self.departures.lock().expect("no panic while locked").take() {
            let forgetting = refresh::forget_departed(self.clone(), departures);
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(forgetting));
        }
    }

    /// The catalog as it is now, empty before the first.
    pub fn current_catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The current catalog; waits for the first.
    ///
    /// # Errors
    /// When the first catalog could not be built.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Arc<AggregateError>> {
        let current = self.catalog.load_full();
        if current.generation > 0 {
            return Ok(current);
        }
        let mut standing = self.standing.subscribe();
        let settled = standing.wait_for(|standing| !matches!(standing, Standing::Waiting)).await;
        match settled.map(|standing| standing.clone()) {
            Ok(Standing::Failed(error)) => Err(error),
            _ => Ok(self.catalog.load_full()),
        }
    }

    /// Whether requests can be answered in full, or why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.catalog.load().generation == 0 {
            return Err("the first catalog is not built yet".into());
        }
        self.all_up()
    }

    /// Whether all backends are up, where the configuration wants all or nothing; else which are down.
    pub(crate) fn all_up(&self) -> Result<(), String> {
        if !self.all_or_nothing {
            return Ok(());
        }
        let down = |(id, backend): (&BackendId, &Arc<Backend>)| {
            matches!(*backend.state().borrow(), BackendState::Failed { .. } | BackendState::Stopped)
                .then(|| id.to_string())
        };
        let mut down: Vec<_> = self.backends.iter().filter_map(down).collect();
        if !down.is_empty() {
            down.sort();
            return Err(format!("`partialFailureMode` is `fail` and these backends are down: {}", down.join(", ")));
        }
        Ok(())
    }

    /// What happens from now on. A listener that lags loses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<GatewayEvent> {
        self.events.subscribe()
    }

    /// All backends, by name.
    pub fn status(&self) -> Vec<BackendStatus> {
        let slots = self.slots.lock().expect("no panic while locked");
        let status = |(id, slot): (&BackendId, &Slot)| {
            let report = self.backends[id].report();
            let health = match report.state {
                "ready" if slot.error.is_none() => "healthy",
                "ready" | "failed" | "stopped" => "unhealthy",
                _ => "unknown",
            };
            let offers = Kind::ALL.map(|kind| slot.discovered.as_ref().map_or(0, |found| found.of(kind).len()));
            let auth_type = match self.backends[id].spec().transport.sends_credentials() {
                true => "header_injection",
                false => "unauthenticated",
            };
            BackendStatus { report, health, auth_type, offers, discovery_error: slot.error.clone() }
        };
        slots.iter().map(status).collect()
    }

    /// The label of the component that decides names.
    pub fn resolver_label(&self) -> &str {
        self.resolver.label()
    }

    /// Tool search, where it is on.
    pub fn tool_search(&self) -> Option<&Arc<ToolSearch>> {
        self.tool_search.as_ref()
    }

    /// Ends a session: its requests are cancelled, and what only it watched is watched no more.
    pub async fn end_session(&self, session: &Session) {
        self.sessions.end(session);
        self.forget_watcher(&session.id).await;
        if session.keeps_roots() {
            self.backends.values().for_each(|backend| backend.end_scope(&session.id));
        }
    }

    /// Takes a notification of a legacy client that is not about one of its requests.
    pub fn take_notice(&self, session: &Session, notification: &Notification) {
        if notification.method == "notifications/roots/list_changed" && session.keeps_roots() {
            self.backends.values().for_each(|backend| backend.notify_scope(&session.id, notification));
        }
    }

    /// The host is about to end: runs that outlive it are not cancelled any more by clients that leave.
    pub fn begin_stop(&self) {
        self.runs.begin_stop();
    }

    /// Ends all backends, after the runs that call them.
    pub async fn stop(&self, grace: Duration) {
        // A catalog without the backends that end now would be nobody's, and cost the index all that it knows.
        self.stopping.cancel();
        self.runs.stop().await;
        futures::future::join_all(self.backends.values().map(|backend| backend.stop(grace))).await;
    }

    /// Has the backends send log messages from `level` on; which client sees which is decided for each client.
    pub(crate) fn raise_backend_log_level(&self, level: LogLevel) {
        self.log_level.send_if_modified(|current| {
            let is_more_verbose = current.is_none_or(|current| level < current);
            if is_more_verbose {
                *current = Some(level);
            }
            is_more_verbose
        });
    }

    pub(crate) fn emit(&self, event: GatewayEvent) {
        // Nobody listening is a normal case.
        let _ = self.events.send(event);
    }

    /// Changes what is known of a backend, and has the catalog rebuilt if that made a difference.
    pub(crate) fn update_slot(&self, backend: &BackendId, change: impl FnOnce(&mut Slot) -> bool) {
        let changed = self.slots.lock().expect("no panic while locked").get_mut(backend).is_some_and(change);
        if changed {
            self.nudge.notify_one();
        }
    }

    /// What goes into the next catalog, or `None` while the first one still waits for backends.
    pub fn offers(&self) -> Option<Vec<Offer>> {
        let slots = self.slots.lock().expect("no panic while locked");
        let is_first = self.catalog.load().generation == 0;
        if is_first && self.started.elapsed() < self.patience && slots.values().any(|slot| !slot.settled) {
            return None;
        }
        let offer = |(backend, slot): (&BackendId, &Slot)| {
            let discovered = slot.discovered.clone()?;
            Some(Offer { backend: backend.clone(), discovered, available: slot.available })
        };
        Some(slots.iter().filter_map(offer).collect())
    }

    /// Puts a new catalog in place and tells the clients what is different.
    pub(crate) fn publish(&self, catalog: Catalog) {
        let earlier = self.catalog.swap(Arc::new(catalog));
        let current = self.catalog.load_full();
        self.standing.send_replace(Standing::Stands);
        if earlier.generation > 0 {
            let changes = current.changes_since(&earlier);
            for kind in &changes {
                // Clients hear of resources and templates in one and the same notification.
                if *kind != Kind::ResourceTemplate || !changes.contains(&Kind::Resource) {
                    self.emit(GatewayEvent::ListChanged(*kind));
                }
            }
        }
    }

    /// Notes that no catalog could be built. Returns whether that was the first.
    pub(crate) fn refuse(&self, error: Arc<AggregateError>) -> bool {
        let is_first = self.catalog.load().generation == 0;
        if is_first {
            self.standing.send_replace(Standing::Failed(error));
        }
        is_first
    }
}

/// A digest of how a backend is reached.
pub(crate) fn reached(backend: &Backend) -> String {
    reached_by(&backend.spec().transport)
}

/// A digest of this way to reach a backend.
pub fn reached_by(transport: &Transport) -> String {
    let text = match transport {
        Transport::Stdio { command, args, cwd, .. } => format!("{command:?} {args:?} {cwd:?}"),
        Transport::StreamableHttp { url, .. } | Transport::Sse { url, .. } => url.to_string(),
    };
    hex::encode(Sha256::digest(text))
}
