//! What fake backends were called with: a file that they write, one line of JSON per event, and its reader.
//!
//! Several backends may share a file; the order of its lines is then the order over all of them.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::{PATIENCE, eventually};

/// Writes the events of one backend.
pub(super) struct Recorder {
    file: File,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// `begin`, `end` or `cancelled`.
    event: String,
    tool: String,
    arguments: Value,
}

impl Recorder {
    pub(super) fn open(file: &Path) -> Self {
        let opened = OpenOptions::new().create(true).append(true).open(file);
        Self { file: opened.unwrap_or_else(|error| panic!("{}: {error}", file.display())) }
    }

    pub(super) fn begin<'r>(&'r self, tool: &str, arguments: &Value) -> Call<'r> {
        let call = Call { recorder: self, tool: tool.to_owned(), arguments: arguments.clone(), has_ended: false };
        call.write("begin");
        call
    }
}

/// A call under way. One that is dropped was cancelled.
pub(super) struct Call<'r> {
    recorder: &'r Recorder,
    tool: String,
    arguments: Value,
    has_ended: bool,
}

impl Call<'_> {
    pub(super) fn end(mut self) {
        self.has_ended = true;
        self.write("end");
    }

    /// One write per line, so that those of several processes do not mix.
    fn write(&self, event: &str) {
        let line = Line { event: event.to_owned(), tool: self.tool.clone(), arguments: self.arguments.clone() };
        let line = serde_json::to_string(&line).expect("a line is plain data") + "\n";
        // A test whose folder is gone has ended.
        let _ = (&self.recorder.file).write_all(line.as_bytes());
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.write("cancelled");
        }
    }
}

/// What the backends that were told of it received so far.
#[derive(Clone, Debug)]
pub struct Recording {
    file: PathBuf,
}

impl Recording {
    /// In a file of its own in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self { file: dir.join("calls.jsonl") }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every event with its tool, in order: `begin search`, `end search`, `cancelled search`.
    pub fn events(&self) -> Vec<String> {
        self.lines().iter().map(|line| format!("{} {}", line.event, line.tool)).collect()
    }

    /// The tools that were called, in order.
    pub fn tools(&self) -> Vec<String> {
        let begun = self.lines().into_iter().filter(|line| line.event == "begin");
        begun.map(|line| line.tool).collect()
    }

    /// The arguments of each call of `tool`, in order.
    pub fn arguments(&self, tool: &str) -> Vec<Value> {
        let begun = self.lines().into_iter().filter(|line| line.event == "begin" && line.tool == tool);
        begun.map(|line| line.arguments).collect()
    }

    /// Whether `first` and `then` happened, and in this order, e.g. `end search` and `begin read`.
    pub fn has_in_order(&self, first: &str, then: &str) -> bool {
        let events = self.events();
        let place = |wanted: &str| events.iter().position(|event| event == wanted);
        matches!((place(first), place(then)), (Some(first), Some(then)) if first < then)
    }

    /// Waits for an event, e.g. `cancelled search`.
    pub async fn wait_for(&self, event: &str) {
        eventually(event, PATIENCE, || async { self.events().iter().any(|seen| seen == event) }).await;
    }

    /// Forgets what was received so far; the writers append, so they go on.
    pub fn clear(&self) {
        std::fs::write(&self.file, "").unwrap();
    }
}
