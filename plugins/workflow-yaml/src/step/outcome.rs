//! How steps end.

use std::{
    cell::{Cell, OnceCell},
    fmt,
};

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
    /// What the tool's result has as `content`, until it is seen.
    content: Cell<Option<Value>>,
    seen: OnceCell<TemplateValue>,
}

impl Outcome {
    pub(super) fn new(
        status: Status,
        output: Map<String, Value>,
        content: Option<Value>,
        error: Option<String>,
    ) -> Self {
        Self { status, output, error, skips_remaining: false, content: Cell::new(content), seen: OnceCell::new() }
    }

    /// The step as templates see it.
    pub(crate) fn seen(&self) -> &TemplateValue {
        self.seen.get_or_init(|| {
            let output = map(self.output.iter().map(|(key, value)| (key.as_str(), from_json(value))));
            let content = self.content.take().map(|content| ("content", from_json(&content)));
            let error = self.error.as_ref().map(|error| ("error", context::text(error)));
            let always = [("status", context::text(&self.status.to_string())), ("output", output)];
            map(always.into_iter().chain(content).chain(error))
        })
    }

    pub(crate) fn completed(output: Map<String, Value>) -> Self {
        Self::new(Status::Completed, output, None, None)
    }

    /// The same, and whether what has not started is skipped.
    pub(crate) fn skipping(self, skips_remaining: bool) -> Self {
        Self { skips_remaining, ..self }
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
