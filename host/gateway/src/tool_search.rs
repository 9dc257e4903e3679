//! `find_tool` and `call_tool` in place of the catalog: what clients see of it, what they find in it, and that a call through
//! `call_tool` is the call it stands for.

mod arguments;
mod summary;
mod tally;
mod usage;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};
use tracing::info;
use vmcp_core::{
    call::Reply,
    catalog::{Catalog, Entry},
    json::RawJson,
    with_cause,
};
use vmcp_mcp::{era::Era, object::Object};
use vmcp_optimizer::{
    call_tool::{self, CALL_TOOL},
    document::ToolDocument,
    find_tool::{self, FIND_TOOL, FindRequest},
    search::{Optimizer, OptimizerStatus, Reasons, SearchRequest, VisibleTools},
};

use self::{arguments::ArgumentCheck, tally::Tally, usage::UsageLog};
use crate::authored;

/// Names that an error suggests.
const SUGGESTIONS: usize = 3;

/// What the configuration says about tool search.
#[derive(Clone, Debug, Default)]
pub struct ToolSearchOptions {
    /// How it was switched on and what it needs, for start-up and `/status`.
    pub tier: String,
    /// Advertised names of the tools that clients see beside the two.
    pub pinned: Vec<String>,
    /// In place of the usual descriptions.
    pub find_description: Option<String>,
    pub call_description: Option<String>,
}

/// What is indexed by tool, with the definition that it was made of.
type Documents = HashMap<Arc<str>, (RawJson, Arc<ToolDocument>)>;

/// Tool search in front of a catalog.
pub struct ToolSearch {
    optimizer: Arc<Optimizer>,
    options: ToolSearchOptions,
    pinned: Arc<[String]>,
    documents: Mutex<Documents>,
    usage: Arc<UsageLog>,
    tally: Tally,
    arguments: ArgumentCheck,
}

/// How tool search does, for `/status`.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSearchStatus {
    pub tier: String,
    #[serde(flatten)]
    pub optimizer: OptimizerStatus,
}

/// What a call of one of the two tools comes to.
pub(crate) enum Unwrapped {
    /// Another tool is called, with these parameters.
    Call(Object),
    /// `find_tool` is called, with these arguments.
    Find(Map<String, Value>),
    /// Nothing is called; the model is told why.
    Refused(String),
}

impl ToolSearch {
    pub fn new(optimizer: Arc<Optimizer>, options: ToolSearchOptions) -> Self {
        Self {
            optimizer,
            pinned: options.pinned.clone().into(),
            options,
            documents: Mutex::default(),
            usage: Arc::default(),
            tally: Tally::default(),
            arguments: ArgumentCheck::default(),
        }
    }

    pub fn status(&self) -> ToolSearchStatus {
        ToolSearchStatus { tier: self.options.tier.clone(), optimizer: self.optimizer.status() }
    }

    /// The engine behind it.
    pub fn optimizer(&self) -> &Arc<Optimizer> {
        &self.optimizer
    }

    /// Indexes the tools of a catalog that is about to be published, and decides what clients see of it. Blocking.
    pub(crate) fn take(&self, catalog: Catalog) -> Catalog {
        let changes = self.optimizer.update(self.documents(&catalog));
        info!(?changes, "tools indexed");
        let limit = self.optimizer.settings().max_tools;
        let summary = summary::of(&catalog);
        let mut shown = vec![
            find_tool::definition(self.options.find_description.as_deref(), &summary, limit),
            call_tool::definition(self.options.call_description.as_deref()),
        ];
        let pinned = self.pinned.iter().filter_map(|name| catalog.tools.get(name));
        shown.extend(pinned.map(|entry| entry.definition.clone()));
        self.tally.take(&catalog, &shown);
        catalog.showing(&shown)
    }

    /// Counts what the published catalog costs a model, in the background: nobody waits for it.
    pub(crate) fn count_tokens(&self) {
        self.tally.count();
    }

    /// One document per tool; those whose definition is as before are kept.
    fn documents(&self, catalog: &Catalog) -> Vec<Arc<ToolDocument>> {
        let mut known = self.documents.lock().expect("no panic while locked");
        let mut documents = HashMap::with_capacity(catalog.tools.entries().len());
        let mut new = Vec::new();
        for entry in catalog.tools.entries() {
            match known.remove(&entry.name).filter(|(definition, _)| *definition == entry.definition) {
                Some(kept) => drop(documents.insert(entry.name.clone(), kept)),
                None => new.push(entry),
            }
        }
        let read = ToolDocument::read_all(&new, |entry| document(entry));
        let read = new.into_iter().zip(read);
        documents.extend(read.map(|(entry, document)| (entry.name.clone(), (entry.definition.clone(), document))));
        *known = documents;
        known.values().map(|(_, document)| document.clone()).collect()
    }

    /// Answers a call of `find_tool`.
    pub(crate) async fn find(&self, era: Era, catalog: &Catalog, arguments: &Map<String, Value>) -> Reply {
        let request = match FindRequest::read(arguments) {
            Ok(request) => request,
            Err(problem) => return refusal(era, &problem),
        };
        let usage = self.usage.clone();
        let search = SearchRequest {
            text: request.description,
            keywords: request.keywords,
            server: request.server,
            limit: request.limit,
            visible: VisibleTools::All,
            usage: Arc::new(move |name| usage.of(name)),
            pinned: self.pinned.clone(),
            reasons: if request.explain { Reasons::Words } else { Reasons::None },
        };
        let answer = match self.optimizer.search(search).await {
            Ok(answer) => answer,
            Err(error) => return refusal(era, &with_cause(&error)),
        };
        // The index may be of a newer catalog than this request's.
        let (tools, entries): (Vec<_>, Vec<_>) = (answer.tools.into_iter())
            .filter_map(|tool| catalog.tools.get(tool.document.name()).map(|entry| (tool, entry)))
            .unzip();
        let definitions: Vec<_> = entries.iter().map(|entry| &entry.definition).collect();
        let metrics = self.tally.metrics(&entries);
        let matches = request.explain.then_some(&*tools);
        let structured = find_tool::answer(&definitions, &metrics, matches, answer.note.as_deref());
        Reply::Result(authored::tool_result(era, structured.as_str(), Some(&structured), false))
    }

    /// What a call of `name` with these parameters comes to; `None` when it is none of the two tools'.
    pub(crate) fn unwrap_call(&self, catalog: &Catalog, name: &str, params: &Object) -> Option<Unwrapped> {
        let arguments = || match params.get("arguments") {
            None => Ok(Map::new()),
            Some(raw) => raw.to_value::<Map<String, Value>>().map_err(|_| "`arguments` is no object".to_owned()),
        };
        let unwrapped = match name {
            FIND_TOOL => arguments().map(Unwrapped::Find),
            CALL_TOOL => arguments().and_then(|arguments| self.inner_call(catalog, arguments, params)),
            _ => return None,
        };
        Some(unwrapped.unwrap_or_else(Unwrapped::Refused))
    }

    /// The call that the arguments of `call_tool` stand for.
    fn inner_call(
        &self,
        catalog: &Catalog,
        arguments: Map<String, Value>,
        params: &Object,
    ) -> Result<Unwrapped, String> {
        let (name, parameters) = arguments::unwrap(arguments)?;
        if name == FIND_TOOL && catalog.tools.get(FIND_TOOL).is_none() {
            return Ok(Unwrapped::Find(parameters));
        }
        match catalog.tool(&name) {
            Some(entry) => self.arguments.check(entry, &parameters)?,
            None if catalog.unavailable(vmcp_core::capability::Kind::Tool, &name).is_some() => {}
            None => return Err(unknown(catalog, &name)),
        }
        let mut params = params.clone();
        params.set("name", RawJson::of(&name));
        params.set("arguments", RawJson::of(&parameters));
        Ok(Unwrapped::Call(params))
    }

    /// Notes how a call ended.
    pub(crate) fn note_call(&self, name: &Arc<str>, outcome: Option<&Reply>) {
        let failed = match outcome {
            Some(Reply::Result(result)) => memchr::memmem::find(result.as_bytes(), br#""isError":true"#).is_some(),
            Some(Reply::Error(_)) | None => true,
        };
        self.usage.note(name, failed);
    }
}

/// What can be found of one tool.
fn document(entry: &Entry) -> ToolDocument {
    ToolDocument::new(&entry.name, &entry.capability.name, entry.capability.backend.as_str(), entry.definition.as_str())
}

/// A tool result that tells a model what it did wrong.
pub(crate) fn refusal(era: Era, problem: &str) -> Reply {
    Reply::Result(authored::tool_result(era, problem, None, true))
}

/// What to say of a name that no tool has.
fn unknown(catalog: &Catalog, name: &str) -> String {
    let mut near: Vec<_> = (catalog.tools.entries().iter())
        .map(|entry| {
            let whole = strsim::normalized_damerau_levenshtein(name, &entry.name);
            let own = strsim::normalized_damerau_levenshtein(name, &entry.capability.name);
            (whole.max(own), &*entry.name)
        })
        .filter(|(likeness, _)| *likeness > 0.3)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.truncate(SUGGESTIONS);
    match near.as_slice() {
        [] => format!("tool not found: `{name}`; use `find_tool` to find one"),
        near => {
            let names: Vec<_> = near.iter().map(|(_, name)| format!("`{name}`")).collect();
            format!("tool not found: `{name}`; did you mean {}? `find_tool` finds others", names.join(", "))
        }
    }
}
