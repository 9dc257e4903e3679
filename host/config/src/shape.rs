//! Turns the tree into the JSON that the schema judges and serde types.
//!
//! The schema says what each place holds, and a scalar is read accordingly, as Go's yaml.v3 reads it into a typed field:
//! `1.10` in a place for text stays `1.10`, `yes` in a place for true or false is true, null means the key is absent, and
//! so does empty text where nothing is required. What does not fit stays what it looks like, for the schema to refuse.
//! Where the schema says nothing, `scalar` decides.

use serde_json::{Map, Value, json};

use crate::{
    key_path::KeyPath,
    problem::Report,
    scalar::{self, Unresolvable},
    schema,
    tree::{Node, NodeKind, ScalarText, Tree},
};

/// The whole file as JSON. Values that JSON cannot hold are reported and left out.
pub(crate) fn instance(tree: &Tree, report: &mut Report<'_>) -> Value {
    shape(&tree.root, schema::schema(), &KeyPath::root(), report)
}

fn shape(node: &Node, place: &Value, path: &KeyPath, report: &mut Report<'_>) -> Value {
    let place = branch_for(node, schema::resolve(place));
    match &node.kind {
        NodeKind::Scalar(scalar) => typed(scalar, place).unwrap_or_else(|problem| {
            report.error(problem.rule, path, problem.message);
            Value::Null
        }),
        NodeKind::List(items) => {
            let item_place = place.get("items").unwrap_or(&Value::Null);
            let item =
                |(index, item): (usize, &std::sync::Arc<Node>)| shape(item, item_place, &path.index(index), report);
            items.iter().enumerate().map(item).collect()
        }
        NodeKind::Map(_) => {
            let mut object = Map::new();
            let plain_text =
                place.get("additionalProperties").is_some_and(|inner| *inner == json!({ "type": "string" }));
            for entry in node.entries() {
                let value_place = schema::property(place, &entry.key);
                let inner = value_place.map_or(&Value::Null, |place| schema::resolve(place));
                if is_absent(&entry.value, &entry.key, inner, place) {
                    continue;
                }
                let value = shape(&entry.value, inner, &path.key(&entry.key), report);
                let value = if plain_text && value.is_null() { "".into() } else { value };
                object.insert(entry.key.clone(), value);
            }
            Value::Object(object)
        }
    }
}

/// Of several branches, the one for this kind of node.
fn branch_for<'s>(node: &Node, place: &'s Value) -> &'s Value {
    let wanted = match node.kind {
        NodeKind::Scalar(_) => return place,
        NodeKind::List(_) => "array",
        NodeKind::Map(_) => "object",
    };
    let mut branches = schema::branches(place).iter().map(schema::resolve);
    branches.find(|branch| schema::has_type(branch, wanted)).unwrap_or(place)
}

/// Null, or the empty text that Go cannot tell from an absent key. Only for keys of the format: a null in a mapping of
/// names is a slip, or for text the empty one.
fn is_absent(value: &Node, key: &str, place: &Value, parent: &Value) -> bool {
    let NodeKind::Scalar(scalar) = &value.kind else { return false };
    let declared = parent.get("properties").is_some_and(|properties| properties.get(key).is_some());
    if !declared || schema::is_untyped(place) {
        return false;
    }
    if scalar::is_null(scalar) {
        return true;
    }
    let required =
        || parent.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|k| k == key));
    let is_text = || {
        let free =
            schema::has_type(place, "string") && place.get("minLength").is_none() && place.get("format").is_none();
        free || !schema::words(place).is_empty()
    };
    scalar.text.is_empty() && is_text() && !required()
}

fn typed(scalar: &ScalarText, place: &Value) -> Result<Value, Unresolvable> {
    let branches = schema::branches(place).iter().map(schema::resolve);
    let takes = |name| schema::has_type(place, name) || branches.clone().any(|branch| schema::has_type(branch, name));
    if takes("string") || !schema::words(place).is_empty() {
        return Ok(if scalar::is_null(scalar) { Value::Null } else { scalar::text(scalar)?.into() });
    }
    if takes("boolean")
        && let Some(value) = scalar::boolean(scalar)
    {
        return Ok(value.into());
    }
    scalar::untyped(scalar)
}

#[cfg(test)]
mod tests;
