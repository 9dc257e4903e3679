//! The JSON Schema of the format, generated from the structs that read it.
//!
//! Beyond the standard keywords, `format` names checks of ours (`check` applies them) and `x-expect` says in words what a
//! place takes, for messages. Null counts as absent in every typed place, so the schema does not mention it.

use std::sync::LazyLock;

use schemars::{generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value};

use crate::{key_path::Step, section::Document};

/// Where the schema is committed, from the top of the repository.
pub const SCHEMA_PATH: &str = "docs/reference/vmcp.schema.json";

const ID: &str = "https://raw.githubusercontent.com/vmcp-host/vmcp-host/main/docs/reference/vmcp.schema.json";

/// The JSON Schema (draft 2020-12) of the configuration file.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(generate);
    &SCHEMA
}

/// The schema as it is committed at [`SCHEMA_PATH`].
pub fn schema_text() -> String {
    serde_json::to_string_pretty(schema()).expect("a JSON value can be written") + "\n"
}

fn generate() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(|schema: &mut schemars::Schema| {
            if let Some(object) = schema.as_object_mut() {
                without_null(object);
            }
        }))
        .with_transform(RecursiveTransform(|schema: &mut schemars::Schema| {
            if let Some(object) = schema.as_object_mut() {
                unwrapped(object);
            }
        }));
    let mut schema = settings.into_generator().into_root_schema_for::<Document>();
    let root = schema.as_object_mut().expect("a struct has an object for schema");
    root.insert("$id".into(), ID.into());
    root.insert("title".into(), "vmcp-host configuration".into());
    schema.into()
}

/// Takes null out of what `Option` allows.
fn without_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [single] = types.as_slice() {
            let single = single.clone();
            schema.insert("type".into(), single);
        }
    }
    if let Some(Value::Array(variants)) = schema.get_mut("anyOf") {
        variants.retain(|variant| variant.get("type") != Some(&Value::from("null")));
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
}

/// `anyOf` with one branch left is that branch.
fn unwrapped(schema: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = schema.get("anyOf") else { return };
    let [Value::Object(single)] = variants.as_slice() else { return };
    let single = single.clone();
    schema.remove("anyOf");
    for (keyword, value) in single {
        schema.entry(keyword).or_insert(value);
    }
}

/// Follows `$ref` inside the schema's own `$defs`.
pub(crate) fn resolve(mut schema: &Value) -> &Value {
    while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| self::schema().pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => return schema,
        }
    }
    schema
}

/// The branches of `anyOf` or `oneOf`, or none.
pub(crate) fn branches(schema: &Value) -> &[Value] {
    let keyword = ["anyOf", "oneOf"].into_iter().find_map(|keyword| schema.get(keyword)?.as_array());
    keyword.map_or(&[], Vec::as_slice)
}

/// Whether a schema lets values of JSON type `name` through, as far as its `type` tells.
pub(crate) fn has_type(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(single)) => single == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

/// The words that a schema allows: those of `enum`, or of the branches that are `const`.
pub(crate) fn words(schema: &Value) -> Vec<&str> {
    if let Some(Value::Array(options)) = schema.get("enum") {
        return options.iter().filter_map(Value::as_str).collect();
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return vec![word];
    }
    branches(schema).iter().flat_map(|branch| words(branch)).collect()
}

/// The schema of `key` inside an object of schema `schema`.
pub(crate) fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let declared = schema.get("properties").and_then(|properties| properties.get(key));
    declared.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
}

/// Whether a schema says nothing about its value.
pub(crate) fn is_untyped(schema: &Value) -> bool {
    let says = ["type", "enum", "const", "anyOf", "oneOf", "properties", "$ref"];
    schema.as_object().is_none_or(|object| !says.iter().any(|keyword| object.contains_key(*keyword)))
}

/// The place of an entry of a list or mapping whose entries are themselves sections.
pub(crate) fn entry_place(place: &'static Value) -> Option<(&'static Value, Step)> {
    let item = place.get("items").map(|inner| (inner, Step::Index(0)));
    let entry = item.or_else(|| place.get("additionalProperties").map(|inner| (inner, Step::Key("*".into()))))?;
    resolve(entry.0).get("properties").is_some().then_some(entry)
}
