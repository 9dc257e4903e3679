//! What a run of a workflow was told by its host, in order. A run is a function of that: told the same again, it does the same.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError},
};

/// One thing that happened between a run and its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The run made the call of this number, counted from 0.
    Began { call: u64, what: HostCall },
    /// The run was handed the outcome of that call.
    Ended { call: u64, outcome: Outcome },
    /// The run asked for something that is answered at once.
    Told { question: Question, answer: RawJson },
    /// The run does not want the outcome of that call any more. Nothing is told again of it.
    GivenUp { call: u64 },
}

/// A call that takes time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostCall {
    Tool {
        tool: String,
        arguments: RawJson,
        /// Milliseconds.
        timeout: Option<u64>,
    },
    Elicit {
        message: String,
        schema: RawJson,
        /// Milliseconds.
        timeout: Option<u64>,
    },
    Sample {
        request: RawJson,
        /// Milliseconds.
        timeout: Option<u64>,
    },
    /// Milliseconds.
    Sleep(u64),
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Called(Result<RawJson, ToolCallError>),
    Elicited(Result<Elicited, InteractionError>),
    Sampled(Result<RawJson, InteractionError>),
    Slept,
}

/// What is answered at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    Now,
    Random,
    Tools,
    Tool(String),
}

/// Takes down the events of one run while it goes on.
pub trait Recorder: Send + Sync {
    fn record(&self, event: &Event);

    /// The run has nothing to do until one of its calls ends.
    ///
    /// - `open`: the calls that have not, in no order
    fn rests(&self, open: &[u64]) {
        let _ = open;
    }
}

/// Names one run, everywhere and for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| InvalidRunId(text.to_owned()))
    }
}

/// A text that names no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id of a run: those are 32 hexadecimal digits")]
pub struct InvalidRunId(String);

/// A run that was told what another was told, and did something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recorded run {recorded}, this one {now}")]
pub struct Divergence {
    pub recorded: String,
    pub now: String,
}

/// Longest text of one call in a message, in characters.
const SHOWN: usize = 300;

impl fmt::Display for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Tool { tool, arguments, .. } => format!("calls `{tool}` with {}", arguments.as_str()),
            Self::Elicit { message, .. } => format!("asks the client {message:?}"),
            Self::Sample { request, .. } => format!("has the client's model write {}", request.as_str()),
            Self::Sleep(milliseconds) => format!("waits for {milliseconds} ms"),
        };
        f.write_str(&cut(&text))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Called(Ok(result)) | Self::Sampled(Ok(result)) => result.as_str().to_owned(),
            Self::Called(Err(error)) => format!("not done: {error}"),
            Self::Sampled(Err(error)) | Self::Elicited(Err(error)) => format!("not asked: {error}"),
            Self::Elicited(Ok(Elicited::Accepted(answer))) => format!("answered {}", answer.as_str()),
            Self::Elicited(Ok(Elicited::Declined)) => "declined".to_owned(),
            Self::Elicited(Ok(Elicited::Cancelled)) => "cancelled".to_owned(),
            Self::Elicited(Ok(Elicited::TimedOut)) => "nobody answered in time".to_owned(),
            Self::Slept => "waited".to_owned(),
        };
        f.write_str(&cut(&text))
    }
}

/// `text`, without what is beyond [`SHOWN`].
fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]).into(),
        None => text.into(),
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("asks for the time"),
            Self::Random => f.write_str("asks for a random number"),
            Self::Tools => f.write_str("asks for all tools"),
            Self::Tool(name) => write!(f, "asks about the tool `{name}`"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { what, .. } => what.fmt(f),
            Self::Ended { call, .. } => write!(f, "waits for its call {}", call + 1),
            Self::Told { question, .. } => question.fmt(f),
            Self::GivenUp { call } => write!(f, "gives up its call {}", call + 1),
        }
    }
}
