//! A connection on which both sides speak at any time: stdio, and HTTP+SSE. Calls share it, each with an id of its own; a
//! reply finds its call by that id and nothing else.
//!
//! How bytes get in and out is not here: a transport feeds [`Duplex::accept`] and drains the [`Outbox`].

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
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
    meta::PROGRESS_TOKEN,
    object::Object,
};

use crate::{
    budget::EXHAUSTED,
    compose, exchange,
    http::{HttpClient, PostError},
    line::Skipped,
    message::{BackendChange, BackendRequest, EventSender, ServerMessage, empty_object},
    noise::NoiseGate,
    pending::{Listener, PROGRESS, PendingCalls, Unanswered},
};

/// Requests of the backend that wait for a client at once; more are refused.
const OPEN_SERVER_REQUESTS: usize = 16;

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
    open_server_requests: AtomicUsize,
    /// Only the control connection tells of changes, else each change would be told once per connection.
    changes: Option<broadcast::Sender<BackendChange>>,
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
        changes: Option<broadcast::Sender<BackendChange>>,
        tasks: TaskTracker,
        reply_limit: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            backend,
            host_info,
            outbox,
            pending: PendingCalls::default(),
            next_id: AtomicU64::new(1),
            open_server_requests: AtomicUsize::new(0),
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
        let outcome = self.exchange(id, message, &listener, Some(listener.clone()), limit, true).await;
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
        self.exchange(id, compose::write(id, method, params), &Listener::new(events, None), None, limit, false).await
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
        self.exchange(id, message, &Listener::new(events, None), None, limit, true).await
    }

    /// Sends a notification of the host itself.
    pub(crate) async fn notify(&self, method: &str) -> Result<(), CallError> {
        let sent = self.outbox.send(envelope::write_notification(method, None)).await;
        sent.map_err(|source| CallError::ConnectionLost { backend: self.backend.clone(), source })
    }

    async fn exchange(
        self: &Arc<Self>,
        id: u64,
        message: Bytes,
        clock: &Listener,
        listener: Option<Arc<Listener>>,
        limit: Duration,
        cancellable: bool,
    ) -> Result<Reply, CallError> {
        let (answer, mut answered) = oneshot::channel();
        if let Err(why) = self.pending.insert(id, answer, listener) {
            return Err(self.lost(&why));
        }
        let mut guard = CancelOnDrop { duplex: self, id, reason: "the caller went away", cancellable };
        let exchange = async {
            tokio::select! {
                biased;
                reply = &mut answered => return self.outcome(reply),
                sent = self.outbox.send(message) => if let Err(source) = sent {
                    // The connection's own end says more than a write that failed because of it.
                    let ended = tokio::time::timeout(Duration::from_millis(100), &mut answered).await;
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

    /// Takes one incoming message; false when it is no JSON at all.
    pub(crate) async fn accept(self: &Arc<Self>, text: Bytes) -> bool {
        match exchange::parse(text).await {
            Ok(Message::Response(response)) => match response.id.as_ref().and_then(|id| id.as_str().parse().ok()) {
                Some(id) if self.pending.resolve(id, Ok(response.reply)) => {}
                _ => self.complain("dropped a reply that answers no waiting call"),
            },
            Ok(Message::Notification(notification)) => self.hear(notification),
            Ok(Message::Request(request)) => self.consider(request),
            Err(EnvelopeError::NotJson(_)) => return false,
            Err(error @ EnvelopeError::NotJsonRpc { .. }) => self.complain(&error.to_string()),
        }
        true
    }

    /// Takes note of a message that was not kept; false when it cannot be told whose it was.
    pub(crate) fn skip(&self, skipped: &Skipped) -> bool {
        let why = if skipped.is_for_room() { Unanswered::NoRoom } else { Unanswered::TooLong };
        skipped.response_id().is_some_and(|id| self.pending.resolve(id, Err(why)))
    }

    fn hear(&self, notification: Notification) {
        if notification.method == PROGRESS {
            let token = progress_id(notification.params.as_ref());
            if let Some(listener) = token.and_then(|id| self.pending.listener(id)) {
                listener.progress(notification.params.as_ref(), &self.tasks);
            }
        } else if let Some(change) = change_told_by(&notification) {
            if let Some(changes) = &self.changes {
                drop(changes.send(change));
            }
        } else if let Some(listener) = self.pending.sole_listener() {
            listener.notify(notification, &self.tasks);
        } else {
            debug!(target: "backend", backend = %self.backend, method = notification.method, "a notification that belongs to no call");
        }
    }

    /// Answers a request of the backend, or hands it to the client that it must be meant for.
    fn consider(self: &Arc<Self>, request: Request) {
        if request.method == "ping" {
            return self.send_aside(envelope::write_response(Some(&request.id), &Reply::Result(empty_object())));
        }
        let (id, method) = (request.id.clone(), request.method.clone());
        let (reply, answered) = oneshot::channel();
        let taken = method != "roots/list"
            && self.open_server_requests.load(Ordering::Relaxed) < OPEN_SERVER_REQUESTS
            && self.pending.sole_listener().is_some_and(|l| l.offer(ServerMessage::Request { request, reply }).is_ok());
        if !taken {
            return self.send_aside(compose::not_offered(&id, &method));
        }
        self.open_server_requests.fetch_add(1, Ordering::Relaxed);
        let duplex = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = duplex.closed.cancelled() => {}
                answer = answered => {
                    let message = match answer {
                        Ok(answer) => envelope::write_response(Some(&id), &answer),
                        Err(_) => compose::not_offered(&id, &method),
                    };
                    drop(duplex.outbox.send(message).await);
                }
            }
            duplex.open_server_requests.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Sends without waiting; a backend that does not read misses it.
    fn send_aside(self: &Arc<Self>, message: Bytes) {
        match &self.outbox {
            Outbox::Pipe(pipe) => drop(pipe.try_send(message)),
            Outbox::Post { .. } if tokio::runtime::Handle::try_current().is_ok() => {
                let duplex = self.clone();
                self.tasks.spawn(async move { drop(duplex.outbox.send(message).await) });
            }
            Outbox::Post { .. } => {}
        }
    }

    /// Ends the connection and every call on it at once.
    pub(crate) fn close(&self, why: impl Into<Arc<str>>) {
        let why = why.into();
        self.why_closed.lock().expect("no panic while held").get_or_insert_with(|| why.clone());
        self.pending.close(&why);
        self.closed.cancel();
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
        if self.duplex.pending.forget(self.id) && self.cancellable {
            self.duplex.send_aside(compose::cancelled(self.id, self.reason));
        }
    }
}
