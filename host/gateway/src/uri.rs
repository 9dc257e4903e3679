//! URIs of backends that have a `resources.uriPrefix`: clients see them with the prefix, the backend without, wherever a
//! reply or notification carries them.

use serde_json::Value;
use vmcp_core::json::RawJson;

/// `json` with `prefix` before every URI in it: `uri` of contents, of resource links and of embedded resources, and
/// `uriTemplate`. Only used for backends that have a prefix, so the rest never pays for it.
pub fn add_prefix(json: &RawJson, prefix: &str) -> RawJson {
    if !json.as_str().contains("\"uri") {
        return json.clone();
    }
    match json.to_value::<Value>() {
        Ok(mut value) => {
            for place in ["contents", "content", "resources", "resourceTemplates", "messages"] {
                if let Some(Value::Array(items)) = value.get_mut(place) {
                    items.iter_mut().for_each(|item| prefix_item(item, prefix));
                }
            }
            prefix_own(&mut value, prefix);
            RawJson::of(&value)
        }
        Err(_) => json.clone(),
    }
}

/// An item of a list: a resource's contents, a content block, or a prompt's message around one.
fn prefix_item(item: &mut Value, prefix: &str) {
    prefix_own(item, prefix);
    for inner in ["resource", "content"] {
        if let Some(inner @ Value::Object(_)) = item.get_mut(inner) {
            prefix_item(inner, prefix);
        }
    }
}

fn prefix_own(value: &mut Value, prefix: &str) {
    for key in ["uri", "uriTemplate"] {
        if let Some(Value::String(uri)) = value.get_mut(key) {
            uri.insert_str(0, prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_uri_of_a_reply_gets_the_prefix() {
        let check = |reply: Value, expected: Value| {
            assert_eq!(add_prefix(&RawJson::of(&reply), "w+").to_value::<Value>().unwrap(), expected);
        };
        check(
            json!({"contents": [{"uri": "a:b", "text": "uri"}], "other": {"uri": "a:b"}}),
            json!({"contents": [{"uri": "w+a:b", "text": "uri"}], "other": {"uri": "a:b"}}),
        );
        check(
            json!({"content": [{"type": "resource_link", "uri": "a:b"}, {"type": "resource", "resource": {"uri": "a:c"}}]}),
            json!({"content": [{"type": "resource_link", "uri": "w+a:b"}, {"type": "resource", "resource": {"uri": "w+a:c"}}]}),
        );
        check(
            json!({"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "a:b"}}}]}),
            json!({"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "w+a:b"}}}]}),
        );
        check(json!({"uri": "a:b"}), json!({"uri": "w+a:b"}));
    }
}
