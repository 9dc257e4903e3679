//! How long a search takes through the outer door, with the ranking component and nothing cached by query; beside it, in the
//! same run, the lexical query of the system whose schemas `find_tool` has, on the same SQLite. Also how soon a host with many
//! tools is ready, what memory it takes, and whether sessions that come and go leave something in the index.

mod offer;
mod reference;

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use self::{offer::Offer, reference::Reference};
use super::{
    caller::Caller,
    sessions::Door,
    start::{resident_kib, until_ready},
    stats::Latencies,
};
use crate::{
    fake::FakeBackend,
    host::{HostBuilder, TestHost, WrittenHost},
    mcp::Mcp,
    process::{self, free_port},
};

/// Distinct queries of a measurement.
const QUERIES: usize = 1_000;
/// Searches before the clock starts, with queries of their own.
const WARM_UP: usize = 100;
/// Sessions that come and go between two measurements.
const SESSIONS: usize = 1_000;
/// Tools of one backend; more come from more backends.
const TOOLS_PER_BACKEND: usize = 10_000;
/// Longest wait for a host with many tools.
const START_PATIENCE: Duration = Duration::from_mins(10);
/// Tools of the synthetic offers that are measured when none is named.
const SIZES: [usize; 3] = [2_792, 10_719, 100_000];
/// How much a median may differ from another of the same thing.
const NOISE: f64 = 1.15;

/// What is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Tools to offer, a line each as of `vmcp-host eval --tools`; several files are measured one after the other
    #[arg(long, value_name = "FILE")]
    tools: Vec<PathBuf>,
    /// Queries to ask, a line each as of `vmcp-host eval --queries`; the rest up to 1,000 are made from words of the tools
    #[arg(long, value_name = "FILE")]
    queries: Vec<PathBuf>,
    /// Offer so many made-up tools [default without files: 2792, 10719 and 100000]
    #[arg(long, value_name = "COUNT")]
    synthetic: Vec<usize>,
    /// Of what is made up
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What one offer costs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub offer: String,
    pub tools: usize,
    pub host: Percentiles,
    /// The other system's query.
    pub reference: Percentiles,
    pub host_after_sessions: Percentiles,
    pub sessions: usize,
    /// What `/status` says of the index before and after the sessions.
    pub index: Value,
    pub index_after_sessions: Value,
    /// From exec to ready without an index file.
    pub cold_start_millis: f64,
    /// From exec to ready with one.
    pub warm_start_millis: f64,
    /// Resident memory after all searches.
    pub resident_mib: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    pub p50_millis: f64,
    pub p99_millis: f64,
}

impl From<&Latencies> for Percentiles {
    fn from(latencies: &Latencies) -> Self {
        let millis = |latency: Duration| (latency.as_secs_f64() * 1e6).round() / 1e3;
        Self { p50_millis: millis(latencies.p50()), p99_millis: millis(latencies.p99()) }
    }
}

/// Most that a size may cost; of sizes that are not listed, the next larger counts.
struct Limits {
    tools: usize,
    p50_millis: f64,
    p99_millis: f64,
    cold_start_millis: f64,
    warm_start_millis: f64,
    resident_mib: f64,
}

const LIMITS: [Limits; 3] = [
    Limits {
        tools: 2_792,
        p50_millis: 1.0,
        p99_millis: 3.0,
        cold_start_millis: 6_000.0,
        warm_start_millis: 700.0,
        resident_mib: 200.0,
    },
    Limits {
        tools: 10_719,
        p50_millis: 2.5,
        p99_millis: 6.0,
        cold_start_millis: 6_000.0,
        warm_start_millis: 700.0,
        resident_mib: 200.0,
    },
    Limits {
        tools: 100_000,
        p50_millis: 25.0,
        p99_millis: 60.0,
        cold_start_millis: f64::INFINITY,
        warm_start_millis: f64::INFINITY,
        resident_mib: f64::INFINITY,
    },
];

/// Measures each offer.
pub async fn run(options: &Options) -> anyhow::Result<Vec<Report>> {
    // Compiling the components belongs to no start.
    drop(TestHost::builder().backend("tools", FakeBackend::echo(["echo"])).yaml("optimizer: {}").start().await);
    let sizes = match options.synthetic.as_slice() {
        [] if options.tools.is_empty() => &SIZES,
        sizes => sizes,
    };
    let read = options.tools.iter().map(|file| Offer::read(file, &options.queries, options.seed));
    let made = sizes.iter().map(|size| Offer::make(*size, &options.queries, options.seed));
    let mut reports = Vec::new();
    for offer in read.chain(made) {
        reports.push(measure(&offer?).await?);
    }
    Ok(reports)
}

async fn measure(offer: &Offer) -> anyhow::Result<Report> {
    let (host, cold_start) = start(host(&offer.definitions, |_| json!({})).await?).await;
    check_answers(&host, offer).await?;
    let mut caller = Caller::connect(&host.url, "find_tool", &json!({})).await;
    search(&mut caller, &offer.warm_up).await?;
    let before = search(&mut caller, &offer.queries).await?;
    let index = index_status(&host).await?;
    let reference = Reference::of(&offer.definitions)?.measure(&offer.warm_up, &offer.queries)?;
    come_and_go(&host, offer).await?;
    let after = search(&mut caller, &offer.queries).await?;
    let index_after_sessions = index_status(&host).await?;
    let resident_mib = resident_kib(host.pid()) / 1024.0;
    drop(host);
    Ok(Report {
        offer: offer.name.clone(),
        tools: offer.definitions.len(),
        host: (&before).into(),
        reference: (&reference).into(),
        host_after_sessions: (&after).into(),
        sessions: SESSIONS,
        index,
        index_after_sessions,
        cold_start_millis: millis(cold_start),
        warm_start_millis: millis(warm_start(offer).await?),
        resident_mib,
    })
}

/// A host whose backends offer `definitions`.
///
/// - `index`: the key of the configuration, in JSON
async fn host(definitions: &[Value], index: impl FnOnce(&Path) -> Value) -> anyhow::Result<HostBuilder> {
    let mut builder = TestHost::builder();
    let optimizer = json!({ "index": index(builder.dir()) });
    builder = builder.yaml(&format!("optimizer: {optimizer}"));
    for (number, part) in definitions.chunks(TOOLS_PER_BACKEND).enumerate() {
        let file = builder.dir().join(format!("tools{number}.jsonl"));
        let lines: Vec<_> = part.iter().map(Value::to_string).collect();
        tokio::fs::write(&file, lines.join("\n")).await?;
        let backend = FakeBackend::new().modern().http().tools_file(&file).with(|spec| spec.page_size = Some(1_000));
        builder = builder.backend(&format!("tools{number}"), backend);
    }
    Ok(builder)
}

/// Starts the host; its backends run already. Also the time until it was ready.
async fn start(builder: HostBuilder) -> (TestHost, Duration) {
    launch(builder.write().await).await
}

async fn launch(written: WrittenHost) -> (TestHost, Duration) {
    let begun = Instant::now();
    let mut host = written.launch(free_port());
    until_ready(&mut host, START_PATIENCE).await;
    (host, begun.elapsed())
}

/// The second start of a host that keeps its index in a file.
async fn warm_start(offer: &Offer) -> anyhow::Result<Duration> {
    let builder = host(&offer.definitions, |dir| json!({ "path": dir.join("index.db") })).await?;
    let (mut first, _) = start(builder).await;
    first.terminate().await;
    let (_host, took) = launch(first.take_written()).await;
    Ok(took)
}

/// Makes sure that what is measured is a search and not its refusal.
async fn check_answers(host: &TestHost, offer: &Offer) -> anyhow::Result<()> {
    let client = host.connect_modern();
    for query in &offer.queries[..5] {
        let reply = client.call("find_tool", json!({ "tool_description": query })).await;
        let found = reply.result()["structuredContent"]["tools"].as_array().map_or(0, Vec::len);
        ensure!(found > 0, "`{query}` finds nothing among {} tools: {}", offer.definitions.len(), reply.raw);
    }
    // What a host does once after its start is none of a search's costs.
    process::eventually("the tokens of all tools are counted", START_PATIENCE, || async {
        let reply = client.call("find_tool", json!({ "tool_description": offer.queries[0] })).await;
        reply.result()["structuredContent"]["token_counts"].is_object()
    })
    .await;
    Ok(())
}

/// Asks all `queries`, one after the other.
async fn search(caller: &mut Caller, queries: &[String]) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for query in queries {
        caller.set_arguments(json!({ "tool_description": query }));
        latencies.push(caller.call().await.map_err(anyhow::Error::msg)?);
    }
    latencies.took = begun.elapsed();
    Ok(latencies)
}

/// Opens sessions that search once and go.
async fn come_and_go(host: &TestHost, offer: &Offer) -> anyhow::Result<()> {
    let mut door = Door::open(&host.url).await?;
    for query in offer.warm_up.iter().cycle().take(SESSIONS) {
        let session = door.open_session().await?;
        let arguments = json!({ "tool_description": query });
        let mut caller = Caller::of_session(&host.url, "find_tool", &arguments, &session).await;
        caller.call().await.map_err(anyhow::Error::msg)?;
        door.close_session(&session).await?;
    }
    Ok(())
}

/// What the host says of its index to its owner.
async fn index_status(host: &TestHost) -> anyhow::Result<Value> {
    let index = host.doctor().await["search"]["index"].take();
    ensure!(index.is_object(), "the host says nothing of an index");
    Ok(index)
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// The reports as people read them.
pub fn table(reports: &[Report]) -> String {
    let mut text = format!(
        "{:<16} {:>7} | {:>8} {:>8} | {:>8} {:>8} | {:>9} {:>8} | {:>9} {:>9} | {:>8}\n",
        "offer",
        "tools",
        "host p50",
        "p99 ms",
        "ref. p50",
        "p99 ms",
        "later p50",
        "p99 ms",
        "cold ms",
        "warm ms",
        "MiB"
    );
    for report in reports {
        let Report { host, reference, host_after_sessions: after, .. } = report;
        writeln!(
            text,
            "{:<16} {:>7} | {:>8.2} {:>8.2} | {:>8.2} {:>8.2} | {:>9.2} {:>8.2} | {:>9.0} {:>9.0} | {:>8.1}",
            report.offer,
            report.tools,
            host.p50_millis,
            host.p99_millis,
            reference.p50_millis,
            reference.p99_millis,
            after.p50_millis,
            after.p99_millis,
            report.cold_start_millis,
            report.warm_start_millis,
            report.resident_mib
        )
        .expect("a string takes all");
    }
    writeln!(
        text,
        "ref.: the other system's full-text query in process, without a server; later: after {SESSIONS} sessions"
    )
    .expect("a string takes all");
    text
}

/// Fails when a limit is broken.
pub fn check(reports: &[Report]) -> anyhow::Result<()> {
    let broken: Vec<_> = reports.iter().flat_map(Report::broken).collect();
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    Ok(())
}

impl Report {
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut at_most = |what: &str, is: f64, limit: f64| {
            if is > limit {
                broken.push(format!("{}: {what} {is:.2}, at most {limit:.2}", self.offer));
            }
        };
        if let Some(limits) = LIMITS.iter().find(|limits| self.tools <= limits.tools) {
            at_most("p50 in ms", self.host.p50_millis, limits.p50_millis);
            at_most("p99 in ms", self.host.p99_millis, limits.p99_millis);
            at_most("cold start in ms", self.cold_start_millis, limits.cold_start_millis);
            at_most("warm start in ms", self.warm_start_millis, limits.warm_start_millis);
            at_most("resident MiB", self.resident_mib, limits.resident_mib);
        }
        at_most("p50 in ms after the sessions", self.host_after_sessions.p50_millis, self.host.p50_millis * NOISE);
        if self.index != self.index_after_sessions {
            let (before, after) = (&self.index, &self.index_after_sessions);
            broken.push(format!("{}: sessions changed the index from {before} to {after}", self.offer));
        }
        broken
    }
}
