//! Many servers as one: names, filters, overrides, and a catalog that follows its backends.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, Mcp, TestHost, eventually, process::PATIENCE};

#[tokio::test]
async fn equal_tool_names_get_the_backend_as_prefix() {
    let search = || FakeBackend::echo(["search"]);
    let host = TestHost::builder()
        .backend("github", search())
        .backend("jira", search())
        .yaml("aggregation: { conflictResolution: prefix }")
        .start()
        .await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["github_search", "jira_search"]);
    assert_eq!(client.call("jira_search", json!({ "q": "x" })).await.answered_by(), "jira");
    assert_eq!(client.call("github_search", json!({ "q": "x" })).await.answered_by(), "github");
}

#[tokio::test]
async fn a_file_that_says_nothing_renames_only_what_clashes() {
    let host = TestHost::builder()
        .backend("github", FakeBackend::echo(["search", "issues"]))
        .backend("jira", FakeBackend::echo(["search", "boards"]))
        .start()
        .await;
    let names = host.connect().await.tool_names().await;
    assert!(["boards", "issues"].iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    assert!(!names.contains(&"search".to_owned()) && names.len() == 4, "{names:?}");
}

#[tokio::test]
async fn priority_gives_the_name_to_the_first_of_the_order() {
    let host = TestHost::builder()
        .backend("a", FakeBackend::echo(["search", "only_a"]))
        .backend("b", FakeBackend::echo(["search", "only_b"]))
        .yaml("aggregation: { conflictResolution: priority, conflictResolutionConfig: { priorityOrder: [b, a] } }")
        .start()
        .await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["only_a", "only_b", "search"]);
    assert_eq!(client.call("search", json!({})).await.answered_by(), "b");
}

#[tokio::test]
async fn manual_refuses_names_that_the_file_leaves_open() {
    let host = |overrides: &str| {
        TestHost::builder()
            .backend("a", FakeBackend::echo(["search"]))
            .backend("b", FakeBackend::echo(["search"]))
            .yaml(&format!("aggregation:\n  conflictResolution: manual\n  tools: {overrides}"))
    };
    let ended = host("[{ workload: a, overrides: { other: { name: another } } }]").fail().await;
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("search") && ended.stderr.contains("manual"), "{}", ended.stderr);

    let settled = host("[{ workload: b, overrides: { search: { name: find } } }]").start().await;
    let client = settled.connect().await;
    assert_eq!(client.tool_names().await, ["find", "search"]);
    assert_eq!(client.call("find", json!({})).await.answered_by(), "b");
}

#[tokio::test]
async fn filters_and_overrides_decide_what_is_shown() {
    let host = TestHost::builder()
        .backend("a", FakeBackend::echo(["one", "two", "three"]))
        .backend("b", FakeBackend::echo(["four"]))
        .backend("c", FakeBackend::echo(["five"]))
        .yaml(
            "aggregation:
  defaultToolVisibility: deny
  tools:
    - workload: a
      filter: [uno, two]
      overrides:
        one: { name: uno, description: the first, annotations: { title: Uno, readOnlyHint: false } }
    - { workload: b, excludeAll: true }",
        )
        .start()
        .await;
    let client = host.connect().await;
    let tools = client.tools().await;
    assert_eq!(client.tool_names().await, ["two", "uno"]);
    let uno = &tools[1];
    assert_eq!((&uno["description"], &uno["annotations"]["title"]), (&json!("the first"), &json!("Uno")));
    assert_eq!(uno["annotations"]["readOnlyHint"], false);
    assert_eq!(uno["annotations"]["xFutureHint"], "kept", "what is not overridden stays");
    assert_eq!(uno["xFuture"], tools[0]["xFuture"]);
    let reply = client.call("uno", json!({ "message": "x" })).await;
    assert_eq!(reply.result()["_meta"]["example.com/tool"], "one", "the backend hears its own name");
    for hidden in ["one", "three", "four", "five"] {
        assert!(client.call(hidden, json!({})).await.message.get("error").is_some(), "{hidden}");
    }
}

#[tokio::test]
async fn parameters_can_be_fixed_hidden_and_given_a_default() {
    let host = TestHost::builder()
        .backend("a", FakeBackend::echo(["echo"]))
        .yaml(
            "aggregation:
  tools:
    - workload: a
      overrides:
        echo: { parameters: { message: { fixed: always this }, secret: { hidden: true } } }",
        )
        .start()
        .await;
    let client = host.connect().await;
    let tool = client.tools().await.remove(0);
    assert!(tool["inputSchema"]["properties"].get("message").is_none(), "{tool}");
    let reply = client.call("echo", json!({ "message": "mine", "secret": 1, "other": 2 })).await;
    let seen: Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!(seen, json!({ "message": "always this", "other": 2 }));
}

#[tokio::test]
async fn every_page_of_a_list_is_read() {
    let names = ["t00", "t01", "t02", "t03", "t04", "t05", "t06"];
    let host = TestHost::builder()
        .backend("paged", FakeBackend::echo(names).with(|spec| spec.page_size = Some(3)))
        .start()
        .await;
    assert_eq!(host.connect().await.tool_names().await, names);
}

#[tokio::test]
async fn a_backend_that_repeats_its_cursor_fails_alone() {
    let host = TestHost::builder()
        .backend("endless", FakeBackend::echo(["again"]).with(|spec| spec.repeats_cursor = true))
        .backend("sound", FakeBackend::echo(["fine"]))
        .start()
        .await;
    assert_eq!(host.connect().await.tool_names().await, ["fine"]);
    assert_ne!(host.backend_status("endless").await["health"], "healthy");
}

#[tokio::test]
async fn instructions_of_all_backends_are_merged() {
    let with = |text: &str| FakeBackend::echo(["x"]).with(|spec| spec.instructions = Some(text.to_owned()));
    let host = TestHost::builder().backend("a", with("Use a wisely.")).backend("b", with("B is slow.")).start().await;
    let instructions = host.connect().await.initialized["instructions"].as_str().unwrap().to_owned();
    assert!(instructions.contains("Use a wisely.") && instructions.contains("B is slow."), "{instructions}");
    let discovered = host.connect_modern().request("server/discover", json!({})).await;
    assert_eq!(discovered.result()["instructions"], json!(instructions));
}

#[tokio::test]
async fn a_changed_list_reaches_clients_of_both_eras() {
    for backend in [
        FakeBackend::new(),
        FakeBackend::new().http(),
        FakeBackend::new().modern(),
        FakeBackend::new().modern().http(),
        FakeBackend::new().sse(),
    ] {
        let what = format!("{:?} {:?}", backend.spec.era, backend.spec.transport);
        let host = TestHost::builder().backend("growing", backend.tool("grow", Behaviour::AddTool)).start().await;
        let (legacy, modern) = (host.connect().await, host.connect_modern());
        let (mut old_stream, mut new_stream) = (legacy.listen().await, modern.listen().await);
        assert_eq!(legacy.call("grow", json!({})).await.text(), "added_0", "{what}");
        old_stream.wait_for("notifications/tools/list_changed").await;
        let changed = new_stream.wait_for("notifications/tools/list_changed").await;
        assert!(changed["params"]["_meta"].get("io.modelcontextprotocol/subscriptionId").is_some(), "{changed}");
        assert_eq!(modern.tool_names().await, ["added_0", "grow"], "{what}");
        assert_eq!(modern.call("added_0", json!({})).await.answered_by(), "growing", "{what}");
    }
}

#[tokio::test]
async fn a_backend_that_comes_later_is_added_and_clients_are_told() {
    let builder = TestHost::builder();
    let marker = builder.dir().join("down");
    std::fs::write(&marker, "").unwrap();
    let late = FakeBackend::echo(["late"]).with(|spec| spec.down_while = Some(marker.clone()));
    let host = builder.backend("sound", FakeBackend::echo(["fine"])).backend("late", late).start().await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["fine"]);
    let mut stream = client.listen().await;
    std::fs::remove_file(&marker).unwrap();
    stream.wait_for("notifications/tools/list_changed").await;
    assert_eq!(client.tool_names().await, ["fine", "late"]);
    assert_eq!(client.call("late", json!({})).await.answered_by(), "late");
}

#[tokio::test]
async fn a_backend_that_is_down_keeps_its_names_over_a_restart() {
    let builder = TestHost::builder();
    let marker = builder.dir().join("down");
    let search = || FakeBackend::echo(["search"]);
    let host = builder
        .backend("a", search().with(|spec| spec.down_while = Some(marker.clone())))
        .backend("b", search())
        .start()
        .await;
    let before = host.connect().await.tool_names().await;
    assert_eq!(before.len(), 2);
    std::fs::write(&marker, "").unwrap();
    let host = host.restart().await;
    let client = host.connect().await;
    let name_of_b = before.iter().find(|name| name.contains('b')).unwrap();
    assert_eq!(client.call(name_of_b, json!({})).await.answered_by(), "b");
    assert!(!client.tool_names().await.contains(&"search".to_owned()), "an outage renames nothing");
    std::fs::remove_file(&marker).unwrap();
    eventually("both backends are back", PATIENCE, || async { client.tool_names().await == before }).await;
}

#[tokio::test]
async fn a_uri_prefix_serves_two_accounts_of_one_server() {
    let account = || FakeBackend::echo(["x"]).resource("notes://today");
    let host = TestHost::builder()
        .backend("home", account())
        .backend_with("work", account(), json!({ "resources": { "uriPrefix": "work+" } }))
        .start()
        .await;
    let client = host.connect().await;
    let mut uris: Vec<_> =
        client.list("resources/list", "resources").await.iter().map(|one| one["uri"].clone()).collect();
    uris.sort_by_key(ToString::to_string);
    assert_eq!(uris, ["notes://today", "work+notes://today"]);
    for (uri, text) in [("notes://today", "notes://today of home"), ("work+notes://today", "notes://today of work")] {
        let reply = client.request("resources/read", json!({ "uri": uri })).await;
        assert_eq!(reply.result()["contents"][0]["text"], text);
    }
}

#[tokio::test]
async fn a_client_file_with_mcp_servers_is_taken_as_it_is() {
    let builder = TestHost::builder().env("TOKEN_NAME", "from_env");
    let command = FakeBackend::echo(["imported"]).with(|spec| spec.name = "imported".to_owned()).command();
    let server = json!({ "command": command[0], "args": command[1..], "env": { "TOKEN": "${TOKEN_NAME}" } });
    std::fs::write(builder.dir().join("mcp.json"), json!({ "mcpServers": { "desk": server } }).to_string()).unwrap();
    let host = builder.yaml("backendsFrom: mcp.json").start().await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["imported"]);
    assert_eq!(client.call("imported", json!({})).await.answered_by(), "imported");
}

#[tokio::test]
async fn prompts_and_completions_are_routed_to_their_backend() {
    let host = TestHost::builder()
        .backend("a", FakeBackend::echo(["x"]).prompt("greet"))
        .backend("b", FakeBackend::echo(["y"]).prompt("part"))
        .start()
        .await;
    for client in [host.connect().await, host.connect_modern()] {
        let prompts = client.list("prompts/list", "prompts").await;
        let name = |end: &str| {
            let names = prompts.iter().filter_map(|prompt| prompt["name"].as_str());
            names.into_iter().find(|name| name.ends_with(end)).unwrap().to_owned()
        };
        let reply = client.request("prompts/get", json!({ "name": name("part"), "arguments": {} })).await;
        assert_eq!(reply.answered_by(), "b");
        let reference = json!({ "type": "ref/prompt", "name": name("greet") });
        let argument = json!({ "name": "who", "value": "m" });
        let reply = client.request("completion/complete", json!({ "ref": reference, "argument": argument })).await;
        assert_eq!(reply.result()["completion"]["values"], json!(["m-a"]));
    }
}
