//! What the host need not understand it does not touch: unknown fields, content types and roles arrive as they were sent.

use serde_json::{Value, json};
use tokio::process::Command;
use vmcp_tests::{Behaviour, Era, FakeBackend, Mcp, Reply, StdioClient, TestClient, TestHost, process::binary};

fn strange() -> FakeBackend {
    FakeBackend::new()
        .tool("strange", Behaviour::Strange)
        .tool("image", Behaviour::Image)
        .tool("tool_error", Behaviour::ToolError)
        .tool("rpc_error", Behaviour::RpcError)
        .prompt("ask")
        .resource("fake://one")
}

const TOOLS: [&str; 4] = ["strange", "image", "tool_error", "rpc_error"];

/// Client and backend of one era: what comes through is what was sent, whichever transport lies between.
async fn assert_nothing_is_lost(backend: FakeBackend) {
    let era = backend.spec.era;
    let mut stdio = backend.clone();
    stdio.spec.transport = vmcp_tests::fake::Transport::Stdio;
    "fake".clone_into(&mut stdio.spec.name);
    let command = stdio.command();
    let direct = StdioClient::start(Command::new(&command[0]).args(&command[1..]), era, json!({})).await;
    let host = TestHost::builder().backend("fake", backend).start().await;
    let client = match era {
        Era::Legacy => host.connect().await,
        Era::Modern => host.connect_modern(),
    };
    for (method, key) in [("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/list", "resources")] {
        // The host's lists are sorted.
        let mut wanted = direct.list(method, key).await;
        wanted.sort_by_key(|one| one["name"].as_str().map(str::to_owned));
        assert_eq!(client.list(method, key).await, wanted, "{method}");
    }
    let calls = TOOLS.map(|tool| ("tools/call", json!({ "name": tool, "arguments": { "x": 1 } })));
    let others = [
        ("prompts/get", json!({ "name": "ask", "arguments": { "who": "me" } })),
        ("resources/read", json!({ "uri": "fake://one" })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "ask" }, "argument": { "name": "who", "value": "m" } }),
        ),
    ];
    for (method, params) in calls.into_iter().chain(others) {
        let (through, wanted) =
            (client.request(method, params.clone()).await, direct.request(method, params.clone()).await);
        assert_eq!(payload(&through), payload(&wanted), "{method} {params}");
        assert_eq!(payload_bytes(&through), payload_bytes(&wanted), "{method} {params}: same JSON, other bytes");
    }
}

/// All of the message but its id.
fn payload(reply: &Reply) -> Value {
    let mut payload = reply.message.clone();
    payload.as_object_mut().unwrap().remove("id");
    payload
}

/// The bytes of `content`, `contents`, `messages` or `error`: numbers such as `1.0` and `1e2` tell a rebuilt value.
fn payload_bytes(reply: &Reply) -> &str {
    let start = ["\"content\":", "\"contents\":", "\"messages\":", "\"completion\":", "\"error\":"]
        .iter()
        .find_map(|key| reply.raw.find(key))
        .unwrap_or_else(|| panic!("nothing to compare in {}", reply.raw));
    let rest = &reply.raw[start..];
    // What a gateway adds comes after, so that the shortest common end is the value itself.
    let end = rest.find("\"_meta\"").or_else(|| rest.find("\"resultType\"")).unwrap_or(rest.len());
    rest[..end].trim_end_matches([',', '}', '"'])
}

#[tokio::test]
async fn a_legacy_stdio_backend_arrives_whole() {
    assert_nothing_is_lost(strange()).await;
}

#[tokio::test]
async fn a_legacy_http_backend_arrives_whole() {
    assert_nothing_is_lost(strange().http()).await;
}

#[tokio::test]
async fn a_legacy_sse_backend_arrives_whole() {
    assert_nothing_is_lost(strange().sse()).await;
}

#[tokio::test]
async fn a_modern_stdio_backend_arrives_whole() {
    assert_nothing_is_lost(strange().modern()).await;
}

#[tokio::test]
async fn a_modern_http_backend_arrives_whole() {
    assert_nothing_is_lost(strange().modern().http()).await;
}

#[tokio::test]
async fn unknown_fields_of_a_request_reach_the_backend() {
    let host = TestHost::builder()
        .backend("old", FakeBackend::echo(["old"]))
        .backend("new", FakeBackend::new().tool("new", Behaviour::Handshake).modern())
        .start()
        .await;
    let arguments = json!({ "n": 9_007_199_254_740_993_u64, "xFuture": { "deep": [null, 1.5] }, "": "\u{0}" });
    for client in [host.connect().await, host.connect_modern()] {
        let reply = client.call("old", arguments.clone()).await;
        assert_eq!(serde_json::from_str::<Value>(reply.text()).unwrap(), arguments);
        let meta = json!({ "example.com/trace": [1], "traceparent": "00-1" });
        let reply = client.request("tools/call", json!({ "name": "new", "arguments": {}, "_meta": meta })).await;
        let seen: Value = serde_json::from_str(reply.text()).unwrap();
        assert_eq!((&seen["example.com/trace"], &seen["traceparent"]), (&json!([1]), &json!("00-1")), "{seen}");
    }
}

#[tokio::test]
async fn across_the_eras_nothing_but_the_envelope_changes() {
    let host = TestHost::builder()
        .backend("old", strange())
        .backend("new", strange().modern())
        .yaml("aggregation: { conflictResolution: prefix }")
        .start()
        .await;
    let old = host.connect().await;
    let new = host.connect_modern();
    let content = async |client: &TestClient, tool: &str| {
        let reply = client.call(tool, json!({})).await;
        let result = reply.result();
        (result["content"].clone(), result["structuredContent"].clone(), result["xFuture"].clone())
    };
    let wanted = content(&old, "old_strange").await;
    assert_eq!(wanted.0[1]["type"], "hologram");
    for (client, tool) in [(&old, "new_strange"), (&new, "old_strange"), (&new, "new_strange")] {
        assert_eq!(content(client, tool).await, wanted, "{tool}");
    }
}

/// Why the host does not pass messages through the SDK's types. The day this fails, that decision may be reopened.
#[tokio::test]
async fn a_typed_proxy_loses_what_the_host_keeps() {
    let backend = strange().command();
    let mut proxy = Command::new(binary("typed-proxy"));
    let typed = StdioClient::start(proxy.args(&backend), Era::Legacy, json!({})).await;
    let tool = typed.tools().await.remove(0);
    assert!(tool.get("xFuture").is_none() && tool["annotations"].get("xFutureHint").is_none(), "{tool}");
    let reply = typed.call("strange", json!({})).await;
    let kept = reply.message["result"]["content"].to_string();
    assert!(!kept.contains("hologram") || !kept.contains("xFuture"), "{}", reply.raw);
}
