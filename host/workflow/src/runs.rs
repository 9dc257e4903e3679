//! Where runs are kept: what a run was told, who it belongs to, and what came of it. From that it goes on after it was laid
//! aside, in another process if need be.

mod sqlite;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use vmcp_core::{
    journal::{Event, RunId},
    json::RawJson,
    workflow::WorkflowSource,
};

pub use self::sqlite::{RunLimits, SqliteRuns};

/// Keeps runs. What is written without waiting is written in that order, and before whatever is read later.
///
/// A run and those it began are held together, by one process at a time: the outermost stands for all of them.
pub trait RunStore: Send + Sync {
    /// Whether runs outlive the process: then each event is written when it happens.
    fn is_durable(&self) -> bool;

    /// Writes a new run, held by this process if it is an outermost one.
    fn begin(&self, run: &Arc<RunHead>);

    /// Writes events of a run, numbered from `first` on.
    fn append(&self, run: RunId, first: u64, events: Vec<TimedEvent>);

    /// Returns once all that was written of the run before outlives the process.
    ///
    /// # Errors
    /// When something of it could not be written.
    fn settled(&self, run: RunId) -> BoxFuture<'static, Result<(), RunStoreError>>;

    /// The run waits, and need not be looked at before `wake`, a time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`RunStoreError::Full`] when no more runs may wait.
    fn rest(&self, run: RunId, wake: Option<u64>) -> BoxFuture<'static, Result<(), RunStoreError>>;

    /// The run is at work again.
    fn wake(&self, run: RunId);

    /// This process holds the outermost run `root` no longer.
    fn release(&self, root: RunId);

    /// The run has ended. Those that it began and that have not are cancelled.
    fn end(&self, run: &Arc<RunHead>, ending: Ending, result: RawJson);

    /// The run that the call `call` of `parent` began is not wanted any more.
    fn give_up_child(&self, parent: RunId, call: u64);

    /// The stream on which the client hears of the run, and the id of its request there.
    fn note_stream(&self, run: RunId, stream: RunStream);

    /// Takes the outermost run `root` for this process.
    fn claim(&self, root: RunId) -> BoxFuture<'static, Result<Claim, RunStoreError>>;

    /// The events of a run so far.
    fn events(&self, run: RunId) -> BoxFuture<'static, Result<Vec<TimedEvent>, RunStoreError>>;

    /// The run that the call `call` of `parent` began.
    fn child(&self, parent: RunId, call: u64) -> BoxFuture<'static, Result<Option<RunRecord>, RunStoreError>>;

    /// Outermost runs that nobody holds and that have something to do by now; and when the next has.
    fn due(&self, now: u64) -> BoxFuture<'static, Result<Due, RunStoreError>>;

    /// Runs of this session that have not ended.
    fn of_session(&self, session: &str) -> BoxFuture<'static, Result<Vec<RunRecord>, RunStoreError>>;

    /// All runs without their events, the newest first.
    fn list(&self) -> BoxFuture<'static, Result<Vec<RunRecord>, RunStoreError>>;

    /// One run with its events.
    fn find(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunRecord>, RunStoreError>>;

    /// Asks whoever holds the run to cancel it.
    fn ask_to_cancel(&self, root: RunId);

    /// Runs that this process holds and that somebody wants cancelled.
    fn to_cancel(&self) -> BoxFuture<'static, Result<Vec<RunId>, RunStoreError>>;

    /// Keeps the bytes of a component as long as a run or this process needs them.
    fn keep_component(&self, digest: &str, bytes: &[u8]);

    /// The bytes of a component.
    fn component(&self, digest: &str) -> BoxFuture<'static, Result<Option<Vec<u8>>, RunStoreError>>;

    /// Forgets what is too old: runs that ended, and such as nobody came back to.
    fn sweep(&self, now: u64);
}

/// What stays the same of a run from its beginning on.
#[derive(Clone, Debug, PartialEq)]
pub struct RunHead {
    pub id: RunId,
    /// The outermost of the runs that are within each other; itself for such a one.
    pub root: RunId,
    /// The run that began it, and by which call.
    pub parent: Option<(RunId, u64)>,
    /// The composite tool, as clients know it.
    pub tool: Arc<str>,
    /// Digest of the identity that it belongs to.
    pub owner: [u8; 32],
    pub source: WorkflowSource,
    pub arguments: RawJson,
    pub client: RunClient,
    /// Milliseconds since the Unix epoch.
    pub began: u64,
}

/// The client that a run is for, as far as it outlives the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunClient {
    /// What it can be asked: a JSON object of the legacy era.
    pub capabilities: RawJson,
    pub log_level: Option<String>,
    /// Id of its session, where it has one that is found by its id.
    pub session: Option<Arc<str>>,
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    pub head: Arc<RunHead>,
    pub state: RunState,
    /// When its state last changed, in milliseconds since the Unix epoch.
    pub changed: u64,
    /// A tool result, once it has ended.
    pub result: Option<RawJson>,
    /// Where its client hears of it.
    pub stream: Option<RunStream>,
    /// How many events there are.
    pub told: u64,
    /// The events themselves, where they were asked for.
    pub events: Vec<TimedEvent>,
}

/// A stream of a session, and the request that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStream {
    pub number: u64,
    /// Id of the request.
    pub request: RawJson,
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedEvent {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub event: Event,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    Running,
    /// For an answer, or for a time to come.
    Waiting,
    Completed,
    Failed,
    Cancelled,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Completed,
    Failed,
    Cancelled,
}

/// See [`RunStore::due`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub runs: Vec<RunId>,
    /// Milliseconds since the Unix epoch.
    pub next: Option<u64>,
}

/// What came of taking a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is this process's now, with all its events.
    Taken(Box<RunRecord>),
    /// Another process that lives has it, or this one.
    Held,
    /// It has ended, and is still kept.
    Ended(Box<RunRecord>),
    Unknown,
}

/// Why runs cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunStoreError {
    #[error("{0} runs wait, which is the most there may be (`runs.limit`)")]
    Full(u64),
    #[error("runs cannot be kept: {0}")]
    Unusable(Arc<str>),
}

impl RunState {
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Running | Self::Waiting)
    }
}

impl From<Ending> for RunState {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed => Self::Completed,
            Ending::Failed => Self::Failed,
            Ending::Cancelled => Self::Cancelled,
        }
    }
}
