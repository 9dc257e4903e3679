//! Composite tools: workflows of the configuration among the tools of the backends. To its client a run is a call like any
//! other; its own calls pass the way of clients' calls.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::{info, warn};
use vmcp_backend::{EventSender, ServerMessage};
use vmcp_core::{
    call::Reply,
    capability::{Kind, NameRule},
    catalog::{Catalog, Entry, Hidden},
    id::BackendId,
    json::RawJson,
    with_cause,
    workflow::{InteractionError, NewRun, ToolCallError, WorkflowError},
};
use vmcp_mcp::{
    bridge::{self, input},
    envelope::{Notification, Request},
    era::Era,
    error::RpcError,
    meta::{PROGRESS_TOKEN, RequestMeta},
    object::Object,
};
use vmcp_workflow::{Asked, Budget, Composite, Outside, Run};

use crate::{
    admission::admit,
    authored,
    definition::{self, Prepared},
    forward::{Brought, Stopped},
    gateway::Gateway,
    parked::{Answer, Binding, OpenCall},
    router::{Caller, Client, Incoming, Target, outgoing},
    rules::BackendRules,
};

/// Composite tools that run inside each other.
const MAX_DEPTH: usize = 8;
const CALL: &str = "tools/call";
const WHY: &str = "a composite tool";
const DECIDED_BY: &str = "configuration";

/// `catalog` with the composite tools that can be shown: those whose tools are all there, and whose names nobody else has.
pub(crate) fn add<'c>(
    mut catalog: Catalog,
    composites: impl Iterator<Item = &'c Arc<Composite>>,
    names: NameRule,
) -> Catalog {
    let mut waiting: Vec<&Composite> = composites.map(|composite| &**composite).collect();
    loop {
        let (mut shown, mut hidden, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for composite in waiting {
            match shown_as(composite, &catalog, names) {
                Ok(definition) => shown.push(entry(prepared(&definition))),
                Err(reason) => {
                    let plain = RawJson::of(&serde_json::json!({ "name": composite.name }));
                    hidden.push((composite, prepared(&plain), reason));
                    left.push(composite);
                }
            }
        }
        if !shown.is_empty() {
            // Others may call these.
            catalog = catalog.with_tools(shown, Vec::new());
            waiting = left;
            continue;
        }
        let hide = |(composite, Prepared { capability, arguments, .. }, reason): (&Composite, Prepared, String)| {
            let reason = circle(composite, &left, &catalog).unwrap_or(reason);
            warn!(composite = &*composite.name, "hidden: {reason}");
            Hidden { capability, reason: reason.into(), decided_by: DECIDED_BY.into(), arguments }
        };
        let hidden: Vec<_> = hidden.into_iter().map(hide).collect();
        return if hidden.is_empty() { catalog } else { catalog.with_tools(Vec::new(), hidden) };
    }
}

/// The way on which `composite` would come to call itself, if that is why it waits.
fn circle(composite: &Composite, waiting: &[&Composite], catalog: &Catalog) -> Option<String> {
    let (mut chain, mut last) = (vec![&*composite.name], composite);
    loop {
        let missing = last.missing_tool(catalog)?;
        last = waiting.iter().find(|one| *one.name == *missing)?;
        let is_closed = chain.contains(&missing);
        chain.push(missing);
        if is_closed {
            return Some(format!("it would call itself: `{}`", chain.join("` → `")));
        }
    }
}

/// The definition that clients see, or why they see none.
fn shown_as(composite: &Composite, catalog: &Catalog, names: NameRule) -> Result<RawJson, String> {
    if let Some(violation) = names.violation(&composite.name) {
        return Err(violation);
    }
    let taken = catalog.tools.get(&composite.name).or_else(|| catalog.unavailable(Kind::Tool, &composite.name));
    if let Some(other) = taken {
        return Err(format!("the backend `{}` has a tool of this name", other.backend()));
    }
    composite.advertise(catalog)
}

fn prepared(definition: &RawJson) -> Prepared {
    definition::prepare(Kind::Tool, &BackendId::composite(), definition, &BackendRules::default())
        .expect("the host wrote the name into it")
}

fn entry(Prepared { capability, arguments, .. }: Prepared) -> Entry {
    Entry {
        name: capability.name.clone(),
        definition: capability.definition.clone(),
        capability,
        why: WHY.into(),
        decided_by: DECIDED_BY.into(),
        arguments,
    }
}

/// What a run is part of.
#[derive(Clone)]
struct Within {
    /// The composite tools that run, the outermost first.
    chain: Vec<Arc<str>>,
    /// Of the run that began this one.
    budget: Option<Arc<Budget>>,
}

impl Gateway {
    /// Runs a composite tool for a client.
    pub(crate) async fn run_composite(
        &self,
        caller: &Caller,
        composite: Arc<Composite>,
        incoming: Incoming,
        events: EventSender,
    ) -> Result<Reply, RpcError> {
        let Incoming { mut params, meta, .. } = incoming;
        let era = caller.era();
        let brought = Brought::take_from(&mut params);
        let arguments = params.remove("arguments").unwrap_or_else(|| Object::default().to_json());
        if !arguments.as_bytes().starts_with(b"{") {
            return Err(RpcError::invalid_params("`arguments` is no object"));
        }
        let token = meta.progress_token;
        let inner = caller.in_workflow();
        let capabilities = caller.profile(Era::Legacy).capabilities;
        let within = Within { chain: Vec::new(), budget: None };
        let run = |events, token| self.run(inner, &composite, arguments, events, token, within);
        let stopped = match era {
            Era::Legacy => Stopped::Answered(run(events, token).await),
            Era::Modern => {
                let binding = Binding::new(&caller.identity, &BackendId::composite(), CALL, &composite.name);
                let begin = || OpenCall::begin_with(|messages| run(messages, token.clone()));
                self.call_with_stops(brought, &binding, &capabilities, token.as_ref(), &events, begin).await?
            }
        };
        Ok(match stopped {
            Stopped::Asks(result) => Reply::Result(result),
            Stopped::Answered(answer) => {
                let (from, reply) = answer.map_err(|error| crate::forward::no_reply(&error))?;
                bridge::translate_reply(reply, CALL, from, era)
            }
        })
    }

    /// One run, on a task of its own: it goes on while its client is away to answer. Dropped, it ends with all its calls.
    ///
    /// - `token`: where progress goes, if anywhere
    fn run(
        &self,
        caller: Caller,
        composite: &Arc<Composite>,
        arguments: RawJson,
        events: EventSender,
        token: Option<RawJson>,
        within: Within,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let (gateway, composite) = (self.shared(), composite.clone());
        let identity = caller.identity.clone();
        let budget = Arc::new(match &within.budget {
            Some(budget) => budget.nested(composite.limits),
            None => Budget::new(composite.limits),
        });
        let mut chain = within.chain;
        chain.push(composite.name.clone());
        let name = composite.name.clone();
        let answer = async move {
            let outside = Arc::new(Outer { gateway, caller, events, token, chain, budget: budget.clone() });
            let world = Run::new(&composite, budget.clone(), outside);
            info!(composite = &*composite.name, "workflow started");
            let began = Instant::now();
            let run = composite
                .workflow
                .clone()
                .run(NewRun { recorder: composite.recorder.clone(), ..NewRun::new(arguments, Arc::new(world)) });
            let ended = tokio::select! {
                ended = run => ended,
                () = budget.time_is_up() => {
                    let limit = format!("it may take {:?}, waits for answers not counted", composite.limits.wall_time);
                    Err(WorkflowError::OverBudget { workflow: composite.workflow.label().to_owned(), limit })
                }
            };
            let took = began.elapsed();
            let result = match ended {
                Ok(result) => {
                    info!(composite = &*composite.name, ?took, "workflow completed");
                    result
                }
                Err(error) => {
                    warn!(composite = &*composite.name, ?took, error = with_cause(&error), "workflow failed");
                    authored::tool_result(Era::Legacy, &error.for_client(), None, true)
                }
            };
            Ok((Era::Legacy, Reply::Result(result)))
        };
        #[expect(clippy::disallowed_methods, reason = "ended by `Ended`")]
        let task = Ended(tokio::spawn(answer));
        async move {
            let mut task = task;
            let answer = async {
                (&mut task.0).await.unwrap_or_else(|error| {
                    let message = format!("the run was ended: {error}");
                    Ok((Era::Legacy, Reply::Result(authored::tool_result(Era::Legacy, &message, None, true))))
                })
            };
            admit(&identity, CALL, &name, &BackendId::composite(), answer).await
        }
    }
}

/// A task that ends when nobody waits for it.
struct Ended(JoinHandle<Answer>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one run reaches.
struct Outer {
    gateway: Arc<Gateway>,
    caller: Caller,
    events: EventSender,
    token: Option<RawJson>,
    chain: Vec<Arc<str>>,
    budget: Arc<Budget>,
}

impl Outside for Outer {
    fn call(
        &self,
        tool: Arc<Entry>,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let (gateway, caller, events) = (self.gateway.clone(), self.caller.clone(), self.events.clone());
        if tool.backend().is_composite() {
            let within = Within { chain: self.chain.clone(), budget: Some(self.budget.clone()) };
            return Box::pin(async move { gateway.run_inside(caller, &tool, arguments, events, within).await });
        }
        Box::pin(async move { gateway.call_from_workflow(&caller, tool, arguments, timeout, events).await })
    }

    fn tools(&self) -> Vec<Arc<Entry>> {
        self.gateway.current_catalog().all_tools().collect()
    }

    fn tool(&self, name: &str) -> Option<Arc<Entry>> {
        self.gateway.current_catalog().any_tool(name)
    }

    fn ask(
        &self,
        method: &'static str,
        params: RawJson,
        patience: Option<Duration>,
    ) -> BoxFuture<'static, Result<Asked, InteractionError>> {
        let capabilities = self.caller.profile(Era::Legacy).capabilities;
        let asked = input::Asked { method: method.to_owned(), params: Some(params) };
        let (events, longest) = (self.events.clone(), self.gateway.input_timeout);
        let waiting = self.budget.pause();
        Box::pin(async move {
            let _waiting = waiting;
            if asked.lacking(&capabilities).is_some() {
                return Err(InteractionError::Unsupported(format!("the client does not offer `{method}`")));
            }
            let (reply, answered) = oneshot::channel();
            // The id is no word: where questions have keys, each gets one of its own.
            let request = Request { id: RawJson::of(&0), method: asked.method, params: asked.params };
            // Nobody listens only when the client is gone, which ends this run too.
            let _ = events.send(ServerMessage::Request { request, reply }).await;
            match timeout(patience.unwrap_or(longest).min(longest), answered).await {
                Ok(Ok(Reply::Result(answer))) => Ok(Asked::Answered(answer)),
                Ok(Ok(Reply::Error(error))) => {
                    let said = Object::parse_lenient(Some(&error)).get_string("message").unwrap_or_default();
                    Err(InteractionError::Other(format!("the client answered `{method}` with an error: {said}")))
                }
                Ok(Err(_)) => {
                    Err(InteractionError::Unsupported(format!("the client cannot be asked for `{method}` now")))
                }
                Err(_) => Ok(Asked::TimedOut),
            }
        })
    }

    fn progress(&self, done: f64, total: Option<f64>, message: String) {
        let Some(token) = &self.token else { return };
        let mut params = Object::from([(PROGRESS_TOKEN, token.clone()), ("progress", number(done))]);
        if let Some(total) = total {
            params.set("total", number(total));
        }
        params.set("message", RawJson::of(&message));
        let notification = Notification { method: "notifications/progress".into(), params: Some(params.to_json()) };
        // A client that does not keep up hears of later progress.
        let _ = self.events.try_send(ServerMessage::Notification(notification));
    }
}

/// A whole number without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is within range")]
fn number(value: f64) -> RawJson {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= LARGEST { RawJson::of(&(value as i64)) } else { RawJson::of(&value) }
}

impl Gateway {
    /// A composite tool that another one calls.
    async fn run_inside(
        &self,
        caller: Caller,
        tool: &Entry,
        arguments: RawJson,
        events: EventSender,
        within: Within,
    ) -> Result<RawJson, ToolCallError> {
        let name = &tool.capability.original_name;
        let chain = || within.chain.join("` → `");
        if within.chain.contains(name) {
            return Err(ToolCallError::Denied(format!("`{name}` would call itself: `{}` → `{name}`", chain())));
        }
        if within.chain.len() >= MAX_DEPTH {
            let message = format!("{MAX_DEPTH} composite tools may run inside each other, and do: `{}`", chain());
            return Err(ToolCallError::OverBudget(message));
        }
        let composite = self.composites.get(name).ok_or_else(|| ToolCallError::UnknownTool(name.to_string()))?;
        match self.run(caller, composite, arguments, events, None, within).await {
            Ok((_, Reply::Result(result))) => Ok(result),
            Ok((_, Reply::Error(error))) => Err(ToolCallError::Refused(error)),
            Err(error) => Err(ToolCallError::Other(with_cause(&error))),
        }
    }

    /// A tool of a backend that a workflow calls.
    async fn call_from_workflow(
        &self,
        caller: &Caller,
        tool: Arc<Entry>,
        arguments: RawJson,
        timeout: Option<Duration>,
        events: EventSender,
    ) -> Result<RawJson, ToolCallError> {
        let backend = self.backend(tool.backend()).map_err(|error| ToolCallError::Unavailable(error.message))?;
        let (name, original_name) = (tool.name.to_string(), tool.capability.original_name.clone());
        let params = Object::from([("name", RawJson::of(&name)), ("arguments", arguments)]);
        let meta = RequestMeta::default();
        let incoming = Incoming { method: CALL.to_owned(), params, meta, param_headers: None };
        let target = Target { backend, original_name, entry: Some(tool) };
        let mut outgoing = outgoing(&target, Kind::Tool, incoming, name).map_err(refused)?;
        outgoing.timeout = timeout;
        match self.forward(caller, backend, outgoing, events).await.map_err(refused)? {
            Reply::Result(result) => Ok(result),
            Reply::Error(error) => Err(ToolCallError::Refused(error)),
        }
    }
}

/// What the host itself objects to a call, by the kind that the error names.
fn refused(error: RpcError) -> ToolCallError {
    let kind = error.data.as_ref().and_then(|data| data["kind"].as_str());
    match kind {
        Some("unavailable" | "busy" | "refused") => ToolCallError::Unavailable(error.message),
        Some("timeout" | "connectionLost") => ToolCallError::OutcomeUnknown(error.message),
        _ => ToolCallError::Other(error.message),
    }
}

impl Caller {
    /// The client as a workflow's calls show it: what backends ask of it goes through the run, as to a legacy client.
    fn in_workflow(&self) -> Self {
        let client = match &self.client {
            Client::Modern { log_level, .. } => {
                Client::Workflow { capabilities: self.profile(Era::Legacy).capabilities, log_level: *log_level }
            }
            client => client.clone(),
        };
        Self { client, ..self.clone() }
    }
}
