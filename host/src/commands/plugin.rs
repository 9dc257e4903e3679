//! `plugin`: WebAssembly components, seen from outside.

use std::{borrow::Cow, process::ExitCode};

use anyhow::Context as _;
use vmcp_plugin::inspect;

use crate::{
    cli::{Inspect, Plugin},
    exit::Failure,
    report,
};

pub(crate) fn run(arguments: &Plugin) -> anyhow::Result<ExitCode> {
    match arguments {
        Plugin::Inspect(arguments) => inspect_file(arguments),
    }
}

fn inspect_file(arguments: &Inspect) -> anyhow::Result<ExitCode> {
    let name = arguments.file.display().to_string();
    let bytes: Cow<'static, [u8]> = match vmcp_host::carried_component(&name) {
        Some(bytes) if !arguments.file.exists() => bytes,
        _ => std::fs::read(&arguments.file).with_context(|| format!("cannot read `{name}`"))?.into(),
    };
    let engine = vmcp_host::engine_for_files()?;
    let inspection =
        inspect(&engine, &bytes, &name).map_err(|error| vmcp_host::with_hint(error).context(Failure::Component))?;
    let source = vmcp_authoring::source(&bytes);
    match arguments.json {
        true => {
            let mut shown = serde_json::to_value(&inspection)?;
            shown["source"] = source.into();
            report::json(&shown);
        }
        false => report::inspection(&inspection, source.as_deref()),
    }
    Ok(if inspection.problem.is_none() { ExitCode::SUCCESS } else { Failure::Component.into() })
}
