//! Calls that a backend goes on with after it has answered: tasks of revision 2025-11-25, and the tasks extension of modern
//! revisions. A client knows a task under a sealed name that says whose it is and where it runs, so nothing is kept here, and
//! no client can name another's.

use std::sync::Arc;

use serde_json::json;
use vmcp_backend::{Backend, BackendRequest, BackendState, EventSender};
use vmcp_core::{
    call::Reply,
    catalog::Entry,
    id::{BackendId, Identity},
    json::RawJson,
};
use vmcp_mcp::{
    era::Era,
    error::{MISSING_CLIENT_CAPABILITY, RpcError},
    meta::{RELATED_TASK, TASKS_EXTENSION},
    object::Object,
};

use crate::{
    forward::Outgoing,
    gateway::Gateway,
    router::{Caller, Client, Incoming},
    seal::Purpose,
    session::Owner,
};

/// The member that names a task.
pub(crate) const TASK_ID: &str = "taskId";
/// Tasks that one list brings together.
const MAX_LISTED: usize = 10_000;

impl Gateway {
    /// `tasks/get`, `tasks/result`, `tasks/cancel` and `tasks/update`.
    pub(crate) async fn about_task(
        &self,
        caller: &Caller,
        mut incoming: Incoming,
        events: EventSender,
    ) -> Result<Reply, RpcError> {
        let name = incoming.params.get_string(TASK_ID);
        let name = name.ok_or_else(|| RpcError::invalid_params("`taskId` is no string"))?;
        if caller.era() == Era::Modern && !declares_tasks(&incoming) {
            return Err(needs_extension(&format!("`{}`", incoming.method)));
        }
        let (backend, original) = self.open_task(&caller.identity, &name)?;
        incoming.params.set(TASK_ID, RawJson::of(&original));
        let backend = self.backend(&backend)?;
        self.forward(caller, backend, Outgoing::plain(incoming, name), events).await
    }

    /// `tasks/list`: those that this client's session has begun, of all legacy backends, in one page. A backend's own list may
    /// hold those of others, since clients share sessions there.
    pub(crate) async fn list_tasks(&self, caller: &Caller) -> Result<Reply, RpcError> {
        let Client::Legacy(session) = &caller.client else { return Err(RpcError::method_not_found("tasks/list")) };
        let mut tasks = Vec::new();
        for backend in self.backends_with_tasks() {
            let mut cursor = None;
            loop {
                let page = self.list_tasks_of(caller, &backend, cursor.take()).await;
                let listed =
                    page.get("tasks").and_then(|list| list.to_value::<Vec<RawJson>>().ok()).unwrap_or_default();
                cursor = page.get("nextCursor").filter(|next| next.as_str() != "null" && !listed.is_empty()).cloned();
                let is_own = |task: &RawJson| {
                    let name = Object::parse_lenient(Some(task)).get_string(TASK_ID).unwrap_or_default();
                    self.open_task(&caller.identity, &name).is_ok_and(|place| session.has_begun_task(&place))
                };
                tasks.extend(listed.into_iter().filter(is_own));
                if cursor.is_none() || tasks.len() >= MAX_LISTED {
                    break;
                }
            }
        }
        Ok(Reply::Result(Object::from([("tasks", RawJson::of(&tasks))]).to_json()))
    }

    /// One page of a backend's tasks; an empty one when it cannot tell, so that others are still seen.
    async fn list_tasks_of(&self, caller: &Caller, backend: &Arc<Backend>, cursor: Option<RawJson>) -> Object {
        let mut params = Object::default();
        if let Some(cursor) = cursor {
            params.set("cursor", cursor);
        }
        let client = caller.profile(Era::Legacy);
        let request = BackendRequest { method: "tasks/list".into(), params, client, ..BackendRequest::default() };
        let (events, _nobody_listens) = tokio::sync::mpsc::channel(1);
        match backend.call(request, events).await {
            Ok(reply @ Reply::Result(_)) => match self.seal_tasks(caller, backend.id(), None, reply) {
                Reply::Result(result) => Object::parse_lenient(Some(&result)),
                Reply::Error(_) => Object::default(),
            },
            Ok(Reply::Error(_)) | Err(_) => Object::default(),
        }
    }

    fn backends_with_tasks(&self) -> Vec<Arc<Backend>> {
        let has_tasks = |backend: &&Arc<Backend>| match &*backend.state().borrow() {
            BackendState::Ready(info) => info.era == Era::Legacy && info.capabilities.get("tasks").is_some(),
            _ => false,
        };
        let mut backends: Vec<_> = self.backends.values().filter(has_tasks).cloned().collect();
        backends.sort_by(|a, b| a.id().cmp(b.id()));
        backends
    }

    /// Puts the client's names of tasks in place of the backend's, wherever a result carries them.
    ///
    /// - `known`: the name by which the client asked, where it did; the same task keeps it
    pub(crate) fn seal_tasks(&self, caller: &Caller, backend: &BackendId, known: Option<&str>, reply: Reply) -> Reply {
        let identity = &caller.identity;
        let Reply::Result(result) = reply else { return reply };
        let Ok(mut members) = Object::parse(&result) else { return Reply::Result(result) };
        let known = known.and_then(|name| Some((self.open_task(identity, name).ok()?.1, name)));
        let seal = |task: &mut Object| {
            let Some(id) = task.get_string(TASK_ID) else { return };
            let name = match &known {
                Some((known, name)) if *known == id => (*name).to_owned(),
                _ => self.seal_task(identity, backend, &id),
            };
            task.set(TASK_ID, RawJson::of(&name));
        };
        if let (Client::Legacy(session), Some(id)) = (&caller.client, members.get_object("task").get_string(TASK_ID)) {
            session.note_task((backend.clone(), id));
        }
        seal(&mut members);
        change_object(&mut members, "task", seal);
        change_object(&mut members, "_meta", |meta| change_object(meta, RELATED_TASK, seal));
        if let Some(Ok(tasks)) = members.get("tasks").map(RawJson::to_value::<Vec<RawJson>>) {
            let sealed: Vec<_> = (tasks.iter())
                .map(|task| {
                    let mut task = Object::parse_lenient(Some(task));
                    seal(&mut task);
                    task.to_json()
                })
                .collect();
            members.set("tasks", RawJson::of(&sealed));
        }
        Reply::Result(members.to_json())
    }

    fn seal_task(&self, identity: &Identity, backend: &BackendId, id: &str) -> String {
        let payload = [&Owner::of(identity).0[..16], backend.as_str().as_bytes(), b"/", id.as_bytes()].concat();
        match payload.len() <= crate::seal::MAX_PAYLOAD {
            true => self.sealer.seal(Purpose::Task, &payload),
            // A name too long to seal leads nowhere, which the client learns when it asks.
            false => String::new(),
        }
    }

    fn open_task(&self, identity: &Identity, name: &str) -> Result<(BackendId, String), RpcError> {
        let opened = self.sealer.open(Purpose::Task, name).ok();
        let parts = opened.and_then(|payload| {
            let place = payload.strip_prefix(&Owner::of(identity).0[..16])?;
            let (backend, id) = std::str::from_utf8(place).ok()?.split_once('/')?;
            Some((BackendId::new(backend).ok()?, id.to_owned()))
        });
        parts.ok_or_else(|| RpcError::invalid_params("there is no such task"))
    }
}

fn change_object(members: &mut Object, key: &str, change: impl FnOnce(&mut Object)) {
    if let Some(Ok(mut inner)) = members.get(key).map(Object::parse) {
        change(&mut inner);
        members.set(key, inner.to_json());
    }
}

/// Whether a legacy backend makes tasks of calls of a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TaskSupport {
    #[default]
    Never,
    Optional,
    Required,
}

impl TaskSupport {
    /// What `entry` says of itself; there need be none.
    pub(crate) fn of(entry: Option<&Entry>) -> Self {
        let definition = Object::parse_lenient(entry.map(|entry| &entry.capability.definition));
        match definition.get_object("execution").get_string("taskSupport").as_deref() {
            Some("optional") => Self::Optional,
            Some("required") => Self::Required,
            _ => Self::Never,
        }
    }
}

/// `what` cannot be had by a client that does not know tasks.
pub(crate) fn needs_extension(what: &str) -> RpcError {
    let required = json!({ "requiredCapabilities": { "extensions": { TASKS_EXTENSION: {} } } });
    RpcError::new(MISSING_CLIENT_CAPABILITY, format!("{what} needs the extension `{TASKS_EXTENSION}`"))
        .with_data(required)
}

/// Whether the reply to this request may name a task.
pub(crate) fn may_name_task(incoming: &Incoming, era: Era) -> bool {
    if incoming.method != "tools/call" {
        return incoming.method.starts_with("tasks/");
    }
    match era {
        Era::Legacy => incoming.params.get("task").is_some(),
        Era::Modern => declares_tasks(incoming),
    }
}

/// Whether a modern client has the tasks extension.
pub(crate) fn declares_tasks(incoming: &Incoming) -> bool {
    let Some(capabilities) = &incoming.meta.client_capabilities else { return false };
    // Most clients do not, and their capabilities need not be read.
    memchr::memmem::find(capabilities.as_bytes(), TASKS_EXTENSION.as_bytes()).is_some()
        && Object::parse_lenient(Some(capabilities)).get_object("extensions").get(TASKS_EXTENSION).is_some()
}
