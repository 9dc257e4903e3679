//! Builds a catalog: takes what the backends offered, applies the rules of the configuration, asks the conflict resolver for
//! names, and holds it to the promises that every catalog keeps (unique names, legal names, stable order).

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;
use vmcp_core::{
    capability::{Capability, Kind},
    catalog::{ArgumentRules, Catalog, CatalogParts, Entry, Hidden, Naming},
    extension::{ConflictResolver, Contender, Decision, Resolution, ResolveError, ResolveRequest},
    id::BackendId,
};
use vmcp_mcp::object::Object;

use crate::{
    ability,
    definition::{self, Prepared},
    discovery::Discovered,
    rules::{BackendRules, Rules},
};

/// Longest merged instructions, in bytes; backends beyond are left out by name.
const MAX_INSTRUCTIONS: usize = 32 * 1024;

/// What one backend brings into a catalog.
#[derive(Clone, Debug)]
pub struct Offer {
    pub backend: BackendId,
    /// What it offered when it was last asked.
    pub discovered: Arc<Discovered>,
    /// Whether it can be called now. If not, its names stay reserved and are not listed.
    pub available: bool,
}

/// Why no catalog could be built; the last good one stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("`{resolver}` returned {got} resolutions for {expected} {kind}s")]
    WrongCount { resolver: String, kind: Kind, expected: usize, got: usize },
    #[error("`{resolver}` exposes two {kind}s as `{name}`: those of {first} and of {second}")]
    RepeatedName { resolver: String, kind: Kind, name: String, first: BackendId, second: BackendId },
    #[error("`{resolver}` renames the {kind} `{from}` to `{to}`, but URIs can only be exposed or hidden")]
    RenamedUri { resolver: String, kind: Kind, from: String, to: String },
}

/// One contender with what the host needs to make an entry of it.
struct Candidate {
    contender: Contender,
    arguments: Arc<ArgumentRules>,
    available: bool,
}

/// Builds the catalog of these offers. Blocking while the resolver runs.
///
/// - `is_complete`: whether every configured backend is among them
pub fn aggregate(
    generation: u64,
    offers: &[Offer],
    is_complete: bool,
    rules: &Rules,
    resolver: &dyn ConflictResolver,
) -> Result<Catalog, AggregateError> {
    let mut offers: Vec<&Offer> = offers.iter().collect();
    offers.sort_by(|a, b| a.backend.cmp(&b.backend));
    let mut parts = CatalogParts {
        instructions: merged_instructions(&offers),
        abilities: ability::merged(&offers, is_complete),
        ..Default::default()
    };
    let mut decision_time = Duration::ZERO;
    let mut renamed = 0;
    for kind in Kind::ALL {
        let candidates = candidates(kind, &offers, rules, &mut parts.hidden);
        if candidates.is_empty() {
            continue;
        }
        let contenders: Vec<_> = candidates.iter().map(|candidate| candidate.contender.clone()).collect();
        let request = ResolveRequest { kind, names: rules.names, contenders: &contenders };
        let asked = Instant::now();
        let resolutions = resolver.resolve(&request)?;
        decision_time += asked.elapsed();
        check(kind, resolver.label(), &contenders, &resolutions)?;
        for (candidate, resolution) in candidates.into_iter().zip(resolutions) {
            match settle(candidate, resolution, rules, resolver.label()) {
                Ok((entry, available)) => {
                    renamed +=
                        usize::from(available && kind.is_renamable() && entry.name != entry.capability.original_name);
                    if available { parts.advertised.push(entry) } else { parts.unavailable.push(entry) }
                }
                Err(hidden) => parts.hidden.push(hidden),
            }
        }
    }
    parts.ui_owners = ui_owners(&parts.advertised);
    parts.naming = Naming { resolver: resolver.label().into(), took: decision_time, renamed };
    Ok(Catalog::new(generation, parts))
}

/// What takes part in the decision: everything of one kind that the rules leave visible, sorted by backend and name.
fn candidates(kind: Kind, offers: &[&Offer], rules: &Rules, hidden: &mut Vec<Hidden>) -> Vec<Candidate> {
    let no_rules = Arc::new(BackendRules::default());
    let mut candidates = Vec::new();
    for offer in offers {
        let backend_rules = rules.backends.get(&offer.backend).unwrap_or(&no_rules);
        let mut offered = Vec::new();
        for raw in offer.discovered.of(kind) {
            match definition::prepare(kind, &offer.backend, raw, backend_rules) {
                Ok(prepared) => offered.push(prepared),
                Err(reason) => warn!(backend = %offer.backend, "left out: {reason}"),
            }
        }
        // Which of two with one name stays must not depend on the order in which the backend lists them.
        let by_name = |p: &Prepared| (p.capability.name.clone(), p.capability.original_name.clone());
        offered.sort_by_cached_key(by_name);
        let mut names = HashSet::new();
        for Prepared { capability, arguments, annotation_error } in offered {
            let reason = backend_rules.of(kind).visibility.reason_to_hide(&capability.name).or_else(|| {
                let is_repeated = !names.insert(capability.name.clone());
                is_repeated.then(|| format!("its backend has another `{}`", capability.name))
            });
            match reason {
                Some(reason) => {
                    let decided_by = "configuration".into();
                    hidden.push(Hidden { capability, reason: reason.into(), decided_by, arguments });
                }
                // Over modern HTTP such a tool cannot be called by the rules.
                None if offer.discovered.is_modern && annotation_error.is_some() => {
                    let reason = annotation_error.unwrap_or_default();
                    warn!(backend = %offer.backend, tool = %capability.name, "hidden: {reason}");
                    hidden.push(Hidden { capability, reason: reason.into(), decided_by: "host".into(), arguments });
                }
                None => candidates.push(Candidate {
                    contender: Contender {
                        capability,
                        slug: backend_rules.slug.clone(),
                        backend_metadata: backend_rules.metadata.clone(),
                    },
                    arguments,
                    available: offer.available,
                }),
            }
        }
    }
    candidates.sort_by(|a, b| key(&a.contender).cmp(&key(&b.contender)));
    candidates
}

fn key(contender: &Contender) -> (&BackendId, &str) {
    (contender.backend(), &contender.capability.name)
}

/// Holds the resolver to its contract.
fn check(kind: Kind, label: &str, contenders: &[Contender], resolutions: &[Resolution]) -> Result<(), AggregateError> {
    let resolver = || label.to_owned();
    if resolutions.len() != contenders.len() {
        let (expected, got) = (contenders.len(), resolutions.len());
        return Err(AggregateError::WrongCount { resolver: resolver(), kind, expected, got });
    }
    let mut owners: HashMap<&str, &BackendId> = HashMap::with_capacity(contenders.len());
    for (contender, resolution) in contenders.iter().zip(resolutions) {
        let Decision::ExposeAs(name) = &resolution.decision else { continue };
        if !kind.is_renamable() && **name != *contender.capability.name {
            let (from, to) = (contender.capability.name.to_string(), name.clone());
            return Err(AggregateError::RenamedUri { resolver: resolver(), kind, from, to });
        }
        if let Some(first) = owners.insert(name, contender.backend()) {
            let (first, second) = (first.clone(), contender.backend().clone());
            return Err(AggregateError::RepeatedName { resolver: resolver(), kind, name: name.clone(), first, second });
        }
    }
    Ok(())
}

/// Makes an entry of a decision, or hides what may not be shown.
fn settle(candidate: Candidate, resolution: Resolution, rules: &Rules, label: &str) -> Result<(Entry, bool), Hidden> {
    let Candidate { contender: Contender { capability, .. }, arguments, available } = candidate;
    let kind = capability.kind;
    let hide = |capability: Arc<Capability>, reason: String, decided_by: &str| {
        Err(Hidden { capability, reason: reason.into(), decided_by: decided_by.into(), arguments: arguments.clone() })
    };
    let name = match resolution.decision {
        Decision::ExposeAs(name) => name,
        Decision::Hide(reason) => return hide(capability, reason, label),
    };
    if let Some(violation) = kind.is_renamable().then(|| rules.names.violation(&name)).flatten() {
        warn!(backend = %capability.backend, %kind, "hidden: {violation}");
        return hide(capability, violation, "host");
    }
    let definition = match *name == *capability.name {
        true => capability.definition.clone(),
        false => definition::renamed(kind, &capability.definition, &name),
    };
    let decided_by = if kind.is_renamable() { label.into() } else { "configuration".into() };
    Ok((
        Entry { name: name.into(), capability, definition, why: resolution.why.into(), decided_by, arguments },
        available,
    ))
}

/// Which backend owns the `ui://` resources that its tools refer to. Of two that refer to the same, the first keeps it.
fn ui_owners(advertised: &[Entry]) -> HashMap<Arc<str>, BackendId> {
    let mut owners = HashMap::new();
    for entry in advertised.iter().filter(|entry| entry.capability.kind == Kind::Tool) {
        if !entry.definition.as_str().contains("ui://") {
            continue;
        }
        if let Some(uri) = definition::ui_resource(&Object::parse_lenient(Some(&entry.definition))) {
            owners.entry(uri.into()).or_insert_with(|| entry.backend().clone());
        }
    }
    owners
}

/// The backends' instructions, each under its name.
fn merged_instructions(offers: &[&Offer]) -> Option<String> {
    let mut merged = String::new();
    for offer in offers.iter().filter(|offer| offer.available) {
        let Some(text) = offer.discovered.instructions.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
            continue;
        };
        if merged.len() + text.len() > MAX_INSTRUCTIONS {
            warn!(backend = %offer.backend, "its instructions are left out: together they exceed {MAX_INSTRUCTIONS} bytes");
            continue;
        }
        if !merged.is_empty() {
            merged.push_str("\n\n");
        }
        let _ = write!(merged, "# {}\n\n{text}", offer.backend);
    }
    (!merged.is_empty()).then_some(merged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vmcp_core::json::RawJson;

    use super::*;

    /// Answers with what the test wrote down, in the order of the contenders.
    struct Scripted(Vec<Decision>);

    impl ConflictResolver for Scripted {
        fn label(&self) -> &'static str {
            "scripted 1.0.0"
        }

        fn resolve(&self, _: &ResolveRequest<'_>) -> Result<Vec<Resolution>, ResolveError> {
            Ok(self.0.iter().map(|decision| Resolution { decision: decision.clone(), why: "told so".into() }).collect())
        }
    }

    fn offer(backend: &str, tools: &[&str]) -> Offer {
        let tools = tools.iter().map(|name| RawJson::of(&json!({"name": name}))).collect();
        let discovered = Arc::new(Discovered { tools, ..Default::default() });
        Offer { backend: BackendId::new(backend).unwrap(), discovered, available: true }
    }

    fn expose(names: &[&str]) -> Vec<Decision> {
        names.iter().map(|name| Decision::ExposeAs((*name).to_owned())).collect()
    }

    fn build(offers: &[Offer], decisions: Vec<Decision>) -> Result<Catalog, AggregateError> {
        aggregate(1, offers, true, &Rules::default(), &Scripted(decisions))
    }

    #[test]
    fn names_lead_to_the_backend_that_was_decided() {
        // Sorted by backend and name whatever the order of the offers: a.x, b.x.
        let catalog = build(&[offer("b", &["x"]), offer("a", &["x"])], expose(&["a_x", "x"])).unwrap();
        let found = |name: &str| catalog.tool(name).map(|entry| entry.backend().to_string());
        assert_eq!(found("a_x").as_deref(), Some("a"));
        assert_eq!(found("x").as_deref(), Some("b"));
        assert_eq!(found("a.x").as_deref(), Some("a"));
        assert_eq!(found("c.x"), None);
        assert_eq!(catalog.tools.page(None).0.as_str(), r#"[{"name":"a_x"},{"name":"x"}]"#);
        assert_eq!(catalog.naming.renamed, 1);
    }

    #[test]
    fn a_resolver_that_breaks_its_contract_is_refused_by_name() {
        let offers = [offer("a", &["x"]), offer("b", &["x"])];
        let check =
            |decisions, expected: &str| assert_eq!(build(&offers, decisions).unwrap_err().to_string(), expected);
        check(expose(&["x"]), "`scripted 1.0.0` returned 1 resolutions for 2 tools");
        check(expose(&["x", "x"]), "`scripted 1.0.0` exposes two tools as `x`: those of a and of b");
    }

    #[test]
    fn an_illegal_name_hides_that_tool_alone() {
        let catalog = build(&[offer("a", &["x", "y"])], expose(&["not legal", "y"])).unwrap();
        assert_eq!(catalog.tools.entries().len(), 1);
        assert_eq!(&*catalog.hidden[0].reason, "the name `not legal` contains ` `");
    }

    #[test]
    fn a_backend_that_is_down_keeps_its_names() {
        let down = Offer { available: false, ..offer("a", &["x"]) };
        let catalog = build(&[down, offer("b", &["x"])], expose(&["a_x", "b_x"])).unwrap();
        assert!(catalog.tool("a_x").is_none());
        assert!(catalog.unavailable(Kind::Tool, "a_x").is_some());
        assert!(catalog.tool("b_x").is_some());
    }

    #[test]
    fn ui_resources_belong_to_the_backend_of_their_tool() {
        let tool = RawJson::of(&json!({"name": "chart", "_meta": {"ui": {"resourceUri": "ui://chart/view"}}}));
        let discovered = Arc::new(Discovered { tools: vec![tool], ..Default::default() });
        let offer = Offer { backend: BackendId::new("a").unwrap(), discovered, available: true };
        let catalog = build(&[offer], expose(&["chart"])).unwrap();
        assert_eq!(catalog.ui_owner("ui://chart/view").map(BackendId::as_str), Some("a"));
    }
}
