//! Tasks of legacy backends for modern clients: who looks at a task that waits for input is asked what its backend asks, and
//! the answers go back to the open request for the task's result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::time::timeout;
use vmcp_backend::{BackendRequest, EventSender};
use vmcp_core::{call::Reply, id::BackendId, json::RawJson};
use vmcp_mcp::{
    bridge::task::{self, Details},
    error::{INTERNAL_ERROR, RpcError},
    meta::RequestMeta,
    object::Object,
};

use crate::{
    forward::{Call, no_reply},
    gateway::Gateway,
    parked::{OpenCall, Progress},
    session::Owner,
    task::TASK_ID,
};

/// How long a backend that says that a task waits for input may take to ask for it.
const ASKS_WITHIN: Duration = Duration::from_secs(1);
/// Tasks that wait for their clients at a time.
const MAX_WAITING: usize = 1000;

/// A task at its backend, and the client whose session there it belongs to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    backend: BackendId,
    id: String,
    owner: Owner,
    capabilities: RawJson,
}

/// The open request for the result of one task. Whoever speaks of the task holds it, so that there is one at a time.
#[derive(Default)]
struct Waiting {
    call: tokio::sync::Mutex<Option<OpenCall>>,
    touched: Mutex<Option<Instant>>,
}

/// The open requests for results of tasks that wait for input.
#[derive(Default)]
pub(crate) struct WaitingTasks {
    table: Mutex<HashMap<Place, Arc<Waiting>>>,
}

impl WaitingTasks {
    fn at(&self, place: &Place) -> Result<Arc<Waiting>, RpcError> {
        let mut table = self.lock();
        if table.len() >= MAX_WAITING && !table.contains_key(place) {
            let message =
                format!("{MAX_WAITING} tasks wait for input from their clients, which is the most there may be");
            return Err(RpcError::new(INTERNAL_ERROR, message));
        }
        let waiting = table.entry(place.clone()).or_default().clone();
        *waiting.touched.lock().expect("no panic while locked") = Some(Instant::now());
        Ok(waiting)
    }

    fn forget(&self, place: &Place) {
        let forgotten = self.lock().remove(place);
        drop(forgotten);
    }

    /// Gives up what nobody looked at for `lifetime`. The tasks go on, and can be looked at again.
    pub(crate) fn sweep(&self, lifetime: Duration) {
        let is_old = |waiting: &Waiting| {
            let touched = *waiting.touched.lock().expect("no panic while locked");
            touched.is_none_or(|touched| touched.elapsed() >= lifetime)
        };
        let mut given_up = Vec::new();
        self.lock().retain(|_, waiting| {
            let keep = !is_old(waiting);
            if !keep {
                given_up.push(waiting.clone());
            }
            keep
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Arc<Waiting>>> {
        self.table.lock().expect("no panic while locked")
    }
}

impl Gateway {
    /// Answers `tasks/get`, `tasks/update` and `tasks/cancel` of a modern client.
    pub(crate) async fn about_legacy_task(&self, call: Call<'_>, events: &EventSender) -> Result<Reply, RpcError> {
        let id = call.request.params.get_string(TASK_ID).unwrap_or_default();
        let place = Place {
            backend: call.backend.id().clone(),
            id,
            owner: Owner::of(&call.caller.identity),
            capabilities: call.request.client.capabilities.clone(),
        };
        let task = match ask(&call, "tasks/get", &place).await? {
            Reply::Result(task) => Object::parse_lenient(Some(&task)),
            unknown @ Reply::Error(_) => return Ok(unknown),
        };
        match &*call.request.method {
            "tasks/get" => {
                let details = self.details(&call, &place, &task, events).await?;
                Ok(Reply::Result(task::seen(task, details)))
            }
            "tasks/update" => {
                let responses = call.request.params.get_object("inputResponses");
                self.answer_task(&call, &place, &responses, events).await?;
                Ok(Reply::Result(task::acknowledged()))
            }
            _ => {
                self.waiting_tasks.forget(&place);
                // One that has ended cannot be cancelled there, which here is no error.
                ask(&call, "tasks/cancel", &place).await?;
                Ok(Reply::Result(task::acknowledged()))
            }
        }
    }

    async fn details(
        &self,
        call: &Call<'_>,
        place: &Place,
        task: &Object,
        events: &EventSender,
    ) -> Result<Details, RpcError> {
        match task.get_string("status").as_deref() {
            Some("completed" | "failed") => {
                self.waiting_tasks.forget(place);
                ask(call, "tasks/result", place).await.map(Details::Ended)
            }
            Some("input_required") => self.questions(call, place, events).await,
            _ => Ok(Details::None),
        }
    }

    /// What the backend asks for the task: it does so on a request for the task's result.
    async fn questions(&self, call: &Call<'_>, place: &Place, events: &EventSender) -> Result<Details, RpcError> {
        let waiting = self.waiting_tasks.at(place)?;
        let mut slot = waiting.call.lock().await;
        ask_about(&mut slot, call, place, events).await
    }

    async fn answer_task(
        &self,
        call: &Call<'_>,
        place: &Place,
        responses: &Object,
        events: &EventSender,
    ) -> Result<(), RpcError> {
        let waiting = self.waiting_tasks.at(place)?;
        let mut slot = waiting.call.lock().await;
        if slot.is_none() {
            // Whoever was asked by an earlier process is asked anew; only named questions are the same then.
            ask_about(&mut slot, call, place, events).await?;
        }
        if let Some(open) = &mut *slot {
            open.take_answers(responses);
        }
        Ok(())
    }
}

/// Goes on with the open request for the task's result, or begins it, until it is known what the backend asks.
async fn ask_about(
    slot: &mut Option<OpenCall>,
    call: &Call<'_>,
    place: &Place,
    events: &EventSender,
) -> Result<Details, RpcError> {
    let open = slot.get_or_insert_with(|| about(call, "tasks/result", place).begin());
    match timeout(ASKS_WITHIN, open.go_on(events, &call.request.client.capabilities, None)).await {
        Ok(Ok(Progress::Done(answer))) => {
            *slot = None;
            answer.map(|(_, reply)| Details::Ended(reply)).map_err(|error| no_reply(&error))
        }
        Ok(Err(lacking)) => {
            *slot = None;
            Err(lacking)
        }
        Ok(Ok(Progress::Asks)) | Err(_) => {
            let asked = open.requests();
            Ok(if asked.is_empty() { Details::None } else { Details::Asks(asked) })
        }
    }
}

async fn ask(call: &Call<'_>, method: &'static str, place: &Place) -> Result<Reply, RpcError> {
    let (events, _nobody_listens) = tokio::sync::mpsc::channel(1);
    about(call, method, place).once(events).await.map(|(_, reply)| reply).map_err(|error| no_reply(&error))
}

/// Another request about the same task.
fn about<'a>(call: &Call<'a>, method: &'static str, place: &Place) -> Call<'a> {
    let request = BackendRequest {
        method: method.into(),
        params: Object::from([(TASK_ID, RawJson::of(&place.id))]),
        meta: RequestMeta::default(),
        client: call.request.client.clone(),
        headers: Vec::new(),
        timeout: None,
    };
    Call { request, ..*call }
}
