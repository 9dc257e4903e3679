//! The one place that prints: results to standard output, everything else to standard error.

pub(crate) mod runs;
pub(crate) mod search;

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use comfy_table::{Cell, Table, presets::UTF8_BORDERS_ONLY};
use serde_json::Value;
use vmcp_config::{ConfigError, IncomingAuthType, Loaded, Problem};
use vmcp_core::catalog::Catalog;
use vmcp_gateway::{gateway::BackendStatus, tool_search::ToolSearchStatus};
use vmcp_host::{CheckedComponents, ComponentRefused};
use vmcp_plugin::{ImportStatus, Inspection};

use crate::exit::Failure;

/// A line on standard output.
pub(crate) fn line(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Text on standard output that ends its last line itself.
pub(crate) fn text_as_is(text: &str) {
    let _ = write!(io::stdout(), "{text}");
}

/// A line on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

pub(crate) fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).expect("a JSON value serialises"));
}

/// An error with everything that led to it, but for the [`Failure`] that only stands for an exit code.
pub(crate) fn error(error: &anyhow::Error) {
    let is_classified = error.is::<Failure>() || error.is::<ComponentRefused>();
    let classified = usize::from(is_classified && error.chain().nth(1).is_some());
    let causes: Vec<_> = error.chain().skip(classified).map(ToString::to_string).collect();
    note(&format!("error: {}", causes.join(": ")));
}

pub(crate) fn problem(problem: &Problem) {
    note(&problem.to_string());
}

/// All problems of a configuration file.
pub(crate) fn config_error(error: &ConfigError) {
    let problems = error.problems();
    if problems.is_empty() {
        return self::error(&anyhow::anyhow!("{error}"));
    }
    problems.iter().for_each(problem);
    let count = problems.len();
    note(&format!("error: {count} problem{}", if count == 1 { "" } else { "s" }));
}

/// What `serve` has to say when it is ready.
pub(crate) struct Ready<'a> {
    pub title: &'a str,
    /// Absent on stdio.
    pub endpoint: Option<String>,
    pub config: &'a Path,
    pub catalog: &'a Catalog,
    pub backends: &'a [BackendStatus],
    /// Absent where all tools are shown.
    pub search: Option<&'a ToolSearchStatus>,
    pub took: Duration,
}

/// Tells where the host is, what it offers, and how clients find it. On stdio all of this goes to standard error.
pub(crate) fn ready(ready: &Ready<'_>) {
    let Ready { title, endpoint, config, catalog, backends, search, took } = ready;
    let config = config.display();
    let healthy = backends.iter().filter(|backend| backend.health == "healthy").count();
    let mut lines = vec![
        format!("{title} is ready after {}", milliseconds(*took)),
        format!("  endpoint:  {}", endpoint.as_deref().unwrap_or("standard input and output")),
        format!("  backends:  {healthy} of {} ready", backends.len()),
    ];
    lines.extend(backends.iter().map(|backend| {
        let what = match (&backend.report.last_error, backend.health) {
            (_, "healthy") => format!("{} tools", backend.offers[0]),
            (Some(error), health) => format!("{health}: {error}"),
            (None, health) => health.to_owned(),
        };
        format!("             - {}: {what}", backend.report.name)
    }));
    lines.push(format!(
        "  offers:    {} tools, {} prompts, {} resources, {} templates",
        catalog.tools.entries().len(),
        catalog.prompts.entries().len(),
        catalog.resources.entries().len(),
        catalog.templates.entries().len(),
    ));
    let naming = &catalog.naming;
    if !naming.resolver.is_empty() {
        let named = catalog.tools.entries().len() + catalog.prompts.entries().len();
        let took = milliseconds(naming.took);
        lines.push(format!("  names:     {} ({} of {named} renamed, {took})", naming.resolver, naming.renamed));
    }
    if !catalog.hidden.is_empty() {
        lines.push(format!("  hidden:    {}; see 'vmcp-host tools --all -c {config}'", catalog.hidden.len()));
    }
    if let Some(search) = search {
        lines.push(format!("  search:    tier {}, ranked by {}", search.tier, search.optimizer.ranking));
        if let Some(fault) = &search.optimizer.provider_fault {
            lines.push(format!("             by words only now: {fault}"));
        }
    }
    let Some(endpoint) = endpoint else { return note(&lines.join("\n")) };
    lines.extend([
        String::new(),
        "To connect:".into(),
        format!("  claude mcp add --transport http {title} {endpoint}"),
        format!("  codex mcp add {title} --url {endpoint}"),
        format!(r#"  code --add-mcp '{{"name":"{title}","type":"http","url":"{endpoint}"}}'"#),
        format!(r#"  other clients: {{"mcpServers": {{"{title}": {{"type": "http", "url": "{endpoint}"}}}}}}"#),
        format!("  stdio clients: vmcp-host connect -c {config}"),
    ]);
    line(&lines.join("\n"));
}

/// What `validate` says of a good configuration.
pub(crate) fn summary(loaded: &Loaded, components: &CheckedComponents) {
    let config = &loaded.config;
    line(&format!("{} is valid", config.name));
    line(&format!("  group        {}", config.group_ref.as_deref().unwrap_or("–")));
    let incoming = match config.incoming_auth.kind {
        IncomingAuthType::Anonymous => "anonymous",
        IncomingAuthType::Local => "local",
        IncomingAuthType::Oidc => "oidc",
    };
    line(&format!("  incoming     {incoming}"));
    line(&format!("  outgoing     {} strategies", config.outgoing_auth.backends.len()));
    line(&format!("  backends     {}", config.backends.len()));
    line(&format!("  names        {}", components.conflict_resolver));
    line(&format!("  search       {}", components.ranking.as_deref().unwrap_or("–")));
    line(&format!(
        "  components   {}",
        if components.loaded.is_empty() { "–".into() } else { components.loaded.join(", ") }
    ));
    line(&format!("  composites   {}", config.composite_tools.len()));
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header.iter().copied());
    table
}

/// The answer of a host to `vmcp/catalog`.
pub(crate) fn catalog(catalog: &Value) {
    let mut table = table(&["name", "kind", "backend", "there", "why", "decided by"]);
    let entries = catalog["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    for entry in entries {
        let state = entry["state"].as_str().unwrap_or_default();
        let name = match state {
            "advertised" => text(&entry["name"]),
            state => format!("{} ({state})", text(&entry["name"])),
        };
        let cells = [
            name,
            text(&entry["kind"]),
            text(&entry["backend"]),
            text(&entry["original"]),
            text(&entry["why"]),
            text(&entry["by"]),
        ];
        table.add_row(cells.map(Cell::new));
    }
    line(&table.to_string());
    line(&format!("{} entries; names by {}", entries.len(), text(&catalog["names"]["resolver"])));
}

/// The answer of a host to `vmcp/status`.
pub(crate) fn doctor(status: &Value, is_own: bool) {
    let mut table = table(&[
        "backend",
        "health",
        "transport",
        "protocol",
        "server",
        "tools",
        "started in",
        "restarts",
        "last error",
    ]);
    for backend in status["backends"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let started = backend["startMs"].as_u64().map_or_else(|| "–".into(), |ms| format!("{ms} ms"));
        let protocol = match &backend["era"] {
            Value::String(era) => format!("{} ({era})", text(&backend["revision"])),
            _ => "–".into(),
        };
        let error = match (&backend["lastError"], &backend["discoveryError"]) {
            (Value::String(error), _) | (Value::Null, Value::String(error)) => match backend["hint"].as_str() {
                Some(hint) => format!("{error}\nhint: {hint}"),
                None => error.clone(),
            },
            _ => "–".into(),
        };
        let cells = [
            text(&backend["name"]),
            text(&backend["health"]),
            text(&backend["transport"]),
            protocol,
            format!("{} {}", text(&backend["serverName"]), text(&backend["serverVersion"])),
            text(&backend["offers"][0]),
            started,
            text(&backend["restarts"]),
            error,
        ];
        table.add_row(cells.map(Cell::new));
    }
    line(&table.to_string());
    line(match is_own {
        true => "asked of a host started for this; none is running for this configuration",
        false => "asked of the running host",
    });
}

/// The result of a tool as text, the rest as JSON.
pub(crate) fn tool_result(result: &Value) {
    let blocks = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    for block in blocks {
        match block["text"].as_str().filter(|_| block["type"] == "text") {
            Some(text) => line(text),
            None => json(block),
        }
    }
    if blocks.is_empty() {
        json(result);
    }
}

/// How far a run is.
pub(crate) fn progress(params: &Value) {
    let of = params["total"].as_f64().map(|total| format!("/{total}")).unwrap_or_default();
    note(&format!("{}{of}  {}", params["progress"], params["message"].as_str().unwrap_or_default()));
}

/// What somebody is asked, and how not to answer.
pub(crate) fn question(message: &str, remark: &str) {
    note(&format!("\n{}\n({remark})", plain(message)));
}

/// Asks for a line on standard input.
pub(crate) fn prompt(what: &str) {
    let _ = write!(io::stderr(), "{}> ", plain(what));
    let _ = io::stderr().flush();
}

/// Text of somebody else's without what a terminal would take for a command, such as to wipe a line.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A component that was baked.
pub(crate) fn baked(written: &Value) {
    line(&format!("{} is the tool {}: {} bytes", text(&written["file"]), text(&written["tool"]), written["size"]));
    line(&format!("sha256 {}", text(&written["sha256"])));
}

/// - `source`: what a baked component was made of
pub(crate) fn inspection(inspection: &Inspection, source: Option<&str>) {
    line(&format!("{}  {} bytes  sha256 {}", inspection.name, inspection.size, inspection.sha256));
    if let Some(description) = &inspection.description {
        line(&format!("  {} {}: {}", description.name, description.version, description.summary));
    }
    for world in &inspection.worlds {
        let version = world.version.as_deref().map(|version| format!("@{version}")).unwrap_or_default();
        let remark = if world.supported { "" } else { " (this host cannot use it)" };
        line(&format!("  world    {}{version}{remark}", world.world));
        if let Some(schema) = &world.config_schema {
            line(&format!("  config   {schema}"));
        }
    }
    for import in &inspection.imports {
        let remark = match import.status {
            ImportStatus::Offered => "every component has it",
            ImportStatus::Workflow => "every workflow has it",
            ImportStatus::TypesOnly => "types only",
            ImportStatus::NeedsGrant => "needs a grant",
            ImportStatus::OtherVersion => "this host offers another version",
            ImportStatus::Unknown => "this host does not offer it",
        };
        line(&format!("  import   {} ({remark})", import.import));
    }
    if let Some(workflow) = &inspection.workflow {
        let description = workflow.description.as_deref().unwrap_or("without a description");
        line(&format!("  tool     {}: {description}", workflow.name));
        line(&format!("  calls    {}", workflow.tools.join(", ")));
        line(&format!("  takes    {}", workflow.input_schema));
        if let Some(schema) = &workflow.config_schema {
            line(&format!("  open     {schema}"));
        }
    }
    if let Some(source) = source {
        line("  source");
        source.lines().for_each(|text| line(&format!("    {text}")));
    }
    if let Some(grants) = &inspection.grants {
        line(&format!("  to grant {grants}"));
    }
    if let Some(problem) = &inspection.problem {
        note(&format!("error: {problem}"));
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A value for a table.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
