//! How steps end.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    context,
    template::{TemplateValue, from_json, map},
};

/// How a step came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Completed,
    /// The workflow goes on all the same.
    Failed,
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// A step at its end.
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) output: Map<String, Value>,
    pub(crate) error: Option<String>,
    /// Nothing that has not started may start.
    pub(crate) skips_remaining: bool,
    /// The step as templates see it.
    pub(crate) seen: TemplateValue,
}

impl Outcome {
    pub(super) fn new(
        status: Status,
        output: Map<String, Value>,
        content: Option<&Value>,
        error: Option<String>,
    ) -> Self {
        let output_seen = map(output.iter().map(|(key, value)| (key.as_str(), from_json(value))));
        let mut seen = vec![("status", context::text(&status.to_string())), ("output", output_seen)];
        seen.extend(content.map(|content| ("content", from_json(content))));
        seen.extend(error.as_ref().map(|error| ("error", context::text(error))));
        let seen = map(seen);
        Self { status, output, error, skips_remaining: false, seen }
    }

    pub(crate) fn completed(output: Map<String, Value>) -> Self {
        Self::new(Status::Completed, output, None, None)
    }
}

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(super) kind: FailureKind,
}

#[derive(Debug, PartialEq)]
pub(super) enum FailureKind {
    /// Another try can do better.
    Passing,
    Lasting,
    /// Ends the workflow whatever `onError` says.
    Final,
}

impl Failure {
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: FailureKind::Passing }
    }

    /// The same, after where it happened.
    pub(crate) fn of(self, place: &str) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    pub(crate) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: FailureKind::Lasting }
    }
}
