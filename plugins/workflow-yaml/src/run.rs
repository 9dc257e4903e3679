//! One run of a workflow: which step starts when, and what the run yields.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::Rc,
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    context::RunFacts,
    duration,
    pool::{Pool, within},
    step::{Failure, Outcome, Status, Step},
    template::{TemplateValue, from_json},
    workflow::{StepSet, Workflow},
    world::World,
};

/// Most steps under way at a time.
const MAX_PARALLEL: usize = 10;

/// Why a workflow failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    Step {
        id: String,
        reason: String,
    },
    /// The reason names the property.
    Output {
        reason: String,
    },
    TimedOut {
        after: Duration,
        running: Vec<String>,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { id, reason } => write!(f, "step `{id}` failed: {reason}"),
            Self::Output { reason } => f.write_str(reason),
            Self::TimedOut { after, running } => {
                let running: Vec<_> = running.iter().map(|id| format!("`{id}`")).collect();
                let after = duration::print(*after);
                write!(
                    f,
                    "the workflow timed out after {after}, while these steps were under way: {}",
                    running.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for RunError {}

/// What the steps of one run share.
pub(crate) struct Run<'r, W> {
    pub(crate) world: &'r W,
    workflow: &'r Workflow,
    facts: RunFacts,
    schemas: RefCell<HashMap<String, Option<Rc<Value>>>>,
    /// Steps under way, kept for the message when time is up.
    running: Cell<StepSet>,
}

/// Runs `workflow` with `params`, defaults included, and gives its output.
pub(crate) async fn run<W: World>(
    workflow: &Workflow,
    params: Map<String, Value>,
    world: &W,
) -> Result<Map<String, Value>, RunError> {
    let facts = RunFacts {
        id: random_id(world),
        started: world.now_millis(),
        params: from_json(&Value::Object(params)),
        config: from_json(&Value::Object(workflow.config.clone())),
    };
    let run = Run { world, workflow, facts, schemas: RefCell::default(), running: Cell::default() };
    match within(world, workflow.timeout, run.to_end()).await {
        Some(ended) => ended,
        None => Err(RunError::TimedOut { after: workflow.timeout, running: run.running() }),
    }
}

impl<W: World> Run<'_, W> {
    /// JSON Schema of a tool's arguments, asked for once per run.
    pub(crate) fn schema(&self, tool: &str) -> Option<Rc<Value>> {
        let mut schemas = self.schemas.borrow_mut();
        schemas.entry(tool.to_owned()).or_insert_with(|| self.world.input_schema(tool).map(Rc::new)).clone()
    }

    async fn to_end(&self) -> Result<Map<String, Value>, RunError> {
        let outcomes = self.steps().await?;
        match &self.workflow.output {
            Some(output) => {
                let steps = self.workflow.steps.iter().zip(&outcomes);
                let context = self.facts.context(steps, "completed", self.world.now_millis());
                output.expand(&context, self.world).map_err(|reason| RunError::Output { reason })
            }
            None => Ok(self.last_output(&outcomes)),
        }
    }

    /// Runs every step as soon as those that it depends on are done; of several that can start, the first declared does.
    /// The first failure that is not passed over drops all that is under way.
    async fn steps(&self) -> Result<Vec<Outcome>, RunError> {
        let steps = &self.workflow.steps;
        let mut outcomes: Vec<Option<Outcome>> = steps.iter().map(|_| None).collect();
        let (mut started, mut done) = (StepSet::default(), StepSet::default());
        let (mut skipping, mut pool) = (false, Pool::new());
        let mut finished = 0;
        loop {
            let is_ready = |index: &usize| !started.contains(*index) && done.covers(self.workflow.dependencies[*index]);
            let ready: Vec<usize> = (0..steps.len()).filter(is_ready).collect();
            for index in ready.into_iter().filter(|_| !skipping).take(MAX_PARALLEL - pool.len()) {
                started.add(StepSet::of(index));
                let context = self.context_of(index, &outcomes);
                pool.start(index, async move { steps[index].run(self, &context).await });
            }
            self.running.set(started.without(done));
            let Some((index, ended)) = pool.next().await else { break };
            let failed = |Failure { message, .. }| RunError::Step { id: steps[index].id.clone(), reason: message };
            let outcome = ended.map_err(failed)?;
            skipping |= outcome.skips_remaining;
            done.add(StepSet::of(index));
            self.report(&mut finished, &steps[index], &outcome);
            outcomes[index] = Some(outcome);
        }
        let skip = |(step, outcome): (&Step, Option<Outcome>)| {
            outcome.unwrap_or_else(|| {
                let outcome = step.skipped();
                self.report(&mut finished, step, &outcome);
                outcome
            })
        };
        Ok(steps.iter().zip(outcomes).map(skip).collect())
    }

    fn context_of(&self, index: usize, outcomes: &[Option<Outcome>]) -> TemplateValue {
        let ancestors = self.workflow.ancestors[index];
        let steps = self.workflow.steps.iter().zip(outcomes).enumerate();
        let seen = steps.filter(|(other, _)| ancestors.contains(*other));
        let seen = seen.filter_map(|(_, (step, outcome))| Some((step, outcome.as_ref()?)));
        self.facts.context(seen, "running", self.world.now_millis())
    }

    fn report(&self, finished: &mut u32, step: &Step, outcome: &Outcome) {
        *finished += 1;
        let total = u32::try_from(self.workflow.steps.len()).unwrap_or(u32::MAX);
        self.world.progress(*finished, total, &format!("step `{}` {}", step.id, outcome.status));
    }

    /// Output of the last declared step that completed and that no step depends on; if no such step completed, of the last declared
    /// that did.
    fn last_output(&self, outcomes: &[Outcome]) -> Map<String, Value> {
        let dependencies = &self.workflow.dependencies;
        let completed = || (0..outcomes.len()).rev().filter(|index| outcomes[*index].status == Status::Completed);
        let is_last = |index: &usize| !dependencies.iter().any(|set| set.contains(*index));
        let last = completed().find(is_last).or_else(|| completed().next());
        last.map(|index| outcomes[index].output.clone()).unwrap_or_default()
    }

    fn running(&self) -> Vec<String> {
        let steps = self.workflow.steps.iter().enumerate();
        steps.filter(|(index, _)| self.running.get().contains(*index)).map(|(_, step)| step.id.clone()).collect()
    }
}

/// A random UUID (RFC 9562, version 4).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 times 2^32 is within u32")]
fn random_id(world: &impl World) -> String {
    let draw = || u128::from((world.random() * 4_294_967_296.0) as u32);
    let bits = draw() << 96 | draw() << 64 | draw() << 32 | draw();
    let bits = bits & !(0xf << 76) | 4 << 76;
    let bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
