//! The types that the interpreter of steps gives to texts before it calls a tool, by the tool's schema. This is the rule of
//! `typing.rs` in `plugins/workflow-yaml`; texts with templates stay as they are here.

use serde_json::{Number, Value};

use super::{
    arguments::{At, Finding},
    template::{can_be, is_template},
};
use crate::{key_path::KeyPath, problem::Rule, section::composite::JsonType};

/// Deepest way through a schema: its nesting, and references that lead round.
const MAX_DEPTH: usize = 32;

/// `arguments` as they are sent, and the texts whose templates cannot yield what the schema asks for.
pub(super) fn typed(arguments: Value, schema: &Value) -> (Value, Vec<Finding>) {
    let mut typing = Typing { root: schema, impossible: Vec::new() };
    let typed = typing.coerce(arguments, schema, &KeyPath::root(), 0);
    (typed, typing.impossible)
}

struct Typing<'s> {
    root: &'s Value,
    impossible: Vec<Finding>,
}

impl<'s> Typing<'s> {
    fn coerce(&mut self, value: Value, schema: &'s Value, path: &KeyPath, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return value;
        }
        let mut options = Vec::new();
        self.options(schema, &mut options, 0);
        match value {
            Value::String(text) => self.text(text, &options, path, depth),
            Value::Array(items) => {
                let Some(option) =
                    options.iter().find(|option| option.get("items").or(option.get("prefixItems")).is_some())
                else {
                    return Value::Array(items);
                };
                let prefix = option.get("prefixItems").and_then(Value::as_array);
                let schema = |index: usize| prefix.and_then(|prefix| prefix.get(index)).or(option.get("items"));
                let typed = items.into_iter().enumerate().map(|(index, item)| match schema(index) {
                    Some(schema) => self.coerce(item, schema, &path.index(index), depth + 1),
                    None => item,
                });
                Value::Array(typed.collect())
            }
            Value::Object(entries) => {
                let schema = |key: &str| {
                    let named = options.iter().find_map(|option| option.get("properties")?.get(key));
                    named.or_else(|| options.iter().find_map(|option| option.get("additionalProperties")))
                };
                let typed = entries.into_iter().map(|(key, entry)| match schema(&key) {
                    Some(schema) => {
                        let entry = self.coerce(entry, schema, &path.key(&key), depth + 1);
                        (key, entry)
                    }
                    None => (key, entry),
                });
                Value::Object(typed.collect())
            }
            other => other,
        }
    }

    fn text(&mut self, text: String, options: &[&'s Value], path: &KeyPath, depth: usize) -> Value {
        let kinds: Option<Vec<_>> = options.iter().map(|option| kinds(option)).collect();
        let Some(kinds) = kinds.map(|kinds| kinds.concat()) else { return text.into() };
        if kinds.contains(&JsonType::String) {
            return text.into();
        }
        if is_template(&text) {
            if !kinds.is_empty() && !kinds.iter().any(|kind| can_be(&text, *kind)) {
                self.impossible.push(never(&text, &kinds, path));
            }
            return text.into();
        }
        match kinds.into_iter().find_map(|kind| parse(&text, kind)) {
            Some(parsed @ (Value::Object(_) | Value::Array(_))) => {
                options.iter().fold(parsed, |value, option| self.coerce(value, option, path, depth + 1))
            }
            Some(parsed) => parsed,
            None => text.into(),
        }
    }

    /// The schemas that `schema` leaves to choose from, itself if it is none of the combinations.
    fn options(&self, schema: &'s Value, options: &mut Vec<&'s Value>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        if let Some(target) = target.and_then(|pointer| self.root.pointer(pointer)) {
            return self.options(target, options, depth + 1);
        }
        let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
        let before = options.len();
        for choice in choices {
            self.options(choice, options, depth + 1);
        }
        if options.len() == before || schema.get("type").is_some() {
            options.push(schema);
        }
    }
}

fn never(text: &str, kinds: &[JsonType], path: &KeyPath) -> Finding {
    let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    Finding {
        path: path.clone(),
        at: At::Value,
        rule: Rule::BadArgument,
        message: format!("does not take it: whatever the template yields, `{text}` is no {}", kinds.join(" or ")),
        hint: None,
        is_certain: true,
    }
}

/// The types that a schema names, without `null`; `None` if it names none.
fn kinds(schema: &Value) -> Option<Vec<JsonType>> {
    let names: Vec<&str> = match schema.get("type")? {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    Some(names.into_iter().filter_map(JsonType::from_name).collect())
}

/// Reads text as a type of JSON; `None` if it is not of that type.
fn parse(text: &str, kind: JsonType) -> Option<Value> {
    match kind {
        JsonType::String => Some(text.into()),
        JsonType::Integer => {
            text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
        }
        JsonType::Number => {
            let float = || text.parse().ok().and_then(Number::from_f64).map(Value::Number);
            parse(text, JsonType::Integer).or_else(float)
        }
        JsonType::Boolean => match text {
            "true" | "True" | "TRUE" | "1" => Some(true.into()),
            "false" | "False" | "FALSE" | "0" => Some(false.into()),
            _ => None,
        },
        JsonType::Object => serde_json::from_str(text).ok().filter(Value::is_object),
        JsonType::Array => serde_json::from_str(text).ok().filter(Value::is_array),
    }
}
