//! One run of a workflow: which step starts when, and what the run yields.

mod ended;
mod error;
mod undo;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use serde_json::{Map, Value};

pub(crate) use self::ended::Ended;
pub use self::error::RunError;
use self::undo::Undo;
use crate::{
    context::RunFacts,
    pool::Pool,
    step::{Failure, Outcome, Step},
    steps::{StepSet, Steps},
    template::TemplateValue,
    time::RunTime,
    workflow::Workflow,
    world::{Level, World},
};

/// Most steps of one list under way at a time.
const MAX_PARALLEL: usize = 10;

/// What the steps of one run share.
pub(crate) struct Run<'r, W> {
    pub(crate) world: &'r W,
    pub(crate) time: RunTime<'r, W>,
    workflow: &'r Workflow,
    facts: RunFacts,
    schemas: RefCell<HashMap<String, Option<Rc<Value>>>>,
    /// Steps under way, kept for the message when time is up.
    running: Cell<StepSet>,
    /// What to do should the run fail, in the order in which steps completed.
    undo: RefCell<Vec<Undo>>,
}

/// Runs `workflow` with `params`, defaults included, and gives its output.
pub(crate) async fn run<W: World>(
    workflow: &Workflow,
    params: Map<String, Value>,
    world: &W,
) -> Result<Map<String, Value>, RunError> {
    let time = RunTime::new(world);
    let facts = RunFacts::new(workflow, params, time.now(), world);
    let (schemas, running, undo) = Default::default();
    let run = Run { world, time, workflow, facts, schemas, running, undo };
    run.time.keep(run.whole()).await
}

impl<W: World> Run<'_, W> {
    /// JSON Schema of a tool's arguments, asked for once per run.
    pub(crate) fn schema(&self, tool: &str) -> Option<Rc<Value>> {
        let mut schemas = self.schemas.borrow_mut();
        schemas.entry(tool.to_owned()).or_insert_with(|| self.world.input_schema(tool).map(Rc::new)).clone()
    }

    /// Runs it to its end, in its time, and undoes it if it fails.
    async fn whole(&self) -> Result<Map<String, Value>, RunError> {
        let timeout = self.workflow.timeout;
        let timed_out = || Err(RunError::TimedOut { after: timeout, running: self.running() });
        match self.time.within(timeout, self.to_end()).await.unwrap_or_else(timed_out) {
            Ok(output) => Ok(output),
            Err(cause) => Err(self.undo(cause).await),
        }
    }

    async fn to_end(&self) -> Result<Map<String, Value>, RunError> {
        let steps = &self.workflow.steps;
        let failed =
            |(step, failure): (&Step, Failure)| RunError::Step { id: step.id.clone(), reason: failure.message };
        let outcomes = self.steps(steps, &self.facts.start, true).await.map_err(failed)?;
        match &self.workflow.output {
            Some(output) => {
                let steps = steps.list.iter().zip(&outcomes);
                let context = self.facts.with_steps(&self.facts.start, steps, "completed", || self.time.now());
                output.expand(&context, self.world).map_err(|reason| RunError::Output { reason })
            }
            None => Ok(Ended::output_of(steps, outcomes)),
        }
    }

    /// Runs the steps that are inside another one, which `context` is that of.
    pub(crate) async fn inside(&self, steps: &Steps, context: &TemplateValue) -> Result<Ended, Failure> {
        let named = |(step, failure): (&Step, Failure)| failure.of(&format!("step `{}` failed", step.id));
        let outcomes = self.steps(steps, context, false).await.map_err(named)?;
        Ok(Ended::of(steps, outcomes))
    }

    /// Runs every step as soon as those that it depends on are done; of several that can start, the first declared does.
    /// The first failure that is not passed over drops all that is under way.
    async fn steps<'s>(
        &self,
        steps: &'s Steps,
        base: &TemplateValue,
        are_outermost: bool,
    ) -> Result<Vec<Outcome>, (&'s Step, Failure)> {
        let Steps { list, dependencies, ancestors } = steps;
        let mut outcomes: Vec<Option<Outcome>> = list.iter().map(|_| None).collect();
        let (mut started, mut done) = (StepSet::default(), StepSet::default());
        let (mut skipping, mut pool) = (false, Pool::new());
        let mut finished = 0;
        let mut report = |step: &Step, outcome: &Outcome| {
            self.log_end(step, outcome);
            finished += 1;
            if are_outermost {
                self.progress(finished, step, outcome);
            }
        };
        loop {
            let is_ready = |index: &usize| !started.contains(*index) && done.covers(dependencies[*index]);
            let ready: Vec<usize> = (0..list.len()).filter(is_ready).collect();
            for index in ready.into_iter().filter(|_| !skipping).take(MAX_PARALLEL - pool.len()) {
                started.add(StepSet::of(index));
                let step = &list[index];
                let context = if step.reads_context {
                    let before = list.iter().zip(&outcomes).enumerate();
                    let before = before.filter(|(other, _)| ancestors[index].contains(*other));
                    let before = before.filter_map(|(_, (step, outcome))| Some((step, outcome.as_ref()?)));
                    self.facts.with_steps(base, before, "running", || self.time.now())
                } else {
                    TemplateValue::Nil
                };
                self.world.log(Level::Debug, &format!("step `{}` started", step.id));
                pool.start(index, async move { step.run(self, &context).await });
            }
            if are_outermost {
                self.running.set(started.without(done));
            }
            let Some((index, ended)) = pool.next().await else { break };
            let step = &list[index];
            let outcome = ended.map_err(|failure| {
                self.world.log(Level::Debug, &format!("step `{}` failed: {}", step.id, failure.message));
                (step, failure)
            })?;
            skipping |= outcome.skips_remaining;
            done.add(StepSet::of(index));
            report(step, &outcome);
            outcomes[index] = Some(outcome);
        }
        let skip = |(step, outcome): (&Step, Option<Outcome>)| {
            outcome.unwrap_or_else(|| {
                let outcome = step.skipped();
                report(step, &outcome);
                outcome
            })
        };
        Ok(list.iter().zip(outcomes).map(skip).collect())
    }

    fn log_end(&self, step: &Step, outcome: &Outcome) {
        let why = outcome.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        self.world.log(Level::Debug, &format!("step `{}` {}{why}", step.id, outcome.status));
    }

    fn progress(&self, finished: u32, step: &Step, outcome: &Outcome) {
        let total = u32::try_from(self.workflow.steps.list.len()).unwrap_or(u32::MAX);
        self.world.progress(finished, total, &format!("step `{}` {}", step.id, outcome.status));
    }

    fn running(&self) -> Vec<String> {
        let steps = self.workflow.steps.list.iter().enumerate();
        steps.filter(|(index, _)| self.running.get().contains(*index)).map(|(_, step)| step.id.clone()).collect()
    }
}
