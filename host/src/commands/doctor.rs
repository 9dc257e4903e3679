//! `doctor`: how every backend is.

use std::process::ExitCode;

use serde_json::json;
use vmcp_server::admin;

use super::session::HostSession;
use crate::{cli::Doctor, exit::Failure, report};

pub(crate) async fn run(arguments: Doctor) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::open(&arguments.file.config).await?;
    // A catalog stands once every backend was tried.
    let tried = host.ask(admin::CATALOG, json!({})).await;
    let status = host.ask(admin::STATUS, json!({})).await;
    let is_own = host.is_own();
    host.close().await;
    let status = status?;
    match arguments.json {
        true => report::json(&status),
        false => report::doctor(&status, is_own),
    }
    tried?;
    let unwell = |backend: &serde_json::Value| backend["health"] != "healthy" && backend["state"] != "idle";
    let is_well = !status["backends"].as_array().is_some_and(|backends| backends.iter().any(unwell));
    Ok(if is_well { ExitCode::SUCCESS } else { Failure::Unwell.into() })
}
