//! Gives a contested name to the most preferred backend that offers it and hides it from the others.
//!
//! Tools that nobody contests keep their names, whether their backend is listed or not. Where no listed backend claims a
//! contested tool, all claimants are prefixed; such a name never takes one that somebody has already.

use std::collections::{HashMap, hash_map::Entry};

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::conflict::{
    ConfigProblem, ConflictResolver, Contender, Kind, PrefixFormat, Request, Resolution, ResolveError, Tie,
};

/// Backends from the most to the least preferred.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Priority {
    /// Names of backends, the most preferred first. A backend that is not listed loses to every one that is.
    #[schemars(extend("minItems" = 1), inner(length(min = 1)))]
    priority_order: Vec<String>,
    /// What stands before names that only backends beyond `priorityOrder` contest; `{workload}` is the backend's name.
    #[serde(default)]
    prefix_format: PrefixFormat,
}

impl ConflictResolver for Priority {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        Ok(match request.kind {
            Kind::Tool => self.name_tools(request),
            Kind::Prompt => self.name_prompts(request),
            Kind::Resource | Kind::ResourceTemplate => request.keep_names(),
        })
    }

    fn check(&self) -> Vec<ConfigProblem> {
        if self.priority_order.is_empty() {
            return vec![ConfigProblem::new("/priorityOrder", "must name at least one backend")];
        }
        let empty = self.priority_order.iter().enumerate().filter(|(_, backend)| backend.is_empty());
        empty.map(|(at, _)| ConfigProblem::new(format!("/priorityOrder/{at}"), "must not be empty")).collect()
    }
}

vmcp_sdk::register_conflict_resolver!(Priority);

impl Priority {
    fn name_tools(&self, request: &Request) -> Vec<Resolution> {
        let ranks = self.ranks();
        let names: Vec<String> = request.contenders.iter().map(|c| request.names.replace_illegal(&c.name)).collect();
        let claims = claims(request, &names, &ranks);
        let mut bare_names = Vec::with_capacity(names.len());
        let mut prefixed_names = Vec::new();
        for (index, (contender, name)) in request.contenders.iter().zip(names.iter()).enumerate() {
            let claim = &claims[name.as_str()];
            let winner = &request.contenders[claim.best].backend;
            if claim.contested && !ranks.contains_key(winner.as_str()) {
                let prefixed = self.prefix_format.apply(contender, request.names);
                prefixed_names.push((index, Resolution::expose(prefixed, "prefixed: contested by unlisted backends")));
                bare_names.push(Resolution::hide(""));
            } else if contender.backend != *winner {
                bare_names.push(Resolution::hide(format!("{winner} has priority")));
            } else {
                let why = if claim.contested { "has priority" } else { "its own name" };
                bare_names.push(Resolution::expose(name, why));
            }
        }
        settle_in_turn(request, bare_names, prefixed_names)
    }

    /// Prompts of listed backends keep their names, the others' are always prefixed; a name that is ambiguous even then
    /// goes to nobody.
    fn name_prompts(&self, request: &Request) -> Vec<Resolution> {
        let ranks = self.ranks();
        let names: Vec<String> = request.contenders.iter().map(|c| request.names.replace_illegal(&c.name)).collect();
        let claims = claims(request, &names, &ranks);
        let proposed = request.contenders.iter().zip(&names).map(|(contender, name)| {
            let winner = &request.contenders[claims[name.as_str()].best].backend;
            if !ranks.contains_key(contender.backend.as_str()) {
                let prefixed = self.prefix_format.apply(contender, request.names);
                Resolution::expose(prefixed, "prefixed: its backend has no priority")
            } else if contender.backend == *winner {
                Resolution::expose(name, "its backend has priority")
            } else {
                Resolution::hide(format!("{winner} has priority"))
            }
        });
        request.settle(proposed.collect(), Tie::NobodyKeeps)
    }

    /// Place of each listed backend, 0 first.
    fn ranks(&self) -> HashMap<&str, usize> {
        let mut ranks = HashMap::with_capacity(self.priority_order.len());
        for (rank, backend) in self.priority_order.iter().enumerate() {
            ranks.entry(backend.as_str()).or_insert(rank);
        }
        ranks
    }
}

/// Who wants one name.
struct Claim {
    /// Index of the contender to prefer: of the lowest rank, then the first.
    best: usize,
    /// Whether a second backend wants the name.
    contested: bool,
}

fn claims<'a>(request: &Request, names: &'a [String], ranks: &HashMap<&str, usize>) -> HashMap<&'a str, Claim> {
    let rank = |contender: &Contender| ranks.get(contender.backend.as_str()).copied().unwrap_or(usize::MAX);
    let mut claims: HashMap<&str, Claim> = HashMap::with_capacity(names.len());
    for (index, (contender, name)) in request.contenders.iter().zip(names).enumerate() {
        let claim = claims.entry(name).or_insert(Claim { best: index, contested: false });
        let best = &request.contenders[claim.best];
        claim.contested |= best.backend != contender.backend;
        if rank(contender) < rank(best) {
            claim.best = index;
        }
    }
    claims
}

/// Bare names first, so that a prefixed one can never take a name that somebody has.
fn settle_in_turn(
    request: &Request,
    bare_names: Vec<Resolution>,
    prefixed_names: Vec<(usize, Resolution)>,
) -> Vec<Resolution> {
    let mut resolutions = request.settle(bare_names, Tie::FirstKeeps);
    let mut owners: HashMap<String, usize> = resolutions
        .iter()
        .enumerate()
        .filter_map(|(index, resolution)| Some((resolution.name()?.to_owned(), index)))
        .collect();
    for (index, prefixed) in prefixed_names {
        let Some(name) = prefixed.name() else { continue };
        resolutions[index] = match owners.entry(name.to_owned()) {
            Entry::Occupied(owner) => {
                let owner = &request.contenders[*owner.get()];
                Resolution::hide(format!("{} has `{name}`", owner.backend))
            }
            Entry::Vacant(free) => {
                free.insert(index);
                prefixed
            }
        };
    }
    resolutions
}

#[cfg(test)]
mod tests {
    use vmcp_sdk::conflict::NameRule;

    use super::*;

    fn resolver(order: &[&str]) -> Priority {
        Priority { priority_order: order.iter().map(ToString::to_string).collect(), ..Priority::default() }
    }

    fn check(priority: &Priority, kind: Kind, contenders: &[(&str, &str)], expected: &[&str]) {
        let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
        let resolved = priority.resolve(&Request { kind, names: NameRule::Strict, contenders }).unwrap();
        let shown: Vec<String> = resolved.iter().map(|r| r.name().map_or(format!("({})", r.why), Into::into)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_contested_tool_goes_to_the_lowest_rank() {
        let order = resolver(&["jira", "github"]);
        let tools = |contenders, expected| check(&order, Kind::Tool, contenders, expected);
        tools(&[("github", "search"), ("jira", "search")], &["(jira has priority)", "search"]);
        tools(&[("alpha", "search"), ("github", "search")], &["(github has priority)", "search"]);
        tools(&[("alpha", "only"), ("jira", "own")], &["only", "own"]);
        tools(&[("alpha", "x"), ("github", "x"), ("jira", "x")], &["(jira has priority)", "(jira has priority)", "x"]);
        tools(&[("github", "a.b"), ("jira", "a_b")], &["(jira has priority)", "a_b"]);
        tools(&[("jira", "a.b"), ("jira", "a_b")], &["a_b", "(another one of this backend is `a_b`)"]);
        check(
            &resolver(&["jira", "github", "jira"]),
            Kind::Tool,
            &[("github", "x"), ("jira", "x")],
            &["(jira has priority)", "x"],
        );
    }

    #[test]
    fn tools_contested_by_unlisted_backends_only_are_prefixed() {
        let order = Priority { prefix_format: "{workload}-".to_owned().try_into().unwrap(), ..resolver(&["z"]) };
        check(&order, Kind::Tool, &[("a", "x"), ("b", "x"), ("b", "y")], &["a-x", "b-x", "y"]);
    }

    #[test]
    fn a_prefixed_tool_never_takes_a_name_that_somebody_has() {
        check(&resolver(&["z"]), Kind::Tool, &[("a", "x"), ("b", "x"), ("z", "a_x")], &["(z has `a_x`)", "b_x", "a_x"]);
        let order = Priority { prefix_format: "all_".to_owned().try_into().unwrap(), ..resolver(&["z"]) };
        check(&order, Kind::Tool, &[("a", "x"), ("b", "x")], &["all_x", "(a has `all_x`)"]);
    }

    #[test]
    fn prompts_are_bare_for_listed_backends_and_prefixed_for_the_rest() {
        let order = resolver(&["jira", "github"]);
        let prompts = |contenders, expected| check(&order, Kind::Prompt, contenders, expected);
        prompts(&[("alpha", "hi"), ("github", "hi")], &["alpha_hi", "hi"]);
        prompts(&[("alpha", "only"), ("github", "own")], &["alpha_only", "own"]);
        prompts(&[("github", "hi"), ("jira", "hi")], &["(jira has priority)", "hi"]);
        prompts(&[("a", "hi"), ("jira", "a_hi")], &["(jira has `a_hi`)", "(a has `a_hi`)"]);
    }

    #[test]
    fn the_first_backend_in_order_owns_a_uri() {
        check(
            &resolver(&["b"]),
            Kind::Resource,
            &[("a", "file:///x"), ("b", "file:///x")],
            &["file:///x", "(a has `file:///x`)"],
        );
    }

    #[test]
    fn the_order_must_name_backends() {
        let check = |order: &[&str], expected: &[&str]| {
            let problems: Vec<String> = resolver(order).check().iter().map(ToString::to_string).collect();
            assert_eq!(problems, expected);
        };
        check(&["a"], &[]);
        check(&[], &["/priorityOrder: must name at least one backend"]);
        check(&["a", "", ""], &["/priorityOrder/1: must not be empty", "/priorityOrder/2: must not be empty"]);
    }
}
