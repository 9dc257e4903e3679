//! `find`: one search from the command line, answered by what answers clients.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Map, Value, json};
use vmcp_optimizer::find_tool::FIND_TOOL;
use vmcp_server::admin;

use super::session::HostSession;
use crate::{cli::Find, exit::Failure, report};

pub(crate) async fn run(arguments: Find) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::open(&arguments.file.config).await?;
    let result = find(&mut host, &arguments).await;
    host.close().await;
    let result = result?;
    if result["isError"] == true {
        report::tool_result(&result);
        return Ok(Failure::Tool.into());
    }
    match arguments.json {
        true => report::json(&result["structuredContent"]),
        false => report::search::found(&result["structuredContent"]),
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(host: &mut HostSession, find: &Find) -> anyhow::Result<Value> {
    let status = host.ask(admin::STATUS, json!({})).await?;
    if !status["search"].is_object() {
        let config = find.file.config.display();
        bail!(
            "the host searches nothing: its configuration has no `optimizer`\nhint: add `optimizer: {{}}` to {config}, or try \
             what it would find with 'vmcp-host eval --live -c {config} --explain QUERY'"
        );
    }
    host.ask("tools/call", json!({ "name": FIND_TOOL, "arguments": arguments(find) })).await
}

/// The arguments of the command as those of the tool.
fn arguments(find: &Find) -> Map<String, Value> {
    let mut arguments = Map::new();
    arguments.insert("tool_description".into(), json!(find.query));
    if !find.keywords.is_empty() {
        arguments.insert("tool_keywords".into(), json!(find.keywords));
    }
    if let Some(server) = &find.server {
        arguments.insert("server".into(), json!(server));
    }
    if let Some(limit) = find.limit {
        arguments.insert("limit".into(), json!(limit));
    }
    if find.explain {
        arguments.insert("explain".into(), json!(true));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_command_line_becomes_arguments_of_the_tool() {
        let check = |line: &str, expected: Value| {
            let words = format!("vmcp-host find -c f {line}");
            let Command::Find(find) = Cli::parse_from(words.split(' ')).command else { panic!("{line} is no search") };
            assert_eq!(Value::Object(arguments(&find)), expected, "{line}");
        };
        check("mail", json!({ "tool_description": "mail" }));
        check(
            "mail -k send -k draft --server gmail -l 3 --explain",
            json!({ "tool_description": "mail", "tool_keywords": ["send", "draft"], "server": "gmail", "limit": 3, "explain": true }),
        );
    }
}
