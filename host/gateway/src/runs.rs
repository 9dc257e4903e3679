//! The runs of composite tools: those that this process has, and those that lie in the store until somebody comes back to
//! them or their time has come.

mod answer;
mod owner;
mod table;
mod upkeep;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};
use vmcp_backend::EventSender;
use vmcp_core::{
    call::Reply,
    id::Identity,
    journal::{Event, RunId},
    json::RawJson,
    with_cause,
    workflow::WorkflowError,
};
use vmcp_mcp::era::Era;
use vmcp_workflow::{
    Budget, Composite, Run, RunLog, Unfinished, now,
    runs::{Claim, Ending, RunClient, RunHead, RunRecord},
};

use crate::{
    authored,
    composite::{Outer, Within},
    gateway::Gateway,
    live::{Live, Running, Seated},
    parked::{Answer, StateRefusal},
    router::{Caller, Client},
    seat::{Expected, Seat},
    session::{LogLevel, Owner},
};

pub use self::{
    answer::EarlierRequest,
    owner::{CancelError, RunView},
    table::Revive,
};
pub(crate) use self::{
    answer::{answers, question_key, question_number},
    table::Runs,
    upkeep::keep_going,
};

/// How soon it is looked again whether somebody who was expected has come.
const EXPECTED_PAUSE: Duration = Duration::from_millis(10);
/// How long a client waits for a run that another process has just now.
const HELD_PATIENCE: Duration = Duration::from_secs(5);
const HELD_PAUSE: Duration = Duration::from_millis(50);

/// How a run begins.
pub(crate) enum Begun {
    /// - the arguments, and the run and call that begin it
    Now(RawJson, Option<(Arc<RunHead>, u64)>),
    /// Earlier; what is kept of it.
    Before(RunRecord),
}

/// What a run needs that does not come from its tool.
pub(crate) struct Around {
    pub(crate) caller: Caller,
    pub(crate) seat: Arc<Seat>,
    pub(crate) budget: Budget,
    /// The composite tools that it runs within, the outermost first.
    pub(crate) chain: Vec<Arc<str>>,
}

/// What a client finds that comes back to its run.
pub(crate) enum Rejoined {
    Goes(Arc<Live>, Expected),
    /// It has ended meanwhile; its result.
    Over(RawJson),
}

impl Gateway {
    /// Begins a run of `composite` for a client.
    pub(crate) fn begin_run(&self, caller: Caller, composite: Arc<Composite>, arguments: RawJson) -> Arc<Live> {
        let head = new_head(&caller, &composite, arguments, None);
        let live = Live::new(head.clone(), Seat::new());
        self.runs.lives().insert(head.id, live.clone());
        let (seat, budget) = (live.seat.clone(), Budget::new(composite.limits));
        let around = Around { caller, seat, budget, chain: Vec::new() };
        let running = self.running(around, composite, head, None);
        self.drive(&live, running, Vec::new());
        live
    }

    /// The answer to a client that waits for `live`; it sits down there first.
    ///
    /// - `expected`: that it does, of a run that was there before
    /// - `answers`: to questions that the run will ask again
    pub(crate) fn follow(
        &self,
        live: Arc<Live>,
        expected: Option<Expected>,
        caller: &Caller,
        events: EventSender,
        token: Option<RawJson>,
        answers: HashMap<u64, Reply>,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let may_return = matches!(&caller.client, Client::Legacy(session) if session.is_listed());
        let seated =
            live.seat.take(events, token, answers).then(|| Seated::new(self.shared(), live.clone(), may_return));
        // Who finds the place taken waits for the end of the run all the same, which is not laid aside meanwhile.
        let waits_too = expected.filter(|_| seated.is_none());
        async move {
            let _waits_too = waits_too;
            live.answer(seated.is_some()).await
        }
    }

    /// A client comes back to its run, wherever that is now.
    ///
    /// - `caller`: as workflows see it
    pub(crate) async fn rejoin(&self, run: RunId, caller: &Caller) -> Result<Rejoined, StateRefusal> {
        let deadline = Instant::now() + HELD_PATIENCE;
        loop {
            if let Some((live, expected)) = self.runs.expect(run) {
                if live.head.owner != Owner::of(&caller.identity).0 {
                    return Err(StateRefusal::Foreign);
                }
                if live.seat.is_free() {
                    return Ok(Rejoined::Goes(live, expected));
                }
            } else {
                match self.claim(run, Some(caller)).await? {
                    Some(rejoined) => return Ok(rejoined),
                    None => debug!(%run, "another process has the run"),
                }
            }
            if Instant::now() >= deadline {
                return Err(StateRefusal::Busy);
            }
            sleep(HELD_PAUSE).await;
        }
    }

    /// Takes a run from the store and lets it go on; `None` when another process has it.
    ///
    /// - `caller`: the client that wants it; without one it goes on alone
    async fn claim(&self, run: RunId, caller: Option<&Caller>) -> Result<Option<Rejoined>, StateRefusal> {
        let (gateway, caller) = (self.shared(), caller.cloned());
        // What was begun has to be finished even if the client leaves meanwhile: the run would be nobody's.
        #[expect(clippy::disallowed_methods, reason = "it is short, and a run must not be left half taken")]
        let claiming = tokio::spawn(async move { gateway.claim_whole(run, caller.as_ref()).await });
        claiming.await.unwrap_or(Err(StateRefusal::Ended))
    }

    async fn claim_whole(&self, run: RunId, caller: Option<&Caller>) -> Result<Option<Rejoined>, StateRefusal> {
        // What the run calls next has to be there: a client may come back before the backends have started.
        if self.catalog().await.is_err() {
            return Err(StateRefusal::Busy);
        }
        let claim = self.runs.store.claim(run).await.map_err(|error| {
            warn!(%run, error = with_cause(&error), "a run cannot be taken up");
            StateRefusal::Ended
        })?;
        let is_foreign = |head: &RunHead| caller.is_some_and(|caller| head.owner != Owner::of(&caller.identity).0);
        match claim {
            Claim::Unknown => Err(StateRefusal::Ended),
            Claim::Held => Ok(None),
            Claim::Ended(record) if is_foreign(&record.head) => Err(StateRefusal::Foreign),
            Claim::Ended(record) => record.result.map(|result| Some(Rejoined::Over(result))).ok_or(StateRefusal::Ended),
            Claim::Taken(record) if is_foreign(&record.head) => {
                self.runs.store.release(run);
                Err(StateRefusal::Foreign)
            }
            Claim::Taken(record) => {
                let (live, expected) = self.take_up(*record, caller).await;
                Ok(Some(Rejoined::Goes(live, expected)))
            }
        }
    }

    /// Lets a run go on that this process has just taken.
    async fn take_up(&self, record: RunRecord, caller: Option<&Caller>) -> (Arc<Live>, Expected) {
        let head = record.head.clone();
        let caller = caller.cloned().unwrap_or_else(|| self.client_of(&head));
        let live = Live::new(head.clone(), Seat::new());
        let expected = live.seat.expect();
        self.runs.lives().insert(head.id, live.clone());
        info!(composite = &*head.tool, run = %head.id, told = record.told, "workflow goes on");
        let prepared = match self.composites.get(&head.tool).cloned() {
            Some(composite) => {
                let budget = Budget::resumed(composite.limits, &record.events);
                let around = Around { caller, seat: live.seat.clone(), budget, chain: Vec::new() };
                self.prepare(around, composite, Begun::Before(record)).await
            }
            None => Err(format!("`{}` is not in the configuration any more", head.tool)),
        };
        match prepared {
            Ok((running, past)) => {
                self.drive(&live, running, past);
                // It may have been cancelled meanwhile.
                match self.runs.find(head.id).is_some_and(|kept| Arc::ptr_eq(&kept, &live)) {
                    true => live.go_on_alone(),
                    false => live.abort(),
                }
            }
            Err(error) => {
                warn!(composite = &*head.tool, run = %head.id, error, "workflow cannot go on");
                self.over(&live, None, Ending::Failed, authored::tool_result(Era::Legacy, &error, None, true));
            }
        }
        (live, expected)
    }

    /// What a run needs to run, and what it was told before.
    ///
    /// # Errors
    /// When what it was made of is not there any more.
    pub(crate) async fn prepare(
        &self,
        around: Around,
        composite: Arc<Composite>,
        begun: Begun,
    ) -> Result<(Running, Vec<Event>), String> {
        match begun {
            Begun::Now(arguments, parent) => {
                let head = new_head(&around.caller, &composite, arguments, parent);
                let running = self.running(around, composite, head, None);
                Ok((running, Vec::new()))
            }
            Begun::Before(record) => {
                let composite = self.as_it_was(&record.head, composite).await?;
                let past = record.events.iter().map(|timed| timed.event.clone()).collect();
                let head = record.head.clone();
                let running = self.running(around, composite, head, Some(&record));
                Ok((running, past))
            }
        }
    }

    fn running(
        &self,
        around: Around,
        composite: Arc<Composite>,
        head: Arc<RunHead>,
        before: Option<&RunRecord>,
    ) -> Running {
        let Around { caller, seat, budget, mut chain } = around;
        chain.push(composite.name.clone());
        let budget = Arc::new(budget);
        let within = Within { chain, budget: budget.clone(), head: head.clone() };
        let outside = Arc::new(Outer { gateway: self.shared(), caller, seat, within });
        let told = before.map(|record| record.events.len() as u64);
        let unfinished = before.map(|record| Unfinished::of(&record.events)).unwrap_or_default();
        let log = Arc::new(RunLog::new(head, self.runs.store.clone(), told, composite.recorder.clone()));
        let world = Arc::new(Run::new(&composite, budget.clone(), outside, log.clone(), unfinished));
        Running { composite, log, world, budget }
    }

    /// Gives `live` what makes it go on.
    fn drive(&self, live: &Arc<Live>, running: Running, past: Vec<Event>) {
        let (gateway, driven, log) = (self.shared(), Arc::downgrade(live), running.log.clone());
        let driver = async move {
            // Whoever lets it go on has it.
            let Some(live) = driven.upgrade() else { return };
            info!(composite = &*live.head.tool, run = %live.head.id, "workflow started");
            let rests = |rests: bool| {
                live.set_rests(rests);
                if rests {
                    gateway.parked.let_go(live.head.id);
                }
            };
            let gives_up = || async {
                loop {
                    live.seat.left().await;
                    if gateway.runs.lay_aside(&live) {
                        return;
                    }
                    // Somebody is about to sit down.
                    sleep(EXPECTED_PAUSE).await;
                }
            };
            let Some(ended) = running.to_its_end(past, rests, gives_up).await else { return };
            let ending = if ended.is_ok() { Ending::Completed } else { Ending::Failed };
            let result = result_of(&running, ended);
            gateway.over(&live, running.log.unwritten(), ending, result);
        };
        live.is_driven_by(Box::pin(driver), log);
    }

    fn over(&self, live: &Arc<Live>, unwritten: Option<u64>, ending: Ending, result: RawJson) {
        // Who cancelled it was quicker.
        if !self.runs.remove(live) {
            return;
        }
        self.runs.end(&live.head, unwritten, ending, result.clone());
        live.is_over_with(result);
    }

    /// The client of a run that goes on without it.
    fn client_of(&self, head: &RunHead) -> Caller {
        let identity = Identity::Anonymous;
        let session = head.client.session.as_deref();
        if let Some(session) = session.and_then(|id| self.sessions.find(id, &identity).ok()) {
            return Caller::legacy(session);
        }
        let log_level = head.client.log_level.as_deref().and_then(LogLevel::parse);
        Caller::absent(identity, log_level, head.client.capabilities.clone())
    }

    /// The composite tool as it was when the run began, even if the configuration has another of its name now. What the
    /// configuration grants and limits counts as it is now.
    async fn as_it_was(&self, head: &RunHead, composite: Arc<Composite>) -> Result<Arc<Composite>, String> {
        if *composite.workflow.source() == head.source {
            return Ok(composite);
        }
        let bytes = match head.source.component == composite.workflow.source().component {
            true => None,
            false => {
                let kept =
                    self.runs.store.component(&head.source.component).await.map_err(|error| error.to_string())?;
                Some(kept.ok_or_else(|| {
                    format!("`{}` has changed since the run began, and its component of then is not kept", head.tool)
                })?)
            }
        };
        let (revive, tool, source) = (self.runs.revive.clone(), head.tool.clone(), head.source.clone());
        let reviving = tokio::task::spawn_blocking(move || {
            let workflow = revive(&tool, &source, bytes)?;
            let definition = workflow.definition().map_err(|error| with_cause(&error))?;
            Ok(Arc::new(composite.made_of(workflow, definition)))
        });
        reviving.await.map_err(|error| error.to_string())?
    }
}

/// The tool result of a run.
pub(crate) fn result_of(running: &Running, ended: Result<RawJson, WorkflowError>) -> RawJson {
    let head = &running.log.head;
    let took = Duration::from_millis(now().saturating_sub(head.began));
    match ended {
        Ok(result) => {
            info!(composite = &*head.tool, run = %head.id, ?took, "workflow completed");
            result
        }
        Err(error) => {
            warn!(composite = &*head.tool, run = %head.id, ?took, error = with_cause(&error), "workflow failed");
            authored::tool_result(Era::Legacy, &error.for_client(), None, true)
        }
    }
}

fn new_head(
    caller: &Caller,
    composite: &Composite,
    arguments: RawJson,
    parent: Option<(Arc<RunHead>, u64)>,
) -> Arc<RunHead> {
    let id = RunId(*uuid::Uuid::new_v4().as_bytes());
    let (log_level, session) = match &caller.client {
        Client::Legacy(session) => (session.log_level(), Some(session.id.clone()).filter(|_| session.is_listed())),
        Client::Modern { log_level, .. } | Client::Workflow { log_level, .. } => (*log_level, None),
    };
    Arc::new(RunHead {
        id,
        root: parent.as_ref().map_or(id, |(parent, _)| parent.root),
        parent: parent.map(|(parent, call)| (parent.id, call)),
        tool: composite.name.clone(),
        owner: Owner::of(&caller.identity).0,
        source: composite.workflow.source().clone(),
        arguments,
        client: RunClient {
            capabilities: caller.profile(Era::Legacy).capabilities,
            log_level: log_level.map(|level| level.as_str().to_owned()),
            session,
        },
        began: now(),
    })
}

#[cfg(test)]
mod tests;
