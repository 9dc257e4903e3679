//! What there is to be found, in a few lines: a model does not search where it does not know that something is.

use std::{collections::BTreeMap, fmt::Write as _};

use vmcp_core::catalog::Catalog;

/// Longest summary, in bytes; servers beyond are counted.
const MAX_BYTES: usize = 2000;
/// Tools of one server that are named.
const NAMED: usize = 4;

/// A line per server: how many tools it has, and the names of some.
pub(super) fn of(catalog: &Catalog) -> String {
    let mut servers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in catalog.tools.entries() {
        servers.entry(entry.backend().as_str()).or_default().push(&entry.capability.name);
    }
    let tools = catalog.tools.entries().len();
    if tools == 0 {
        return "There are no tools to be found now.".into();
    }
    let mut text = format!("There are {tools} tools of these servers:");
    for (written, (server, names)) in servers.iter().enumerate() {
        let mut line = format!("\n- {server}: {}", names[..names.len().min(NAMED)].join(", "));
        if names.len() > NAMED {
            let _ = write!(line, " and {} more", names.len() - NAMED);
        }
        if text.len() + line.len() > MAX_BYTES {
            let _ = write!(text, "\n- and {} more servers", servers.len() - written);
            break;
        }
        text.push_str(&line);
    }
    text
}
