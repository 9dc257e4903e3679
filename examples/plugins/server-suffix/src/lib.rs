//! Puts the backend's name behind every name: `search_github`, `search_jira`.
//!
//! Lists then sort by what a tool does, and a client that cuts long names cuts the backend, not the verb.

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::conflict::{ConflictResolver, Request, Resolution, ResolveError, Tie};

/// Every tool and prompt is advertised with its backend's name behind it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ServerSuffix {
    /// Between the name and the backend's.
    separator: String,
}

impl Default for ServerSuffix {
    fn default() -> Self {
        Self { separator: "_".into() }
    }
}

impl ConflictResolver for ServerSuffix {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        if request.kind.keeps_names() {
            return Ok(request.keep_names());
        }
        let proposed = request.contenders.iter().map(|contender| {
            let name = format!("{}{}{}", contender.name, self.separator, contender.slug);
            Resolution::expose(request.names.replace_illegal(&name), "every name ends in its backend")
        });
        Ok(request.settle(proposed.collect(), Tie::FirstKeeps))
    }
}

vmcp_sdk::register_conflict_resolver!(ServerSuffix);

#[cfg(test)]
mod tests {
    use vmcp_sdk::conflict::{Contender, Kind, NameRule};

    use super::*;

    #[test]
    fn the_backend_stands_behind_the_name() {
        let check = |contenders: &[(&str, &str)], expected: &[Option<&str>]| {
            let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
            let request = Request { kind: Kind::Tool, names: NameRule::Strict, contenders };
            let resolved = ServerSuffix::default().resolve(&request).unwrap();
            assert_eq!(resolved.iter().map(Resolution::name).collect::<Vec<_>>(), expected);
        };
        check(&[("github", "search"), ("jira", "search")], &[Some("search_github"), Some("search_jira")]);
        check(&[("my server", "issues.list")], &[Some("issues_list_my_server")]);
        check(&[("b_c", "a"), ("c", "a_b")], &[Some("a_b_c"), None]);
    }
}
