//! Between JSON and the values of the template engine.
//!
//! A number of JSON without a fraction is an integer, however it is written (`3`, `3.0`, `3e0`): it prints without exponent and
//! can be an index. `functions` lets it be compared and printed as a float too.

use std::{collections::BTreeMap, sync::Arc};

use gotmpl::Value as TemplateValue;
use serde_json::{Number, Value};

/// Integers up to this are exact in JSON readers that keep numbers as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(crate) fn from_json(value: &Value) -> TemplateValue {
    match value {
        Value::Null => TemplateValue::Nil,
        Value::Bool(value) => TemplateValue::Bool(*value),
        Value::Number(number) => from_number(number),
        Value::String(text) => TemplateValue::String(text.as_str().into()),
        Value::Array(items) => TemplateValue::List(items.iter().map(from_json).collect()),
        Value::Object(entries) => map(entries.iter().map(|(key, value)| (key.as_str(), from_json(value)))),
    }
}

/// A map of the engine.
pub(crate) fn map<'k>(entries: impl IntoIterator<Item = (&'k str, TemplateValue)>) -> TemplateValue {
    let entries: BTreeMap<Arc<str>, TemplateValue> =
        entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
    TemplateValue::Map(Arc::new(entries))
}

#[expect(clippy::cast_possible_truncation, reason = "checked: no fraction, and within the integers that floats hold")]
fn from_number(number: &Number) -> TemplateValue {
    if let Some(integer) = number.as_i64() {
        return TemplateValue::Int(integer);
    }
    if let Some(integer) = number.as_u64() {
        return TemplateValue::Uint(integer);
    }
    let float = number.as_f64().unwrap_or(f64::NAN);
    if float.fract() == 0.0 && float.abs() < EXACT {
        TemplateValue::Int(float as i64)
    } else {
        TemplateValue::Float(float)
    }
}

/// JSON of a value; the error says what has none.
#[expect(clippy::cast_possible_truncation, reason = "checked: no fraction, and within the integers that floats hold")]
pub(super) fn to_json(value: &TemplateValue) -> Result<Value, String> {
    Ok(match value {
        TemplateValue::Nil => Value::Null,
        TemplateValue::Bool(value) => (*value).into(),
        TemplateValue::Int(integer) => (*integer).into(),
        TemplateValue::Uint(integer) => (*integer).into(),
        TemplateValue::Float(float) if float.fract() == 0.0 && float.abs() < EXACT => (*float as i64).into(),
        TemplateValue::Float(float) => Number::from_f64(*float).ok_or("JSON has no such number")?.into(),
        TemplateValue::String(text) => text.as_ref().into(),
        TemplateValue::List(items) => items.iter().map(to_json).collect::<Result<Vec<_>, _>>()?.into(),
        TemplateValue::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((key.to_string(), to_json(value)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
        TemplateValue::Function(_) => return Err("JSON has no functions".to_owned()),
    })
}
