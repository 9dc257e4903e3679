//! Steps of type `switch`: the steps of the first case that equals what a template yields.

use serde_json::Value;

use super::{Failure, Outcome};
use crate::{
    document::{self, RawCase, RawStep},
    problem::{Place, Problems},
    run::{Ended, Run},
    steps::Steps,
    template::{Template, TemplateValue},
    world::World,
};

/// What its output has.
pub(super) const OUTPUT_KEYS: [&str; 3] = ["case", "output", "steps"];

pub(crate) struct SwitchStep {
    pub(super) on: Template,
    cases: Vec<Case>,
    default: Option<Steps>,
}

struct Case {
    equals: Value,
    steps: Steps,
}

impl SwitchStep {
    pub(super) fn compile(raw: &RawStep, place: &Place, depth: usize, problems: &mut Problems) -> Option<Self> {
        let needs = |key: &str, problems: &mut Problems| {
            problems.add(&place.key(key), format!("a step of type `switch` needs `{key}`"));
        };
        if raw.on.is_none() {
            needs("on", problems);
        }
        let on = raw.on.as_ref().and_then(|text| Template::compile(text, place.key("on"), problems));
        let given = raw.cases.as_deref().unwrap_or_default();
        if given.is_empty() {
            needs("cases", problems);
        }
        let cases = given.iter().enumerate();
        let cases: Vec<_> =
            cases.map(|(index, case)| Case::compile(case, &place.key("cases").index(index), depth, problems)).collect();
        for (index, case) in cases.iter().enumerate().filter_map(|(index, case)| Some((index, case.as_ref()?))) {
            if cases[..index].iter().flatten().any(|other| text_of(&other.equals) == text_of(&case.equals)) {
                let message = format!("another case equals `{}`", text_of(&case.equals));
                problems.add(&place.key("cases").index(index).key("equals"), message);
            }
        }
        let default = raw.default.as_deref();
        let default = default.map(|steps| Steps::compile(steps, &place.key("default"), depth + 1, problems));
        let default = match default {
            Some(steps) => Some(steps?),
            None => None,
        };
        Some(Self { on: on?, cases: cases.into_iter().collect::<Option<_>>()?, default })
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = &Steps> {
        self.cases.iter().map(|case| &case.steps).chain(&self.default)
    }

    /// Without a case that equals and without `default` nothing runs.
    pub(super) async fn run<W: World>(&self, run: &Run<'_, W>, context: &TemplateValue) -> Result<Outcome, Failure> {
        let text = self.on.expand(context).map_err(|error| Failure::lasting(format!("on: {error}")))?;
        let case = self.cases.iter().find(|case| text_of(&case.equals) == text);
        let ended = match case.map(|case| &case.steps).or(self.default.as_ref()) {
            Some(steps) => run.inside(steps, context).await?,
            None => Ended::default(),
        };
        let case = case.map_or(Value::Null, |case| case.equals.clone());
        Ok(ended.outcome([("case".to_owned(), case)]))
    }
}

impl Case {
    fn compile(raw: &Value, place: &Place, depth: usize, problems: &mut Problems) -> Option<Self> {
        let RawCase { equals, steps } = document::read(raw, place, problems)?;
        match &equals {
            Value::Null | Value::Array(_) | Value::Object(_) => {
                problems.add(&place.key("equals"), "must be a text, a number or a boolean");
            }
            Value::String(text) if text.contains("{{") => {
                problems.add(&place.key("equals"), "is compared as it is written, and no template");
            }
            _ => {}
        }
        Some(Self { equals, steps: Steps::compile(&steps, &place.key("steps"), depth + 1, problems)? })
    }
}

/// A value as a template prints it.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) && number.is_f64() => {
            format!("{:.0}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}
