//! Changes to the parameters of a request on its way to the backend.

use serde_json::Value;
use vmcp_core::{catalog::ArgumentRules, json::RawJson};
use vmcp_mcp::{error::RpcError, header, object::Object};

/// Puts what the configuration decided into the `arguments` of `params`. Only called where there is something to decide.
pub fn apply_argument_rules(params: &mut Object, rules: &ArgumentRules) -> Result<(), RpcError> {
    let mut arguments = match params.get("arguments") {
        None => Object::default(),
        Some(raw) => Object::parse(raw).map_err(|_| RpcError::invalid_params("`arguments` is no object"))?,
    };
    for name in &rules.hidden {
        arguments.remove(name);
    }
    for (name, value) in &rules.defaults {
        arguments.set_default(name, || RawJson::of(value));
    }
    for (name, value) in &rules.fixed {
        arguments.set(name, RawJson::of(value));
    }
    params.set("arguments", arguments.to_json());
    Ok(())
}

/// The headers that mirror arguments: strings, numbers and booleans as text.
///
/// # Errors
/// When an argument to be mirrored is a list or an object.
pub fn mirrored_headers(params: &Object, rules: &ArgumentRules) -> Result<Vec<(String, String)>, RpcError> {
    if rules.mirrored.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = params.get_object("arguments");
    let mut headers = Vec::new();
    for (argument, name) in &rules.mirrored {
        let Some(value) = arguments.get(argument) else { continue };
        let text = match value.to_value::<Value>() {
            Ok(Value::String(text)) => text,
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            Ok(Value::Null) => continue,
            _ => {
                return Err(RpcError::invalid_params(format!(
                    "argument `{argument}` cannot be sent as the header it has to be"
                )));
            }
        };
        headers.push((format!("{}{name}", header::PARAM_PREFIX), header::encode(&text)));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_configuration_has_the_last_word_on_arguments() {
        let rules = ArgumentRules {
            fixed: vec![("org".into(), json!("acme"))],
            defaults: vec![("limit".into(), json!(10)), ("page".into(), json!(1))],
            hidden: vec!["debug".into()],
            mirrored: Vec::new(),
        };
        let check = |params: Value, expected: Value| {
            let mut params = Object::parse(&RawJson::of(&params)).unwrap();
            apply_argument_rules(&mut params, &rules).unwrap();
            assert_eq!(params.to_json().to_value::<Value>().unwrap(), expected);
        };
        check(
            json!({"name": "x", "arguments": {"org": "evil", "debug": 1, "page": 3}}),
            json!({"name": "x", "arguments": {"org": "acme", "limit": 10, "page": 3}}),
        );
        check(json!({"name": "x"}), json!({"name": "x", "arguments": {"org": "acme", "limit": 10, "page": 1}}));
    }

    #[test]
    fn annotated_arguments_become_headers() {
        let rules = ArgumentRules {
            mirrored: vec![
                ("region".into(), "Region".into()),
                ("n".into(), "N".into()),
                ("gone".into(), "Gone".into()),
            ],
            ..Default::default()
        };
        let params = Object::from([("arguments", RawJson::of(&json!({"region": "eu-é", "n": 7})))]);
        let expected =
            [("mcp-param-Region".to_owned(), "=?base64?ZXUtw6k=?=".to_owned()), ("mcp-param-N".into(), "7".into())];
        assert_eq!(mirrored_headers(&params, &rules).unwrap(), expected);
        let params = Object::from([("arguments", RawJson::of(&json!({"n": [7]})))]);
        assert!(mirrored_headers(&params, &rules).is_err());
    }
}
