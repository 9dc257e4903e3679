//! Carries a request to its backend, in the way of the pair of eras that client and backend are: see [`vmcp_mcp::bridge`].

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use http::{HeaderName, HeaderValue};
use tokio::{sync::oneshot, time::timeout};
use vmcp_backend::{Backend, BackendRequest, BackendState, EventSender, ServerMessage};
use vmcp_core::{
    call::{CallError, Reply},
    json::RawJson,
    with_cause,
};
use vmcp_mcp::{
    bridge::{
        self,
        input::Asked,
        legacy_modern::{AfterTry, Rounds},
        modern_legacy,
    },
    envelope::Request,
    era::Era,
    error::{BACKEND_FAILED, RpcError},
    object::Object,
};

use crate::{
    admission::admit,
    gateway::Gateway,
    parked::{Answer, Binding, OpenCall, Progress, Resumed, salt},
    router::{Caller, Client, Incoming},
    task::{self, TaskSupport},
    uri,
};

const INPUT_RESPONSES: &str = "inputResponses";
const REQUEST_STATE: &str = "requestState";

/// A request on its way to a backend.
pub(crate) struct Outgoing {
    /// With the backend's own names.
    pub incoming: Incoming,
    /// The client's name for what it wants.
    pub name: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether a legacy backend may or must make a task of it.
    pub task: TaskSupport,
    /// How long the reply may take; the backend's own limit without.
    pub timeout: Option<Duration>,
}

impl Outgoing {
    /// A request without headers of its own that never becomes a task.
    pub(crate) fn plain(incoming: Incoming, name: String) -> Self {
        Self { incoming, name, headers: Vec::new(), task: TaskSupport::Never, timeout: None }
    }

    /// Whether a modern client's call becomes a task at a legacy backend.
    ///
    /// # Errors
    /// When it has to, and the client does not know tasks.
    fn becomes_task(&self) -> Result<bool, RpcError> {
        match (self.task, task::declares_tasks(&self.incoming)) {
            (TaskSupport::Never, _) | (TaskSupport::Optional, false) => Ok(false),
            (_, true) => Ok(true),
            (TaskSupport::Required, false) => Err(task::needs_extension(&format!("`{}`", self.name))),
        }
    }
}

impl Gateway {
    /// Makes the call through the admission seam, and brings the reply into the client's era.
    pub(crate) async fn forward(
        &self,
        caller: &Caller,
        backend: &Arc<Backend>,
        outgoing: Outgoing,
        events: EventSender,
    ) -> Result<Reply, RpcError> {
        let (from, to) = (caller.era(), era_of(backend).await?);
        let may_name_task = task::may_name_task(&outgoing.incoming, from);
        let becomes_task = to == Era::Legacy && from == Era::Modern && outgoing.becomes_task()?;
        let Outgoing { incoming: Incoming { method, mut params, mut meta, .. }, name, headers, timeout, .. } = outgoing;
        if from == Era::Modern && to == Era::Legacy {
            // What asks legacy backends for a task means nothing in a modern request.
            params.remove("task");
        }
        if becomes_task {
            params.set("task", Object::default().to_json());
        }
        if let Client::Legacy(session) = &caller.client {
            meta.log_level = session.log_level().map(|level| RawJson::of(&level.as_str()));
        }
        let client = caller.profile(to);
        let request = BackendRequest { method: method.clone().into(), params, meta, client, headers, timeout };
        let call = Call { caller, backend, request, name: &name };
        let (era, reply) = match (from, to) {
            (Era::Modern, Era::Legacy) if asks_for_input(&method) => match self.stop_for_input(call, &events).await? {
                Stopped::Answered(answer) => answer.map_err(|error| no_reply(&error))?,
                Stopped::Asks(result) => return Ok(Reply::Result(result)),
            },
            (Era::Modern, Era::Legacy) if method.starts_with("tasks/") => {
                (from, self.about_legacy_task(call, &events).await?)
            }
            (Era::Legacy, Era::Modern) if asks_for_input(&method) => {
                call.in_rounds(&events, self.input_timeout).await?
            }
            _ => call.once(events).await.map_err(|error| no_reply(&error))?,
        };
        let mut reply = match reply {
            Reply::Result(result) if becomes_task => Reply::Result(bridge::task::created(&result).unwrap_or(result)),
            reply => reply,
        };
        reply = bridge::translate_reply(reply, &method, era, from);
        if may_name_task {
            let known = method.starts_with("tasks/").then_some(name.as_str());
            reply = self.seal_tasks(caller, backend.id(), known, reply);
        }
        Ok(match (self.uri_prefix(backend.id()), reply) {
            (Some(prefix), Reply::Result(result)) => Reply::Result(uri::add_prefix(&result, prefix)),
            (_, reply) => reply,
        })
    }

    /// A call of a modern client to a legacy backend, which stops when the backend wants something of the client.
    async fn stop_for_input(&self, mut call: Call<'_>, events: &EventSender) -> Result<Stopped, RpcError> {
        let brought = Brought::take_from(&mut call.request.params);
        let binding = Binding::new(&call.caller.identity, call.backend.id(), &call.request.method, call.name);
        let capabilities = call.request.client.capabilities.clone();
        let token = call.request.meta.progress_token.clone();
        self.call_with_stops(brought, &binding, &capabilities, token.as_ref(), events, || call.begin()).await
    }

    /// A call that a modern client makes, makes again with answers, and so on until it is done.
    ///
    /// - `brought`: what the client's request has of an earlier round
    /// - `token`: the client's present progress token
    /// - `begin`: makes the call, in the first round
    pub(crate) async fn call_with_stops(
        &self,
        brought: Brought,
        binding: &Binding,
        capabilities: &RawJson,
        token: Option<&RawJson>,
        events: &EventSender,
        begin: impl FnOnce() -> OpenCall,
    ) -> Result<Stopped, RpcError> {
        let beforehand = brought.beforehand();
        let Brought { state, responses } = brought;
        let resumed = match state {
            None => None,
            Some(state) => match self.parked.resume(&state, &responses, binding)? {
                Resumed::GoOn(open) if !open.is_running() && !all_accepted(&responses) => {
                    return Err(RpcError::invalid_params("the backend wants a visit that the client declined"));
                }
                Resumed::GoOn(open) => Some(open).filter(OpenCall::is_running),
                Resumed::Ask(result) => return Ok(Stopped::Asks(result)),
            },
        };
        let mut open = resumed.unwrap_or_else(begin);
        match open.go_on_with(&beforehand, events, capabilities, token).await? {
            Progress::Asks => self.parked.park(open, binding).map(Stopped::Asks),
            Progress::Done(Ok((era, Reply::Error(error)))) => {
                match modern_legacy::url_visits(&error, capabilities, &salt())? {
                    Some(visits) => self.parked.park(OpenCall::to_be_made(visits), binding).map(Stopped::Asks),
                    None => Ok(Stopped::Answered(Ok((era, Reply::Error(error))))),
                }
            }
            Progress::Done(answer) => Ok(Stopped::Answered(answer)),
        }
    }
}

/// What a modern client's request brings of an earlier round.
pub(crate) struct Brought {
    pub(crate) state: Option<RawJson>,
    pub(crate) responses: Object,
}

impl Brought {
    pub(crate) fn take_from(params: &mut Object) -> Self {
        let state = params.remove(REQUEST_STATE);
        Self { state, responses: Object::parse_lenient(params.remove(INPUT_RESPONSES).as_ref()) }
    }

    /// The answers of a client that knows what it will be asked, and brings them at once.
    pub(crate) fn beforehand(&self) -> Object {
        if self.state.is_none() { self.responses.clone() } else { Object::default() }
    }
}

/// Where a call that may stop has come to.
pub(crate) enum Stopped {
    Answered(Answer),
    /// The result that asks the client for input.
    Asks(RawJson),
}

/// One call and who makes it.
pub(crate) struct Call<'a> {
    pub caller: &'a Caller,
    pub backend: &'a Arc<Backend>,
    pub request: BackendRequest,
    pub name: &'a str,
}

impl Call<'_> {
    /// The call as it is.
    pub(crate) async fn once(self, events: EventSender) -> Answer {
        let Self { caller, backend, request, name } = self;
        let method = request.method.clone();
        // Boxed: it is large, and would be copied through every layer above.
        let answer = Box::pin(backend.answer(request, events));
        admit(&caller.identity, &method, name, backend.id(), answer).await
    }

    /// The call as one that outlives the request that began it.
    pub(crate) fn begin(self) -> OpenCall {
        let Self { caller, backend, request, name } = self;
        let (identity, backend) = (caller.identity.clone(), backend.clone());
        let (method, name) = (request.method.clone(), name.to_owned());
        OpenCall::begin_with(|sender| async move {
            let answer = Box::pin(backend.answer(request, sender));
            admit(&identity, &method, &name, backend.id(), answer).await
        })
    }

    /// The call again and again, as long as the modern backend asks for input that the legacy client gives meanwhile.
    ///
    /// - `patience`: how long a client, and the person before it, has for one question
    async fn in_rounds(self, events: &EventSender, patience: Duration) -> Result<(Era, Reply), RpcError> {
        let Self { caller, backend, mut request, name } = self;
        let mut rounds = Rounds::default();
        loop {
            let attempt = Call { caller, backend, request: request.clone(), name };
            let (era, reply) = attempt.once(events.clone()).await.map_err(|error| no_reply(&error))?;
            let round = match rounds.after(reply, &request.client.capabilities)? {
                AfterTry::Done(reply) => return Ok((era, reply)),
                AfterTry::Ask(round) => round,
            };
            let asking = round.questions.iter().map(|(key, asked)| async move {
                ask_client(events, asked, patience).await.map(|answer| (key.clone(), answer))
            });
            let answers = try_join_all(asking).await?;
            round.retry(&mut request.params, answers);
        }
    }
}

/// Asks the legacy client behind `events`, and waits for its answer.
async fn ask_client(events: &EventSender, asked: &Asked, patience: Duration) -> Result<RawJson, RpcError> {
    let Asked { method, params } = asked;
    let refused = |why: String| {
        RpcError::new(BACKEND_FAILED, why).with_data(serde_json::json!({ "kind": "input", "method": method }))
    };
    let (reply, answered) = oneshot::channel();
    let request = Request { id: RawJson::of(&method), method: method.clone(), params: params.clone() };
    // Nobody listens only when the client is gone, which ends this call too.
    let _ = events.send(ServerMessage::Request { request, reply }).await;
    match timeout(patience, answered).await {
        Ok(Ok(Reply::Result(answer))) => Ok(answer),
        Ok(Ok(Reply::Error(error))) => {
            let said = Object::parse_lenient(Some(&error)).get_string("message").unwrap_or_default();
            Err(refused(format!("the client answered the backend's `{method}` with an error: {said}")))
        }
        Ok(Err(_)) => Err(refused(format!("the client cannot be asked for `{method}` now"))),
        Err(_) => {
            Err(refused(format!("the client did not answer `{method}` within {patience:?} (`server.inputTimeout`)")))
        }
    }
}

/// Whether none of the answers says no.
fn all_accepted(responses: &Object) -> bool {
    let accepts =
        |answer: &RawJson| Object::parse_lenient(Some(answer)).get_string("action").as_deref() == Some("accept");
    responses.iter().all(|(_, answer)| accepts(answer))
}

/// Whether the protocol lets a server ask for input in the middle of this.
fn asks_for_input(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// The era of `backend`; one that is not connected yet is connected to find out.
pub(crate) async fn era_of(backend: &Backend) -> Result<Era, RpcError> {
    if let BackendState::Ready(info) = &*backend.state().borrow() {
        return Ok(info.era);
    }
    backend.connected().await.map(|info| info.era).map_err(|error| no_reply(&error))
}

/// A call without a reply, as the client sees it.
pub(crate) fn no_reply(error: &CallError) -> RpcError {
    RpcError::new(BACKEND_FAILED, with_cause(error))
        .with_data(serde_json::json!({ "backend": error.backend().as_str(), "kind": error.kind() }))
}
