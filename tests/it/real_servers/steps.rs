//! What each server is asked, in order. `$DIR` stands for its folder, `$URL` for a page on this machine.

use serde_json::{Value, json};
use vmcp_tests::real::RealServer;

#[derive(Debug)]
pub(super) struct Step {
    pub(super) method: &'static str,
    pub(super) params: Value,
}

impl Step {
    /// The server's own name of the tool that is called.
    pub(super) fn tool(&self) -> Option<&str> {
        (self.method == "tools/call").then(|| self.name())
    }

    pub(super) fn name(&self) -> &str {
        self.params["name"].as_str().unwrap_or_default()
    }

    /// The list in which the name stands.
    pub(super) fn list(&self) -> &'static str {
        if self.method == "prompts/get" { "prompts/list" } else { "tools/list" }
    }
}

/// Tools that no step calls, each for a reason.
pub(super) fn not_called(server: RealServer) -> &'static [&'static str] {
    match server {
        // They ask the client something in the middle of the call; that belongs to the tests of bridging.
        RealServer::Everything => &[
            "trigger-sampling-request",
            "trigger-sampling-request-async",
            "trigger-elicitation-request",
            "trigger-elicitation-request-async",
            "trigger-url-elicitation",
            "get-roots-list",
        ],
        _ => &[],
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the steps read as a table")]
fn call(tool: &str, arguments: Value) -> Step {
    Step { method: "tools/call", params: json!({ "name": tool, "arguments": arguments }) }
}

#[expect(clippy::needless_pass_by_value, reason = "the steps read as a table")]
fn prompt(name: &str, arguments: Value) -> Step {
    Step { method: "prompts/get", params: json!({ "name": name, "arguments": arguments }) }
}

fn read(uri: &str) -> Step {
    Step { method: "resources/read", params: json!({ "uri": uri }) }
}

fn complete(params: Value) -> Step {
    Step { method: "completion/complete", params }
}

pub(super) fn steps(server: RealServer) -> Vec<Step> {
    match server {
        RealServer::Everything => everything(),
        RealServer::Filesystem => filesystem(),
        RealServer::Memory => memory(),
        RealServer::SequentialThinking => thinking(),
        RealServer::Git => git(),
        RealServer::Time => time(),
        RealServer::Fetch => fetch(),
        RealServer::Sqlite => sqlite(),
    }
}

fn everything() -> Vec<Step> {
    let department = json!({ "type": "ref/prompt", "name": "completable-prompt" });
    vec![
        call("echo", json!({ "message": "hello é \u{1f600}" })),
        call("echo", json!({})),
        call("get-annotated-message", json!({ "messageType": "error", "includeImage": true })),
        call("get-annotated-message", json!({ "messageType": "success" })),
        call("get-annotated-message", json!({ "messageType": "debug" })),
        call("get-annotated-message", json!({ "messageType": "nonsense" })),
        call("get-env", json!({})),
        call("get-resource-links", json!({ "count": 4 })),
        call("get-resource-links", json!({ "count": 99 })),
        call("get-resource-reference", json!({ "resourceType": "Text", "resourceId": 1 })),
        call("get-resource-reference", json!({ "resourceType": "Blob", "resourceId": 2 })),
        call("get-resource-reference", json!({ "resourceType": "Blob", "resourceId": -1 })),
        call("get-structured-content", json!({ "location": "Chicago" })),
        call("get-sum", json!({ "a": 0.1, "b": 0.2 })),
        call("get-sum", json!({ "a": "one" })),
        call("get-tiny-image", json!({})),
        call(
            "gzip-file-as-resource",
            json!({ "name": "a.gz", "data": "data:text/plain,hello", "outputType": "resource" }),
        ),
        call(
            "gzip-file-as-resource",
            json!({ "name": "b.gz", "data": "data:text/plain,hello", "outputType": "resourceLink" }),
        ),
        call("toggle-simulated-logging", json!({})),
        call("toggle-simulated-logging", json!({})),
        call("toggle-subscriber-updates", json!({})),
        call("toggle-subscriber-updates", json!({})),
        call("trigger-long-running-operation", json!({ "duration": 0.2, "steps": 2 })),
        // It wants to run as a task and says so.
        call("simulate-research-query", json!({ "topic": "gateways" })),
        prompt("simple-prompt", json!({})),
        prompt("args-prompt", json!({ "city": "Paris", "state": "Texas" })),
        prompt("args-prompt", json!({})),
        prompt("completable-prompt", json!({ "department": "Engineering", "name": "Alice" })),
        prompt("resource-prompt", json!({ "resourceType": "Text", "resourceId": "1" })),
        complete(json!({ "ref": department, "argument": { "name": "department", "value": "E" } })),
        complete(json!({
            "ref": department,
            "argument": { "name": "name", "value": "" },
            "context": { "arguments": { "department": "Sales" } },
        })),
        complete(json!({
            "ref": { "type": "ref/resource", "uri": "demo://resource/dynamic/text/{resourceId}" },
            "argument": { "name": "resourceId", "value": "1" },
        })),
        read("demo://resource/static/document/architecture.md"),
        read("demo://resource/dynamic/text/3"),
        read("demo://resource/dynamic/blob/4"),
        read("demo://resource/dynamic/text/nonsense"),
    ]
}

fn filesystem() -> Vec<Step> {
    vec![
        call("list_allowed_directories", json!({})),
        call("read_file", json!({ "path": "$DIR/a.txt" })),
        call("read_text_file", json!({ "path": "$DIR/a.txt", "head": 1 })),
        call("read_text_file", json!({ "path": "$DIR/a.txt", "tail": 1 })),
        call("read_text_file", json!({ "path": "/etc/passwd" })),
        call("read_text_file", json!({ "path": "$DIR/missing.txt" })),
        call("read_media_file", json!({ "path": "$DIR/pixel.gif" })),
        call("read_multiple_files", json!({ "paths": ["$DIR/a.txt", "$DIR/missing.txt"] })),
        call("write_file", json!({ "path": "$DIR/b.txt", "content": "line one\nline two\n" })),
        call(
            "edit_file",
            json!({ "path": "$DIR/b.txt", "edits": [{ "oldText": "two", "newText": "2" }], "dryRun": true }),
        ),
        call("edit_file", json!({ "path": "$DIR/b.txt", "edits": [{ "oldText": "two", "newText": "2" }] })),
        call("edit_file", json!({ "path": "$DIR/b.txt", "edits": [{ "oldText": "gone", "newText": "" }] })),
        call("create_directory", json!({ "path": "$DIR/sub/deep" })),
        call("move_file", json!({ "source": "$DIR/b.txt", "destination": "$DIR/sub/c.txt" })),
        call("list_directory", json!({ "path": "$DIR" })),
        call("list_directory_with_sizes", json!({ "path": "$DIR", "sortBy": "size" })),
        call("directory_tree", json!({ "path": "$DIR" })),
        call("search_files", json!({ "path": "$DIR", "pattern": "**/*.txt" })),
        call("get_file_info", json!({ "path": "$DIR/sub/c.txt" })),
    ]
}

fn memory() -> Vec<Step> {
    let entity = |name: &str| json!({ "name": name, "entityType": "person", "observations": ["likes tea"] });
    vec![
        call("create_entities", json!({ "entities": [entity("Ada"), entity("Bob")] })),
        call("create_relations", json!({ "relations": [{ "from": "Ada", "to": "Bob", "relationType": "knows" }] })),
        call(
            "add_observations",
            json!({ "observations": [{ "entityName": "Ada", "contents": ["likes tea", "codes"] }] }),
        ),
        call("add_observations", json!({ "observations": [{ "entityName": "Nobody", "contents": ["x"] }] })),
        call("read_graph", json!({})),
        call("search_nodes", json!({ "query": "codes" })),
        call("open_nodes", json!({ "names": ["Bob", "Nobody"] })),
        call("delete_observations", json!({ "deletions": [{ "entityName": "Ada", "observations": ["codes"] }] })),
        call("delete_relations", json!({ "relations": [{ "from": "Ada", "to": "Bob", "relationType": "knows" }] })),
        call("delete_entities", json!({ "entityNames": ["Bob"] })),
        call("open_nodes", json!({ "names": "not a list" })),
        read("memory://knowledge-graph"),
    ]
}

fn thinking() -> Vec<Step> {
    let thought = |number: u32, more: bool| json!({ "thought": "so", "nextThoughtNeeded": more, "thoughtNumber": number, "totalThoughts": 2 });
    vec![
        call("sequentialthinking", thought(1, true)),
        call("sequentialthinking", thought(2, false)),
        call("sequentialthinking", json!({ "thought": "incomplete" })),
    ]
}

fn git() -> Vec<Step> {
    let with = |more: Value| {
        let mut arguments = json!({ "repo_path": "$DIR" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    vec![
        call("git_status", with(json!({}))),
        call("git_create_branch", with(json!({ "branch_name": "topic" }))),
        call("git_checkout", with(json!({ "branch_name": "topic" }))),
        call("git_checkout", with(json!({ "branch_name": "missing" }))),
        call("git_branch", with(json!({ "branch_type": "local" }))),
        call("git_diff_unstaged", with(json!({}))),
        call("git_add", with(json!({ "files": ["README.md"] }))),
        call("git_add", with(json!({ "files": ["missing.md"] }))),
        call("git_diff_staged", with(json!({}))),
        call("git_commit", with(json!({ "message": "second" }))),
        call("git_log", with(json!({ "max_count": 1 }))),
        call("git_show", with(json!({ "revision": "HEAD" }))),
        call("git_diff", with(json!({ "target": "main" }))),
        call("git_reset", with(json!({}))),
        call("git_status", json!({ "repo_path": "/" })),
        call("git_status", json!({})),
    ]
}

fn time() -> Vec<Step> {
    vec![
        call("get_current_time", json!({ "timezone": "Europe/Berlin" })),
        call("get_current_time", json!({ "timezone": "Nowhere/At_All" })),
        call("convert_time", json!({ "source_timezone": "UTC", "time": "16:30", "target_timezone": "Asia/Tokyo" })),
        call("convert_time", json!({ "source_timezone": "UTC", "time": "25:99", "target_timezone": "Asia/Tokyo" })),
    ]
}

fn fetch() -> Vec<Step> {
    vec![
        call("fetch", json!({ "url": "$URL", "raw": true })),
        call("fetch", json!({ "url": "$URL", "max_length": 5 })),
        prompt("fetch", json!({ "url": "$URL" })),
        call("fetch", json!({ "url": "http://127.0.0.1:1/" })),
        call("fetch", json!({ "url": "no url" })),
        prompt("fetch", json!({ "url": "http://127.0.0.1:1/" })),
        prompt("fetch", json!({})),
    ]
}

fn sqlite() -> Vec<Step> {
    vec![
        call("create_table", json!({ "query": "CREATE TABLE t (id INTEGER, name TEXT)" })),
        call("write_query", json!({ "query": "INSERT INTO t VALUES (1, 'one'), (2, NULL)" })),
        call("read_query", json!({ "query": "SELECT * FROM t" })),
        call("read_query", json!({ "query": "DROP TABLE t" })),
        call("read_query", json!({ "query": "SELECT nonsense" })),
        call("list_tables", json!({})),
        call("describe_table", json!({ "table_name": "t" })),
        call("append_insight", json!({ "insight": "two rows" })),
        read("memo://insights"),
        prompt("mcp-demo", json!({ "topic": "tea" })),
    ]
}
