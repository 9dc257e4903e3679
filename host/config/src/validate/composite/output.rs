//! Rules of a composite tool's `output`.

use indexmap::IndexMap;

use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::composite::{JsonType, OutputProperty},
};

/// Deepest nesting of an output's parts.
const MAX_OUTPUT_DEPTH: usize = 10;

pub(super) fn check(properties: &IndexMap<String, OutputProperty>, path: &KeyPath, report: &mut Report<'_>) {
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
            check(&property.properties, &path.key("properties"), report);
        }
    }
}
