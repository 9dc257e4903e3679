//! What the host adds to `tools/call`: direct and through the host in one run, in turns, so that both meet the same machine.

use std::{fmt::Write, time::Duration};

use anyhow::bail;
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    caller::{Caller, drive},
    pipe::Pipe,
    stats::{Latencies, micros, ratio},
};
use crate::{
    fake::{Behaviour, FakeBackend},
    host::TestHost,
};

const BACKENDS: usize = 10;
const TOOLS: usize = 100;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(500);
/// A direct call that takes longer says that the backend or the machine is slow, and flatters the ratio.
const DIRECT_LIMIT: Duration = Duration::from_micros(200);

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub path: &'static str,
    pub connections: usize,
    pub reply_bytes: usize,
    pub direct_p50_micros: f64,
    pub direct_p99_micros: f64,
    pub direct_per_second: f64,
    pub host_p50_micros: f64,
    pub host_p99_micros: f64,
    pub host_per_second: f64,
    /// Host to direct: how many times longer the middle call takes.
    pub p50_ratio: f64,
    pub p99_ratio: f64,
    /// Host to direct: the share of calls per second that is left.
    pub throughput_ratio: f64,
}

/// Measures every combination; an error when the direct calls are too slow to compare with.
pub async fn run() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for over_http in [true, false] {
        let bench = Bench::start(over_http).await;
        for (connections, reply_bytes) in [(1, 1 << 10), (1, 64 << 10), (32, 1 << 10), (32, 64 << 10)] {
            let row = bench.measure(connections, reply_bytes).await;
            let is_reference = over_http && connections == 1 && reply_bytes == 1 << 10;
            if is_reference && row.direct_p50_micros > micros(DIRECT_LIMIT) {
                bail!(
                    "a direct call takes {} µs, more than {} µs: the machine is busy, and a ratio would say nothing",
                    row.direct_p50_micros,
                    micros(DIRECT_LIMIT)
                );
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The rows as people read them.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<12} {:>5} {:>7} | {:>10} {:>10} {:>9} | {:>10} {:>10} {:>9} | {:>6} {:>6} {:>6}\n",
        "path",
        "conns",
        "bytes",
        "direct p50",
        "p99 µs",
        "calls/s",
        "host p50",
        "p99 µs",
        "calls/s",
        "× p50",
        "× p99",
        "× c/s"
    );
    for row in rows {
        writeln!(
            text,
            "{:<12} {:>5} {:>7} | {:>10.1} {:>10.1} {:>9.0} | {:>10.1} {:>10.1} {:>9.0} | {:>6.2} {:>6.2} {:>6.2}",
            row.path,
            row.connections,
            row.reply_bytes,
            row.direct_p50_micros,
            row.direct_p99_micros,
            row.direct_per_second,
            row.host_p50_micros,
            row.host_p99_micros,
            row.host_per_second,
            row.p50_ratio,
            row.p99_ratio,
            row.throughput_ratio
        )
        .expect("a string takes all");
    }
    text
}

struct Bench {
    host: TestHost,
    over_http: bool,
    /// Addresses of the backends, over HTTP.
    urls: Vec<String>,
    /// The first backend's command, over stdio.
    command: Vec<String>,
}

impl Bench {
    async fn start(over_http: bool) -> Self {
        let mut builder = TestHost::builder();
        let mut command = Vec::new();
        for backend in 0..BACKENDS {
            let mut fake = (0..TOOLS)
                .fold(FakeBackend::new().modern(), |fake, index| fake.tool(&tool(backend, index), Behaviour::Echo));
            if over_http {
                fake = fake.http();
            }
            if backend == 0 {
                command = fake.command();
            }
            builder = builder.backend(&format!("backend{backend}"), fake);
        }
        let host = builder.start().await;
        let urls = host.written.servers.iter().map(|(_, server)| server.first_line.clone()).collect();
        Self { host, over_http, urls, command }
    }

    async fn measure(&self, connections: usize, reply_bytes: usize) -> Row {
        let arguments = json!({ "size": reply_bytes });
        let (mut direct, mut through) = (Latencies::default(), Latencies::default());
        let mut pipe = (!self.over_http).then(|| Pipe::open(&self.command));
        for round in 0..=ROUNDS {
            // The first round warms up.
            let time = if round == 0 { WARM_UP } else { ROUND };
            let alone = match &mut pipe {
                Some(pipe) => pipe.measure(&tool(0, 0), &arguments, connections, time).await,
                None => self.call_http(Some(&self.urls), connections, &arguments, time).await,
            };
            let hosted = self.call_http(None, connections, &arguments, time).await;
            if round > 0 {
                for (sum, part) in [(&mut direct, alone), (&mut through, hosted)] {
                    sum.merge(&part);
                    sum.took += part.took;
                }
            }
        }
        let path = if self.over_http { "HTTP→HTTP" } else { "HTTP→stdio" };
        Row {
            path,
            connections,
            reply_bytes,
            direct_p50_micros: micros(direct.p50()),
            direct_p99_micros: micros(direct.p99()),
            direct_per_second: direct.per_second().round(),
            host_p50_micros: micros(through.p50()),
            host_p99_micros: micros(through.p99()),
            host_per_second: through.per_second().round(),
            p50_ratio: ratio(micros(through.p50()), micros(direct.p50())),
            p99_ratio: ratio(micros(through.p99()), micros(direct.p99())),
            throughput_ratio: ratio(through.per_second(), direct.per_second()),
        }
    }

    /// One connection per task, spread over the backends; `urls` are theirs, or `None` to go through the host.
    async fn call_http(
        &self,
        urls: Option<&[String]>,
        connections: usize,
        arguments: &Value,
        time: Duration,
    ) -> Latencies {
        // Over stdio the direct side is one process, and so is this one.
        let backends = if self.over_http { BACKENDS } else { 1 };
        let callers = join_all((0..connections).map(|index| {
            let backend = index % backends;
            let url = urls.map_or(self.host.url.as_str(), |urls| urls[backend].as_str());
            async move { Caller::connect(url, &tool(backend, index % TOOLS), arguments).await }
        }))
        .await;
        drive(callers, time).await
    }
}

fn tool(backend: usize, index: usize) -> String {
    format!("tool_{backend}_{index}")
}
