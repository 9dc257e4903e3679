//! The host is killed again and again while runs are under way: each run completes or says that it does not know, and nothing
//! that has an effect is done twice.

#![expect(clippy::disallowed_methods, reason = "a test waits for what it begins, or ends with it")]

use std::{
    collections::HashMap,
    env,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use vmcp_tests::{
    Behaviour, FakeBackend, Mcp, Recording, ScriptedReply, TestClient, TestHost,
    process::{PATIENCE, run as run_command},
};

use super::{composites, host_of};
use crate::front::wire::Wire;

/// How often the host is killed, unless `KILLS` says otherwise.
const KILLS: usize = 12;
/// Longest time between a start and the next kill.
const LONGEST_LIFE: u64 = 600;

/// Effects one after the other and side by side, a look that may be repeated, a question, and a last effect.
const JOB: &str = "parameters: { type: object, properties: { run: { type: string } } }, steps: [
    { id: one, tool: mail, arguments: { run: '{{.params.run}}', step: one } },
    { id: two, tool: mail, dependsOn: [one], arguments: { run: '{{.params.run}}', step: two } },
    { id: three, tool: mail, dependsOn: [one], arguments: { run: '{{.params.run}}', step: three } },
    { id: look, tool: look, dependsOn: [one], arguments: { run: '{{.params.run}}' } },
    { id: ask, type: elicitation, dependsOn: [two, three, look], message: 'Really?', timeout: 6s,
      onCancel: { action: continue }, defaultResults: { content: { why: nobody } },
      schema: { type: object, properties: { why: { type: string } } } },
    { id: four, tool: mail, dependsOn: [ask],
      arguments: { run: '{{.params.run}}', step: four, why: '{{.steps.ask.output.content.why}}' } } ]";

fn backend() -> FakeBackend {
    let definition = |hints: Value| json!({ "inputSchema": { "type": "object" }, "annotations": hints });
    let done =
        || Behaviour::Scripted { replies: vec![ScriptedReply::structured(&json!({ "done": true })).after_ms(15)] };
    FakeBackend::new().defined("mail", definition(json!({})), done()).defined(
        "look",
        definition(json!({ "idempotentHint": true })),
        done(),
    )
}

/// What a client did, should it have got so far.
#[derive(Debug)]
struct Asked {
    run: String,
    /// How the client comes back.
    how: How,
}

#[derive(Debug)]
enum How {
    /// With the params of its next try.
    Stateless(Value),
    /// With its session, the event it saw last, and the id of the question.
    Session { session: String, last: String, question: Value },
}

/// Runs the job for a client that keeps nothing but what it was handed.
fn stateless(url: &str, run: String) -> JoinHandle<Option<Asked>> {
    let client = TestClient::modern_with(url, json!({ "elicitation": {} }));
    tokio::spawn(async move {
        let params = json!({ "name": "job", "arguments": { "run": run } });
        let reply = client.request("tools/call", params.clone()).await;
        let result = reply.result();
        let key = result["inputRequests"].as_object()?.keys().next()?.clone();
        let mut next = params;
        next["requestState"] = result["requestState"].clone();
        next["inputResponses"] = json!({ key: because(&run) });
        Some(Asked { run, how: How::Stateless(next) })
    })
}

/// Runs the job for a client with a session.
fn with_session(url: &str, run: String) -> JoinHandle<Option<Asked>> {
    let url = url.to_owned();
    tokio::spawn(async move {
        let client = Wire::open(&url, "2025-11-25", &json!({ "elicitation": {} })).await;
        let mut stream = client.call(1, "job", json!({ "run": run })).await;
        let event = stream.try_event_of("elicitation/create").await?;
        let (last, question) = (event.id().to_owned(), event.message()["id"].clone());
        // Kept open: who leaves while nothing was killed would be another test.
        std::mem::forget(stream);
        Some(Asked { run, how: How::Session { session: client.session, last, question } })
    })
}

fn because(run: &str) -> Value {
    json!({ "action": "accept", "content": { "why": format!("{run} said so") } })
}

impl Asked {
    /// Answers at the host that stands now; the result of the run.
    async fn answer(self, url: &str) -> Value {
        match self.how {
            How::Stateless(params) => {
                let client = TestClient::modern_with(url, json!({ "elicitation": {} }));
                client.request("tools/call", params).await.result().clone()
            }
            How::Session { session, last, question } => {
                let client = Wire { url: url.to_owned(), session, revision: "2025-11-25" };
                let mut stream = client.get(Some(&last)).await;
                assert!(stream.is_stream(), "{}", stream.status);
                let answer = json!({ "jsonrpc": "2.0", "id": question, "result": because(&self.run) });
                assert_eq!(client.post(&answer).await.status, 202);
                stream.wait_for("").await["result"].clone()
            }
        }
    }
}

/// All runs that the host keeps.
async fn runs(host: &TestHost) -> Vec<Value> {
    let mut command = host.written.subcommand("workflow");
    let (code, stdout, stderr) =
        run_command(command.arg("list").arg("-c").arg(&host.written.config).arg("--json")).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap().as_array().unwrap().clone()
}

/// How often each effect was had, by run and step.
fn effects(calls: &Recording) -> HashMap<(String, String), usize> {
    let mut effects = HashMap::new();
    for arguments in calls.arguments("mail") {
        let text = |key: &str| arguments[key].as_str().unwrap().to_owned();
        *effects.entry((text("run"), text("step"))).or_default() += 1;
    }
    effects
}

#[tokio::test]
async fn no_effect_is_had_twice_whenever_the_host_is_killed() {
    let kills = env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{kills} kills, SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let yaml = format!("runs: {{ path: runs.db }}\n{}", composites(&[("job", JOB)]));
    let (mut host, calls) = host_of(backend(), &yaml).await;
    let (mut asked, mut answered) = (Vec::new(), 0);
    for kill in 0..kills {
        let mut clients = Vec::new();
        for client in 0..4 {
            let run = format!("run-{kill}-{client}");
            clients.push(if client % 2 == 0 { stateless(&host.url, run) } else { with_session(&host.url, run) });
        }
        // Answers to what was asked before the last kill.
        let answers: Vec<_> = asked
            .drain(..)
            .map(|asked: Asked| {
                let url = host.url.clone();
                tokio::spawn(async move { (asked.run.clone(), asked.answer(&url).await) })
            })
            .collect();
        sleep(Duration::from_millis(random.random_range(0..LONGEST_LIFE))).await;
        host = host.crash().await;
        for answer in answers {
            answered += usize::from(answer.await.is_ok());
        }
        for client in clients {
            // Whose connection broke before it was asked knows of nothing to come back to.
            asked.extend(client.await.ok().flatten());
        }
    }
    let last: Vec<_> = asked.iter().map(|asked| asked.run.clone()).collect();
    for asked in asked {
        let run = asked.run.clone();
        let result = asked.answer(&host.url).await;
        let is_known = result["isError"] == false || result.to_string().contains("unknown");
        assert!(is_known, "SEED={seed}, {run}: {result}");
    }
    let deadline = Instant::now() + PATIENCE;
    while runs(&host).await.iter().any(|run| ["running", "waiting"].contains(&run["state"].as_str().unwrap())) {
        assert!(Instant::now() < deadline, "SEED={seed}: not all runs end");
        sleep(Duration::from_secs(1)).await;
    }

    let effects = effects(&calls);
    for ((run, step), count) in &effects {
        assert_eq!(*count, 1, "SEED={seed}: {step} of {run}");
    }
    let all = runs(&host).await;
    let (mut completed, mut unknown) = (0, 0);
    for run in &all {
        let id = run["id"].as_str().unwrap();
        let mut command = host.written.subcommand("workflow");
        let (_, shown, _) = run_command(command.args(["show", id, "--json", "-c"]).arg(&host.written.config)).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let name = shown["arguments"]["run"].as_str().unwrap().to_owned();
        match run["state"].as_str().unwrap() {
            "completed" => {
                completed += 1;
                for step in ["one", "two", "three", "four"] {
                    assert!(effects.contains_key(&(name.clone(), step.to_owned())), "SEED={seed}: {step} of {name}");
                }
            }
            "cancelled" => {}
            _ => {
                assert!(shown["result"].to_string().contains("whether it had an effect is unknown"), "{shown}");
                unknown += 1;
            }
        }
    }
    // What the last clients said reached their runs.
    for run in last {
        let why = calls
            .arguments("mail")
            .into_iter()
            .find(|arguments| arguments["run"] == run.as_str() && arguments["step"] == "four");
        if let Some(why) = why {
            assert_eq!(why["why"], format!("{run} said so"), "SEED={seed}");
        }
    }
    println!("{} runs: {completed} completed, {unknown} unknown; {answered} answers before a kill", all.len());
    assert!(completed > 0, "SEED={seed}: nothing completed");
}
