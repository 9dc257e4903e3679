//! One request and what comes of it: runs it in the gateway, and hands on what the backend sends before its reply.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use vmcp_backend::{EventSender, ServerMessage};
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_gateway::{
    Gateway,
    question::Question,
    router::{Caller, Client, Incoming},
    runs::EarlierRequest,
    session::Session,
};
use vmcp_mcp::{
    envelope::{Notification, Request, Response, write_notification},
    error::{INVALID_REQUEST, RpcError},
    object::Object,
};

/// Events of one call that may wait for its client.
const EVENT_QUEUE: usize = 64;
/// The request was cancelled by its client, which does not wait for this any more.
const CANCELLED: i64 = -32800;

/// A request under way. Dropping it cancels the request.
pub(crate) struct Exchange {
    pub id: RawJson,
    caller: Caller,
    /// What the client is asked; withdrawn with the exchange, and before the outcome is given up: a run puts the same question to
    /// whoever comes next.
    questions: Vec<Question>,
    outcome: Pin<Box<dyn Future<Output = Result<Reply, RpcError>> + Send>>,
    events: mpsc::Receiver<ServerMessage>,
    /// The outcome, while events that came before it are still to be handed on.
    done: Option<Result<Reply, RpcError>>,
}

/// What happens next in an exchange.
pub(crate) enum Happening {
    /// A notification or question for the client, as a whole message.
    Message(Bytes),
    /// The end.
    Outcome(Result<Reply, RpcError>),
}

impl Exchange {
    /// The session of the client behind it, if it has one.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.caller.client {
            Client::Legacy(session) => Some(session),
            Client::Modern { .. } | Client::Workflow { .. } => None,
        }
    }

    pub(crate) fn begin(gateway: Arc<Gateway>, caller: Caller, id: RawJson, incoming: Incoming) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let outcome = Box::pin(run(gateway, caller.clone(), id.clone(), incoming, sender));
        Self { id, caller, outcome, events, questions: Vec::new(), done: None }
    }

    /// A request that an earlier connection or process was asked, taken up again.
    pub(crate) fn rejoin(gateway: Arc<Gateway>, session: Arc<Session>, request: EarlierRequest) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let (id, caller) = (request.id.clone(), Caller::legacy(session.clone()));
        let of_request = (caller.clone(), id.clone());
        let outcome = Box::pin(async move {
            let (caller, id) = of_request;
            let going_on = pin!(gateway.answer_to_earlier(&request, &caller, sender));
            until_cancelled(&gateway, &session, &caller, &id, going_on).await
        });
        Self { id, caller, outcome, events, questions: Vec::new(), done: None }
    }

    /// Notes that the client hears of it over the stream of this number, before it does.
    pub(crate) fn goes_over(&self, gateway: Arc<Gateway>, stream: u64) -> impl Future<Output = ()> + Send + 'static {
        let (caller, id) = (self.caller.clone(), self.id.clone());
        async move { gateway.note_stream(&caller, stream, &id).await }
    }

    /// Waits for the next thing to happen. Not to be called again after the outcome.
    pub(crate) async fn next(&mut self) -> Happening {
        loop {
            // What was sent before the reply goes to the client before the reply.
            let event = match self.done.take() {
                Some(outcome) => match self.events.try_recv() {
                    Ok(event) => {
                        self.done = Some(outcome);
                        event
                    }
                    Err(_) => match self.withdraw() {
                        Some(message) => {
                            self.done = Some(outcome);
                            return Happening::Message(message);
                        }
                        None => return Happening::Outcome(outcome),
                    },
                },
                None => tokio::select! {
                    biased;
                    Some(event) = self.events.recv() => event,
                    message = poll_fn(|cx| poll_withdrawn(&mut self.questions, cx)), if !self.questions.is_empty() => {
                        return Happening::Message(message);
                    }
                    outcome = &mut self.outcome => {
                        self.done = Some(outcome);
                        continue;
                    }
                },
            };
            match event {
                ServerMessage::Notification(notification) => {
                    if self.caller.wants(&notification) {
                        let message = write_notification(&notification.method, notification.params.as_ref());
                        return Happening::Message(message);
                    }
                }
                ServerMessage::Request { request, reply } => {
                    if let Some(message) = self.ask(None, &request, reply) {
                        return Happening::Message(message);
                    }
                }
                ServerMessage::Question { number, request, reply } => {
                    if let Some(message) = self.ask(Some(number), &request, reply) {
                        return Happening::Message(message);
                    }
                }
            }
        }
    }

    /// Takes back one of the questions that are still open: the message that tells the client.
    pub(crate) fn withdraw(&mut self) -> Option<Bytes> {
        while let Some(question) = self.questions.pop() {
            if let Some(message) = question.withdrawal() {
                return Some(message);
            }
        }
        None
    }

    /// The question for the client. `None` when it cannot be asked: dropping `reply` tells the backend.
    ///
    /// - `number`: of a question of the host's own
    fn ask(&mut self, number: Option<u64>, request: &Request, reply: oneshot::Sender<Reply>) -> Option<Bytes> {
        let Client::Legacy(session) = &self.caller.client else { return None };
        if self.done.is_some() {
            return None;
        }
        let question = match number {
            Some(number) => session.ask_as(number, request, reply)?,
            None => session.ask(request, reply)?,
        };
        let message = question.message.clone();
        self.questions.push(question);
        Some(message)
    }
}

/// Waits for a backend to withdraw one of its questions: the message that tells the client. Forgets those that are answered.
fn poll_withdrawn(questions: &mut Vec<Question>, cx: &mut Context<'_>) -> Poll<Bytes> {
    while let Some(settled) = questions.iter().position(|question| question.poll_settled(cx).is_ready()) {
        if let Some(message) = questions.swap_remove(settled).withdrawal() {
            return Poll::Ready(message);
        }
    }
    Poll::Pending
}

/// Takes a client's answer to something that a backend asked it.
pub(crate) async fn take_answer(gateway: &Gateway, session: &Arc<Session>, response: Response) {
    let id = response.id.clone();
    let is_taken = match session.answer(response) {
        None => true,
        Some(unasked) => gateway.answer_earlier(session, unasked).await,
    };
    if !is_taken {
        let id = id.as_ref().map_or("null", RawJson::as_str);
        warn!(id, "a client answered what its session was not asked, or what is withdrawn; nobody gets the answer");
    }
}

/// Takes a notification of a session's client.
pub(crate) fn take_notification(gateway: &Gateway, session: &Session, notification: &Notification) {
    if notification.method != "notifications/cancelled" {
        return gateway.take_notice(session, notification);
    }
    let params = Object::parse_lenient(notification.params.as_ref());
    if let Some(id) = params.get("requestId") {
        session.cancel(id);
    }
}

async fn run(
    gateway: Arc<Gateway>,
    caller: Caller,
    id: RawJson,
    incoming: Incoming,
    events: EventSender,
) -> Result<Reply, RpcError> {
    let Client::Legacy(session) = &caller.client else {
        return gateway.request(&caller, incoming, events).await;
    };
    // Pinned here: handed on by value it would lie in memory twice.
    let outcome = pin!(gateway.request(&caller, incoming, events));
    until_cancelled(&gateway, session, &caller, &id, outcome).await
}

/// The outcome of a request of a session, unless its client takes it back.
async fn until_cancelled(
    gateway: &Gateway,
    session: &Arc<Session>,
    caller: &Caller,
    id: &RawJson,
    outcome: Pin<&mut impl Future<Output = Result<Reply, RpcError>>>,
) -> Result<Reply, RpcError> {
    let in_flight = session.begin(id).map_err(|refusal| RpcError::new(INVALID_REQUEST, refusal.to_string()))?;
    tokio::select! {
        outcome = outcome => outcome,
        () = in_flight.cancelled.cancelled() => {
            gateway.cancel_run_of(caller);
            Err(RpcError::new(CANCELLED, "the request was cancelled"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use vmcp_core::id::Identity;
    use vmcp_mcp::era::Revision;

    use super::*;

    fn session(capabilities: &'static str) -> Arc<Session> {
        let capabilities = RawJson::parse(capabilities).unwrap();
        Session::new(Revision::LATEST_LEGACY, Identity::Anonymous, capabilities)
    }

    #[tokio::test]
    async fn a_question_that_its_backend_withdraws_is_withdrawn_from_the_client() {
        let session = session(r#"{"elicitation":{}}"#);
        let request = Request { id: RawJson::of(&1), method: "elicitation/create".into(), params: None };
        let ask = || {
            let (reply, answered) = oneshot::channel();
            (session.ask(&request, reply).unwrap(), answered)
        };
        let ((first, given_up), (second, wanted), (third, answered)) = (ask(), ask(), ask());
        let mut questions = vec![first, second, third];
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(poll_withdrawn(&mut questions, cx).is_pending());
        drop(given_up);
        let answer = Response { id: Some(RawJson::of(&3)), reply: Reply::Result(RawJson::of(&"yes")) };
        assert!(session.answer(answer).is_none());
        assert!(answered.await.is_ok());
        let Poll::Ready(message) = poll_withdrawn(&mut questions, cx) else { panic!("the first is withdrawn") };
        assert!(message.starts_with(br#"{"jsonrpc":"2.0","method":"notifications/cancelled""#), "{message:?}");
        assert!(poll_withdrawn(&mut questions, cx).is_pending());
        assert_eq!(questions.len(), 1);
        drop(wanted);
        assert!(poll_withdrawn(&mut questions, cx).is_ready());
    }
}
