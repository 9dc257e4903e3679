//! The server through an rmcp client, both of them in this process.

use rmcp::{ServiceExt as _, model::CallToolRequestParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::serve;

#[tokio::test]
async fn tools_add_list_find_and_finish_tasks() {
    let place = tempfile::tempdir().unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = TasksServer::open(place.path().join("tasks.json")).unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(serve(server, far));
    let client = ().serve(near).await.unwrap();
    let call = async |tool: &str, arguments: Value| {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        client.call_tool(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)).await
    };

    let mut names: Vec<_> = client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name).collect();
    names.sort();
    assert_eq!(names, ["add", "done", "list", "search"]);

    for (tool, arguments, expected) in [
        ("add", json!({"text": "water the plants"}), json!({"id": 1, "text": "water the plants", "done": false})),
        ("done", json!({"id": 1}), json!({"id": 1, "text": "water the plants", "done": true})),
        ("list", json!({}), json!({"tasks": []})),
        ("list", json!({"all": true}), json!({"tasks": [{"id": 1, "text": "water the plants", "done": true}]})),
        ("search", json!({"query": "PLANT"}), json!({"tasks": [{"id": 1, "text": "water the plants", "done": true}]})),
    ] {
        assert_eq!(call(tool, arguments).await.unwrap().structured_content, Some(expected), "{tool}");
    }

    for (tool, arguments, expected) in [
        ("done", json!({"id": 9}), "there is no task 9; `list` shows the numbers"),
        ("add", json!({"text": " "}), "the task has no text"),
        ("add", json!({"text": "x", "colour": "red"}), "unknown field `colour`"),
    ] {
        let failed = call(tool, arguments).await.unwrap();
        let text = &failed.content[0].as_text().unwrap().text;
        assert!(failed.is_error == Some(true) && text.contains(expected), "{text}");
    }
}
