//! Steps of type `while`: steps that run again as long as a template yields true.

use serde_json::json;

use super::{Failure, Outcome, truth};
use crate::{
    context::in_round,
    document::RawStep,
    problem::{Place, Problems},
    run::{Ended, Run},
    steps::Steps,
    template::{Template, TemplateValue},
    world::World,
};

/// What its output has.
pub(super) const OUTPUT_KEYS: [&str; 3] = ["count", "output", "steps"];

pub(crate) struct WhileStep {
    pub(super) goes_on: Template,
    pub(crate) steps: Steps,
    max_iterations: usize,
}

impl WhileStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, depth: usize, problems: &mut Problems) -> Option<Self> {
        let needs = |key: &str, problems: &mut Problems| {
            problems.add(&place.key(key), format!("a step of type `while` needs `{key}`"));
        };
        if raw.goes_on.is_none() {
            needs("while", problems);
        }
        let goes_on = raw.goes_on.as_ref().and_then(|text| Template::compile(text, place.key("while"), problems));
        let given = raw.steps.as_deref().unwrap_or_default();
        if given.is_empty() {
            needs("steps", problems);
        }
        let max_iterations = super::for_each::iterations(raw, place, problems);
        let steps = Steps::compile(given, &place.key("steps"), depth + 1, problems);
        Some(Self { goes_on: goes_on?, steps: steps?, max_iterations })
    }

    /// The template is asked before each round; a question that skips what remains ends the loop too.
    pub(super) async fn run<W: World>(&self, run: &Run<'_, W>, context: &TemplateValue) -> Result<Outcome, Failure> {
        let mut last = Ended::default();
        let mut count = 0;
        loop {
            let round = in_round(context, count, &last.seen);
            if last.skips_remaining || !truth("while", &self.goes_on, &round)? {
                break;
            }
            if count == self.max_iterations {
                let message = format!("`while` still yields true after {count} rounds, and `maxIterations` is {count}");
                return Err(Failure::lasting(message));
            }
            let ended = run.inside(&self.steps, &round).await;
            last = ended.map_err(|failure| failure.of(&format!("round {count}")))?;
            count += 1;
        }
        Ok(last.outcome([("count".to_owned(), json!(count))]))
    }
}
