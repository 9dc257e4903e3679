//! How much one faulty backend costs the others.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    caller::Caller,
    stats::{Latencies, micros, ratio},
};
use crate::{
    fake::{Behaviour, FakeBackend},
    host::TestHost,
};

/// What the faulty backend does whenever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    NeverAnswers,
    AnswersAfterFiveSeconds,
    SendsTwoHundredMebibytes,
    AnswersWithAWrongId,
    FloodsStderr,
}

pub const FAULTS: [Fault; 5] = [
    Fault::NeverAnswers,
    Fault::AnswersAfterFiveSeconds,
    Fault::SendsTwoHundredMebibytes,
    Fault::AnswersWithAWrongId,
    Fault::FloodsStderr,
];

impl Fault {
    fn behaviour(self) -> Behaviour {
        match self {
            Self::NeverAnswers => Behaviour::Never,
            Self::AnswersAfterFiveSeconds => Behaviour::Late { ms: 5000 },
            Self::SendsTwoHundredMebibytes => Behaviour::Big { bytes: 200 << 20 },
            Self::AnswersWithAWrongId => Behaviour::WrongId,
            Self::FloodsStderr => Behaviour::FloodStderr { bytes: 64 << 20 },
        }
    }
}

/// What the other backends' callers saw.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub calls: usize,
    /// What failed calls said.
    pub failed: Vec<String>,
    pub latencies: Latencies,
}

/// One fault beside the same host without it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub fault: Fault,
    pub calls: usize,
    pub failed: usize,
    pub calm_p99_micros: f64,
    pub fault_p99_micros: f64,
    pub p99_ratio: f64,
}

/// Time between two calls of one caller: the machine must not be full before the fault comes.
const PACE: Duration = Duration::from_millis(2);
/// Time between two calls of the faulty backend.
const FAULT_PACE: Duration = Duration::from_millis(100);
const PHASE: Duration = Duration::from_secs(8);

pub async fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    for fault in FAULTS {
        let host = host(Some(fault)).await;
        // The first phase only warms up.
        others(&host, false, Duration::from_secs(1)).await;
        let calm = others(&host, false, PHASE).await;
        let during = others(&host, true, PHASE).await;
        let (calm_p99, fault_p99) = (micros(calm.latencies.p99()), micros(during.latencies.p99()));
        rows.push(Row {
            fault,
            calls: during.calls,
            failed: calm.failed.len() + during.failed.len(),
            calm_p99_micros: calm_p99,
            fault_p99_micros: fault_p99,
            p99_ratio: ratio(fault_p99, calm_p99),
        });
    }
    rows
}

/// The rows as people read them.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<28} {:>7} {:>7} {:>12} {:>13} {:>6}\n",
        "fault", "calls", "failed", "calm p99 µs", "fault p99 µs", "×"
    );
    for row in rows {
        writeln!(
            text,
            "{:<28} {:>7} {:>7} {:>12.1} {:>13.1} {:>6.2}",
            format!("{:?}", row.fault),
            row.calls,
            row.failed,
            row.calm_p99_micros,
            row.fault_p99_micros,
            row.p99_ratio
        )
        .expect("a string takes all");
    }
    text
}

/// Calls of three sound backends while a fourth has a fault again and again.
pub async fn others_during(fault: Option<Fault>, time: Duration) -> Sample {
    let host = host(fault).await;
    others(&host, fault.is_some(), time).await
}

async fn host(fault: Option<Fault>) -> TestHost {
    let faulty = FakeBackend::new().tool("fault", fault.map_or(Behaviour::Echo, Fault::behaviour));
    TestHost::builder()
        .backend("sound_a", FakeBackend::echo(["sound_a"]))
        .backend("sound_b", FakeBackend::echo(["sound_b"]).modern())
        .backend("sound_c", FakeBackend::echo(["sound_c"]).modern().http())
        .backend_with("faulty", faulty, json!({ "requestTimeout": "1s" }))
        .start()
        .await
}

async fn others(host: &TestHost, with_fault: bool, time: Duration) -> Sample {
    let mut sound = JoinSet::new();
    let start = Instant::now();
    for tool in ["sound_a", "sound_b", "sound_c"] {
        let mut caller = Caller::connect(&host.url, tool, &json!({ "size": 1024 })).await;
        sound.spawn(async move {
            let mut sample = Sample::default();
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while start.elapsed() < time {
                pace.tick().await;
                sample.calls += 1;
                match caller.call().await {
                    Ok(latency) => sample.latencies.push(latency),
                    Err(error) => sample.failed.push(format!("{tool}: {error}")),
                }
            }
            sample
        });
    }
    let mut faulty = JoinSet::new();
    if with_fault {
        let mut caller = Caller::connect(&host.url, "fault", &json!({})).await;
        faulty.spawn(async move {
            loop {
                // Its failure is the point.
                let _ = caller.call().await;
                sleep(FAULT_PACE).await;
            }
        });
    }
    let mut all = Sample::default();
    while let Some(part) = sound.join_next().await {
        let part = part.unwrap();
        all.calls += part.calls;
        all.failed.extend(part.failed);
        all.latencies.merge(&part.latencies);
    }
    all.latencies.took = start.elapsed();
    all
}
