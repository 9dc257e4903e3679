//! What templates see: `.params`, `.steps`, `.vars`, `.workflow`, `.config`, `.forEach` in a loop over a list, and `.round` in one
//! with a condition.
//!
//! A step sees the steps that it depends on, directly or not, those that the step around it sees, and no others: they are the same
//! in every run, whichever step ends first.

use serde_json::Value;

use crate::{
    step::{Outcome, Step},
    template::{TemplateValue, from_json, map},
};

/// What stays the same during one run.
pub(crate) struct RunFacts {
    pub(crate) id: String,
    /// Milliseconds since 1970.
    pub(crate) started: u64,
    pub(crate) params: TemplateValue,
    pub(crate) config: TemplateValue,
}

impl RunFacts {
    /// What the steps of the workflow see before any of them is done.
    pub(crate) fn start(&self) -> TemplateValue {
        map([("params", self.params.clone()), ("vars", map([])), ("config", self.config.clone())])
    }

    /// `context` with `steps`, all at an end, beside the steps that it has.
    pub(crate) fn with_steps<'o>(
        &self,
        context: &TemplateValue,
        steps: impl Iterator<Item = (&'o Step, &'o Outcome)>,
        status: &str,
        now: u64,
    ) -> TemplateValue {
        let steps: Vec<_> = steps.map(|(step, outcome)| (step.id.as_str(), outcome.seen.clone())).collect();
        let before = entries(context).find(|(key, _)| *key == "steps");
        let steps = match &before {
            Some((_, before)) => map(entries(before).chain(steps)),
            None => map(steps),
        };
        let integer = |number: u64| TemplateValue::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let workflow = map([
            ("id", text(&self.id)),
            ("duration_ms", integer(now.saturating_sub(self.started))),
            ("step_count", integer(entries(&steps).count() as u64)),
            ("status", text(status)),
            ("start_time", text(&rfc3339(self.started))),
        ]);
        with(context, [("steps", steps), ("workflow", workflow)])
    }
}

/// `context` as one iteration of a loop sees it.
pub(crate) fn in_loop(context: &TemplateValue, variable: &str, item: &Value, index: usize) -> TemplateValue {
    with(context, [("forEach", map([(variable, from_json(item)), ("index", number(index))]))])
}

/// `context` as one round of a `while` sees it.
///
/// - `previous`: the steps of the round before, by id
pub(crate) fn in_round(context: &TemplateValue, index: usize, previous: &[(String, TemplateValue)]) -> TemplateValue {
    let previous = previous.iter().map(|(id, seen)| (id.as_str(), seen.clone()));
    with(context, [("round", map([("index", number(index)), ("previous", map(previous))]))])
}

fn with<const N: usize>(context: &TemplateValue, more: [(&str, TemplateValue); N]) -> TemplateValue {
    map(entries(context).chain(more))
}

fn entries(value: &TemplateValue) -> impl Iterator<Item = (&str, TemplateValue)> {
    let entries = match value {
        TemplateValue::Map(entries) => Some(entries),
        _ => None,
    };
    entries.into_iter().flat_map(|entries| entries.iter()).map(|(key, value)| (key.as_ref(), value.clone()))
}

fn number(number: usize) -> TemplateValue {
    TemplateValue::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn text(text: &str) -> TemplateValue {
    TemplateValue::String(text.into())
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
