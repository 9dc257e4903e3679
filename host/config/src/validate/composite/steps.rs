//! What the steps of a composite tool must agree on.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{all, inner_lists, step};
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule, did_you_mean},
    section::composite::{CompositeToolConfig, ErrorAction, OutputProperty, StepConfig},
    validate::{template::step_outputs, unique},
};

/// Most steps, those inside others included.
const MAX_STEPS: usize = 100;

/// - `path`: of the tool
pub(super) fn check(tool: &CompositeToolConfig, path: &KeyPath, report: &mut Report<'_>) {
    let path = path.key("steps");
    let steps = all(&tool.steps, &path);
    if steps.len() > MAX_STEPS && tool.steps.len() <= MAX_STEPS {
        let message = format!("{} steps, those inside others included, are more than {MAX_STEPS}", steps.len());
        report.error(Rule::OutOfRange, &path, message);
    }
    let named = steps.iter().filter(|(_, step)| !step.id.is_empty());
    unique(named.map(|(path, step)| (step.id.as_str(), path.key("id"))), Rule::DuplicateStep, "step", report);
    for (path, step) in &steps {
        if step.id.is_empty() {
            report.error(Rule::IncompleteStep, &path.key("id"), "the step needs an `id`");
        }
        step::check(step, path, report);
    }
    list(&tool.steps, &path, report);
    default_results(tool, &steps, report);
}

/// The order of a list, and of the lists inside it.
fn list(steps: &[StepConfig], path: &KeyPath, report: &mut Report<'_>) {
    let ids: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
    for (index, step) in steps.iter().enumerate() {
        let path = path.index(index);
        dependencies(step, &ids, &path, report);
        for (path, steps) in inner_lists(step, &path) {
            list(steps, &path, report);
        }
    }
    cycles(steps, path, report);
}

fn dependencies(step: &StepConfig, ids: &[&str], path: &KeyPath, report: &mut Report<'_>) {
    for (index, id) in step.depends_on.iter().enumerate() {
        if !ids.contains(&id.as_str()) {
            let path = path.key("dependsOn").index(index);
            let message = format!("no step is called `{id}`");
            match did_you_mean(id, ids.iter().copied()) {
                Some(hint) => report.error_with_hint(Rule::UnknownStep, &path, message, hint),
                None => report.error(Rule::UnknownStep, &path, message),
            }
        }
    }
}

/// Reports the steps that can never begin, at the first of them: what is left when every step whose dependencies are done
/// is taken away.
fn cycles(steps: &[StepConfig], path: &KeyPath, report: &mut Report<'_>) {
    let ids: HashSet<&str> = steps.iter().map(|step| step.id.as_str()).collect();
    let mut done: HashSet<&str> = HashSet::new();
    loop {
        let is_ready = |step: &&StepConfig| {
            !done.contains(step.id.as_str())
                && step.depends_on.iter().all(|id| done.contains(id.as_str()) || !ids.contains(id.as_str()))
        };
        let ready: Vec<&str> = steps.iter().filter(is_ready).map(|step| step.id.as_str()).collect();
        if ready.is_empty() {
            break;
        }
        done.extend(ready);
    }
    let waiting = steps.iter().enumerate().find(|(_, step)| !done.contains(step.id.as_str()));
    if let Some((index, step)) = waiting {
        let message = format!("step `{}` waits for itself, by way of its dependencies", step.id);
        report.error(Rule::DependencyCycle, &path.index(index).key("dependsOn"), message);
    }
}

/// A step that may be skipped, or whose failure is passed over, needs a default for every output that others read.
fn default_results(tool: &CompositeToolConfig, steps: &[(KeyPath, &StepConfig)], report: &mut Report<'_>) {
    let continues = |step: &StepConfig| {
        step.on_error.as_ref().is_some_and(|handling| handling.action == Some(ErrorAction::Continue))
    };
    let optional: HashMap<&str, &(KeyPath, &StepConfig)> = (steps.iter())
        .filter(|(_, step)| step.condition.is_some() || continues(step))
        .map(|place| (place.1.id.as_str(), place))
        .collect();
    let mut reported: HashSet<(&str, &str)> = HashSet::new();
    for (id, field) in outputs_read(tool, steps) {
        let Some((path, step)) = optional.get(id) else { continue };
        let has_default = step.default_results.as_ref().is_some_and(|defaults| defaults.contains_key(field));
        if !has_default && reported.insert((id, field)) {
            let message = format!("step `{id}` may yield nothing, and `{field}` of its output is read elsewhere");
            report.error(Rule::MissingDefaultResult, &path.key("defaultResults").key(field), message);
        }
    }
}

fn outputs_read<'t>(tool: &'t CompositeToolConfig, steps: &[(KeyPath, &'t StepConfig)]) -> Vec<(&'t str, &'t str)> {
    let mut templates: Vec<&'t str> = Vec::new();
    for (_, step) in steps {
        templates.extend(step.condition.as_deref());
        templates.extend(step.message.as_deref());
        templates.extend(step.on.as_deref());
        templates.extend(step.goes_on.as_deref());
        templates.extend(step.arguments.iter().flat_map(Map::values).filter_map(Value::as_str));
    }
    let mut open: Vec<&OutputProperty> = tool.output.iter().flat_map(|output| output.properties.values()).collect();
    while let Some(property) = open.pop() {
        templates.extend(property.value.as_deref());
        open.extend(property.properties.values());
    }
    templates.into_iter().flat_map(step_outputs).collect()
}
