//! What it costs a client to be one that can be asked something: the same calls through the host with and without
//! elicitation, in turns, to backends of both eras. Such clients have backend sessions of their own.

use std::{fmt::Write, time::Duration};

use futures::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    caller::{Caller, drive},
    stats::{Latencies, micros, ratio},
};
use crate::{
    fake::{Behaviour, FakeBackend},
    host::TestHost,
};

const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(500);
const REPLY_BYTES: usize = 1 << 10;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub backend: &'static str,
    pub connections: usize,
    pub mute_p50_micros: f64,
    pub able_p50_micros: f64,
    /// Able to mute.
    pub p50_ratio: f64,
    pub throughput_ratio: f64,
}

/// Measures each kind of backend with one connection and with 32.
pub async fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    let fake = || FakeBackend::new().tool("echo", Behaviour::Echo);
    let usual = Value::Null;
    let backends = [
        ("modern HTTP", fake().modern().http(), usual.clone()),
        ("modern stdio", fake().modern(), usual.clone()),
        ("legacy HTTP", fake().http(), usual.clone()),
        ("legacy stdio", fake(), usual),
        // Each process serves one call of such a client at a time: what more of them change.
        ("legacy stdio, 1 process", fake(), json!({ "maxProcesses": 1 })),
        ("legacy stdio, 16 proc.", fake(), json!({ "maxProcesses": 16 })),
    ];
    for (name, backend, keys) in backends {
        let host = TestHost::builder().backend_with("b", backend, keys).start().await;
        for connections in [1, 32] {
            rows.push(measure(&host.url, name, connections).await);
        }
    }
    rows
}

async fn measure(url: &str, backend: &'static str, connections: usize) -> Row {
    let (mut mute, mut able) = (Latencies::default(), Latencies::default());
    for round in 0..=ROUNDS {
        // The first round warms up.
        let time = if round == 0 { WARM_UP } else { ROUND };
        for (sum, capabilities) in [(&mut mute, json!({})), (&mut able, json!({ "elicitation": {} }))] {
            let part = call(url, connections, &capabilities, time).await;
            if round > 0 {
                sum.merge(&part);
                sum.took += part.took;
            }
        }
    }
    Row {
        backend,
        connections,
        mute_p50_micros: micros(mute.p50()),
        able_p50_micros: micros(able.p50()),
        p50_ratio: ratio(micros(able.p50()), micros(mute.p50())),
        throughput_ratio: ratio(able.per_second(), mute.per_second()),
    }
}

async fn call(url: &str, connections: usize, capabilities: &Value, time: Duration) -> Latencies {
    let arguments = json!({ "size": REPLY_BYTES });
    let callers = (0..connections).map(|_| Caller::able(url, "echo", &arguments, capabilities));
    drive(join_all(callers).await, time).await
}

/// The rows as people read them.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<24} {:>5} | {:>11} {:>11} | {:>6} {:>6}\n",
        "backend", "conns", "mute p50 µs", "able p50 µs", "× p50", "× c/s"
    );
    for row in rows {
        writeln!(
            text,
            "{:<24} {:>5} | {:>11.1} {:>11.1} | {:>6.2} {:>6.2}",
            row.backend, row.connections, row.mute_p50_micros, row.able_p50_micros, row.p50_ratio, row.throughput_ratio
        )
        .expect("a string takes all");
    }
    text
}
