//! `snapshot`: the tools of a live catalog as a file that `eval` reads.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;
use vmcp_optimizer::eval::GoldenTool;
use vmcp_server::admin;

use super::session::HostSession;
use crate::{cli::Snapshot, report};

pub(crate) async fn run(arguments: Snapshot) -> anyhow::Result<ExitCode> {
    let tools = Box::pin(live_tools(&arguments.file.config)).await?;
    let mut lines = String::new();
    for tool in &tools {
        let line = serde_json::to_string(tool).context("a tool cannot be written as JSON")?;
        writeln!(lines, "{line}").expect("a string takes all");
    }
    match &arguments.out {
        Some(file) => {
            tokio::fs::write(file, lines).await.with_context(|| format!("cannot write {}", file.display()))?;
            report::note(&format!("{} tools written to {}", tools.len(), file.display()));
        }
        None => report::text_as_is(&lines),
    }
    Ok(ExitCode::SUCCESS)
}

/// The tools that clients of the host can find, in the order of their names.
pub(super) async fn live_tools(config: &Path) -> anyhow::Result<Vec<GoldenTool>> {
    let mut host = Box::pin(HostSession::open(config)).await?;
    let answer = host.ask(admin::TOOLS, json!({})).await;
    host.close().await;
    serde_json::from_value(answer?["tools"].take()).context("the host describes its tools in another way")
}
