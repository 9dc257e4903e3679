//! Every pair of client and backend era: what a backend asks in the middle of a call reaches the client behind that call and
//! nobody else, and neither side can tell that a host stands between.

mod asking;
mod faults;
mod features;
mod state;

use serde_json::{Value, json};
use vmcp_tests::{Era, FixtureBackend, Mcp, Reply, TestClient, TestHost, process::ServerProcess};

/// What a client can be asked here, in a form that both eras know.
fn able() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} })
}

/// A host before one fixture backend, which is called `b`.
async fn host_of(fixture: FixtureBackend) -> (TestHost, Option<ServerProcess>) {
    let (entry, process) = fixture.entry("b").await;
    (TestHost::builder().entry(entry).start().await, process)
}

/// The kinds of backends: each era over each transport that has it.
fn backends() -> [(Era, FixtureBackend); 5] {
    [
        (Era::Legacy, FixtureBackend::legacy()),
        (Era::Legacy, FixtureBackend::legacy().http()),
        (Era::Legacy, FixtureBackend::legacy().sse()),
        (Era::Modern, FixtureBackend::modern()),
        (Era::Modern, FixtureBackend::modern().http()),
    ]
}

pub(crate) async fn client_of(host: &TestHost, era: Era, capabilities: Value) -> TestClient {
    match era {
        Era::Legacy => TestClient::legacy_with(&host.url, capabilities).await,
        Era::Modern => TestClient::modern_with(&host.url, capabilities),
    }
}

/// A call that the client is asked something in.
pub(crate) struct Asked<'c> {
    client: &'c TestClient,
    /// `tools/call`'s, as often as it is made.
    params: Value,
    /// What is asked: method, params, and where the answer belongs.
    pub(crate) questions: Vec<(Value, String)>,
    legacy: Option<vmcp_tests::PendingCall>,
    state: Value,
}

/// Calls `tool` and waits until the client is asked `count` things.
pub(crate) async fn call_and_be_asked<'c>(
    client: &'c TestClient,
    tool: &str,
    arguments: Value,
    count: usize,
) -> Asked<'c> {
    let params = json!({ "name": tool, "arguments": arguments });
    let mut asked = Asked { client, params: params.clone(), questions: Vec::new(), legacy: None, state: Value::Null };
    match client.era {
        Era::Modern => {
            let reply = client.request("tools/call", params).await;
            asked.take_input_required(&reply);
        }
        Era::Legacy => {
            let mut pending = client.start("tools/call", params).await;
            for _ in 0..count {
                let question = pending.notification().await;
                let id = question["id"].to_string();
                asked.questions.push((question, id));
            }
            asked.legacy = Some(pending);
        }
    }
    assert_eq!(asked.questions.len(), count, "{:?}", asked.questions);
    asked
}

impl Asked<'_> {
    fn take_input_required(&mut self, reply: &Reply) {
        let result = reply.result();
        assert_eq!(result["resultType"], "input_required", "{result}");
        let requests = result["inputRequests"].as_object().unwrap();
        self.questions = requests.iter().map(|(key, request)| (request.clone(), key.clone())).collect();
        self.state = result["requestState"].clone();
    }

    /// What was asked first.
    pub(crate) fn message(&self) -> &str {
        self.questions[0].0["params"]["message"].as_str().unwrap_or_default()
    }

    /// The params of a modern client's next try.
    pub(crate) fn retry(&self, answer: &Value) -> Value {
        let answers: serde_json::Map<_, _> =
            self.questions.iter().map(|(_, key)| (key.clone(), answer.clone())).collect();
        let mut params = self.params.clone();
        params["inputResponses"] = Value::Object(answers);
        params["requestState"] = self.state.clone();
        params
    }

    /// Gives the same answer to all that was asked; the reply to the call.
    pub(crate) async fn answer(self, answer: &Value) -> Reply {
        if self.legacy.is_none() {
            return self.client.request("tools/call", self.retry(answer)).await;
        }
        self.post_answers(answer).await;
        self.unanswered().await
    }

    /// The same, when one more question follows.
    pub(crate) async fn answer_and_be_asked(mut self, answer: &Value) -> Self {
        if self.legacy.is_none() {
            let reply = self.client.request("tools/call", self.retry(answer)).await;
            self.take_input_required(&reply);
            return self;
        }
        self.post_answers(answer).await;
        let question = self.legacy.as_mut().unwrap().notification().await;
        self.questions = vec![(question.clone(), question["id"].to_string())];
        self
    }

    /// The reply to a legacy client that says nothing.
    pub(crate) async fn unanswered(self) -> Reply {
        self.legacy.expect("a modern client has nothing open").reply().await
    }

    async fn post_answers(&self, answer: &Value) {
        for (question, _) in &self.questions {
            let response = json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer });
            assert_eq!(self.client.post("", &response).await.status, 202);
        }
    }
}

fn accept(answer: &str) -> Value {
    json!({ "action": "accept", "content": { "answer": answer } })
}

/// The text of a tool's result, which is JSON.
fn said(reply: &Reply) -> Value {
    serde_json::from_str(reply.text()).unwrap_or_else(|_| panic!("{}", reply.message))
}
