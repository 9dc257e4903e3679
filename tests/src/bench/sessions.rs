//! What sessions cost: memory of many idle ones, calls beside them, and what stays behind when they come and go.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{
    caller::Caller,
    start::resident_kib,
    stats::{Latencies, micros, ratio},
};
use crate::{
    era::{LEGACY_REVISION, initialize_params},
    fake::FakeBackend,
    host::TestHost,
    http::{self, connect, split_url},
};

/// Idle sessions that are measured, beside as many that are there already.
const IDLE: usize = 10_000;
/// Sessions that come and go.
const PASSING: usize = 200_000;
/// Kept-alive connections that all sessions share.
const CONNECTIONS: usize = 8;
/// Open files beside one per stream.
const SPARE_FILES: u64 = 500;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(500);
/// Between two looks at the memory.
const SAMPLE_PERIOD: Duration = Duration::from_millis(50);
/// How long the host gets to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Most memory of an idle session.
const MAX_SESSION_BYTES: f64 = 32.0 * 1024.0;
/// What idle sessions may add to a call.
const MAX_CALL_RATIO: f64 = 1.15;
/// What sessions that are gone may leave behind.
const MAX_GROWTH: f64 = 1.01;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    pub idle_sessions: usize,
    /// Resident memory that an idle session without a stream adds.
    pub bytes_per_session: f64,
    /// What its GET stream adds, on a connection of its own.
    pub bytes_per_stream: f64,
    /// The middle call of a host with one session.
    pub alone_p50_micros: f64,
    /// The middle call beside the idle sessions.
    pub beside_p50_micros: f64,
    pub p50_ratio: f64,
    pub passing_sessions: usize,
    pub opened_per_second: f64,
    /// Mean resident memory while each quarter of the passing sessions came and went.
    pub quarter_mib: [f64; 4],
    /// The last quarter to the second.
    pub growth: f64,
}

pub async fn run() -> anyhow::Result<Sessions> {
    raise_file_limit(IDLE as u64 + SPARE_FILES)?;
    let empty = host().await;
    let full = host().await;
    // The first sessions may live in memory that the start left free; those that come after them count.
    open_many(&full.url, IDLE).await?;
    let before = at_rest(&full).await;
    let ids = open_many(&full.url, IDLE).await?;
    let with_sessions = at_rest(&full).await;

    let (alone, beside) = call_in_turns(&empty, &full, &ids[0]).await?;

    let before_streams = at_rest(&full).await;
    let streams = open_streams(&full.url, &ids).await?;
    let with_streams = at_rest(&full).await;
    drop(streams);
    drop((empty, full));

    let (quarter_mib, opened_per_second) = come_and_go(&host().await).await?;
    Ok(Sessions {
        idle_sessions: IDLE,
        bytes_per_session: per_session(before, with_sessions),
        bytes_per_stream: per_session(before_streams, with_streams),
        alone_p50_micros: micros(alone.p50()),
        beside_p50_micros: micros(beside.p50()),
        p50_ratio: ratio(micros(beside.p50()), micros(alone.p50())),
        passing_sessions: PASSING,
        opened_per_second: opened_per_second.round(),
        quarter_mib,
        growth: quarter_mib[3] / quarter_mib[1],
    })
}

impl Sessions {
    /// The report as people read it.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: String, limit: &str| {
            writeln!(text, "{what:<44} {value:>12}  {limit}").expect("a string takes all");
        };
        let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
        line(&format!("each of {} idle sessions", self.idle_sessions), kib(self.bytes_per_session), "at most 32 KiB");
        line("its stream", kib(self.bytes_per_stream), "");
        line("p50 of a call, one session", format!("{:.1} µs", self.alone_p50_micros), "");
        line("p50 of a call, beside the idle sessions", format!("{:.1} µs", self.beside_p50_micros), "");
        line("ratio", format!("{:.2}", self.p50_ratio), "at most 1.15");
        line(&format!("{} opened and closed", self.passing_sessions), format!("{}/s", self.opened_per_second), "");
        for (index, mib) in self.quarter_mib.iter().enumerate() {
            line(&format!("  resident in quarter {}", index + 1), format!("{mib:.2} MiB"), "");
        }
        line("last quarter to the second", format!("{:.4}", self.growth), "at most 1.01");
        text
    }

    /// Fails when a limit is broken.
    pub fn check(&self) -> anyhow::Result<()> {
        let broken: Vec<_> = [
            (self.bytes_per_session <= MAX_SESSION_BYTES, "an idle session takes too much memory"),
            (self.p50_ratio <= MAX_CALL_RATIO, "idle sessions slow calls down"),
            (self.growth <= MAX_GROWTH, "sessions that are gone leave memory behind"),
        ]
        .into_iter()
        .filter_map(|(holds, otherwise)| (!holds).then_some(otherwise))
        .collect();
        if !broken.is_empty() {
            bail!("{}", broken.join("; "));
        }
        Ok(())
    }
}

/// For this process and for the hosts that it starts.
fn raise_file_limit(files: u64) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    if let Some(maximum) = maximum {
        ensure!(maximum >= files, "this user may open {maximum} files, and the bench needs {files}: see `ulimit -Hn`");
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum })
        .context("cannot raise the limit of open files")
}

async fn host() -> TestHost {
    let host = TestHost::builder().backend("backend", FakeBackend::echo(["echo"])).start().await;
    // What the first requests allocate is no session's.
    let ids = open_many(&host.url, 100).await.expect("the host is ready");
    let mut door = Door::open(&host.url).await.expect("the host is ready");
    for id in ids {
        door.close_session(&id).await.expect("the session is there");
    }
    host
}

/// Resident memory in KiB.
async fn at_rest(host: &TestHost) -> f64 {
    sleep(REST).await;
    resident_kib(host.pid())
}

#[expect(clippy::cast_precision_loss, reason = "a count of sessions")]
fn per_session(before_kib: f64, after_kib: f64) -> f64 {
    ((after_kib - before_kib) * 1024.0 / IDLE as f64).round()
}

/// Initialises sessions over a few connections; their ids.
async fn open_many(url: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let mut tasks = JoinSet::new();
    for share in shares(count) {
        let mut door = Door::open(url).await?;
        tasks.spawn(async move {
            let mut ids = Vec::with_capacity(share);
            for _ in 0..share {
                ids.push(door.open_session().await?);
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::with_capacity(count);
    while let Some(part) = tasks.join_next().await {
        ids.extend(part??);
    }
    Ok(ids)
}

/// `count` divided among the connections.
fn shares(count: usize) -> impl Iterator<Item = usize> {
    (0..CONNECTIONS).map(move |index| (count + index) / CONNECTIONS)
}

/// Calls both hosts in turns, so that both meet the same machine; `id` is a session of `full`.
async fn call_in_turns(empty: &TestHost, full: &TestHost, id: &str) -> anyhow::Result<(Latencies, Latencies)> {
    let arguments = json!({ "size": 1024 });
    let one = Door::open(&empty.url).await?.open_session().await?;
    let mut callers = [
        Caller::of_session(&empty.url, "echo", &arguments, &one).await,
        Caller::of_session(&full.url, "echo", &arguments, id).await,
    ];
    let mut latencies = [Latencies::default(), Latencies::default()];
    for round in 0..=ROUNDS {
        for (caller, latencies) in callers.iter_mut().zip(&mut latencies) {
            let start = Instant::now();
            let is_warm_up = round == 0;
            while start.elapsed() < if is_warm_up { WARM_UP } else { ROUND } {
                let latency = caller.call().await.map_err(anyhow::Error::msg)?;
                if !is_warm_up {
                    latencies.push(latency);
                }
            }
        }
    }
    let [alone, beside] = latencies;
    Ok((alone, beside))
}

/// A GET stream for each session.
async fn open_streams(url: &str, ids: &[String]) -> anyhow::Result<Vec<http::Response>> {
    let mut streams = Vec::with_capacity(ids.len());
    for some in ids.chunks(100) {
        let opened = join_all(some.iter().map(|id| {
            let headers =
                [("accept", "text/event-stream"), ("mcp-session-id", id), ("mcp-protocol-version", LEGACY_REVISION)];
            async move { http::send("GET", url, &headers, "").await }
        }));
        for stream in opened.await {
            let stream = stream?;
            ensure!(stream.status == 200, "GET is answered with {}", stream.status);
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// Opens and closes sessions; mean memory of each quarter in MiB, and sessions per second.
async fn come_and_go(host: &TestHost) -> anyhow::Result<([f64; 4], f64)> {
    let mut quarters = [0.0; 4];
    let start = Instant::now();
    for quarter in &mut quarters {
        let mut tasks = JoinSet::new();
        for share in shares(PASSING / 4) {
            let mut door = Door::open(&host.url).await?;
            tasks.spawn(async move {
                for _ in 0..share {
                    let id = door.open_session().await?;
                    door.close_session(&id).await?;
                }
                anyhow::Ok(())
            });
        }
        let (mut sum, mut samples) = (0.0, 0.0);
        while !tasks.is_empty() {
            tokio::select! {
                ended = tasks.join_next() => ended.transpose()?.transpose()?.unwrap_or_default(),
                () = sleep(SAMPLE_PERIOD) => {
                    sum += resident_kib(host.pid()) / 1024.0;
                    samples += 1.0;
                }
            }
        }
        *quarter = sum / samples;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of sessions")]
    let per_second = PASSING as f64 / start.elapsed().as_secs_f64();
    Ok((quarters, per_second))
}

/// One kept-alive connection, through which sessions are opened and closed.
pub(super) struct Door {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    path: String,
    initialize: Bytes,
    initialized: Bytes,
}

impl Door {
    pub(super) async fn open(url: &str) -> anyhow::Result<Self> {
        let (authority, path) = split_url(url);
        let message = |message: Value| Bytes::from(message.to_string());
        let params = initialize_params(&json!({}));
        Ok(Self {
            sender: connect(authority).await?,
            authority: authority.to_owned(),
            path: path.to_owned(),
            initialize: message(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })),
            initialized: message(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })),
        })
    }

    /// The whole handshake; the id of the session.
    pub(super) async fn open_session(&mut self) -> anyhow::Result<String> {
        let (status, id) = self.send("POST", None, self.initialize.clone()).await?;
        let id = id.with_context(|| format!("`initialize` is answered with {status} and no session"))?;
        let (status, _) = self.send("POST", Some(&id), self.initialized.clone()).await?;
        ensure!(status == 202, "`notifications/initialized` is answered with {status}");
        Ok(id)
    }

    pub(super) async fn close_session(&mut self, id: &str) -> anyhow::Result<()> {
        let (status, _) = self.send("DELETE", Some(id), Bytes::new()).await?;
        ensure!((200..300).contains(&status), "DELETE is answered with {status}");
        Ok(())
    }

    /// Status of the response, and the session that it names.
    async fn send(
        &mut self,
        method: &str,
        session: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<(u16, Option<String>)> {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", LEGACY_REVISION);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        let named = response.headers().get("mcp-session-id").map(|id| id.to_str().map(str::to_owned)).transpose()?;
        response.into_body().collect().await?;
        Ok((status, named))
    }
}
