//! `kill -9` of a host leaves no process behind, whatever its backends do. A program of its own, since the watcher is the
//! executable itself under another argument.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a failure is the test's; the parent reads what it prints"
)]

mod support;

use std::{
    io::BufRead as _,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::{PATIENCE, is_alive, stdio, text};
use vmcp_backend::{Backend, BackendContext, Watcher, watcher};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(watcher::SUBCOMMAND) => watcher::run(),
        Some("host") => host(),
        // How the test harness asks what there is.
        Some("--list") => ExitCode::SUCCESS,
        _ => {
            kill_of_the_host_ends_all_that_came_from_it();
            ExitCode::SUCCESS
        }
    }
}

/// Starts a backend with two stubborn grandchildren, prints all ids and waits to be killed.
fn host() -> ExitCode {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let watcher = Watcher::spawn();
        let shared = support::context();
        let context = BackendContext {
            input_timeout: Duration::from_mins(10),
            host_info: shared.host_info.clone(),
            watcher: Some(watcher.clone()),
            tasks: shared.tasks.clone(),
            shutdown: shared.shutdown.clone(),
        };
        let backend = Backend::new(stdio("legacy"), context.into());
        backend.start();
        let child = text(&backend, "pid", json!({})).await;
        let in_group = text(&backend, "grandchild", json!({})).await;
        let escaped = text(&backend, "grandchild", json!({"leaves": support::FINDS_ESCAPED})).await;
        println!("{child} {in_group} {escaped} {}", watcher.pid().unwrap());
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

fn kill_of_the_host_ends_all_that_came_from_it() {
    let mut host = Command::new(std::env::current_exe().unwrap());
    let mut host = host.arg("host").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 4, "{line:?}");
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");

    // The watcher takes no notice of what a terminal sends.
    let watcher = Pid::from_raw(pids[3].try_into().unwrap()).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(watcher, signal).unwrap();
    }
    host.kill().unwrap();
    host.wait().unwrap();
    let killed = Instant::now();
    while pids.iter().any(|pid| is_alive(*pid)) {
        assert!(killed.elapsed() < PATIENCE, "still there: {pids:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
