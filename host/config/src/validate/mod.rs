//! The rules that a schema cannot say. Pure: every rule looks at the document and the environment it is given, and all
//! that is found is reported.

pub(crate) mod aggregation;
pub(crate) mod backend;
pub(crate) mod composite;
mod incoming_auth;
mod operational;
mod outgoing_auth;
mod plugin;
mod template;

use std::{collections::HashMap, path::Path};

use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::{Document, backend::BackendConfig},
    value::duration::GoDuration,
};

/// Looks up an environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Applies every rule to the document.
pub(crate) fn validate(document: &Document, environment: Environment<'_>, report: &mut Report<'_>) {
    let root = KeyPath::root();
    backend::check(&document.backends, &root.key("backends"), report);
    incoming_auth::check(&document.incoming_auth, &root.key("incomingAuth"), report);
    outgoing_auth::check(&document.outgoing_auth, environment, &root.key("outgoingAuth"), report);
    aggregation::check(document, &root.key("aggregation"), report);
    composite::check(document, report);
    operational::check(document, report);
    plugin::check(document, report);
}

/// Warns about names that belong to no configured backend.
pub(crate) fn references(document: &Document, backends: &[BackendConfig], report: &mut Report<'_>) {
    let root = KeyPath::root();
    let mut mentioned: Vec<(&str, KeyPath)> = Vec::new();
    let aggregation = root.key("aggregation");
    let rules = |key: &str, workloads: Vec<&str>| -> Vec<(String, KeyPath)> {
        let at = |(index, name): (usize, &str)| (name.to_owned(), aggregation.key(key).index(index).key("workload"));
        workloads.into_iter().enumerate().map(at).collect()
    };
    let tools = rules("tools", document.aggregation.tools.iter().map(|rule| rule.workload.as_str()).collect());
    let resources = rules("resources", document.aggregation.resources.iter().map(|r| r.workload.as_str()).collect());
    let prompts = rules("prompts", document.aggregation.prompts.iter().map(|r| r.workload.as_str()).collect());
    mentioned.extend(tools.iter().chain(&resources).chain(&prompts).map(|(name, path)| (name.as_str(), path.clone())));
    let auth = root.key("outgoingAuth").key("backends");
    mentioned.extend(document.outgoing_auth.backends.keys().map(|name| (name.as_str(), auth.key(name))));
    let timeouts = root.key("operational").key("timeouts").key("perWorkload");
    let per_workload = document.operational.timeouts.per_workload.keys();
    mentioned.extend(per_workload.map(|name| (name.as_str(), timeouts.key(name))));
    for (name, path) in mentioned {
        if !backends.iter().any(|backend| backend.name.as_str() == name) {
            let message = format!("no backend is named `{name}`, so this has no effect");
            report.warning(Rule::UnknownBackend, &path, message);
        }
    }
}

/// Reports every repetition among `names`, at its place.
fn unique<'n>(names: impl Iterator<Item = (&'n str, KeyPath)>, rule: Rule, what: &str, report: &mut Report<'_>) {
    let mut seen: HashMap<&str, KeyPath> = HashMap::new();
    for (name, path) in names {
        match seen.get(name) {
            Some(first) => report.error(rule, &path, format!("{what} `{name}` is already at `{first}`")),
            None => {
                seen.insert(name, path);
            }
        }
    }
}

/// A duration that must be positive, or when `zero_is_default` not negative.
fn positive(duration: Option<GoDuration>, zero_is_default: bool, path: &KeyPath, report: &mut Report<'_>) {
    let Some(duration) = duration else { return };
    if zero_is_default && duration.is_negative() {
        report.error(Rule::NotPositive, path, format!("must not be negative, is {duration}"));
    } else if !zero_is_default && !duration.is_positive() {
        report.error(Rule::NotPositive, path, format!("must be positive, is {duration}"));
    }
}

/// A path that might lead elsewhere than it seems.
fn safe_path(file: &Path, path: &KeyPath, report: &mut Report<'_>) {
    if file.components().any(|part| part == std::path::Component::ParentDir) {
        report.error(Rule::UnsafePath, path, "the path must not contain `..`");
    } else if file.to_string_lossy().contains('\0') {
        report.error(Rule::UnsafePath, path, "the path must not contain a NUL");
    }
}
