//! Leads one request to the part that answers it: the host's own answers, or the backend that the catalog names.
//!
//! All depends on the catalog that the request began with, so a new one never changes it midway.

use std::{
    str::FromStr,
    sync::{Arc, OnceLock},
};

use http::{HeaderName, HeaderValue};
use vmcp_backend::{Backend, BackendState, ClientProfile, EventSender};
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    catalog::{Catalog, Entry},
    id::{BackendId, Identity, ViewId},
    journal::RunId,
    json::RawJson,
};
use vmcp_mcp::{
    bridge::{legacy_legacy, legacy_modern, modern_legacy, modern_modern},
    envelope::{Notification, Request},
    era::{Era, Revision},
    error::{INTERNAL_ERROR, RESOURCE_NOT_FOUND, RpcError},
    meta::RequestMeta,
    object::Object,
};

use crate::{
    authored::{self, cursor},
    forward::{Outgoing, no_reply},
    gateway::Gateway,
    params::{ParamHeaders, apply_argument_rules, check_mirrored, mirrored_headers},
    session::{LogLevel, Session, SessionTie},
    subscriptions::MAX_PER_WATCHER,
    task::TaskSupport,
    tool_search::{Unwrapped, refusal},
};

/// Longest client capabilities, in bytes: each session keeps them.
const MAX_CAPABILITIES: usize = 64 << 10;
/// Longest name or URI that is looked up, in bytes.
const MAX_NAME: usize = 8192;

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    pub view: ViewId,
    pub client: Client,
    /// The run of a composite tool that the request began, once it has.
    pub run: Arc<OnceLock<RunId>>,
}

/// What the client behind a request is.
#[derive(Clone, Debug)]
pub enum Client {
    Legacy(Arc<Session>),
    /// Everything that is known of it comes with the request.
    Modern {
        /// From which level on it wants log messages during this request; none without.
        log_level: Option<LogLevel>,
        /// What it can be asked during this request: a JSON object.
        capabilities: RawJson,
    },
    /// A modern one behind a workflow, which is asked as a legacy one is.
    Workflow {
        log_level: Option<LogLevel>,
        /// As a legacy client would say them.
        capabilities: RawJson,
    },
}

impl Caller {
    pub fn legacy(session: Arc<Session>) -> Self {
        Self {
            identity: session.identity.clone(),
            view: session.view.clone(),
            client: Client::Legacy(session),
            run: Arc::default(),
        }
    }

    /// The client behind a modern request.
    pub fn modern(identity: Identity, incoming: &Incoming) -> Self {
        let level = incoming.meta.log_level.as_ref().and_then(RawJson::as_string);
        let log_level = level.and_then(|level| LogLevel::parse(&level));
        let capabilities = incoming.meta.client_capabilities.clone().unwrap_or_else(|| Object::default().to_json());
        Self {
            identity,
            view: ViewId::default(),
            client: Client::Modern { log_level, capabilities },
            run: Arc::default(),
        }
    }

    /// A client that is away, as workflows see it.
    pub(crate) fn absent(identity: Identity, log_level: Option<LogLevel>, capabilities: RawJson) -> Self {
        let client = Client::Workflow { log_level, capabilities };
        Self { identity, view: ViewId::default(), client, run: Arc::default() }
    }

    /// The client as a backend of era `to` is to see it.
    pub(crate) fn profile(&self, to: Era) -> ClientProfile {
        let (capabilities, scope) = match (&self.client, to) {
            (Client::Legacy(session), Era::Legacy) => (session.capabilities.clone(), session.scope()),
            (Client::Legacy(session), Era::Modern) => (legacy_modern::capabilities(&session.capabilities), None),
            (Client::Workflow { capabilities, .. }, Era::Legacy) => (capabilities.clone(), None),
            (Client::Workflow { capabilities, .. }, Era::Modern) => (legacy_modern::capabilities(capabilities), None),
            (Client::Modern { capabilities, .. }, Era::Legacy) => (modern_legacy::capabilities(capabilities), None),
            (Client::Modern { capabilities, .. }, Era::Modern) => (modern_modern::capabilities(capabilities), None),
        };
        ClientProfile { identity: self.identity.clone(), capabilities, scope }
    }

    pub fn era(&self) -> Era {
        match self.client {
            Client::Legacy(_) | Client::Workflow { .. } => Era::Legacy,
            Client::Modern { .. } => Era::Modern,
        }
    }

    /// Whether a notification that a backend sends during a call is for this client: log messages have a level.
    pub fn wants(&self, notification: &Notification) -> bool {
        if notification.method != "notifications/message" {
            return true;
        }
        let wanted = match &self.client {
            Client::Legacy(session) => Some(session.log_level().unwrap_or(LogLevel::Debug)),
            Client::Modern { log_level, .. } | Client::Workflow { log_level, .. } => *log_level,
        };
        let level = Object::parse_lenient(notification.params.as_ref()).get_string("level");
        let level = level.and_then(|level| LogLevel::parse(&level));
        wanted.is_some_and(|wanted| level.is_none_or(|level| level >= wanted))
    }
}

/// A client's request, taken apart once.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub method: String,
    /// Without `_meta`.
    pub params: Object,
    pub meta: RequestMeta,
    /// The headers that repeat arguments; `None` where there are no headers.
    pub param_headers: Option<ParamHeaders>,
}

impl Incoming {
    /// Takes `request` apart.
    pub fn read(request: Request) -> Result<Self, RpcError> {
        let mut params = match &request.params {
            None => Object::default(),
            Some(raw) => Object::parse(raw).map_err(|_| RpcError::invalid_params("`params` is no object"))?,
        };
        let meta = RequestMeta::take_from(&mut params);
        Ok(Self { method: request.method, params, meta, param_headers: None })
    }

    /// Checks what every modern request has to say of itself, once `version` shows that it means to be one.
    pub fn check_modern(&self, version: &str) -> Result<(), RpcError> {
        if Revision::parse(version).is_none_or(|revision| revision.era() == Era::Legacy) {
            return Err(RpcError::unsupported_version(version));
        }
        match &self.meta.client_capabilities {
            None => Err(RpcError::invalid_params("`_meta` lacks `io.modelcontextprotocol/clientCapabilities`")),
            Some(capabilities) => check_capabilities(capabilities),
        }
    }
}

/// What a client says that it can be asked is an object, and no longer than sense.
fn check_capabilities(capabilities: &RawJson) -> Result<(), RpcError> {
    if !capabilities.as_bytes().starts_with(b"{") {
        return Err(RpcError::invalid_params("the client's capabilities are no object"));
    }
    if capabilities.as_bytes().len() > MAX_CAPABILITIES {
        return Err(RpcError::invalid_params(format!("capabilities have at most {MAX_CAPABILITIES} bytes")));
    }
    Ok(())
}

/// Which method a request has, as far as the router tells them apart.
enum Route {
    List(Kind),
    Call(Kind),
    Complete,
    Subscribe { on: bool },
    SetLogLevel,
    Task,
    ListTasks,
    Ping,
    Discover,
}

/// The route of `method` for a client of `era`, if that era has it.
fn route(method: &str, era: Era) -> Option<Route> {
    Some(match (method, era) {
        ("tools/call", _) => Route::Call(Kind::Tool),
        ("prompts/get", _) => Route::Call(Kind::Prompt),
        ("resources/read", _) => Route::Call(Kind::Resource),
        ("tools/list", _) => Route::List(Kind::Tool),
        ("prompts/list", _) => Route::List(Kind::Prompt),
        ("resources/list", _) => Route::List(Kind::Resource),
        ("resources/templates/list", _) => Route::List(Kind::ResourceTemplate),
        ("completion/complete", _) => Route::Complete,
        ("tasks/get" | "tasks/cancel", _) | ("tasks/result", Era::Legacy) | ("tasks/update", Era::Modern) => {
            Route::Task
        }
        ("tasks/list", Era::Legacy) => Route::ListTasks,
        ("ping", Era::Legacy) => Route::Ping,
        ("logging/setLevel", Era::Legacy) => Route::SetLogLevel,
        ("resources/subscribe", Era::Legacy) => Route::Subscribe { on: true },
        ("resources/unsubscribe", Era::Legacy) => Route::Subscribe { on: false },
        ("server/discover", Era::Modern) => Route::Discover,
        _ => return None,
    })
}

impl Gateway {
    /// Answers one request. Dropping the future cancels it at the backend.
    ///
    /// - `events`: what a backend sends before its reply goes here
    ///
    /// # Errors
    /// What the host itself has to object; an error of the backend is a [`Reply`].
    pub async fn request(&self, caller: &Caller, incoming: Incoming, events: EventSender) -> Result<Reply, RpcError> {
        let era = caller.era();
        match route(&incoming.method, era).ok_or_else(|| RpcError::method_not_found(&incoming.method))? {
            Route::Call(kind) => self.call(caller, kind, incoming, events).await,
            Route::List(kind) => self.list(era, kind, &incoming).await,
            Route::Complete => self.complete(caller, incoming, events).await,
            Route::Subscribe { on } => self.subscribe(caller, on, &incoming).await,
            Route::SetLogLevel => self.set_log_level(caller, &incoming.params),
            Route::Task => self.about_task(caller, incoming, events).await,
            Route::ListTasks => self.list_tasks(caller).await,
            Route::Ping => Ok(Reply::Result(authored::empty(era))),
            Route::Discover => {
                let catalog = self.catalog_for_request().await?;
                Ok(Reply::Result(self.host.discover(&catalog.abilities, catalog.instructions.as_deref())))
            }
        }
    }

    /// Shakes hands with a legacy client: its session, and the answer to `initialize`. The session of a connection is the
    /// caller's to keep.
    pub async fn initialize(
        &self,
        identity: Identity,
        params: &Object,
        tie: SessionTie,
    ) -> Result<(Arc<Session>, RawJson), RpcError> {
        let wanted = params.get_string("protocolVersion");
        let wanted = wanted.ok_or_else(|| RpcError::invalid_params("`protocolVersion` is no string"))?;
        let revision = Revision::negotiate(&wanted);
        let catalog = self.catalog_for_request().await?;
        let answer = self.host.initialize(revision, &catalog.abilities, catalog.instructions.as_deref());
        let capabilities = params.get_object("capabilities").to_json();
        check_capabilities(&capabilities)?;
        let capabilities = legacy_legacy::capabilities(&capabilities);
        let session = match tie {
            SessionTie::Id => self.sessions.begin(revision, identity, capabilities),
            SessionTie::Connection => Session::new(revision, identity, capabilities),
        };
        Ok((session, answer))
    }

    async fn list(&self, era: Era, kind: Kind, incoming: &Incoming) -> Result<Reply, RpcError> {
        let catalog = self.catalog_for_request().await?;
        // Legacy clients learn once what there is, and it may have changed since.
        if era == Era::Modern && !offers(&catalog, kind) {
            return Err(RpcError::method_not_found(&incoming.method));
        }
        let params = &incoming.params;
        self.all_up().map_err(|reason| RpcError::new(INTERNAL_ERROR, reason))?;
        let after = match params.get("cursor") {
            None => None,
            Some(raw) => {
                let text = raw.as_string().ok_or_else(|| RpcError::invalid_params("`cursor` is no string"))?;
                Some(cursor::read(kind, &text)?)
            }
        };
        let (page, next) = match (kind, &catalog.shown_tools) {
            (Kind::Tool, Some(shown)) => (shown.clone(), None),
            _ => catalog.listing(kind).page(after.as_deref()),
        };
        let next = next.map(|last| cursor::write(kind, &last));
        Ok(Reply::Result(authored::list_page(era, kind, page, next, catalog.abilities.cache(kind))))
    }

    /// `tools/call`, `prompts/get` and `resources/read`.
    async fn call(
        &self,
        caller: &Caller,
        kind: Kind,
        mut incoming: Incoming,
        events: EventSender,
    ) -> Result<Reply, RpcError> {
        let key = kind.key();
        let named = |params: &Object| {
            params.get_string(key).ok_or_else(|| RpcError::invalid_params(format!("`{key}` is no string")))
        };
        let mut name = named(&incoming.params)?;
        let catalog = self.catalog_for_request().await?;
        let search = self.tool_search.as_ref().filter(|_| kind == Kind::Tool);
        if let Some((search, unwrapped)) =
            search.and_then(|search| Some((search, search.unwrap_call(&catalog, &name, &incoming.params)?)))
        {
            match unwrapped {
                Unwrapped::Find(arguments) => return Ok(search.find(caller.era(), &catalog, &arguments).await),
                Unwrapped::Refused(problem) => return Ok(refusal(caller.era(), &problem)),
                Unwrapped::Call(params) => {
                    incoming.params = params;
                    // The client cannot know which arguments of the inner tool are repeated in headers.
                    incoming.param_headers = None;
                    name = named(&incoming.params)?;
                }
            }
        }
        let composite = catalog.tool(&name).filter(|entry| kind == Kind::Tool && entry.backend().is_composite());
        if let Some((entry, composite)) =
            composite.and_then(|entry| Some((entry, self.composites.get(&entry.capability.original_name)?)))
        {
            let reply = Box::pin(self.run_composite(caller, composite.clone(), incoming, events)).await;
            if let Some(search) = search {
                search.note_call(&entry.name, reply.as_ref().ok());
            }
            return reply;
        }
        let target = self.target(&catalog, caller.era(), kind, &name)?;
        let mut outgoing = outgoing(&target, kind, incoming, name)?;
        let Target { backend, entry, .. } = target;
        if caller.era() == Era::Modern
            && kind == Kind::Tool
            && catalog.abilities.legacy_tasks
            && backend.shares_sessions_with(&caller.profile(Era::Legacy))
        {
            outgoing.task = TaskSupport::of(entry.as_deref());
        }
        let reply = self.forward(caller, backend, outgoing, events).await;
        if let (Some(search), Some(entry)) = (search, &entry) {
            search.note_call(&entry.name, reply.as_ref().ok());
        }
        reply
    }

    /// `completion/complete`; nothing is known where the reference leads nowhere.
    async fn complete(&self, caller: &Caller, mut incoming: Incoming, events: EventSender) -> Result<Reply, RpcError> {
        let mut reference = incoming.params.get_object("ref");
        let (kind, key) = match reference.get_string("type").as_deref() {
            Some("ref/prompt") => (Kind::Prompt, "name"),
            Some("ref/resource") => (Kind::Resource, "uri"),
            _ => return Err(RpcError::invalid_params("`ref.type` is neither `ref/prompt` nor `ref/resource`")),
        };
        let name =
            reference.get_string(key).ok_or_else(|| RpcError::invalid_params(format!("`ref.{key}` is no string")))?;
        let catalog = self.catalog_for_request().await?;
        let nothing = || Ok(Reply::Result(authored::no_completions(caller.era())));
        let Ok(Target { backend, original_name, .. }) = self.target(&catalog, caller.era(), kind, &name) else {
            return nothing();
        };
        let offers_completions = match &*backend.state().borrow() {
            BackendState::Ready(info) => info.capabilities.get("completions").is_some(),
            _ => true,
        };
        if !offers_completions {
            return nothing();
        }
        reference.set(key, RawJson::of(&&*original_name));
        incoming.params.set("ref", reference.to_json());
        self.forward(caller, backend, Outgoing::plain(incoming, name), events).await
    }

    async fn subscribe(&self, caller: &Caller, on: bool, incoming: &Incoming) -> Result<Reply, RpcError> {
        let Client::Legacy(session) = &caller.client else { return Err(RpcError::method_not_found(&incoming.method)) };
        let name = incoming.params.get_string("uri").ok_or_else(|| RpcError::invalid_params("`uri` is no string"))?;
        let catalog = self.catalog_for_request().await?;
        let Target { backend, original_name, .. } = self.target(&catalog, caller.era(), Kind::Resource, &name)?;
        let subscriptions = || session.subscriptions.lock().expect("no panic while locked");
        if !on {
            subscriptions().remove(&name);
            self.end_watching(&session.id, backend, &caller.profile(Era::Legacy), &original_name).await;
            return Ok(Reply::Result(authored::empty(caller.era())));
        }
        if subscriptions().len() >= MAX_PER_WATCHER {
            return Err(RpcError::invalid_params(format!("a session may watch {MAX_PER_WATCHER} resources")));
        }
        subscriptions().insert(name.clone());
        let outcome = self.begin_watching(&session.id, backend, &caller.profile(Era::Legacy), &original_name).await;
        if !matches!(outcome, Ok(None)) {
            subscriptions().remove(&name);
        }
        Ok(outcome?.unwrap_or_else(|| Reply::Result(authored::empty(caller.era()))))
    }

    /// The level is the client's, not the backends': several clients share a backend, so the host filters for each.
    fn set_log_level(&self, caller: &Caller, params: &Object) -> Result<Reply, RpcError> {
        let level = params.get_string("level").and_then(|level| LogLevel::parse(&level));
        let level = level.ok_or_else(|| RpcError::invalid_params("`level` is no log level"))?;
        if let Client::Legacy(session) = &caller.client {
            session.set_log_level(level);
        }
        self.raise_backend_log_level(level);
        Ok(Reply::Result(authored::empty(caller.era())))
    }

    pub(crate) async fn catalog_for_request(&self) -> Result<Arc<Catalog>, RpcError> {
        self.catalog().await.map_err(|error| RpcError::new(INTERNAL_ERROR, format!("there is no catalog: {error}")))
    }

    /// Where `name` leads in `catalog`.
    pub(crate) fn target(&self, catalog: &Catalog, era: Era, kind: Kind, name: &str) -> Result<Target<'_>, RpcError> {
        if name.len() > MAX_NAME {
            return Err(RpcError::invalid_params(format!("a name has at most {MAX_NAME} bytes")));
        }
        let entry = match kind {
            Kind::Tool => catalog.tool(name),
            Kind::Prompt => catalog.prompts.get(name),
            Kind::Resource | Kind::ResourceTemplate => catalog.resource(name),
        };
        // A listed resource or the page of a tool goes before a template, which may match anything.
        if let Some(owner) = catalog.ui_owner(name).filter(|_| kind == Kind::Resource) {
            return Ok(Target {
                backend: self.backend(owner)?,
                original_name: self.without_prefix(owner, name).into(),
                entry: None,
            });
        }
        if let Some(entry) = entry {
            let backend = self.backend(entry.backend())?;
            let original_name = match kind.is_renamable() {
                true => entry.capability.original_name.clone(),
                false => self.without_prefix(entry.backend(), name).into(),
            };
            return Ok(Target { backend, original_name, entry: Some(entry.clone()) });
        }
        if let Some(entry) = catalog.unavailable(kind, name) {
            let reason = match &*self.backend(entry.backend())?.state().borrow() {
                BackendState::Failed { error, .. } => error.clone(),
                BackendState::Starting => "it is starting".into(),
                _ => "its lists cannot be read".into(),
            };
            return Err(no_reply(&CallError::Unavailable { backend: entry.backend().clone(), reason }));
        }
        Err(match (kind, era) {
            (Kind::Resource | Kind::ResourceTemplate, Era::Legacy) => {
                RpcError::new(RESOURCE_NOT_FOUND, format!("no resource `{name}`"))
                    .with_data(serde_json::json!({ "uri": name }))
            }
            (Kind::Resource | Kind::ResourceTemplate, Era::Modern) => {
                RpcError::invalid_params(format!("no resource `{name}`")).with_data(serde_json::json!({ "uri": name }))
            }
            _ => RpcError::invalid_params(format!("no {kind} `{name}`")),
        })
    }

    pub(crate) fn backend(&self, id: &BackendId) -> Result<&Arc<Backend>, RpcError> {
        self.backends.get(id).ok_or_else(|| RpcError::new(INTERNAL_ERROR, format!("backend `{id}` is gone")))
    }

    pub(crate) fn uri_prefix(&self, backend: &BackendId) -> Option<&str> {
        self.rules.backends.get(backend)?.uri_prefix.as_deref()
    }

    fn without_prefix<'n>(&self, backend: &BackendId, uri: &'n str) -> &'n str {
        self.uri_prefix(backend).and_then(|prefix| uri.strip_prefix(prefix)).unwrap_or(uri)
    }
}

/// A call as its target takes it: with the backend's own name, and the arguments and headers that the rules want.
///
/// - `name`: as the client wrote it
pub(crate) fn outgoing(
    target: &Target<'_>,
    kind: Kind,
    mut incoming: Incoming,
    name: String,
) -> Result<Outgoing, RpcError> {
    let params = &mut incoming.params;
    if *target.original_name != *name {
        params.set(kind.key(), RawJson::of(&&*target.original_name));
    }
    let mut headers = Vec::new();
    if let Some(rules) = target.entry.as_ref().map(|entry| &entry.arguments) {
        if let Some(headers) = &incoming.param_headers {
            check_mirrored(params, rules, headers)?;
        }
        if !rules.leaves_arguments_alone() {
            apply_argument_rules(params, rules)?;
        }
        for (name, value) in mirrored_headers(params, rules)? {
            headers.extend(HeaderName::from_str(&name).ok().zip(HeaderValue::from_str(&value).ok()));
        }
    }
    Ok(Outgoing { headers, ..Outgoing::plain(incoming, name) })
}

/// Whether the host says that it has this kind.
fn offers(catalog: &Catalog, kind: Kind) -> bool {
    match kind {
        Kind::Tool => true,
        Kind::Prompt => catalog.abilities.prompts,
        Kind::Resource | Kind::ResourceTemplate => catalog.abilities.resources,
    }
}

/// Where a name leads.
pub(crate) struct Target<'g> {
    pub backend: &'g Arc<Backend>,
    pub original_name: Arc<str>,
    /// Absent for resources that only a tool refers to.
    pub entry: Option<Arc<Entry>>,
}
