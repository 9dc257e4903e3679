//! Rules of `aggregation`.

use serde_json::Value;

use super::unique;
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule, did_you_mean},
    section::{
        Document,
        aggregation::{AggregationConfig, ParameterOverride, ToolOverride, Visibility},
    },
};

/// The conflict resolvers that come with the host.
pub const BUILTIN_RESOLVERS: [&str; 4] = ["manual", "prefix", "priority", "smart"];

pub(super) fn check(document: &Document, path: &KeyPath, report: &mut Report<'_>) {
    let aggregation = &document.aggregation;
    resolver(document, path, report);
    strategy(aggregation, path, report);

    let tools = path.key("tools");
    workloads("tools", aggregation.tools.iter().map(|rule| rule.workload.as_str()), path, report);
    workloads("resources", aggregation.resources.iter().map(|rule| rule.workload.as_str()), path, report);
    workloads("prompts", aggregation.prompts.iter().map(|rule| rule.workload.as_str()), path, report);
    for (index, rule) in aggregation.tools.iter().enumerate() {
        for (name, change) in &rule.overrides {
            tool_override(change, &tools.index(index).key("overrides").key(name), report);
        }
    }
    for (index, rule) in aggregation.resources.iter().enumerate() {
        for (name, change) in &rule.overrides {
            let path = path.key("resources").index(index).key("overrides").key(name);
            let text = [&change.name, &change.title, &change.description];
            not_empty(text.iter().any(|text| text.is_some()) || change.annotations.is_some(), &path, report);
        }
    }
    for (index, rule) in aggregation.prompts.iter().enumerate() {
        for (name, change) in &rule.overrides {
            let path = path.key("prompts").index(index).key("overrides").key(name);
            let text = [&change.name, &change.title, &change.description];
            not_empty(text.iter().any(|text| text.is_some()), &path, report);
        }
    }
}

/// The component must come with the host or be an entry of `plugins`.
fn resolver(document: &Document, path: &KeyPath, report: &mut Report<'_>) {
    let name = document.aggregation.resolver();
    let known = || BUILTIN_RESOLVERS.into_iter().chain(document.plugins.iter().map(|plugin| plugin.name.as_str()));
    if known().any(|one| one == name) {
        return;
    }
    let message = format!("no component is named `{name}`");
    let listed: Vec<_> = known().map(|one| format!("`{one}`")).collect();
    let hint = did_you_mean(name, known())
        .unwrap_or_else(|| format!("there are {}; an entry of `plugins` adds one", listed.join(", ")));
    report.error_with_hint(Rule::UnknownComponent, &path.key("conflictResolution"), message, hint);
}

/// What the strategies of the reference system must be told. `prefix` without any configuration takes its default.
fn strategy(aggregation: &AggregationConfig, path: &KeyPath, report: &mut Report<'_>) {
    let config_path = path.key("conflictResolutionConfig");
    let config = aggregation.conflict_resolution_config.as_ref();
    match aggregation.resolver() {
        "prefix" => {
            let format = config.map(|config| config.get("prefixFormat"));
            if matches!(format, Some(None)) || format.flatten().is_some_and(|format| format == "" || format.is_null()) {
                let path = config_path.key("prefixFormat");
                let hint = "`{workload}_` is what most files say";
                report.error_with_hint(Rule::IncompleteStrategyConfig, &path, "`prefix` needs `prefixFormat`", hint);
            }
        }
        "priority" => {
            let path = config_path.key("priorityOrder");
            let order = config.and_then(|config| config.get("priorityOrder"));
            match order.and_then(Value::as_array) {
                Some(order) if !order.is_empty() => priority_order(order, aggregation, &path, report),
                _ => {
                    let message = "`priority` needs `priorityOrder`, a list of backends, best first";
                    report.error(Rule::IncompleteStrategyConfig, &path, message);
                }
            }
        }
        "manual" if aggregation.tools.is_empty() => {
            let message = "`manual` needs `tools` with the overrides that resolve the conflicts";
            report.error(Rule::ManualWithoutTools, &path.key("tools"), message);
        }
        _ => {}
    }
}

fn priority_order(order: &[Value], aggregation: &AggregationConfig, path: &KeyPath, report: &mut Report<'_>) {
    for (index, entry) in order.iter().enumerate() {
        let Some(name) = entry.as_str().filter(|name| !name.is_empty()) else {
            report.error(Rule::EmptyValue, &path.index(index), "every entry must be the name of a backend");
            continue;
        };
        let listed = aggregation.tools.iter().any(|rule| rule.workload == name);
        if aggregation.default_tool_visibility == Visibility::Deny && !listed {
            let message = format!("`{name}` has no entry in `tools`, so `defaultToolVisibility: deny` hides it");
            report.error(Rule::DenyWithoutEntry, &path.index(index), message);
        }
    }
}

fn workloads<'n>(key: &str, names: impl Iterator<Item = &'n str>, path: &KeyPath, report: &mut Report<'_>) {
    let places = names.enumerate().map(|(index, name)| (name, path.key(key).index(index).key("workload")));
    unique(places, Rule::DuplicateWorkload, "backend", report);
}

fn tool_override(change: &ToolOverride, path: &KeyPath, report: &mut Report<'_>) {
    let ToolOverride { name, description, annotations, parameters } = change;
    let says_something = name.is_some() || description.is_some() || annotations.is_some() || !parameters.is_empty();
    not_empty(says_something, path, report);
    for (name, change) in parameters {
        parameter_override(change, &path.key("parameters").key(name), report);
    }
}

fn parameter_override(change: &ParameterOverride, path: &KeyPath, report: &mut Report<'_>) {
    let ParameterOverride { fixed, hidden, default, description } = change;
    let ways = [fixed.is_some(), *hidden, default.is_some() || description.is_some()];
    match ways.iter().filter(|way| **way).count() {
        0 => not_empty(false, path, report),
        1 => {}
        _ => {
            let message = "`fixed` and `hidden` take the parameter away, so nothing else can be said about it";
            report.error(Rule::ExactlyOne, path, message);
        }
    }
}

fn not_empty(says_something: bool, path: &KeyPath, report: &mut Report<'_>) {
    if !says_something {
        report.error(Rule::EmptyOverride, path, "the override overrides nothing");
    }
}
