//! One step: what all kinds have in common. Each kind is a file of its own and a variant of `Kind`.
//!
//! Around what a kind does lie, from the outside, the condition, what happens on failure, and the timeout.

mod content;
mod elicitation;
mod for_each;
mod retry;
mod tool;

use std::{fmt, time::Duration};

use serde_json::{Map, Value, json};

pub(crate) use self::retry::OnError;
use self::{elicitation::ElicitationStep, for_each::LoopStep, tool::ToolStep};
use crate::{
    context,
    document::{KindName, RawStep, time_or},
    duration,
    pool::within,
    problem::{Place, Problems},
    run::Run,
    template::{Template, TemplateValue, from_json, map},
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
    timeout: Duration,
    /// As declared: without it the reply of a tool may take as long as its backend allows.
    own_timeout: Option<Duration>,
    pub(crate) kind: Kind,
}

/// What a step does. A further kind is a variant here and its file; the scheduler need not know.
pub(crate) enum Kind {
    Tool(ToolStep),
    Elicitation(ElicitationStep),
    Loop(Box<LoopStep>),
}

/// How a step came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Completed,
    /// The workflow goes on all the same.
    Failed,
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// A step at its end.
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) output: Map<String, Value>,
    pub(crate) error: Option<String>,
    /// Nothing that has not started may start.
    pub(crate) skips_remaining: bool,
    /// The step as templates see it.
    pub(crate) seen: TemplateValue,
}

impl Outcome {
    fn new(status: Status, output: Map<String, Value>, content: Option<&Value>, error: Option<String>) -> Self {
        let output_seen = map(output.iter().map(|(key, value)| (key.as_str(), from_json(value))));
        let mut seen = vec![("status", context::text(&status.to_string())), ("output", output_seen)];
        seen.extend(content.map(|content| ("content", from_json(content))));
        seen.extend(error.as_ref().map(|error| ("error", context::text(error))));
        let seen = map(seen);
        Self { status, output, error, skips_remaining: false, seen }
    }

    fn completed(output: Map<String, Value>) -> Self {
        Self::new(Status::Completed, output, None, None)
    }
}

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    kind: FailureKind,
}

#[derive(Debug, PartialEq)]
enum FailureKind {
    /// Another try can do better.
    Passing,
    Lasting,
    /// Ends the workflow whatever `onError` says.
    Final,
}

impl Failure {
    fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: FailureKind::Passing }
    }

    fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: FailureKind::Lasting }
    }
}

impl Step {
    /// Compiles the step at `place`; what is wrong becomes problems, and without a kind there is no step.
    pub(crate) fn compile(raw: RawStep, place: Place, problems: &mut Problems) -> Option<Self> {
        if raw.kind.is_none() && raw.tool.is_some() && raw.message.is_some() {
            problems.add(&place, "`tool` and `message` in one step: say with `type` which is meant");
            return None;
        }
        let condition = raw.condition.as_ref().filter(|condition| !condition.is_empty());
        let condition = condition.and_then(|condition| Template::compile(condition, place.key("condition"), problems));
        let on_error = OnError::compile(raw.on_error.as_ref(), &place.key("onError"), problems);
        let kind = match raw.kind.unwrap_or(KindName::Tool) {
            KindName::Tool => ToolStep::compile(&raw, &place, problems).map(Kind::Tool),
            KindName::Elicitation => ElicitationStep::compile(&raw, &place, problems).map(Kind::Elicitation),
            KindName::ForEach => LoopStep::compile(&raw, &place, problems).map(|step| Kind::Loop(Box::new(step))),
        }?;
        Some(Self {
            id: raw.id,
            place,
            depends_on: raw.depends_on.unwrap_or_default(),
            condition,
            on_error,
            default_results: raw.default_results,
            timeout: time_or(raw.timeout, TIMEOUT),
            own_timeout: raw.timeout.map(|given| given.0).filter(|time| !time.is_zero()),
            kind,
        })
    }

    /// Everything in it that is expanded.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        let mut templates: Vec<&Template> = self.condition.iter().collect();
        match &self.kind {
            Kind::Tool(step) => templates.extend(step.arguments.templates()),
            Kind::Elicitation(step) => templates.push(&step.message),
            Kind::Loop(step) => {
                templates.push(&step.collection);
                templates.extend(step.inner.templates());
            }
        }
        templates
    }

    /// The tools that it calls.
    pub(crate) fn tools(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Tool(step) => vec![&step.tool],
            Kind::Elicitation(_) => Vec::new(),
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
        let Some(condition) = &self.condition else { return Ok(true) };
        match condition.expand(context) {
            Ok(text) => match text.as_str() {
                "true" | "True" | "TRUE" => Ok(true),
                "false" | "False" | "FALSE" => Ok(false),
                _ => Err(Failure::lasting(format!("condition: it must yield `true` or `false`, not {}", json!(text)))),
            },
            Err(error) => Err(Failure::lasting(format!("condition: {error}"))),
        }
    }

    async fn perform<W: World>(&self, run: &Run<'_, W>, context: &TemplateValue) -> Result<Outcome, Failure> {
        let work = async {
            match &self.kind {
                Kind::Tool(step) => step.run(self, run, context).await,
                Kind::Elicitation(step) => step.run(self, run, context).await,
                Kind::Loop(step) => step.run(self, run, context).await,
            }
        };
        if let Kind::Elicitation(_) = self.kind {
            return work.await; // the question has a timeout of its own, with an answer of its own
        }
        let done = within(run.world, self.timeout, work).await;
        let timed_out = || Failure::lasting(format!("timed out after {}", duration::print(self.timeout)));
        done.unwrap_or_else(|| Err(timed_out()))
    }

    fn defaults(&self) -> Map<String, Value> {
        self.default_results.clone().unwrap_or_default()
    }
}
