//! Makes a file with mistakes readable all the same, so that its other mistakes are found in the same run.
//!
//! Values that the schema refused are taken out, or replaced by the least that the place accepts when something must be
//! there. What the rules then find at such a place is the mend's fault and is dropped.

use serde_json::{Value, json};

use crate::{
    key_path::{KeyPath, Step},
    schema,
};

/// Mends `instance` at `path`, where the schema refused it or missed something. Returns the place that the mend concerns:
/// where a word was made up that others depend on, such as a `type`, everything beside it too.
pub(crate) fn mend(instance: &mut Value, path: &KeyPath) -> KeyPath {
    let Some((last, above)) = path.steps().split_last() else {
        *instance = json!({});
        return path.clone();
    };
    let mut place = schema::schema();
    let mut value = instance;
    for step in above {
        let Some((inner, inner_place)) = descend(value, place, step) else { return path.clone() };
        (value, place) = (inner, inner_place);
    }
    let place = object_or_list(schema::resolve(place), value);
    match (value, last) {
        (Value::Object(object), Step::Key(key)) => {
            let is_required = |keys: &Vec<Value>| keys.iter().any(|required| required == key);
            let required = place.get("required").and_then(Value::as_array).is_some_and(is_required);
            match schema::property(place, key).filter(|_| required) {
                Some(inner) => {
                    object.insert(key.to_owned(), least(inner));
                    if !schema::words(schema::resolve(inner)).is_empty() {
                        return path.parent();
                    }
                }
                None => {
                    object.shift_remove(key);
                }
            }
        }
        (Value::Array(items), Step::Index(index)) => {
            if let Some(item) = items.get_mut(*index) {
                *item = place.get("items").map_or(Value::Null, least);
            }
        }
        _ => {}
    }
    path.clone()
}

fn descend<'v>(value: &'v mut Value, place: &'static Value, step: &Step) -> Option<(&'v mut Value, &'static Value)> {
    let place = object_or_list(schema::resolve(place), value);
    match (value, step) {
        (Value::Object(object), Step::Key(key)) => Some((object.get_mut(key)?, schema::property(place, key)?)),
        (Value::Array(items), Step::Index(index)) => Some((items.get_mut(*index)?, place.get("items")?)),
        _ => None,
    }
}

fn object_or_list<'s>(place: &'s Value, value: &Value) -> &'s Value {
    let wanted = if value.is_array() { "array" } else { "object" };
    let mut branches = schema::branches(place).iter().map(schema::resolve);
    branches.find(|branch| schema::has_type(branch, wanted)).unwrap_or(place)
}

/// The least that a place accepts.
fn least(place: &Value) -> Value {
    let place = schema::resolve(place);
    if let Some(word) = schema::words(place).first() {
        return (*word).into();
    }
    match place.get("format").and_then(Value::as_str) {
        Some("go-duration") => return "1s".into(),
        Some("byte-size") => return "1B".into(),
        Some("ratio") => return "0".into(),
        _ => {}
    }
    if let Some(branch) = schema::branches(place).first() {
        return least(branch);
    }
    let is = |name| schema::has_type(place, name);
    if is("string") {
        "".into()
    } else if is("integer") || is("number") {
        place.get("minimum").cloned().unwrap_or_else(|| 0.into())
    } else if is("boolean") {
        false.into()
    } else if is("array") {
        json!([])
    } else if is("object") {
        let required = place.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let entry = |key: &str| Some((key.to_owned(), least(schema::property(place, key)?)));
        Value::Object(required.filter_map(entry).collect())
    } else {
        Value::Null
    }
}
