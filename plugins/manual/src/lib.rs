//! Refuses tool names that more than one backend claims: whoever configures the host settles each by an override.
//!
//! Overrides are applied before a resolver is asked, so a name that an override settled is no longer contested here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::{
    conflict::{ConflictResolver, Kind, PrefixFormat, Request, Resolution, ResolveError, Tie},
    log,
};

/// Every tool keeps its name, and a name that two backends have is an error.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manual {
    /// What stands before the names of prompts, which have no overrides; `{workload}` is the backend's name.
    #[serde(default)]
    prefix_format: PrefixFormat,
    /// Has no effect here; accepted since one config may serve several resolvers.
    #[serde(default)]
    priority_order: Vec<String>,
}

impl ConflictResolver for Manual {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        match request.kind {
            Kind::Tool => self.name_tools(request),
            Kind::Prompt => Ok(self.name_prompts(request)),
            Kind::Resource | Kind::ResourceTemplate => Ok(request.keep_names()),
        }
    }
}

vmcp_sdk::register_conflict_resolver!(Manual);

impl Manual {
    fn name_tools(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        if !self.priority_order.is_empty() {
            log::warn("`priorityOrder` has no effect on `manual`");
        }
        let names: Vec<String> = request.contenders.iter().map(|c| request.names.replace_illegal(&c.name)).collect();
        let contested = contested(request, &names);
        if !contested.is_empty() {
            return Err(ResolveError::Unresolved(contested));
        }
        let own = names.into_iter().map(|name| Resolution::expose(name, "its own name"));
        Ok(request.settle(own.collect(), Tie::FirstKeeps))
    }

    fn name_prompts(&self, request: &Request) -> Vec<Resolution> {
        let prefixed = request.contenders.iter().map(|contender| {
            Resolution::expose(self.prefix_format.apply(contender, request.names), "every prompt is prefixed")
        });
        request.settle(prefixed.collect(), Tie::NobodyKeeps)
    }
}

/// Every name that more than one backend claims, with the claimants: `search (github, jira)`.
fn contested(request: &Request, names: &[String]) -> Vec<String> {
    let mut claimants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (contender, name) in request.contenders.iter().zip(names) {
        let backends = claimants.entry(name).or_default();
        if backends.last() != Some(&contender.backend.as_str()) {
            backends.push(&contender.backend);
        }
    }
    let contested = claimants.into_iter().filter(|(_, backends)| backends.len() > 1);
    contested.map(|(name, backends)| format!("{name} ({})", backends.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use vmcp_sdk::conflict::{Contender, NameRule};

    use super::*;

    fn check(kind: Kind, contenders: &[(&str, &str)], expected: Result<&[&str], &str>) {
        let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
        let resolved = Manual::default().resolve(&Request { kind, names: NameRule::Strict, contenders });
        let shown = resolved.map(|resolutions| {
            let shown = resolutions.iter().map(|r| r.name().map_or(format!("({})", r.why), Into::into));
            shown.collect::<Vec<String>>()
        });
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect()).map_err(str::to_owned);
        assert_eq!(shown.map_err(|error| error.to_string()), expected);
    }

    #[test]
    fn a_tool_that_two_backends_have_is_an_error_with_the_list() {
        let tools = |contenders, expected| check(Kind::Tool, contenders, expected);
        tools(&[("a", "x"), ("b", "y")], Ok(&["x", "y"]));
        tools(&[("a", "x"), ("b", "x")], Err("no unique owner: x (a, b)"));
        tools(
            &[("a", "one"), ("a", "x"), ("b", "x"), ("b", "y"), ("c", "x"), ("c", "y")],
            Err("no unique owner: x (a, b, c), y (b, c)"),
        );
        tools(&[("a", "x.y"), ("b", "x_y")], Err("no unique owner: x_y (a, b)"));
    }

    #[test]
    fn one_backend_that_repeats_a_name_hides_only_the_repetition() {
        check(Kind::Tool, &[("a", "x.y"), ("a", "x_y")], Ok(&["x_y", "(another one of this backend is `x_y`)"]));
    }

    #[test]
    fn prompts_are_prefixed_and_an_ambiguous_one_goes_to_nobody() {
        check(Kind::Prompt, &[("a", "hi"), ("b", "hi")], Ok(&["a_hi", "b_hi"]));
        check(Kind::Prompt, &[("a", "b_c"), ("a_b", "c")], Ok(&["(a_b has `a_b_c`)", "(a has `a_b_c`)"]));
    }

    #[test]
    fn the_first_backend_in_order_owns_a_uri() {
        check(Kind::Resource, &[("a", "file:///x"), ("b", "file:///x")], Ok(&["file:///x", "(a has `file:///x`)"]));
    }
}
