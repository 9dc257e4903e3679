//! Rules of `compositeTools` and `compositeToolRefs`.
//!
//! Templates are only looked through for the outputs they read; whether they parse, the interpreter says.

mod calls;
mod keys;
mod output;
mod step;
mod steps;

use serde_json::{Map, Value};

use super::{positive, unique};
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::{
        Document,
        composite::{CompositeToolConfig, StepConfig},
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
    calls::cycles(&document.composite_tools, &tools, report);
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
    steps::check(tool, path, report);
    if let Some(output) = &tool.output {
        output::check(&output.properties, &path.key("output").key("properties"), report);
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

/// The lists of steps inside a step.
fn inner_lists<'s>(step: &'s StepConfig, path: &KeyPath) -> Vec<(KeyPath, &'s [StepConfig])> {
    let cases = step.cases.iter().flatten().enumerate();
    let cases = cases.map(|(index, case)| (path.key("cases").index(index).key("steps"), case.steps.as_slice()));
    let default = step.default.iter().map(|steps| (path.key("default"), steps.as_slice()));
    let rounds = step.steps.iter().map(|steps| (path.key("steps"), steps.as_slice()));
    cases.chain(default).chain(rounds).collect()
}

/// All steps of a list, each followed by those inside it.
pub(crate) fn all<'s>(steps: &'s [StepConfig], path: &KeyPath) -> Vec<(KeyPath, &'s StepConfig)> {
    let with_inner = |(index, step): (usize, &'s StepConfig)| {
        let path = path.index(index);
        let inner = inner_lists(step, &path).into_iter().flat_map(|(path, steps)| all(steps, &path));
        let inner: Vec<_> = inner.collect();
        [(path, step)].into_iter().chain(inner)
    };
    steps.iter().enumerate().flat_map(with_inner).collect()
}
