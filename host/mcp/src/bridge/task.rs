//! Tasks of a legacy backend for a modern client. There a task's result is fetched by a request of its own, and what the
//! backend asks meanwhile arrives on that request; here looking at a task brings all of it.

use vmcp_core::{call::Reply, json::RawJson};

use crate::{meta::RELATED_TASK, object::Object};

/// The names of the same things: here, there.
const RENAMED: [(&str, &str); 2] = [("ttl", "ttlMs"), ("pollInterval", "pollIntervalMs")];

/// What there is to tell of a task besides its state.
#[derive(Debug)]
pub enum Details {
    /// Nothing: it goes on, or was cancelled.
    None,
    /// The client is asked this; the members of `inputRequests`.
    Asks(Object),
    /// It has ended so.
    Ended(Reply),
}

/// The answer to a call that became a task, if `result` says that.
pub fn created(result: &RawJson) -> Option<RawJson> {
    let members = Object::parse_lenient(Some(result));
    let mut task = modern(Object::parse(members.get("task")?).ok()?);
    task.set("resultType", RawJson::of(&"task"));
    Some(task.to_json())
}

/// What a client sees when it looks at a task.
///
/// - `task`: as the legacy backend tells of it
pub fn seen(task: Object, details: Details) -> RawJson {
    let mut task = modern(task);
    match details {
        // The backend waits for nobody that could be named.
        Details::None if task.get_string("status").as_deref() == Some("input_required") => {
            task.set("status", RawJson::of(&"working"));
        }
        Details::None => {}
        Details::Asks(requests) => tell(&mut task, "input_required", "inputRequests", requests.to_json()),
        // A tool that reports an error has done its work.
        Details::Ended(Reply::Result(result)) => tell(&mut task, "completed", "result", without_relation(&result)),
        Details::Ended(Reply::Error(error)) => tell(&mut task, "failed", "error", error),
    }
    task.set("resultType", RawJson::of(&"complete"));
    task.to_json()
}

fn tell(task: &mut Object, status: &str, member: &str, value: RawJson) {
    task.set("status", RawJson::of(&status));
    task.set(member, value);
}

/// The answer to `tasks/update` and `tasks/cancel`.
pub fn acknowledged() -> RawJson {
    Object::from([("resultType", RawJson::of(&"complete"))]).to_json()
}

fn modern(mut task: Object) -> Object {
    for (legacy, modern) in RENAMED {
        if let Some(value) = task.remove(legacy) {
            task.set(modern, value);
        }
    }
    // Older drafts had no time of the last change.
    if let Some(created) = task.get("createdAt").cloned() {
        task.set_default("lastUpdatedAt", || created);
    }
    task.set_default("ttlMs", RawJson::default);
    task
}

/// The result stands inside its task, so that it need not name it.
fn without_relation(result: &RawJson) -> RawJson {
    let Ok(mut members) = Object::parse(result) else { return result.clone() };
    match members.remove_in("_meta", RELATED_TASK) {
        Some(_) => members.to_json(),
        None => result.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_created_task_is_told_in_the_words_of_the_client() {
        let created = created(&json(
            r#"{"task":{"taskId":"t","status":"working","createdAt":"c","ttl":60000,"pollInterval":5,"x":1}}"#,
        ));
        assert_eq!(
            created.unwrap().as_str(),
            r#"{"taskId":"t","status":"working","createdAt":"c","x":1,"ttlMs":60000,"pollIntervalMs":5,"lastUpdatedAt":"c","resultType":"task"}"#
        );
        assert_eq!(super::created(&json(r#"{"content":[]}"#)), None);
    }

    #[test]
    fn looking_at_a_task_brings_what_there_is() {
        let check = |status: &str, details: Details, expected: &str| {
            let task = Object::parse(&json(&format!(r#"{{"status":"{status}","ttlMs":1}}"#))).unwrap();
            assert_eq!(seen(task, details).as_str(), expected);
        };
        check("working", Details::None, r#"{"status":"working","ttlMs":1,"resultType":"complete"}"#);
        check("input_required", Details::None, r#"{"status":"working","ttlMs":1,"resultType":"complete"}"#);
        let result = r#"{"isError":true,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#;
        check(
            "failed",
            Details::Ended(Reply::Result(json(result))),
            r#"{"status":"completed","ttlMs":1,"result":{"isError":true},"resultType":"complete"}"#,
        );
        check(
            "completed",
            Details::Ended(Reply::Error(json(r#"{"code":1}"#))),
            r#"{"status":"failed","ttlMs":1,"error":{"code":1},"resultType":"complete"}"#,
        );
        check(
            "working",
            Details::Asks(Object::from([("k", json("{}"))])),
            r#"{"status":"input_required","ttlMs":1,"inputRequests":{"k":{}},"resultType":"complete"}"#,
        );
    }
}
