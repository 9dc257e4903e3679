//! `output`: how the result is made of the steps' outputs, and its JSON Schema.

use serde_json::{Map, Value, json};

use crate::{
    document::{self, JsonType, RawOutput, RawProperty},
    problem::{Place, Problems},
    template::{NO_VALUE, Reads, Template, TemplateValue},
    typing,
    world::{Level, World},
};

/// Deepest nesting of an output's parts.
const MAX_DEPTH: usize = 10;

/// Compiled `output`.
pub(crate) struct Output {
    properties: Vec<Property>,
    required: Vec<String>,
}

struct Property {
    name: String,
    kind: JsonType,
    description: Option<String>,
    default: Option<Value>,
    source: Source,
}

enum Source {
    Value(Template),
    Properties(Vec<Property>),
}

impl Output {
    pub(crate) fn compile(raw: &Value, place: &Place, problems: &mut Problems) -> Option<Self> {
        let raw: RawOutput = document::read(raw, place, problems)?;
        let given = raw.properties.unwrap_or_default();
        let required = raw.required.unwrap_or_default();
        for (index, name) in required.iter().enumerate().filter(|(_, name)| !given.contains_key(*name)) {
            problems.add(&place.key("required").index(index), format!("`{name}` is not among `properties`"));
        }
        Some(Self { properties: properties(&given, &place.key("properties"), problems, 1), required })
    }

    /// The result; the error names the property.
    pub(crate) fn expand(&self, context: &TemplateValue, world: &impl World) -> Result<Map<String, Value>, String> {
        let output = expand(&self.properties, "", context, world)?;
        match self.required.iter().find(|name| output.get(*name).is_none_or(Value::is_null)) {
            Some(name) => Err(format!("output `{name}`: it is required and has no value")),
            None => Ok(output),
        }
    }

    pub(crate) fn schema(&self) -> Value {
        let mut schema = schema_of(&self.properties);
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        schema
    }

    pub(crate) fn reads(&self) -> Vec<&Reads> {
        let (mut found, mut open) = (Vec::new(), vec![&self.properties]);
        while let Some(properties) = open.pop() {
            for property in properties {
                match &property.source {
                    Source::Value(template) => found.push(&template.reads),
                    Source::Properties(inner) => open.push(inner),
                }
            }
        }
        found
    }
}

fn properties(raw: &Map<String, Value>, place: &Place, problems: &mut Problems, depth: usize) -> Vec<Property> {
    if depth > MAX_DEPTH {
        problems.add(place, format!("nested deeper than {MAX_DEPTH}"));
        return Vec::new();
    }
    let property = |(name, raw): (&String, &Value)| property(name, raw, &place.key(name), problems, depth);
    raw.iter().filter_map(property).collect()
}

fn property(name: &str, raw: &Value, place: &Place, problems: &mut Problems, depth: usize) -> Option<Property> {
    let raw: RawProperty = document::read(raw, place, problems)?;
    let inner = raw.properties.unwrap_or_default();
    let source = match (raw.value.filter(|value| !value.is_empty()), inner.is_empty()) {
        (Some(_), false) => {
            problems.add(place, "only one of `value` and `properties` is allowed");
            return None;
        }
        (Some(value), true) => Source::Value(Template::compile(&value, place.key("value"), problems)?),
        (None, false) if raw.kind == JsonType::Object => {
            Source::Properties(properties(&inner, &place.key("properties"), problems, depth + 1))
        }
        (None, false) => {
            problems.add(&place.key("properties"), "only an object has `properties`");
            return None;
        }
        (None, true) => {
            problems.add(&place.key("value"), "`value` is missing");
            return None;
        }
    };
    let default = raw.default.filter(|default| !default.is_null());
    let default = default.and_then(|default| match as_kind(default, raw.kind) {
        Ok(default) => Some(default),
        Err(message) => {
            problems.add(&place.key("default"), message);
            None
        }
    });
    Some(Property { name: name.to_owned(), kind: raw.kind, description: raw.description, default, source })
}

fn expand(
    properties: &[Property],
    parent: &str,
    context: &TemplateValue,
    world: &impl World,
) -> Result<Map<String, Value>, String> {
    let expand = |property: &Property| {
        let path = format!("{parent}{}", property.name);
        let value = match &property.source {
            Source::Properties(inner) => Value::Object(expand(inner, &format!("{path}."), context, world)?),
            Source::Value(template) => property.value(template, context).or_else(|reason| {
                let reason = format!("output `{path}`: {reason}");
                let default = property.default.clone().ok_or_else(|| reason.clone())?;
                world.log(Level::Warn, &format!("{reason}; its default is taken"));
                Ok::<_, String>(default)
            })?,
        };
        Ok((property.name.clone(), value))
    };
    properties.iter().map(expand).collect()
}

impl Property {
    fn value(&self, template: &Template, context: &TemplateValue) -> Result<Value, String> {
        let text = template.expand(context)?;
        if text == NO_VALUE && self.default.is_some() {
            return Err("it has no value".to_owned());
        }
        typing::parse(&text, self.kind).ok_or_else(|| {
            let start: String = text.chars().take(60).collect();
            format!("`{start}` is no {}", self.kind.name())
        })
    }
}

/// A default as the type it is declared for: itself, or read from its text.
fn as_kind(default: Value, kind: JsonType) -> Result<Value, String> {
    let fits = match (&default, kind) {
        (Value::Number(number), JsonType::Integer) => !number.is_f64(),
        (Value::String(_), JsonType::String)
        | (Value::Number(_), JsonType::Number)
        | (Value::Bool(_), JsonType::Boolean)
        | (Value::Object(_), JsonType::Object)
        | (Value::Array(_), JsonType::Array) => true,
        _ => false,
    };
    match (fits, &default, kind) {
        (true, ..) => Ok(default),
        (_, Value::Number(number), JsonType::Integer)
            if number.as_f64().is_some_and(|number| number.fract() == 0.0) =>
        {
            let digits = format!("{:.0}", number.as_f64().unwrap_or_default());
            typing::parse(&digits, kind).ok_or_else(|| format!("`{number}` is no integer"))
        }
        (_, Value::String(text), _) => {
            typing::parse(text, kind).ok_or_else(|| format!("`{text}` is no {}", kind.name()))
        }
        (_, other, JsonType::String) => Ok(other.to_string().into()),
        (_, other, _) => Err(format!("`{other}` is no {}", kind.name())),
    }
}

fn schema_of(properties: &[Property]) -> Value {
    let property = |property: &Property| {
        let mut schema = match &property.source {
            Source::Properties(inner) => schema_of(inner),
            Source::Value(_) => json!({"type": property.kind.name()}),
        };
        let described = property.description.as_ref().map(|text| ("description", text.as_str().into()));
        let default = property.default.as_ref().map(|default| ("default", default.clone()));
        described.into_iter().chain(default).for_each(|(key, value)| schema[key] = value);
        (property.name.clone(), schema)
    };
    let properties: Map<String, Value> = properties.iter().map(property).collect();
    json!({"type": "object", "properties": properties})
}
