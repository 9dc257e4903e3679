//! Composite tools from their section of the configuration: each a workflow with its grant and its limits.

use std::{borrow::Cow, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value, json};
use tracing::info;
use vmcp_config::{CompositeFile, CompositeToolConfig, GoDuration, PluginConfig, Problem, Rule};
use vmcp_core::workflow::{Workflow, WorkflowDefinition, WorkflowError};
use vmcp_plugin::{Component, ComponentSource, Grants, PluginError};
use vmcp_workflow::{BudgetLimits, Composite, ToolGrant};

use super::components::{BUILT_IN, Components, carried_component, engine_for_files, refusal, source, with_hint};

/// Interprets composite tools that are made of steps.
const INTERPRETER: &str = "workflow-yaml";
/// Keys of an entry that are the host's affair, not the interpreter's.
const HOST_KEYS: [&str; 2] = ["grants", "sha256"];

/// Where a composite tool is declared.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// In the configuration, as this entry of `compositeTools`.
    Entry(usize),
    File(&'a CompositeFile),
}

impl Components<'_> {
    /// The composite tools of the configuration, each as its workflow describes it, with the component that runs it.
    pub(super) fn composites(&self) -> anyhow::Result<Vec<(Composite, Component)>> {
        let config = &self.loaded.config;
        let entries = config.composite_tools.iter().enumerate().map(|(index, tool)| (tool, Place::Entry(index)));
        let files = config.composite_files.iter().map(|file| (&file.tool, Place::File(file)));
        entries.chain(files).map(|(tool, place)| self.composite(tool, place)).collect()
    }

    fn composite(&self, tool: &CompositeToolConfig, place: Place<'_>) -> anyhow::Result<(Composite, Component)> {
        let (workflow, component, plugin) = match &tool.workflow {
            None => {
                let (workflow, interpreter) = self.interpreted(tool, place)?;
                (workflow, interpreter, None)
            }
            Some(named) => {
                let (component, plugin) = self.workflow_component(tool, named)?;
                let config = tool.config.clone().map_or_else(|| json!({}), Value::Object);
                let workflow = component.workflow(&config, None);
                (workflow.map_err(|error| self.refused(named, place, "/config", error))?, component, plugin)
            }
        };
        let definition = definition(&*workflow, tool)
            .map_err(|error| anyhow!("{}", self.problem(place, "", vmcp_core::with_cause(&error))))?;
        if let Some(schema) = &definition.config_schema {
            self.check_config(tool, &schema.to_value()?, place)?;
        }
        let mut limits = BudgetLimits::default();
        // Steps keep the time themselves, and say better where it went; their interpreter asks for a little more.
        let of_entry = tool.timeout.filter(|_| tool.workflow.is_some());
        let of_plugin = plugin.and_then(|plugin| plugin.limits.wall_time);
        let given = of_entry.or(of_plugin).map(GoDuration::as_duration).filter(|time| !time.is_zero());
        limits.wall_time = given.or(definition.wall_time).unwrap_or(limits.wall_time);
        let patterns =
            tool.grants.as_ref().or(plugin.map(|plugin| &plugin.grants)).and_then(|grants| grants.tools.as_ref());
        let grant = match patterns {
            None => ToolGrant::Declared(definition.tools.clone()),
            Some(patterns) => ToolGrant::patterns(patterns)
                .with_context(|| format!("`grants.tools` of the composite tool `{}`", tool.name))?,
        };
        info!(composite = tool.name, tools = patterns.unwrap_or(&definition.tools).join(", "), "may call");
        let name = tool.name.as_str().into();
        Ok((Composite { name, workflow, definition, grant, limits, recorder: None }, component))
    }

    /// Whether the config of `tool` fits the schema that its author declared.
    fn check_config(&self, tool: &CompositeToolConfig, schema: &Value, place: Place<'_>) -> anyhow::Result<()> {
        let validator = jsonschema::validator_for(schema)
            .map_err(|error| anyhow!("{}", self.problem(place, "/configSchema", format!("no JSON Schema: {error}"))))?;
        let config = tool.config.clone().map_or_else(|| json!({}), Value::Object);
        let problem = |error: jsonschema::ValidationError<'_>| {
            let pointer = format!("/config{}", error.instance_path());
            self.problem(place, &pointer, error.to_string()).to_string()
        };
        let problems: Vec<_> = validator.iter_errors(&config).map(problem).collect();
        if problems.is_empty() {
            return Ok(());
        }
        bail!("`{}` does not accept its config\n{}", tool.name, problems.join("\n"))
    }

    /// A tool made of steps.
    fn interpreted(
        &self,
        tool: &CompositeToolConfig,
        place: Place<'_>,
    ) -> anyhow::Result<(Arc<dyn Workflow>, Component)> {
        let interpreter = self.get(&format!("compositeTools[].steps` of `{}", tool.name), INTERPRETER)?;
        self.keep(&interpreter, None);
        let workflow = interpreter.workflow(&json!({}), Some(&document(tool)));
        Ok((workflow.map_err(|error| self.refused(INTERPRETER, place, "", error))?, interpreter))
    }

    /// The component that runs `tool`: one of `plugins`, with its entry there, or a file.
    fn workflow_component(
        &self,
        tool: &CompositeToolConfig,
        named: &str,
    ) -> anyhow::Result<(Component, Option<&PluginConfig>)> {
        if !tool.names_file() {
            let plugin = self.loaded.config.plugins.iter().find(|plugin| plugin.name == named);
            let component = self.get("compositeTools[].workflow", named)?;
            self.keep(&component, None);
            return Ok((component, plugin));
        }
        if named.contains("://") {
            bail!("composite tool `{}`: this build loads components from files only, not from `{named}`", tool.name);
        }
        let bytes =
            std::fs::read(named).with_context(|| format!("composite tool `{}`: cannot read `{named}`", tool.name))?;
        let wasi = tool.grants.as_ref().map(|grants| grants.wasi.clone()).unwrap_or_default();
        let source = ComponentSource {
            sha256: tool.sha256.clone(),
            grants: Grants { wasi },
            ..source(&tool.name, bytes.clone().into(), named)
        };
        let component = self.engine.load(source).map_err(with_hint)?;
        self.keep(&component, Some(&bytes));
        Ok((component, None))
    }

    /// What the component `name` says against what it was given, with the places in the file.
    ///
    /// - `part`: of the entry that it was given
    fn refused(&self, name: &str, place: Place<'_>, part: &str, error: PluginError) -> anyhow::Error {
        refusal(name, error, |problem| {
            self.problem(place, &format!("{part}{}", problem.pointer), problem.message.clone())
        })
    }

    fn problem(&self, place: Place<'_>, pointer: &str, message: String) -> Problem {
        match place {
            Place::Entry(index) => {
                let pointer = format!("/compositeTools/{index}{pointer}");
                self.loaded.problem_at(&pointer, Rule::ComponentConfig, message, None)
            }
            Place::File(file) => file.problem_at(pointer, Rule::ComponentConfig, message),
        }
    }
}

/// The entry as its interpreter reads it: JSON text.
fn document(tool: &CompositeToolConfig) -> String {
    let mut document = tool.document.clone();
    document.retain(|key, _| !HOST_KEYS.contains(&key.as_str()));
    Value::Object(document).to_string()
}

/// The workflow of `file`, steps or component, apart from any host.
pub fn workflow(file: &CompositeFile) -> anyhow::Result<Arc<dyn Workflow>> {
    let Some(path) = &file.tool.workflow else { return Ok(interpreted(file)?.workflow) };
    let config = file.tool.config.clone().map_or_else(|| json!({}), Value::Object);
    let refused = |error| {
        refusal(path, error, |problem| {
            file.problem_at(&format!("/config{}", problem.pointer), Rule::ComponentConfig, problem.message.clone())
        })
    };
    component_file(path)?.workflow(&config, None).map_err(refused)
}

/// The name that the author of a component gave its tool.
pub fn workflow_name(file: &Path) -> anyhow::Result<String> {
    let name = file.display().to_string();
    let engine = engine_for_files()?;
    let bytes = std::fs::read(file).with_context(|| format!("cannot read `{name}`"))?;
    let inspection = vmcp_plugin::inspect(&engine, &bytes, &name).map_err(with_hint)?;
    match inspection.workflow {
        Some(workflow) => Ok(workflow.name),
        None => {
            bail!("`{name}` is no workflow{}", inspection.problem.map(|why| format!(": {why}")).unwrap_or_default())
        }
    }
}

fn component_file(path: &str) -> anyhow::Result<Component> {
    let engine = engine_for_files()?;
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{path}`"))?;
    engine.load(source(path, bytes.into(), path)).map_err(with_hint)
}

/// A document that its interpreter accepts.
pub struct Interpreted {
    /// The interpreter's bytes.
    pub interpreter: Cow<'static, [u8]>,
    /// As the interpreter reads it: JSON text.
    pub document: String,
    /// Both together.
    pub workflow: Arc<dyn Workflow>,
}

/// The steps of `file` with the interpreter that this build carries.
///
/// # Errors
/// All that the interpreter finds wrong, with the places in the file.
pub fn interpreted(file: &CompositeFile) -> anyhow::Result<Interpreted> {
    let bytes = carried_component(INTERPRETER)
        .with_context(|| format!("this build does not carry the component `{INTERPRETER}`"))?;
    let engine = engine_for_files()?;
    let interpreter = engine.load(source(INTERPRETER, bytes.clone(), BUILT_IN)).map_err(with_hint)?;
    let document = document(&file.tool);
    let refused = |error| {
        refusal(INTERPRETER, error, |problem| {
            file.problem_at(&problem.pointer, Rule::ComponentConfig, problem.message.clone())
        })
    };
    let workflow = interpreter.workflow(&json!({}), Some(&document)).map_err(refused)?;
    Ok(Interpreted { interpreter: bytes, document, workflow })
}

/// What the workflow says of itself, and what the configuration says instead.
fn definition(workflow: &dyn Workflow, tool: &CompositeToolConfig) -> Result<WorkflowDefinition, WorkflowError> {
    let mut definition = workflow.definition()?;
    if let Some(description) = &tool.description {
        definition.description = Some(description.clone());
    }
    if let Some(declared) = tool.document.get("annotations").and_then(Value::as_object) {
        let own = definition.annotations.as_object().cloned().unwrap_or_else(Map::new);
        let both: Map<_, _> = own.into_iter().chain(declared.clone()).collect();
        definition.title = both.get("title").and_then(Value::as_str).map(str::to_owned).or(definition.title);
        definition.annotations = Value::Object(both);
    }
    Ok(definition)
}
