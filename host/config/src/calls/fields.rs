//! Which names a schema has for the parts of an object, without asking which of its choices holds.

use serde_json::Value;

use super::arguments::{At, Finding};
use crate::{
    key_path::{KeyPath, Step},
    problem::{Rule, did_you_mean},
};

/// Most schemas that apply to one place; recursive ones have no end.
const MAX_SCHEMAS: usize = 1000;

/// The names of one schema.
pub(super) struct Fields<'s> {
    pub(super) root: &'s Value,
}

impl<'s> Fields<'s> {
    /// Names in `arguments` that the schema does not have, and does not forbid either: more likely a slip than meant.
    pub(super) fn unknown(&self, arguments: &Value) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.look(arguments, &KeyPath::root(), &mut findings);
        findings
    }

    /// The names of the object at `path`.
    pub(super) fn names(&self, path: &KeyPath) -> Vec<&'s str> {
        let schemas = self.at(path);
        let properties = schemas.iter().filter_map(|schema| schema.get("properties")?.as_object());
        properties.flat_map(|properties| properties.keys().map(String::as_str)).collect()
    }

    fn look(&self, value: &Value, path: &KeyPath, findings: &mut Vec<Finding>) {
        match value {
            Value::Object(entries) => {
                let schemas = self.at(path);
                let has_names = schemas.iter().any(|schema| schema.get("properties").is_some());
                let known = (has_names && !schemas.iter().any(|schema| self.decides_otherwise(schema)))
                    .then(|| self.names(path));
                for (name, entry) in entries {
                    match &known {
                        Some(known) if !known.contains(&name.as_str()) => findings.push(Finding {
                            path: path.key(name),
                            at: At::Key,
                            rule: Rule::UnknownArgument,
                            message: format!("does not know `{name}`"),
                            hint: did_you_mean(name, known.iter().copied()),
                            is_certain: false,
                        }),
                        _ => self.look(entry, &path.key(name), findings),
                    }
                }
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.look(item, &path.index(index), findings));
            }
            _ => {}
        }
    }

    /// The schemas that may apply at `path`.
    fn at(&self, path: &KeyPath) -> Vec<&'s Value> {
        let mut schemas = self.in_play(vec![self.root]);
        for step in path.steps() {
            let below = |schema: &&'s Value| match step {
                Step::Key(key) => {
                    schema.get("properties").and_then(|named| named.get(key)).or(schema.get("additionalProperties"))
                }
                Step::Index(index) => {
                    let prefix = schema.get("prefixItems").and_then(|prefix| prefix.get(index));
                    prefix.or(schema.get("items"))
                }
            };
            schemas = self.in_play(schemas.iter().filter_map(below).collect());
        }
        schemas
    }

    /// The schemas and all that they lead to without going down into the value.
    fn in_play(&self, mut schemas: Vec<&'s Value>) -> Vec<&'s Value> {
        let mut next = 0;
        while next < schemas.len() && schemas.len() < MAX_SCHEMAS {
            let schema = schemas[next];
            let lists = ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
            let single = ["if", "then", "else"].iter().filter_map(|key| schema.get(key));
            let maps = ["dependentSchemas", "dependencies"].iter().filter_map(|key| schema.get(key)?.as_object());
            let found: Vec<_> = lists.chain(single).chain(maps.flat_map(|map| map.values())).collect();
            schemas.extend(found);
            schemas.extend(self.target(schema));
            next += 1;
        }
        schemas
    }

    fn target(&self, schema: &Value) -> Option<&'s Value> {
        self.root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    /// Whether the schema has its own say on names beside `properties`, or one that cannot be read here.
    fn decides_otherwise(&self, schema: &Value) -> bool {
        let has = |key: &str| schema.get(key).is_some();
        let keys = ["additionalProperties", "patternProperties", "unevaluatedProperties"];
        let is_elsewhere = (has("$ref") && self.target(schema).is_none()) || has("$dynamicRef") || has("$recursiveRef");
        let is_any_object = schema.get("type").is_some_and(|kind| kind == "object") && !has("properties");
        is_elsewhere || is_any_object || schema == &Value::Bool(true) || keys.into_iter().any(has)
    }
}
