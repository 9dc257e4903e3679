//! The clients behind the calls of one session with a legacy server: who is asked what the server asks, and who hears what it
//! says.
//!
//! Where a message arrives apart from the stream of a call, it belongs to the only call under way. A server also asks right
//! after the handshake, mostly for roots: then the call for which the session was opened is waited for.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout},
};
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{
    envelope::{self, Notification, Request},
    error::RpcError,
    object::Object,
};

use crate::{
    compose,
    listener::{Listener, Pause},
    message::{ServerMessage, empty_object, is_empty_object},
};

/// Questions of one session that are open at once; more are refused.
const MAX_QUESTIONS: usize = 16;
/// A session counts as just opened for so long, and so long a question waits for the first call: servers ask for roots right
/// after the handshake, some with a delay.
const OPENING: Duration = Duration::from_secs(2);
/// What the server is told then: a timeout, by the code that the SDKs use for it.
const NO_ANSWER: i64 = -32001;

pub(crate) const CANCELLED: &str = "notifications/cancelled";
const ROOTS: &str = "roots/list";

/// For whom a session is.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// The host itself, and clients that can be asked nothing.
    Control,
    /// Discovery, to which a server is to show what it shows to a client that can do everything.
    Everyone { capabilities: RawJson },
    /// Clients with these capabilities; only one of them if it has a scope.
    Clients { capabilities: RawJson, has_scope: bool },
}

impl Role {
    /// What the server is told that it may ask.
    pub(crate) fn capabilities(&self) -> RawJson {
        match self {
            Self::Control => empty_object(),
            Self::Everyone { capabilities } | Self::Clients { capabilities, .. } => capabilities.clone(),
        }
    }

    pub(crate) fn is_control(&self) -> bool {
        matches!(self, Self::Control)
    }

    /// Whether there may be somebody to ask.
    pub(crate) fn can_be_asked(&self) -> bool {
        matches!(self, Self::Clients { capabilities, .. } if !is_empty_object(capabilities))
    }

    fn has_scope(&self) -> bool {
        matches!(self, Self::Clients { has_scope: true, .. })
    }
}

#[derive(Debug)]
pub(crate) struct Audience {
    pub(crate) role: Role,
    /// Longest wait for an answer.
    patience: Duration,
    table: Mutex<Table>,
    /// A call began.
    arrival: Notify,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<u64, Arc<Listener>>,
    /// By the server's id. Dropping the sender withdraws the question.
    questions: HashMap<Bytes, oneshot::Sender<Infallible>>,
    /// When the handshake was done; `None` before.
    opened: Option<Instant>,
    has_closed: bool,
    /// The server has been told the roots of one client.
    knows_roots: bool,
    /// A call was given up, and what it asks later must not reach another client.
    has_orphans: bool,
}

/// What becomes of a request of the server.
pub(crate) enum Taken {
    /// It is answered with this message at once.
    Answered(Bytes),
    /// A client is asked.
    Asked(Box<Question>),
    /// It is known already: streams that are resumed may repeat themselves.
    Known,
}

impl Taken {
    /// The message that answers the server, as soon as there is one; `None` when there is nothing to say.
    pub(crate) async fn message(self) -> Option<Bytes> {
        match self {
            Self::Answered(message) => Some(message),
            Self::Asked(question) => question.answer().await,
            Self::Known => None,
        }
    }
}

impl Audience {
    /// - `patience`: longest wait for an answer of a client
    pub(crate) fn new(role: Role, patience: Duration) -> Arc<Self> {
        Arc::new(Self { role, patience, table: Mutex::default(), arrival: Notify::new() })
    }

    /// From now on the server may ask without a call for a moment: after the handshake, and when it was told of new roots.
    pub(crate) fn open(&self) {
        self.table().opened = Some(Instant::now());
    }

    /// Notes the call `id` until the guard is dropped.
    pub(crate) fn enter(&self, id: u64, listener: &Arc<Listener>) -> Calling<'_> {
        self.table().calls.insert(id, listener.clone());
        self.arrival.notify_waiters();
        Calling { audience: self, id }
    }

    /// The listener of call `id`.
    pub(crate) fn listener(&self, id: u64) -> Option<Arc<Listener>> {
        self.table().calls.get(&id).cloned()
    }

    /// The client to whom a message that names no call must belong.
    pub(crate) fn addressee(&self) -> Option<Arc<Listener>> {
        self.table().addressee(&self.role)
    }

    pub(crate) fn has_calls(&self) -> bool {
        !self.table().calls.is_empty()
    }

    /// Whether the session may serve other clients no more.
    pub(crate) fn is_tainted(&self) -> bool {
        !self.role.has_scope() && self.table().knows_roots
    }

    /// Takes a request of the server.
    ///
    /// - `of`: the call that it belongs to, where its stream tells
    pub(crate) fn take(self: &Arc<Self>, request: Request, of: Option<&Arc<Listener>>) -> Taken {
        let answer = |reply: &Reply| Taken::Answered(envelope::write_response(Some(&request.id), reply));
        let refused = || Taken::Answered(compose::not_offered(&request.id, &request.method));
        match (&self.role, request.method.as_str()) {
            (_, "ping") => return answer(&Reply::Result(empty_object())),
            (Role::Everyone { .. }, ROOTS) => {
                let none = Object::from([("roots", RawJson::from_built(&b"[]"[..]))]);
                return answer(&Reply::Result(none.to_json()));
            }
            (Role::Everyone { .. }, _) => return refused(),
            _ => {}
        }
        let (withdraw, withdrawn) = oneshot::channel();
        let key = request.id.bytes().clone();
        let listener = {
            let mut table = self.table();
            if table.questions.contains_key(&key) {
                return Taken::Known;
            }
            let listener = of.cloned().or_else(|| table.addressee(&self.role));
            // Who could not be asked is not waited for; the one whose call it is learns what it lacks.
            let may_wait = self.role.can_be_asked() && table.calls.is_empty() && table.is_opening();
            if table.has_closed || table.questions.len() >= MAX_QUESTIONS || (listener.is_none() && !may_wait) {
                return refused();
            }
            table.questions.insert(key.clone(), withdraw);
            listener
        };
        let put = listener.map(|listener| Put::to(listener, request.clone()));
        let open = Open { audience: self.clone(), key };
        Taken::Asked(Box::new(Question { open, request, put, withdrawn }))
    }

    /// The server does not want to know any more what it asked.
    pub(crate) fn withdraw(&self, cancellation: &Notification) {
        let id = Object::parse_lenient(cancellation.params.as_ref()).get("requestId").map(|id| id.bytes().clone());
        if let Some(id) = id {
            self.table().questions.remove(&id);
        }
    }

    /// A call was given up without its reply: the server may still be at it.
    pub(crate) fn orphan(&self) {
        self.table().has_orphans = true;
    }

    /// The session has ended, and its questions with it.
    pub(crate) fn close(&self) {
        let mut table = self.table();
        table.has_closed = true;
        table.questions.clear();
    }

    /// The client to ask, waited for where the session is new.
    async fn first_caller(&self) -> Option<Arc<Listener>> {
        let arrived = async {
            loop {
                let mut arrival = pin!(self.arrival.notified());
                arrival.as_mut().enable();
                if self.has_calls() {
                    return self.addressee();
                }
                arrival.await;
            }
        };
        timeout(OPENING, arrived).await.ok().flatten()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while held")
    }
}

impl Table {
    /// The only call; of a session that serves one client alone any call, the last that began.
    fn addressee(&self, role: &Role) -> Option<Arc<Listener>> {
        if (self.calls.len() > 1 || self.has_orphans) && !role.has_scope() {
            return None;
        }
        self.calls.iter().max_by_key(|(id, _)| **id).map(|(_, listener)| listener.clone())
    }

    fn is_opening(&self) -> bool {
        self.opened.is_none_or(|opened| opened.elapsed() < OPENING)
    }
}

/// A call of the session under way.
pub(crate) struct Calling<'a> {
    audience: &'a Audience,
    id: u64,
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        if let Some(listener) = self.audience.table().calls.remove(&self.id) {
            listener.end();
        }
    }
}

/// A request of the server on its way to a client.
pub(crate) struct Question {
    open: Open,
    request: Request,
    put: Option<Put>,
    withdrawn: oneshot::Receiver<Infallible>,
}

impl Question {
    /// The message that answers the server; `None` when it is to be told nothing, because it withdrew its request or the
    /// call that it belongs to has ended.
    pub(crate) async fn answer(self) -> Option<Bytes> {
        let Self { open, request, put, withdrawn } = self;
        let asking = async {
            let put = match put {
                Some(put) => Some(put),
                None => open.audience.first_caller().await.map(|listener| Put::to(listener, request.clone())),
            };
            match put {
                Some(put) => put.answer(open.audience.patience).await,
                None => Some(Err(Unanswerable::Refused)),
            }
        };
        let outcome = tokio::select! {
            biased;
            _ = withdrawn => None,
            outcome = asking => outcome,
        };
        let reply = match outcome? {
            Ok(reply) => reply,
            Err(Unanswerable::Refused) => return Some(compose::not_offered(&request.id, &request.method)),
            Err(Unanswerable::Late) => {
                let patience = open.audience.patience;
                Reply::Error(RpcError::new(NO_ANSWER, format!("nobody answered within {patience:?}")).to_json())
            }
        };
        if request.method == ROOTS && matches!(reply, Reply::Result(_)) {
            open.audience.table().knows_roots = true;
        }
        Some(envelope::write_response(Some(&request.id), &reply))
    }
}

/// Keeps a question in the table of its session.
struct Open {
    audience: Arc<Audience>,
    key: Bytes,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.audience.table().questions.remove(&self.key);
    }
}

/// Why a client gave no answer.
enum Unanswerable {
    /// It cannot or does not want to.
    Refused,
    Late,
}

/// A question before a client, whose call waits meanwhile.
struct Put {
    listener: Arc<Listener>,
    answered: oneshot::Receiver<Reply>,
    /// The client had no room for it yet.
    unsent: Option<ServerMessage>,
    _pause: Pause,
}

impl Put {
    fn to(listener: Arc<Listener>, request: Request) -> Self {
        let (reply, answered) = oneshot::channel();
        let unsent = listener.offer(ServerMessage::Request { request, reply }).err();
        Self { answered, unsent, _pause: listener.pause(), listener }
    }

    /// `None` when the call ended first.
    async fn answer(self, patience: Duration) -> Option<Result<Reply, Unanswerable>> {
        let Self { listener, answered, unsent, _pause } = self;
        let mut answered = pin!(answered);
        let asking = async {
            if let Some(message) = unsent {
                listener.send_patiently(message).await;
            }
            tokio::select! {
                biased;
                answer = &mut answered => answer.map_err(|_| Unanswerable::Refused),
                () = sleep(patience) => Err(Unanswerable::Late),
            }
        };
        tokio::select! {
            biased;
            () = listener.ended() => None,
            answer = asking => Some(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    const PATIENCE: Duration = Duration::from_mins(1);

    use tokio::sync::mpsc;

    use super::*;

    fn request(id: u64, method: &str) -> Request {
        Request { id: RawJson::of(&id), method: method.to_owned(), params: None }
    }

    fn roots() -> Role {
        Role::Clients { capabilities: RawJson::of(&serde_json::json!({ "roots": {} })), has_scope: false }
    }

    fn answer(taken: Taken) -> String {
        match taken {
            Taken::Answered(text) => String::from_utf8(text.to_vec()).unwrap(),
            Taken::Asked(_) => "asked".to_owned(),
            Taken::Known => "known".to_owned(),
        }
    }

    #[test]
    fn who_can_be_asked_depends_on_the_role() {
        let everyone = Role::Everyone { capabilities: empty_object() };
        let mute = Role::Clients { capabilities: empty_object(), has_scope: true };
        let check = |role: Role, method: &str, expected: &str| {
            let audience = Audience::new(role, PATIENCE);
            assert!(answer(audience.take(request(1, method), None)).contains(expected), "{method}");
        };
        for role in [Role::Control, everyone.clone(), mute.clone(), roots()] {
            check(role, "ping", r#""result":{}"#);
        }
        check(Role::Control, ROOTS, "-32601");
        check(mute, ROOTS, "-32601");
        check(everyone.clone(), ROOTS, r#""result":{"roots":[]}"#);
        check(everyone, "elicitation/create", "-32601");
        check(roots(), ROOTS, "asked");
    }

    #[tokio::test]
    async fn a_question_after_the_handshake_waits_for_the_first_call() {
        let audience = Audience::new(roots(), PATIENCE);
        audience.open();
        let Taken::Asked(question) = audience.take(request(1, ROOTS), None) else { panic!() };
        assert_eq!(answer(audience.take(request(1, ROOTS), None)), "known");
        let (events, mut received) = mpsc::channel(1);
        let listener = Listener::new(events, None);
        let client = async {
            tokio::task::yield_now().await;
            let call = audience.enter(7, &listener);
            let Some(ServerMessage::Request { reply, .. }) = received.recv().await else { panic!() };
            reply.send(Reply::Result(RawJson::of(&"here"))).unwrap();
            call
        };
        let (told, _call) = tokio::join!(question.answer(), client);
        assert_eq!(told.unwrap(), r#"{"jsonrpc":"2.0","id":1,"result":"here"}"#);
        assert!(audience.is_tainted());
    }

    #[tokio::test]
    async fn a_withdrawn_question_and_one_of_an_ended_call_are_dropped() {
        let audience = Audience::new(roots(), PATIENCE);
        let (events, mut received) = mpsc::channel(4);
        let listener = Listener::new(events, None);
        let calling = audience.enter(1, &listener);
        for ended_by_server in [true, false] {
            let Taken::Asked(question) = audience.take(request(5, "elicitation/create"), None) else { panic!() };
            let Some(ServerMessage::Request { mut reply, .. }) = received.recv().await else { panic!() };
            if ended_by_server {
                let params = Some(RawJson::of(&serde_json::json!({ "requestId": 5 })));
                audience.withdraw(&Notification { method: CANCELLED.to_owned(), params });
            } else {
                listener.end();
            }
            assert_eq!(question.answer().await, None);
            assert!(reply.is_closed());
            reply.closed().await;
        }
        drop(calling);
        assert!(!audience.is_tainted());
    }

    #[test]
    fn several_calls_are_told_apart_only_where_one_client_makes_them_all() {
        let check = |role: Role, expected: bool| {
            let audience = Audience::new(role, PATIENCE);
            let listener = Listener::new(mpsc::channel(1).0, None);
            let _calls = (audience.enter(1, &listener), audience.enter(2, &listener));
            assert_eq!(audience.addressee().is_some(), expected);
        };
        check(roots(), false);
        check(Role::Clients { capabilities: empty_object(), has_scope: true }, true);
    }
}
