//! The rest of the protocol in every pair of eras: subscriptions, logging, tasks, unknown content, and what the host says of
//! itself.

use serde_json::json;
use vmcp_tests::{Behaviour, Era, FakeBackend, FixtureBackend, Mcp, TestClient, TestHost};

use super::{able, backends, client_of, host_of};

const WATCHED: &str = "test://watched-resource";

#[tokio::test]
async fn a_watched_resource_is_followed_in_every_pair() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            let pair = format!("{client_era:?} to {backend_era:?}");
            let client = client_of(&host, client_era, json!({})).await;
            let mut stream = match client_era {
                Era::Legacy => {
                    let stream = client.listen().await;
                    client.request("resources/subscribe", json!({ "uri": WATCHED })).await.result();
                    stream
                }
                Era::Modern => {
                    let wanted = json!({ "resourceSubscriptions": [WATCHED, "test://nowhere"] });
                    let (stream, acknowledged) = client.listen_for(wanted).await;
                    assert_eq!(
                        acknowledged["params"]["notifications"]["resourceSubscriptions"],
                        json!([WATCHED]),
                        "{pair}"
                    );
                    stream
                }
            };
            touch_until_heard(&client, &mut stream, &pair).await;
            if client_era == Era::Legacy {
                client.request("resources/unsubscribe", json!({ "uri": WATCHED })).await.result();
            }
        }
    }
}

/// A modern backend hears of what is watched a moment after the client was answered.
async fn touch_until_heard(client: &TestClient, stream: &mut vmcp_tests::EventStream, pair: &str) {
    for _ in 0..150 {
        client.call("touch", json!({ "uri": WATCHED })).await.result();
        let heard = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            stream.wait_for("notifications/resources/updated"),
        );
        if let Ok(updated) = heard.await {
            assert_eq!(updated["params"]["uri"], WATCHED, "{pair}");
            return;
        }
    }
    panic!("nothing was heard: {pair}");
}

#[tokio::test]
async fn log_messages_and_progress_reach_the_client_that_wants_them() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            let client = client_of(&host, client_era, able()).await;
            let mut meta = json!({ "progressToken": "mine" });
            match client_era {
                Era::Legacy => drop(client.request("logging/setLevel", json!({ "level": "info" })).await),
                Era::Modern => meta["io.modelcontextprotocol/logLevel"] = json!("info"),
            }
            let params = json!({ "name": "log_and_progress", "arguments": { "times": 3 }, "_meta": meta });
            let reply = client.request("tools/call", params).await;
            let count = |method: &str| reply.notifications.iter().filter(|n| n["method"] == method).count();
            let pair = format!("{client_era:?} to {backend_era:?}: {:?}", reply.notifications);
            assert_eq!(count("notifications/message"), 3, "{pair}");
            assert_eq!(count("notifications/progress"), 3, "{pair}");
            let tokens = reply.notifications.iter().filter_map(|n| n["params"]["progressToken"].as_str());
            assert!(tokens.into_iter().all(|token| token == "mine"), "{pair}");
        }
    }
}

#[tokio::test]
async fn unknown_roles_and_content_arrive_in_every_pair() {
    for (backend_era, fixture) in backends() {
        let (host, _backend) = host_of(fixture).await;
        for client_era in [Era::Legacy, Era::Modern] {
            let client = client_of(&host, client_era, json!({})).await;
            let reply = client.call("odd_content", json!({})).await;
            let result = reply.result();
            let pair = format!("{client_era:?} to {backend_era:?}: {result}");
            assert_eq!(result["content"][0]["annotations"]["audience"], json!(["user", "auditor"]), "{pair}");
            assert_eq!(result["content"][1]["type"], "hologram", "{pair}");
            assert_eq!(result["structuredContent"]["big"], 9_007_199_254_740_993_u64, "{pair}");
            assert_eq!(result["xFuture"], json!({ "a": null }), "{pair}");
            assert_eq!(result["resultType"].is_string(), client_era == Era::Modern, "{pair}");
        }
    }
}

#[tokio::test]
async fn a_task_is_followed_under_a_name_that_leads_back_to_its_backend() {
    let (host, _backend) = host_of(FixtureBackend::legacy().http()).await;
    let client = client_of(&host, Era::Legacy, json!({})).await;
    let declared = &client.initialized["capabilities"]["tasks"];
    assert!(declared["requests"]["tools"]["call"].is_object(), "{declared}");
    let params = json!({ "name": "slow_compute", "arguments": { "seconds": 0.2 }, "task": { "ttl": 60_000 } });
    let created = client.request("tools/call", params).await;
    let id = created.result()["task"]["taskId"].clone();
    assert!(id.is_string(), "{}", created.message);
    let known = client.request("tasks/list", json!({})).await;
    assert!(!known.result()["tasks"].as_array().unwrap().is_empty());
    let got = client.request("tasks/get", json!({ "taskId": id })).await;
    assert!(got.result()["taskId"].is_string(), "{}", got.message);
    let result = client.request("tasks/result", json!({ "taskId": id })).await;
    assert!(result.result()["content"].is_array(), "{}", result.message);
    let unknown = client.request("tasks/get", json!({ "taskId": "made-up" })).await;
    assert_eq!(unknown.error()["code"], -32602);
}

#[tokio::test]
async fn a_task_of_a_modern_backend_is_followed_by_a_modern_client() {
    let (host, _backend) = host_of(FixtureBackend::modern().http()).await;
    let extension = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let client = client_of(&host, Era::Modern, extension).await;
    let discovered = client.request("server/discover", json!({})).await;
    let extensions = &discovered.result()["capabilities"]["extensions"];
    assert!(extensions["io.modelcontextprotocol/tasks"].is_object(), "{extensions}");
    let created = client.call("slow_compute", json!({ "seconds": 0.2 })).await;
    let id = created.result()["taskId"].clone();
    assert_eq!(created.result()["resultType"], "task", "{}", created.message);
    let got = client.request("tasks/get", json!({ "taskId": id })).await;
    assert!(got.result()["taskId"].is_string(), "{}", got.message);
}

#[tokio::test]
async fn the_host_says_of_itself_what_its_backends_can_do() {
    let host = TestHost::builder().backend("a", FakeBackend::new().tool("x", Behaviour::Echo)).start().await;
    let modern = host.connect_modern();
    let discovered = modern.request("server/discover", json!({})).await;
    let capabilities = &discovered.result()["capabilities"];
    assert!(capabilities["tools"].is_object() && capabilities.get("prompts").is_none(), "{capabilities}");
    let refused = modern.request("prompts/list", json!({})).await;
    assert_eq!((refused.status, &refused.error()["code"]), (404, &json!(-32601)));
    let (host, _backend) = host_of(FixtureBackend::modern()).await;
    let discovered = host.connect_modern().request("server/discover", json!({})).await;
    let capabilities = &discovered.result()["capabilities"];
    for declared in ["tools", "prompts", "completions", "logging"] {
        assert!(capabilities[declared].is_object(), "{declared}: {capabilities}");
    }
    assert_eq!(capabilities["resources"]["subscribe"], true, "{capabilities}");
}

#[tokio::test]
async fn headers_of_a_client_do_not_reach_a_backend() {
    let (host, _backend) = host_of(FixtureBackend::legacy().http()).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "show_headers", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} } } });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "show_headers"),
        ("authorization", "Bearer of-the-client"),
        ("cookie", "of=the-client"),
    ];
    let response = vmcp_tests::http::send("POST", &host.url, &headers, body.to_string()).await.unwrap();
    let text = response.text().await;
    assert!(
        text.contains("content-type") && !text.contains("of-the-client") && !text.contains("of=the-client"),
        "{text}"
    );
}
