//! Tasks of legacy backends for modern clients: who looks at a task that waits for input is asked what its backend asks, and
//! the answers go back to the open request for the task's result.

use std::{
    collections::HashMap,
    sync::Mutex,
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
};

const TASK_ID: &str = "taskId";
/// How long a backend that says that a task waits for input may take to ask for it.
const ASKS_WITHIN: Duration = Duration::from_secs(1);
/// Tasks that wait for their clients at a time.
const MAX_WAITING: usize = 1000;

/// A task at its backend.
type Place = (BackendId, String);

/// The open requests for results of tasks that wait for input.
#[derive(Default)]
pub(crate) struct WaitingTasks {
    table: Mutex<HashMap<Place, (OpenCall, Instant)>>,
}

impl WaitingTasks {
    fn take(&self, place: &Place) -> Option<OpenCall> {
        self.lock().remove(place).map(|(call, _)| call)
    }

    fn put(&self, place: Place, call: OpenCall) -> Result<(), RpcError> {
        let mut table = self.lock();
        if table.len() >= MAX_WAITING {
            let message =
                format!("{MAX_WAITING} tasks wait for input from their clients, which is the most there may be");
            return Err(RpcError::new(INTERNAL_ERROR, message));
        }
        table.insert(place, (call, Instant::now()));
        Ok(())
    }

    /// Gives up what nobody looked at for `lifetime`. The tasks go on, and can be looked at again.
    pub(crate) fn sweep(&self, lifetime: Duration) {
        self.lock().retain(|_, (_, since)| since.elapsed() < lifetime);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, (OpenCall, Instant)>> {
        self.table.lock().expect("no panic while locked")
    }
}

impl Gateway {
    /// Answers `tasks/get`, `tasks/update` and `tasks/cancel` of a modern client.
    pub(crate) async fn about_legacy_task(&self, call: Call<'_>, events: &EventSender) -> Result<Reply, RpcError> {
        let id = call.request.params.get_string(TASK_ID).unwrap_or_default();
        let place = (call.backend.id().clone(), id);
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
                self.answer_task(&call, place, &responses, events).await?;
                Ok(Reply::Result(task::acknowledged()))
            }
            _ => {
                self.waiting_tasks.take(&place);
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
                self.waiting_tasks.take(place);
                ask(call, "tasks/result", place).await.map(Details::Ended)
            }
            Some("input_required") => self.questions(call, place, events).await,
            _ => Ok(Details::None),
        }
    }

    /// What the backend asks for the task: it does so on a request for the task's result.
    async fn questions(&self, call: &Call<'_>, place: &Place, events: &EventSender) -> Result<Details, RpcError> {
        let mut open = self.waiting_tasks.take(place).unwrap_or_else(|| about(call, "tasks/result", place).begin());
        let capabilities = &call.request.client.capabilities;
        match timeout(ASKS_WITHIN, open.go_on(events, capabilities, None)).await {
            Ok(Ok(Progress::Done(answer))) => {
                return answer.map(|(_, reply)| Details::Ended(reply)).map_err(|error| no_reply(&error));
            }
            Ok(Err(lacking)) => return Err(lacking),
            Ok(Ok(Progress::Asks)) | Err(_) => {}
        }
        let asked = open.requests();
        self.waiting_tasks.put(place.clone(), open)?;
        Ok(if asked.is_empty() { Details::None } else { Details::Asks(asked) })
    }

    async fn answer_task(
        &self,
        call: &Call<'_>,
        place: Place,
        responses: &Object,
        events: &EventSender,
    ) -> Result<(), RpcError> {
        let waiting = match self.waiting_tasks.take(&place) {
            Some(open) => Some(open),
            // Whoever was asked by an earlier process is asked the same again.
            None => match self.questions(call, &place, events).await? {
                Details::Asks(_) => self.waiting_tasks.take(&place),
                _ => None,
            },
        };
        let Some(mut open) = waiting else { return Ok(()) };
        open.take_answers(responses);
        self.waiting_tasks.put(place, open)
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
        params: Object::from([(TASK_ID, RawJson::of(&place.1))]),
        meta: RequestMeta::default(),
        client: call.request.client.clone(),
        headers: Vec::new(),
        timeout: None,
    };
    Call { request, ..*call }
}
