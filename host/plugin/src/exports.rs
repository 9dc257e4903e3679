//! What a component can be: one adapter per exported interface, to the trait of `vmcp_core` it stands for.

pub(crate) mod component;
pub(crate) mod conflict;
pub(crate) mod ranking;
pub(crate) mod workflow;

use wasmtime::component::Component;

use crate::{error::PluginError, interface::InterfaceName};

/// Whether `component` exports `accepted` in a compatible version; an error when in another one only.
pub(crate) fn has_export(component: &Component, accepted: &str, name: &str) -> Result<bool, PluginError> {
    let wanted = InterfaceName::parse(accepted).expect("a constant name");
    let component_type = component.component_type();
    let mut other_version = None;
    for (export, _) in component_type.exports(component.engine()) {
        match InterfaceName::parse(export) {
            Some(export) if export.is_compatible(&wanted) => return Ok(true),
            Some(found) if found.same_path(&wanted) => other_version = Some(export.to_owned()),
            _ => {}
        }
    }
    match other_version {
        None => Ok(false),
        Some(export) => {
            Err(PluginError::IncompatibleExport { component: name.into(), export, accepted: accepted.into() })
        }
    }
}
