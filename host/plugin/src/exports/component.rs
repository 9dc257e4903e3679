//! `vmcp:types/component`: what a component says of itself and of a config.

use std::sync::Arc;

use vmcp_core::extension::{ComponentConfigProblem, ComponentDescription, WorldDescription};

use crate::{
    bindings::component::{ComponentExportIndices, exports::vmcp::types::component as wit},
    call::Callee,
    error::PluginError,
    imports::workflow::WorkflowState,
};

/// The interface that every component exports.
pub(crate) const COMPONENT: &str = "vmcp:types/component@0.1.0";

/// Longest name, version and summary, in characters: they are printed in lists.
const MAX_DESCRIPTION_CHARS: usize = 500;

/// Asks the component who it is.
pub(crate) fn describe(callee: &Callee, indices: &ComponentExportIndices) -> Result<ComponentDescription, PluginError> {
    let description = callee.call("describe", None, async |store, instance| {
        let component = indices.load(&mut *store, instance)?;
        component.vmcp_types_component().call_describe(store).await
    })?;
    read_description(description).map_err(|message| PluginError::BadReply {
        component: callee.name.to_string(),
        during: "describe",
        message,
    })
}

/// Asks the component what is wrong with `config`, given as JSON text.
///
/// - `document`: what it interprets, if it is an interpreter of workflows; the problems are then places in it
pub(crate) fn check_config(
    callee: &Callee,
    indices: &ComponentExportIndices,
    world: &str,
    config: &str,
    document: Option<Arc<str>>,
) -> Result<Vec<ComponentConfigProblem>, PluginError> {
    let workflow = document.map(|document| WorkflowState { run: None, document: Some(document) });
    let problems = callee.call("check-config", workflow, async |store, instance| {
        let component = indices.load(&mut *store, instance)?;
        component.vmcp_types_component().call_check_config(store, world, config).await
    })?;
    let to_core =
        |problem: wit::ConfigProblem| ComponentConfigProblem { pointer: problem.pointer, message: problem.message };
    Ok(problems.into_iter().map(to_core).collect())
}

fn read_description(description: wit::Description) -> Result<ComponentDescription, String> {
    for (field, text, may_be_empty) in [
        ("name", &description.name, false),
        ("version", &description.version, false),
        ("summary", &description.summary, true),
    ] {
        if text.is_empty() && !may_be_empty {
            return Err(format!("its {field} is empty"));
        }
        if text.chars().any(char::is_control) || text.chars().count() > MAX_DESCRIPTION_CHARS {
            return Err(format!("its {field} is not one line of at most {MAX_DESCRIPTION_CHARS} characters"));
        }
    }
    let worlds = description.worlds.into_iter().map(read_world).collect::<Result<_, _>>()?;
    Ok(ComponentDescription {
        name: description.name,
        version: description.version,
        summary: description.summary,
        worlds,
    })
}

fn read_world(world: wit::WorldDescription) -> Result<WorldDescription, String> {
    let config_schema = match world.config_schema.as_str() {
        "" => None,
        schema => Some(
            serde_json::from_str(schema)
                .map_err(|error| format!("the config schema of `{}` is no JSON: {error}", world.world))?,
        ),
    };
    Ok(WorldDescription { world: world.world, config_schema })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_that_cannot_be_shown_are_refused() {
        let check = |change: &dyn Fn(&mut wit::Description), expected: Result<(), &str>| {
            let mut description = wit::Description {
                name: "smart".into(),
                version: "0.1.0".into(),
                summary: String::new(),
                worlds: vec![wit::WorldDescription {
                    world: "vmcp:conflict/conflict-resolver".into(),
                    config_schema: "{}".into(),
                    extra: String::new(),
                }],
                extra: String::new(),
            };
            change(&mut description);
            match (read_description(description), expected) {
                (Ok(_), Ok(())) => {}
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{message}"),
                (result, expected) => panic!("{result:?} instead of {expected:?}"),
            }
        };
        check(&|_| {}, Ok(()));
        check(&|description| description.name.clear(), Err("name is empty"));
        check(&|description| description.version = "1\n2".into(), Err("version is not one line"));
        check(&|description| description.summary = "x".repeat(501), Err("summary is not one line"));
        check(&|description| description.worlds[0].config_schema = "{".into(), Err("is no JSON"));
        check(&|description| description.worlds[0].config_schema.clear(), Ok(()));
    }
}
