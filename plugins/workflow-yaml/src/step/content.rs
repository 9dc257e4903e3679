//! A step's output from the result of its tool.

use serde_json::{Map, Value};

pub(super) fn is_error(result: &Value) -> bool {
    result.get("isError") == Some(&Value::Bool(true))
}

/// What a result that is an error says of it.
pub(super) fn error_text(result: &Value) -> String {
    let texts: Vec<&str> = items(result).iter().filter_map(|item| item.get("text")?.as_str()).collect();
    match (texts.is_empty(), result.get("structuredContent")) {
        (false, _) => texts.join("\n"),
        (true, Some(structured)) => structured.to_string(),
        (true, None) => "the tool reports an error and does not say which".to_owned(),
    }
}

/// Structured content if it is an object, else the content by kind: `text`, `text_1`, …, `image_0`, …, `resource`, `resource_1`, ….
///
/// An image is its data in base64, a resource its text or its data in base64. Audio and links are left out; templates see all of it
/// under `.content`.
pub(super) fn output(result: &Value) -> Map<String, Value> {
    if let Some(Value::Object(structured)) = result.get("structuredContent") {
        return structured.clone();
    }
    let mut output = Map::new();
    let (mut texts, mut images, mut resources) = (0, 0, 0);
    let numbered = |name: &str, count: usize| if count == 0 { name.to_owned() } else { format!("{name}_{count}") };
    for item in items(result) {
        let (key, value) = match item.get("type").and_then(Value::as_str) {
            Some("text") => {
                texts += 1;
                (numbered("text", texts - 1), item.get("text"))
            }
            Some("image") => {
                images += 1;
                (format!("image_{}", images - 1), item.get("data"))
            }
            Some("resource") => {
                resources += 1;
                let resource = item.get("resource");
                let body = resource.and_then(|resource| resource.get("text").or(resource.get("blob")));
                (numbered("resource", resources - 1), body)
            }
            _ => continue,
        };
        output.insert(key, value.cloned().unwrap_or_default());
    }
    output
}

fn items(result: &Value) -> &[Value] {
    result.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outputs_are_structured_content_or_content_by_kind() {
        let check = |result: Value, expected: Value| assert_eq!(Value::Object(output(&result)), expected);
        let text = |text: &str| json!({"type": "text", "text": text});
        check(json!({"structuredContent": {"a": 1}, "content": [text("x")]}), json!({"a": 1}));
        check(json!({"structuredContent": [1], "content": [text("x")]}), json!({"text": "x"}));
        check(
            json!({"content": [text("x"), text("y"), text("z")]}),
            json!({"text": "x", "text_1": "y", "text_2": "z"}),
        );
        let image = |data: &str| json!({"type": "image", "data": data, "mimeType": "image/png"});
        check(
            json!({"content": [image("AA=="), text("x"), image("BB==")]}),
            json!({"image_0": "AA==", "image_1": "BB==", "text": "x"}),
        );
        let resource = |key: &str| json!({"type": "resource", "resource": {"uri": "a:b", key: "r"}});
        check(json!({"content": [resource("text"), resource("blob")]}), json!({"resource": "r", "resource_1": "r"}));
        check(
            json!({"content": [{"type": "audio", "data": "AA=="}, {"type": "resource_link", "uri": "a:b"}]}),
            json!({}),
        );
        check(json!({}), json!({}));
    }

    #[test]
    fn errors_are_told_by_their_texts() {
        let check = |result: Value, expected: &str| assert_eq!(error_text(&result), expected);
        check(json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "a\nb");
        check(json!({"structuredContent": {"code": 3}}), "{\"code\":3}");
        check(json!({}), "the tool reports an error and does not say which");
    }
}
