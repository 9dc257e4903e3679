//! One client on one connection that carries whole messages both ways: stdio, the admin socket, HTTP+SSE. The session of a
//! legacy client is the connection's, and requests end with it. How messages are framed is the business of those who use it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;
use vmcp_core::{call::Reply, id::Identity, json::RawJson};
use vmcp_gateway::{
    Gateway,
    router::{Caller, Incoming},
    session::{Session, SessionTie},
};
use vmcp_mcp::{
    envelope::{self, Message, Notification, Request},
    error::{INVALID_REQUEST, RpcError},
    object::Object,
};

use crate::{
    admin,
    batch::{Batch, BatchEvent},
    exchange::{Exchange, Happening, take_answer, take_notification},
    listen::Listener,
    reply,
};

/// Messages that may wait to be sent; a client that does not read holds up its own requests only.
const OUTGOING_QUEUE: usize = 64;

/// What a connection may do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionOptions {
    /// Whether the methods of `admin` are answered.
    pub admin: bool,
    /// Whether requests of modern clients are answered.
    pub modern: bool,
    /// How long a message waits for a client that does not read, before the connection is closed; without, for ever.
    pub patience: Option<Duration>,
}

/// One client.
pub(crate) struct Connection {
    /// Ends the connection and all its requests. Fires when the client is gone.
    pub closed: CancellationToken,
    gateway: Arc<Gateway>,
    options: ConnectionOptions,
    outgoing: mpsc::Sender<Bytes>,
    tasks: TaskTracker,
    /// Ends the listeners, which have no end of their own.
    listening: CancellationToken,
    session: Mutex<Option<Arc<Session>>>,
    /// Requests and listeners under way.
    in_flight: Mutex<HashMap<RawJson, CancellationToken>>,
}

/// What a request turned out to be.
enum Begun {
    Exchange(Box<Exchange>),
    Listening(Listener, Bytes),
    Answered(RawJson),
}

impl Connection {
    /// A new connection, and the messages that it has for its client.
    pub(crate) fn open(gateway: Arc<Gateway>, options: ConnectionOptions) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (outgoing, queue) = mpsc::channel(OUTGOING_QUEUE);
        let closed = CancellationToken::new();
        let connection = Arc::new(Self {
            gateway,
            options,
            outgoing,
            tasks: TaskTracker::new(),
            listening: closed.child_token(),
            closed,
            session: Mutex::default(),
            in_flight: Mutex::default(),
        });
        (connection, queue)
    }

    /// Takes one message of the client, or a batch.
    pub(crate) async fn take(self: &Arc<Self>, text: &Bytes) {
        if envelope::is_batch(text) {
            return self.take_batch(text).await;
        }
        match envelope::parse(text) {
            Ok(Message::Request(request)) => self.answer(request).await,
            Ok(Message::Notification(notification)) => self.notice(&notification),
            Ok(Message::Response(response)) => match self.session() {
                Some(session) => take_answer(&self.gateway, &session, response).await,
                None => warn!("a client answered before it was asked anything"),
            },
            Err(error) => self.send(reply::envelope_error(&error)).await,
        }
    }

    /// Sends a message to the client.
    pub(crate) async fn send(&self, message: Bytes) {
        let message = match self.outgoing.try_send(message) {
            // A closed queue means that the client is gone.
            Ok(()) | Err(TrySendError::Closed(_)) => return,
            Err(TrySendError::Full(message)) => message,
        };
        let sending = self.outgoing.send(message);
        let Some(patience) = self.options.patience else { return drop(sending.await) };
        if time::timeout(patience, sending).await.is_err() {
            self.closed.cancel();
        }
    }

    /// The client sends no more: what it asked for is still answered, for at most `grace`.
    pub(crate) async fn finish(&self, grace: Duration) {
        self.tasks.close();
        self.listening.cancel();
        let session = self.session.lock().expect("no panic while locked").take();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = time::sleep(grace) => {}
            () = self.closed.cancelled() => {}
        }
        self.closed.cancel();
        if let Some(session) = session {
            self.gateway.end_session(&session).await;
        }
    }

    async fn answer(self: &Arc<Self>, request: Request) {
        let id = request.id.clone();
        match self.begin(request).await {
            Ok(Begun::Exchange(exchange)) => {
                // Before the next message is read, which may cancel it.
                let Some(cancelled) = self.note(&id) else { return self.refuse_repeated(&id).await };
                let connection = self.clone();
                self.tasks.spawn(async move { connection.run(*exchange, cancelled).await });
            }
            Ok(Begun::Listening(listener, acknowledged)) => {
                let Some(cancelled) = self.note(&id) else { return self.refuse_repeated(&id).await };
                self.send(acknowledged).await;
                let connection = self.clone();
                self.tasks.spawn(async move {
                    connection.listen(listener, cancelled).await;
                    connection.forget(&id);
                });
            }
            Ok(Begun::Answered(result)) => self.send(reply::message(&id, &Ok(Reply::Result(result)))).await,
            Err(error) => self.send(reply::error_message(Some(&id), &error)).await,
        }
    }

    async fn refuse_repeated(&self, id: &RawJson) {
        let error = RpcError::new(INVALID_REQUEST, "the id is that of a request under way");
        self.send(reply::error_message(Some(id), &error)).await;
    }

    /// Decides what a request is, and starts it.
    async fn begin(self: &Arc<Self>, request: Request) -> Result<Begun, RpcError> {
        let id = request.id.clone();
        let incoming = Incoming::read(request)?;
        if self.options.admin && incoming.method.starts_with(admin::PREFIX) {
            return admin::answer(&self.gateway, &incoming).await.map(Begun::Answered);
        }
        if let Some(version) = &incoming.meta.protocol_version {
            if !self.options.modern {
                return Err(RpcError::new(INVALID_REQUEST, format!("revision `{version}` is served at `/mcp` only")));
            }
            incoming.check_modern(version)?;
            let caller = Caller::modern(Identity::Anonymous, &incoming);
            if incoming.method == "subscriptions/listen" {
                let subscribing = Listener::subscribe(&self.gateway, &caller, &id, &incoming.params).boxed();
                let (listener, acknowledged) = subscribing.await?;
                return Ok(Begun::Listening(listener, acknowledged));
            }
            return Ok(Begun::Exchange(Exchange::begin(self.gateway.clone(), caller, id, incoming).into()));
        }
        if incoming.method == "initialize" {
            return self.initialize(&incoming.params).await.map(Begun::Answered);
        }
        match self.session() {
            Some(session) => {
                let caller = Caller::legacy(session);
                Ok(Begun::Exchange(Exchange::begin(self.gateway.clone(), caller, id, incoming).into()))
            }
            // A client that probes for its server's era before it shakes hands.
            None if incoming.method == "ping" => Ok(Begun::Answered(Object::default().to_json())),
            None => {
                Err(RpcError::new(INVALID_REQUEST, "send `initialize` first, or the `_meta` of revision 2026-07-28"))
            }
        }
    }

    async fn initialize(self: &Arc<Self>, params: &Object) -> Result<RawJson, RpcError> {
        // Boxed: it happens once, and would make the future of every request larger.
        let shaking_hands = self.gateway.initialize(Identity::Anonymous, params, SessionTie::Connection).boxed();
        let (session, answer) = shaking_hands.await?;
        let listener = Listener::of_session(&self.gateway, session.clone());
        // One connection carries one session: whoever shakes hands again starts over.
        let ended = session.begin_stream();
        if let Some(earlier) = self.session.lock().expect("no panic while locked").replace(session) {
            let gateway = self.gateway.clone();
            self.tasks.spawn(async move { gateway.end_session(&earlier).await });
        }
        let connection = self.clone();
        self.tasks.spawn(async move { connection.listen(listener, ended).await });
        Ok(answer)
    }

    async fn take_batch(self: &Arc<Self>, text: &Bytes) {
        let begun = match self.session() {
            Some(session) => Batch::begin(&self.gateway, &session, text).await,
            None => Err(RpcError::new(INVALID_REQUEST, "a batch needs a session: send `initialize` first")),
        };
        match begun {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                let connection = self.clone();
                self.tasks.spawn(async move { connection.run_batch(batch).await });
            }
            Err(error) => self.send(reply::error_message(None, &error)).await,
        }
    }

    /// Runs a batch to its end: all replies go in one array, after whatever the backends send before.
    async fn run_batch(&self, mut batch: Batch) {
        let mut replies = Vec::new();
        loop {
            let next = tokio::select! {
                next = batch.next() => next,
                () = self.closed.cancelled() => return,
            };
            match next {
                Some(BatchEvent::Message(message)) => self.send(message).await,
                Some(BatchEvent::Reply(reply)) => replies.push(reply),
                None => break,
            }
        }
        self.send(envelope::write_batch(&replies)).await;
    }

    /// Runs a request to its end, handing on what the backend sends before.
    async fn run(&self, mut exchange: Exchange, cancelled: CancellationToken) {
        let id = exchange.id.clone();
        loop {
            let next = tokio::select! {
                next = exchange.next() => next,
                () = cancelled.cancelled() => {
                    while let Some(message) = exchange.withdraw() {
                        self.send(message).await;
                    }
                    break;
                }
            };
            match next {
                Happening::Message(message) => self.send(message).await,
                Happening::Outcome(outcome) => {
                    self.send(reply::message(&id, &outcome)).await;
                    break;
                }
            }
        }
        self.forget(&id);
    }

    /// Hands on events until `cancelled` fires or the client goes.
    async fn listen(&self, mut listener: Listener, cancelled: CancellationToken) {
        loop {
            let messages = tokio::select! {
                messages = listener.next() => messages,
                () = cancelled.cancelled() => return,
                () = self.listening.cancelled() => return,
            };
            let Some(messages) = messages else { return };
            for message in messages {
                self.send(message).await;
            }
        }
    }

    fn notice(&self, notification: &Notification) {
        if notification.method == "notifications/cancelled" {
            let params = Object::parse_lenient(notification.params.as_ref());
            let in_flight = self.in_flight.lock().expect("no panic while locked");
            if let Some(cancelled) = params.get("requestId").and_then(|id| in_flight.get(id)) {
                return cancelled.cancel();
            }
        }
        if let Some(session) = self.session() {
            take_notification(&self.gateway, &session, notification);
        }
    }

    /// Notes what is under way, so that `notifications/cancelled` finds it; `None` when the id is in use.
    fn note(&self, id: &RawJson) -> Option<CancellationToken> {
        let mut in_flight = self.in_flight.lock().expect("no panic while locked");
        if in_flight.contains_key(id) {
            return None;
        }
        let token = self.closed.child_token();
        in_flight.insert(id.clone(), token.clone());
        Some(token)
    }

    fn forget(&self, id: &RawJson) {
        self.in_flight.lock().expect("no panic while locked").remove(id);
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.session.lock().expect("no panic while locked").clone()
    }
}
