//! What templates see: `.params`, `.steps`, `.vars`, `.workflow`, `.config`, `.forEach` in a loop over a list, and `.round` in one
//! with a condition.
//!
//! A step sees the steps that it depends on, directly or not, those that the step around it sees, and no others: they are the same
//! in every run, whichever step ends first.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use crate::{
    step::{Outcome, Step},
    template::{TemplateValue, from_json, map},
    workflow::Workflow,
    world::World,
};

/// What stays the same during one run.
pub(crate) struct RunFacts {
    /// What the steps of the workflow see before any of them is done.
    pub(crate) start: TemplateValue,
    /// Absent where nothing reads it: it takes asking the host.
    about: Option<About>,
}

/// What `.workflow` says during the whole run.
struct About {
    id: TemplateValue,
    start_time: TemplateValue,
    /// Milliseconds since 1970.
    started: u64,
}

impl RunFacts {
    /// - `started`: in milliseconds since 1970
    pub(crate) fn new(workflow: &Workflow, params: Map<String, Value>, started: u64, world: &impl World) -> Self {
        let start = if workflow.reads_context {
            let config = from_json(&Value::Object(workflow.config.clone()));
            map([("params", from_json(&Value::Object(params))), ("vars", map([])), ("config", config)])
        } else {
            TemplateValue::Nil
        };
        let about = || About { id: text(&random_id(world)), start_time: text(&rfc3339(started)), started };
        Self { start, about: workflow.reads_about.then(about) }
    }

    /// `context` with `steps`, all at an end, beside the steps that it has.
    ///
    /// - `now`: in milliseconds since 1970
    pub(crate) fn with_steps<'o>(
        &self,
        context: &TemplateValue,
        steps: impl Iterator<Item = (&'o Step, &'o Outcome)>,
        status: &str,
        now: impl FnOnce() -> u64,
    ) -> TemplateValue {
        let mut all = entries(context).get("steps").map(entries).unwrap_or_default();
        all.extend(steps.map(|(step, outcome)| (step.id.as_str().into(), outcome.seen().clone())));
        let about = self.about.as_ref().map(|about| {
            let about = map([
                ("id", about.id.clone()),
                ("duration_ms", integer(now().saturating_sub(about.started))),
                ("step_count", integer(all.len() as u64)),
                ("status", text(status)),
                ("start_time", about.start_time.clone()),
            ]);
            ("workflow", about)
        });
        let steps = TemplateValue::Map(Arc::new(all));
        with(context, [("steps", steps)].into_iter().chain(about))
    }
}

/// `context` as one iteration of a loop sees it.
pub(crate) fn in_loop(context: &TemplateValue, variable: &str, item: &Value, index: usize) -> TemplateValue {
    with(context, [("forEach", map([(variable, from_json(item)), ("index", integer(index as u64))]))])
}

/// `context` as one round of a `while` sees it.
///
/// - `previous`: the steps of the round before, by id
pub(crate) fn in_round(context: &TemplateValue, index: usize, previous: &[(String, TemplateValue)]) -> TemplateValue {
    let previous = previous.iter().map(|(id, seen)| (id.as_str(), seen.clone()));
    with(context, [("round", map([("index", integer(index as u64)), ("previous", map(previous))]))])
}

fn with<'k>(context: &TemplateValue, more: impl IntoIterator<Item = (&'k str, TemplateValue)>) -> TemplateValue {
    let mut entries = entries(context);
    entries.extend(more.into_iter().map(|(key, value)| (key.into(), value)));
    TemplateValue::Map(Arc::new(entries))
}

/// The entries of a map, none of anything else. Keys and values are shared.
fn entries(value: &TemplateValue) -> BTreeMap<Arc<str>, TemplateValue> {
    match value {
        TemplateValue::Map(entries) => BTreeMap::clone(entries),
        _ => BTreeMap::new(),
    }
}

fn integer(number: u64) -> TemplateValue {
    TemplateValue::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn text(text: &str) -> TemplateValue {
    TemplateValue::String(text.into())
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

/// A time in UTC, e.g. `2026-01-31T12:00:00Z`.
///
/// - `millis`: since 1970-01-01T00:00:00Z
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn rfc3339(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let check = |seconds: u64, expected: &str| assert_eq!(rfc3339(seconds * 1000 + 999), expected);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399, "2000-02-28T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_767_225_599, "2025-12-31T23:59:59Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
    }
}
