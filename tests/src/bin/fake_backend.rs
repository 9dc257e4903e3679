//! A fake MCP server as a process. Its one argument is a `FakeSpec` as JSON.

use std::io::Write;

use anyhow::Context;
use vmcp_tests::fake::{FakeServer, FakeSpec, Transport, http, stdio};

fn main() -> anyhow::Result<()> {
    let argument = std::env::args().nth(1).context("usage: fake-backend SPEC (JSON)")?;
    if argument == "--grandchild" {
        loop {
            std::thread::park();
        }
    }
    let spec: FakeSpec = serde_json::from_str(&argument).context("the spec is not what `FakeSpec` describes")?;
    if let Some(file) = &spec.pid_file {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file, "{}", std::process::id())?;
        if spec.has_grandchild {
            let child = std::process::Command::new(std::env::current_exe()?).arg("--grandchild").spawn()?;
            writeln!(file, "{}", child.id())?;
        }
    }
    if spec.down_while.as_ref().is_some_and(|file| file.exists()) {
        anyhow::bail!("down on purpose");
    }
    if spec.outlives_eof {
        ignore_sigterm();
    }
    #[expect(clippy::disallowed_methods, reason = "a slow start is what was asked for, and nothing else runs yet")]
    while spec.starts_with.as_ref().is_some_and(|gate| !gate.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let server = FakeServer::new(spec);
    match server.spec.transport {
        Transport::Stdio => stdio::serve(&server),
        Transport::Http | Transport::Sse => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(http::serve(server))?;
        }
    }
    Ok(())
}

/// SIGTERM is received by a stream that nobody reads.
fn ignore_sigterm() {
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a plain runtime");
        runtime.block_on(async {
            let kind = tokio::signal::unix::SignalKind::terminate();
            let _stream = tokio::signal::unix::signal(kind).expect("SIGTERM can be caught");
            ready.send(()).expect("the main thread waits");
            std::future::pending::<()>().await;
        });
    });
    is_ready.recv().expect("the thread says that it is ready");
}
