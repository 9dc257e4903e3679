//! Asks one backend for everything it offers. Called by `refresh` in the background, never for a client's request.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use vmcp_backend::{Backend, BackendRequest};
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::{error::METHOD_NOT_FOUND, object::Object};

/// Most pages of one list.
const MAX_PAGES: usize = 10_000;
/// Most definitions of one kind that one backend may offer.
const MAX_DEFINITIONS: usize = 100_000;
/// Most bytes of definitions that one backend may offer.
const MAX_BYTES: usize = 64 << 20;
/// Longest wait for all lists of a backend together, once it is connected.
const DEADLINE: Duration = Duration::from_mins(1);

/// Everything that a backend offered when it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovered {
    pub tools: Vec<RawJson>,
    pub prompts: Vec<RawJson>,
    pub resources: Vec<RawJson>,
    pub resource_templates: Vec<RawJson>,
    /// The capabilities that the backend declares, an object.
    pub capabilities: RawJson,
    pub instructions: Option<String>,
}

impl Discovered {
    pub fn of(&self, kind: Kind) -> &[RawJson] {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource => &self.resources,
            Kind::ResourceTemplate => &self.resource_templates,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Vec<RawJson> {
        match kind {
            Kind::Tool => &mut self.tools,
            Kind::Prompt => &mut self.prompts,
            Kind::Resource => &mut self.resources,
            Kind::ResourceTemplate => &mut self.resource_templates,
        }
    }
}

/// Why a backend's lists could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("`{method}` failed: {error:?}")]
    Refused { method: &'static str, error: RawJson },
    #[error("the reply to `{method}` has no `{member}` list")]
    NoList { method: &'static str, member: &'static str },
    #[error("`{method}` repeats the cursor {cursor:?}")]
    RepeatedCursor { method: &'static str, cursor: RawJson },
    #[error("`{method}` has more than {limit}")]
    TooMuch { method: &'static str, limit: &'static str },
    #[error("its lists took longer than {DEADLINE:?}")]
    TooSlow,
}

/// The method that lists `kind`, the member of its reply, and the capability that declares it.
fn list_of(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind {
        Kind::Tool => ("tools/list", "tools", "tools"),
        Kind::Prompt => ("prompts/list", "prompts", "prompts"),
        Kind::Resource => ("resources/list", "resources", "resources"),
        Kind::ResourceTemplate => ("resources/templates/list", "resourceTemplates", "resources"),
    }
}

/// Connects to `backend` if need be, which may take long, and then reads all its lists when `turn` comes.
pub async fn discover(backend: &Backend, turn: &Semaphore) -> Result<Discovered, DiscoverError> {
    let info = backend.connected().await?;
    let _permit = turn.acquire().await.expect("the semaphore is never closed");
    let lists = async {
        let mut found = Discovered {
            capabilities: info.capabilities.to_json(),
            instructions: info.instructions.clone(),
            ..Default::default()
        };
        for kind in Kind::ALL {
            if info.capabilities.get(list_of(kind).2).is_some() {
                *found.of_mut(kind) = list(backend, kind).await?;
            }
        }
        Ok(found)
    };
    tokio::time::timeout(DEADLINE, lists).await.unwrap_or(Err(DiscoverError::TooSlow))
}

/// All pages of one list.
async fn list(backend: &Backend, kind: Kind) -> Result<Vec<RawJson>, DiscoverError> {
    let (method, member, _) = list_of(kind);
    let mut definitions = Vec::new();
    let mut cursor: Option<RawJson> = None;
    let mut seen = HashSet::new();
    let mut bytes = 0;
    for _ in 0..MAX_PAGES {
        let mut params = Object::default();
        if let Some(cursor) = cursor.take() {
            params.set("cursor", cursor);
        }
        let page = match ask(backend, method, params).await? {
            Reply::Result(page) => Object::parse_lenient(Some(&page)),
            Reply::Error(error) if is_method_not_found(&error) => return Ok(Vec::new()),
            Reply::Error(error) => return Err(DiscoverError::Refused { method, error }),
        };
        let items = page.get(member).and_then(|list| list.to_value::<Vec<RawJson>>().ok());
        let items = items.ok_or(DiscoverError::NoList { method, member })?;
        bytes += items.iter().map(|item| item.as_bytes().len()).sum::<usize>();
        if bytes > MAX_BYTES {
            return Err(DiscoverError::TooMuch { method, limit: "64 MiB" });
        }
        definitions.extend(items);
        if definitions.len() > MAX_DEFINITIONS {
            return Err(DiscoverError::TooMuch { method, limit: "100,000 entries" });
        }
        match page.get("nextCursor").filter(|next| next.as_str() != "null") {
            None => return Ok(definitions),
            Some(next) if !seen.insert(next.as_str().to_owned()) => {
                return Err(DiscoverError::RepeatedCursor { method, cursor: next.clone() });
            }
            Some(next) => cursor = Some(next.clone()),
        }
    }
    Err(DiscoverError::TooMuch { method, limit: "10,000 pages" })
}

/// One request of the host's own, for which no client waits.
pub async fn ask(backend: &Backend, method: &'static str, params: Object) -> Result<Reply, CallError> {
    let (events, _nobody_listens) = mpsc::channel(1);
    backend.call(BackendRequest { method: method.into(), params, ..Default::default() }, events).await
}

fn is_method_not_found(error: &RawJson) -> bool {
    Object::parse_lenient(Some(error)).get("code").is_some_and(|code| code.as_str() == METHOD_NOT_FOUND.to_string())
}
