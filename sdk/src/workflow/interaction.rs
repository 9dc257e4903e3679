//! The client that runs the workflow, and the person before it.

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

/// What a person did with a question.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Elicited {
    /// Answered it.
    Accepted(Map<String, Value>),
    /// Said no.
    Declined,
    /// Closed it without an answer.
    Cancelled,
    /// Let the time go by.
    TimedOut,
}

/// Why nobody was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InteractionError {
    /// The client cannot be asked this.
    Unsupported(String),
    /// The workflow has used up what it may ask.
    OverBudget(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for InteractionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(message) | Self::OverBudget(message) | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for InteractionError {}

/// Puts a question to the person before the client.
///
/// - `schema`: JSON Schema of the answer, an object of plain values
/// - `timeout`: how long they have; without one, as long as the host allows
///
/// # Errors
/// If nobody can be asked.
pub async fn elicit(message: &str, schema: &Value, timeout: Option<Duration>) -> Result<Elicited, InteractionError> {
    imported::elicit(message, schema, timeout).await
}

/// Has the client's model write something: the `params` of the protocol's `sampling/createMessage` for its result.
///
/// # Errors
/// If the client has no model to ask, or it gives nothing.
pub async fn sample(request: &Value, timeout: Option<Duration>) -> Result<Value, InteractionError> {
    imported::sample(request, timeout).await
}

#[cfg(target_arch = "wasm32")]
mod imported {
    use super::{Duration, Elicited, InteractionError, Map, Value};
    use crate::bindings::workflow::vmcp::workflow::interaction as wit;

    fn milliseconds(timeout: Option<Duration>) -> Option<u64> {
        timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) async fn elicit(
        message: &str,
        schema: &Value,
        timeout: Option<Duration>,
    ) -> Result<Elicited, InteractionError> {
        let elicited = wit::elicit(message.to_owned(), schema.to_string(), milliseconds(timeout)).await?;
        Ok(match elicited {
            wit::Elicited::Accepted(answer) => {
                Elicited::Accepted(serde_json::from_str(&answer).unwrap_or_else(|_| Map::new()))
            }
            wit::Elicited::Declined => Elicited::Declined,
            wit::Elicited::Cancelled => Elicited::Cancelled,
            wit::Elicited::TimedOut => Elicited::TimedOut,
            wit::Elicited::Other(what) => return Err(InteractionError::Other(what)),
        })
    }

    pub(super) async fn sample(request: &Value, timeout: Option<Duration>) -> Result<Value, InteractionError> {
        let result = wit::sample(request.to_string(), milliseconds(timeout)).await?;
        serde_json::from_str(&result).map_err(|error| InteractionError::Other(error.to_string()))
    }

    impl From<wit::InteractionError> for InteractionError {
        fn from(error: wit::InteractionError) -> Self {
            match error {
                wit::InteractionError::Unsupported(message) => Self::Unsupported(message),
                wit::InteractionError::OverBudget(message) => Self::OverBudget(message),
                wit::InteractionError::Other(message) => Self::Other(message),
            }
        }
    }
}

/// Without a host there is nobody to ask.
#[cfg(not(target_arch = "wasm32"))]
mod imported {
    use super::{Duration, Elicited, InteractionError, Value};

    pub(super) async fn elicit(_: &str, _: &Value, _: Option<Duration>) -> Result<Elicited, InteractionError> {
        Err(InteractionError::Unsupported("there is nobody to ask outside of a host".into()))
    }

    pub(super) async fn sample(_: &Value, _: Option<Duration>) -> Result<Value, InteractionError> {
        Err(InteractionError::Unsupported("there is nobody to ask outside of a host".into()))
    }
}
