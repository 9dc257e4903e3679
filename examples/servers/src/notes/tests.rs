//! The server through an rmcp client, both of them in this process.

use std::sync::Arc;

use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient,
    model::{
        ArgumentInfo, CallToolRequestParams, CallToolResult, CompleteRequestParams, GetPromptRequestParams,
        ReadResourceRequestParams, Reference, ResourceContents, ServerNotification,
    },
    service::{NotificationContext, RunningService},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet};

use super::*;
use crate::serve;

/// Remembers that the list of resources changed.
#[derive(Clone, Default)]
struct Listener {
    changed: Arc<Notify>,
}

impl ClientHandler for Listener {
    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

struct Session {
    _place: tempfile::TempDir,
    _serving: JoinSet<anyhow::Result<()>>,
    client: RunningService<RoleClient, Listener>,
}

impl Session {
    async fn open(lifecycle: ClientLifecycleMode) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let server = NotesServer::open(place.path().join("notes")).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(server, far));
        let client = Listener::default().serve_with_lifecycle(near, lifecycle).await.unwrap();
        Self { _place: place, _serving: serving, client }
    }

    async fn call(&self, tool: &str, arguments: Value) -> CallToolResult {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        self.client.call_tool(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)).await.unwrap()
    }
}

/// The lifecycle of protocol revision 2026-07-28.
fn stateless() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

#[tokio::test]
async fn tools_add_list_find_and_read_notes() {
    for lifecycle in [ClientLifecycleMode::Initialize, stateless()] {
        let session = Session::open(lifecycle).await;
        let mut names: Vec<_> = session.client.list_all_tools().await.unwrap().into_iter().map(|t| t.name).collect();
        names.sort();
        assert_eq!(names, ["add", "list", "read", "search"]);

        let added = session.call("add", json!({"title": "Two Words", "text": "Some text."})).await;
        assert_eq!(added.structured_content, Some(json!({"name": "two-words", "uri": "note:///two-words"})));
        let listed = session.call("list", json!({})).await.structured_content.unwrap();
        assert_eq!(listed["notes"][0]["title"], "Two Words");
        let found = session.call("search", json!({"query": "TEXT"})).await.structured_content.unwrap();
        assert_eq!(found, json!({"matches": [{"name": "two-words", "line": 3, "text": "Some text."}]}));
        assert_eq!(text(&session.call("read", json!({"name": "two-words"})).await), "# Two Words\n\nSome text.\n");
    }
}

#[tokio::test]
async fn a_failed_tool_says_what_to_do() {
    let session = Session::open(ClientLifecycleMode::Initialize).await;
    for (arguments, expected) in [
        (json!({"name": "absent"}), "there is no note `absent`; `list` shows the names"),
        (json!({"name": "a/../b"}), "is no note name: it has a slash"),
    ] {
        let failed = session.call("read", arguments).await;
        assert_eq!(failed.is_error, Some(true));
        assert!(text(&failed).contains(expected), "{}", text(&failed));
    }
}

#[tokio::test]
async fn each_note_is_a_resource_and_can_be_summarised() {
    let session = Session::open(ClientLifecycleMode::Initialize).await;
    session.call("add", json!({"title": "Grüße 2", "text": "Hello."})).await;
    session.client.service().changed.notified().await;

    let resources = session.client.list_all_resources().await.unwrap();
    assert_eq!(resources[0].uri, "note:///gr%C3%BC%C3%9Fe-2");
    let read = session.client.read_resource(ReadResourceRequestParams::new(&resources[0].uri)).await.unwrap();
    let ResourceContents::TextResourceContents { text, mime_type, .. } = &read.contents[0] else {
        panic!("{read:?}");
    };
    assert_eq!((text.as_str(), mime_type.as_deref()), ("# Grüße 2\n\nHello.\n", Some(MARKDOWN)));
    for uri in ["note:///absent", "note:///..%2Fx", "file:///etc/passwd"] {
        assert!(session.client.read_resource(ReadResourceRequestParams::new(uri)).await.is_err(), "{uri}");
    }

    let Value::Object(arguments) = json!({"name": "grüße-2"}) else { unreachable!() };
    let asked = GetPromptRequestParams::new("summarise").with_arguments(arguments);
    let prompt = session.client.get_prompt(asked).await.unwrap();
    assert_eq!(prompt.messages.len(), 2);
    for reference in [Reference::for_prompt("summarise"), Reference::for_resource(address::TEMPLATE)] {
        let complete = CompleteRequestParams::new(reference, ArgumentInfo::new("name", "gr"));
        assert_eq!(session.client.complete(complete).await.unwrap().completion.values, ["grüße-2"]);
    }
}

#[tokio::test]
async fn a_listening_client_of_the_new_revision_hears_of_new_notes() {
    let session = Session::open(stateless()).await;
    let filter = SubscriptionFilter::builder().resources_list_changed().build();
    let mut subscription = session.client.listen(filter).await.unwrap();
    session.call("add", json!({"title": "News", "text": ""})).await;
    let heard = subscription.next().await.unwrap();
    assert!(matches!(heard, Some(ServerNotification::ResourceListChangedNotification(_))), "{heard:?}");
}
