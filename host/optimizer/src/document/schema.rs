//! The words in the JSON Schema of a tool's arguments.

use serde_json::{Map, Value};

/// Levels of nesting that are looked at.
const MAX_DEPTH: usize = 8;

/// What a tool's parameters are called and said to be; one entry per line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) names: Box<str>,
    pub(super) descriptions: Box<str>,
    pub(super) enum_values: Box<str>,
}

impl Parameters {
    /// Collects from everything in `schema` that is where it should be.
    pub(super) fn of(schema: &Value) -> Self {
        let mut found = Found::default();
        if let Value::Object(schema) = schema {
            found.visit(schema, 0);
            // What `$ref` leads to. Each definition is looked at once, so that circles do no harm.
            for key in ["$defs", "definitions"] {
                let definitions = schema.get(key).and_then(Value::as_object).into_iter().flat_map(Map::values);
                definitions.filter_map(Value::as_object).for_each(|definition| found.visit_parameter(definition, 1));
            }
        }
        Self {
            names: found.names.into(),
            descriptions: found.descriptions.into(),
            enum_values: found.enum_values.into(),
        }
    }
}

#[derive(Default)]
struct Found {
    names: String,
    descriptions: String,
    enum_values: String,
}

impl Found {
    /// The schemas inside of `schema`.
    fn visit(&mut self, schema: &Map<String, Value>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, parameter) in properties {
                add_line(&mut self.names, name);
                if let Value::Object(parameter) = parameter {
                    self.visit_parameter(parameter, depth + 1);
                }
            }
        }
        if let Some(Value::Object(items)) = schema.get("items") {
            self.visit_parameter(items, depth + 1);
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            let alternatives = schema.get(key).and_then(Value::as_array).into_iter().flatten();
            alternatives.filter_map(Value::as_object).for_each(|schema| self.visit_parameter(schema, depth + 1));
        }
    }

    /// A schema that describes a parameter or a part of one.
    fn visit_parameter(&mut self, schema: &Map<String, Value>, depth: usize) {
        if let Some(Value::String(description)) = schema.get("description") {
            add_line(&mut self.descriptions, description);
        }
        let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        for value in values.chain(schema.get("const")) {
            match value {
                Value::String(text) => add_line(&mut self.enum_values, text),
                Value::Number(number) => add_line(&mut self.enum_values, &number.to_string()),
                _ => {}
            }
        }
        self.visit(schema, depth);
    }
}

fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_schemas_give_their_words() {
        let check = |schema: Value, names: &str, descriptions: &str, enum_values: &str| {
            let found = Parameters::of(&schema);
            let lines = |text: &str| text.replace('\n', " ");
            assert_eq!(
                (lines(&found.names), lines(&found.descriptions), lines(&found.enum_values)),
                (names.to_owned(), descriptions.to_owned(), enum_values.to_owned()),
                "{schema}"
            );
        };
        check(json!({}), "", "", "");
        check(json!({"properties": {"a": {"description": "A"}, "b": true}}), "a b", "A", "");
        check(json!({"properties": {"a": {"properties": {"b": {"description": "B"}}}}}), "a b", "B", "");
        check(json!({"properties": {"a": {"items": {"enum": ["x", 2, null, {}]}}}}), "a", "", "x 2");
        check(json!({"properties": {"a": {"anyOf": [{"enum": ["x"]}, {"type": "null"}, 7]}}}), "a", "", "x");
        check(json!({"oneOf": [{"properties": {"a": {"const": "k"}}}, {"properties": {"b": {}}}]}), "a b", "", "k");
        check(json!({"allOf": {"properties": {"a": {}}}, "properties": ["a"], "items": "b"}), "", "", "");
        check(
            json!({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"properties": {"b": {"$ref": "#/$defs/A"}}}}}),
            "a b",
            "",
            "",
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = (0..50).fold(json!({}), |inner, n| json!({"properties": {format!("p{n}"): inner}}));
        assert_eq!(Parameters::of(&deep).names.lines().count(), MAX_DEPTH + 1);
    }
}
