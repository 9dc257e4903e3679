//! A well-behaved MCP server as a process; `--help` lists what it can be.

use clap::Parser;
use vmcp_tests::{
    fake::Transport,
    fixture::{Fixture, FixtureSpec, http, stdio},
};

fn main() -> anyhow::Result<()> {
    let fixture = Fixture::new(FixtureSpec::parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match fixture.spec.transport {
        Transport::Stdio => {
            let _entered = runtime.enter();
            stdio::serve(&fixture);
        }
        Transport::Http | Transport::Sse => runtime.block_on(http::serve(fixture))?,
    }
    // What still runs ends with the process.
    runtime.shutdown_background();
    Ok(())
}
