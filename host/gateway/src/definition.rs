//! One definition of a backend: read the few fields the host uses, splice in the overrides of the configuration, and keep the
//! rest of the bytes.

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vmcp_core::{
    capability::{Capability, Kind},
    catalog::ArgumentRules,
    id::BackendId,
    json::RawJson,
};
use vmcp_mcp::object::Object;

use crate::{
    mirror::mirrored_arguments,
    rules::{BackendRules, Override, ParameterRule},
};

/// A definition with its overrides, and what they mean for calls.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub capability: Arc<Capability>,
    pub arguments: Arc<ArgumentRules>,
    /// Why its header annotations are not legal, if so.
    pub annotation_error: Option<String>,
}

/// Reads `raw` as a definition of `kind` and applies the backend's rules.
///
/// # Errors
/// A reason, when the definition does not even have a name.
pub fn prepare(kind: Kind, backend: &BackendId, raw: &RawJson, rules: &BackendRules) -> Result<Prepared, String> {
    let mut members = Object::parse(raw).map_err(|_| format!("a {kind} definition is no object"))?;
    let original_name = members.get_string(kind.key()).ok_or_else(|| format!("a {kind} has no `{}`", kind.key()))?;
    let mut arguments = ArgumentRules::default();
    let mut name = original_name.clone();
    let mut changed = false;
    let mut annotation_error = None;
    if let Some(over) = rules.of(kind).overrides.get(&original_name) {
        changed = true;
        match &over.name {
            Some(new) if kind.is_renamable() => name.clone_from(new),
            Some(new) => members.set("name", RawJson::of(new)),
            None => {}
        }
        splice(&mut members, over, &mut arguments);
    }
    if let Some(prefix) = rules.uri_prefix.as_ref().filter(|_| !kind.is_renamable()) {
        name.insert_str(0, prefix);
    }
    if let Some(prefix) = rules.uri_prefix.as_ref().filter(|_| kind == Kind::Tool) {
        changed |= prefix_ui_resource(&mut members, prefix);
    }
    if name != original_name {
        changed = true;
        members.set(kind.key(), RawJson::of(&name));
    }
    if kind == Kind::Tool {
        match mirrored_arguments(members.get("inputSchema")) {
            Ok(mirrored) => arguments.mirrored = mirrored,
            Err(why) => annotation_error = Some(why),
        }
    }
    let annotations = members.get("annotations").cloned();
    let title = members.get_string("title").or_else(|| Object::parse_lenient(annotations.as_ref()).get_string("title"));
    let digested = match kind {
        Kind::Tool => members.get("inputSchema"),
        Kind::Prompt => members.get("arguments"),
        Kind::Resource | Kind::ResourceTemplate => None,
    };
    let capability = Capability {
        kind,
        backend: backend.clone(),
        original_name: original_name.into(),
        name: name.into(),
        title,
        description: members.get_string("description"),
        annotations,
        schema_digest: hex::encode(Sha256::digest(digested.map_or(&b""[..], RawJson::as_bytes))).into(),
        definition: if changed { members.to_json() } else { raw.clone() },
    };
    Ok(Prepared { capability: Arc::new(capability), arguments: Arc::new(arguments), annotation_error })
}

/// `definition` under another name.
pub fn renamed(kind: Kind, definition: &RawJson, name: &str) -> RawJson {
    let mut members = Object::parse_lenient(Some(definition));
    members.set(kind.key(), RawJson::of(&name));
    members.to_json()
}

/// The `ui://` resource that shows a tool's results, in either form that is in use.
pub fn ui_resource(definition: &Object) -> Option<String> {
    let meta = definition.get_object("_meta");
    meta.get_object("ui").get_string("resourceUri").or_else(|| meta.get_string("ui/resourceUri"))
}

/// The page of a tool has the prefix of its backend's resources. Whether there is one.
fn prefix_ui_resource(members: &mut Object, prefix: &str) -> bool {
    let Some(uri) = ui_resource(members) else { return false };
    let prefixed = RawJson::of(&format!("{prefix}{uri}"));
    let mut meta = members.get_object("_meta");
    let mut ui = meta.get_object("ui");
    if ui.get("resourceUri").is_some() {
        ui.set("resourceUri", prefixed);
        meta.set("ui", ui.to_json());
    } else {
        meta.set("ui/resourceUri", prefixed);
    }
    members.set("_meta", meta.to_json());
    true
}

fn splice(members: &mut Object, over: &Override, arguments: &mut ArgumentRules) {
    if let Some(title) = &over.title {
        members.set("title", RawJson::of(title));
    }
    if let Some(description) = &over.description {
        members.set("description", RawJson::of(description));
    }
    if !over.annotations.is_empty() {
        let mut annotations = members.get_object("annotations");
        for (key, value) in &over.annotations {
            annotations.set(key, RawJson::of(value));
        }
        members.set("annotations", annotations.to_json());
    }
    if !over.parameters.is_empty() {
        let mut schema =
            members.get("inputSchema").and_then(|s| s.to_value::<Map<String, Value>>().ok()).unwrap_or_default();
        for (parameter, rule) in &over.parameters {
            change_parameter(&mut schema, parameter, rule, arguments);
        }
        members.set("inputSchema", RawJson::of(&schema));
    }
}

fn change_parameter(schema: &mut Map<String, Value>, name: &str, rule: &ParameterRule, arguments: &mut ArgumentRules) {
    let unseen = rule.hidden || rule.fixed.is_some();
    if (unseen || rule.default.is_some())
        && let Some(Value::Array(required)) = schema.get_mut("required")
    {
        required.retain(|r| r != name);
    }
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(properties) = properties {
        if unseen {
            properties.shift_remove(name);
        } else if let Some(Value::Object(property)) = properties.get_mut(name) {
            if let Some(default) = &rule.default {
                property.insert("default".into(), default.clone());
            }
            if let Some(description) = &rule.description {
                property.insert("description".into(), description.clone().into());
            }
        }
    }
    match (&rule.fixed, &rule.default) {
        (Some(fixed), _) => arguments.fixed.push((name.to_owned(), fixed.clone())),
        (None, Some(default)) => arguments.defaults.push((name.to_owned(), default.clone())),
        (None, None) if rule.hidden => arguments.hidden.push(name.to_owned()),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::KindRules;

    fn tool(definition: &Value, over: Override) -> Prepared {
        let overrides = [("search".to_owned(), over)].into();
        let rules = BackendRules { tools: KindRules { overrides, ..Default::default() }, ..Default::default() };
        prepare(Kind::Tool, &BackendId::new("b").unwrap(), &RawJson::of(definition), &rules).unwrap()
    }

    #[test]
    fn an_untouched_definition_keeps_its_bytes() {
        let raw = RawJson::parse(r#"{ "name":"x", "unknown" : [1.0], "annotations":{"title":"T"} }"#).unwrap();
        let prepared = prepare(Kind::Tool, &BackendId::new("b").unwrap(), &raw, &BackendRules::default()).unwrap();
        assert_eq!(prepared.capability.definition, raw);
        assert_eq!(prepared.capability.title.as_deref(), Some("T"));
    }

    #[test]
    fn overrides_change_what_they_name_and_nothing_else() {
        let over = Override {
            name: Some("find".into()),
            description: Some("Finds.".into()),
            annotations: json!({"readOnlyHint": true}).as_object().unwrap().clone(),
            ..Default::default()
        };
        let definition =
            json!({"name": "search", "description": "old", "annotations": {"title": "S", "odd": 1}, "execution": {}});
        let prepared = tool(&definition, over);
        let changed: Value = prepared.capability.definition.to_value().unwrap();
        let expected = json!({"name": "find", "description": "Finds.",
            "annotations": {"title": "S", "odd": 1, "readOnlyHint": true}, "execution": {}});
        assert_eq!(changed, expected);
        assert_eq!(&*prepared.capability.original_name, "search");
    }

    #[test]
    fn fixed_and_hidden_parameters_leave_the_schema() {
        let rule = |rule: Value| ParameterRule {
            fixed: rule.get("fixed").cloned(),
            hidden: rule.get("hidden").is_some(),
            default: rule.get("default").cloned(),
            description: None,
        };
        let parameters = [
            ("org".to_owned(), rule(json!({"fixed": "acme"}))),
            ("debug".to_owned(), rule(json!({"hidden": true}))),
            ("limit".to_owned(), rule(json!({"default": 10}))),
        ];
        let schema = json!({"type": "object", "required": ["q", "org", "limit"], "properties":
            {"q": {"type": "string"}, "org": {"type": "string"}, "debug": {}, "limit": {"type": "integer"}}});
        let prepared = tool(
            &json!({"name": "search", "inputSchema": schema}),
            Override { parameters: parameters.into(), ..Default::default() },
        );
        let changed: Value = prepared.capability.definition.to_value().unwrap();
        let expected = json!({"type": "object", "required": ["q"],
            "properties": {"q": {"type": "string"}, "limit": {"type": "integer", "default": 10}}});
        assert_eq!(changed["inputSchema"], expected);
        assert_eq!(prepared.arguments.fixed, [("org".to_owned(), json!("acme"))]);
        assert_eq!(prepared.arguments.hidden, ["debug"]);
        assert_eq!(prepared.arguments.defaults, [("limit".to_owned(), json!(10))]);
    }

    #[test]
    fn uris_get_the_prefix_of_their_backend() {
        let rules = BackendRules { uri_prefix: Some("work+".into()), ..Default::default() };
        let raw = RawJson::of(&json!({"uri": "file:///a", "name": "a"}));
        let prepared = prepare(Kind::Resource, &BackendId::new("b").unwrap(), &raw, &rules).unwrap();
        assert_eq!(prepared.capability.definition.as_str(), r#"{"uri":"work+file:///a","name":"a"}"#);
    }
}
