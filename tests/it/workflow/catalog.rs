//! Composite tools among the tools of the backends: when they are listed, as what, and how they call each other.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, Era, FakeBackend, Mcp, TestHost, eventually, process::PATIENCE};

use super::{assert_refused, composites, failure, host_of, refusal, run};

/// A composite tool of one step, which calls `tool`.
fn calling(tool: &str) -> String {
    format!("steps: [{{ id: s, tool: {tool} }}]")
}

#[tokio::test]
async fn cmp_03_a_composite_tool_is_a_tool_like_any_other() {
    let keys = "parameters: { type: object, properties: { team: { type: string, default: sre } } }, steps: [
        { id: one, tool: echo, arguments: { team: '{{.params.team}}' } },
        { id: two, tool: b.echo, dependsOn: [one], arguments: { said: '{{.steps.one.output.text}}' } } ]";
    let (host, _calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("triage", keys)])).await;
    for client in [host.connect().await, host.connect_modern()] {
        let listed = client.tools().await.into_iter().find(|tool| tool["name"] == "triage").unwrap();
        assert_eq!(listed["description"], "d");
        assert_eq!(listed["inputSchema"]["properties"]["team"]["default"], "sre");
        let output = run(&client, "triage", json!({})).await;
        assert_eq!(output["text"], r#"{"said":"{\"team\":\"sre\"}"}"#);
    }
}

#[tokio::test]
async fn cmp_03_a_composite_is_there_over_stdio_too() {
    let written = TestHost::builder()
        .backend("b", FakeBackend::echo(["echo"]))
        .yaml(&composites(&[
            ("works", &calling("echo")),
            ("fails", "steps: [{ id: s, tool: echo, condition: perhaps }]"),
        ]))
        .write()
        .await;
    for era in [Era::Legacy, Era::Modern] {
        let client = written.serve_stdio(era).await;
        assert_eq!(run(&client, "works", json!({})).await, json!({ "text": "{}" }));
        assert!(failure(&client, "fails", json!({})).await.contains("step `s` failed: condition: "));
    }
}

#[tokio::test]
async fn cmp_03_a_composite_is_absent_until_all_tools_of_its_steps_are_there() {
    let each = "steps: [{ id: s, type: forEach, collection: '[1]', step: { tool: b.added_0 } }]";
    let tools = composites(&[
        ("early", &calling("echo")),
        ("later", &calling("added_0")),
        ("later_each", each),
        ("later_still", &calling("later")),
        ("never", "steps: [{ id: r, tool: echo }, { id: s, tool: nowhere.tool }]"),
    ]);
    let backend = FakeBackend::echo(["echo"]).tool("grow", Behaviour::AddTool);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["early", "echo", "grow"]);
    assert_eq!(client.call("later", json!({})).await.error()["code"], -32602);
    host.wait_for_log("there is no tool `nowhere.tool` now").await;
    let mut stream = client.listen().await;
    client.call("grow", json!({})).await;
    stream.wait_for("notifications/tools/list_changed").await;
    let all = ["added_0", "early", "echo", "grow", "later", "later_each", "later_still"];
    eventually("the tools of the steps", PATIENCE, || async { client.tool_names().await == all }).await;
    calls.clear();
    for tool in ["later", "later_each", "later_still"] {
        run(&client, tool, json!({})).await;
    }
    assert_eq!(calls.tools(), ["added_0"; 3]);
}

#[tokio::test]
async fn cmp_03_a_composite_appears_with_the_backend_of_its_steps() {
    let builder = TestHost::builder();
    let marker = builder.dir().join("down");
    std::fs::write(&marker, "").unwrap();
    let late = FakeBackend::echo(["find"]).with(|spec| spec.down_while = Some(marker.clone()));
    let builder = builder.backend("sound", FakeBackend::echo(["echo"])).backend("late", late);
    let host =
        builder.yaml(&composites(&[("dotted", &calling("late.find")), ("plain", &calling("find"))])).start().await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["echo"]);
    std::fs::remove_file(&marker).unwrap();
    let all = ["dotted", "echo", "find", "plain"];
    eventually("the late backend's tools", PATIENCE, || async { client.tool_names().await == all }).await;
    run(&client, "dotted", json!({})).await;
    run(&client, "plain", json!({})).await;
}

#[tokio::test]
async fn cmp_03_a_dotted_name_leads_to_the_same_tool_under_every_conflict_strategy() {
    for strategy in ["prefix", "priority, conflictResolutionConfig: { priorityOrder: [two, one] }"] {
        let yaml = format!(
            "aggregation: {{ conflictResolution: {strategy} }}\n{}",
            composites(&[("picks", &calling("one.search"))])
        );
        let [one, two] = ["one", "two"].map(|name| (name, FakeBackend::echo(["search"])));
        let builder = TestHost::builder();
        let calls = vmcp_tests::Recording::in_dir(builder.dir());
        let host = builder.backend(one.0, one.1.record(&calls)).backend(two.0, two.1).yaml(&yaml).start().await;
        run(&host.connect().await, "picks", json!({})).await;
        assert_eq!(calls.tools(), ["search"], "{strategy}");
    }
}

#[tokio::test]
async fn cmp_04_limits_are_kept_when_the_file_is_read() {
    let many: Vec<_> = (0..101).map(|index| format!("{{ id: s{index}, tool: a }}")).collect();
    assert_refused(&many.join("\n"), "6:7", "100").await;
    assert_refused("{ id: s, tool: a, onError: { action: retry, retryCount: 11 } }", "6:65", "at most 10").await;
    assert_refused("{ id: s, tool: a, onError: { action: retry } }", "6:27", "at least 1").await;
    let each = |keys: &str| format!("{{ id: s, type: forEach, {keys}, collection: '[]', step: {{ tool: a }} }}");
    assert_refused(&each("maxIterations: 1001"), "6:48", "at most 1000").await;
    assert_refused(&each("maxParallel: 51"), "6:46", "at most 50").await;
    assert_refused(&each("itemVar: index"), "6:42", "`index` cannot name the element").await;
    assert_refused(&each("itemVar: 1st"), "6:42", "`1st` cannot name the element").await;
    let looped =
        "{ id: s, type: forEach, collection: '[]', step: { type: forEach, collection: '[]', step: { tool: a } } }";
    assert_refused(looped, "6:65", "a loop repeats a step of type `tool`, `workflow` or `transform`").await;
    assert_refused("{ id: s, tool: a, timeout: -1s }", "6:36", "-1s").await;
    let nested = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    let said =
        refusal(&composites(&[("t", &format!("steps: [{{ id: s, tool: a, arguments: {{ x: {nested} }} }}]"))])).await;
    assert!(said.contains("vmcp.yaml:3:") && said.contains("nested deeper than 64"), "{said}");
    let said = refusal(&composites(&[("t", "steps: []")])).await;
    assert!(said.contains("`steps` needs at least one step"), "{said}");
    let said = refusal(&composites(&[("t", &calling("a")), ("t", &calling("a"))])).await;
    assert!(said.contains("vmcp.yaml:4:13: compositeTools[1].name"), "{said}");
    let said = refusal(&composites(&[("t", &format!("parameters: {{ properties: {{}} }}, {}", calling("a")))])).await;
    assert!(said.contains("the schema must have `type: object`"), "{said}");
    let said = refusal(&composites(&[("t", &format!("failureMode: continue, {}", calling("a")))])).await;
    assert!(said.contains("vmcp.yaml:3:32: compositeTools[0].failureMode"), "{said}");
}

#[tokio::test]
async fn cmp_04_a_hundred_steps_are_allowed() {
    let steps: Vec<_> = (0..100).map(|index| format!("{{ id: s{index}, tool: echo }}")).collect();
    let (host, calls) =
        host_of(FakeBackend::echo(["echo"]), &composites(&[("many", &format!("steps: [{}]", steps.join(", ")))])).await;
    run(&host.connect().await, "many", json!({})).await;
    assert_eq!(calls.tools().len(), 100);
}

/// Tools with different hints, and one without any.
fn hinting() -> FakeBackend {
    let hints = |read_only: bool, destructive: bool, open_world: bool| {
        let hints = json!({ "readOnlyHint": read_only, "destructiveHint": destructive, "openWorldHint": open_world });
        json!({ "annotations": hints })
    };
    FakeBackend::new()
        .defined("reads", hints(true, false, false), Behaviour::Echo)
        .defined("reads_web", hints(true, false, true), Behaviour::Echo)
        .defined("writes", hints(false, false, false), Behaviour::Echo)
        .defined("erases", hints(false, true, false), Behaviour::Echo)
        .defined("unknown", json!({}), Behaviour::Echo)
}

#[tokio::test]
async fn cmp_19_a_composite_is_as_harmless_as_the_worst_of_its_tools() {
    let both = |one: &str, other: &str| format!("steps: [{{ id: r, tool: b.{one} }}, {{ id: s, tool: b.{other} }}]");
    let declared =
        |annotations: &str, tool: &str| format!("annotations: {{ {annotations} }}, {}", calling(&format!("b.{tool}")));
    let tools = composites(&[
        ("just_reads", &calling("b.reads")),
        ("reads_abroad", &both("reads", "reads_web")),
        ("changes", &both("reads", "writes")),
        ("destroys", &both("erases", "reads")),
        ("who_knows", &both("reads", "unknown")),
        ("each", "steps: [{ id: s, type: forEach, collection: '[]', step: { tool: b.erases } }]"),
        ("around", &calling("destroys")),
        ("granted", &format!("grants: {{ tools: ['b/*'] }}, {}", calling("b.reads"))),
        ("asks", "steps: [{ id: s, type: elicitation, message: m, schema: { type: object, properties: {} } }]"),
        (
            "merged",
            &declared("title: A title, idempotentHint: true, readOnlyHint: false, openWorldHint: true", "reads"),
        ),
        ("too_safe_read", &declared("readOnlyHint: true", "writes")),
        ("too_safe_destructive", &declared("destructiveHint: false", "unknown")),
        ("too_safe_world", &declared("openWorldHint: false", "reads_web")),
    ]);
    for aggregation in ["", "aggregation: { excludeAllTools: true }"] {
        let (host, _calls) = host_of(hinting(), &format!("{aggregation}\n{tools}")).await;
        for client in [host.connect().await, host.connect_modern()] {
            let listed = client.tools().await;
            let check = |name: &str, [read_only, destructive, open_world]: [bool; 3]| {
                let tool = listed.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("no {name}"));
                let hints =
                    ["readOnlyHint", "destructiveHint", "openWorldHint"].map(|hint| tool["annotations"][hint].clone());
                assert_eq!(hints, [read_only, destructive, open_world].map(Value::Bool), "{name}: {tool}");
            };
            check("just_reads", [true, false, false]);
            check("reads_abroad", [true, false, true]);
            check("changes", [false, false, false]);
            check("destroys", [false, true, false]);
            check("who_knows", [false, true, true]);
            check("each", [false, true, false]);
            check("around", [false, true, false]);
            check("granted", [false, true, true]);
            check("asks", [true, false, false]);
            check("merged", [false, false, true]);
            let merged = listed.iter().find(|tool| tool["name"] == "merged").unwrap();
            assert_eq!(
                (&merged["annotations"]["title"], &merged["annotations"]["idempotentHint"]),
                (&json!("A title"), &json!(true))
            );
            assert!(!listed.iter().any(|tool| tool["name"].as_str().unwrap().starts_with("too_safe")), "{listed:?}");
        }
        for tool in ["too_safe_read", "too_safe_destructive", "too_safe_world"] {
            let line = |line: &str| {
                line.contains("WARN") && line.contains(tool) && line.contains("is safer than the tools it calls")
            };
            assert!(host.stderr().lines().any(line), "{tool}: {}", host.stderr());
        }
    }
}

#[tokio::test]
async fn cmp_20_a_name_that_a_backend_has_hides_that_one_composite() {
    let tools = composites(&[("echo", &calling("b.other")), ("free", &calling("b.other"))]);
    let (host, calls) = host_of(FakeBackend::echo(["echo", "other"]), &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        assert_eq!(client.tool_names().await, ["echo", "free", "other"]);
        assert_eq!(client.call("echo", json!({})).await.answered_by(), "b");
        run(&client, "free", json!({})).await;
    }
    assert_eq!(calls.tools(), ["echo", "other", "echo", "other"]);
    host.wait_for_log("the backend `b` has a tool of this name").await;
    assert!(
        host.stderr().lines().any(|line| line.contains("WARN") && line.contains("composite=\"echo\"")),
        "{}",
        host.stderr()
    );
}

#[tokio::test]
async fn cmp_20_a_composite_gives_way_to_a_tool_that_comes_later() {
    let backend = FakeBackend::echo(["echo"]).tool("grow", Behaviour::AddTool);
    let tools = composites(&[("added_0", &calling("echo")), ("free", &calling("echo"))]);
    let (host, _calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    run(&client, "added_0", json!({})).await;
    let mut stream = client.listen().await;
    client.call("grow", json!({})).await;
    stream.wait_for("notifications/tools/list_changed").await;
    assert_eq!(client.tool_names().await, ["added_0", "echo", "free", "grow"]);
    assert_eq!(client.call("added_0", json!({})).await.answered_by(), "b");
}

#[tokio::test]
async fn cmp_21_composites_call_each_other_and_share_the_questions_and_the_end() {
    let inner = "parameters: { type: object, properties: { n: { type: integer, default: 2 } } },
        steps: [{ id: s, tool: echo, arguments: { n: '{{.params.n}}' } }]";
    let outer = "steps: [
        { id: one, tool: inner, arguments: { n: '{{.params.n}}' } },
        { id: two, tool: inner, dependsOn: [one] },
        { id: last, tool: echo, dependsOn: [two], arguments: { got: '{{.steps.one.output.text}}' } } ]";
    let backend = FakeBackend::echo(["echo"]).tool("fails", Behaviour::ToolError).tool("never", Behaviour::Never);
    let tools = composites(&[
        ("outer", outer),
        ("inner", inner),
        ("bad_outer", &calling("bad_inner")),
        ("bad_inner", &calling("fails")),
        ("slow_outer", "steps: [{ id: s, tool: slow_inner, timeout: 300ms }]"),
        ("slow_inner", &calling("never")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        calls.clear();
        run(&client, "outer", json!({ "n": 1 })).await;
        assert_eq!(
            calls.arguments("echo"),
            [json!({ "n": "1" }), json!({ "n": "2" }), json!({ "got": r#"{"n":"1"}"# })]
        );
        let said = failure(&client, "bad_outer", json!({})).await;
        assert!(said.contains("step `s` failed: tool `bad_inner`: "), "{said}");
        assert!(said.ends_with("step `s` failed: tool `fails`: it did not work"), "{said}");
        failure(&client, "slow_outer", json!({})).await;
        calls.wait_for("cancelled never").await;
    }
}

#[tokio::test]
async fn cmp_21_composites_that_call_themselves_are_never_listed_and_deep_ones_end() {
    let mut tools = vec![
        ("again".to_owned(), calling("again")),
        ("ping".to_owned(), calling("pong")),
        ("pong".to_owned(), calling("ping")),
        ("depth0".to_owned(), calling("echo")),
    ];
    tools.extend((1..9).map(|depth| (format!("depth{depth}"), calling(&format!("depth{}", depth - 1)))));
    let tools: Vec<_> = tools.iter().map(|(name, keys)| (name.as_str(), keys.as_str())).collect();
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&tools)).await;
    let client = host.connect().await;
    let names = client.tool_names().await;
    assert!(
        names.contains(&"depth8".to_owned()) && !names.iter().any(|name| name == "again" || name == "ping"),
        "{names:?}"
    );
    run(&client, "depth7", json!({})).await;
    assert_eq!(calls.tools(), ["echo"]);
    let said = failure(&client, "depth8", json!({})).await;
    assert!(
        said.contains("8 composite tools may run inside each other") && said.contains("`depth8` → `depth7`"),
        "{said}"
    );
    assert_eq!(calls.tools(), ["echo"]);
}

#[tokio::test]
async fn cmp_03_a_search_finds_composites_and_the_tool_that_calls_runs_them() {
    let yaml = "optimizer: {}
compositeTools:
  - name: morning_report
    description: Collects open incidents and sends them to the team's channel
    parameters: { type: object, properties: { team: { type: string } } }
    steps: [{ id: s, tool: echo, arguments: { to: '{{.params.team}}' } }]";
    let (host, calls) = host_of(FakeBackend::echo(["echo", "other"]), yaml).await;
    for client in [host.connect().await, host.connect_modern()] {
        assert_eq!(client.tool_names().await, ["find_tool", "call_tool"]);
        let found = client.call("find_tool", json!({ "tool_description": "send open incidents to the team" })).await;
        let tools = found.result()["structuredContent"]["tools"].as_array().unwrap_or_else(|| panic!("{}", found.raw));
        assert_eq!(tools[0]["name"], "morning_report", "{}", found.raw);
        calls.clear();
        let reply =
            client.call("call_tool", json!({ "tool_name": "morning_report", "parameters": { "team": "sre" } })).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
        assert_eq!(calls.arguments("echo"), [json!({ "to": "sre" })]);
        run(&client, "morning_report", json!({ "team": "ops" })).await;
    }
}
