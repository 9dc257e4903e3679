//! From exec to ready with ten backends that answer at once, and the memory that it takes.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    fake::FakeBackend,
    host::TestHost,
    http,
    process::{PATIENCE, free_port},
};

const RUNS: usize = 7;
const BACKENDS: usize = 10;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// From exec until `/readyz` says 200: the middle of several runs.
    pub ready_millis: f64,
    pub slowest_millis: f64,
    /// Resident memory of the host once it is ready.
    pub resident_mib: f64,
}

impl Start {
    pub fn sentence(&self) -> String {
        let Self { ready_millis, slowest_millis, resident_mib } = self;
        format!("ready after {ready_millis:.0} ms (slowest {slowest_millis:.0} ms), {resident_mib:.1} MiB resident")
    }
}

/// The first run fills the compile cache and does not count.
pub async fn run() -> Start {
    let mut times = Vec::new();
    let mut resident = 0.0_f64;
    for run in 0..=RUNS {
        let mut builder = TestHost::builder();
        for backend in 0..BACKENDS {
            builder = builder.backend(&format!("backend{backend}"), FakeBackend::echo(["search", "read", "write"]));
        }
        let written = builder.write().await;
        let begun = Instant::now();
        let mut host = written.launch(free_port());
        until_ready(&mut host, PATIENCE).await;
        if run > 0 {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            resident = resident.max(resident_kib(host.pid()) / 1024.0);
        }
    }
    times.sort_by(f64::total_cmp);
    Start { ready_millis: times[times.len() / 2], slowest_millis: times[times.len() - 1], resident_mib: resident }
}

/// Asks every millisecond.
pub(super) async fn until_ready(host: &mut TestHost, patience: Duration) {
    let begun = Instant::now();
    while !is_ready(&host.at("/readyz")).await {
        assert!(begun.elapsed() < patience && !host.has_ended(), "the host is not ready: {}", host.stderr());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn is_ready(url: &str) -> bool {
    matches!(http::get(url).await, Ok(response) if response.status == 200)
}

/// Resident memory of a process; zero where the system does not tell.
pub(super) fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0.0)
}
