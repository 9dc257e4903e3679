//! Rules of `compositeTools` and `compositeToolRefs`.
//!
//! Templates are only looked through for the outputs they read; whether they parse, the interpreter says.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{positive, template::step_outputs, unique};
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule, did_you_mean},
    section::{
        Document,
        composite::{CompositeToolConfig, ErrorAction, JsonType, OutputProperty, StepConfig, StepType},
    },
};

pub(crate) fn check(document: &Document, report: &mut Report<'_>) {
    let root = KeyPath::root();
    let tools = root.key("compositeTools");
    let names = document.composite_tools.iter().enumerate();
    let places = names.map(|(index, tool)| (tool.name.as_str(), tools.index(index).key("name")));
    unique(places, Rule::DuplicateComposite, "composite tool", report);
    for (index, tool) in document.composite_tools.iter().enumerate() {
        check_tool(tool, &tools.index(index), report);
    }
    let references = root.key("compositeToolRefs");
    let names = document.composite_tool_refs.iter().enumerate();
    let places = names.map(|(index, reference)| (reference.name.as_str(), references.index(index).key("name")));
    unique(places, Rule::DuplicateComposite, "reference", report);
}

fn check_tool(tool: &CompositeToolConfig, path: &KeyPath, report: &mut Report<'_>) {
    match (&tool.workflow, tool.steps.is_empty()) {
        (Some(_), false) => {
            let message = "`steps` and `workflow` exclude each other";
            report.error_at_key(Rule::WorkflowOrSteps, &path.key("workflow"), message, None);
        }
        (None, true) => {
            report.error(Rule::WorkflowOrSteps, &path.key("steps"), "`steps` needs at least one step");
        }
        _ => {}
    }
    if tool.workflow.is_none() && tool.description.is_none() {
        report.error(Rule::MissingDescription, &path.key("description"), "`description` is missing");
    }
    positive(tool.timeout, true, &path.key("timeout"), report);
    if let Some(parameters) = &tool.parameters {
        object_schema(parameters, &path.key("parameters"), report);
    }
    if let Some(schema) = &tool.config_schema {
        object_schema(schema, &path.key("configSchema"), report);
    }
    let steps = path.key("steps");
    let ids: Vec<&str> = tool.steps.iter().map(|step| step.id.as_str()).collect();
    let named = ids.iter().enumerate().filter(|(_, id)| !id.is_empty());
    let places = named.map(|(index, id)| (*id, steps.index(index).key("id")));
    unique(places, Rule::DuplicateStep, "step", report);
    for (index, step) in tool.steps.iter().enumerate() {
        let path = steps.index(index);
        if step.id.is_empty() {
            report.error(Rule::IncompleteStep, &path.key("id"), "the step needs an `id`");
        }
        check_step(step, &path, report);
        dependencies(step, &ids, &path, report);
    }
    cycles(&tool.steps, &steps, report);
    default_results(tool, path, report);
    if let Some(output) = &tool.output {
        output_properties(&output.properties, &path.key("output").key("properties"), report);
        for (index, name) in output.required.iter().enumerate() {
            if !output.properties.contains_key(name) {
                let message = format!("`{name}` is not among `properties`");
                report.error(Rule::BadOutput, &path.key("output").key("required").index(index), message);
            }
        }
    }
}

/// An empty schema stands for any arguments.
fn object_schema(schema: &Map<String, Value>, path: &KeyPath, report: &mut Report<'_>) {
    if schema.is_empty() {
        return;
    }
    if schema.get("type") != Some(&Value::from("object")) {
        report.error(Rule::BadSchema, &path.key("type"), "the schema must have `type: object`");
    }
    json_schema(schema, path, report);
}

fn json_schema(schema: &Map<String, Value>, path: &KeyPath, report: &mut Report<'_>) {
    let schema = Value::Object(schema.clone());
    if let Err(error) = jsonschema::meta::validate(&schema) {
        let inside = KeyPath::from_pointer(error.instance_path().as_str()).unwrap_or_default();
        let place: KeyPath = path.steps().iter().chain(inside.steps()).cloned().collect();
        report.error(Rule::BadSchema, &place, format!("no JSON Schema: {error}"));
    }
}

fn check_step(step: &StepConfig, path: &KeyPath, report: &mut Report<'_>) {
    if step.kind.is_none() && step.tool.is_some() && step.message.is_some() {
        let message = "`tool` and `message` in one step: say with `type` which is meant";
        report.error(Rule::AmbiguousStep, path, message);
        return;
    }
    match step.kind.unwrap_or(StepType::Tool) {
        StepType::Tool => needs(step.tool.is_some(), "tool", "tool", path, report),
        StepType::Elicitation => needs(step.message.is_some(), "elicitation", "message", path, report),
        StepType::ForEach => loop_step(step, path, report),
    }
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
            StepType::Tool => check_step(inner, &path, report),
            StepType::ForEach | StepType::Elicitation => {
                report.error(Rule::NestedLoop, &path.key("type"), "a loop repeats a tool call and nothing else");
            }
        }
    }
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
fn default_results(tool: &CompositeToolConfig, path: &KeyPath, report: &mut Report<'_>) {
    let continues = |step: &StepConfig| {
        step.on_error.as_ref().is_some_and(|handling| handling.action == Some(ErrorAction::Continue))
    };
    let optional: HashMap<&str, (usize, &StepConfig)> = (tool.steps.iter().enumerate())
        .filter(|(_, step)| step.condition.is_some() || continues(step))
        .map(|(index, step)| (step.id.as_str(), (index, step)))
        .collect();
    let mut reported: HashSet<(&str, &str)> = HashSet::new();
    for (id, field) in outputs_read(tool) {
        let Some((index, step)) = optional.get(id) else { continue };
        let has_default = step.default_results.as_ref().is_some_and(|defaults| defaults.contains_key(field));
        if !has_default && reported.insert((id, field)) {
            let message = format!("step `{id}` may yield nothing, and `{field}` of its output is read elsewhere");
            let path = path.key("steps").index(*index).key("defaultResults").key(field);
            report.error(Rule::MissingDefaultResult, &path, message);
        }
    }
}

fn outputs_read(tool: &CompositeToolConfig) -> Vec<(&str, &str)> {
    let mut templates: Vec<&str> = Vec::new();
    for step in &tool.steps {
        templates.extend(step.condition.as_deref());
        templates.extend(step.message.as_deref());
        templates.extend(step.arguments.iter().flat_map(Map::values).filter_map(Value::as_str));
    }
    let mut open: Vec<&OutputProperty> = tool.output.iter().flat_map(|output| output.properties.values()).collect();
    while let Some(property) = open.pop() {
        templates.extend(property.value.as_deref());
        open.extend(property.properties.values());
    }
    templates.into_iter().flat_map(step_outputs).collect()
}

/// Deepest nesting of an output's parts.
const MAX_OUTPUT_DEPTH: usize = 10;

fn output_properties(properties: &IndexMap<String, OutputProperty>, path: &KeyPath, report: &mut Report<'_>) {
    for (name, property) in properties {
        let path = path.key(name);
        let nested = !property.properties.is_empty();
        match (property.value.is_some(), nested, property.kind) {
            (true, true, _) => {
                report.error(Rule::BadOutput, &path, "only one of `value` and `properties` is allowed");
            }
            (false, false, JsonType::Object) => {
                report.error(Rule::BadOutput, &path, "an object needs `value` or `properties`");
            }
            (false, false, _) => report.error(Rule::BadOutput, &path.key("value"), "`value` is missing"),
            (false, true, kind) if kind != JsonType::Object => {
                report.error(Rule::BadOutput, &path.key("properties"), "only an object has `properties`");
            }
            _ => {}
        }
        let depth =
            path.steps().iter().filter(|step| matches!(step, crate::Step::Key(key) if key == "properties")).count();
        if depth > MAX_OUTPUT_DEPTH {
            let message = format!("nested deeper than {MAX_OUTPUT_DEPTH}");
            report.error(Rule::BadOutput, &path, message);
        } else {
            output_properties(&property.properties, &path.key("properties"), report);
        }
    }
}
