//! The merged, client-visible capabilities of one view. Immutable: a change builds a new one, and a request keeps the one it
//! began with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    ability::Abilities,
    capability::{Capability, Kind},
    id::BackendId,
    json::RawJson,
    uri_template::UriTemplate,
};

/// One capability under the name that clients know.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The advertised name, URI or template.
    pub name: Arc<str>,
    pub capability: Arc<Capability>,
    /// The definition as advertised.
    pub definition: RawJson,
    /// Why it is named so, in a few words.
    pub why: Arc<str>,
    /// Who decided: a component's label, or `configuration`.
    pub decided_by: Arc<str>,
    /// Arguments that the configuration puts into every call.
    pub arguments: Arc<ArgumentRules>,
}

impl Entry {
    pub fn backend(&self) -> &BackendId {
        &self.capability.backend
    }
}

/// Arguments that the configuration decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArgumentRules {
    /// Replace whatever the client sends.
    pub fixed: Vec<(String, Value)>,
    /// Stand in where the client sends nothing.
    pub defaults: Vec<(String, Value)>,
    /// Not shown, and dropped when a client sends them all the same.
    pub hidden: Vec<String>,
    /// Repeated in headers of requests over HTTP, by clients and by the host.
    pub mirrored: Vec<Mirrored>,
}

/// An argument that is repeated in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Names from the arguments' object down to the value.
    pub path: Vec<String>,
    /// The last part of the header's name.
    pub header: String,
}

impl Mirrored {
    /// The value in `arguments`, if it is there.
    pub fn of<'a>(&self, arguments: &'a Value) -> Option<&'a Value> {
        self.path.iter().try_fold(arguments, |value, name| value.get(name))
    }
}

impl ArgumentRules {
    /// Whether a call's arguments go through as they are.
    pub fn leaves_arguments_alone(&self) -> bool {
        self.fixed.is_empty() && self.defaults.is_empty() && self.hidden.is_empty()
    }
}

/// A capability that is not advertised.
#[derive(Clone, Debug)]
pub struct Hidden {
    pub capability: Arc<Capability>,
    pub reason: Arc<str>,
    /// Who hid it: a component's label, or `configuration`, or `host`.
    pub decided_by: Arc<str>,
    /// Arguments that the configuration puts into a workflow's calls.
    pub arguments: Arc<ArgumentRules>,
}

impl Hidden {
    /// As an entry that clients do not see; its name is `backend.original-name`.
    fn entry(&self) -> Entry {
        Entry {
            name: format!("{}.{}", self.capability.backend, self.capability.original_name).into(),
            capability: self.capability.clone(),
            definition: self.capability.definition.clone(),
            why: self.reason.clone(),
            decided_by: self.decided_by.clone(),
            arguments: self.arguments.clone(),
        }
    }
}

/// The advertised entries of one kind, sorted by name.
#[derive(Clone, Debug)]
pub struct Listing {
    entries: Vec<Arc<Entry>>,
    by_name: HashMap<Arc<str>, usize>,
    /// The definitions of the first page as a JSON array.
    first_page: RawJson,
}

/// Most definitions in one page of a list.
pub const PAGE_SIZE: usize = 1000;

impl Default for Listing {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Listing {
    /// Takes entries of unique names.
    pub fn new(mut entries: Vec<Arc<Entry>>) -> Self {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let by_name = entries.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
        let first_page = array(&entries[..entries.len().min(PAGE_SIZE)]);
        Self { entries, by_name, first_page }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.by_name.get(name).map(|at| &self.entries[*at])
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The page of definitions that follows the entry named `after` (the first without), and the name to ask for the next
    /// page with, if there is one. It does not matter whether that entry still exists.
    pub fn page(&self, after: Option<&str>) -> (RawJson, Option<Arc<str>>) {
        let start = after.map_or(0, |after| self.entries.partition_point(|entry| entry.name.as_ref() <= after));
        let end = self.entries.len().min(start + PAGE_SIZE);
        let page = if start == 0 { self.first_page.clone() } else { array(&self.entries[start..end]) };
        let next = (end < self.entries.len()).then(|| self.entries[end - 1].name.clone());
        (page, next)
    }
}

fn array(entries: &[Arc<Entry>]) -> RawJson {
    let mut out = Vec::with_capacity(2 + entries.iter().map(|e| e.definition.as_bytes().len() + 1).sum::<usize>());
    out.push(b'[');
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(entry.definition.as_bytes());
    }
    out.push(b']');
    RawJson::from_built(out)
}

/// How the names of a catalog came about, for people.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The resolver's label, e.g. `smart 0.1.0`; empty before the first catalog.
    pub resolver: Arc<str>,
    pub took: Duration,
    /// Advertised tools and prompts whose name is not the backend's own.
    pub renamed: usize,
}

/// Everything that one view shows, and where each name leads.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Counts the catalogs of this process, from 1; 0 is the empty one before the first.
    pub generation: u64,
    pub tools: Listing,
    pub prompts: Listing,
    pub resources: Listing,
    pub templates: Listing,
    pub hidden: Vec<Hidden>,
    /// Entries of backends that are down: not listed, but their names lead to an error that says so.
    pub unavailable: Vec<Arc<Entry>>,
    pub naming: Naming,
    /// The merged instructions of the backends.
    pub instructions: Option<String>,
    pub abilities: Abilities,
    /// The definitions that `tools/list` shows in place of all tools, where these are searched instead.
    pub shown_tools: Option<RawJson>,
    matchers: Vec<(UriTemplate, Arc<Entry>)>,
    /// `ui://` resources that a tool refers to, with the tool's backend.
    ui_owners: HashMap<Arc<str>, BackendId>,
    unavailable_by_name: HashMap<(Kind, Arc<str>), usize>,
}

/// What a catalog is made of.
#[derive(Debug, Default)]
pub struct CatalogParts {
    pub advertised: Vec<Entry>,
    pub unavailable: Vec<Entry>,
    pub hidden: Vec<Hidden>,
    pub naming: Naming,
    pub instructions: Option<String>,
    pub abilities: Abilities,
    pub ui_owners: HashMap<Arc<str>, BackendId>,
}

impl Catalog {
    pub fn new(generation: u64, parts: CatalogParts) -> Self {
        let mut by_kind: HashMap<Kind, Vec<Arc<Entry>>> = HashMap::new();
        for entry in parts.advertised {
            by_kind.entry(entry.capability.kind).or_default().push(Arc::new(entry));
        }
        let mut listing = |kind| Listing::new(by_kind.remove(&kind).unwrap_or_default());
        let templates = listing(Kind::ResourceTemplate);
        let matchers = templates
            .entries
            .iter()
            .filter_map(|entry| Some((UriTemplate::parse(&entry.name).ok()?, entry.clone())))
            .collect();
        let unavailable: Vec<_> = parts.unavailable.into_iter().map(Arc::new).collect();
        Self {
            generation,
            tools: listing(Kind::Tool),
            prompts: listing(Kind::Prompt),
            resources: listing(Kind::Resource),
            templates,
            hidden: parts.hidden,
            unavailable_by_name: (unavailable.iter().enumerate())
                .map(|(at, entry)| ((entry.capability.kind, entry.name.clone()), at))
                .collect(),
            unavailable,
            naming: parts.naming,
            instructions: parts.instructions,
            abilities: parts.abilities,
            shown_tools: None,
            matchers,
            ui_owners: parts.ui_owners,
        }
    }

    /// Shows `definitions` in place of all tools, which can be called all the same.
    #[must_use]
    pub fn showing(mut self, definitions: &[RawJson]) -> Self {
        self.shown_tools = Some(RawJson::of(&definitions));
        self
    }

    /// Adds tools that the catalog does not have, and others that are not to be shown.
    #[must_use]
    pub fn with_tools(mut self, added: Vec<Entry>, hidden: Vec<Hidden>) -> Self {
        if !added.is_empty() {
            let entries = self.tools.entries.iter().cloned().chain(added.into_iter().map(Arc::new)).collect();
            self.tools = Listing::new(entries);
        }
        self.hidden.extend(hidden);
        self
    }

    pub fn listing(&self, kind: Kind) -> &Listing {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource => &self.resources,
            Kind::ResourceTemplate => &self.templates,
        }
    }

    /// Where a client's tool name leads: the advertised name, else `backend.original-name` of an advertised tool.
    pub fn tool(&self, name: &str) -> Option<&Arc<Entry>> {
        self.tools.get(name).or_else(|| {
            let (backend, original) = name.split_once('.').filter(|(backend, _)| !backend.is_empty())?;
            let leads_there =
                |e: &&Arc<Entry>| e.backend().as_str() == backend && &*e.capability.original_name == original;
            self.tools.entries.iter().find(leads_there)
        })
    }

    /// Where a workflow's tool name leads: as a client's, else `backend.original-name` of a tool that clients do not see.
    pub fn any_tool(&self, name: &str) -> Option<Arc<Entry>> {
        self.tool(name).cloned().or_else(|| {
            let leads_there = |hidden: &&Hidden| {
                let Capability { backend, original_name, .. } = &*hidden.capability;
                let rest = name.strip_prefix(backend.as_str()).and_then(|rest| rest.strip_prefix('.'));
                rest == Some(original_name)
            };
            self.hidden_tools().find(leads_there).map(|hidden| Arc::new(hidden.entry()))
        })
    }

    /// All tools that a workflow may name, those that clients see first.
    pub fn all_tools(&self) -> impl Iterator<Item = Arc<Entry>> {
        self.tools.entries.iter().cloned().chain(self.hidden_tools().map(|hidden| Arc::new(hidden.entry())))
    }

    /// Tools of backends that clients do not see. A composite tool that is hidden has a reason not to be run.
    fn hidden_tools(&self) -> impl Iterator<Item = &Hidden> {
        let is_tool =
            |hidden: &&Hidden| hidden.capability.kind == Kind::Tool && !hidden.capability.backend.is_composite();
        self.hidden.iter().filter(is_tool)
    }

    /// Where a URI leads: a listed resource, else the first template that matches.
    pub fn resource(&self, uri: &str) -> Option<&Arc<Entry>> {
        self.resources
            .get(uri)
            .or_else(|| self.templates.get(uri))
            .or_else(|| self.matchers.iter().find(|(template, _)| template.matches(uri)).map(|(_, entry)| entry))
    }

    /// The backend whose tool refers to the unlisted resource `uri`.
    pub fn ui_owner(&self, uri: &str) -> Option<&BackendId> {
        self.ui_owners.get(uri)
    }

    /// The entry that `name` would lead to if its backend were up.
    pub fn unavailable(&self, kind: Kind, name: &str) -> Option<&Arc<Entry>> {
        self.unavailable_by_name.get(&(kind, Arc::from(name))).map(|at| &self.unavailable[*at])
    }

    /// The kinds whose lists differ from those of `earlier`.
    pub fn changes_since(&self, earlier: &Self) -> Vec<Kind> {
        let same = |a: &Listing, b: &Listing| {
            a.entries.len() == b.entries.len()
                && a.entries.iter().zip(&b.entries).all(|(a, b)| Arc::ptr_eq(a, b) || a.definition == b.definition)
        };
        let is_same = |kind: Kind| match (kind, &self.shown_tools) {
            (Kind::Tool, Some(shown)) => earlier.shown_tools.as_ref() == Some(shown),
            _ => same(self.listing(kind), earlier.listing(kind)),
        };
        Kind::ALL.into_iter().filter(|kind| !is_same(*kind)).collect()
    }
}
