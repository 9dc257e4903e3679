//! The official Rust client goes through a scenario: `rmcp-client initialize|auto PLAN`. Prints one JSON line per feature and
//! target; the plan is told in `tests/it/matrix.rs`.
#![expect(clippy::print_stdout, reason = "its lines are the report")]
#![expect(deprecated, reason = "sampling, roots and subscriptions are deprecated, and still there")]

use std::{
    collections::{BTreeMap, HashSet},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, bail};
use futures::future::join_all;
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient,
    model::{
        CallToolRequest, CallToolRequestParams, ClientConfig, ClientRequest, CreateMessageRequestParams,
        CreateMessageResult, ElicitRequestParams, ElicitResult, ListRootsResult, ProgressNotificationParam,
        ProtocolVersion, ResourceUpdatedNotificationParam, ServerNotification, SubscribeRequestParams,
        SubscriptionFilter,
    },
    service::{NotificationContext, PeerRequestOptions, RequestContext, RunningService},
    transport::{StreamableHttpClientTransport, TokioChildProcess},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio::{process::Command, sync::Notify, time::timeout};

/// Longest wait for one step, only for what hangs.
const PATIENCE: Duration = Duration::from_mins(3);
const ANSWER: &str = "matrix";

#[derive(Deserialize)]
struct Plan {
    targets: Vec<Target>,
}

/// A server, through the host or directly, and the steps to take there.
#[derive(Deserialize)]
struct Target {
    name: String,
    via: String,
    connect: Connect,
    /// Before the names of tools.
    prefix: String,
    steps: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Connect {
    url: Option<String>,
    command: Vec<String>,
    env: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Step {
    feature: String,
    tool: String,
    arguments: Map<String, Value>,
    contains: String,
    tools: Vec<String>,
    then: Option<Box<Step>>,
    uri: String,
    touch: Option<Box<Step>>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let lifecycle = match words.next().as_deref() {
        Some("initialize") => ClientLifecycleMode::Initialize,
        Some("auto") => {
            let preferred_versions = vec![ProtocolVersion::LATEST];
            ClientLifecycleMode::Auto { preferred_versions, legacy_version: Some(ProtocolVersion::V_2025_11_25) }
        }
        other => bail!("neither `initialize` nor `auto`: {other:?}"),
    };
    let plan = std::fs::read(words.next().context("the plan is missing")?)?;
    let plan: Plan = serde_json::from_slice(&plan)?;
    drop(rustls::crypto::ring::default_provider().install_default());
    join_all(plan.targets.iter().map(|target| target.run(lifecycle.clone()))).await;
    Ok(())
}

/// What a server may ask for, and what it told.
#[derive(Default)]
struct Player {
    progress: Mutex<Vec<f64>>,
    updated: Mutex<HashSet<String>>,
    heard: Notify,
}

impl ClientHandler for Player {
    fn get_info(&self) -> ClientConfig {
        typed(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": {}, "sampling": {}, "roots": {} },
            "clientInfo": { "name": "vmcp-tests", "version": "1" },
        }))
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let asked = serde_json::to_value(params).unwrap_or_default();
        let key = if asked["requestedSchema"]["properties"]["answer"].is_object() { "answer" } else { "name" };
        Ok(typed(json!({ "action": "accept", "content": { key: ANSWER } })))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let content = json!({ "type": "text", "text": ANSWER });
        Ok(typed(json!({ "role": "assistant", "content": content, "model": "none" })))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(typed(json!({ "roots": [{ "uri": format!("file:///{ANSWER}") }] })))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().expect("no panic while locked").push(params.progress);
        self.heard.notify_one();
    }

    async fn on_resource_updated(&self, params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.updated.lock().expect("no panic while locked").insert(params.uri);
        self.heard.notify_one();
    }
}

/// The SDK's form of a value whose form is known here.
fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the value has the form of its type")
}

type Client = RunningService<RoleClient, Player>;

impl Target {
    async fn run(&self, lifecycle: ClientLifecycleMode) {
        let client = match timeout(PATIENCE, self.connect(lifecycle)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return self.tell("connect", &Err(error)),
            Err(_) => return self.tell("connect", &Err(anyhow::anyhow!("timed out"))),
        };
        for step in &self.steps {
            let outcome = timeout(PATIENCE, self.take(&client, step)).await;
            self.tell(&step.feature, &outcome.unwrap_or_else(|_| bail!("timed out")));
        }
        drop(timeout(PATIENCE, client.cancel()).await);
    }

    async fn connect(&self, lifecycle: ClientLifecycleMode) -> anyhow::Result<Client> {
        if let Some(url) = &self.connect.url {
            let transport = StreamableHttpClientTransport::from_uri(url.as_str());
            return Ok(Player::default().serve_with_lifecycle(transport, lifecycle).await?);
        }
        let mut command = Command::new(self.connect.command.first().context("no way to connect")?);
        command.args(&self.connect.command[1..]).envs(&self.connect.env);
        let (transport, _) = TokioChildProcess::builder(command).stderr(Stdio::null()).spawn()?;
        Ok(Player::default().serve_with_lifecycle(transport, lifecycle).await?)
    }

    /// What was seen, or what was wrong.
    async fn take(&self, client: &Client, step: &Step) -> anyhow::Result<String> {
        match step.feature.as_str() {
            "list" => self.list(client, step).await,
            "progress" => self.progress(client, step).await,
            "cancellation" => self.cancellation(client, step).await,
            "subscription" => self.subscription(client, step).await,
            _ => self.called(client, step).await,
        }
    }

    fn params(&self, step: &Step) -> CallToolRequestParams {
        CallToolRequestParams::new(format!("{}{}", self.prefix, step.tool)).with_arguments(step.arguments.clone())
    }

    async fn called(&self, client: &Client, step: &Step) -> anyhow::Result<String> {
        let result = client.call_tool(self.params(step)).await?;
        let result = serde_json::to_value(result)?;
        let parts = result["content"].as_array().cloned().unwrap_or_default();
        let text: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
        let text = text.join(" ");
        if !text.contains(&step.contains) {
            bail!("{text}");
        }
        Ok(text)
    }

    async fn list(&self, client: &Client, step: &Step) -> anyhow::Result<String> {
        let tools = client.list_all_tools().await?;
        let names: HashSet<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
        let missing: Vec<_> =
            step.tools.iter().filter(|name| !names.contains(&format!("{}{name}", self.prefix))).collect();
        if !missing.is_empty() {
            bail!("missing {missing:?}");
        }
        Ok(format!("{} tools", names.len()))
    }

    async fn progress(&self, client: &Client, step: &Step) -> anyhow::Result<String> {
        client.service().progress.lock().expect("no panic while locked").clear();
        self.called(client, step).await?;
        let seen = client.service().progress.lock().expect("no panic while locked").clone();
        if seen.len() < 2 {
            bail!("progress {seen:?}");
        }
        Ok(format!("progress {seen:?}"))
    }

    async fn cancellation(&self, client: &Client, step: &Step) -> anyhow::Result<String> {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(self.params(step)));
        client.service().progress.lock().expect("no panic while locked").clear();
        let handle = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
        // Progress shows that the call is under way.
        while client.service().progress.lock().expect("no panic while locked").is_empty() {
            client.service().heard.notified().await;
        }
        handle.cancel(Some("not wanted any more".to_owned())).await?;
        self.called(client, step.then.as_deref().context("no step afterwards")?).await
    }

    async fn subscription(&self, client: &Client, step: &Step) -> anyhow::Result<String> {
        let touch = step.touch.as_deref().context("nothing touches the resource")?;
        let revision = client.peer_info().context("no server")?.protocol_version.clone();
        if revision >= ProtocolVersion::NO_INITIALIZE {
            let filter: SubscriptionFilter = typed(json!({ "resourceSubscriptions": [step.uri] }));
            let mut events = client.listen(filter).await?;
            self.called(client, touch).await?;
            return match events.next().await? {
                Some(ServerNotification::ResourceUpdatedNotification(event)) if event.params.uri == step.uri => {
                    Ok(event.params.uri)
                }
                other => bail!("{other:?}"),
            };
        }
        client.subscribe(SubscribeRequestParams::new(step.uri.clone())).await?;
        self.called(client, touch).await?;
        while !client.service().updated.lock().expect("no panic while locked").contains(&step.uri) {
            client.service().heard.notified().await;
        }
        Ok(step.uri.clone())
    }

    fn tell(&self, feature: &str, outcome: &anyhow::Result<String>) {
        let detail = match outcome {
            Ok(seen) => seen.clone(),
            Err(error) => format!("{error:#}"),
        };
        let detail: String = detail.chars().take(300).collect();
        let (target, via, ok) = (&self.name, &self.via, outcome.is_ok());
        println!("{}", json!({ "target": target, "via": via, "feature": feature, "ok": ok, "detail": detail }));
    }
}
