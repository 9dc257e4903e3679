//! Composite tools: workflows of the configuration among the tools of the backends. To its client a run is a call like any
//! other; its own calls pass the way of clients' calls.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tracing::warn;
use vmcp_backend::EventSender;
use vmcp_core::{
    call::{CallError, Reply},
    capability::{Kind, NameRule},
    catalog::{Catalog, Entry, Hidden},
    id::BackendId,
    journal::RunId,
    json::RawJson,
    with_cause,
    workflow::{InteractionError, ToolCallError},
};
use vmcp_mcp::{
    bridge::{self, input},
    era::Era,
    error::RpcError,
    meta::RequestMeta,
    object::Object,
};
use vmcp_workflow::{
    Asked, Budget, Composite, Outside, Rests,
    runs::{Ending, RunHead, RunRecord},
};

use crate::{
    admission::admit,
    definition::{self, Prepared},
    forward::{Brought, Stopped},
    gateway::Gateway,
    live::Live,
    parked::{Binding, OpenCall, Progress, Resumed, StateRefusal},
    router::{Caller, Client, Incoming, Target, outgoing},
    rules::BackendRules,
    runs::{self, Around, Begun, Rejoined},
    seat::{Expected, Seat},
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
pub(crate) struct Within {
    /// The composite tools that run, the outermost first.
    pub(crate) chain: Vec<Arc<str>>,
    /// Of the run that began this one.
    pub(crate) budget: Arc<Budget>,
    pub(crate) head: Arc<RunHead>,
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
        let name = composite.name.clone();
        let stopped = match era {
            Era::Legacy => {
                let running = async {
                    let live = self.begin_run(caller.in_workflow(), composite, arguments);
                    // A request begins one run.
                    let _ = caller.run.set(live.head.id);
                    self.follow(live, None, caller, events, meta.progress_token, HashMap::new()).await
                };
                Stopped::Answered(admit(&caller.identity, CALL, &name, &BackendId::composite(), running).await)
            }
            Era::Modern => {
                let round = Round { caller, composite, arguments, token: meta.progress_token, events: &events };
                self.run_in_rounds(round, brought).await?
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

    /// A run of a modern client, which makes its call again with each answer.
    async fn run_in_rounds(&self, round: Round<'_>, brought: Brought) -> Result<Stopped, RpcError> {
        let capabilities = round.caller.profile(Era::Legacy).capabilities;
        let binding = Binding::new(&round.caller.identity, &BackendId::composite(), CALL, &round.composite.name);
        let beforehand = brought.beforehand();
        let found = match brought.state {
            None => {
                let live = self.begin_run(round.caller.in_workflow(), round.composite.clone(), round.arguments.clone());
                ControlFlow::Continue(self.open_run(&round, live, None, 0, HashMap::new()))
            }
            Some(state) => self.come_back(&round, &state, &brought.responses, &binding).await?,
        };
        let mut open = match found {
            ControlFlow::Continue(open) => open,
            ControlFlow::Break(stopped) => return Ok(stopped),
        };
        match open.go_on_with(&beforehand, round.events, &capabilities, round.token.as_ref()).await? {
            Progress::Asks => self.parked.park(open, &binding).map(Stopped::Asks),
            Progress::Done(answer) => Ok(Stopped::Answered(answer)),
        }
    }

    /// The call of a modern client that comes back to its run, or what there is instead.
    async fn come_back(
        &self,
        round: &Round<'_>,
        state: &RawJson,
        responses: &Object,
        binding: &Binding,
    ) -> Result<ControlFlow<Stopped, OpenCall>, RpcError> {
        let ticket = self.parked.read(state, binding)?;
        match self.parked.resume_here(&ticket, responses, binding)? {
            Some(Resumed::GoOn(open)) => return Ok(ControlFlow::Continue(open)),
            Some(Resumed::Ask(result)) => return Ok(ControlFlow::Break(Stopped::Asks(result))),
            None => {}
        }
        let rejoined = self.rejoin(RunId(ticket.handle), &round.caller.in_workflow()).await;
        Ok(match rejoined.map_err(StateRefusal::tell)? {
            Rejoined::Over(result) => ControlFlow::Break(Stopped::Answered(Ok((Era::Legacy, Reply::Result(result))))),
            Rejoined::Goes(live, expected) => {
                let answers = runs::answers(responses);
                ControlFlow::Continue(self.open_run(round, live, Some(expected), ticket.round, answers))
            }
        })
    }

    /// The call of a modern client that is the run `live`.
    ///
    /// - `asked`: how often its client was asked before
    /// - `answers`: to questions that the run will ask again
    fn open_run(
        &self,
        round: &Round<'_>,
        live: Arc<Live>,
        expected: Option<Expected>,
        asked: u32,
        answers: HashMap<u64, Reply>,
    ) -> OpenCall {
        let Round { caller, token, .. } = round;
        let (identity, name) = (caller.identity.clone(), live.head.tool.clone());
        OpenCall::of_run(live.clone(), asked, |messages| {
            let following = self.follow(live, expected, caller, messages, token.clone(), answers);
            async move { admit(&identity, CALL, &name, &BackendId::composite(), following).await }
        })
    }
}

/// One request of a modern client that runs a composite tool.
struct Round<'a> {
    caller: &'a Caller,
    composite: Arc<Composite>,
    arguments: RawJson,
    token: Option<RawJson>,
    events: &'a EventSender,
}

/// What one run reaches.
pub(crate) struct Outer {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) caller: Caller,
    pub(crate) seat: Arc<Seat>,
    pub(crate) within: Within,
}

impl Outside for Outer {
    fn call(
        &self,
        tool: Arc<Entry>,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let (gateway, caller, seat) = (self.gateway.clone(), self.caller.clone(), self.seat.clone());
        Box::pin(async move { gateway.call_from_workflow(&caller, tool, arguments, timeout, seat.events()).await })
    }

    fn nested(
        &self,
        number: u64,
        tool: Arc<Entry>,
        arguments: RawJson,
        rests: Rests,
        began_before: bool,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let (gateway, caller, seat) = (self.gateway.clone(), self.caller.clone(), self.seat.clone());
        let call = Nested { number, tool, arguments, rests, began_before, within: self.within.clone() };
        Box::pin(async move { gateway.run_inside(caller, call, seat).await })
    }

    fn tools(&self) -> Vec<Arc<Entry>> {
        self.gateway.current_catalog().all_tools().collect()
    }

    fn tool(&self, name: &str) -> Option<Arc<Entry>> {
        self.gateway.current_catalog().any_tool(name)
    }

    fn ask(
        &self,
        number: u64,
        method: &'static str,
        params: RawJson,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Asked, InteractionError>> {
        let capabilities = self.caller.profile(Era::Legacy).capabilities;
        let asked = input::Asked { method: method.to_owned(), params: Some(params) };
        let (seat, waiting) = (self.seat.clone(), self.within.budget.pause());
        let number = runs::question_number(self.within.head.id, number);
        Box::pin(async move {
            let _waiting = waiting;
            if asked.lacking(&capabilities).is_some() {
                return Err(InteractionError::Unsupported(format!("the client does not offer `{method}`")));
            }
            seat.ask(number, &asked, patience).await
        })
    }

    fn longest_wait(&self) -> Duration {
        self.gateway.input_timeout
    }

    fn progress(&self, done: f64, total: Option<f64>, message: String) {
        // Only the outermost run is what the client asked for.
        if self.within.chain.len() == 1 {
            self.seat.progress(done, total, &message);
        }
    }
}

/// A composite tool that a run calls.
struct Nested {
    number: u64,
    tool: Arc<Entry>,
    arguments: RawJson,
    rests: Rests,
    began_before: bool,
    within: Within,
}

impl Gateway {
    /// A composite tool that another one calls.
    async fn run_inside(&self, caller: Caller, nested: Nested, seat: Arc<Seat>) -> Result<RawJson, ToolCallError> {
        let Nested { number, tool, arguments, rests, began_before, within } = nested;
        let name = &tool.capability.original_name;
        let chain = || within.chain.join("` → `");
        if within.chain.contains(name) {
            return Err(ToolCallError::Denied(format!("`{name}` would call itself: `{}` → `{name}`", chain())));
        }
        if within.chain.len() >= MAX_DEPTH {
            let message = format!("{MAX_DEPTH} composite tools may run inside each other, and do: `{}`", chain());
            return Err(ToolCallError::OverBudget(message));
        }
        let composite = self.composites.get(name).ok_or_else(|| ToolCallError::UnknownTool(name.to_string()))?.clone();
        let earlier = match began_before {
            true => self.runs.store.child(within.head.id, number).await,
            false => Ok(None),
        };
        let earlier = earlier.map_err(|error| ToolCallError::Unavailable(error.to_string()))?;
        if let Some(RunRecord { result: Some(result), .. }) = earlier {
            return Ok(result);
        }
        let begun = match earlier {
            Some(record) => Begun::Before(record),
            None => Begun::Now(arguments, Some((within.head.clone(), number))),
        };
        let (budget, chain) = (within.budget.nested(composite.limits), within.chain);
        if let Begun::Before(record) = &begun {
            budget.charge(&record.events);
        }
        let identity = caller.identity.clone();
        let prepared = self.prepare(Around { caller, seat, budget, chain }, composite, begun).await;
        let (running, past) = prepared.map_err(ToolCallError::Other)?;
        let desk = running.log.desk().clone();
        let rests = |is_resting: bool| rests.set(is_resting, desk.wake());
        let answer = async {
            let ended = running.to_its_end(past, rests, std::future::pending).await;
            // Only an outermost run is laid aside.
            let ended = ended.ok_or_else(|| CallError::Unavailable {
                backend: BackendId::composite(),
                reason: "it was laid aside".to_owned(),
            })?;
            let ending = if ended.is_ok() { Ending::Completed } else { Ending::Failed };
            let result = runs::result_of(&running, ended);
            if running.log.unwritten().is_none() {
                self.runs.store.end(&running.log.head, ending, result.clone());
            }
            Ok((Era::Legacy, Reply::Result(result)))
        };
        match admit(&identity, CALL, name, &BackendId::composite(), answer).await {
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
