//! The arguments of a call through `call_tool`: taken out as models write them, and checked against the tool's schema before
//! anything is called, so that a model can mend its call in one round.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use jsonschema::Validator;
use serde_json::{Map, Value};
use tracing::debug;
use vmcp_core::{catalog::Entry, json::RawJson};
use vmcp_mcp::object::Object;

/// Compiled schemas that are kept; all are dropped when there are more.
const KEPT: usize = 1000;
/// Problems that one answer names.
const NAMED: usize = 8;
/// Longest schema that an answer repeats, in bytes.
const MAX_SCHEMA: usize = 32 << 10;

/// Name and arguments of the call inside the arguments of `call_tool`.
///
/// # Errors
/// What is wrong, for the model to read.
pub(super) fn unwrap(mut arguments: Map<String, Value>) -> Result<(String, Map<String, Value>), String> {
    let parameters = arguments.remove("parameters").or_else(|| arguments.remove("arguments"));
    let mut parameters = match parameters {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(parameters)) => parameters,
        // Some models write JSON as text.
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(Value::Object(parameters)) => parameters,
            _ if text.trim().is_empty() => Map::new(),
            _ => return Err("`parameters` must be an object, is a string".into()),
        },
        Some(other) => return Err(format!("`parameters` must be an object, is {other}")),
    };
    let name = match arguments.remove("tool_name") {
        // Some models put the name among the parameters.
        None | Some(Value::Null) => parameters.remove("tool_name"),
        name => name,
    };
    match name {
        Some(Value::String(name)) if !name.is_empty() => Ok((name, parameters)),
        Some(Value::String(_)) => Err("`tool_name` is empty; `find_tool` finds tools".into()),
        Some(other) => Err(format!("`tool_name` must be a string, is {other}")),
        None => Err("`tool_name` is missing; `find_tool` finds tools".into()),
    }
}

/// Checks arguments; keeps the schemas that it compiled.
#[derive(Default)]
pub(super) struct ArgumentCheck {
    compiled: Mutex<HashMap<Arc<str>, Compiled>>,
}

#[derive(Clone)]
struct Compiled {
    definition: RawJson,
    /// Absent where the schema is missing or cannot be used: the backend checks then.
    validator: Option<Arc<Validator>>,
}

impl ArgumentCheck {
    /// # Errors
    /// Every problem, what may have been meant, and the schema.
    pub(super) fn check(&self, entry: &Entry, arguments: &Map<String, Value>) -> Result<(), String> {
        let Some(validator) = self.validator(entry) else { return Ok(()) };
        let arguments = Value::Object(arguments.clone());
        let mut problems = validator.iter_errors(&arguments).peekable();
        if problems.peek().is_none() {
            return Ok(());
        }
        let schema = input_schema(entry).unwrap_or_default();
        let mut text = format!("The parameters do not fit `{}`, which was not called:", entry.name);
        for problem in problems.by_ref().take(NAMED) {
            let at = problem.instance_path().to_string();
            let place = if at.is_empty() { String::new() } else { format!("`{at}`: ") };
            let _ = write!(text, "\n- {place}{problem}");
        }
        let more = problems.count();
        if more > 0 {
            let _ = write!(text, "\n- and {more} more");
        }
        for (given, known) in likely_meant(&schema, &arguments) {
            let _ = write!(text, "\n- there is no parameter `{given}`, did you mean `{known}`?");
        }
        if schema.len() <= MAX_SCHEMA {
            let _ = write!(text, "\nIts input schema: {schema}");
        }
        Err(text)
    }

    fn validator(&self, entry: &Entry) -> Option<Arc<Validator>> {
        let known = self.compiled.lock().expect("no panic while locked").get(&entry.name).cloned();
        if let Some(known) = known.filter(|known| known.definition == entry.definition) {
            return known.validator;
        }
        let schema = input_schema(entry).and_then(|schema| serde_json::from_str::<Value>(&schema).ok());
        let compile = |schema: Value| {
            let compiled = jsonschema::validator_for(&schema);
            compiled.inspect_err(|error| debug!(tool = %entry.name, %error, "its input schema cannot be used")).ok()
        };
        let validator = schema.and_then(compile).map(Arc::new);
        let mut compiled = self.compiled.lock().expect("no panic while locked");
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        let definition = entry.definition.clone();
        compiled.insert(entry.name.clone(), Compiled { definition, validator: validator.clone() });
        validator
    }
}

/// The input schema as advertised.
fn input_schema(entry: &Entry) -> Option<String> {
    Object::parse(&entry.definition).ok()?.get("inputSchema").map(|schema| schema.as_str().to_owned())
}

/// Given parameters that the schema does not know, each with the free one that is most like it.
fn likely_meant(schema: &str, arguments: &Value) -> Vec<(String, String)> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let (Some(known), Some(given)) = (schema["properties"].as_object(), arguments.as_object()) else {
        return Vec::new();
    };
    let free: Vec<_> = known.keys().filter(|name| !given.contains_key(*name)).collect();
    let nearest = |name: &&String| {
        let likeness = |known: &&&String| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
        let best = free.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        (likeness(&best) > 0.7).then(|| ((*name).clone(), (**best).clone()))
    };
    given.keys().filter(|name| !known.contains_key(*name)).filter_map(|name| nearest(&name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("no object: {value}") };
        map
    }

    #[test]
    fn calls_are_taken_out_as_models_write_them() {
        let check = |arguments: Value, expected: Result<(&str, Value), &str>| {
            let expected = expected.map(|(name, parameters)| (name.to_owned(), object(parameters)));
            assert_eq!(unwrap(object(arguments.clone())), expected.map_err(Into::into), "{arguments}");
        };
        check(json!({ "tool_name": "a", "parameters": { "x": 1 } }), Ok(("a", json!({ "x": 1 }))));
        check(json!({ "tool_name": "a" }), Ok(("a", json!({}))));
        check(json!({ "tool_name": "a", "parameters": null }), Ok(("a", json!({}))));
        check(json!({ "tool_name": "a", "parameters": "{\"x\":1}" }), Ok(("a", json!({ "x": 1 }))));
        check(json!({ "tool_name": "a", "arguments": { "x": 1 } }), Ok(("a", json!({ "x": 1 }))));
        check(json!({ "parameters": { "tool_name": "a", "x": 1 } }), Ok(("a", json!({ "x": 1 }))));
        check(json!({ "tool_name": "a", "parameters": { "tool_name": "b" } }), Ok(("a", json!({ "tool_name": "b" }))));
        check(json!({ "parameters": {} }), Err("`tool_name` is missing; `find_tool` finds tools"));
        check(json!({ "tool_name": "" }), Err("`tool_name` is empty; `find_tool` finds tools"));
        check(json!({ "tool_name": 1 }), Err("`tool_name` must be a string, is 1"));
        check(json!({ "tool_name": "a", "parameters": [1] }), Err("`parameters` must be an object, is [1]"));
        check(json!({ "tool_name": "a", "parameters": "x" }), Err("`parameters` must be an object, is a string"));
    }

    #[test]
    fn unknown_parameters_lead_to_the_nearest_free_one() {
        let schema = r#"{ "properties": { "path": {}, "head": {}, "tail": {} } }"#;
        let check = |arguments: Value, expected: &[(&str, &str)]| {
            let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(likely_meant(schema, &arguments), expected, "{arguments}");
        };
        check(json!({ "path": "x" }), &[]);
        check(json!({ "file_path": "x" }), &[]);
        check(json!({ "Path": "x" }), &[("Path", "path")]);
        check(json!({ "pathh": "x", "heads": 3 }), &[("pathh", "path"), ("heads", "head")]);
        check(json!({ "path": "x", "paths": "y" }), &[]);
    }
}
