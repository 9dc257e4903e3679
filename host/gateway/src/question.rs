//! What backends ask of a legacy client, and its answers: each question has an id of the session, whatever id the backend
//! gave it, so that no client can answer what another was asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;
use vmcp_core::{call::Reply, id::BackendId, json::RawJson};
use vmcp_mcp::{
    bridge::input::{Asked, InputKind},
    envelope::{Request, Response, write_notification, write_request},
    object::Object,
};

use crate::session::Session;

/// Questions that one client may have before it at a time.
const MAX_OPEN: usize = 64;
/// Tasks of one session that its list tells of.
const MAX_TASKS: usize = 1000;

/// The open questions of one session.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    open: HashMap<u64, oneshot::Sender<Reply>>,
}

/// A question on its way to the client. Dropped before the answer came, it is withdrawn.
#[derive(Debug)]
pub struct Question {
    session: Arc<Session>,
    id: u64,
    /// The request to send, as a whole message.
    pub message: Bytes,
}

impl Session {
    /// Whether the client has roots, which backends ask for once and keep.
    pub(crate) fn keeps_roots(&self) -> bool {
        Object::parse_lenient(Some(&self.capabilities)).get("roots").is_some()
    }

    /// Notes that the client has begun a task: where, and its name there.
    pub(crate) fn note_task(&self, task: (BackendId, String)) {
        let mut tasks = self.tasks.lock().expect("no panic while locked");
        if tasks.len() < MAX_TASKS {
            tasks.insert(task);
        }
    }

    pub(crate) fn has_begun_task(&self, task: &(BackendId, String)) -> bool {
        self.tasks.lock().expect("no panic while locked").contains(task)
    }

    /// The scope of the client's sessions at legacy backends, where they serve nobody else.
    pub(crate) fn scope(&self) -> Option<Arc<str>> {
        self.keeps_roots().then(|| self.id.clone())
    }

    /// Puts the request of a backend to the client; its answer goes to `reply`. `None` when the client did not offer to
    /// answer such, or has too many questions before it: then `reply` is dropped, and the backend learns that nobody answers.
    pub fn ask(self: &Arc<Self>, request: &Request, reply: oneshot::Sender<Reply>) -> Option<Question> {
        if !self.can_answer(request) {
            return None;
        }
        let id = self.questions.open(None, reply)?;
        Some(self.question(id, request))
    }

    /// The same for a question of the host's own, which has its `number` already.
    pub fn ask_as(self: &Arc<Self>, number: u64, request: &Request, reply: oneshot::Sender<Reply>) -> Option<Question> {
        if !self.can_answer(request) {
            return None;
        }
        let id = self.questions.open(Some(number), reply)?;
        Some(self.question(id, request))
    }

    fn question(self: &Arc<Self>, id: u64, request: &Request) -> Question {
        let message = write_request(&RawJson::of(&id), &request.method, request.params.as_ref());
        Question { session: self.clone(), id, message }
    }

    /// Whether the client said that it answers such requests: `sampling` for `sampling/createMessage`, and so on.
    fn can_answer(&self, request: &Request) -> bool {
        let Request { method, params, .. } = request;
        if InputKind::of(method).is_some() {
            let asked = Asked { method: method.clone(), params: params.clone() };
            return asked.lacking(&self.capabilities).is_none();
        }
        let capability = method.split('/').next().unwrap_or_default();
        Object::parse_lenient(Some(&self.capabilities)).get(capability).is_some()
    }

    /// Takes a response of the client; gives one back that answers nothing that was asked.
    pub fn answer(&self, response: Response) -> Option<Response> {
        let id = response.id.as_ref().and_then(|id| id.as_str().parse().ok());
        let Some(reply) = id.and_then(|id| self.questions.take(id)) else { return Some(response) };
        // The backend may have gone at this very moment; then nobody wants the answer.
        let _ = reply.send(response.reply);
        None
    }
}

impl Question {
    /// Tells the client that the question is withdrawn, if it is still open.
    pub fn withdrawal(&self) -> Option<Bytes> {
        let params = json!({ "requestId": self.id, "reason": "the request it belongs to has ended" });
        let is_open = self.session.questions.lock().open.contains_key(&self.id);
        is_open.then(|| write_notification("notifications/cancelled", Some(&RawJson::of(&params))))
    }

    /// Ready once nobody waits for the answer: it came, or the backend withdrew its request. Only the latter wakes.
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.session.questions.lock().open.get_mut(&self.id) {
            Some(reply) => reply.poll_closed(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.session.questions.take(self.id);
    }
}

impl Questions {
    fn open(&self, number: Option<u64>, reply: oneshot::Sender<Reply>) -> Option<u64> {
        let mut table = self.lock();
        if table.open.len() >= MAX_OPEN {
            return None;
        }
        let id = number.unwrap_or_else(|| {
            table.last_id += 1;
            table.last_id
        });
        table.open.insert(id, reply);
        Some(id)
    }

    fn take(&self, id: u64) -> Option<oneshot::Sender<Reply>> {
        self.lock().open.remove(&id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while locked")
    }
}

#[cfg(test)]
mod tests {
    use vmcp_core::id::Identity;
    use vmcp_mcp::era::Revision;

    use super::*;

    fn session() -> Arc<Session> {
        let capabilities = RawJson::parse(r#"{"elicitation":{}}"#).unwrap();
        Session::new(Revision::LATEST_LEGACY, Identity::Anonymous, capabilities)
    }

    fn request(id: &str) -> Request {
        Request { id: RawJson::of(&id), method: "elicitation/create".into(), params: None }
    }

    fn response(id: u64) -> Response {
        Response { id: Some(RawJson::of(&id)), reply: Reply::Result(RawJson::of(&"yes")) }
    }

    #[test]
    fn a_client_is_asked_what_it_said_that_it_answers() {
        let check = |capabilities: &'static str, method: &str, expected: bool| {
            let session =
                Session::new(Revision::LATEST_LEGACY, Identity::Anonymous, RawJson::parse(capabilities).unwrap());
            let request = Request { method: method.into(), ..request("7") };
            let is_asked = session.ask(&request, oneshot::channel().0).is_some();
            assert_eq!(is_asked, expected, "{capabilities} {method}");
        };
        check(r#"{"elicitation":{}}"#, "elicitation/create", true);
        check(r#"{"elicitation":{}}"#, "sampling/createMessage", false);
        check(r#"{"roots":{"listChanged":true}}"#, "roots/list", true);
        check("{}", "elicitation/create", false);
        check(r#"{"elicitation":{}}"#, "", false);
        check(r#"{"tasks":{}}"#, "tasks/list", true);
        check("{}", "tasks/list", false);
    }

    #[tokio::test]
    async fn an_answer_reaches_the_question_of_its_own_session_only() {
        let (one, two) = (session(), session());
        let (reply, answered) = oneshot::channel();
        let question = one.ask(&request("7"), reply).unwrap();
        assert!(two.answer(response(1)).is_some(), "another session's answer is nobody's");
        assert!(one.answer(response(1)).is_none());
        assert!(one.answer(response(1)).is_some(), "a question is answered once");
        assert_eq!(answered.await.unwrap(), Reply::Result(RawJson::of(&"yes")));
        assert_eq!(question.withdrawal(), None);
    }

    #[tokio::test]
    async fn a_dropped_question_is_withdrawn() {
        let session = session();
        let (reply, answered) = oneshot::channel();
        let question = session.ask(&request("7"), reply).unwrap();
        let told = question.withdrawal().unwrap();
        assert!(told.starts_with(br#"{"jsonrpc":"2.0","method":"notifications/cancelled""#), "{told:?}");
        drop(question);
        assert!(answered.await.is_err());
        assert!(session.answer(response(1)).is_some());
    }

    #[test]
    fn the_number_of_open_questions_is_bounded() {
        let session = session();
        let asked: Vec<_> = (0..=MAX_OPEN).map(|_| session.ask(&request("7"), oneshot::channel().0)).collect();
        assert_eq!(asked.iter().flatten().count(), MAX_OPEN);
    }
}
