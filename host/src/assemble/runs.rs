//! Where runs of composite tools are kept, and how those go on that an earlier process began.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context as _;
use serde_json::Value;
use vmcp_config::RunsConfig;
use vmcp_core::{with_cause, workflow::WorkflowSource};
use vmcp_gateway::runs::Revive;
use vmcp_plugin::Component;
use vmcp_workflow::{
    Composite,
    runs::{RunLimits, RunStore, SqliteRuns},
};

pub(super) fn store(config: &RunsConfig) -> anyhow::Result<Arc<dyn RunStore>> {
    let limits =
        RunLimits { lifetime: config.lifetime.as_duration(), kept: config.kept.as_duration(), waiting: config.limit };
    let store = match &config.path {
        None => SqliteRuns::in_memory(limits).context("runs cannot be kept in memory")?,
        Some(file) => SqliteRuns::in_file(file.clone(), limits)
            .with_context(|| format!("runs cannot be kept in {} (`runs.path`)", file.display()))?,
    };
    Ok(Arc::new(store))
}

/// Makes the workflow of a run as it was when that began, within the grants and limits that its tool has now.
pub(super) fn revive(composites: &[(Composite, Component)]) -> Arc<Revive> {
    let components: HashMap<Arc<str>, Component> =
        composites.iter().map(|(composite, component)| (composite.name.clone(), component.clone())).collect();
    Arc::new(move |tool: &str, source: &WorkflowSource, bytes: Option<Vec<u8>>| {
        let revive = || {
            let component = components.get(tool).with_context(|| format!("`{tool}` is no composite tool any more"))?;
            let component = match bytes {
                None => component.clone(),
                Some(bytes) => component.replaced(bytes, "a run that began earlier")?,
            };
            let config: Value = serde_json::from_str(&source.config)?;
            anyhow::Ok(component.workflow(&config, source.document.as_deref())?)
        };
        revive().map_err(|error| with_cause(&*error))
    })
}
