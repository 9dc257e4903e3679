//! Between the values of templates, those of CEL, and JSON.
//!
//! A number without a fraction is an `int` of CEL, or a `uint` where an `int` is too small, as it is an integer to templates. Maps of
//! CEL have no order; here they have that of their keys.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value as CelValue,
    objects::{Key, Map},
};
use serde_json::{Number, Value};

use crate::template::TemplateValue;

pub(super) fn from_template(value: &TemplateValue) -> Result<CelValue, String> {
    Ok(match value {
        TemplateValue::Nil => CelValue::Null,
        TemplateValue::Bool(value) => CelValue::Bool(*value),
        TemplateValue::Int(integer) => CelValue::Int(*integer),
        TemplateValue::Uint(integer) => CelValue::UInt(*integer),
        TemplateValue::Float(float) => CelValue::Float(*float),
        TemplateValue::String(text) => CelValue::String(Arc::new(text.to_string())),
        TemplateValue::List(items) => {
            CelValue::List(Arc::new(items.iter().map(from_template).collect::<Result<_, _>>()?))
        }
        TemplateValue::Map(entries) => {
            let entries = entries.iter();
            let entries =
                entries.map(|(key, value)| Ok((Key::String(Arc::new(key.to_string())), from_template(value)?)));
            CelValue::Map(Map { map: Arc::new(entries.collect::<Result<HashMap<_, _>, String>>()?) })
        }
        TemplateValue::Function(_) => return Err("CEL has no such value".to_owned()),
    })
}

/// JSON of a value; the error says what has none.
///
/// - `room`: bytes that it may still take, about
pub(super) fn to_json(value: &CelValue, room: &mut usize) -> Result<Value, String> {
    let size = match value {
        CelValue::String(text) => text.len() + 2,
        _ => 4,
    };
    *room = room.checked_sub(size).ok_or("the value is too large")?;
    Ok(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(value) => (*value).into(),
        CelValue::Int(integer) => (*integer).into(),
        CelValue::UInt(integer) => (*integer).into(),
        CelValue::Float(float) => Number::from_f64(*float).ok_or("JSON has no such number")?.into(),
        CelValue::String(text) => text.as_str().into(),
        CelValue::List(items) => items.iter().map(|item| to_json(item, room)).collect::<Result<Vec<_>, _>>()?.into(),
        CelValue::Map(map) => {
            let mut entries = serde_json::Map::new();
            for key in sorted(map) {
                let value = to_json(&map.map[key], room)?;
                if entries.insert(text_of(key), value).is_some() {
                    return Err(format!("two keys of a map are `{}` in JSON", text_of(key)));
                }
            }
            entries.into()
        }
        _ => return Err("its value has no JSON".to_owned()),
    })
}

/// The keys of a map in their order, as a list.
pub(super) fn keys(map: &Map) -> CelValue {
    let keys = sorted(map).into_iter().map(|key| match key {
        Key::Bool(value) => CelValue::Bool(*value),
        Key::Int(integer) => CelValue::Int(*integer),
        Key::Uint(integer) => CelValue::UInt(*integer),
        Key::String(text) => CelValue::String(Arc::clone(text)),
    });
    CelValue::List(Arc::new(keys.collect()))
}

/// Numbers by their size, then all others by their text.
fn sorted(map: &Map) -> Vec<&Key> {
    let mut keys: Vec<&Key> = map.map.keys().collect();
    let number = |key: &Key| match key {
        Key::Int(integer) => Some(i128::from(*integer)),
        Key::Uint(integer) => Some(i128::from(*integer)),
        Key::Bool(_) | Key::String(_) => None,
    };
    keys.sort_by_cached_key(|key| (number(key).is_none(), number(key), text_of(key)));
    keys
}

fn text_of(key: &Key) -> String {
    match key {
        Key::Bool(value) => value.to_string(),
        Key::Int(integer) => integer.to_string(),
        Key::Uint(integer) => integer.to_string(),
        Key::String(text) => text.to_string(),
    }
}
