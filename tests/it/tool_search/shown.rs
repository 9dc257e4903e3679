//! What clients see, and what the two tools take and answer.

use serde_json::json;
use vmcp_tests::{FakeBackend, Mcp, TestHost};

use super::{backend, desk, desk_host, find, found, refusal};

#[tokio::test]
async fn two_tools_stand_for_all_and_the_rest_stays_visible() {
    let host = TestHost::builder();
    let desk = backend(host.dir(), "desk.jsonl", &desk()).prompt("greet").resource("file:///a");
    let host = host.backend("desk", desk).yaml("optimizer: {}").start().await;
    let (legacy, modern) = (host.connect().await, host.connect_modern());
    assert_eq!(legacy.tool_names().await, ["find_tool", "call_tool"]);
    assert_eq!(modern.tool_names().await, ["find_tool", "call_tool"]);
    assert_eq!(legacy.list("prompts/list", "prompts").await.len(), 1);
    assert_eq!(modern.list("resources/list", "resources").await.len(), 1);
    let tools = modern.tools().await;
    let description = tools[0]["description"].as_str().unwrap();
    assert!(description.contains("12 tools") && description.contains("desk: "), "{description}");
    assert_eq!(tools[0]["inputSchema"]["required"], json!(["tool_description"]));
    assert_eq!(tools[1]["inputSchema"]["required"], json!(["tool_name", "parameters"]));
    // Who knows a name may use it.
    assert_eq!(legacy.call("play_music", json!({ "artist": "x" })).await.answered_by(), "desk");
    assert_eq!(host.status().await["search"]["tools"], 12);
    assert!(host.stdout().contains("search:"), "{}", host.stdout());
}

#[tokio::test]
async fn what_is_found_comes_whole_with_what_it_saves() {
    let host = desk_host("{ maxToolsToReturn: 3 }").start().await;
    for reply in [
        find(&host.connect().await, json!({ "tool_description": "how warm will it be in Rome tomorrow" })).await,
        find(&host.connect_modern(), json!({ "tool_description": "how warm will it be in Rome tomorrow" })).await,
    ] {
        assert_eq!(found(&reply)[0], "weather_forecast", "{}", reply.raw);
        let answer = &reply.result()["structuredContent"];
        assert!(answer["tools"].as_array().unwrap().len() <= 3);
        let whole = desk().into_iter().find(|tool| tool["name"] == "weather_forecast").unwrap();
        assert_eq!(answer["tools"][0], whole);
        assert_eq!(serde_json::from_str::<serde_json::Value>(reply.text()).unwrap(), *answer);
        let metrics = &answer["token_metrics"];
        let baseline: usize = desk().iter().map(|tool| tool.to_string().len() / 4).sum();
        assert_eq!(metrics["baseline_tokens"], baseline);
        assert!(metrics["savings_percent"].as_f64().unwrap() > 0.0, "{metrics}");
        assert!(answer.get("matches").is_none());
    }
    let client = host.connect_modern();
    let explained = find(&client, json!({ "tool_description": "make a picture smaller", "explain": true })).await;
    assert_eq!(explained.result()["structuredContent"]["matches"][0]["name"], "resize_image");
    assert_eq!(found(&find(&client, json!({ "tool_description": "send mail", "limit": 1 })).await).len(), 1);
    assert!(refusal(&find(&client, json!({ "tool_description": "" })).await).contains("say what you want"));
    assert!(refusal(&find(&client, json!({})).await).contains("missing"));
}

#[tokio::test]
async fn a_search_can_keep_to_one_server() {
    let host = TestHost::builder();
    let files =
        [json!({ "name": "open_document", "description": "Read a text file", "inputSchema": { "type": "object" } })];
    let (desk, other) = (backend(host.dir(), "desk.jsonl", &desk()), backend(host.dir(), "other.jsonl", &files));
    let host = host.backend("desk", desk).backend("other", other).yaml("optimizer: {}").start().await;
    let client = host.connect_modern();
    let query = "read a text file";
    let names = found(&find(&client, json!({ "tool_description": query, "server": "other" })).await);
    assert_eq!(names, ["open_document"]);
    let unknown = find(&client, json!({ "tool_description": query, "server": "nobody" })).await;
    assert!(refusal(&unknown).contains("there are: desk, other"), "{}", unknown.raw);
}

#[tokio::test]
async fn pinned_tools_and_descriptions_are_the_owners_choice() {
    let host = desk_host(
        "{ pinnedTools: [play_music, nobody], descriptions: { findTool: Look here first., callTool: Then do it. } }",
    )
    .start()
    .await;
    let tools = host.connect().await.tools().await;
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["find_tool", "call_tool", "play_music"]);
    assert!(tools[0]["description"].as_str().unwrap().starts_with("Look here first."));
    assert!(tools[1]["description"].as_str().unwrap().starts_with("Then do it."));
}

#[tokio::test]
async fn calls_are_checked_and_an_answer_says_how_to_mend_them() {
    let host = desk_host("{}").start().await;
    let client = host.connect().await;
    let call = async |arguments| client.call("call_tool", arguments).await;
    let reply = call(json!({ "tool_name": "read_file", "parameters": { "path": "a" } })).await;
    assert_eq!(reply.answered_by(), "desk");
    // As models get it wrong.
    let hoisted = call(json!({ "parameters": { "tool_name": "read_file", "path": "a" } })).await;
    assert_eq!(hoisted.answered_by(), "desk");
    let wrong = call(json!({ "tool_name": "read_file", "parameters": { "pathh": "a" } })).await;
    let problem = refusal(&wrong);
    assert!(problem.contains("did you mean `path`?") && problem.contains(r#""path":{"#), "{problem}");
    let typed = call(json!({ "tool_name": "resize_image", "parameters": { "width": "wide" } })).await;
    assert!(refusal(&typed).contains("width"), "{}", typed.raw);
    let unknown = call(json!({ "tool_name": "read_files", "parameters": {} })).await;
    assert!(refusal(&unknown).contains("did you mean `read_file`"), "{}", unknown.raw);
    assert!(refusal(&call(json!({})).await).contains("`tool_name` is missing"));
    let through = call(json!({ "tool_name": "find_tool", "parameters": { "tool_description": "music" } })).await;
    assert_eq!(found(&through)[0], "play_music");
}

#[tokio::test]
async fn the_flag_switches_search_on_and_never_promises_what_is_not_there() {
    let plain = || TestHost::builder().backend("b", FakeBackend::echo(["a", "b"]));
    let host = plain().arg("--optimizer").start().await;
    assert_eq!(host.connect().await.tool_names().await, ["find_tool", "call_tool"]);
    assert!(host.status().await["search"]["tier"].as_str().unwrap().contains("without an external service"));
    let refused = plain().arg("--optimizer-embedding").fail().await;
    assert!(refused.stderr.contains("--optimizer-embedding"), "{}", refused.stderr);
    let host = plain().start().await;
    assert_eq!(host.connect().await.tool_names().await, ["a", "b"]);
    assert!(host.status().await["search"].is_null());
}

#[tokio::test]
async fn what_comes_and_goes_is_found_and_not_found() {
    let grow = vmcp_tests::Behaviour::AddTool;
    let host =
        TestHost::builder().backend("b", FakeBackend::new().tool("grow", grow)).yaml("optimizer: {}").start().await;
    let client = host.connect().await;
    client.call("call_tool", json!({ "tool_name": "grow", "parameters": {} })).await;
    vmcp_tests::eventually("the new tool is found", vmcp_tests::process::PATIENCE, || async {
        found(&find(&client, json!({ "tool_description": "added 0" })).await).contains(&"added_0".to_owned())
    })
    .await;
}
