//! Steps that repeat a call for each element of a list.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, ScriptedReply};

use super::{composites, failure, host_of, most_at_a_time, run};

#[tokio::test]
async fn cmp_16_each_element_is_one_call_under_the_name_that_was_given() {
    let number = json!({ "inputSchema": { "type": "object", "properties": { "at": { "type": "integer" } } } });
    let backend = FakeBackend::new()
        .defined("echo", number, Behaviour::Echo)
        .scripted("list", [ScriptedReply::structured(&json!({ "found": [{ "name": "x" }, { "name": "y" }] }))]);
    let named = "steps: [
        { id: list, tool: list },
        { id: each, type: forEach, dependsOn: [list], collection: '{{json .steps.list.output.found}}',
            itemVar: alert, maxParallel: 1,
          step: { id: one, tool: echo, arguments: { at: '{{.forEach.index}}',
              what: '{{.forEach.alert.name}} of {{.params.team}}' } } } ]";
    let plain = "steps: [{ id: each, type: forEach, collection: '{{json .params.list}}', step: { tool: echo,
        arguments: { at: '{{.forEach.item}}' } } }]";
    let (host, calls) = host_of(backend, &composites(&[("named", named), ("plain", plain)])).await;
    let client = host.connect().await;
    let output = run(&client, "named", json!({ "team": "sre" })).await;
    let [x, y] = [json!({ "at": 0, "what": "x of sre" }), json!({ "at": 1, "what": "y of sre" })];
    assert_eq!(calls.arguments("echo"), [x.clone(), y.clone()]);
    let iteration = |index: usize, name: &str, said: &Value| {
        let said: Value = serde_json::from_str(said["text"].as_str().unwrap()).unwrap();
        assert_eq!(said, [&x, &y][index].clone());
        let said = &output["iterations"][index]["output"];
        json!({ "index": index, "item": { "name": name }, "status": "completed", "output": said })
    };
    let iterations =
        [iteration(0, "x", &output["iterations"][0]["output"]), iteration(1, "y", &output["iterations"][1]["output"])];
    assert_eq!(output, json!({ "count": 2, "completed": 2, "failed": 0, "iterations": iterations }));

    let empty = json!({ "count": 0, "completed": 0, "failed": 0, "iterations": [] });
    assert_eq!(run(&client, "plain", json!({ "list": [] })).await, empty);
    calls.clear();
    let output = run(&client, "plain", json!({ "list": [5, 6, "z"] })).await;
    let items: Vec<_> = output["iterations"].as_array().unwrap().iter().map(|one| &one["item"]).collect();
    assert_eq!(items, [&json!(5), &json!(6), &json!("z")], "in the order of the list, whichever ended first");
    let mut seen: Vec<_> = calls.arguments("echo").iter().map(|arguments| arguments["at"].to_string()).collect();
    seen.sort();
    assert_eq!(seen, ["\"z\"", "5", "6"]);
}

#[tokio::test]
async fn cmp_16_as_many_iterations_run_at_a_time_as_are_allowed() {
    let backend = FakeBackend::new()
        .tool("three", Behaviour::Meet { calls: 3 })
        .tool("ten", Behaviour::Meet { calls: 10 })
        .scripted("short", [ScriptedReply::text("x").after_ms(30)]);
    let each = |tool: &str, keys: &str| {
        format!(
            "steps: [{{ id: each, type: forEach, collection: '{{{{json .params.list}}}}',
                {keys} step: {{ tool: {tool} }} }}]"
        )
    };
    let tools = composites(&[
        ("three_meet", &each("three", "maxParallel: 3,")),
        ("ten_meet", &each("ten", "")),
        ("one_by_one", &each("short", "maxParallel: 1,")),
        ("four_at_most", &each("short", "maxParallel: 4,")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    run(&client, "three_meet", json!({ "list": [1, 2, 3] })).await;
    run(&client, "ten_meet", json!({ "list": vec![0; 10] })).await;
    calls.clear();
    run(&client, "one_by_one", json!({ "list": [1, 2, 3] })).await;
    assert_eq!(calls.events(), ["begin short", "end short"].repeat(3));
    calls.clear();
    run(&client, "four_at_most", json!({ "list": vec![0; 12] })).await;
    assert!(calls.tools().len() == 12 && most_at_a_time(&calls) <= 4, "{:?}", calls.events());
}

#[tokio::test]
async fn cmp_16_a_list_that_is_too_long_or_none_fails_the_step_before_any_call() {
    let each = |keys: &str| {
        format!(
            "steps: [{{ id: each, type: forEach, collection: '{{{{json .params.list}}}}',
                {keys} step: {{ tool: echo }} }}]"
        )
    };
    let tools = composites(&[
        ("two", &each("maxIterations: 2,")),
        ("usual", &each("")),
        ("most", &each("maxIterations: 1000,")),
    ]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    let client = host.connect().await;
    let check = async |tool: &str, list: Value, message: &str| {
        let said = failure(&client, tool, json!({ "list": list })).await;
        assert!(said.contains("step `each` failed: collection: ") && said.contains(message), "{said}");
    };
    check("two", json!([1, 2, 3]), "3 elements, and `maxIterations` is 2").await;
    check("usual", json!(vec![0; 101]), "101 elements, and `maxIterations` is 100").await;
    check("most", json!(vec![0; 1001]), "1001 elements, and `maxIterations` is 1000").await;
    check("usual", json!({ "a": 1 }), "it must yield a JSON array").await;
    check("usual", json!("[1, 2]"), "it must yield a JSON array").await;
    assert!(calls.tools().is_empty());
    assert_eq!(run(&client, "two", json!({ "list": [1, 2] })).await["completed"], 2);
    assert_eq!(run(&client, "most", json!({ "list": vec![0; 1000] })).await["completed"], 1000);
}

#[tokio::test]
async fn cmp_16_the_first_failure_ends_the_loop_unless_it_goes_on() {
    let (good, bad) = (ScriptedReply::text("done"), ScriptedReply::failure("broken"));
    let replies = [good.clone(), bad.clone(), good.clone()];
    let backend = FakeBackend::new()
        .scripted("second", replies.clone())
        .scripted("second_too", replies)
        .scripted("hangs", [good.clone().after_ms(600_000), bad.clone()])
        .scripted("retried", [bad, good]);
    let each = |tool: &str, keys: &str, inner: &str| {
        format!(
            "steps: [{{ id: each, type: forEach, collection: '[1, 2, 3]', maxParallel: 1,
                {keys} step: {{ tool: {tool}, {inner} }} }}]"
        )
    };
    let tools = composites(&[
        ("ends", &each("second", "", "")),
        ("goes_on", &each("second_too", "onError: { action: continue },", "")),
        (
            "cancels",
            "steps: [{ id: each, type: forEach, collection: '[1, 2, 3]', maxParallel: 2, step: { tool: hangs } }]",
        ),
        ("tries_again", &each("retried", "", "onError: { action: retry, retryCount: 1, retryDelay: 10ms }")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    let said = failure(&client, "ends", json!({})).await;
    assert!(said.ends_with("step `each` failed: iteration 1: tool `second`: broken"), "{said}");
    assert_eq!(calls.tools().len(), 2);
    let output = run(&client, "goes_on", json!({})).await;
    assert_eq!((&output["count"], &output["completed"], &output["failed"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(output["iterations"][1]["status"], "failed");
    assert_eq!(output["iterations"][1]["error"], "tool `second_too`: broken");
    assert!(output["iterations"][0].get("error").is_none() && output["iterations"][2]["output"]["text"] == "done");
    calls.clear();
    failure(&client, "cancels", json!({})).await;
    calls.wait_for("cancelled hangs").await;
    assert_eq!(calls.tools().len(), 2);
    calls.clear();
    assert_eq!(run(&client, "tries_again", json!({})).await["completed"], 3);
    assert_eq!(calls.tools().len(), 4);
}

#[tokio::test]
async fn cmp_16_what_the_repeated_step_says_counts() {
    let backend = FakeBackend::echo(["echo"]).tool("never", Behaviour::Never).tool("fails", Behaviour::ToolError);
    let each =
        |step: &str| format!("steps: [{{ id: each, type: forEach, collection: '[1, 2, 3]', step: {{ {step} }} }}]");
    let tools = composites(&[
        ("some", &each("tool: echo, condition: '{{ne .forEach.item 2}}', defaultResults: { text: none }")),
        ("passes_over", &each("tool: fails, onError: { action: continue }, defaultResults: { text: none }")),
        ("hangs", &each("tool: never, timeout: 100ms")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    let output = run(&client, "some", json!({})).await;
    let statuses = |output: &Value| -> Vec<String> {
        let iterations = output["iterations"].as_array().unwrap();
        iterations.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(&output), ["completed", "skipped", "completed"]);
    assert_eq!(output["iterations"][1]["output"], json!({ "text": "none" }));
    assert_eq!((calls.tools().len(), &output["completed"]), (2, &json!(2)));
    let output = run(&client, "passes_over", json!({})).await;
    assert_eq!(statuses(&output), ["failed"; 3]);
    assert_eq!(output["iterations"][0]["output"], json!({ "text": "none" }));
    let said = failure(&client, "hangs", json!({})).await;
    assert!(said.contains("step `each` failed: iteration ") && said.contains("100ms"), "{said}");
}
