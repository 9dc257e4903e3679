//! The stdio front: newline-delimited messages over any pair of byte streams. It serves the process's own stdin and stdout
//! for a client that started the host, and each connection to the host's socket.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    sync::mpsc,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmcp_core::{call::Reply, id::Identity, json::RawJson};
use vmcp_gateway::{
    Gateway,
    router::{Caller, Incoming},
    session::Session,
};
use vmcp_mcp::{
    envelope::{self, EnvelopeError, Message, Notification, Request},
    error::{INVALID_REQUEST, PARSE_ERROR, RpcError},
    object::Object,
};

use crate::{
    admin,
    exchange::{Exchange, Happening},
    listen::Listener,
    reply, sse,
};

/// Messages that may wait to be written; a client that does not read holds up its own requests only.
const OUTGOING_QUEUE: usize = 64;

/// What a stream may do.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Longest message from the client, in bytes.
    pub message_limit: usize,
    /// Whether the methods of `admin` are answered.
    pub admin: bool,
    /// Longest wait for requests under way once the client has closed its side.
    pub grace: Duration,
}

/// One client on one stream.
struct Connection {
    gateway: Arc<Gateway>,
    options: StreamOptions,
    outgoing: mpsc::Sender<Bytes>,
    tasks: TaskTracker,
    /// Ends the requests of this stream.
    closed: CancellationToken,
    /// Ends its listeners, which have no end of their own.
    listening: CancellationToken,
    session: Mutex<Option<Arc<Session>>>,
    /// Requests of modern clients and listeners, which have no session.
    in_flight: Mutex<HashMap<RawJson, CancellationToken>>,
}

/// Serves one client until it closes its side or `shutdown` fires. Requests under way at the client's end are finished
/// before this returns.
pub async fn serve(
    gateway: Arc<Gateway>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    options: StreamOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let grace = options.grace;
    let (outgoing, queue) = mpsc::channel(OUTGOING_QUEUE);
    let tasks = TaskTracker::new();
    let closed = CancellationToken::new();
    let writing = tasks.spawn(write_all(queue, writer, closed.clone()));
    let connection = Arc::new(Connection {
        gateway,
        options,
        outgoing,
        tasks: TaskTracker::new(),
        closed: closed.clone(),
        listening: closed.child_token(),
        session: Mutex::default(),
        in_flight: Mutex::default(),
    });
    let read = tokio::select! {
        read = read_all(&connection, BufReader::new(reader)) => read,
        () = shutdown.cancelled() => Ok(()),
        () = closed.cancelled() => Ok(()),
    };
    // The client sends no more; what it asked for is still answered.
    connection.tasks.close();
    connection.listening.cancel();
    let session = connection.session.lock().expect("no panic while locked").take();
    tokio::select! {
        () = connection.tasks.wait() => {}
        () = time::sleep(grace) => {}
        () = closed.cancelled() => {}
    }
    closed.cancel();
    if let Some(session) = session {
        connection.gateway.end_session(&session).await;
    }
    drop(connection);
    // A client that does not read cannot be told.
    let _ = time::timeout(grace, writing).await;
    read
}

async fn write_all(mut queue: mpsc::Receiver<Bytes>, mut writer: impl AsyncWrite + Unpin, closed: CancellationToken) {
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => message,
            () = closed.cancelled() => queue.try_recv().ok(),
        };
        let Some(message) = message else { return };
        let mut line = sse::one_line(&message).into_owned();
        line.push(b'\n');
        if writer.write_all(&line).await.is_err() || writer.flush().await.is_err() {
            // The client is gone: nobody waits for its requests any more.
            closed.cancel();
            return;
        }
    }
}

async fn read_all(connection: &Arc<Connection>, mut reader: impl AsyncBufRead + Unpin) -> io::Result<()> {
    let limit = connection.options.message_limit;
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(limit as u64 + 1).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(());
        }
        if line.len() > limit && line.last() != Some(&b'\n') {
            let error = RpcError::new(
                INVALID_REQUEST,
                format!("the message is longer than {limit} bytes (`server.bodyLimit`)"),
            );
            connection.send(reply::error_message(None, &error)).await;
            skip_line(&mut reader).await?;
            continue;
        }
        if !line.trim_ascii().is_empty() {
            connection.clone().take(&line.into()).await;
        }
    }
}

async fn skip_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf().await?;
        let (used, done) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(used);
        if done {
            return Ok(());
        }
    }
}

impl Connection {
    async fn send(&self, message: Bytes) {
        // A closed queue means that the client is gone.
        let _ = self.outgoing.send(message).await;
    }

    /// One message from the client.
    async fn take(self: Arc<Self>, line: &Bytes) {
        match envelope::parse(line) {
            Ok(Message::Request(request)) => self.answer(request).await,
            Ok(Message::Notification(notification)) => self.notice(&notification),
            Ok(Message::Response(_)) => {}
            Err(error) => {
                let (code, id) = match &error {
                    EnvelopeError::NotJson(_) => (PARSE_ERROR, None),
                    EnvelopeError::NotJsonRpc { id, .. } => (INVALID_REQUEST, id.clone()),
                };
                self.send(reply::error_message(id.as_ref(), &RpcError::new(code, error.to_string()))).await;
            }
        }
    }

    async fn answer(self: Arc<Self>, request: Request) {
        let id = request.id.clone();
        match self.begin(request).await {
            Ok(Begun::Exchange(exchange)) => {
                let connection = self.clone();
                self.tasks.spawn(async move { connection.run(*exchange).await });
            }
            Ok(Begun::Listening(listener, acknowledged)) => {
                self.send(acknowledged).await;
                let (connection, cancelled) = (self.clone(), self.note(&id));
                self.tasks.spawn(async move {
                    connection.listen(listener, cancelled).await;
                    connection.forget(&id);
                });
            }
            Ok(Begun::Answered(result)) => self.send(reply::message(&id, &Ok(Reply::Result(result)))).await,
            Err(error) => self.send(reply::error_message(Some(&id), &error)).await,
        }
    }

    /// Decides what a request is, and starts it.
    async fn begin(self: &Arc<Self>, request: Request) -> Result<Begun, RpcError> {
        let id = request.id.clone();
        let incoming = Incoming::read(request)?;
        if self.options.admin && incoming.method.starts_with(admin::PREFIX) {
            return admin::answer(&self.gateway, &incoming).await.map(Begun::Answered);
        }
        if let Some(version) = &incoming.meta.protocol_version {
            incoming.check_modern(version)?;
            if incoming.method == "subscriptions/listen" {
                let (listener, acknowledged) = Listener::subscribe(&self.gateway, &id, &incoming.params)?;
                return Ok(Begun::Listening(listener, acknowledged));
            }
            let caller = Caller::modern(Identity::Anonymous, &incoming);
            return Ok(Begun::Exchange(Exchange::begin(self.gateway.clone(), caller, id, incoming).into()));
        }
        if incoming.method == "initialize" {
            return self.initialize(&incoming.params).await.map(Begun::Answered);
        }
        let session = self.session.lock().expect("no panic while locked").clone();
        match session {
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
        let (session, answer) = self.gateway.initialize(Identity::Anonymous, params).await?;
        let listener = Listener::of_session(&self.gateway, session.clone());
        // One stream carries one session: whoever shakes hands again starts over.
        let ended = session.begin_stream();
        if let Some(earlier) = self.session.lock().expect("no panic while locked").replace(session) {
            let gateway = self.gateway.clone();
            self.tasks.spawn(async move { gateway.end_session(&earlier).await });
        }
        let connection = self.clone();
        self.tasks.spawn(async move { connection.listen(listener, ended).await });
        Ok(answer)
    }

    /// Runs a request to its end, handing on what the backend sends before.
    async fn run(&self, mut exchange: Exchange) {
        let id = exchange.id.clone();
        let cancelled = self.note(&id);
        loop {
            let next = tokio::select! {
                next = exchange.next() => next,
                () = cancelled.cancelled() => break,
            };
            match next {
                Happening::Notification(message) => self.send(message).await,
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

    /// Notes what is under way, so that `notifications/cancelled` finds it.
    fn note(&self, id: &RawJson) -> CancellationToken {
        let token = self.closed.child_token();
        self.in_flight.lock().expect("no panic while locked").insert(id.clone(), token.clone());
        token
    }

    fn forget(&self, id: &RawJson) {
        self.in_flight.lock().expect("no panic while locked").remove(id);
    }

    fn notice(&self, notification: &Notification) {
        if notification.method != "notifications/cancelled" {
            return;
        }
        let params = Object::parse_lenient(notification.params.as_ref());
        let in_flight = self.in_flight.lock().expect("no panic while locked");
        if let Some(cancelled) = params.get("requestId").and_then(|id| in_flight.get(id)) {
            cancelled.cancel();
        }
    }
}

/// What a request turned out to be.
enum Begun {
    Exchange(Box<Exchange>),
    Listening(Listener, Bytes),
    Answered(RawJson),
}
