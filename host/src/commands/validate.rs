//! `validate`: everything that `serve` would find wrong, without starting a backend unless it is asked to; and what the steps of
//! composite tools call, as far as the tools are known.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;
use vmcp_config::{CallReport, Loaded};
use vmcp_gateway::aggregator::Offer;
use vmcp_host::{CheckedComponents, HostBuilder, ToolSource, check_calls};
use vmcp_optimizer::eval::read_tools;

use crate::{cli::Validate, exit::Failure, report};

pub(crate) fn run(arguments: &Validate) -> anyhow::Result<ExitCode> {
    let loaded = match vmcp_config::load(&arguments.file.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            match arguments.json {
                true => report::json(&json!({ "valid": false, "problems": error.problems() })),
                false => report::config_error(&error),
            }
            return Ok(Failure::Config.into());
        }
    };
    let components = vmcp_host::check_components(&loaded);
    let calls = match &components {
        Ok(components) if loaded.refused().is_empty() => calls(arguments, &loaded, components)?,
        _ => CallReport::default(),
    };
    let problems: Vec<_> = loaded.refused().iter().chain(&calls.errors).collect();
    let warnings: Vec<_> = loaded.warnings.iter().chain(&calls.warnings).collect();
    let is_valid = problems.is_empty() && components.is_ok();
    match arguments.json {
        true => report::json(&json!({
            "valid": is_valid,
            "problems": problems,
            "warnings": warnings,
            "notes": calls.notes,
            "components": components.as_ref().map_or_else(
                |error| json!({ "error": format!("{error:#}") }),
                |resolver| json!({ "conflictResolver": resolver }),
            ),
            "keys": loaded.keys,
        })),
        false => {
            calls.notes.iter().chain(warnings).chain(problems.iter().copied()).for_each(report::problem);
            match &components {
                Ok(resolver) if is_valid => report::summary(&loaded, resolver),
                Ok(_) => {}
                Err(error) => report::error(error),
            }
        }
    }
    Ok(match (problems.is_empty(), components.is_ok()) {
        (true, true) => ExitCode::SUCCESS,
        (false, _) => Failure::Config.into(),
        (true, false) => Failure::Component.into(),
    })
}

/// What composite tools call, held against what is known of the tools.
fn calls(arguments: &Validate, loaded: &Loaded, components: &CheckedComponents) -> anyhow::Result<CallReport> {
    if loaded.config.composite_tools.is_empty() && loaded.config.composite_files.is_empty() {
        return Ok(CallReport::default());
    }
    match &arguments.tools {
        Some(file) => check_calls(loaded, components, ToolSource::Listed(&read_tools(file)?)),
        None if arguments.live => {
            let offers = super::block_on(Box::pin(offers_now(&arguments.file.config)))?;
            check_calls(loaded, components, ToolSource::Live(offers))
        }
        None => check_calls(loaded, components, ToolSource::LastSeen),
    }
}

/// What the backends of a configuration offer, each of which is started for it.
async fn offers_now(config: &Path) -> anyhow::Result<Vec<Offer>> {
    let mut loaded = vmcp_config::load(config)?;
    let config = &mut loaded.config;
    // Nothing is run: a run that a host keeps is not to go on here.
    config.composite_tools.clear();
    config.composite_files.clear();
    config.runs.path = None;
    config.optimizer = None;
    config.backends.iter_mut().for_each(|backend| backend.lazy = false);
    let patience = config.backends.iter().map(|backend| backend.start_timeout.as_duration()).max();
    let host = HostBuilder::new(loaded).patience(patience.unwrap_or_default()).build().await?;
    host.start();
    // Without a catalog there are offers all the same; what is wrong with the names is said when they are asked for.
    let _ = host.gateway().catalog().await;
    let offers = host.gateway().offers();
    host.stop().await;
    offers.context("the backends did not come up in time")
}
