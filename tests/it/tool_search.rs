//! Tool search as clients meet it: two tools in place of many, the right one found among them, and calls that can be mended.

mod agents;
mod index_file;
mod provider;
mod rankings;
mod shown;

use std::path::Path;

use serde_json::{Value, json};
use vmcp_tests::{FakeBackend, HostBuilder, Mcp, Reply, TestHost};

/// Tools that have little in common.
fn desk() -> Vec<Value> {
    let tool = |name: &str, description: &str, properties: Value| {
        json!({ "name": name, "description": description,
                "inputSchema": { "type": "object", "properties": properties, "additionalProperties": false } })
    };
    let text = |description: &str| json!({ "type": "string", "description": description });
    vec![
        tool(
            "send_email",
            "Send a message to somebody's mailbox",
            json!({ "to": text("Address"), "subject": text("") }),
        ),
        tool("create_event", "Put a meeting into the calendar", json!({ "start": text("When it begins") })),
        tool("read_file", "Read a text file from the disk", json!({ "path": text("Where the file lies") })),
        tool("list_branches", "List the branches of a repository", json!({ "remote": text("Name of the remote") })),
        tool("convert_currency", "Convert money at today's rate", json!({ "amount": { "type": "number" } })),
        tool("play_music", "Play a song or an album", json!({ "artist": text("Who sings") })),
        tool("weather_forecast", "How the weather will be in a city", json!({ "city": text("Which city") })),
        tool("translate_text", "Translate text into another language", json!({ "language": text("Into which") })),
        tool("resize_image", "Make a picture smaller or larger", json!({ "width": { "type": "integer" } })),
        tool("book_flight", "Buy a plane ticket", json!({ "destination": text("Airport to fly to") })),
        tool("start_container", "Run a Docker container", json!({ "image": text("Image to run") })),
        tool("query_database", "Run an SQL statement", json!({ "sql": text("The statement") })),
    ]
}

/// A backend with these tools, which answer with their arguments.
fn backend(dir: &Path, file: &str, tools: &[Value]) -> FakeBackend {
    let lines: Vec<_> = tools.iter().map(ToString::to_string).collect();
    std::fs::write(dir.join(file), lines.join("\n")).unwrap();
    FakeBackend::new().tools_file(&dir.join(file))
}

/// A host with the tools of [`desk`] behind the backend `desk`.
fn desk_host(optimizer: &str) -> HostBuilder {
    let host = TestHost::builder();
    let desk = backend(host.dir(), "desk.jsonl", &desk());
    host.backend("desk", desk).yaml(&format!("optimizer: {optimizer}"))
}

/// Calls `find_tool`.
async fn find(client: &impl Mcp, arguments: Value) -> Reply {
    client.call("find_tool", arguments).await
}

/// The names that a search found, best first.
#[track_caller]
fn found(reply: &Reply) -> Vec<String> {
    let tools = reply.result()["structuredContent"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("nothing found: {}", reply.raw));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// What a tool result refuses.
#[track_caller]
fn refusal(reply: &Reply) -> &str {
    assert_eq!(reply.result()["isError"], true, "{}", reply.raw);
    reply.text()
}
