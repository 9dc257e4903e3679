//! Workflows that are components: typed code, and code that is wrong in its own way.

use std::time::Duration;

use serde_json::json;
use vmcp_tests::{FakeBackend, Mcp, TestHost, host::HostBuilder, process::workspace_dir};

use crate::assembled::{Assembled, assembly, guest};

/// A host that runs the component `guest` as the tool `guest`, beside one that is made of steps.
fn host_with(guest: &str, keys: &str) -> HostBuilder {
    let guests = workspace_dir().join("tests/guests");
    let yaml = format!(
        "
plugins: [{{ name: mine, source: {guests}/{guest}.wasm{keys} }}]
compositeTools:
  - {{ name: guest, workflow: mine }}
  - {{ name: honest, description: Calls, steps: [{{ id: one, tool: echo, arguments: {{ n: 1 }} }}] }}
",
        guests = guests.display()
    );
    TestHost::builder().backend("echo", FakeBackend::echo(["echo", "other"])).yaml(&yaml)
}

#[tokio::test]
async fn a_workflow_that_misbehaves_ends_with_an_error_and_others_go_on() {
    let check = async |guest: &str, keys: &str, expected: &str| {
        let host = host_with(guest, keys).start().await;
        let (legacy, modern) = (host.connect().await, host.connect_modern());
        for client in [&legacy, &modern] {
            let (wrong, honest) = tokio::join!(client.call("guest", json!({})), client.call("honest", json!({})));
            assert_eq!(wrong.result()["isError"], true, "{guest}: {}", wrong.raw);
            assert!(wrong.text().contains(expected), "{guest}: {}", wrong.text());
            assert_eq!(honest.result()["isError"], false, "{guest}: {}", honest.raw);
        }
    };
    let soon = ", limits: { runningTime: 300ms }";
    check("run-loops", soon, "`mine 0.1.0` was ended: 300ms running time").await;
    check("run-allocates", "", "was ended: 64 MiB memory").await;
    check("run-panics", "", "this workflow always panics").await;
    check("run-gives-50-mib", ", limits: { memory: 256MiB }", "was ended: 10 MiB output").await;
    check("run-gives-nonsense", "", "the result is no tool result").await;
    check("run-ungranted", "", "the grant of `guest` does not cover `other`").await;
    check("run-calls-without-end", ", limits: { runningTime: 60s }", "a run may make 5000 tool calls, and has").await;
}

#[tokio::test]
async fn those_that_compute_within_others_leave_time_for_everybody() {
    let builder = host_with("run-loops", ", limits: { runningTime: 3s }");
    let outer = "  - { name: outer, description: Calls, steps: [{ id: one, type: workflow, workflow: guest }] }\n";
    let host = builder.yaml(outer).start().await;
    let client = host.connect_modern();
    // More than the host has threads, each within a run that has nothing to do but to wait for it.
    let loops = futures::future::select_all((0..16).map(|_| Box::pin(client.call("outer", json!({})))));
    let honest = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.call("honest", json!({})).await
    };
    tokio::select! {
        biased;
        (ended, ..) = loops => panic!("a loop ended before the other call: {}", ended.raw),
        reply = honest => assert_eq!(reply.result()["isError"], false, "{}", reply.raw),
    }
}

#[tokio::test]
async fn what_the_configuration_grants_replaces_what_a_workflow_declares() {
    let host = host_with("run-ungranted", ", grants: { tools: [echo/other] }").start().await;
    let reply = host.connect().await.call("guest", json!({ "n": 1 })).await;
    assert_eq!(reply.text(), r#"{"n":1}"#);
}

#[tokio::test]
async fn a_marked_interpreter_runs_what_is_made_of_steps() {
    let yaml = "compositeTools: [{ name: honest, description: Calls, steps: [{ id: one, tool: echo }] }]";
    let written = TestHost::builder().backend("echo", FakeBackend::echo(["echo"]).http()).yaml(yaml).write().await;
    let marked = assembly(&written).component("workflow-yaml", guest("marked-workflow"));
    let host = Assembled::start(marked).await;
    let reply = host.connect_modern().call("honest", json!({})).await;
    assert_eq!(reply.text(), "MARK");
    host.stop().await;

    let resolver = vmcp_host::carried_component("smart").unwrap();
    let without = assembly(&written).without_components().component("smart", resolver);
    let error = without.build().await.err().unwrap();
    let message = format!("{error:#}");
    assert!(message.contains("needs the component `workflow-yaml`, which is not loaded"), "{message}");
}

#[tokio::test]
async fn the_example_takes_the_first_answer_and_asks_again_with_fewer_words() {
    let example = workspace_dir().join("examples/plugins/first-find.wasm");
    let yaml = format!(
        "
plugins: [{{ name: first-find, source: {} }}]
compositeTools:
  - {{ name: look, workflow: first-find, config: {{ tools: [notes.search, tasks.search] }} }}
",
        example.display()
    );
    let builder = TestHost::builder();
    let (notes, tasks) = (builder.dir().join("notes"), builder.dir().join("tasks.json"));
    std::fs::create_dir(&notes).unwrap();
    let server = |name: &str, variable: &str, place: &std::path::Path| json!({ "name": name, "command": "vmcp-host", "args": ["example-server", name], "env": { variable: place } });
    let builder = builder.entry(server("notes", "NOTES_DIR", &notes)).entry(server("tasks", "TASKS_FILE", &tasks));
    let host = builder.yaml(&yaml).start().await;
    let client = host.connect().await;
    client.call("notes_add", json!({ "title": "Green tea", "text": "Two minutes." })).await;
    let found = client.call("look", json!({ "query": "green tea from Uji" })).await;
    let found = &found.result()["structuredContent"];
    assert_eq!((&found["tool"], &found["query"]), (&json!("notes.search"), &json!("green tea")), "{found}");
    let nothing = client.call("look", json!({ "query": "coffee" })).await;
    assert_eq!(nothing.result()["isError"], true, "{}", nothing.raw);
}
