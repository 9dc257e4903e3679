//! Why a workflow failed.

use std::{fmt, time::Duration};

use crate::duration;

/// Why a workflow failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    Step {
        id: String,
        reason: String,
    },
    /// The reason names the property.
    Output {
        reason: String,
    },
    TimedOut {
        after: Duration,
        running: Vec<String>,
    },
    /// It failed, and what had been done was undone as far as that went.
    Undone {
        cause: Box<RunError>,
        /// The steps that were undone, in that order.
        undone: Vec<String>,
        /// Those that could not be, and why.
        left: Vec<(String, String)>,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { id, reason } => write!(f, "step `{id}` failed: {reason}"),
            Self::Output { reason } => f.write_str(reason),
            Self::TimedOut { after, running } => {
                let (after, running) = (duration::print(*after), quoted(running.iter()));
                write!(f, "the workflow timed out after {after}, while these steps were under way: {running}")
            }
            Self::Undone { cause, undone, left } => {
                write!(f, "{cause}")?;
                if !undone.is_empty() {
                    write!(f, "; undone: {}", quoted(undone.iter()))?;
                }
                for (id, reason) in left {
                    write!(f, "; step `{id}` could not be undone: {reason}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for RunError {}

fn quoted<'s>(ids: impl Iterator<Item = &'s String>) -> String {
    ids.map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}
