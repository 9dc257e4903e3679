//! Rules of one step, without those around it.

use std::collections::HashSet;

use serde_json::Value;

use super::{json_schema, keys, positive};
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::composite::{ErrorAction, StepConfig, StepType},
};

pub(super) fn check(step: &StepConfig, path: &KeyPath, report: &mut Report<'_>) {
    if step.kind.is_none() && step.tool.is_some() && step.message.is_some() {
        let message = "`tool` and `message` in one step: say with `type` which is meant";
        report.error(Rule::AmbiguousStep, path, message);
        return;
    }
    match step.kind.unwrap_or(StepType::Tool) {
        StepType::Tool => needs(step.tool.is_some(), "tool", "tool", path, report),
        StepType::Elicitation => needs(step.message.is_some(), "elicitation", "message", path, report),
        StepType::ForEach => loop_step(step, path, report),
        StepType::Workflow => needs(step.workflow.is_some(), "workflow", "workflow", path, report),
        StepType::Switch => switch(step, path, report),
        StepType::Transform => needs(step.expression.is_some(), "transform", "expression", path, report),
        StepType::While => {
            needs(step.goes_on.is_some(), "while", "while", path, report);
            let has_steps = step.steps.as_ref().is_some_and(|steps| !steps.is_empty());
            needs(has_steps, "while", "steps", path, report);
        }
    }
    keys::check(step, path, report);
    if let Some(schema) = &step.schema {
        json_schema(schema, &path.key("schema"), report);
    }
    positive(step.timeout, true, &path.key("timeout"), report);
    if let Some(handling) = &step.on_error {
        let path = path.key("onError");
        positive(handling.retry_delay, true, &path.key("retryDelay"), report);
        if handling.action == Some(ErrorAction::Retry) && handling.retry_count < 1 {
            report.error(Rule::OutOfRange, &path.key("retryCount"), "`action: retry` needs at least 1");
        }
    }
}

fn needs(present: bool, kind: &str, key: &str, path: &KeyPath, report: &mut Report<'_>) {
    if !present {
        report.error(Rule::IncompleteStep, &path.key(key), format!("a step of type `{kind}` needs `{key}`"));
    }
}

fn switch(step: &StepConfig, path: &KeyPath, report: &mut Report<'_>) {
    needs(step.on.is_some(), "switch", "on", path, report);
    needs(step.cases.as_ref().is_some_and(|cases| !cases.is_empty()), "switch", "cases", path, report);
    let mut seen = HashSet::new();
    for (index, case) in step.cases.iter().flatten().enumerate() {
        let message = match &case.equals {
            Value::Null | Value::Array(_) | Value::Object(_) => "must be a text, a number or a boolean".to_owned(),
            Value::String(text) if text.contains("{{") => "is compared as it is written, and no template".to_owned(),
            _ if !seen.insert(case.text()) => format!("another case equals `{}`", case.text()),
            _ => continue,
        };
        report.error(Rule::BadCase, &path.key("cases").index(index).key("equals"), message);
    }
}

fn loop_step(step: &StepConfig, path: &KeyPath, report: &mut Report<'_>) {
    needs(step.collection.is_some(), "forEach", "collection", path, report);
    needs(step.step.is_some(), "forEach", "step", path, report);
    if let Some(variable) = &step.item_var {
        let starts = variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let identifier = starts && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !identifier || variable == "index" {
            let message = format!("`{variable}` cannot name the element: an identifier other than `index` can");
            report.error(Rule::BadLoopVariable, &path.key("itemVar"), message);
        }
    }
    if let Some(inner) = &step.step {
        let path = path.key("step");
        match inner.kind.unwrap_or(StepType::Tool) {
            StepType::Tool | StepType::Workflow | StepType::Transform => check(inner, &path, report),
            _ => {
                report.error(
                    Rule::NestedLoop,
                    &path.key("type"),
                    "a loop repeats a step of type `tool`, `workflow` or `transform`",
                );
            }
        }
    }
}
