//! No process that a backend started outlives the host, however the host ends.
//!
//! A second process, this very executable with the subcommand [`SUBCOMMAND`], holds the reading end of a pipe whose writing
//! end only the host has. The host writes down each process group that it starts and each that is gone. When the pipe
//! closes, because the host ended in an orderly way or by `kill -9`, the watcher ends what is left. It lives in a process
//! group of its own and takes no notice of the signals that a terminal or a supervisor sends to end the host.
//!
//! The [`family`](crate::family) module says what is found on which system.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tracing::warn;

use crate::family::{Family, Group, MARK};

/// The hidden subcommand under which the executable calls [`run`].
pub const SUBCOMMAND: &str = "watch-children";

/// What ended children have to finish before they are killed.
const PATIENCE: Duration = Duration::from_millis(500);

/// Begins the mark of every process that this host starts.
pub(crate) static RUN: LazyLock<String> =
    LazyLock::new(|| format!("{}-{:016x}.", std::process::id(), rand::random::<u64>()));

/// The host's side of the watcher process. Clones share the one process.
#[derive(Clone, Default)]
pub struct Watcher {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    process: Option<(Child, ChildStdin)>,
    /// Process groups that live, with the start time of their leader.
    groups: BTreeMap<u32, Option<u64>>,
}

impl Watcher {
    /// A watcher whose process starts with the first group that it is to watch.
    pub fn spawn() -> Self {
        Self::default()
    }

    /// From now on ends the group of process `leader` when the host ends.
    pub(crate) fn add(&self, leader: u32, started: Option<u64>) {
        let mut state = self.state.lock().expect("no panic while held");
        state.groups.insert(leader, started);
        let line = group_line(leader, started);
        if !state.tell(&line) {
            // Not started yet, or it was killed: a new one learns of all groups.
            if let Err(error) = state.start() {
                warn!(%error, "cannot start the watcher process: should the host be killed, its backends may live on");
            }
        }
    }

    /// The group of process `leader` is gone.
    pub(crate) fn remove(&self, leader: u32) {
        let mut state = self.state.lock().expect("no panic while held");
        if state.groups.remove(&leader).is_some() {
            state.tell(&format!("- {leader}\n"));
        }
    }

    /// The id of the watcher process, once it runs.
    pub fn pid(&self) -> Option<u32> {
        self.state.lock().expect("no panic while held").process.as_ref().map(|(child, _)| child.id())
    }
}

impl State {
    fn tell(&mut self, line: &str) -> bool {
        // Lines are far shorter than a pipe's buffer and the watcher reads at once, so this does not block.
        self.process.as_mut().is_some_and(|(_, pipe)| pipe.write_all(line.as_bytes()).is_ok())
    }

    fn start(&mut self) -> std::io::Result<()> {
        self.retire();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SUBCOMMAND).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // The host may itself be the child of another: its watcher must outlive it for a moment.
        command.env_remove(MARK).current_dir("/");
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let Some(pipe) = child.stdin.take() else { return Err(std::io::Error::other("the watcher has no input")) };
        self.process = Some((child, pipe));
        let groups = self.groups.iter().map(|(leader, started)| group_line(*leader, *started));
        let lines: String = std::iter::once(format!("mark {}\n", *RUN)).chain(groups).collect();
        self.tell(&lines);
        Ok(())
    }

    /// Closes the pipe and collects the process when it has done its work.
    fn retire(&mut self) {
        if let Some((mut child, pipe)) = self.process.take() {
            drop(pipe);
            std::thread::spawn(move || child.wait());
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.retire();
    }
}

fn group_line(leader: u32, started: Option<u64>) -> String {
    match started {
        Some(started) => format!("+ {leader} {started}\n"),
        None => format!("+ {leader}\n"),
    }
}

/// What the watcher process does, until the pipe closes and nothing is left to end.
pub fn run() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        #[cfg(unix)]
        let _ignored = ignore_signals();
        // Nothing else runs here, so reading may block.
        let family = read_family(std::io::stdin().lock());
        family.end(PATIENCE).await;
    });
    ExitCode::SUCCESS
}

/// Reads what the host writes until it ends.
fn read_family(input: impl std::io::BufRead) -> Family {
    let mut mark = None;
    let mut groups = BTreeMap::new();
    for line in input.lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["mark", value] => mark = Some(value.to_owned()),
            ["+", leader, ref rest @ ..] => {
                if let Ok(id) = leader.parse() {
                    groups.insert(id, rest.first().and_then(|started| started.parse().ok()));
                }
            }
            ["-", leader] => {
                if let Ok(id) = leader.parse::<i32>() {
                    groups.remove(&id);
                }
            }
            _ => {}
        }
    }
    // Without a mark nothing may match it: no value contains a NUL.
    let mark = mark.unwrap_or_else(|| "\0".to_owned());
    Family { mark, groups: groups.into_iter().map(|(id, started)| Group { id, started }).collect() }
}

/// Takes the signals' default effect away for as long as the process lives.
#[cfg(unix)]
fn ignore_signals() -> Vec<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watcher_knows_the_groups_that_are_left() {
        let family = read_family(&b"mark 1-ab.\n+ 10 77\n+ 11\nnoise\n+ x\n+ 12 5\n- 12\n- 99\n"[..]);
        assert_eq!(family.mark, "1-ab.");
        assert_eq!(family.groups, [Group { id: 10, started: Some(77) }, Group { id: 11, started: None }]);
        assert_eq!(read_family(&b""[..]).mark, "\0");
    }
}
