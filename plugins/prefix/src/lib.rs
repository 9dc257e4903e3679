//! Puts the backend's name before every tool and prompt, clashing or not.
//!
//! Nothing a backend adds can rename what another one offers. Prefixed names that are still equal (`a_` + `b_c` and
//! `a_b_` + `c`) are settled in the order of the contenders.

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::{
    conflict::{ConflictResolver, Kind, PrefixFormat, Request, Resolution, ResolveError, Tie},
    log,
};

/// Every tool and prompt is advertised behind its backend's name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Prefix {
    /// What stands before each name; `{workload}` is the backend's name.
    #[serde(default)]
    prefix_format: PrefixFormat,
    /// Has no effect here; accepted since one config may serve several resolvers.
    #[serde(default)]
    priority_order: Vec<String>,
}

impl ConflictResolver for Prefix {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        let tie = match request.kind {
            Kind::Tool => Tie::FirstKeeps,
            Kind::Prompt => Tie::NobodyKeeps,
            Kind::Resource | Kind::ResourceTemplate => return Ok(request.keep_names()),
        };
        if request.kind == Kind::Tool && !self.priority_order.is_empty() {
            log::warn("`priorityOrder` has no effect on `prefix`");
        }
        let prefixed = request.contenders.iter().map(|contender| {
            Resolution::expose(self.prefix_format.apply(contender, request.names), "every name is prefixed")
        });
        Ok(request.settle(prefixed.collect(), tie))
    }
}

vmcp_sdk::register_conflict_resolver!(Prefix);

#[cfg(test)]
mod tests {
    use vmcp_sdk::conflict::{Contender, NameRule};

    use super::*;

    fn check(kind: Kind, format: &str, contenders: &[(&str, &str)], expected: &[&str]) {
        let prefix = Prefix { prefix_format: format.to_owned().try_into().unwrap(), ..Prefix::default() };
        let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
        let resolved = prefix.resolve(&Request { kind, names: NameRule::Strict, contenders }).unwrap();
        let shown: Vec<String> = resolved.iter().map(|r| r.name().map_or(format!("({})", r.why), Into::into)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_tool_is_prefixed_clashing_or_not() {
        check(Kind::Tool, "{workload}_", &[("github", "search")], &["github_search"]);
        check(
            Kind::Tool,
            "{workload}_",
            &[("github", "search"), ("jira", "issues.list"), ("jira", "search")],
            &["github_search", "jira_issues_list", "jira_search"],
        );
        check(Kind::Tool, "x-{workload}--", &[("my server", "go")], &["x-my_server--go"]);
    }

    #[test]
    fn equal_names_behind_the_prefix_go_to_the_first() {
        check(Kind::Tool, "{workload}_", &[("a", "b_c"), ("a_b", "c")], &["a_b_c", "(a has `a_b_c`)"]);
        check(
            Kind::Tool,
            "all_",
            &[("a", "x"), ("b", "x"), ("c", "x")],
            &["all_x", "(a has `all_x`)", "(a has `all_x`)"],
        );
        check(
            Kind::Tool,
            "{workload}_",
            &[("a", "x.y"), ("a", "x_y")],
            &["a_x_y", "(another one of this backend is `a_x_y`)"],
        );
    }

    #[test]
    fn an_ambiguous_prompt_goes_to_nobody() {
        check(Kind::Prompt, "{workload}_", &[("a", "hi"), ("b", "hi")], &["a_hi", "b_hi"]);
        check(Kind::Prompt, "{workload}_", &[("a", "b_c"), ("a_b", "c")], &["(a_b has `a_b_c`)", "(a has `a_b_c`)"]);
    }

    #[test]
    fn resources_keep_their_uri_and_the_first_backend_owns_it() {
        let contenders = [("a", "file:///x"), ("b", "file:///x"), ("b", "file:///y")];
        for kind in [Kind::Resource, Kind::ResourceTemplate] {
            check(kind, "{workload}_", &contenders, &["file:///x", "(a has `file:///x`)", "file:///y"]);
        }
    }
}
