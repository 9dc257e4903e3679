//! Files in the documented format, with every key of it, as their authors expect them to run.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, Era, FakeBackend, Mcp, Recording, ScriptedReply, TestHost};

use super::{host_of, run};
use crate::bridge::{call_and_be_asked, client_of};

fn takes(properties: &Value) -> Value {
    json!({ "inputSchema": { "type": "object", "properties": properties } })
}

#[tokio::test]
async fn cmp_02_the_example_of_an_incident_runs_as_it_reads() {
    let alert = |name: &str, level: u32| json!({ "name": name, "level": level });
    let firing = json!({ "firing": [alert("disk", 2), alert("net", 4), alert("cpu", 5)] });
    let (bad, none) = (ScriptedReply::failure("try again"), ScriptedReply::structured(&json!({ "firing": [] })));
    let alerts = vec![bad, ScriptedReply::structured(&firing), none];
    let (good, refused) = (ScriptedReply::text("opened"), ScriptedReply::failure("no such team"));
    let tickets = vec![good.clone(), refused, good];
    let host = TestHost::builder();
    let calls = Recording::in_dir(host.dir());
    let backend = FakeBackend::new()
        .defined(
            "list_alerts",
            takes(&json!({ "limit": { "type": "integer" } })),
            Behaviour::Scripted { replies: alerts },
        )
        .defined(
            "create_ticket",
            takes(&json!({ "urgent": { "type": "boolean" } })),
            Behaviour::Scripted { replies: tickets },
        )
        .tool("post_message", Behaviour::Echo)
        .record(&calls);
    let host = host.backend("ops", backend).yaml(include_str!("examples/incident.yaml")).start().await;
    let client = host.connect().await;
    let listed = client.tools().await.into_iter().find(|tool| tool["name"] == "handle_incident").unwrap();
    assert_eq!(listed["annotations"]["title"], "Handle an incident");
    let output = run(&client, "handle_incident", json!({ "service": "shop" })).await;
    assert_eq!(output, json!({ "tickets": 2, "message": r#"{"text":"2 tickets for shop"}"# }));
    assert_eq!(calls.arguments("list_alerts"), vec![json!({ "service": "shop", "limit": 2 }); 2]);
    let ticket = |title: &str, urgent: bool| json!({ "title": title, "urgent": urgent });
    let expected = [ticket("disk (0)", false), ticket("net (1)", true), ticket("cpu (2)", true)];
    assert_eq!(calls.arguments("create_ticket"), expected);

    calls.clear();
    let output = run(&client, "handle_incident", json!({ "service": "shop", "severity": 1 })).await;
    assert_eq!(output, json!({ "tickets": 0, "message": "nothing to tell" }));
    assert_eq!(calls.tools(), ["list_alerts"]);
}

#[tokio::test]
async fn cmp_02_the_example_of_a_rollout_runs_as_it_reads() {
    let backend = FakeBackend::new()
        .scripted("check_version", [ScriptedReply::structured(&json!({ "hosts": 12 }))])
        .defined("deploy", takes(&json!({ "hosts": { "type": "integer" } })), Behaviour::Echo);
    let (host, calls) = host_of(backend, include_str!("examples/rollout.yaml")).await;
    for era in [Era::Legacy, Era::Modern] {
        let client = client_of(&host, era, json!({ "elicitation": { "form": {} } })).await;
        let check = async |answer: Value, hosts: &[u32], summary: [&str; 2]| {
            calls.clear();
            let asked = call_and_be_asked(&client, "roll_out", json!({ "version": "1.2" }), 1).await;
            assert_eq!(asked.message(), "Roll out 1.2 to 12 hosts?");
            let reply = asked.answer(&answer).await;
            let expected = json!({ "summary": { "canary": summary[0], "all": summary[1] } });
            assert_eq!(reply.result()["structuredContent"], expected, "{}", reply.raw);
            let deployed: Vec<_> = hosts.iter().map(|hosts| json!({ "version": "1.2", "hosts": hosts })).collect();
            assert_eq!(calls.arguments("deploy"), deployed);
        };
        let accept = |stage: &str| json!({ "action": "accept", "content": { "stage": stage } });
        check(accept("canary"), &[1], ["completed", "skipped"]).await;
        check(accept("all"), &[1, 12], ["completed", "completed"]).await;
        check(json!({ "action": "decline" }), &[], ["skipped", "skipped"]).await;
    }
}
