//! What a composite tool costs beyond the calls that it makes.

use std::{
    fmt::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;

use super::{
    caller::Caller,
    start::resident_kib,
    stats::{Latencies, micros},
};
use crate::{fake::FakeBackend, host::TestHost, process::workspace_dir};

/// Calls of the parallel part.
const PARALLEL: usize = 100;
/// Runs that wait, beside as many that do already.
const WAITING: usize = 1_000;
const ROUNDS: usize = 10;
const ROUND: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_millis(500);

/// What a run of one call may cost over the call.
const MAX_ONE_MICROS: f64 = 300.0;
/// What a run of many calls may cost over as many calls of a client.
const MAX_PARALLEL_MICROS: f64 = 5_000.0;
/// Most memory of a run that waits.
const MAX_WAITING_BYTES: f64 = 16.0 * 1024.0;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflows {
    /// The middle call of a tool.
    pub call_p50_micros: f64,
    /// The middle run of steps that is this one call.
    pub steps_p50_micros: f64,
    /// The middle run of a component that is this one call.
    pub component_p50_micros: f64,
    /// A client's calls on as many connections, until the last is answered.
    pub parallel_calls_p50_micros: f64,
    /// The middle run that makes as many calls at once.
    pub parallel_run_p50_micros: f64,
    /// The middle run of a component that is one call, where runs outlive the process.
    pub kept_p50_micros: f64,
    /// The middle call of a tool beside it.
    pub beside_kept_p50_micros: f64,
    /// Resident memory that a run adds which waits for an answer.
    pub bytes_per_waiting_run: f64,
}

pub async fn run() -> anyhow::Result<Workflows> {
    let guest = workspace_dir().join("tests/guests/run-joins.wasm");
    let yaml = format!(
        "
plugins: [{{ name: joins, source: {} }}]
compositeTools:
  - {{ name: steps, description: One call, steps: [{{ id: one, tool: echo, arguments: {{ n: 1 }} }}] }}
  - {{ name: joins, workflow: joins }}
",
        guest.display()
    );
    let host = TestHost::builder().backend("b", FakeBackend::echo(["echo"]).http()).yaml(&yaml).start().await;
    let mut callers = [
        Caller::connect(&host.url, "echo", &json!({ "n": 1 })).await,
        Caller::connect(&host.url, "steps", &json!({})).await,
        Caller::connect(&host.url, "joins", &json!({ "count": 1 })).await,
        Caller::connect(&host.url, "joins", &json!({ "count": PARALLEL })).await,
    ];
    let mut many = Vec::with_capacity(PARALLEL);
    for _ in 0..PARALLEL {
        many.push(Caller::connect(&host.url, "echo", &json!({ "n": 1 })).await);
    }
    let mut latencies = [(); 5].map(|()| Latencies::default());
    for round in 0..=ROUNDS {
        let (time, is_warm_up) = if round == 0 { (WARM_UP, true) } else { (ROUND, false) };
        let [of_many, of_callers @ ..] = &mut latencies;
        for (caller, latencies) in callers.iter_mut().zip(of_callers) {
            let start = Instant::now();
            while start.elapsed() < time {
                let latency = caller.call().await.map_err(anyhow::Error::msg)?;
                if !is_warm_up {
                    latencies.push(latency);
                }
            }
        }
        let start = Instant::now();
        while start.elapsed() < time {
            let began = Instant::now();
            let answers = join_all(many.iter_mut().map(Caller::call)).await;
            answers.into_iter().collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
            if !is_warm_up {
                of_many.push(began.elapsed());
            }
        }
    }
    let (beside_kept, kept) = kept(&guest).await?;
    let bytes_per_waiting_run = waiting().await?;
    let [parallel_calls, call, steps, component, parallel_run] = latencies.map(|latencies| micros(latencies.p50()));
    Ok(Workflows {
        call_p50_micros: call,
        steps_p50_micros: steps,
        component_p50_micros: component,
        parallel_calls_p50_micros: parallel_calls,
        parallel_run_p50_micros: parallel_run,
        kept_p50_micros: micros(kept.p50()),
        beside_kept_p50_micros: micros(beside_kept.p50()),
        bytes_per_waiting_run,
    })
}

/// One call, and a run that is this call, of a host that keeps its runs in a file.
async fn kept(guest: &Path) -> anyhow::Result<(Latencies, Latencies)> {
    let yaml = format!(
        "
runs: {{ path: runs.db }}
plugins: [{{ name: joins, source: {} }}]
compositeTools: [{{ name: joins, workflow: joins }}]
",
        guest.display()
    );
    let host = TestHost::builder().backend("b", FakeBackend::echo(["echo"]).http()).yaml(&yaml).start().await;
    let mut call = Caller::connect(&host.url, "echo", &json!({ "n": 1 })).await;
    let mut run = Caller::connect(&host.url, "joins", &json!({ "count": 1 })).await;
    let (mut calls, mut runs) = (Latencies::default(), Latencies::default());
    for round in 0..=ROUNDS {
        for (caller, latencies) in [(&mut call, &mut calls), (&mut run, &mut runs)] {
            let start = Instant::now();
            while start.elapsed() < ROUND {
                let latency = caller.call().await.map_err(anyhow::Error::msg)?;
                if round > 0 {
                    latencies.push(latency);
                }
            }
        }
    }
    Ok((calls, runs))
}

/// Bytes of a run that waits for its client's answer, of a client that has no connection meanwhile.
async fn waiting() -> anyhow::Result<f64> {
    let yaml = "
compositeTools:
  - name: asks
    description: Asks
    steps:
      - { id: one, tool: echo, arguments: { n: 1 } }
      - { id: ask, type: elicitation, dependsOn: [one], message: Go on?, schema: { type: object, properties: {} } }
";
    let host = TestHost::builder().backend("b", FakeBackend::echo(["echo"]).http()).yaml(yaml).start().await;
    let mut client = Caller::able(&host.url, "asks", &json!({}), &json!({ "elicitation": {} })).await;
    // The first runs may live in memory that the start left free; those that come after them count.
    for _ in 0..WAITING {
        client.call().await.map_err(anyhow::Error::msg)?;
    }
    sleep(ROUND).await;
    let before = resident_kib(host.pid());
    for _ in 0..WAITING {
        client.call().await.map_err(anyhow::Error::msg)?;
    }
    sleep(ROUND).await;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let runs = WAITING as f64;
    Ok((resident_kib(host.pid()) - before) * 1024.0 / runs)
}

impl Workflows {
    /// The report as people read it.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, micros: f64, over: f64, limit: &str| {
            writeln!(text, "{what:<44} {micros:>9.1} µs {:>+9.1} µs  {limit}", micros - over)
                .expect("a string takes all");
        };
        line("p50 of a call", self.call_p50_micros, self.call_p50_micros, "");
        line("the same as steps", self.steps_p50_micros, self.call_p50_micros, "at most +300 µs");
        line("the same as a component", self.component_p50_micros, self.call_p50_micros, "at most +300 µs");
        let calls = self.parallel_calls_p50_micros;
        line(&format!("{PARALLEL} calls at once, by clients"), calls, calls, "");
        line(&format!("{PARALLEL} calls at once, by one run"), self.parallel_run_p50_micros, calls, "at most +5000 µs");
        let call = self.beside_kept_p50_micros;
        line("p50 of a call, runs kept in a file", call, call, "");
        line("the same as a component", self.kept_p50_micros, call, "");
        let kib = self.bytes_per_waiting_run / 1024.0;
        writeln!(text, "{:<44} {kib:>9.1} KiB {:>14}at most 16 KiB", "a run that waits for an answer", "")
            .expect("a string takes all");
        text
    }

    /// Holds the report to its limits.
    pub fn check(&self) -> anyhow::Result<()> {
        let most = self.call_p50_micros + MAX_ONE_MICROS;
        ensure!(self.steps_p50_micros <= most && self.component_p50_micros <= most, "a run of one call costs too much");
        let most = self.parallel_calls_p50_micros + MAX_PARALLEL_MICROS;
        ensure!(self.parallel_run_p50_micros <= most, "a run of {PARALLEL} calls costs too much");
        ensure!(self.bytes_per_waiting_run <= MAX_WAITING_BYTES, "a run that waits takes too much memory");
        Ok(())
    }
}
