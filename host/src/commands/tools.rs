//! `tools`: every capability with its origin and the reason for its name.

use std::process::ExitCode;

use serde_json::{Value, json};
use vmcp_server::admin;

use super::session::HostSession;
use crate::{cli::Tools, report};

pub(crate) async fn run(arguments: Tools) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::open(&arguments.file.config).await?;
    let catalog = host.ask(admin::CATALOG, json!({})).await;
    host.close().await;
    let mut catalog = catalog?;
    if !arguments.all
        && let Some(Value::Array(entries)) = catalog.get_mut("entries")
    {
        entries.retain(|entry| entry["state"] == "advertised");
    }
    match arguments.json {
        true => report::json(&catalog),
        false => report::catalog(&catalog),
    }
    Ok(ExitCode::SUCCESS)
}
