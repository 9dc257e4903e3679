//! Steps of type `forEach`: a step for each element of a list.

use serde_json::{Map, Value, json};

use super::{Failure, Outcome, Status, Step};
use crate::{
    context::in_loop,
    document::{self, KindName, RawStep},
    pool::Pool,
    problem::{Place, Problems},
    run::Run,
    template::{Template, TemplateValue},
    world::World,
};

/// Iterations in all, and under way at a time: when the step does not say, and at most.
const ITERATIONS: usize = 100;
const MAX_ITERATIONS: usize = 1000;
const PARALLEL: usize = 10;
const MAX_PARALLEL: usize = 50;

pub(crate) struct LoopStep {
    pub(super) collection: Template,
    pub(super) inner: Step,
    item_var: String,
    max_parallel: usize,
    max_iterations: usize,
}

impl LoopStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, depth: usize, problems: &mut Problems) -> Option<Self> {
        let collection = raw.collection.as_ref().or_else(|| {
            problems.add(&place.key("collection"), "a step of type `forEach` needs `collection`");
            None
        });
        let collection = collection.and_then(|text| Template::compile(text, place.key("collection"), problems));
        let inner = inner_step(raw, &place.key("step"), depth, problems);
        let item_var = raw.item_var.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "item".to_owned());
        let is_identifier = item_var.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && item_var.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_identifier || item_var == "index" {
            let message = format!("`{item_var}` cannot name the element: an identifier other than `index` can");
            problems.add(&place.key("itemVar"), message);
        }
        let max_parallel = limit(raw.max_parallel, &place.key("maxParallel"), PARALLEL, MAX_PARALLEL, problems);
        let max_iterations = iterations(raw, place, problems);
        Some(Self { collection: collection?, inner: inner?, item_var, max_parallel, max_iterations })
    }

    /// The first iteration that fails ends the loop and cancels the others, unless the step or its inner step continues on error.
    pub(super) async fn run<W: World>(
        &self,
        step: &Step,
        run: &Run<'_, W>,
        context: &TemplateValue,
    ) -> Result<Outcome, Failure> {
        let items = self.items(context)?;
        let mut iterations = vec![Value::Null; items.len()];
        let (mut waiting, mut pool) = (items.iter().enumerate(), Pool::new());
        let (mut completed, mut failed) = (0, 0);
        loop {
            while pool.len() < self.max_parallel
                && let Some((index, item)) = waiting.next()
            {
                let context = in_loop(context, &self.item_var, item, index);
                pool.start(index, async move { self.inner.run(run, &context).await });
            }
            let Some((index, ended)) = pool.next().await else { break };
            let (status, output, error) = match ended {
                Ok(outcome) => (outcome.status, Value::Object(outcome.output), outcome.error),
                Err(failure) if step.on_error.continues => (Status::Failed, Value::Null, Some(failure.message)),
                Err(failure) => return Err(failure.of(&format!("iteration {index}"))),
            };
            completed += usize::from(status == Status::Completed);
            failed += usize::from(status == Status::Failed);
            let status = status.to_string();
            iterations[index] = json!({"index": index, "item": items[index], "status": status, "output": output});
            if let Some(error) = error {
                iterations[index]["error"] = error.into();
            }
        }
        let counts = [("count", items.len()), ("completed", completed), ("failed", failed)];
        let mut output: Map<_, _> = counts.into_iter().map(|(key, count)| (key.to_owned(), count.into())).collect();
        output.insert("iterations".to_owned(), iterations.into());
        Ok(Outcome::completed(output))
    }

    fn items(&self, context: &TemplateValue) -> Result<Vec<Value>, Failure> {
        let text = self.collection.expand(context).map_err(|error| Failure::lasting(format!("collection: {error}")))?;
        let items: Vec<Value> = serde_json::from_str(&text).map_err(|_| {
            let start: String = text.chars().take(60).collect();
            Failure::lasting(format!(
                "collection: it must yield a JSON array (`{{{{json …}}}}` writes one), not `{start}`"
            ))
        })?;
        if items.len() > self.max_iterations {
            let message =
                format!("collection: {} elements, and `maxIterations` is {}", items.len(), self.max_iterations);
            return Err(Failure::lasting(message));
        }
        Ok(items)
    }
}

/// How often a loop goes round at most.
pub(super) fn iterations(raw: &RawStep, place: &Place, problems: &mut Problems) -> usize {
    limit(raw.max_iterations, &place.key("maxIterations"), ITERATIONS, MAX_ITERATIONS, problems)
}

fn limit(given: Option<usize>, place: &Place, default: usize, most: usize, problems: &mut Problems) -> usize {
    if given.is_some_and(|given| given > most) {
        problems.add(place, format!("must be at most {most}"));
    }
    given.filter(|given| *given > 0).unwrap_or(default)
}

/// The step to repeat. Without an id it has that of the loop.
fn inner_step(outer: &RawStep, place: &Place, depth: usize, problems: &mut Problems) -> Option<Step> {
    let Some(raw) = &outer.step else {
        problems.add(place, "a step of type `forEach` needs `step`");
        return None;
    };
    let mut raw: RawStep = document::read(raw, place, problems)?;
    if raw.id.is_empty() {
        raw.id.clone_from(&outer.id);
    }
    if !matches!(raw.kind.unwrap_or(KindName::Tool), KindName::Tool | KindName::Workflow | KindName::Transform) {
        problems.add(&place.key("type"), "a loop repeats a step of type `tool`, `workflow` or `transform`");
        return None;
    }
    Step::compile(raw, place.clone(), depth, problems)
}
