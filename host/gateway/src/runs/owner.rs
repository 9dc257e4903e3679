//! Runs as the owner of the host sees them: listed, shown, cancelled.

use std::collections::HashSet;

use serde::Serialize;
use vmcp_core::{
    journal::{Event, RunId},
    json::RawJson,
    with_cause,
};
use vmcp_workflow::{
    Unfinished,
    runs::{Claim, Ending, RunRecord, RunState},
};

use super::table::{BY_OWNER, cancelled};
use crate::gateway::Gateway;

/// One run, for people and scripts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    pub id: String,
    pub tool: String,
    pub state: RunState,
    /// The run that it is part of, if it is not the outermost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub began: u64,
    /// When its state changed last, likewise.
    pub changed: u64,
    /// How many events its journal has.
    pub told: u64,
    pub component: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<RawJson>,
    /// What it waits for, each in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<String>,
    /// What happened so far, each in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<RawJson>,
}

/// One event of a run.
#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub what: String,
}

/// Why a run was not cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    #[error("there is no run {0}; `vmcp-host workflow list` shows those there are")]
    Unknown(RunId),
    #[error("the run {0} has ended")]
    Ended(RunId),
    #[error("{0}")]
    Unreadable(String),
}

impl Gateway {
    /// All runs that are kept, the newest first.
    pub async fn run_list(&self) -> Result<Vec<RunView>, String> {
        let records = self.runs.store.list().await.map_err(|error| with_cause(&error))?;
        let mut runs: Vec<_> = records.iter().chain(self.runs.recent().iter()).map(view).collect();
        // Those that never waited may be known to nobody but this process.
        let known: HashSet<_> = records.iter().map(|record| record.head.id).collect();
        let lives: Vec<_> = self.runs.lives().values().cloned().collect();
        for live in lives.iter().filter(|live| !known.contains(&live.head.id)) {
            let (head, state) = (live.head.clone(), RunState::Running);
            let changed = head.began;
            runs.push(view(&RunRecord {
                head,
                state,
                changed,
                result: None,
                stream: None,
                told: 0,
                events: Vec::new(),
            }));
        }
        runs.sort_by(|one, other| (other.began, &one.id).cmp(&(one.began, &other.id)));
        Ok(runs)
    }

    /// One run with all that is known of it.
    pub async fn run_view(&self, run: RunId) -> Result<Option<RunView>, String> {
        let found = self.runs.store.find(run).await.map_err(|error| with_cause(&error))?;
        let recent = || self.runs.recent().iter().find(|record| record.head.id == run).cloned();
        let Some(record) = found.or_else(recent) else {
            return Ok(self.run_list().await?.into_iter().find(|view| view.id == run.to_string()));
        };
        let unfinished = Unfinished::of(&record.events);
        let waits = record.events.iter().filter_map(|timed| match &timed.event {
            Event::Began { call, what } if unfinished.contains(*call) => Some(what.to_string()),
            _ => None,
        });
        let waits = if record.state.has_ended() { Vec::new() } else { waits.collect() };
        let events = record.events.iter().map(|timed| EventView { at: timed.at, what: in_words(&timed.event) });
        Ok(Some(RunView {
            arguments: Some(record.head.arguments.clone()),
            waits,
            events: events.collect(),
            result: record.result.clone(),
            ..view(&record)
        }))
    }

    /// Cancels a run, or has the process cancel it that has it.
    pub async fn cancel_run(&self, run: RunId) -> Result<(), CancelError> {
        if let Some(live) = self.runs.find(run) {
            self.runs.cancel(&live, BY_OWNER);
            return Ok(());
        }
        let unreadable = |error| CancelError::Unreadable(with_cause(&error));
        let root = self.runs.store.find(run).await.map_err(unreadable)?.map(|record| record.head.root);
        let root = root.ok_or(CancelError::Unknown(run))?;
        if root != run {
            // A run within another ends with that, and not before it.
            return Box::pin(self.cancel_run(root)).await;
        }
        match self.runs.store.claim(root).await.map_err(unreadable)? {
            Claim::Unknown => Err(CancelError::Unknown(run)),
            Claim::Ended(_) => Err(CancelError::Ended(run)),
            Claim::Held => {
                self.runs.store.ask_to_cancel(root);
                Ok(())
            }
            Claim::Taken(record) => {
                self.runs.store.end(&record.head, Ending::Cancelled, cancelled(BY_OWNER));
                Ok(())
            }
        }
    }
}

fn view(record: &RunRecord) -> RunView {
    let RunRecord { head, state, changed, told, .. } = record;
    RunView {
        id: head.id.to_string(),
        tool: head.tool.to_string(),
        state: *state,
        within: head.parent.map(|(parent, _)| parent.to_string()),
        began: head.began,
        changed: *changed,
        told: *told,
        component: head.source.component.to_string(),
        arguments: None,
        waits: Vec::new(),
        events: Vec::new(),
        result: None,
    }
}

fn in_words(event: &Event) -> String {
    match event {
        Event::Ended { call, outcome } => format!("call {} ended: {outcome}", call + 1),
        Event::Began { call, .. } => format!("call {}: {event}", call + 1),
        other => other.to_string(),
    }
}
