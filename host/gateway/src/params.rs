//! Changes to the parameters of a request on its way to the backend.

use serde_json::Value;
use vmcp_core::{
    catalog::{ArgumentRules, Mirrored},
    json::RawJson,
};
use vmcp_mcp::{
    error::{HEADER_MISMATCH, RpcError},
    header,
    object::Object,
};

/// The last parts of `Mcp-Param-*` headers, in lower case, with their values.
pub type ParamHeaders = Vec<(String, String)>;

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
    let arguments = arguments(params);
    let mut headers = Vec::new();
    for mirrored in &rules.mirrored {
        let Some(text) = mirrored_text(&arguments, mirrored)? else { continue };
        headers.push((format!("{}{}", header::PARAM_PREFIX, mirrored.header), header::encode(&text)));
    }
    Ok(headers)
}

/// Checks that the client's headers say what its arguments say.
///
/// # Errors
/// Names the first header that does not.
pub fn check_mirrored(params: &Object, rules: &ArgumentRules, headers: &ParamHeaders) -> Result<(), RpcError> {
    if rules.mirrored.is_empty() {
        return Ok(());
    }
    let arguments = arguments(params);
    for mirrored in &rules.mirrored {
        let name = format!("Mcp-Param-{}", mirrored.header);
        let argument = mirrored.path.join(".");
        let mismatch = |what: String| Err(RpcError::new(HEADER_MISMATCH, what));
        let sent = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(&mirrored.header));
        match (mirrored_text(&arguments, mirrored)?, sent) {
            (None, None) => {}
            (None, Some(_)) => return mismatch(format!("there is a header `{name}` but no argument `{argument}`")),
            (Some(text), None) => {
                return mismatch(format!("the header `{name}` is missing; argument `{argument}` is `{text}`"));
            }
            (Some(text), Some((_, sent))) => match header::decode(sent.trim()) {
                None => return mismatch(format!("the header `{name}` is no base64 of UTF-8 text")),
                Some(sent) if !says_the_same(&sent, &text, mirrored.of(&arguments)) => {
                    return mismatch(format!("the header `{name}` is `{sent}`, argument `{argument}` is `{text}`"));
                }
                Some(_) => {}
            },
        }
    }
    Ok(())
}

fn arguments(params: &Object) -> Value {
    params.get("arguments").and_then(|arguments| arguments.to_value().ok()).unwrap_or_default()
}

/// The argument as text; `None` when it is absent or null.
fn mirrored_text(arguments: &Value, mirrored: &Mirrored) -> Result<Option<String>, RpcError> {
    match mirrored.of(arguments) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
        Some(_) => Err(RpcError::invalid_params(format!(
            "argument `{}` cannot be sent as the header it has to be",
            mirrored.path.join(".")
        ))),
    }
}

/// Numbers may be written in more than one way; words may not.
fn says_the_same(header: &str, text: &str, argument: Option<&Value>) -> bool {
    let number = || header.parse::<f64>().ok().filter(|number| number.is_finite());
    header == text || argument.and_then(Value::as_f64).is_some_and(|argument| number() == Some(argument))
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
            mirrored: [(&["region"][..], "Region"), (&["at", "n"], "N"), (&["gone"], "Gone")]
                .map(|(path, header)| Mirrored {
                    path: path.iter().map(|name| (*name).to_owned()).collect(),
                    header: header.to_owned(),
                })
                .into(),
            ..Default::default()
        };
        let params = Object::from([("arguments", RawJson::of(&json!({"region": "eu-é", "at": {"n": 7}})))]);
        let expected =
            [("mcp-param-Region".to_owned(), "=?base64?ZXUtw6k=?=".to_owned()), ("mcp-param-N".into(), "7".into())];
        assert_eq!(mirrored_headers(&params, &rules).unwrap(), expected);
        let check = |headers: &[(&str, &str)], expected: Result<(), &str>| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let checked = check_mirrored(&params, &rules, &headers).map_err(|error| error.message);
            assert_eq!(checked.as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why));
        };
        check(&[("region", "=?base64?ZXUtw6k=?="), ("n", "7.0")], Ok(()));
        check(
            &[("region", "eu"), ("n", "7")],
            Err("the header `Mcp-Param-Region` is `eu`, argument `region` is `eu-é`"),
        );
        check(&[("region", "=?base64?***?=")], Err("the header `Mcp-Param-Region` is no base64 of UTF-8 text"));
        check(&[("region", "=?base64?ZXUtw6k=?=")], Err("the header `Mcp-Param-N` is missing; argument `at.n` is `7`"));
        check(
            &[("region", "=?base64?ZXUtw6k=?="), ("n", "7"), ("gone", "")],
            Err("there is a header `Mcp-Param-Gone` but no argument `gone`"),
        );
        let params = Object::from([("arguments", RawJson::of(&json!({"at": {"n": [7]}})))]);
        assert!(mirrored_headers(&params, &rules).is_err());
    }
}
