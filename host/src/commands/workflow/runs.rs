//! `workflow list`, `show` and `cancel`: the runs that the running host keeps.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use vmcp_server::admin;

use crate::{
    cli::{CancelRun, ListRuns, ShowRun},
    commands::session::HostSession,
    report,
};

pub(super) async fn list(arguments: &ListRuns) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::attach(&arguments.config.config).await?;
    let runs = host.ask(admin::RUNS, json!({})).await?;
    match arguments.json {
        true => report::json(&runs["runs"]),
        false => report::runs::list(runs["runs"].as_array().map(Vec::as_slice).unwrap_or_default()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(arguments: &ShowRun) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::attach(&arguments.config.config).await?;
    let id = whole(&mut host, &arguments.id).await?;
    let run = host.ask(admin::RUN, json!({ "id": id })).await?;
    match arguments.json {
        true => report::json(&run),
        false => report::runs::one(&run),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cancel(arguments: &CancelRun) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::attach(&arguments.config.config).await?;
    let id = whole(&mut host, &arguments.id).await?;
    host.ask(admin::CANCEL_RUN, json!({ "id": id })).await?;
    report::line(&format!("{id} is cancelled"));
    Ok(ExitCode::SUCCESS)
}

/// The id that begins so.
async fn whole(host: &mut HostSession, beginning: &str) -> anyhow::Result<String> {
    let runs = host.ask(admin::RUNS, json!({})).await?;
    let ids = runs["runs"].as_array().into_iter().flatten().filter_map(|run| run["id"].as_str());
    let found: Vec<&str> = ids.filter(|id| id.starts_with(beginning)).collect();
    match found.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => bail!("there is no run `{beginning}`\nhint: 'vmcp-host workflow list' shows those there are"),
        several => bail!("{} runs begin with `{beginning}`: {}", several.len(), several.join(", ")),
    }
}
