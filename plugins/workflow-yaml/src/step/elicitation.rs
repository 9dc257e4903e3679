//! Steps of type `elicitation`: a question to the user.

use serde_json::{Map, Value, json};

use super::{Failure, FailureKind, Outcome, Step};
use crate::{
    document::{NoAnswerAction, RawStep},
    problem::{Place, Problems},
    run::Run,
    template::{Template, TemplateValue},
    world::{Elicited, World},
};

/// Largest schema and answer, in bytes, and how deep either may be nested.
const MAX_SCHEMA_BYTES: usize = 100 * 1024;
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 10;

pub(crate) struct ElicitationStep {
    pub(super) message: Template,
    schema: Value,
    on_decline: Option<NoAnswerAction>,
    on_cancel: Option<NoAnswerAction>,
}

impl ElicitationStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, problems: &mut Problems) -> Option<Self> {
        let schema = raw.schema.clone().unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        if schema.to_string().len() > MAX_SCHEMA_BYTES {
            problems.add(&place.key("schema"), format!("larger than {} KB", MAX_SCHEMA_BYTES / 1024));
        }
        if depth(&schema) > MAX_DEPTH {
            problems.add(&place.key("schema"), format!("nested deeper than {MAX_DEPTH}"));
        }
        let Some(message) = &raw.message else {
            problems.add(&place.key("message"), "a step of type `elicitation` needs `message`");
            return None;
        };
        Some(Self {
            message: Template::compile(message, place.key("message"), problems)?,
            schema,
            on_decline: raw.on_decline.map(|handler| handler.action),
            on_cancel: raw.on_cancel.map(|handler| handler.action),
        })
    }

    pub(super) async fn run<W: World>(
        &self,
        step: &Step,
        run: &Run<'_, W>,
        context: &TemplateValue,
    ) -> Result<Outcome, Failure> {
        let message = self.message.expand(context).map_err(|error| Failure::lasting(format!("message: {error}")))?;
        match run.world.elicit(&message, &self.schema, step.timeout).await {
            Elicited::Accepted(answer) => accepted(answer),
            Elicited::Declined => without_answer(step, self.on_decline, "decline", "the user declined"),
            Elicited::Cancelled => without_answer(step, self.on_cancel, "cancel", "the user cancelled"),
            Elicited::TimedOut => without_answer(step, self.on_cancel, "cancel", "the user did not answer in time"),
            Elicited::Failed(reason) => Err(Failure::lasting(reason)),
        }
    }
}

fn accepted(answer: Map<String, Value>) -> Result<Outcome, Failure> {
    let answer = Value::Object(answer);
    if answer.to_string().len() > MAX_ANSWER_BYTES {
        return Err(Failure::lasting(format!("the answer is larger than {} KB", MAX_ANSWER_BYTES / 1024)));
    }
    if depth(&answer) > MAX_DEPTH {
        return Err(Failure::lasting(format!("the answer is nested deeper than {MAX_DEPTH}")));
    }
    Ok(Outcome::completed(Map::from_iter([("action".to_owned(), "accept".into()), ("content".to_owned(), answer)])))
}

/// The step's end when there is no answer. Its output is the default results, and what the user did as `action`.
fn without_answer(
    step: &Step,
    handler: Option<NoAnswerAction>,
    action: &str,
    message: &str,
) -> Result<Outcome, Failure> {
    match handler {
        None => Err(Failure::lasting(message)),
        Some(NoAnswerAction::Abort) => Err(Failure { message: message.to_owned(), kind: FailureKind::Final }),
        Some(handler) => {
            let mut output = step.defaults();
            output.insert("action".to_owned(), action.into());
            let skips_remaining = handler == NoAnswerAction::SkipRemaining;
            Ok(Outcome::completed(output).skipping(skips_remaining))
        }
    }
}

/// Levels of arrays and objects; 0 for anything else.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
