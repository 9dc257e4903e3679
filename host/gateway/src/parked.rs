//! Calls of modern clients that a legacy backend cannot finish before its client has answered something. The call stays open
//! at the backend; the client holds a sealed `requestState`, and its retry, on whatever connection, brings the answers.
//!
//! The state is bound to who called what, and good for one round: a forged, foreign, expired or used one is refused, and
//! says so in the log. Answers that do not fit are asked for again, and the call waits on.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};
use vmcp_backend::{EventSender, ServerMessage};
use vmcp_core::{
    call::{CallError, Reply},
    id::{BackendId, Identity},
    journal::RunId,
    json::RawJson,
};
use vmcp_mcp::{
    bridge::{
        input::{Asked, InputKind},
        modern_legacy::Gathering,
    },
    envelope::{Notification, Request},
    era::Era,
    error::{INTERNAL_ERROR, RpcError},
    meta::PROGRESS_TOKEN,
    object::Object,
};

use crate::{
    live::Live,
    runs::question_key,
    seal::{Purpose, Sealer},
    session::Owner,
};

/// Requests of a backend that come within this time of the first are put to the client together.
const GATHERING: Duration = Duration::from_millis(20);
/// Calls that wait for their clients at a time.
const MAX_PARKED: usize = 1000;
/// Messages of a backend that may wait while a call is bridged.
const MESSAGE_QUEUE: usize = 64;
const PROGRESS: &str = "notifications/progress";

/// What a call to a backend ends with.
pub(crate) type Answer = Result<(Era, Reply), CallError>;

/// Who calls what: a `requestState` is good for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding([u8; 32]);

impl Binding {
    pub(crate) fn new(identity: &Identity, backend: &BackendId, method: &str, name: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(Owner::of(identity).0);
        for part in [backend.as_str(), method, name] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// A call that may stop for its client's input, any number of times.
pub(crate) struct OpenCall {
    running: Option<Running>,
    gathering: Gathering,
    replies: BTreeMap<String, oneshot::Sender<Reply>>,
    /// How often the client was asked.
    round: u32,
    /// Until when it waits for the present answers; asking again does not prolong that.
    until: Option<Instant>,
    /// The run of a composite tool that it is, if it is one.
    run: Option<Arc<Live>>,
}

/// A call under way at its backend. Dropped, it is cancelled there.
struct Running {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    messages: mpsc::Receiver<ServerMessage>,
}

/// How far a call came.
pub(crate) enum Progress {
    Done(Answer),
    /// The backend waits for what was gathered.
    Asks,
}

impl OpenCall {
    /// A call that begins now.
    ///
    /// - `messages`: what the backend sends during `answer`
    pub(crate) fn begin(
        answer: impl Future<Output = Answer> + Send + 'static,
        messages: mpsc::Receiver<ServerMessage>,
    ) -> Self {
        let running = Some(Running { answer: Box::pin(answer), messages });
        Self { running, ..Self::to_be_made(Gathering::new(&salt())) }
    }

    /// The same for a call that is told where its messages go.
    pub(crate) fn begin_with<A: Future<Output = Answer> + Send + 'static>(
        begin: impl FnOnce(EventSender) -> A,
    ) -> Self {
        let (sender, messages) = mpsc::channel(MESSAGE_QUEUE);
        Self::begin(begin(sender), messages)
    }

    /// The call whose answer is what becomes of `run`.
    ///
    /// - `round`: how often its client was asked before
    pub(crate) fn of_run<A: Future<Output = Answer> + Send + 'static>(
        run: Arc<Live>,
        round: u32,
        follow: impl FnOnce(EventSender) -> A,
    ) -> Self {
        Self { run: Some(run), round, ..Self::begin_with(follow) }
    }

    /// A call that the backend takes only after the client has done what was gathered.
    pub(crate) fn to_be_made(gathering: Gathering) -> Self {
        Self { running: None, gathering, replies: BTreeMap::new(), round: 0, until: None, run: None }
    }

    /// Whether the backend has begun to work on it.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Goes on until the backend has answered or wants something of the client.
    ///
    /// - `events`: where notifications for the client go
    /// - `token`: the client's present progress token
    ///
    /// # Errors
    /// When the backend wants what the client does not offer.
    pub(crate) async fn go_on(
        &mut self,
        events: &EventSender,
        capabilities: &RawJson,
        token: Option<&RawJson>,
    ) -> Result<Progress, RpcError> {
        let Self { running: Some(Running { answer, messages }), gathering, replies, round, .. } = self else {
            return Ok(Progress::Asks);
        };
        let mut gathered = std::pin::pin!(tokio::time::sleep(GATHERING));
        // What was asked before and is still open is asked again.
        let mut is_gathering = !gathering.is_empty();
        loop {
            tokio::select! {
                biased;
                Some(message) = messages.recv() => match message {
                    ServerMessage::Notification(notification) => {
                        hand_on(notification, *round, token, events).await;
                    }
                    // The client hands the word back with its answer.
                    ServerMessage::Question { number, request: Request { method, params, .. }, reply } => {
                        let word = RawJson::of(&question_key(number));
                        let key = gathering.ask(Some(&word), Asked { method, params }, capabilities)?;
                        replies.insert(key, reply);
                        if !is_gathering {
                            is_gathering = true;
                            gathered.as_mut().reset(tokio::time::Instant::now() + GATHERING);
                        }
                    }
                    // What is no input gets no answer: the backend learns that nobody offers it.
                    ServerMessage::Request { request, .. } if InputKind::of(&request.method).is_none() => {}
                    ServerMessage::Request { request: Request { id, method, params }, reply } => {
                        let key = gathering.ask(Some(&id), Asked { method, params }, capabilities)?;
                        replies.insert(key, reply);
                        if !is_gathering {
                            is_gathering = true;
                            gathered.as_mut().reset(tokio::time::Instant::now() + GATHERING);
                        }
                    }
                },
                answer = &mut *answer => {
                    // What was sent before the answer goes to the client before it.
                    while let Ok(message) = messages.try_recv() {
                        if let ServerMessage::Notification(notification) = message {
                            hand_on(notification, *round, token, events).await;
                        }
                    }
                    return Ok(Progress::Done(answer));
                }
                () = &mut gathered, if is_gathering => {
                    forget_withdrawn(gathering, replies);
                    if !gathering.is_empty() {
                        return Ok(Progress::Asks);
                    }
                    is_gathering = false;
                }
            }
        }
    }

    /// The same with answers that the client brought before it was asked.
    pub(crate) async fn go_on_with(
        &mut self,
        beforehand: &Object,
        events: &EventSender,
        capabilities: &RawJson,
        token: Option<&RawJson>,
    ) -> Result<Progress, RpcError> {
        loop {
            let progress = self.go_on(events, capabilities, token).await?;
            let goes_on = matches!(progress, Progress::Asks) && !beforehand.is_empty() && self.take_answers(beforehand);
            if !goes_on {
                return Ok(progress);
            }
        }
    }

    /// What the client has yet to answer, by key.
    pub(crate) fn requests(&self) -> Object {
        self.gathering.requests()
    }

    /// Gives the client's answers to the backend. Whether it waits for no more.
    pub(crate) fn take_answers(&mut self, responses: &Object) -> bool {
        forget_withdrawn(&mut self.gathering, &mut self.replies);
        for (key, answer) in self.gathering.answer(responses) {
            if let Some(reply) = self.replies.remove(&key) {
                // A backend that is gone shows in the call's own answer.
                let _ = reply.send(Reply::Result(answer));
            }
        }
        self.gathering.is_empty()
    }
}

/// What the backend itself has withdrawn need not be asked any more.
fn forget_withdrawn(gathering: &mut Gathering, replies: &mut BTreeMap<String, oneshot::Sender<Reply>>) {
    replies.retain(|key, reply| {
        let is_open = !reply.is_closed();
        if !is_open {
            gathering.withdraw(key);
        }
        is_open
    });
}

async fn hand_on(notification: Notification, round: u32, token: Option<&RawJson>, events: &EventSender) {
    if let Some(notification) = for_round(notification, round, token) {
        // A client that is gone drops the whole call.
        let _ = events.send(ServerMessage::Notification(notification)).await;
    }
}

/// The notification as the client of this round is to see it: progress belongs to the request that waits now.
fn for_round(mut notification: Notification, round: u32, token: Option<&RawJson>) -> Option<Notification> {
    if round > 0 && notification.method == PROGRESS {
        let mut params = Object::parse_lenient(notification.params.as_ref());
        params.set(PROGRESS_TOKEN, token?.clone());
        notification.params = Some(params.to_json());
    }
    Some(notification)
}

/// What tells the keys of one call from those of all others, so that no answer meant for another call can be taken.
pub(crate) fn salt() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..8].to_owned()
}

/// All calls that wait for their clients.
pub(crate) struct ParkedCalls {
    sealer: Arc<Sealer>,
    lifetime: Duration,
    run_lifetime: Duration,
    table: Mutex<HashMap<Handle, OpenCall>>,
}

type Handle = [u8; 16];

/// What a retry brings about.
pub(crate) enum Resumed {
    /// The call goes on.
    GoOn(OpenCall),
    /// Something is still to be answered: the result that asks for it.
    Ask(RawJson),
}

impl ParkedCalls {
    /// - `lifetime`: how long a call waits for its client
    /// - `run_lifetime`: how long the run of a composite tool does
    pub(crate) fn new(sealer: Arc<Sealer>, lifetime: Duration, run_lifetime: Duration) -> Self {
        Self { sealer, lifetime, run_lifetime, table: Mutex::default() }
    }

    /// Lays `call` aside; the result that asks the client for what the backend wants.
    pub(crate) fn park(&self, call: OpenCall, binding: &Binding) -> Result<RawJson, RpcError> {
        let handle = call.run.as_ref().map_or_else(|| *uuid::Uuid::new_v4().as_bytes(), |run| run.head.id.0);
        self.park_as(handle, call, binding)
    }

    fn park_as(&self, handle: Handle, mut call: OpenCall, binding: &Binding) -> Result<RawJson, RpcError> {
        call.round += 1;
        let until = *call.until.get_or_insert_with(|| Instant::now() + self.lifetime);
        let lifetime = match &call.run {
            Some(_) => self.run_lifetime,
            None => until.saturating_duration_since(Instant::now()),
        };
        let ticket = Ticket { handle, round: call.round, expires: unix_seconds(lifetime) };
        let state = self.sealer.seal(Purpose::RequestState, &ticket.write(binding));
        let result = call.gathering.input_required(&state);
        let run = call.run.clone();
        let mut table = self.lock();
        if table.len() >= MAX_PARKED {
            let message =
                format!("{MAX_PARKED} calls wait for input from their clients, which is the most there may be");
            return Err(RpcError::new(INTERNAL_ERROR, message));
        }
        table.insert(handle, call);
        drop(table);
        if let Some(run) = run {
            // From now on there is a client that may come back.
            run.keep();
            match run.rests() {
                true => self.let_go(run.head.id),
                false => run.go_on_alone(),
            }
        }
        Ok(result)
    }

    /// Forgets the call that is this run: it rests, and is taken up again from where it is kept.
    pub(crate) fn let_go(&self, run: RunId) {
        let let_go = self.lock().remove(&run.0);
        // What it holds is dropped outside the lock.
        drop(let_go);
    }

    /// What `state` says.
    ///
    /// # Errors
    /// When the state is none of this host's, not for this call, or too old.
    pub(crate) fn read(&self, state: &RawJson, binding: &Binding) -> Result<Ticket, RpcError> {
        let read = || {
            let text = state.as_string().ok_or(StateRefusal::Forged)?;
            let opened = self.sealer.open(Purpose::RequestState, &text).map_err(|_| StateRefusal::Forged)?;
            let ticket = Ticket::read(&opened, binding)?;
            if ticket.expires < unix_seconds(Duration::ZERO) {
                return Err(StateRefusal::Expired);
            }
            Ok(ticket)
        };
        read().map_err(StateRefusal::tell)
    }

    /// Takes up the call that `state` stands for, with the client's answers.
    ///
    /// # Errors
    /// When the state is none of this host's, not for this call, used or too old, or its call has ended.
    pub(crate) fn resume(&self, state: &RawJson, responses: &Object, binding: &Binding) -> Result<Resumed, RpcError> {
        let ticket = self.read(state, binding)?;
        self.resume_here(&ticket, responses, binding)?.ok_or_else(|| StateRefusal::Ended.tell())
    }

    /// The same for a state that was read; `None` when there is no such call.
    pub(crate) fn resume_here(
        &self,
        ticket: &Ticket,
        responses: &Object,
        binding: &Binding,
    ) -> Result<Option<Resumed>, RpcError> {
        let Some(mut call) = self.take(ticket).map_err(StateRefusal::tell)? else { return Ok(None) };
        if call.take_answers(responses) {
            call.until = None;
            return Ok(Some(Resumed::GoOn(call)));
        }
        debug!("answers are missing or do not fit, asking again");
        self.park_as(ticket.handle, call, binding).map(Resumed::Ask).map(Some)
    }

    fn take(&self, ticket: &Ticket) -> Result<Option<OpenCall>, StateRefusal> {
        let mut table = self.lock();
        match table.get(&ticket.handle) {
            None => Ok(None),
            Some(call) if call.round != ticket.round => Err(StateRefusal::Used),
            Some(_) => Ok(table.remove(&ticket.handle)),
        }
    }

    /// Gives up the calls whose clients did not come back: they are cancelled at their backends.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let is_old = |call: &OpenCall| call.until.is_none_or(|until| until <= now);
        let given_up: Vec<_> = self.lock().extract_if(|_, call| is_old(call)).collect();
        if !given_up.is_empty() {
            debug!(calls = given_up.len(), "gave up calls whose clients did not come back");
        }
    }

    /// How often [`sweep`](Self::sweep) is due.
    pub(crate) fn sweep_period(&self) -> Duration {
        (self.lifetime / 4).clamp(Duration::from_millis(100), Duration::from_secs(10))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Handle, OpenCall>> {
        self.table.lock().expect("no panic while locked")
    }
}

/// Why a `requestState` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateRefusal {
    #[error("it was not made by this host")]
    Forged,
    #[error("it belongs to another call or client")]
    Foreign,
    #[error("it has expired")]
    Expired,
    #[error("it was used before")]
    Used,
    #[error("the call it belongs to has ended")]
    Ended,
    #[error("the call it belongs to goes on, for another client or at another host; try again later")]
    Busy,
}

impl StateRefusal {
    /// As the client is told.
    pub(crate) fn tell(self) -> RpcError {
        warn!(refusal = %self, "refused a `requestState`");
        let advice = if self == Self::Busy { "" } else { "; make the call anew without it" };
        RpcError::invalid_params(format!("`requestState`: {self}{advice}"))
    }
}

/// What a `requestState` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) handle: Handle,
    pub(crate) round: u32,
    /// Seconds since 1970.
    expires: u64,
}

impl Ticket {
    fn write(&self, binding: &Binding) -> Vec<u8> {
        let mut out = Vec::with_capacity(60);
        out.extend_from_slice(&self.handle);
        out.extend_from_slice(&self.round.to_le_bytes());
        out.extend_from_slice(&self.expires.to_le_bytes());
        out.extend_from_slice(&binding.0);
        out
    }

    fn read(bytes: &[u8], binding: &Binding) -> Result<Self, StateRefusal> {
        let parts = bytes.split_first_chunk().and_then(|(handle, rest)| {
            let (round, rest) = rest.split_first_chunk()?;
            let (expires, bound) = rest.split_first_chunk()?;
            Some((*handle, u32::from_le_bytes(*round), u64::from_le_bytes(*expires), bound))
        });
        let (handle, round, expires, bound) = parts.ok_or(StateRefusal::Forged)?;
        if bound != binding.0 {
            return Err(StateRefusal::Foreign);
        }
        Ok(Self { handle, round, expires })
    }
}

/// The time after `delay` from now. The wall clock: a state outlives the process that made it.
fn unix_seconds(delay: Duration) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(delay).as_secs()
}
