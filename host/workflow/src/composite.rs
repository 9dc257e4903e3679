//! A workflow as the tool that clients see.

use std::sync::Arc;

use serde_json::{Map, Value};
use vmcp_core::{
    catalog::{Catalog, Entry},
    journal::Recorder,
    json::RawJson,
    workflow::{Workflow, WorkflowDefinition},
};

use crate::{annotations::Floor, budget::BudgetLimits, grant::ToolGrant};

/// A composite tool of the configuration.
pub struct Composite {
    /// As clients know it.
    pub name: Arc<str>,
    pub workflow: Arc<dyn Workflow>,
    /// What the workflow says of itself, with what the configuration says instead.
    pub definition: WorkflowDefinition,
    pub grant: ToolGrant,
    pub limits: BudgetLimits,
    /// Takes down what its runs are told.
    pub recorder: Option<Arc<dyn Recorder>>,
}

impl Composite {
    /// The same tool made of another workflow, which may call what that declares where the configuration does not say.
    #[must_use]
    pub fn made_of(&self, workflow: Arc<dyn Workflow>, definition: WorkflowDefinition) -> Self {
        let grant = match &self.grant {
            ToolGrant::Declared(_) => ToolGrant::Declared(definition.tools.clone()),
            patterns @ ToolGrant::Patterns(_) => patterns.clone(),
        };
        let (name, limits, recorder) = (self.name.clone(), self.limits, self.recorder.clone());
        Self { name, workflow, definition, grant, limits, recorder }
    }

    /// The tool's definition, once all tools that it calls are in `catalog`.
    ///
    /// # Errors
    /// Why it cannot be shown.
    pub fn advertise(&self, catalog: &Catalog) -> Result<RawJson, String> {
        if let Some(name) = self.missing_tool(catalog) {
            return Err(format!("there is no tool `{name}` now"));
        }
        let callable: Vec<Arc<Entry>> = match &self.grant {
            ToolGrant::Declared(names) => names.iter().filter_map(|name| catalog.any_tool(name)).collect(),
            // It may call what it does not declare.
            grant @ ToolGrant::Patterns(_) => catalog.all_tools().filter(|tool| grant.covers(tool)).collect(),
        };
        let floor = Floor::of(callable.iter().map(|tool| tool.capability.annotations.as_ref()));
        let no_hints = Map::new();
        let annotations = floor.annotations(self.definition.annotations.as_object().unwrap_or(&no_hints))?;
        Ok(self.tool(&annotations))
    }

    /// The first of the tools that it calls which is not there.
    pub fn missing_tool(&self, catalog: &Catalog) -> Option<&str> {
        self.definition.tools.iter().map(String::as_str).find(|name| catalog.any_tool(name).is_none())
    }

    fn tool(&self, annotations: &Map<String, Value>) -> RawJson {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Tool<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            title: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            input_schema: &'a RawJson,
            #[serde(skip_serializing_if = "Option::is_none")]
            output_schema: Option<&'a RawJson>,
            annotations: &'a Map<String, Value>,
        }
        let WorkflowDefinition { title, description, input_schema, output_schema, .. } = &self.definition;
        RawJson::of(&Tool {
            name: &self.name,
            title: title.as_deref(),
            description: description.as_deref(),
            input_schema,
            output_schema: output_schema.as_ref(),
            annotations,
        })
    }
}
