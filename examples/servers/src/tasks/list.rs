//! The to-do list itself: one JSON file, changed under a lock since several processes may serve the same file. Knows files, not MCP.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::storage::replace;

/// Longest task, in characters: a line, not a document.
const MAX_TEXT_CHARS: usize = 1_000;
/// Most tasks in one list: the file is read whole for each call.
const MAX_TASKS: usize = 10_000;

/// Why the list could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    #[error("the task has no text")]
    EmptyText,
    #[error("a task has at most {MAX_TEXT_CHARS} characters, this one has {0}")]
    TooLong(usize),
    #[error("the list is full: it has {MAX_TASKS} tasks")]
    Full,
    #[error("there is no task {0}; `list` shows the numbers")]
    Missing(u64),
    #[error("the query is empty")]
    EmptyQuery,
    #[error("`{path}` is no task list; move it away or choose another file", path = .path.display())]
    Corrupt { path: PathBuf, source: serde_json::Error },
    #[error("cannot {what} `{path}`", path = .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Task {
    /// Number, from 1; never given twice.
    pub id: u64,
    /// What to do.
    pub text: String,
    /// Whether it is done.
    pub done: bool,
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    next_id: u64,
    tasks: Vec<Task>,
}

impl Default for Content {
    fn default() -> Self {
        Self { next_id: 1, tasks: Vec::new() }
    }
}

/// A to-do list in a file.
#[derive(Clone, Debug)]
pub(crate) struct TaskList {
    file: PathBuf,
}

impl TaskList {
    /// Takes the list in `file`; where there is none yet, its folder is made.
    pub(crate) fn open(file: PathBuf) -> Result<Self, TaskError> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(io_error("make the folder", folder))?;
        }
        let list = Self { file };
        list.load()?;
        Ok(list)
    }

    /// Adds a task.
    pub(crate) fn add(&self, text: &str) -> Result<Task, TaskError> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            return Err(TaskError::EmptyText);
        }
        if length > MAX_TEXT_CHARS {
            return Err(TaskError::TooLong(length));
        }
        self.change(|content| {
            if content.tasks.len() >= MAX_TASKS {
                return Err(TaskError::Full);
            }
            let task = Task { id: content.next_id, text: text.into(), done: false };
            content.next_id += 1;
            content.tasks.push(task.clone());
            Ok(task)
        })
    }

    /// The open tasks, or all of them, by number.
    pub(crate) fn list(&self, with_done: bool) -> Result<Vec<Task>, TaskError> {
        Ok(self.load()?.tasks.into_iter().filter(|task| with_done || !task.done).collect())
    }

    /// The tasks that contain `query`, whatever its case; open ones first.
    pub(crate) fn search(&self, query: &str) -> Result<Vec<Task>, TaskError> {
        let query = query.trim().to_lowercase();
        if query.is_empty() {
            return Err(TaskError::EmptyQuery);
        }
        let mut found = self.list(true)?;
        found.retain(|task| task.text.to_lowercase().contains(&query));
        found.sort_by_key(|task| (task.done, task.id));
        Ok(found)
    }

    /// Marks a task as done; again if it is already.
    pub(crate) fn finish(&self, id: u64) -> Result<Task, TaskError> {
        self.change(|content| {
            let task = content.tasks.iter_mut().find(|task| task.id == id).ok_or(TaskError::Missing(id))?;
            task.done = true;
            Ok(task.clone())
        })
    }

    /// Loads, changes and stores the list, alone among the processes that serve it.
    fn change<T>(&self, change: impl FnOnce(&mut Content) -> Result<T, TaskError>) -> Result<T, TaskError> {
        let lock_path = self.file.with_extension("lock");
        let lock = fs::File::create(&lock_path).map_err(io_error("make", &lock_path))?;
        lock.lock().map_err(io_error("lock", &lock_path))?;
        let mut content = self.load()?;
        let outcome = change(&mut content)?;
        let text = serde_json::to_vec_pretty(&content).expect("tasks serialise to JSON");
        replace(&self.file, &text).map_err(io_error("write", &self.file))?;
        Ok(outcome)
    }

    fn load(&self) -> Result<Content, TaskError> {
        match fs::read(&self.file) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| TaskError::Corrupt { path: self.file.clone(), source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
            Err(error) => Err(io_error("read", &self.file)(error)),
        }
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TaskError {
    let path = path.to_owned();
    move |source| TaskError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> (tempfile::TempDir, TaskList) {
        let place = tempfile::tempdir().unwrap();
        let list = TaskList::open(place.path().join("sub/tasks.json")).unwrap();
        (place, list)
    }

    fn texts(tasks: Vec<Task>) -> Vec<String> {
        tasks.into_iter().map(|task| task.text).collect()
    }

    #[test]
    fn tasks_are_added_listed_found_and_finished() {
        let (_place, list) = list();
        assert_eq!(list.list(true).unwrap(), []);
        let milk = list.add("  buy milk ").unwrap();
        list.add("drink Milk").unwrap();
        assert_eq!(milk, Task { id: 1, text: "buy milk".into(), done: false });
        for _ in 0..2 {
            assert!(list.finish(milk.id).unwrap().done);
        }
        assert_eq!(texts(list.list(false).unwrap()), ["drink Milk"]);
        assert_eq!(texts(list.search("MILK").unwrap()), ["drink Milk", "buy milk"]);
        assert!(matches!(list.finish(7), Err(TaskError::Missing(7))));
        assert!(matches!(list.add(" \n"), Err(TaskError::EmptyText)));
        assert!(matches!(list.add(&"x".repeat(1001)), Err(TaskError::TooLong(1001))));
        assert!(matches!(list.search(""), Err(TaskError::EmptyQuery)));
    }

    #[test]
    fn several_writers_lose_nothing() {
        let (_place, list) = list();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let list = list.clone();
                scope.spawn(move || (0..10).for_each(|n| drop(list.add(&format!("task {writer}.{n}")).unwrap())));
            }
        });
        let ids: Vec<_> = list.list(true).unwrap().into_iter().map(|task| task.id).collect();
        assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_is_no_task_list_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("tasks.json");
        fs::write(&file, "my diary").unwrap();
        let error = TaskList::open(file.clone()).unwrap_err().to_string();
        assert!(error.ends_with("is no task list; move it away or choose another file"), "{error}");
        assert_eq!(fs::read_to_string(file).unwrap(), "my diary");
    }
}
