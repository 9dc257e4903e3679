//! Composite tools from their section of the configuration: each a workflow with its grant and its limits.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value, json};
use tracing::info;
use vmcp_config::{CompositeToolConfig, GoDuration, PluginConfig, Rule};
use vmcp_core::workflow::{Workflow, WorkflowDefinition, WorkflowError};
use vmcp_plugin::{Component, ComponentSource, Grants};
use vmcp_workflow::{BudgetLimits, Composite, ToolGrant};

use super::components::{Components, source, with_hint};

/// Interprets composite tools that are made of steps.
const INTERPRETER: &str = "workflow-yaml";
/// Keys of an entry that are the host's affair, not the interpreter's.
const HOST_KEYS: [&str; 2] = ["grants", "sha256"];
/// How much longer the host waits than an interpreter that keeps the time itself, and says better where it went.
const MARGIN: Duration = Duration::from_mins(1);

impl Components<'_> {
    /// The composite tools of the configuration, each as its workflow describes it.
    pub(super) fn composites(&self) -> anyhow::Result<Vec<Arc<Composite>>> {
        let tools = self.loaded.config.composite_tools.iter().enumerate();
        tools.map(|(index, tool)| self.composite(tool, &format!("/compositeTools/{index}")).map(Arc::new)).collect()
    }

    /// - `pointer`: where the file has it
    fn composite(&self, tool: &CompositeToolConfig, pointer: &str) -> anyhow::Result<Composite> {
        let mut limits = BudgetLimits::default();
        let given = tool.timeout.map(GoDuration::as_duration).filter(|time| !time.is_zero());
        limits.wall_time = given.unwrap_or(limits.wall_time);
        let (workflow, plugin) = match &tool.workflow {
            None => {
                limits.wall_time += MARGIN;
                (self.interpreted(tool, pointer)?, None)
            }
            Some(named) => {
                let (component, plugin) = self.workflow_component(tool, named)?;
                let of_plugin = plugin.and_then(|plugin| plugin.limits.wall_time).map(GoDuration::as_duration);
                limits.wall_time = given.or(of_plugin).unwrap_or(limits.wall_time);
                let config = tool.config.clone().map_or_else(|| json!({}), Value::Object);
                let workflow = component.workflow(&config, None);
                (workflow.map_err(|error| self.refusal(named, &format!("{pointer}/config"), error))?, plugin)
            }
        };
        let definition = definition(&*workflow, tool).map_err(|error| self.undefined(&error, pointer))?;
        let patterns =
            tool.grants.as_ref().or(plugin.map(|plugin| &plugin.grants)).and_then(|grants| grants.tools.as_ref());
        let grant = match patterns {
            None => ToolGrant::Declared(definition.tools.clone()),
            Some(patterns) => ToolGrant::patterns(patterns)
                .with_context(|| format!("`grants.tools` of the composite tool `{}`", tool.name))?,
        };
        info!(composite = tool.name, tools = patterns.unwrap_or(&definition.tools).join(", "), "may call");
        Ok(Composite { name: tool.name.as_str().into(), workflow, definition, grant, limits })
    }

    /// A tool made of steps.
    fn interpreted(&self, tool: &CompositeToolConfig, pointer: &str) -> anyhow::Result<Arc<dyn Workflow>> {
        let interpreter = self.get(&format!("compositeTools[].steps` of `{}", tool.name), INTERPRETER)?;
        let mut document = tool.document.clone();
        document.retain(|key, _| !HOST_KEYS.contains(&key.as_str()));
        let document = Value::Object(document).to_string();
        let workflow = interpreter.workflow(&json!({}), Some(&document));
        workflow.map_err(|error| self.refusal(INTERPRETER, pointer, error))
    }

    /// The component that runs `tool`: one of `plugins`, with its entry there, or a file.
    fn workflow_component(
        &self,
        tool: &CompositeToolConfig,
        named: &str,
    ) -> anyhow::Result<(Component, Option<&PluginConfig>)> {
        let is_file = named.contains('/') || named.to_ascii_lowercase().ends_with(".wasm");
        if !is_file {
            let plugin = self.loaded.config.plugins.iter().find(|plugin| plugin.name == named);
            return Ok((self.get("compositeTools[].workflow", named)?, plugin));
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
            ..source(&tool.name, bytes.into(), named)
        };
        Ok((self.engine.load(source).map_err(with_hint)?, None))
    }

    fn undefined(&self, error: &WorkflowError, pointer: &str) -> anyhow::Error {
        let message = vmcp_core::with_cause(error);
        anyhow!("{}", self.loaded.problem_at(pointer, Rule::ComponentConfig, message, None))
    }
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
