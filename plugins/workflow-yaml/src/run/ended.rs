//! A list of steps at its end.

use serde_json::{Map, Value};

use crate::{
    step::{Outcome, Status},
    steps::Steps,
    template::TemplateValue,
};

/// What a list of steps came to; by default one without steps.
#[derive(Default)]
pub(crate) struct Ended {
    /// That of the list.
    pub(crate) output: Map<String, Value>,
    /// The output of each step, by id.
    steps: Map<String, Value>,
    /// The steps as templates see them.
    pub(crate) seen: Vec<(String, TemplateValue)>,
    /// Nothing that has not started may start.
    pub(crate) skips_remaining: bool,
}

impl Ended {
    pub(crate) fn of(steps: &Steps, outcomes: Vec<Outcome>) -> Self {
        let mut ended = Self {
            output: last(steps, &outcomes).map(|index| outcomes[index].output.clone()).unwrap_or_default(),
            skips_remaining: outcomes.iter().any(|outcome| outcome.skips_remaining),
            ..Self::default()
        };
        for (step, outcome) in steps.list.iter().zip(outcomes) {
            ended.seen.push((step.id.clone(), outcome.seen().clone()));
            ended.steps.insert(step.id.clone(), outcome.output.into());
        }
        ended
    }

    /// What the list yields, where nothing else of its steps matters any more.
    pub(crate) fn output_of(steps: &Steps, mut outcomes: Vec<Outcome>) -> Map<String, Value> {
        last(steps, &outcomes).map(|index| outcomes.swap_remove(index).output).unwrap_or_default()
    }

    /// The end of the step around it, whose output has `more` beside `output` and `steps`.
    pub(crate) fn outcome<const N: usize>(self, more: [(String, Value); N]) -> Outcome {
        let mut output = Map::from_iter(more);
        output.insert("output".to_owned(), self.output.into());
        output.insert("steps".to_owned(), self.steps.into());
        Outcome::completed(output).skipping(self.skips_remaining)
    }
}

/// The step whose output is that of the list: the last declared step that completed and that no step depends on; if no such step
/// completed, the last declared that did.
fn last(steps: &Steps, outcomes: &[Outcome]) -> Option<usize> {
    let completed = || (0..outcomes.len()).rev().filter(|index| outcomes[*index].status == Status::Completed);
    let is_last = |index: &usize| !steps.dependencies.iter().any(|set| set.contains(*index));
    completed().find(is_last).or_else(|| completed().next())
}
