//! Runs that go on: after their client's answer, after a kill of the host, in another host.

#![expect(clippy::disallowed_methods, reason = "a test waits for what it begins, or ends with it")]

use std::time::Duration;

use serde_json::{Value, json};
use vmcp_tests::{
    Behaviour, Era, FakeBackend, Mcp, Recording, ScriptedReply, TestClient, TestHost,
    host::WrittenHost,
    process::{PATIENCE, eventually, run as run_command},
};

use super::{composites, host_of};
use crate::{
    bridge::{call_and_be_asked, client_of},
    front::wire::Wire,
};

const REVISION: &str = "2025-11-25";
const QUESTION: &str = "elicitation/create";

/// Calls `before`, asks, and calls `after` with the answer.
const ASKS: &str = "steps: [
    { id: before, tool: before },
    { id: ask, type: elicitation, dependsOn: [before], message: 'Go on?', timeout: 5m,
      schema: { type: object, properties: { why: { type: string } } } },
    { id: after, tool: after, dependsOn: [ask], arguments: { why: '{{.steps.ask.output.content.why}}' } } ]";
const IN_A_FILE: &str = "runs: { path: runs.db }\n";

fn asking() -> (FakeBackend, String) {
    (FakeBackend::echo(["before", "after"]), format!("{IN_A_FILE}{}", composites(&[("asks", ASKS)])))
}

fn able() -> Value {
    json!({ "elicitation": {} })
}

fn because(why: &str) -> Value {
    json!({ "action": "accept", "content": { "why": why } })
}

/// A tool whose calls have effects that a second call repeats, unless it says otherwise.
fn effects(hints: &Value) -> Value {
    json!({ "inputSchema": { "type": "object" }, "annotations": hints })
}

/// What `vmcp-host workflow COMMAND` says, as JSON.
async fn workflow(host: &WrittenHost, arguments: &[&str]) -> Value {
    let mut command = host.subcommand("workflow");
    let (code, stdout, stderr) = run_command(command.args(arguments).arg("-c").arg(&host.config).arg("--json")).await;
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// The runs that the host keeps, once there are `count` in this state.
async fn runs(host: &TestHost, state: &str, count: usize) -> Vec<Value> {
    let found = async || {
        let all = workflow(&host.written, &["list"]).await;
        let all = all.as_array().unwrap().clone();
        all.into_iter().filter(|run| run["state"] == state).collect::<Vec<_>>()
    };
    eventually(&format!("{count} runs that are {state}"), PATIENCE, || async { found().await.len() == count }).await;
    found().await
}

#[tokio::test]
async fn cmp_22_an_answer_after_a_kill_completes_the_run_of_a_stateless_client() {
    let (backend, yaml) = asking();
    let (host, calls) = host_of(backend, &yaml).await;
    let client = TestClient::modern_with(&host.url, able());
    let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
    let host = host.crash().await;
    let reply = asked.answer(&because("it is time")).await;
    assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    assert_eq!(calls.tools(), ["before", "after"]);
    assert_eq!(calls.arguments("after"), [json!({ "why": "it is time" })]);
    assert_eq!(runs(&host, "completed", 1).await[0]["tool"], "asks");
}

#[tokio::test]
async fn any_host_that_shares_the_file_takes_the_answer() {
    let (backend, yaml) = asking();
    let keys = format!("sealing: {{ keys: ['{}'] }}\n", "5e".repeat(32));
    let (host, calls) = host_of(backend.clone(), &format!("{keys}{yaml}")).await;
    let shared = yaml.replace("path: runs.db", &format!("path: {}/runs.db", host.dir().display()));
    let other = TestHost::builder().backend("b", backend.record(&calls)).yaml(&format!("{keys}{shared}")).start().await;
    let mut client = TestClient::modern_with(&host.url, able());
    for (asks, answers) in [(&host, &other), (&other, &host), (&other, &other)] {
        calls.clear();
        client.url.clone_from(&asks.url);
        let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
        let retry = asked.retry(&because("elsewhere"));
        let again = TestClient::modern_with(&answers.url, able());
        let reply = again.request("tools/call", retry.clone()).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
        assert_eq!(calls.tools(), ["before", "after"]);
        // A result that was lost on its way can be had again; nothing is done twice.
        assert_eq!(again.request("tools/call", retry).await.result(), reply.result());
        assert_eq!(calls.tools(), ["before", "after"]);
    }
}

#[tokio::test]
async fn an_answer_after_a_kill_completes_the_run_of_a_session() {
    let (backend, yaml) = asking();
    let (host, calls) = host_of(backend, &yaml).await;
    let client = Wire::open(&host.url, REVISION, &able()).await;
    let mut stream = client.call(1, "asks", json!({})).await;
    let question = stream.event_of(QUESTION).await;
    let host = host.crash().await;
    let mut again = client.get(Some(question.id())).await;
    assert!(again.is_stream(), "{}", again.status);
    // The question is put again, under its id of before: the client may have lost it.
    let repeated = again.wait_for(QUESTION).await;
    assert_eq!(repeated["id"], question.message()["id"]);
    let answer = json!({ "jsonrpc": "2.0", "id": question.message()["id"], "result": because("later") });
    assert_eq!(client.post(&answer).await.status, 202);
    let reply = again.wait_for("").await;
    assert_eq!((&reply["id"], &reply["result"]["isError"]), (&json!(1), &json!(false)), "{reply}");
    assert_eq!(calls.tools(), ["before", "after"]);
    assert_eq!(calls.arguments("after"), [json!({ "why": "later" })]);
    drop(host);
}

#[tokio::test]
async fn an_answer_that_comes_before_its_client_has_its_stream_again_counts() {
    let (backend, yaml) = asking();
    let (host, calls) = host_of(backend, &yaml).await;
    let client = Wire::open(&host.url, REVISION, &able()).await;
    let mut stream = client.call(5, "asks", json!({})).await;
    let question = stream.event_of(QUESTION).await;
    let host = host.crash().await;
    let answer = json!({ "jsonrpc": "2.0", "id": question.message()["id"], "result": because("at once") });
    assert_eq!(client.post(&answer).await.status, 202);
    calls.wait_for("end after").await;
    let mut again = client.get(Some(question.id())).await;
    let reply = again.wait_for("").await;
    assert_eq!((&reply["id"], &reply["result"]["isError"]), (&json!(5), &json!(false)), "{reply}");
    assert_eq!(calls.tools(), ["before", "after"]);
    drop(host);
}

#[tokio::test]
async fn a_run_at_work_goes_on_after_an_orderly_stop() {
    let hints = json!({ "idempotentHint": true });
    let backend = FakeBackend::echo(["after"]).defined("look", effects(&hints), Behaviour::Late { ms: 2_000 });
    let looks = "steps: [{ id: look, tool: look }, { id: after, tool: after, dependsOn: [look] }]";
    let (mut host, calls) = host_of(backend, &format!("{IN_A_FILE}{}", composites(&[("looks", looks)]))).await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let calling = tokio::spawn(async move { client.call(1, "looks", json!({})).await });
    calls.wait_for("begin look").await;
    host.terminate().await;
    calling.abort();
    let host = host.take_written().start().await;
    calls.wait_for("end after").await;
    runs(&host, "completed", 1).await;
}

#[tokio::test]
async fn a_run_that_called_another_one_rests_until_its_answer() {
    let outer =
        "steps: [ { id: inner, tool: quick }, { id: ask, type: elicitation, dependsOn: [inner], message: 'Go on?',
        timeout: 5m, schema: { type: object, properties: {} } } ]";
    let tools = composites(&[("quick", "steps: [{ id: before, tool: before }]"), ("outer", outer)]);
    let (host, _) = host_of(FakeBackend::echo(["before"]), &format!("{IN_A_FILE}{tools}")).await;
    let client = TestClient::modern_with(&host.url, able());
    let asked = call_and_be_asked(&client, "outer", json!({}), 1).await;
    runs(&host, "waiting", 1).await;
    let changed = runs(&host, "waiting", 1).await[0]["changed"].clone();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(runs(&host, "waiting", 1).await[0]["changed"], changed, "nobody took it up");
    assert_eq!(runs(&host, "completed", 1).await[0]["tool"], "quick");
    assert_eq!(asked.answer(&because("x")).await.result()["isError"], false);
}

#[tokio::test]
async fn who_comes_back_before_the_backends_are_there_waits_for_them() {
    for (is_session, answers_first) in [(true, true), (true, false), (false, true)] {
        let builder = TestHost::builder();
        let (go, calls) = (builder.dir().join("go"), Recording::in_dir(builder.dir()));
        std::fs::write(&go, "").unwrap();
        let (backend, yaml) = asking();
        let backend = backend.record(&calls).with(|spec| spec.starts_with = Some(go.clone()));
        let mut host = builder.backend("b", backend).yaml(&yaml).start().await;
        let session = Wire::open(&host.url, REVISION, &able()).await;
        let stateless = TestClient::modern_with(&host.url, able());
        let (mut question, mut retry) = (None, None);
        if is_session {
            let mut stream = session.call(1, "asks", json!({})).await;
            question = Some(stream.event_of(QUESTION).await);
        } else {
            retry = Some(call_and_be_asked(&stateless, "asks", json!({}), 1).await.retry(&because("early")));
        }
        host.kill().await;
        std::fs::remove_file(&go).unwrap();
        let port = host.port();
        let _host = host.take_written().launch(port);
        let is_open = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
        eventually("an open port", PATIENCE, is_open).await;
        let starting = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            std::fs::write(&go, "").unwrap();
        });
        match (question, retry) {
            (Some(question), _) => {
                let id = question.message()["id"].clone();
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": because("early") });
                let mut stream = None;
                if !answers_first {
                    stream = Some(session.get(Some(question.id())).await);
                }
                assert_eq!(session.post(&answer).await.status, 202);
                let mut stream = match stream {
                    Some(stream) => stream,
                    None => session.get(Some(question.id())).await,
                };
                assert_eq!(stream.wait_for("").await["result"]["isError"], false);
            }
            (None, Some(retry)) => {
                let reply = stateless.request("tools/call", retry).await;
                assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
            }
            (None, None) => unreachable!("one of them was asked"),
        }
        assert_eq!(calls.arguments("after"), [json!({ "why": "early" })]);
        starting.await.unwrap();
    }
}

#[tokio::test]
async fn a_tool_that_is_not_idempotent_is_not_called_again_after_a_kill() {
    let backend = FakeBackend::echo(["before", "after"])
        .defined("send", effects(&json!({})), Behaviour::Late { ms: 60_000 })
        .defined("look", effects(&json!({ "idempotentHint": true })), Behaviour::Late { ms: 300 });
    let sends = "steps: [{ id: send, tool: send }, { id: after, tool: after, dependsOn: [send] }]";
    let looks = "steps: [{ id: look, tool: look }, { id: after, tool: after, dependsOn: [look] }]";
    let handles = "steps: [{ id: send, tool: send, onError: { action: continue }, defaultResults: { text: none } },
        { id: after, tool: after, dependsOn: [send], arguments: { why: '{{.steps.send.error}}' } }]";
    let tools = composites(&[("sends", sends), ("looks", looks), ("handles", handles)]);
    let (mut host, calls) = host_of(backend, &format!("{IN_A_FILE}{tools}")).await;
    for (tool, called, state) in
        [("sends", "send", "failed"), ("looks", "look", "completed"), ("handles", "send", "completed")]
    {
        calls.clear();
        let client = Wire::open(&host.url, REVISION, &json!({})).await;
        let calling = tokio::spawn(async move { client.call(1, tool, json!({})).await });
        calls.wait_for(&format!("begin {called}")).await;
        host = host.crash().await;
        calling.abort();
        let id = loop {
            let all = workflow(&host.written, &["list"]).await;
            let of_tool = |run: &&Value| run["tool"] == tool && run["state"] == state;
            if let Some(run) = all.as_array().unwrap().iter().find(of_tool) {
                break run["id"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let begun = calls.tools().iter().filter(|name| *name == called).count();
        assert_eq!(begun, if called == "send" { 1 } else { 2 }, "{tool}");
        let shown = workflow(&host.written, &["show", &id]).await;
        match tool {
            "sends" => assert!(shown["result"].to_string().contains("whether it had an effect is unknown"), "{shown}"),
            "handles" => assert!(calls.arguments("after")[0]["why"].as_str().unwrap().contains("unknown"), "{shown}"),
            _ => assert_eq!(calls.arguments("after").len(), 1),
        }
    }
}

#[tokio::test]
async fn a_run_within_another_goes_on_with_it() {
    let outer = "steps: [
        { id: inner, tool: asks }, { id: last, tool: last, dependsOn: [inner] } ]";
    let backend = FakeBackend::echo(["before", "after", "last"]);
    let tools = composites(&[("asks", ASKS), ("outer", outer)]);
    let (host, calls) = host_of(backend, &format!("{IN_A_FILE}{tools}")).await;
    let client = TestClient::modern_with(&host.url, able());
    let asked = call_and_be_asked(&client, "outer", json!({}), 1).await;
    assert_eq!(runs(&host, "waiting", 2).await.len(), 2);
    let _host = host.crash().await;
    let reply = asked.answer(&because("both")).await;
    assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    assert_eq!(calls.tools(), ["before", "after", "last"]);
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_over_in_time_while_its_run_is_laid_aside() {
    let tools = composites(&[(
        "asks",
        "steps: [{ id: ask, type: elicitation, message: 'Go on?', timeout: 600ms, onCancel: { action: continue },
            schema: { type: object, properties: {} }, defaultResults: { content: {} } },
          { id: after, tool: after, dependsOn: [ask], arguments: { why: '{{.steps.ask.output.action}}' } }]",
    )]);
    for file in ["", IN_A_FILE] {
        let (host, calls) = host_of(FakeBackend::echo(["after"]), &format!("{file}{tools}")).await;
        let client = TestClient::modern_with(&host.url, able());
        let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
        calls.wait_for("end after").await;
        assert_eq!(calls.arguments("after"), [json!({ "why": "cancel" })]);
        runs(&host, "completed", 1).await;
        // Who comes too late gets what became of it.
        let reply = asked.answer(&because("late")).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
        assert_eq!(calls.tools(), ["after"]);
    }
}

#[tokio::test]
async fn cmp_22_runs_are_listed_shown_and_cancelled_by_their_owner() {
    let (backend, yaml) = asking();
    let (host, calls) = host_of(backend, &yaml).await;
    let client = TestClient::modern_with(&host.url, able());
    let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
    let waiting = runs(&host, "waiting", 1).await;
    let id = waiting[0]["id"].as_str().unwrap();
    let shown = workflow(&host.written, &["show", &id[..8]]).await;
    assert!(shown["waits"].to_string().contains("Go on?"), "{shown}");
    assert!(shown["events"].to_string().contains("calls `before`"), "{shown}");
    let mut command = host.written.subcommand("workflow");
    let (code, said, _) = run_command(command.args(["cancel", id, "-c"]).arg(&host.written.config)).await;
    assert_eq!((code, said.contains(id)), (Some(0), true), "{said}");
    runs(&host, "cancelled", 1).await;
    let reply = asked.answer(&because("too late")).await;
    assert!(reply.raw.contains("its owner cancelled it"), "{}", reply.raw);
    assert_eq!(calls.tools(), ["before"]);
    let mut command = host.written.subcommand("workflow");
    let (code, _, said) = run_command(command.args(["show", "ffff", "-c"]).arg(&host.written.config)).await;
    assert!(code != Some(0) && said.contains("there is no run `ffff`"), "{said}");
}

#[tokio::test]
async fn a_handle_that_is_forged_foreign_or_old_is_refused() {
    let (backend, yaml) = asking();
    let yaml = yaml.replace("path: runs.db", "path: runs.db, lifetime: 1s");
    let (host, calls) = host_of(backend, &yaml).await;
    let client = TestClient::modern_with(&host.url, able());
    let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
    let good = asked.retry(&because("x"));
    let state = good["requestState"].as_str().unwrap();
    let mut forged = state.to_owned();
    forged.replace_range(40..41, if &state[40..41] == "A" { "B" } else { "A" });
    for made_up in [forged.as_str(), "", "made-up"] {
        let mut params = good.clone();
        params["requestState"] = json!(made_up);
        let reply = client.request("tools/call", params).await;
        assert!(reply.raw.contains("not made by this host"), "{}", reply.raw);
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let reply = client.request("tools/call", good).await;
    assert!(reply.raw.contains("it has expired"), "{}", reply.raw);
    assert_eq!(calls.tools(), ["before"]);
}

#[tokio::test]
async fn a_session_answers_its_own_runs_only() {
    let (backend, yaml) = asking();
    let (host, calls) = host_of(backend, &yaml).await;
    let (owner, other) =
        (Wire::open(&host.url, REVISION, &able()).await, Wire::open(&host.url, REVISION, &able()).await);
    let mut stream = owner.call(1, "asks", json!({})).await;
    let question = stream.event_of(QUESTION).await;
    let answer = |why: &str| json!({ "jsonrpc": "2.0", "id": question.message()["id"], "result": because(why) });
    assert_eq!(other.post(&answer("stolen")).await.status, 202);
    assert_eq!(other.get(Some(question.id())).await.status, 400);
    let _host = host.crash().await;
    assert_eq!(other.post(&answer("stolen")).await.status, 202);
    assert_eq!(other.get(Some(question.id())).await.status, 400);
    assert_eq!(owner.post(&answer("own")).await.status, 202);
    calls.wait_for("end after").await;
    assert_eq!(calls.arguments("after"), [json!({ "why": "own" })]);
}

/// There is one identity so far, so the other's runs are made in the file.
#[tokio::test]
async fn nobody_finds_answers_or_fetches_the_run_of_another_identity() {
    let (backend, yaml) = asking();
    let (mut host, calls) = host_of(backend, &yaml).await;
    let client = TestClient::modern_with(&host.url, able());
    let open = call_and_be_asked(&client, "asks", json!({}), 1).await.retry(&because("x"));
    let over = call_and_be_asked(&client, "asks", json!({}), 1).await.retry(&because("x"));
    assert_eq!(client.request("tools/call", over.clone()).await.result()["isError"], false);
    let session = Wire::open(&host.url, REVISION, &able()).await;
    let question = session.call(1, "asks", json!({})).await.event_of(QUESTION).await;
    runs(&host, "waiting", 2).await;
    host.kill().await;
    let file = vmcp_store::rusqlite::Connection::open(host.dir().join("runs.db")).unwrap();
    assert_eq!(file.execute("UPDATE run SET owner = randomblob(32)", []).unwrap(), 3);
    drop(file);
    let port = host.port();
    let host = host.take_written().start_on(port).await;
    calls.clear();
    for retry in [open, over] {
        let reply = client.request("tools/call", retry).await;
        assert!(reply.raw.contains("it belongs to another call or client"), "{}", reply.raw);
    }
    let answer = json!({ "jsonrpc": "2.0", "id": question.message()["id"], "result": because("x") });
    assert_eq!(session.post(&answer).await.status, 202);
    assert_eq!(session.get(Some(question.id())).await.status, 400);
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(session.post(&cancel).await.status, 202);
    runs(&host, "waiting", 2).await;
    assert_eq!(calls.tools(), [""; 0]);
}

#[tokio::test]
async fn a_run_that_waits_outlasts_its_component_and_its_config() {
    let (backend, yaml) = asking();
    let (mut host, calls) = host_of(backend, &yaml).await;
    let client = TestClient::modern_with(&host.url, able());
    let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
    host.kill().await;
    let file = &host.written.config;
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace("tool: after", "tool: before")).unwrap();
    let port = host.port();
    let _host = host.take_written().start_on(port).await;
    let reply = asked.answer(&because("as it was")).await;
    assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    assert_eq!(calls.tools(), ["before", "after"]);
}

#[tokio::test]
async fn a_client_that_takes_its_call_back_cancels_the_run_and_one_that_is_gone_does_not() {
    let (backend, yaml) = asking();
    let (host, calls) = host_of(backend, &yaml).await;
    let client = Wire::open(&host.url, REVISION, &able()).await;
    let mut stream = client.call(7, "asks", json!({})).await;
    stream.wait_for(QUESTION).await;
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    assert_eq!(client.post(&cancel).await.status, 202);
    runs(&host, "cancelled", 1).await;
    let mut stream = client.call(8, "asks", json!({})).await;
    stream.wait_for(QUESTION).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    runs(&host, "waiting", 1).await;
    assert_eq!(calls.tools(), ["before", "before"]);
}

#[tokio::test]
async fn a_run_sleeps_without_an_instance_and_wakes_in_time() {
    let backend = FakeBackend::new()
        .scripted("flaky", [ScriptedReply::failure("not yet"), ScriptedReply::structured(&json!({}))]);
    let waits = "steps: [{ id: try, tool: flaky, onError: { action: retry, retryCount: 2, retryDelay: 8s } }]";
    let (host, calls) = host_of(backend, &format!("{IN_A_FILE}{}", composites(&[("waits", waits)]))).await;
    let client = client_of(&host, Era::Legacy, json!({})).await;
    let running = tokio::spawn(async move { client.call("waits", json!({})).await });
    runs(&host, "waiting", 1).await;
    assert_eq!(calls.tools(), ["flaky"]);
    let reply = running.await.unwrap();
    assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    assert_eq!(calls.tools(), ["flaky", "flaky"]);
}
