//! A connection on which both sides speak at any time: stdio, and HTTP+SSE. Calls share it, each with an id of its own; a
//! reply finds its call by that id and nothing else.
//!
//! How bytes get in and out is not here: a transport feeds [`Duplex::accept`] and drains the [`Outbox`].

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
    sync::{broadcast, mpsc, mpsc::error::TrySendError, oneshot},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use vmcp_core::{
    BoxError,
    call::{CallError, Reply},
    capability::Kind,
    id::BackendId,
    json::RawJson,
};
use vmcp_mcp::{
    envelope::{self, EnvelopeError, Message, Notification, Request},
    era::Era,
    meta::{PROGRESS_TOKEN, SUBSCRIPTION_ID},
    object::Object,
};

use crate::{
    audience::{Audience, CANCELLED, Role, Taken},
    budget::EXHAUSTED,
    compose, exchange,
    http::{HttpClient, PostError},
    line::Skipped,
    listener::{Listener, PROGRESS},
    message::{BackendChange, BackendRequest, EventSender, empty_object},
    noise::NoiseGate,
    pending::{PendingCalls, Unanswered},
};

/// What confirms a subscription of a modern server.
pub(crate) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// What a backend that does not read has to take a message that nobody waits for; then it misses it.
const ASIDE: Duration = Duration::from_secs(5);

/// Where outgoing messages go.
pub(crate) enum Outbox {
    /// To a task that writes them to a pipe. Bounded; waiting for room is waiting for the backend to read.
    Pipe(mpsc::Sender<Bytes>),
    /// To the URL that the server named.
    Post { client: Arc<HttpClient>, url: url::Url },
}

impl Outbox {
    async fn send(&self, message: Bytes) -> Result<(), BoxError> {
        match self {
            Self::Pipe(pipe) => pipe.send(message).await.map_err(|_| "its input is closed".into()),
            Self::Post { client, url } => client.post_message(url, message).await.map_err(PostError::into_source),
        }
    }
}

pub(crate) struct Duplex {
    backend: BackendId,
    host_info: RawJson,
    outbox: Outbox,
    pending: PendingCalls,
    next_id: AtomicU64,
    audience: Arc<Audience>,
    /// Subscriptions at a modern server by the id of the request, and who waits for the confirmation.
    subscriptions: Mutex<HashMap<u64, Option<oneshot::Sender<()>>>>,
    changes: broadcast::Sender<BackendChange>,
    tasks: TaskTracker,
    closed: CancellationToken,
    why_closed: Mutex<Option<Arc<str>>>,
    last_used: Mutex<Instant>,
    noise: NoiseGate,
    reply_limit: usize,
}

impl Duplex {
    pub(crate) fn new(
        backend: BackendId,
        host_info: RawJson,
        outbox: Outbox,
        audience: Arc<Audience>,
        changes: broadcast::Sender<BackendChange>,
        tasks: TaskTracker,
        reply_limit: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            backend,
            host_info,
            outbox,
            pending: PendingCalls::default(),
            next_id: AtomicU64::new(1),
            audience,
            subscriptions: Mutex::default(),
            changes,
            tasks,
            closed: CancellationToken::new(),
            why_closed: Mutex::new(None),
            last_used: Mutex::new(Instant::now()),
            noise: NoiseGate::new(),
            reply_limit,
        })
    }

    /// One client's call. Dropping the future, or a timeout, tells the backend that nobody waits any more.
    pub(crate) async fn call(
        self: &Arc<Self>,
        mut request: BackendRequest,
        era: Era,
        events: EventSender,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = compose::request(&mut request, id, era, &self.host_info);
        let listener = Listener::new(events, request.meta.progress_token.take());
        *self.last_used.lock().expect("no panic while held") = Instant::now();
        let _calling = self.audience.enter(id, &listener);
        let outcome = self.exchange(id, message, &listener, limit, true).await;
        *self.last_used.lock().expect("no panic while held") = Instant::now();
        outcome
    }

    /// A request of the host itself, with `params` as they are. It is not cancelled: `initialize` must not be.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: &Object,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (events, _) = mpsc::channel(1);
        self.exchange(id, compose::write(id, method, params), &Listener::new(events, None), limit, false).await
    }

    /// A request of the host itself in the modern form.
    pub(crate) async fn ask_modern(
        self: &Arc<Self>,
        method: &str,
        params: Object,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (events, _) = mpsc::channel(1);
        let message = compose::own_modern_request(id, method, params, &empty_object(), &self.host_info);
        self.exchange(id, message, &Listener::new(events, None), limit, true).await
    }

    /// A subscription to a modern server, for as long as it lasts. Dropping the future ends it.
    ///
    /// - `confirmed`: told when the server has taken note of it
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        method: &str,
        params: Object,
        confirmed: oneshot::Sender<()>,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (events, _) = mpsc::channel(1);
        let message = compose::own_modern_request(id, method, params, &empty_object(), &self.host_info);
        let _subscribed = Subscribed::new(self, id, confirmed);
        self.exchange(id, message, &Listener::new(events, None), limit, true).await
    }

    /// Ends the handshake: from now on both sides may ask.
    pub(crate) async fn begin(&self, method: &str) -> Result<(), CallError> {
        self.notify(envelope::write_notification(method, None)).await?;
        self.audience.open();
        Ok(())
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, message: Bytes) -> Result<(), CallError> {
        let sent = self.outbox.send(message).await;
        sent.map_err(|source| CallError::ConnectionLost { backend: self.backend.clone(), source })
    }

    async fn exchange(
        self: &Arc<Self>,
        id: u64,
        message: Bytes,
        clock: &Listener,
        limit: Duration,
        cancellable: bool,
    ) -> Result<Reply, CallError> {
        let (answer, mut answered) = oneshot::channel();
        if let Err(why) = self.pending.insert(id, answer) {
            return Err(self.lost(&why));
        }
        let mut guard = CancelOnDrop { duplex: self, id, reason: "the caller went away", cancellable };
        let exchange = async {
            tokio::select! {
                biased;
                reply = &mut answered => return self.outcome(reply),
                sent = self.outbox.send(message) => if let Err(source) = sent {
                    // The connection's own end says more than a write that failed because of it.
                    let ended = timeout(Duration::from_millis(100), &mut answered).await;
                    return match ended {
                        Ok(reply) => self.outcome(reply),
                        Err(_) => Err(CallError::ConnectionLost { backend: self.backend.clone(), source }),
                    };
                }
            }
            self.outcome(answered.await)
        };
        match clock.within(limit, exchange).await {
            Some(outcome) => outcome,
            None => {
                guard.reason = "it took too long";
                Err(CallError::Timeout { backend: self.backend.clone(), after: limit })
            }
        }
    }

    fn outcome(&self, reply: Result<Result<Reply, Unanswered>, oneshot::error::RecvError>) -> Result<Reply, CallError> {
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Unanswered::TooLong)) => {
                Err(CallError::ReplyTooLarge { backend: self.backend.clone(), limit: self.reply_limit })
            }
            Ok(Err(Unanswered::NoRoom)) => {
                Err(CallError::Unavailable { backend: self.backend.clone(), reason: EXHAUSTED.to_owned() })
            }
            Ok(Err(Unanswered::Lost(why))) => Err(self.lost(&why)),
            Err(_) => Err(self.lost("the connection was given up")),
        }
    }

    fn lost(&self, why: &str) -> CallError {
        CallError::ConnectionLost { backend: self.backend.clone(), source: why.into() }
    }

    /// Takes one incoming message, or several in a batch; false when it is no JSON at all.
    pub(crate) async fn accept(self: &Arc<Self>, text: Bytes) -> bool {
        for message in exchange::parse(text).await {
            match message {
                Ok(Message::Response(response)) => match response.id.as_ref().and_then(|id| id.as_str().parse().ok()) {
                    Some(id) if self.pending.resolve(id, Ok(response.reply)) => {}
                    _ => self.complain("dropped a reply that answers no waiting call"),
                },
                Ok(Message::Notification(notification)) => self.hear(notification),
                Ok(Message::Request(request)) => self.consider(request),
                Err(EnvelopeError::NotJson(_)) => return false,
                Err(error @ EnvelopeError::NotJsonRpc { .. }) => self.complain(&error.to_string()),
            }
        }
        true
    }

    /// Takes note of a message that was not kept; false when it cannot be told whose it was.
    pub(crate) fn skip(&self, skipped: &Skipped) -> bool {
        let why = if skipped.is_for_room() { Unanswered::NoRoom } else { Unanswered::TooLong };
        skipped.response_id().is_some_and(|id| self.pending.resolve(id, Err(why)))
    }

    fn hear(&self, notification: Notification) {
        match notification.method.as_str() {
            PROGRESS => {
                let token = progress_id(notification.params.as_ref());
                if let Some(listener) = token.and_then(|id| self.audience.listener(id)) {
                    listener.progress(notification.params.as_ref(), &self.tasks);
                }
            }
            CANCELLED => {
                self.audience.withdraw(&notification);
                self.end_subscription(&notification);
            }
            ACKNOWLEDGED => self.confirm(&notification),
            _ => self.pass_on(notification),
        }
    }

    fn pass_on(&self, notification: Notification) {
        if let Some(change) = change_told_by(&notification) {
            // Sessions of clients tell of no lists, else each change would be told once per session.
            let is_resource = matches!(change, BackendChange::ResourceUpdated { .. });
            if is_resource || !matches!(self.audience.role, Role::Clients { .. }) {
                drop(self.changes.send(change));
            }
        } else if let Some(listener) = self.audience.addressee() {
            listener.notify(notification, &self.tasks);
        } else {
            debug!(target: "backend", backend = %self.backend, method = notification.method, "a notification that belongs to no call");
        }
    }

    fn confirm(&self, acknowledgement: &Notification) {
        let meta = Object::parse_lenient(acknowledgement.params.as_ref()).get_object("_meta");
        let id: Option<u64> = meta.get(SUBSCRIPTION_ID).and_then(|id| id.as_str().trim_matches('"').parse().ok());
        if let Some(confirmed) = id.and_then(|id| self.subscriptions().get_mut(&id)?.take()) {
            let _ = confirmed.send(());
        }
    }

    /// A modern server ends a subscription by cancelling the request for it.
    fn end_subscription(&self, cancellation: &Notification) {
        let id = Object::parse_lenient(cancellation.params.as_ref())
            .get("requestId")
            .and_then(|id| id.as_str().parse().ok());
        if let Some(id) = id.filter(|id| self.subscriptions().contains_key(id)) {
            self.pending.resolve(id, Ok(Reply::Result(empty_object())));
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<u64, Option<oneshot::Sender<()>>>> {
        self.subscriptions.lock().expect("no panic while held")
    }

    /// Answers a request of the backend, or hands it to the client that it must be meant for.
    fn consider(self: &Arc<Self>, request: Request) {
        match self.audience.take(request, None) {
            Taken::Answered(message) => self.send_aside(message),
            Taken::Asked(question) => {
                let duplex = self.clone();
                self.tasks.spawn(async move {
                    if let Some(message) = question.answer().await {
                        drop(duplex.outbox.send(message).await);
                    }
                });
            }
            Taken::Known => {}
        }
    }

    /// Sends without waiting, in the order of the calls of this as long as the backend reads.
    fn send_aside(self: &Arc<Self>, message: Bytes) {
        let late = match &self.outbox {
            Outbox::Pipe(pipe) => match pipe.try_send(message) {
                Err(TrySendError::Full(message)) => message,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            },
            Outbox::Post { .. } => message,
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            let duplex = self.clone();
            self.tasks.spawn(async move { drop(timeout(ASIDE, duplex.outbox.send(late)).await) });
        }
    }

    /// Waits until the server has answered every call that was given up, at most for `patience`; whether it has.
    pub(crate) async fn settled(&self, patience: Duration) -> bool {
        let has_settled = timeout(patience, self.pending.settled()).await.is_ok();
        self.pending.forget_abandoned();
        has_settled
    }

    /// Ends the connection and every call on it at once.
    pub(crate) fn close(&self, why: impl Into<Arc<str>>) {
        let why = why.into();
        self.why_closed.lock().expect("no panic while held").get_or_insert_with(|| why.clone());
        self.pending.close(&why);
        self.audience.close();
        self.closed.cancel();
    }

    pub(crate) fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    pub(crate) fn backend(&self) -> &BackendId {
        &self.backend
    }

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    pub(crate) fn why_closed(&self) -> Option<Arc<str>> {
        self.why_closed.lock().expect("no panic while held").clone()
    }

    pub(crate) fn last_used(&self) -> Instant {
        *self.last_used.lock().expect("no panic while held")
    }

    /// Logs a breach of the protocol, unless there are too many.
    pub(crate) fn complain(&self, what: &str) {
        if let Some(held) = self.noise.pass() {
            warn!(target: "backend", backend = %self.backend, held_back = held, "{what}");
        }
    }
}

/// The request that a progress notification speaks of; our tokens are ids.
pub(crate) fn progress_id(params: Option<&RawJson>) -> Option<u64> {
    Object::parse_lenient(params).get(PROGRESS_TOKEN)?.as_str().parse().ok()
}

/// The change that `notification` tells, if it tells one.
pub(crate) fn change_told_by(notification: &Notification) -> Option<BackendChange> {
    match notification.method.as_str() {
        "notifications/tools/list_changed" => Some(BackendChange::ListChanged(Kind::Tool)),
        "notifications/prompts/list_changed" => Some(BackendChange::ListChanged(Kind::Prompt)),
        "notifications/resources/list_changed" => Some(BackendChange::ListChanged(Kind::Resource)),
        "notifications/resources/updated" => {
            let uri = Object::parse_lenient(notification.params.as_ref()).get_string("uri")?;
            Some(BackendChange::ResourceUpdated { uri })
        }
        _ => None,
    }
}

/// Tells the backend when a call ends without its reply.
struct CancelOnDrop<'a> {
    duplex: &'a Arc<Duplex>,
    id: u64,
    reason: &'static str,
    cancellable: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.duplex.pending.abandon(self.id) && self.cancellable {
            self.duplex.send_aside(compose::cancelled(self.id, self.reason));
        }
    }
}

/// Keeps a subscription in the table of its connection.
struct Subscribed<'a> {
    duplex: &'a Duplex,
    id: u64,
}

impl<'a> Subscribed<'a> {
    fn new(duplex: &'a Duplex, id: u64, confirmed: oneshot::Sender<()>) -> Self {
        duplex.subscriptions().insert(id, Some(confirmed));
        Self { duplex, id }
    }
}

impl Drop for Subscribed<'_> {
    fn drop(&mut self) {
        self.duplex.subscriptions().remove(&self.id);
    }
}
