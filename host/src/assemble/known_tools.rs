//! What is known of the tools that composite tools call before a host serves: what the backends offered when they were last
//! up, what a file says, or what they offer now. Names lead where they would lead in a catalog of all that.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use vmcp_config::{CallReport, Called, Callee, Config, Loaded, Takes};
use vmcp_core::{
    capability::{Kind, NameRule},
    catalog::{Catalog, Entry},
    id::BackendId,
    json::RawJson,
    workflow::WorkflowDefinition,
};
use vmcp_gateway::{
    aggregator::{Offer, aggregate},
    discovery::Discovered,
    gateway::reached_by,
    last_seen::LastSeen,
    rules::Rules,
};
use vmcp_optimizer::eval::GoldenTool;

use super::{backend_spec, components::CheckedComponents, state_dir};

/// Where the tools of the backends are known from.
pub enum ToolSource<'a> {
    /// The state folder.
    LastSeen,
    /// A file of those that clients saw, as `snapshot` writes it.
    Listed(&'a [GoldenTool]),
    /// The backends: what they offer, or for one that did not start what it offered when it was last up.
    Live(Vec<Offer>),
}

/// Holds the calls of composite tools against what `source` knows of their tools.
pub fn check_calls(
    loaded: &Loaded,
    components: &CheckedComponents,
    source: ToolSource<'_>,
) -> anyhow::Result<CallReport> {
    let config = &loaded.config;
    let rules = Rules::from_config(config);
    let (offers, origin, advice) = match source {
        ToolSource::LastSeen => (last_seen(config)?, Origin::Remembered, "; use --live or --tools FILE"),
        ToolSource::Listed(tools) => {
            (listed(config, &rules, tools), Origin::Listed, "; the file has none of its tools")
        }
        ToolSource::Live(offers) => (offers, Origin::Live, "; no answer from there"),
    };
    let is_live = origin == Origin::Live;
    let origin = |offer: &Offer| if offer.available { origin } else { Origin::Remembered };
    let origins = offers.iter().map(|offer| (offer.backend.clone(), origin(offer))).collect();
    let offers: Vec<_> = offers.into_iter().map(|offer| Offer { available: true, ..offer }).collect();
    let catalog = aggregate(1, &offers, true, &rules, &*components.resolver).map_err(|error| error.to_string());
    let known = KnownTools { config, rules, composites: &components.composites, origins, catalog, is_live, advice };
    let declared: Vec<&[String]> = components.composites.iter().map(|(_, definition)| &*definition.tools).collect();
    Ok(vmcp_config::check_calls(loaded, &declared, &|called| known.callee(called)))
}

/// What the backends offered when they were last up.
fn last_seen(config: &Config) -> anyhow::Result<Vec<Offer>> {
    // Checking a file leaves no folders behind.
    let folder = Some(state_dir(config)?.join("last-seen")).filter(|folder| folder.is_dir());
    let memory = LastSeen::new(folder)?;
    let mut offers = Vec::new();
    for backend in &config.backends {
        let spec = backend_spec(config, backend)?;
        if let Some(discovered) = memory.recall(&spec.id, &reached_by(&spec.transport)) {
            offers.push(Offer { backend: spec.id, discovered: Arc::new(discovered), available: true });
        }
    }
    Ok(offers)
}

/// The tools of a file, by the names that their backends have for them.
fn listed(config: &Config, rules: &Rules, tools: &[GoldenTool]) -> Vec<Offer> {
    let offer = |backend: &vmcp_config::BackendConfig| {
        let overrides = &rules.backends.get(&backend.name)?.tools.overrides;
        let definition = |tool: &GoldenTool| {
            let renamed = overrides.iter().find(|(_, over)| over.name.as_ref() == Some(&tool.name));
            let name = renamed.map_or(&tool.name, |(original, _)| original);
            RawJson::of(&json!({ "name": name, "inputSchema": tool.input_schema }))
        };
        let own = tools.iter().filter(|tool| tool.server == backend.name.as_str());
        let discovered = Discovered { tools: own.map(definition).collect(), ..Discovered::default() };
        let is_known = !discovered.tools.is_empty();
        is_known.then(|| Offer { backend: backend.name.clone(), discovered: discovered.into(), available: true })
    };
    config.backends.iter().filter_map(offer).collect()
}

/// How sure it is what a backend offers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It said so just now.
    Live,
    /// It said so when it was last up.
    Remembered,
    /// A file has what clients saw of it.
    Listed,
}

struct KnownTools<'a> {
    config: &'a Config,
    rules: Rules,
    composites: &'a [(Arc<str>, WorkflowDefinition)],
    /// Of the backends of which something is known.
    origins: BTreeMap<BackendId, Origin>,
    /// The catalog of their tools, or why there is none.
    catalog: Result<Catalog, String>,
    /// Whether the backends were asked.
    is_live: bool,
    /// What else can be said where nothing is known.
    advice: &'static str,
}

impl KnownTools<'_> {
    fn callee(&self, called: Called<'_>) -> Callee {
        match called {
            Called::Composite(name) => self.composite(name),
            Called::Tool(name) => match name.strip_prefix(&format!("{}.", BackendId::composite())) {
                Some(name) => self.composite(name),
                None => self.tool(name),
            },
        }
    }

    fn composite(&self, name: &str) -> Callee {
        let known = || self.composites.iter().map(|(name, _)| name.to_string()).collect();
        let found = self.composites.iter().find(|(own, _)| **own == *name);
        found.map_or_else(
            || Callee::Missing { known: known(), is_certain: true },
            |(_, found)| Callee::There(parameters(found)),
        )
    }

    /// Where the name leads once all backends are up.
    fn tool(&self, name: &str) -> Callee {
        let catalog = match &self.catalog {
            Ok(catalog) => catalog,
            Err(why) => return Callee::Unknown { why: format!("the names of tools cannot be decided: {why}") },
        };
        if let Some(backend) = self.owner(name) {
            return self.tool_of(backend, name, catalog);
        }
        let backends = self.config.backends.iter().map(|backend| &backend.name);
        let silent: Vec<_> = backends.filter(|name| !self.origins.contains_key(*name)).collect();
        if let Some(entry) = catalog.any_tool(name).filter(|_| silent.is_empty()) {
            return Callee::There(takes(&entry));
        }
        if self.composites.iter().any(|(own, _)| **own == *name) {
            return self.composite(name);
        }
        // Clients see no dots where names are legal everywhere, and no backend has the name before the dot.
        let is_nobodys = self.rules.names == NameRule::Strict && name.contains('.');
        if silent.is_empty() || is_nobodys {
            let is_certain = self.is_live && self.origins.values().all(|origin| *origin == Origin::Live);
            let advertised = catalog.tools.entries().iter().map(|entry| entry.name.to_string());
            let own = self.composites.iter().map(|(name, _)| name.to_string());
            let known = match is_nobodys {
                true => catalog.all_tools().map(|entry| dotted(&entry)).collect(),
                false => advertised.chain(own).collect(),
            };
            return Callee::Missing { known, is_certain };
        }
        let silent: Vec<_> = silent.into_iter().map(|name| format!("`{name}`")).collect();
        let why = format!("nothing is known of `{name}` nor of {}{}", silent.join(", "), self.advice);
        Callee::Unknown { why }
    }

    /// - `name`: `backend.original-name`
    fn tool_of(&self, backend: &BackendId, name: &str, catalog: &Catalog) -> Callee {
        let unknown = || Callee::Unknown { why: format!("nothing is known of `{name}`{}", self.advice) };
        let Some(origin) = self.origins.get(backend) else { return unknown() };
        if let Some(entry) = catalog.any_tool(name) {
            return Callee::There(takes(&entry));
        }
        let own = name.strip_prefix(&format!("{backend}.")).unwrap_or(name);
        if *origin == Origin::Listed && self.may_be_hidden(backend, own, catalog) {
            let why = format!("nothing is known of `{name}`: the file has what clients see, and they may not see it");
            return Callee::Unknown { why };
        }
        let of_backend = catalog.all_tools().filter(|entry| entry.backend() == backend);
        Callee::Missing { known: of_backend.map(|entry| dotted(&entry)).collect(), is_certain: *origin == Origin::Live }
    }

    /// The backend whose tool the name is, if it is `backend.original-name`.
    fn owner(&self, name: &str) -> Option<&BackendId> {
        let is_before = |id: &&BackendId| name.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('.'));
        self.config.backends.iter().map(|backend| &backend.name).filter(is_before).max_by_key(|id| id.as_str().len())
    }

    /// Whether the configuration, or a conflict resolver, may keep a tool from clients.
    fn may_be_hidden(&self, backend: &BackendId, original: &str, catalog: &Catalog) -> bool {
        let rules = self.rules.backends.get(backend).map(|rules| rules.of(Kind::Tool));
        let new_name = rules.and_then(|rules| rules.overrides.get(original)?.name.as_deref());
        let name = new_name.unwrap_or(original);
        rules.is_some_and(|rules| rules.visibility.reason_to_hide(name).is_some())
            || catalog.all_tools().any(|entry| *entry.capability.name == *name)
    }
}

fn dotted(entry: &Entry) -> String {
    format!("{}.{}", entry.backend(), entry.capability.original_name)
}

/// What the tool takes from a step.
fn takes(entry: &Entry) -> Takes {
    let mut definition: Value = entry.definition.to_value().unwrap_or_default();
    let fixed = entry.arguments.fixed.iter().map(|(name, _)| name);
    let settled = fixed.chain(&entry.arguments.hidden).cloned().collect();
    Takes { schema: of_object(definition["inputSchema"].take()), settled }
}

/// What a composite tool takes: its defaults stand in for what is not given.
fn parameters(definition: &WorkflowDefinition) -> Takes {
    let mut schema = of_object(definition.input_schema.to_value().unwrap_or_default());
    let properties = schema.get("properties").cloned().unwrap_or_default();
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        let has_default = |name: &Value| name.as_str().is_some_and(|name| properties[name].get("default").is_some());
        required.retain(|name| !has_default(name));
    }
    Takes { schema, settled: Vec::new() }
}

/// A tool without a schema takes anything.
fn of_object(schema: Value) -> Value {
    if schema.is_object() { schema } else { json!({}) }
}
