//! What a component file is, for people who consider using it. Works for files that the host would refuse to run.

use std::{borrow::Cow, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};
use vmcp_core::extension::ComponentDescription;
use wasmtime::component::{Component as Compiled, types::ComponentItem};

use crate::{
    engine::PluginEngine,
    error::PluginError,
    exports::{
        component::COMPONENT, conflict::CONFLICT_RESOLVER_VERSION, ranking::RANKING_STRATEGY_VERSION,
        workflow::WORKFLOW_VERSION,
    },
    grant::{self, Grants, Need},
    interface::InterfaceName,
    limits::Limits,
    load::{Component, ComponentSource, check_bytes},
};

/// What is known of a component file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The file, as given.
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// Hex digest of the bytes: what the configuration's `sha256` wants.
    pub sha256: String,
    /// What the component says of itself; absent when it could not be asked.
    pub description: Option<ComponentDescription>,
    pub worlds: Vec<InspectedWorld>,
    pub imports: Vec<InspectedImport>,
    /// The tool that it is with an empty config; absent when it is none, or needs a config.
    pub workflow: Option<InspectedWorkflow>,
    /// The line of the configuration that grants what it imports, if that takes one.
    pub grants: Option<String>,
    /// Why the host would not run it (without grants), if so.
    pub problem: Option<String>,
}

/// The tool that a workflow is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedWorkflow {
    /// The author's name for it.
    pub name: String,
    pub description: Option<String>,
    pub input_schema: Value,
    /// What its author left open.
    pub config_schema: Option<Value>,
    /// What it may call unless it is granted something else.
    pub tools: Vec<String>,
}

/// An interface that a component exports.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedWorld {
    /// E.g. `vmcp:conflict/conflict-resolver`.
    pub world: String,
    pub version: Option<String>,
    /// Whether this host can use it.
    pub supported: bool,
    /// JSON Schema of its config, if it takes one.
    pub config_schema: Option<Value>,
}

/// An interface that a component imports.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedImport {
    /// E.g. `vmcp:host/log@0.1.0`.
    pub import: String,
    pub status: ImportStatus,
}

/// Whether a component gets what it imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportStatus {
    /// Every component has it.
    Offered,
    /// Every workflow has it.
    Workflow,
    /// Types only, nothing that could be called.
    TypesOnly,
    /// With a grant.
    NeedsGrant,
    /// This host offers another version.
    OtherVersion,
    /// This host does not offer it.
    Unknown,
}

/// Looks at the component `bytes`, called `name`. Runs nothing of it but what says what it is, under the default limits and without
/// grants. An error only if the bytes are no component.
pub fn inspect(engine: &Arc<PluginEngine>, bytes: &[u8], name: &str) -> Result<Inspection, PluginError> {
    let source = ComponentSource {
        name: name.to_owned(),
        bytes: Cow::Owned(bytes.to_vec()),
        origin: name.to_owned(),
        sha256: None,
        grants: Grants::default(),
        limits: Limits::default(),
    };
    let sha256 = check_bytes(&source)?;
    let compiled = engine.compile(&source, &sha256)?;
    let needs = grant::needs(compiled.engine(), &compiled);
    let (description, workflow, problem) = match engine.load(source) {
        Ok(component) => (Some(component.description().clone()), workflow(&component), None),
        Err(error) => (None, None, Some(error.to_string())),
    };
    let needs_grant = needs.iter().any(|(_, need)| *need == Need::Wasi);
    Ok(Inspection {
        name: name.to_owned(),
        size: bytes.len(),
        sha256,
        worlds: worlds(&compiled, description.as_ref()),
        grants: needs_grant.then(|| grant::grants_line(&needs, &Grants::default())),
        imports: needs.into_iter().map(|(import, need)| InspectedImport { import, status: need.into() }).collect(),
        description,
        workflow,
        problem,
    })
}

fn workflow(component: &Component) -> Option<InspectedWorkflow> {
    let definition = component.workflow(&json!({}), None).ok()?.definition().ok()?;
    Some(InspectedWorkflow {
        name: definition.name,
        description: definition.description,
        input_schema: definition.input_schema.to_value().ok()?,
        config_schema: definition.config_schema.and_then(|schema| schema.to_value().ok()),
        tools: definition.tools,
    })
}

/// All exported interfaces but the one that every component has.
fn worlds(compiled: &Compiled, description: Option<&ComponentDescription>) -> Vec<InspectedWorld> {
    let every = InterfaceName::parse(COMPONENT);
    let accepted = [CONFLICT_RESOLVER_VERSION, RANKING_STRATEGY_VERSION, WORKFLOW_VERSION].map(InterfaceName::parse);
    let component_type = compiled.component_type();
    let mut worlds = Vec::new();
    for (export, item) in component_type.exports(compiled.engine()) {
        let Some(export) = InterfaceName::parse(export) else { continue };
        if !matches!(item.ty, ComponentItem::ComponentInstance(_))
            || every.is_some_and(|every| every.same_path(&export))
        {
            continue;
        }
        let world = export.path();
        let described =
            description.and_then(|description| description.worlds.iter().find(|known| known.world == world));
        worlds.push(InspectedWorld {
            version: export.version.map(Into::into),
            supported: accepted.iter().flatten().any(|accepted| accepted.is_compatible(&export)),
            config_schema: described.and_then(|known| known.config_schema.clone()),
            world,
        });
    }
    worlds
}

impl From<Need> for ImportStatus {
    fn from(need: Need) -> Self {
        match need {
            Need::TypesOnly => Self::TypesOnly,
            Need::Offered => Self::Offered,
            Need::Workflow => Self::Workflow,
            Need::Wasi => Self::NeedsGrant,
            Need::OtherVersion { .. } => Self::OtherVersion,
            Need::Unknown => Self::Unknown,
        }
    }
}
