//! `workflow`: composite tools in files, from the author's side, and their runs, from the owner's.

mod runs;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vmcp_authoring::{bake, mermaid, source};
use vmcp_config::CompositeFile;
use vmcp_core::{
    journal::{Event, Recorder},
    json::RawJson,
    with_cause,
    workflow::NewRun,
};

use super::{answers::Answers, session::HostSession};
use crate::{
    cli::{Bake, Graph, Replay, RunWorkflow, Workflow},
    exit::Failure,
    report,
};

/// Of the journals that this build writes and reads.
const FORMAT: u32 = 1;

pub(crate) async fn run(arguments: Workflow) -> anyhow::Result<ExitCode> {
    match arguments {
        Workflow::Bake(arguments) => bake_file(&arguments),
        Workflow::Run(arguments) => run_file(&arguments).await,
        Workflow::Replay(arguments) => replay(&arguments).await,
        Workflow::Graph(arguments) => draw(&arguments),
        Workflow::List(arguments) => runs::list(&arguments).await,
        Workflow::Show(arguments) => runs::show(&arguments).await,
        Workflow::Cancel(arguments) => runs::cancel(&arguments).await,
    }
}

/// What a run was told and what came of it, as `--journal` writes it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Journal {
    format: u32,
    tool: String,
    /// The config that the component was given.
    config: Map<String, Value>,
    arguments: RawJson,
    events: Vec<Event>,
    /// A tool result; an error of the run is one with `isError`.
    result: RawJson,
}

/// Keeps what a run is told.
#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl Recorder for Kept {
    fn record(&self, event: &Event) {
        self.0.lock().expect("no panic while locked").push(event.clone());
    }
}

async fn run_file(run: &RunWorkflow) -> anyhow::Result<ExitCode> {
    let arguments: Map<String, Value> =
        serde_json::from_str(&run.arguments).context("`--arguments` is no JSON object")?;
    let config: Map<String, Value> =
        serde_json::from_str(&run.workflow_config).context("`--workflow-config` is no JSON object")?;
    let mut answers = Answers::of(run.answers.as_deref())?;
    let file = entry(&run.file, &config)?;
    let tool = file.tool.name.clone();
    let mut loaded = super::load(&run.config.config)?;
    loaded.config.composite_tools.retain(|other| other.name != tool);
    loaded.config.composite_files.retain(|other| other.tool.name != tool);
    loaded.config.composite_files.push(file);
    let kept = Arc::new(Kept::default());
    let mut host = HostSession::start(loaded, |host| host.recorder(&tool, kept.clone())).await?;
    let params = json!({ "name": tool, "arguments": arguments });
    let result = host.ask_answering("tools/call", params, report::progress, &mut answers).await;
    host.close().await;
    let mut result = result?;
    if let Some(result) = result.as_object_mut() {
        result.remove("resultType");
    }
    if let Some(path) = &run.journal {
        let events = std::mem::take(&mut *kept.0.lock().expect("no panic while locked"));
        let (arguments, written) = (RawJson::of(&arguments), RawJson::of(&result));
        let journal = Journal { format: FORMAT, tool, config, arguments, events, result: written };
        let text = serde_json::to_string_pretty(&journal).context("the journal cannot be written as JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    match run.json {
        true => report::json(&result),
        false => report::tool_result(&result),
    }
    answers.remark(&result);
    Ok(if result["isError"] == true { Failure::Tool.into() } else { ExitCode::SUCCESS })
}

async fn replay(replay: &Replay) -> anyhow::Result<ExitCode> {
    let name = replay.journal.display();
    let text = fs::read_to_string(&replay.journal).with_context(|| format!("cannot read `{name}`"))?;
    let journal: Journal = serde_json::from_str(&text).with_context(|| format!("`{name}` is no journal of a run"))?;
    if journal.format != FORMAT {
        bail!("`{name}` has the format {}, this build reads {FORMAT}", journal.format);
    }
    let file = entry(&replay.file, &journal.config)?;
    let workflow = vmcp_host::workflow(&file).map_err(|error| error.context(Failure::Component))?;
    let told = journal.events.len();
    let ended = workflow.run(NewRun::again(journal.arguments, journal.events)).await;
    let (now, recorded): (Value, Value) = match ended {
        Ok(result) => (result.to_value()?, journal.result.to_value()?),
        Err(error @ vmcp_core::workflow::WorkflowError::Diverged { .. }) => {
            return Err(anyhow!("{}", with_cause(&error)).context(Failure::Differs));
        }
        Err(error) => (json!(error.for_client()), journal.result.to_value::<Value>()?["content"][0]["text"].take()),
    };
    if now != recorded {
        return Err(anyhow!("the recorded run ended with {recorded}, this one with {now}").context(Failure::Differs));
    }
    report::line(&format!("{} did the same again: it was told {told} things, and ended alike", journal.tool));
    Ok(ExitCode::SUCCESS)
}

/// A file of steps as it is, or a component as an entry of `compositeTools`.
///
/// - `config`: of the component
fn entry(file: &Path, config: &Map<String, Value>) -> anyhow::Result<CompositeFile> {
    if !is_component(file) {
        if !config.is_empty() {
            bail!("`{}` is made of steps, which take their config from the file itself", file.display());
        }
        return read(file);
    }
    let path = std::path::absolute(file).with_context(|| format!("`{}` is no path", file.display()))?;
    let name = vmcp_host::workflow_name(file).map_err(|error| error.context(Failure::Component))?;
    let entry = json!({ "name": name, "workflow": path.to_string_lossy(), "config": config });
    CompositeFile::parse(entry.to_string(), &file.to_string_lossy()).map_err(invalid)
}

fn is_component(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "wasm")
}

fn bake_file(arguments: &Bake) -> anyhow::Result<ExitCode> {
    let file = read(&arguments.file)?;
    let made = vmcp_host::interpreted(&file).map_err(|error| error.context(Failure::Component))?;
    let baked = bake(&made.interpreter, &made.document, &file.text).context(Failure::Component)?;
    let out = arguments.out.clone().unwrap_or_else(|| arguments.file.with_extension("wasm"));
    fs::write(&out, &baked).with_context(|| format!("cannot write `{}`", out.display()))?;
    let written = json!({
        "file": out.display().to_string(),
        "tool": file.tool.name,
        "size": baked.len(),
        "sha256": vmcp_plugin::digest(&baked),
    });
    match arguments.json {
        true => report::json(&written),
        false => report::baked(&written),
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(arguments: &Graph) -> anyhow::Result<ExitCode> {
    let file = match is_component(&arguments.file) {
        false => read(&arguments.file)?,
        true => baked_source(&arguments.file)?,
    };
    report::text_as_is(&mermaid(&file.tool));
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<CompositeFile> {
    CompositeFile::read(file).map_err(invalid)
}

/// The document that a component was baked from.
fn baked_source(file: &Path) -> anyhow::Result<CompositeFile> {
    let bytes = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let text = source(&bytes).with_context(|| format!("`{}` was not baked from steps", file.display()))?;
    CompositeFile::parse(text, &file.to_string_lossy()).map_err(invalid)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is turned into another")]
fn invalid(problems: Vec<vmcp_config::Problem>) -> anyhow::Error {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    anyhow!("{}", lines.join("\n")).context(Failure::Config)
}
