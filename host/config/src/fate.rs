//! What becomes of each key: used, without effect, or refused because ignoring it would weaken security.
//!
//! One table says it, so that a feature that lands changes one line here. A test holds the table against the schema.

use std::path::Path;

use serde::Serialize;

use crate::{
    key_path::{KeyPath, Step},
    problem::{Location, Problem, Report, Rule},
    schema,
    tree::{Node, NodeKind, Tree},
};

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It does what the reference says.
    Honoured,
    /// It has no effect, and the user is told.
    Warned,
    /// The host does not serve with it.
    Refused,
}

/// A key of the file and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyFate {
    /// The key, e.g. `backends[0].url`.
    pub path: String,
    #[serde(flatten)]
    pub location: Location,
    pub fate: Fate,
    /// Why it is not honoured; empty when it is.
    pub reason: &'static str,
}

/// A rule of the table: the first whose keys and value fit decides.
struct Row {
    /// Dotted keys; `*` is any key of a mapping or any entry of a list. Everything below is meant too.
    keys: &'static str,
    /// Only for this value.
    value: Option<&'static str>,
    fate: Fate,
    reason: &'static str,
}

const fn honoured(keys: &'static str) -> Row {
    Row { keys, value: None, fate: Fate::Honoured, reason: "" }
}

const fn honoured_as(keys: &'static str, value: &'static str) -> Row {
    Row { keys, value: Some(value), fate: Fate::Honoured, reason: "" }
}

const fn warned(keys: &'static str, reason: &'static str) -> Row {
    Row { keys, value: None, fate: Fate::Warned, reason }
}

const fn refused(keys: &'static str, reason: &'static str) -> Row {
    Row { keys, value: None, fate: Fate::Refused, reason }
}

const LATER: &str = "this build does not have the feature yet";
const NOT_READ: &str = "the strategy that reads it is not in this build";
const KUBERNETES: &str = "only an operator in Kubernetes resolves it";
const OPEN_DOOR: &str = "without it, clients would get in unchecked";
const WRONG_IDENTITY: &str = "without it, calls would reach the backend as somebody else";

const TABLE: &[Row] = &[
    honoured("name"),
    honoured("groupRef"),
    warned("backends.*.type", "backends of every type are treated alike"),
    honoured("backends"),
    honoured("backendsFrom"),
    honoured_as("incomingAuth.type", "anonymous"),
    refused("incomingAuth.type", OPEN_DOOR),
    warned("incomingAuth.oidc", "only `type: oidc` reads it, which this build refuses"),
    honoured_as("incomingAuth.authz.type", "none"),
    refused("incomingAuth.authz.type", "without policies every client may do everything"),
    warned("incomingAuth.authz", "only `type: cedar` reads it, which this build refuses"),
    honoured_as("outgoingAuth.source", "inline"),
    refused(
        "outgoingAuth.source",
        "strategies can only be read from this file; without them calls would be unauthenticated",
    ),
    honoured_as("outgoingAuth.default.type", "unauthenticated"),
    honoured_as("outgoingAuth.default.type", "header_injection"),
    refused("outgoingAuth.default.type", WRONG_IDENTITY),
    honoured("outgoingAuth.default.headerInjection"),
    warned("outgoingAuth.default", NOT_READ),
    honoured_as("outgoingAuth.backends.*.type", "unauthenticated"),
    honoured_as("outgoingAuth.backends.*.type", "header_injection"),
    refused("outgoingAuth.backends.*.type", WRONG_IDENTITY),
    honoured("outgoingAuth.backends.*.headerInjection"),
    warned("outgoingAuth.backends.*", NOT_READ),
    honoured("outgoingAuth.backends"),
    warned("aggregation.tools.*.toolConfigRef", KUBERNETES),
    honoured("aggregation"),
    honoured("compositeTools"),
    honoured("compositeToolsFrom"),
    warned("compositeToolRefs", KUBERNETES),
    honoured("operational.logLevel"),
    honoured("operational.timeouts"),
    honoured("operational.failureHandling.partialFailureMode"),
    warned("operational.failureHandling", "backends are not probed yet; one that fails is retried all the same"),
    honoured("metadata"),
    warned("telemetry", LATER),
    // Refusing would keep every file of the reference's operator from loading, and what is missing is a record, not a
    // protection. The warning says so at each start.
    warned("audit", "nothing is recorded: this build does not have the feature yet"),
    honoured("optimizer"),
    warned("codeMode", LATER),
    honoured_as("sessionStorage.provider", "memory"),
    refused("sessionStorage.provider", "sessions would not be shared, and their revocation neither"),
    warned("sessionStorage", "only `provider: redis` reads it, which this build refuses"),
    refused("rateLimiting", "without it, clients could make any number of calls"),
    // Backends get less than they hoped for, never more.
    warned("passthroughHeaders", LATER),
    honoured("plugins"),
    honoured("runs"),
    warned("server.bytesInFlight", "each request and reply is bounded, their sum is not yet"),
    honoured("server"),
    honoured("stateDir"),
    honoured("cacheDir"),
    refused("admin", "this build has no admin interface over TCP"),
    honoured("sealing"),
];

/// What becomes of the keys of one file.
#[derive(Default)]
pub(crate) struct Fates {
    pub(crate) keys: Vec<KeyFate>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) refused: Vec<Problem>,
}

/// Looks up every key of the file. One problem per row of the table and place, not one per key below it.
pub(crate) fn of_keys(tree: &Tree) -> Fates {
    let mut leaves = Vec::new();
    collect(&tree.root, schema::schema(), &KeyPath::root(), &mut leaves);
    let mut fates = Fates::default();
    let mut told: Vec<KeyPath> = Vec::new();
    let mut report = Report::new(tree);
    for (path, value) in leaves {
        let Some(row) = row_for(&path, value.as_deref()) else { continue };
        let location = tree.locate_key(&path);
        fates.keys.push(KeyFate { path: path.to_string(), location, fate: row.fate, reason: row.reason });
        let depth = row.keys.split('.').count();
        let place: KeyPath = path.steps().iter().take(depth).cloned().collect();
        if row.fate == Fate::Honoured || told.contains(&place) {
            continue;
        }
        let message = match row.fate {
            Fate::Refused => format!("not supported by this build: {}", row.reason),
            _ => format!("has no effect: {}", row.reason),
        };
        report.warning(Rule::Unsupported, &place, message);
        let told_now = report.warnings.pop();
        match row.fate {
            Fate::Refused => fates.refused.extend(told_now),
            _ => fates.warnings.extend(told_now),
        }
        told.push(place);
    }
    fates
}

/// The file beside the configuration that the reference system reads for its own authorisation server.
pub(crate) fn auth_server_file(folder: &Path) -> Option<Problem> {
    let file = folder.join("authserver-config.yaml");
    file.exists().then(|| Problem {
        file: file.to_string_lossy().into(),
        location: Location::START,
        path: KeyPath::root(),
        rule: Rule::Unsupported,
        message: "not supported by this build: it has no authorisation server of its own".into(),
        hint: Some("move the file away if the host is to serve without it".into()),
    })
}

/// The fates of a key as the schema has it, with the value that each needs; the last needs none. Empty when the table
/// has no row for it.
pub(crate) fn of_schema_key(path: &KeyPath) -> Vec<(Option<&'static str>, Fate, &'static str)> {
    let mut fates = Vec::new();
    for row in TABLE.iter().filter(|row| fits(row, path)) {
        fates.push((row.value, row.fate, row.reason));
        if row.value.is_none() {
            break;
        }
    }
    fates
}

/// Whether keys below `path` have fates of their own.
pub(crate) fn differs_below(path: &KeyPath) -> bool {
    let below = |row: &&Row| {
        let keys: Vec<&str> = row.keys.split('.').collect();
        let matches = |(step, key): (&Step, &&str)| *key == "*" || matches!(step, Step::Key(step) if step == key);
        keys.len() > path.steps().len() && path.steps().iter().zip(&keys).all(matches)
    };
    TABLE.iter().any(|row| below(&row))
}

fn row_for(path: &KeyPath, value: Option<&str>) -> Option<&'static Row> {
    TABLE.iter().find(|row| fits(row, path) && row.value.is_none_or(|wanted| value == Some(wanted)))
}

/// List positions count as a step of their own, like the keys of a mapping.
fn fits(row: &Row, path: &KeyPath) -> bool {
    let mut keys = row.keys.split('.');
    let mut steps = path.steps().iter();
    keys.all(|key| match steps.next() {
        Some(Step::Key(step)) => key == "*" || key == step,
        Some(Step::Index(_)) => key == "*",
        None => false,
    })
}

/// Every key that holds a value rather than keys of the format, with that value when it is one word.
fn collect(node: &Node, place: &serde_json::Value, path: &KeyPath, leaves: &mut Vec<(KeyPath, Option<String>)>) {
    let place = schema::resolve(place);
    let branches = || schema::branches(place).iter().map(schema::resolve);
    match &node.kind {
        NodeKind::Map(entries) if !entries.is_empty() => {
            let place = branches().find(|branch| schema::has_type(branch, "object")).unwrap_or(place);
            let known: Vec<_> = entries.iter().filter_map(|e| Some((e, schema::property(place, &e.key)?))).collect();
            if known.is_empty() {
                leaves.push((path.clone(), None));
            }
            for (entry, place) in known {
                collect(&entry.value, place, &path.key(&entry.key), leaves);
            }
        }
        NodeKind::List(items) if items.iter().any(|item| matches!(item.kind, NodeKind::Map(_))) => {
            let place = place.get("items").unwrap_or(&serde_json::Value::Null);
            for (index, item) in items.iter().enumerate() {
                collect(item, place, &path.index(index), leaves);
            }
        }
        NodeKind::Scalar(scalar) => leaves.push((path.clone(), Some(scalar.text.clone()))),
        NodeKind::List(_) | NodeKind::Map(_) => leaves.push((path.clone(), None)),
    }
}

#[cfg(test)]
mod tests;
