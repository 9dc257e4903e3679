//! Where a client meets a backend: what its request tells the backend, what a reply needs, and how the backend's requests for
//! input reach the client. One file for each pair of eras, the client's first; nothing here does IO.
//!
//! Within one era replies cross untouched.

mod capability;
pub mod input;
pub mod legacy_legacy;
pub mod legacy_modern;
pub mod modern_legacy;
pub mod modern_modern;
pub mod task;

use serde_json::{Value, json};
use vmcp_core::{call::Reply, json::RawJson};

use crate::{
    era::Era,
    error::{INVALID_PARAMS, RESOURCE_NOT_FOUND},
    meta::SERVER_INFO,
    object::Object,
};

const RESULT_TYPE: &str = "resultType";

/// The reply to `method` as a client of era `to` expects it.
pub fn translate_reply(reply: Reply, method: &str, from: Era, to: Era) -> Reply {
    match (reply, from, to) {
        (Reply::Result(result), Era::Legacy, Era::Modern) => Reply::Result(to_modern(result, method)),
        (Reply::Error(error), Era::Legacy, Era::Modern) => Reply::Error(renumber(error)),
        (Reply::Result(result), Era::Modern, Era::Legacy) => Reply::Result(to_legacy(result)),
        (reply, ..) => reply,
    }
}

/// Adds what 2026-07-28 requires on every result, and on the cacheable ones: "do not cache" where the backend said nothing.
fn to_modern(result: RawJson, method: &str) -> RawJson {
    let Ok(mut members) = Object::parse(&result) else { return result };
    members.set_default(RESULT_TYPE, || RawJson::of(&"complete"));
    if method == "resources/read" {
        members.set_default("ttlMs", || RawJson::of(&0));
        members.set_default("cacheScope", || RawJson::of(&"private"));
    }
    members.to_json()
}

/// Removes what legacy revisions do not know.
fn to_legacy(result: RawJson) -> RawJson {
    let Ok(mut members) = Object::parse(&result) else { return result };
    for key in [RESULT_TYPE, "ttlMs", "cacheScope"] {
        members.remove(key);
    }
    members.remove_in("_meta", SERVER_INFO);
    members.to_json()
}

/// 2026-07-28 has no code of its own for a missing resource.
fn renumber(error: RawJson) -> RawJson {
    match error.to_value::<Value>() {
        Ok(mut value) if value["code"] == json!(RESOURCE_NOT_FOUND) => {
            value["code"] = json!(INVALID_PARAMS);
            RawJson::of(&value)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_cross_the_eras() {
        use Era::{Legacy, Modern};
        let check = |method, from, to, reply: &str, expected: &str| {
            let reply = Reply::Result(RawJson::parse(reply.to_owned()).unwrap());
            let Reply::Result(got) = translate_reply(reply, method, from, to) else { panic!() };
            assert_eq!(got.as_str(), expected);
        };
        check("tools/call", Legacy, Legacy, r#"{"content": []}"#, r#"{"content": []}"#);
        check("tools/call", Modern, Modern, r#"{"resultType": "odd"}"#, r#"{"resultType": "odd"}"#);
        check("tools/call", Legacy, Modern, r#"{"new":1}"#, r#"{"new":1,"resultType":"complete"}"#);
        check("tools/call", Legacy, Modern, r#"{"resultType":"task"}"#, r#"{"resultType":"task"}"#);
        check(
            "resources/read",
            Legacy,
            Modern,
            r#"{"contents":[],"ttlMs":5}"#,
            r#"{"contents":[],"ttlMs":5,"resultType":"complete","cacheScope":"private"}"#,
        );
        check(
            "tools/call",
            Modern,
            Legacy,
            r#"{"resultType":"complete","ttlMs":1,"cacheScope":"public","new":1,"_meta":{"io.modelcontextprotocol/serverInfo":{},"k":2}}"#,
            r#"{"new":1,"_meta":{"k":2}}"#,
        );
    }

    #[test]
    fn a_missing_resource_has_the_code_of_the_clients_era() {
        let error = Reply::Error(RawJson::of(&json!({"code": -32002, "message": "gone", "data": {"uri": "x"}})));
        let Reply::Error(error) = translate_reply(error, "resources/read", Era::Legacy, Era::Modern) else { panic!() };
        assert_eq!(error.as_str(), r#"{"code":-32602,"message":"gone","data":{"uri":"x"}}"#);
    }
}
