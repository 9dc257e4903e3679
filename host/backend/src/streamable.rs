//! Streamable HTTP: every call is a POST of its own, answered with JSON or with a stream of events that ends in the reply.
//!
//! A modern endpoint keeps nothing between calls. A legacy one has sessions: [`LegacySession`] makes its session anew, once
//! and for all calls, when the server has forgotten it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    sync::{Notify, broadcast, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use vmcp_core::{
    call::{CallError, Reply},
    json::RawJson,
};
use vmcp_mcp::{
    envelope::{self, Message, Notification},
    era::{Era, Revision},
    header,
    object::Object,
};

use crate::{
    audience::{Audience, CANCELLED, Role},
    compose,
    duplex::{change_told_by, progress_id},
    exchange::{Exchange, Fault},
    handshake::{self, BackendInfo},
    http::HttpClient,
    listener::{Listener, PROGRESS},
    message::{BackendChange, BackendRequest, EventSender, empty_object},
};

/// Longest wait for the server to take a cancellation or the end of a session.
pub(crate) const ASIDE: Duration = Duration::from_secs(5);

/// One URL and what every exchange with it needs.
pub(crate) struct Endpoint {
    pub(crate) client: Arc<HttpClient>,
    pub(crate) host_info: RawJson,
    pub(crate) changes: broadcast::Sender<BackendChange>,
    pub(crate) tasks: TaskTracker,
    /// Ids are unique per endpoint, so a progress token is too.
    next_id: AtomicU64,
    /// Sent with every modern message.
    modern_headers: HeaderMap,
}

impl Endpoint {
    pub(crate) fn new(
        client: Arc<HttpClient>,
        host_info: RawJson,
        changes: broadcast::Sender<BackendChange>,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let mut modern_headers = client.message_headers();
        let revision = HeaderValue::from_static(Revision::LATEST_MODERN.as_str());
        modern_headers.insert(header::PROTOCOL_VERSION, revision);
        Arc::new(Self { client, host_info, changes, tasks, next_id: AtomicU64::new(1), modern_headers })
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// One client's call to a modern server. Dropping the future closes the stream, which cancels the call.
    pub(crate) async fn call(
        self: &Arc<Self>,
        mut request: BackendRequest,
        events: EventSender,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.next_id();
        let name = header::named_param(&request.method).and_then(|param| request.params.get_string(param));
        let mut headers = self.modern_message_headers(&request.method, name.as_deref());
        headers.extend(std::mem::take(&mut request.headers));
        let body = compose::request(&mut request, id, Era::Modern, &self.host_info);
        let listener = Listener::new(events, request.meta.progress_token.take());
        self.run(id, headers, body, &listener, limit).await
    }

    /// A request of the host itself to a modern server.
    pub(crate) async fn ask_modern(
        self: &Arc<Self>,
        method: &str,
        params: Object,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.next_id();
        let headers = self.modern_message_headers(method, None);
        let body = compose::own_modern_request(id, method, params, &empty_object(), &self.host_info);
        self.run(id, headers, body, &deaf(), limit).await
    }

    async fn run(
        self: &Arc<Self>,
        id: u64,
        headers: HeaderMap,
        body: Bytes,
        listener: &Arc<Listener>,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let of_more = &self.modern_headers;
        let exchange = Exchange { endpoint: self, headers: of_more, id, listener, audience: None, has_session: false };
        match listener.within(limit, exchange.run(headers, body)).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(fault)) => Err(fault.into_call_error(self.client.backend())),
            None => Err(CallError::Timeout { backend: self.client.backend().clone(), after: limit }),
        }
    }

    pub(crate) fn modern_message_headers(&self, method: &str, name: Option<&str>) -> HeaderMap {
        let mut headers = self.modern_headers.clone();
        put(&mut headers, header::METHOD, method);
        if let Some(name) = name {
            put(&mut headers, header::NAME, &header::encode(name));
        }
        headers
    }
}

/// Sets a header unless the value cannot be one.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Nobody behind a request of the host itself.
pub(crate) fn deaf() -> Arc<Listener> {
    Listener::new(mpsc::channel(1).0, None)
}

/// A session with a legacy server.
pub(crate) struct LegacySession {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) audience: Arc<Audience>,
    established: ArcSwap<Established>,
    renewing: tokio::sync::Mutex<()>,
    renewed: Notify,
    /// Fires when the host ends the session.
    pub(crate) ended: CancellationToken,
    last_used: Mutex<Instant>,
}

/// What `initialize` brought.
pub(crate) struct Established {
    /// Of every message: protocol version and session id among them.
    headers: HeaderMap,
    has_id: bool,
    pub(crate) info: BackendInfo,
}

impl LegacySession {
    pub(crate) async fn open(
        endpoint: Arc<Endpoint>,
        audience: Arc<Audience>,
        limit: Duration,
    ) -> Result<Self, SessionError> {
        let established = establish(&endpoint, &audience, limit).await?;
        Ok(Self {
            endpoint,
            audience,
            established: ArcSwap::from_pointee(established),
            renewing: tokio::sync::Mutex::default(),
            renewed: Notify::new(),
            ended: CancellationToken::new(),
            last_used: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn established(&self) -> Arc<Established> {
        self.established.load_full()
    }

    /// One client's call. Dropping the future, or a timeout, tells the server that nobody waits any more.
    pub(crate) async fn call(
        &self,
        mut request: BackendRequest,
        events: EventSender,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.endpoint.next_id();
        let body = compose::request(&mut request, id, Era::Legacy, &self.endpoint.host_info);
        let listener = Listener::new(events, request.meta.progress_token.take());
        self.touch();
        let _calling = self.audience.enter(id, &listener);
        let outcome = self.run(id, body, &listener, limit).await;
        self.touch();
        outcome
    }

    /// A request of the host itself.
    pub(crate) async fn ask(&self, method: &str, params: &Object, limit: Duration) -> Result<Reply, CallError> {
        let id = self.endpoint.next_id();
        self.run(id, compose::write(id, method, params), &deaf(), limit).await
    }

    async fn run(&self, id: u64, body: Bytes, listener: &Arc<Listener>, limit: Duration) -> Result<Reply, CallError> {
        let backend = self.endpoint.client.backend();
        let mut guard = CancelOnDrop { session: self, id, reason: "the caller went away", is_open: true };
        let outcome = listener.within(limit, self.exchange(id, body, listener, limit)).await;
        match outcome {
            Some(outcome) => {
                guard.is_open = false;
                if matches!(outcome, Err(Fault::Lost(_))) {
                    self.audience.orphan();
                }
                outcome.map_err(|fault| fault.into_call_error(backend))
            }
            None => {
                guard.reason = "it took too long";
                Err(CallError::Timeout { backend: backend.clone(), after: limit })
            }
        }
    }

    /// Sends the message; once more in a new session if the server does not know the present one any more.
    async fn exchange(&self, id: u64, body: Bytes, listener: &Arc<Listener>, limit: Duration) -> Result<Reply, Fault> {
        let mut established = self.established();
        let mut may_renew = true;
        loop {
            match self.exchange_in(&established, id, body.clone(), listener).await {
                Err(Fault::SessionGone) if may_renew => {
                    may_renew = false;
                    established = Box::pin(self.renew(&established, limit)).await.map_err(SessionError::into_fault)?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn exchange_in(
        &self,
        established: &Established,
        id: u64,
        body: Bytes,
        listener: &Arc<Listener>,
    ) -> Result<Reply, Fault> {
        let Established { headers, has_id, .. } = established;
        let (endpoint, audience) = (&self.endpoint, Some(&self.audience));
        let exchange = Exchange { endpoint, headers, id, listener, audience, has_session: *has_id };
        exchange.run(headers.clone(), body).await
    }

    /// A new session in place of `stale`; the one that another call has made meanwhile, if so.
    pub(crate) async fn renew(
        &self,
        stale: &Arc<Established>,
        limit: Duration,
    ) -> Result<Arc<Established>, SessionError> {
        let _one_at_a_time = self.renewing.lock().await;
        let current = self.established();
        if !Arc::ptr_eq(&current, stale) {
            return Ok(current);
        }
        debug!(backend = %self.endpoint.client.backend(), "the server has forgotten the session, making a new one");
        let renewed = Arc::new(establish(&self.endpoint, &self.audience, limit).await?);
        self.established.store(renewed.clone());
        self.renewed.notify_waiters();
        if self.audience.role.is_control() {
            drop(self.endpoint.changes.send(BackendChange::Reconnected));
        }
        Ok(renewed)
    }

    /// Waits until the session is another than `established`.
    pub(crate) async fn superseded(&self, established: &Arc<Established>) {
        let mut renewed = pin!(self.renewed.notified());
        renewed.as_mut().enable();
        if Arc::ptr_eq(&self.established(), established) {
            renewed.await;
        }
    }

    /// Takes a message from the session's own stream, which belongs to no call in particular.
    pub(crate) fn accept(self: &Arc<Self>, message: Message) {
        match message {
            Message::Request(request) => {
                let (session, taken) = (self.clone(), self.audience.take(request, None));
                self.endpoint.tasks.spawn(async move {
                    if let Some(message) = taken.message().await {
                        session.post(message).await;
                    }
                });
            }
            Message::Notification(notification) => self.hear(notification),
            Message::Response(_) => debug!(backend = %self.endpoint.client.backend(), "a reply that answers no call"),
        }
    }

    fn hear(&self, notification: Notification) {
        let tasks = &self.endpoint.tasks;
        if notification.method == PROGRESS {
            let id = progress_id(notification.params.as_ref());
            if let Some(listener) = id.and_then(|id| self.audience.listener(id)) {
                listener.progress(notification.params.as_ref(), tasks);
            }
        } else if notification.method == CANCELLED {
            self.audience.withdraw(&notification);
        } else if let Some(change) = change_told_by(&notification) {
            // A client's session tells only of what its calls bring about; the rest is told on the host's own too.
            let is_resource = matches!(change, BackendChange::ResourceUpdated { .. });
            let is_of_clients = matches!(self.audience.role, Role::Clients { .. });
            if is_resource || !is_of_clients || self.audience.has_calls() {
                drop(self.endpoint.changes.send(change));
            }
        } else if let Some(listener) = self.audience.addressee() {
            listener.notify(notification, tasks);
        }
    }

    /// Tells the server that the session ends.
    pub(crate) async fn end(&self, patience: Duration) {
        self.ended.cancel();
        self.audience.close();
        let established = self.established();
        if established.has_id {
            drop(timeout(patience.min(ASIDE), self.endpoint.client.delete(established.headers.clone())).await);
        }
    }

    /// Sends a message that has no reply. A server that does not take it misses it.
    pub(crate) async fn post(&self, message: Bytes) {
        let headers = self.established().headers.clone();
        drop(timeout(ASIDE, self.endpoint.client.post(headers, message)).await);
    }

    pub(crate) fn last_used(&self) -> Instant {
        *self.last_used.lock().expect("no panic while held")
    }

    fn touch(&self) {
        *self.last_used.lock().expect("no panic while held") = Instant::now();
    }
}

impl Established {
    /// Whether the server gave the session an id, and so can forget it.
    pub(crate) fn has_id(&self) -> bool {
        self.has_id
    }

    /// The headers of a request for a stream of the session.
    pub(crate) fn stream_headers(&self, client: &HttpClient) -> HeaderMap {
        let mut headers = client.stream_headers();
        for name in [header::SESSION_ID, header::PROTOCOL_VERSION] {
            if let Some(value) = self.headers.get(name) {
                headers.insert(HeaderName::from_static(name), value.clone());
            }
        }
        headers
    }
}

/// Why there is no legacy session.
pub(crate) enum SessionError {
    /// The server answered, but with no session: it may speak an older transport.
    Status(StatusCode),
    /// It answered something that cannot be used.
    Refused(String),
    Call(Fault),
}

impl SessionError {
    fn into_fault(self) -> Fault {
        match self {
            Self::Status(status) => Fault::Protocol(format!("it answered a new `initialize` with HTTP {status}")),
            Self::Refused(why) => Fault::Protocol(why),
            Self::Call(fault) => fault,
        }
    }
}

/// `initialize` and what belongs to it.
async fn establish(
    endpoint: &Arc<Endpoint>,
    audience: &Arc<Audience>,
    limit: Duration,
) -> Result<Established, SessionError> {
    let client = &endpoint.client;
    let id = endpoint.next_id();
    let params = handshake::initialize_params(&audience.role.capabilities(), &endpoint.host_info);
    let body = compose::write(id, handshake::INITIALIZE, &params);
    let mut headers = client.message_headers();
    let listener = deaf();
    let introduction = async {
        let posted = client.post(headers.clone(), body).await;
        let answer = posted.map_err(|error| SessionError::Call(Fault::from_post(error)))?;
        let status = answer.status();
        if matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            return Err(SessionError::Status(status));
        }
        let session_id = answer.header(header::SESSION_ID).cloned();
        let (headers, listener, audience) = (&headers, &listener, Some(audience));
        let exchange = Exchange { endpoint, headers, id, listener, audience, has_session: false };
        let reply = exchange.read(answer).await.map_err(SessionError::Call)?;
        let info = handshake::read_initialize(&reply).map_err(SessionError::Refused)?;
        Ok((session_id, info))
    };
    let (session_id, info) = match timeout(limit, introduction).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(SessionError::Refused("it did not answer `initialize`".to_owned())),
    };
    let has_id = session_id.is_some();
    if let Some(session_id) = session_id {
        headers.insert(header::SESSION_ID, session_id);
    }
    // Servers before 2025-06-18 do not know the header.
    if Revision::parse(&info.revision).is_some_and(|revision| revision >= Revision::V2025_06_18) {
        put(&mut headers, header::PROTOCOL_VERSION, &info.revision);
    }
    let told = client.post(headers.clone(), envelope::write_notification(handshake::INITIALIZED, None)).await;
    told.map_err(|error| SessionError::Call(Fault::from_post(error)))?;
    audience.open();
    Ok(Established { headers, has_id, info })
}

/// Tells the server when a call ends without its reply.
struct CancelOnDrop<'a> {
    session: &'a LegacySession,
    id: u64,
    reason: &'static str,
    is_open: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        self.session.audience.orphan();
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (endpoint, established) = (self.session.endpoint.clone(), self.session.established());
        let message = compose::cancelled(self.id, self.reason);
        endpoint.tasks.clone().spawn(async move {
            drop(timeout(ASIDE, endpoint.client.post(established.headers.clone(), message)).await);
        });
    }
}
