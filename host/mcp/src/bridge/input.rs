//! What a server may ask of a client while it works on a call: which capability it takes, and whether an answer is one.

use serde_json::{Value, json};
use vmcp_core::json::RawJson;

use crate::object::Object;

/// One thing that a server asks of the client behind a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub params: Option<RawJson>,
}

/// The kinds of input that cross the eras.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    Elicitation,
    Sampling,
    Roots,
}

impl InputKind {
    pub fn of(method: &str) -> Option<Self> {
        Some(match method {
            "elicitation/create" => Self::Elicitation,
            "sampling/createMessage" => Self::Sampling,
            "roots/list" => Self::Roots,
            _ => return None,
        })
    }
}

impl Asked {
    /// What of `capabilities` a client lacks to be asked this, as the object that the error about it names; `None` when it
    /// can be asked.
    pub fn lacking(&self, capabilities: &RawJson) -> Option<Value> {
        let capabilities = Object::parse_lenient(Some(capabilities));
        let params = Object::parse_lenient(self.params.as_ref());
        let Some(kind) = InputKind::of(&self.method) else { return Some(json!({})) };
        let (name, part) = match kind {
            InputKind::Roots => ("roots", None),
            InputKind::Elicitation => {
                let is_url = params.get_string("mode").as_deref() == Some("url");
                ("elicitation", Some(if is_url { "url" } else { "form" }))
            }
            InputKind::Sampling => ("sampling", params.get("tools").map(|_| "tools")),
        };
        let required = || match part {
            // A bare elicitation capability means forms, which is the older way to say it.
            None | Some("form") => json!({ name: {} }),
            Some(part) => json!({ name: { part: {} } }),
        };
        let Some(said) = capabilities.get(name).map(|said| Object::parse_lenient(Some(said))) else {
            return Some(required());
        };
        let has_part = match part {
            None => true,
            Some("form") => said.get("form").is_some() || said.get("url").is_none(),
            Some(part) => said.get(part).is_some(),
        };
        (!has_part).then(required)
    }

    /// Whether `answer` can be an answer to this: the backend is spared what no client could mean.
    pub fn fits(&self, answer: &RawJson) -> bool {
        let Ok(answer) = Object::parse(answer) else { return false };
        match InputKind::of(&self.method) {
            Some(InputKind::Elicitation) => {
                matches!(answer.get_string("action").as_deref(), Some("accept" | "decline" | "cancel"))
            }
            Some(InputKind::Sampling) => answer.get("role").is_some() && answer.get("content").is_some(),
            Some(InputKind::Roots) => answer.get("roots").is_some_and(|roots| roots.as_bytes().starts_with(b"[")),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, params: &str) -> Asked {
        Asked { method: method.into(), params: Some(RawJson::parse(params.to_owned()).unwrap()) }
    }

    #[test]
    fn what_a_client_lacks_is_named() {
        let check = |capabilities: &str, method: &str, params: &str, expected: Option<Value>| {
            let capabilities = RawJson::parse(capabilities.to_owned()).unwrap();
            assert_eq!(asked(method, params).lacking(&capabilities), expected, "{capabilities:?} {method} {params}");
        };
        check("{}", "sampling/createMessage", "{}", Some(json!({"sampling": {}})));
        check(r#"{"sampling":{}}"#, "sampling/createMessage", "{}", None);
        check(
            r#"{"sampling":{}}"#,
            "sampling/createMessage",
            r#"{"tools":[]}"#,
            Some(json!({"sampling": {"tools": {}}})),
        );
        check(r#"{"sampling":{"tools":{}}}"#, "sampling/createMessage", r#"{"tools":[]}"#, None);
        check("{}", "elicitation/create", "{}", Some(json!({"elicitation": {}})));
        check(r#"{"elicitation":{}}"#, "elicitation/create", r#"{"mode":"form"}"#, None);
        check(r#"{"elicitation":{"url":{}}}"#, "elicitation/create", "{}", Some(json!({"elicitation": {}})));
        check(
            r#"{"elicitation":{}}"#,
            "elicitation/create",
            r#"{"mode":"url"}"#,
            Some(json!({"elicitation": {"url": {}}})),
        );
        check(r#"{"elicitation":{"form":{},"url":{}}}"#, "elicitation/create", r#"{"mode":"url"}"#, None);
        check(r#"{"roots":{}}"#, "roots/list", "{}", None);
        check(r#"{"roots":{}}"#, "made/up", "{}", Some(json!({})));
    }

    #[test]
    fn answers_are_told_from_nonsense() {
        let check = |method: &str, answer: &str, expected: bool| {
            assert_eq!(asked(method, "{}").fits(&RawJson::parse(answer.to_owned()).unwrap()), expected, "{answer}");
        };
        check("elicitation/create", r#"{"action":"accept","content":{}}"#, true);
        check("elicitation/create", r#"{"action":"cancel"}"#, true);
        check("elicitation/create", r#"{"action":"perhaps"}"#, false);
        check("elicitation/create", "7", false);
        check("sampling/createMessage", r#"{"role":"assistant","content":{},"model":"m"}"#, true);
        check("sampling/createMessage", r#"{"action":"accept"}"#, false);
        check("roots/list", r#"{"roots":[]}"#, true);
        check("roots/list", r#"{"roots":{}}"#, false);
    }
}
