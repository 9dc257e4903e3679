//! What may differ between two runs of the same server, and nothing else: folders, the time of day, and the variable by
//! which the host knows its children again.

use serde_json::{Value, json};
use vmcp_tests::real::RealServer;

use super::steps::Step;

/// The reply without its id, with `$DIR` for the folder of the run and a mark where the server tells the time.
pub(super) fn normalise(server: RealServer, step: &Step, mut reply: Value, dir: &str) -> Value {
    reply.as_object_mut().expect("a message is an object").shift_remove("id");
    let mut reply: Value =
        serde_json::from_str(&reply.to_string().replace(dir, "$DIR")).expect("a folder needs no escapes");
    let varies: Option<fn(&str) -> String> = match (server, step.tool().unwrap_or(step.method)) {
        // "Resource 1: This is a plaintext resource created at 4:05:06 PM", also as base64.
        (RealServer::Everything, "get-resource-reference" | "prompts/get" | "resources/read") => Some(without_creation),
        // Lines `created: …`, `modified: …`, `accessed: …`.
        (RealServer::Filesystem, "get_file_info") => Some(without_file_times),
        // `"datetime": "2026-…"`; `convert_time` names the day as well.
        (RealServer::Time, _) => Some(without_datetime),
        (RealServer::Everything, "get-env") => Some(without_mark),
        _ => None,
    };
    if let Some(strip) = varies {
        each_text(&mut reply, strip);
    }
    reply
}

fn each_text(value: &mut Value, strip: fn(&str) -> String) {
    match value {
        Value::String(text) => *text = strip(text),
        Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, strip)),
        Value::Object(object) => {
            // The same numbers once more, as structured content; their keys stay.
            for (key, value) in object.iter_mut() {
                if key == "datetime" {
                    *value = json!("$TIME");
                }
                each_text(value, strip);
            }
        }
        _ => {}
    }
}

fn without_creation(text: &str) -> String {
    // Base64 of "Resource ": the rest of it holds the time.
    if text.starts_with("UmVzb3VyY2Ug") {
        return format!("{}$TIME", &text[..24]);
    }
    match text.split_once("created at ") {
        Some((before, _)) => format!("{before}created at $TIME"),
        None => text.to_owned(),
    }
}

fn without_file_times(text: &str) -> String {
    let is_time = |line: &str| ["created: ", "modified: ", "accessed: "].iter().any(|key| line.starts_with(key));
    let lines =
        text.lines().map(|line| if is_time(line) { line.split_once(' ').map_or(line, |(key, _)| key) } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn without_mark(text: &str) -> String {
    // The text is itself JSON.
    let Ok(Value::Object(mut variables)) = serde_json::from_str(text) else { return text.to_owned() };
    variables.shift_remove("VMCP_HOST_CHILD");
    Value::Object(variables).to_string()
}

fn without_datetime(text: &str) -> String {
    // The text is itself JSON.
    let Ok(mut inner @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    each_text(&mut inner, str::to_owned);
    inner.to_string()
}
