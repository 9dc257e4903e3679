//! Gives text the type that a JSON Schema asks for.
//!
//! A template yields text; a tool wants numbers. What cannot be read as the type stays text, so that the tool says what is wrong.

use serde_json::{Number, Value};

use crate::document::JsonType;

/// Deepest way through a schema: its nesting, and references that lead round.
const MAX_DEPTH: usize = 32;

/// `value` with its texts turned into what `schema` asks for, inside arrays and objects too.
///
/// Text stays where the schema allows text or says nothing; of several types the first that fits is taken. Local `$ref`, `anyOf`,
/// `oneOf` and `allOf` are followed.
pub(crate) fn coerce(value: Value, schema: &Value) -> Value {
    Typing { root: schema }.coerce(value, schema, 0)
}

/// Reads text as a type of JSON; `None` if it is not of that type.
pub(crate) fn parse(text: &str, kind: JsonType) -> Option<Value> {
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

struct Typing<'s> {
    root: &'s Value,
}

impl<'s> Typing<'s> {
    fn coerce(&self, value: Value, schema: &'s Value, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return value;
        }
        let mut options = Vec::new();
        self.options(schema, &mut options, 0);
        match value {
            Value::String(text) => self.typed(text, &options, depth),
            Value::Array(items) => {
                let Some(option) =
                    options.iter().find(|option| option.get("items").or(option.get("prefixItems")).is_some())
                else {
                    return Value::Array(items);
                };
                let prefix = option.get("prefixItems").and_then(Value::as_array);
                let schema = |index: usize| prefix.and_then(|prefix| prefix.get(index)).or(option.get("items"));
                let typed = items.into_iter().enumerate().map(|(index, item)| match schema(index) {
                    Some(schema) => self.coerce(item, schema, depth + 1),
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
                        let entry = self.coerce(entry, schema, depth + 1);
                        (key, entry)
                    }
                    None => (key, entry),
                });
                Value::Object(typed.collect())
            }
            other => other,
        }
    }

    fn typed(&self, text: String, options: &[&'s Value], depth: usize) -> Value {
        let kinds: Option<Vec<_>> = options.iter().map(|option| kinds(option)).collect();
        let Some(kinds) = kinds else { return Value::String(text) };
        let kinds = kinds.concat();
        if kinds.contains(&JsonType::String) {
            return Value::String(text);
        }
        match kinds.into_iter().find_map(|kind| parse(&text, kind)) {
            Some(parsed @ (Value::Object(_) | Value::Array(_))) => {
                let inner = |value, option: &&'s Value| self.coerce(value, option, depth + 1);
                options.iter().fold(parsed, inner)
            }
            Some(parsed) => parsed,
            None => Value::String(text),
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

/// The types that a schema names, without `null`; `None` if it names none.
fn kinds(schema: &Value) -> Option<Vec<JsonType>> {
    let names: Vec<&str> = match schema.get("type")? {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    Some(names.into_iter().filter_map(JsonType::from_name).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_becomes_what_the_schema_asks_for() {
        let check =
            |value: Value, schema: Value, expected: Value| assert_eq!(coerce(value, &schema), expected, "{schema}");
        let kind = |name: &str| json!({"type": name});
        check(json!("5"), kind("integer"), json!(5));
        check(json!("-5"), kind("integer"), json!(-5));
        check(json!("18446744073709551615"), kind("integer"), json!(u64::MAX));
        check(json!("5.5"), kind("integer"), json!("5.5"));
        check(json!("<no value>"), kind("integer"), json!("<no value>"));
        check(json!("5.5"), kind("number"), json!(5.5));
        check(json!("5"), kind("number"), json!(5));
        check(json!("1e3"), kind("number"), json!(1000.0));
        check(json!("inf"), kind("number"), json!("inf"));
        check(json!("true"), kind("boolean"), json!(true));
        check(json!("FALSE"), kind("boolean"), json!(false));
        check(json!("yes"), kind("boolean"), json!("yes"));
        check(json!("5"), kind("string"), json!("5"));
        check(json!("5"), json!({}), json!("5"));
        check(json!("5"), json!({"enum": ["5"]}), json!("5"));
        check(json!(7), kind("string"), json!(7));
        check(json!("5"), json!({"type": ["integer", "null"]}), json!(5));
        check(json!("5"), json!({"type": ["integer", "string"]}), json!("5"));
        check(json!("5"), json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), json!(5));
        check(json!("5"), json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}), json!("5"));
        check(json!("x"), json!({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}), json!("x"));
    }

    #[test]
    fn texts_inside_arrays_and_objects_are_typed_too() {
        let check =
            |value: Value, schema: Value, expected: Value| assert_eq!(coerce(value, &schema), expected, "{schema}");
        let ids = json!({"type": "object", "properties": {"ids": {"type": "array", "items": {"type": "integer"}}}});
        check(json!({"ids": ["1", "x", 3], "n": "1"}), ids.clone(), json!({"ids": [1, "x", 3], "n": "1"}));
        check(json!({"ids": "[1, \"2\"]"}), ids.clone(), json!({"ids": [1, 2]}));
        check(json!({"ids": "[1"}), ids.clone(), json!({"ids": "[1"}));
        check(json!({"ids": "{\"a\":1}"}), ids, json!({"ids": "{\"a\":1}"}));
        let counts = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        check(json!({"a": "1"}), counts, json!({"a": 1}));
        let pair = json!({"prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}});
        check(json!(["1", "1"]), pair, json!([1, true]));
        let named = json!({"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}});
        check(json!({"a": "1"}), named, json!({"a": 1}));
        let optional =
            json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "null"}]});
        check(json!("{\"a\": \"1\"}"), optional, json!({"a": 1}));
        let round = json!({"$defs": {"n": {"$ref": "#/$defs/n"}}, "$ref": "#/$defs/n"});
        check(json!("1"), round, json!("1"));
    }
}
