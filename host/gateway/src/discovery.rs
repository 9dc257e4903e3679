//! Asks one backend for everything it offers. Called by `refresh` in the background, never for a client's request.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use vmcp_backend::{Backend, BackendRequest, ClientProfile};
use vmcp_core::{
    ability::CacheHint,
    call::{CallError, Reply},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::{era::Era, error::METHOD_NOT_FOUND, object::Object};

use crate::ability::hint_on;

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
    /// Whether the backend speaks the modern era.
    #[serde(default)]
    pub is_modern: bool,
    /// What the backend allows to keep of each list.
    #[serde(default)]
    pub cache_hints: BTreeMap<Kind, CacheHint>,
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

/// Definitions that a legacy backend offers only to clients that can be asked something, by kind.
pub(crate) type Extras = [Vec<RawJson>; Kind::ALL.len()];

/// Connects to `backend` if need be, which may take long, and then reads all its lists when `turn` comes.
///
/// The lists are those for a client that can be asked everything, so that there is one catalog whatever a server makes of
/// its clients. A legacy server tells that in a session of its own, and only once for each connection: what it adds to the
/// lists of the host's session is kept in `extras`, and changes are read from the host's session, which calls share.
pub(crate) async fn discover(
    backend: &Backend,
    turn: &Semaphore,
    extras: &mut Option<Extras>,
) -> Result<Discovered, DiscoverError> {
    let info = backend.connected().await?;
    let _permit = turn.acquire().await.expect("the semaphore is never closed");
    let is_modern = info.era == Era::Modern;
    let client = if is_modern { ClientProfile::everyone() } else { ClientProfile::default() };
    let lists = async {
        let mut found = Discovered {
            capabilities: info.capabilities.to_json(),
            instructions: info.instructions.clone(),
            is_modern,
            ..Default::default()
        };
        let mut added = Extras::default();
        for kind in Kind::ALL {
            if info.capabilities.get(list_of(kind).2).is_none() {
                continue;
            }
            let (mut definitions, hint) = list(backend, kind, &client).await?;
            if !is_modern {
                added[kind as usize] = match extras {
                    Some(known) => known[kind as usize].clone(),
                    None => list(backend, kind, &ClientProfile::everyone()).await?.0,
                };
                let names: HashSet<_> = definitions.iter().map(|definition| name_of(kind, definition)).collect();
                added[kind as usize].retain(|extra| !names.contains(&name_of(kind, extra)));
                definitions.extend_from_slice(&added[kind as usize]);
            }
            *found.of_mut(kind) = definitions;
            found.cache_hints.insert(kind, hint);
        }
        *extras = Some(added);
        Ok(found)
    };
    tokio::time::timeout(DEADLINE, lists).await.unwrap_or(Err(DiscoverError::TooSlow))
}

fn name_of(kind: Kind, definition: &RawJson) -> Option<String> {
    Object::parse_lenient(Some(definition)).get_string(kind.key())
}

/// All pages of one list.
async fn list(
    backend: &Backend,
    kind: Kind,
    client: &ClientProfile,
) -> Result<(Vec<RawJson>, CacheHint), DiscoverError> {
    let (method, member, _) = list_of(kind);
    let mut definitions = Vec::new();
    let mut cursor: Option<RawJson> = None;
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut hint: Option<CacheHint> = None;
    for _ in 0..MAX_PAGES {
        let mut params = Object::default();
        if let Some(cursor) = cursor.take() {
            params.set("cursor", cursor);
        }
        let page = match ask_as(client.clone(), backend, method, params).await? {
            Reply::Result(page) => Object::parse_lenient(Some(&page)),
            Reply::Error(error) if is_method_not_found(&error) => return Ok((Vec::new(), CacheHint::default())),
            Reply::Error(error) => return Err(DiscoverError::Refused { method, error }),
        };
        let items = page.get(member).and_then(|list| list.to_value::<Vec<RawJson>>().ok());
        let items = items.ok_or(DiscoverError::NoList { method, member })?;
        hint = Some(hint.map_or_else(|| hint_on(&page), |hint| hint.strictest(hint_on(&page))));
        bytes += items.iter().map(|item| item.as_bytes().len()).sum::<usize>();
        if bytes > MAX_BYTES {
            return Err(DiscoverError::TooMuch { method, limit: "64 MiB" });
        }
        definitions.extend(items);
        if definitions.len() > MAX_DEFINITIONS {
            return Err(DiscoverError::TooMuch { method, limit: "100,000 entries" });
        }
        match page.get("nextCursor").filter(|next| next.as_str() != "null") {
            None => return Ok((definitions, hint.unwrap_or_default())),
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
    ask_as(ClientProfile::default(), backend, method, params).await
}

/// As [`ask`], in the name of some client.
pub(crate) async fn ask_as(
    client: ClientProfile,
    backend: &Backend,
    method: &'static str,
    params: Object,
) -> Result<Reply, CallError> {
    let (events, _nobody_listens) = mpsc::channel(1);
    let request = BackendRequest { method: method.into(), params, client, ..BackendRequest::default() };
    backend.call(request, events).await
}

fn is_method_not_found(error: &RawJson) -> bool {
    Object::parse_lenient(Some(error)).get("code").is_some_and(|code| code.as_str() == METHOD_NOT_FOUND.to_string())
}
