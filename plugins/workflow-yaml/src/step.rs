//! One step: what all kinds have in common. Each kind is a file of its own and a variant of `Kind`.
//!
//! Around what a kind does lie, from the outside, the condition, what happens on failure, and the timeout.

mod call;
mod content;
mod elicitation;
mod for_each;
mod keys;
mod outcome;
mod repeat;
mod retry;
mod switch;
mod tool;
mod transform;

use std::time::Duration;

use serde_json::{Map, Value, json};

pub(crate) use self::{
    call::Call,
    outcome::{Failure, Outcome, Status},
    retry::OnError,
};
use self::{
    elicitation::ElicitationStep, for_each::LoopStep, outcome::FailureKind, repeat::WhileStep, switch::SwitchStep,
    tool::ToolStep, transform::TransformStep,
};
use crate::{
    document::{KindName, RawStep, time_or},
    duration,
    problem::{Place, Problems},
    run::Run,
    steps::Steps,
    template::{Reads, Template, TemplateValue},
    world::{Level, World},
};

/// Longest run of a step that says nothing.
const TIMEOUT: Duration = Duration::from_mins(5);

/// A compiled step.
pub(crate) struct Step {
    /// In the inner step of a loop perhaps that of the loop.
    pub(crate) id: String,
    pub(crate) place: Place,
    pub(crate) depends_on: Vec<String>,
    pub(crate) condition: Option<Template>,
    pub(crate) on_error: OnError,
    pub(crate) default_results: Option<Map<String, Value>>,
    pub(crate) timeout: Duration,
    /// As declared: without it the reply of a tool may take as long as its backend allows.
    own_timeout: Option<Duration>,
    /// Whether it, or a step inside it, looks at the context at all.
    pub(crate) reads_context: bool,
    pub(crate) kind: Kind,
}

/// What a step does. A further kind is a variant here and its file; the scheduler need not know.
pub(crate) enum Kind {
    Tool(ToolStep),
    Elicitation(ElicitationStep),
    Loop(Box<LoopStep>),
    Switch(SwitchStep),
    While(WhileStep),
    Transform(TransformStep),
}

impl Step {
    /// Compiles the step at `place`; what is wrong becomes problems, and without a kind there is no step.
    ///
    /// - `depth`: lists that its own is inside of
    pub(crate) fn compile(raw: RawStep, place: Place, depth: usize, problems: &mut Problems) -> Option<Self> {
        if raw.kind.is_none() && raw.tool.is_some() && raw.message.is_some() {
            problems.add(&place, "`tool` and `message` in one step: say with `type` which is meant");
            return None;
        }
        keys::check(&raw, &place, problems);
        let condition = raw.condition.as_ref().filter(|condition| !condition.is_empty());
        let condition = condition.and_then(|condition| Template::compile(condition, place.key("condition"), problems));
        let on_error = OnError::compile(raw.on_error.as_ref(), &place.key("onError"), problems);
        let kind = match raw.kind.unwrap_or(KindName::Tool) {
            KindName::Tool => ToolStep::compile(&raw, &place, problems).map(Kind::Tool),
            KindName::Elicitation => ElicitationStep::compile(&raw, &place, problems).map(Kind::Elicitation),
            KindName::ForEach => {
                LoopStep::compile(&raw, &place, depth, problems).map(|step| Kind::Loop(Box::new(step)))
            }
            KindName::Workflow => ToolStep::of_workflow(&raw, &place, problems).map(Kind::Tool),
            KindName::Switch => SwitchStep::compile(&raw, &place, depth, problems).map(Kind::Switch),
            KindName::While => WhileStep::compile(&raw, &place, depth, problems).map(Kind::While),
            KindName::Transform => TransformStep::compile(&raw, &place, problems).map(Kind::Transform),
        }?;
        let mut step = Self {
            id: raw.id,
            place,
            depends_on: raw.depends_on.unwrap_or_default(),
            condition,
            on_error,
            default_results: raw.default_results,
            timeout: time_or(raw.timeout, TIMEOUT),
            own_timeout: raw.timeout.map(|given| given.0).filter(|time| !time.is_zero()),
            reads_context: false,
            kind,
        };
        let own = step.reads().into_iter().chain(step.undo_reads()).any(|reads| !reads.paths.is_empty());
        step.reads_context = own || step.lists().iter().any(|steps| steps.read_context());
        Some(step)
    }

    /// What its templates and its expression read, without the steps inside it.
    pub(crate) fn reads(&self) -> Vec<&Reads> {
        let mut reads: Vec<&Reads> = self.condition.iter().map(|template| &template.reads).collect();
        match &self.kind {
            Kind::Tool(step) => reads.extend(step.call.arguments.reads()),
            Kind::Elicitation(step) => reads.push(&step.message.reads),
            Kind::Loop(step) => {
                reads.push(&step.collection.reads);
                reads.extend(step.inner.reads());
            }
            Kind::Switch(step) => reads.push(&step.on.reads),
            Kind::While(step) => reads.push(&step.goes_on.reads),
            Kind::Transform(step) => reads.push(&step.expression.reads),
        }
        reads
    }

    /// What the call that undoes it reads, once it is done itself.
    pub(crate) fn undo_reads(&self) -> Vec<&Reads> {
        match &self.kind {
            Kind::Tool(step) => step.undo.iter().flat_map(|undo| undo.arguments.reads()).collect(),
            Kind::Loop(step) => step.inner.undo_reads(),
            _ => Vec::new(),
        }
    }

    /// The id by which that call sees the step itself.
    pub(crate) fn undone_id(&self) -> &str {
        match &self.kind {
            Kind::Loop(step) => &step.inner.id,
            _ => &self.id,
        }
    }

    /// The lists of steps inside it.
    pub(crate) fn lists(&self) -> Vec<&Steps> {
        match &self.kind {
            Kind::Tool(_) | Kind::Elicitation(_) | Kind::Loop(_) | Kind::Transform(_) => Vec::new(),
            Kind::Switch(step) => step.lists().collect(),
            Kind::While(step) => vec![&step.steps],
        }
    }

    /// The composite tool that it calls, and where it is named.
    pub(crate) fn workflow(&self) -> Option<(&str, Place)> {
        match &self.kind {
            Kind::Tool(step) => step.workflow.as_deref().map(|name| (name, self.place.key("workflow"))),
            Kind::Loop(step) => step.inner.workflow(),
            _ => None,
        }
    }

    /// The keys of its output, where its kind settles them.
    pub(crate) fn output_keys(&self) -> Option<&'static [&'static str]> {
        match &self.kind {
            Kind::Tool(_) | Kind::Elicitation(_) | Kind::Loop(_) | Kind::Transform(_) => None,
            Kind::Switch(_) => Some(&switch::OUTPUT_KEYS),
            Kind::While(_) => Some(&repeat::OUTPUT_KEYS),
        }
    }

    /// The tools that it calls, without the steps inside it.
    pub(crate) fn tools(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Tool(step) => [&step.call.tool]
                .into_iter()
                .chain(step.undo.iter().map(|undo| &undo.tool))
                .map(String::as_str)
                .collect(),
            Kind::Elicitation(_) | Kind::Switch(_) | Kind::While(_) | Kind::Transform(_) => Vec::new(),
            Kind::Loop(step) => step.inner.tools(),
        }
    }

    /// Whether it may come to its end without the output that its kind gives.
    pub(crate) fn is_optional(&self) -> bool {
        self.condition.is_some() || self.on_error.continues
    }

    /// Its end when it never starts.
    pub(crate) fn skipped(&self) -> Outcome {
        Outcome::new(Status::Skipped, self.defaults(), None, None)
    }

    /// Runs it to its end; a failure is one that the workflow does not pass over.
    pub(crate) async fn run<W: World>(&self, run: &Run<'_, W>, context: &TemplateValue) -> Result<Outcome, Failure> {
        let attempt =
            async { if self.applies(context)? { self.perform(run, context).await } else { Ok(self.skipped()) } };
        let failure = match attempt.await {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        if !self.on_error.continues || failure.kind == FailureKind::Final {
            return Err(failure);
        }
        run.world.log(Level::Warn, &format!("step `{}` failed, the workflow goes on: {}", self.id, failure.message));
        Ok(Outcome::new(Status::Failed, self.defaults(), None, Some(failure.message)))
    }

    fn applies(&self, context: &TemplateValue) -> Result<bool, Failure> {
        self.condition.as_ref().map_or(Ok(true), |condition| truth("condition", condition, context))
    }

    async fn perform<W: World>(&self, run: &Run<'_, W>, context: &TemplateValue) -> Result<Outcome, Failure> {
        let work = async {
            match &self.kind {
                Kind::Tool(step) => step.run(self, run, context).await,
                Kind::Elicitation(step) => step.run(self, run, context).await,
                Kind::Loop(step) => step.run(self, run, context).await,
                Kind::Switch(step) => step.run(run, context).await,
                Kind::While(step) => step.run(run, context).await,
                Kind::Transform(step) => step.run(context),
            }
        };
        let timeout = match self.kind {
            // A question has a timeout of its own, with an answer of its own; what is computed waits for nothing.
            Kind::Elicitation(_) | Kind::Transform(_) => None,
            Kind::Switch(_) | Kind::While(_) => self.own_timeout, // the steps inside have theirs
            Kind::Tool(_) | Kind::Loop(_) => Some(self.timeout),
        };
        let Some(timeout) = timeout else { return work.await };
        let timed_out = || Failure::lasting(format!("timed out after {}", duration::print(timeout)));
        run.time.within(timeout, work).await.unwrap_or_else(|| Err(timed_out()))
    }

    fn defaults(&self) -> Map<String, Value> {
        self.default_results.clone().unwrap_or_default()
    }
}

/// What a template yields that must be `true` or `false`; a failure names the `key`.
fn truth(key: &str, template: &Template, context: &TemplateValue) -> Result<bool, Failure> {
    match template.expand(context) {
        Ok(text) => match text.as_str() {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(Failure::lasting(format!("{key}: it must yield `true` or `false`, not {}", json!(text)))),
        },
        Err(error) => Err(Failure::lasting(format!("{key}: {error}"))),
    }
}
