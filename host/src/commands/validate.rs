//! `validate`: everything that `serve` would find wrong, without starting a backend.

use std::process::ExitCode;

use serde_json::json;

use crate::{cli::Validate, exit::Failure, report};

pub(crate) fn run(arguments: &Validate) -> ExitCode {
    let loaded = match vmcp_config::load(&arguments.file.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            match arguments.json {
                true => report::json(&json!({ "valid": false, "problems": error.problems() })),
                false => report::config_error(&error),
            }
            return Failure::Config.into();
        }
    };
    let refused = loaded.refused();
    let components = vmcp_host::check_components(&loaded);
    let is_valid = refused.is_empty() && components.is_ok();
    match arguments.json {
        true => report::json(&json!({
            "valid": is_valid,
            "problems": refused,
            "warnings": loaded.warnings,
            "components": components.as_ref().map_or_else(
                |error| json!({ "error": format!("{error:#}") }),
                |resolver| json!({ "conflictResolver": resolver }),
            ),
            "keys": loaded.keys,
        })),
        false => {
            loaded.warnings.iter().chain(refused).for_each(report::problem);
            match &components {
                Ok(resolver) if is_valid => report::summary(&loaded, resolver),
                Ok(_) => {}
                Err(error) => report::error(error),
            }
        }
    }
    match (refused.is_empty(), components.is_ok()) {
        (true, true) => ExitCode::SUCCESS,
        (false, _) => Failure::Config.into(),
        (true, false) => Failure::Component.into(),
    }
}
