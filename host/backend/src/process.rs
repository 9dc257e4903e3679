//! One child process: started in a group of its own with a small environment, watched, and ended with all that came from it.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop};
use tokio::{
    io::AsyncReadExt as _,
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::info;
use vmcp_core::id::BackendId;

use crate::{
    connect::ConnectError,
    family::{self, Family, Group, MARK},
    noise::NoiseGate,
    watcher::{self, Watcher},
};

/// Stands for this very executable as a command.
const OWN_NAME: &str = "vmcp-host";

/// What every child gets from the host's environment; all else only when the configuration says so.
const INHERITED: &[&str] = if cfg!(windows) {
    &[
        "PATH",
        "PATHEXT",
        "SystemRoot",
        "SystemDrive",
        "TEMP",
        "TMP",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "USERNAME",
    ]
} else {
    &["PATH", "HOME", "USER", "LANG", "TMPDIR"]
};

/// Lines of standard error that a report quotes.
const QUOTED_LINES: usize = 5;
/// Bytes of standard error kept for it.
const TAIL: usize = 8 * 1024;
/// Longest line of standard error logged whole.
const LOGGED_LINE: usize = 2 * 1024;
/// Read from standard error at once.
const STDERR_CHUNK: usize = 64 * 1024;
/// Between two reads of a flood: at most 16 MiB a second.
const FLOOD_STEP: Duration = Duration::from_millis(4);
/// What members of a process's family have to finish after it ended.
const FAMILY_PATIENCE: Duration = Duration::from_millis(500);

/// A command to start.
pub(crate) struct Launch<'a> {
    pub(crate) command: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [(String, String)],
    pub(crate) cwd: Option<&'a PathBuf>,
}

/// A child process, running or not. All clones of its owner gone, it is killed.
pub(crate) struct Process {
    pub(crate) pid: u32,
    phase: watch::Receiver<Phase>,
    ending: watch::Sender<Option<Duration>>,
    stderr: Arc<StderrTail>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    /// The process itself ended.
    Exited(Option<ExitStatus>),
    /// So did all that came from it.
    Gone(Option<ExitStatus>),
}

impl Process {
    /// Starts the command. Its standard error goes to the log.
    pub(crate) fn start(
        backend: &BackendId,
        launch: &Launch<'_>,
        watcher: Option<&Watcher>,
        tasks: &TaskTracker,
    ) -> Result<(Self, ChildStdin, ChildStdout), ConnectError> {
        let mark = next_mark();
        let mut command = command(launch, &mark)?;
        let mut child = command.spawn().map_err(|error| spawn_error(launch, &error))?;
        let (Some(pid), Some(stdin), Some(stdout), Some(stderr)) =
            (child.id(), child.stdin().take(), child.stdout().take(), child.stderr().take())
        else {
            return Err(ConnectError::new(format!("`{}` ended while it was started", launch.command)));
        };
        let started = family::start_time(pid);
        if let Some(watcher) = watcher {
            watcher.add(pid, started);
        }
        let id = i32::try_from(pid).unwrap_or(0);
        let family = Family { mark, groups: vec![Group { id, started }] };
        let tail = Arc::new(StderrTail::default());
        let (phase_sender, phase) = watch::channel(Phase::Running);
        let (ending, ending_receiver) = watch::channel(None);
        tasks.spawn(read_stderr(stderr, backend.clone(), tail.clone()));
        let watcher = watcher.cloned();
        tasks.spawn(async move {
            tend(child, &family, &phase_sender, ending_receiver).await;
            if let Some(watcher) = watcher {
                watcher.remove(pid);
            }
        });
        Ok((Self { pid, phase, ending, stderr: tail }, stdin, stdout))
    }

    /// Waits until the process itself has ended, and says how.
    pub(crate) async fn exited(&self) -> String {
        let mut phase = self.phase.clone();
        let status = match phase.wait_for(|phase| !matches!(phase, Phase::Running)).await.as_deref() {
            Ok(Phase::Exited(status) | Phase::Gone(status)) => *status,
            _ => None,
        };
        status.map_or_else(|| "ended".to_owned(), describe)
    }

    /// Whether the process has ended.
    pub(crate) fn has_exited(&self) -> bool {
        !matches!(*self.phase.borrow(), Phase::Running)
    }

    /// Ends the process within `grace`, and with it all that came from it. Its input must be closed by the caller: that is
    /// the first sign; SIGTERM comes after half of the time, SIGKILL at its end.
    pub(crate) fn end(&self, grace: Duration) {
        self.ending.send_if_modified(|ending| {
            let is_sooner = ending.is_none_or(|planned| grace < planned);
            if is_sooner {
                *ending = Some(grace);
            }
            is_sooner
        });
    }

    /// Waits until nothing of it is left.
    pub(crate) async fn gone(&self) {
        let mut phase = self.phase.clone();
        drop(phase.wait_for(|phase| matches!(phase, Phase::Gone(_))).await);
    }

    /// How it ended, if it did just now: also waits a moment for its last words to arrive.
    pub(crate) async fn obituary(&self) -> Option<String> {
        let how = timeout(Duration::from_millis(200), self.exited()).await.ok()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some(how)
    }

    /// The last lines that it wrote to standard error, oldest first.
    pub(crate) fn last_words(&self) -> Vec<String> {
        self.stderr.last_lines()
    }
}

/// A mark that no other process has; each begins with [`watcher::RUN`].
fn next_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}{}.", *watcher::RUN, COUNT.fetch_add(1, Ordering::Relaxed))
}

fn command(launch: &Launch<'_>, mark: &str) -> Result<CommandWrap, ConnectError> {
    if let Some(cwd) = launch.cwd.filter(|cwd| !cwd.is_dir()) {
        return Err(ConnectError::new(format!("its working directory `{}` does not exist", cwd.display())));
    }
    let program = if launch.command == OWN_NAME {
        let own = std::env::current_exe();
        own.map_err(|error| ConnectError::new(format!("cannot tell the host's own executable: {error}")))?
    } else {
        PathBuf::from(launch.command)
    };
    let mut command = CommandWrap::with_new(program, |command| {
        command.args(launch.args).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        command.envs(launch.env.iter().map(|(name, value)| (name, value))).env(MARK, mark);
        if let Some(cwd) = launch.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    command.wrap(KillOnDrop);
    #[cfg(unix)]
    command.wrap(process_wrap::tokio::ProcessGroup::leader());
    Ok(command)
}

fn spawn_error(launch: &Launch<'_>, error: &std::io::Error) -> ConnectError {
    let command = launch.command;
    let is_path = command.contains(std::path::MAIN_SEPARATOR);
    let message = format!("cannot start `{command}`: {error}");
    match error.kind() {
        std::io::ErrorKind::NotFound if is_path => {
            ConnectError::new(message).hint(format!("`{command}` does not exist"))
        }
        std::io::ErrorKind::NotFound => ConnectError::new(message)
            .hint(format!("`{command}` was not found on PATH; install it or write its full path")),
        std::io::ErrorKind::PermissionDenied => {
            ConnectError::new(message).hint(format!("`{command}` is not executable for this user"))
        }
        _ => ConnectError::new(message),
    }
}

/// Waits for the end of `child`, or brings it about when asked; then ends what it left behind.
async fn tend(
    mut child: Box<dyn ChildWrapper>,
    family: &Family,
    phase: &watch::Sender<Phase>,
    mut ending: watch::Receiver<Option<Duration>>,
) {
    let status = tokio::select! {
        biased;
        status = child.wait() => status.ok(),
        grace = asked_to_end(&mut ending) => end(&mut *child, family, grace, &mut ending).await,
    };
    phase.send_replace(Phase::Exited(status));
    family.end(FAMILY_PATIENCE).await;
    phase.send_replace(Phase::Gone(status));
}

async fn asked_to_end(ending: &mut watch::Receiver<Option<Duration>>) -> Duration {
    // The owner gone without a word means: now.
    ending.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default()
}

async fn end(
    child: &mut dyn ChildWrapper,
    family: &Family,
    mut grace: Duration,
    ending: &mut watch::Receiver<Option<Duration>>,
) -> Option<ExitStatus> {
    let began = Instant::now();
    let mut asked = false;
    loop {
        let next = if asked { began + grace } else { began + grace / 2 };
        tokio::select! {
            biased;
            status = child.wait() => return status.ok(),
            // A shorter time may be set while the longer runs.
            Ok(()) = ending.changed() => grace = ending.borrow_and_update().unwrap_or(grace),
            () = tokio::time::sleep_until(next) => {
                if asked {
                    family.kill().await;
                    drop(child.start_kill());
                    return child.wait().await.ok();
                }
                family.ask_to_end().await;
                asked = true;
            }
        }
    }
}

/// `exited with code 3`, `was ended by signal 9`.
fn describe(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("was ended by signal {signal}");
    }
    status.code().map_or_else(|| "ended".to_owned(), |code| format!("exited with code {code}"))
}

/// The end of what a process wrote to standard error.
#[derive(Debug, Default)]
struct StderrTail {
    text: Mutex<Vec<u8>>,
}

impl StderrTail {
    fn extend(&self, more: &[u8]) {
        let mut text = self.text.lock().expect("no panic while held");
        text.extend_from_slice(&more[more.len().saturating_sub(TAIL)..]);
        let surplus = text.len().saturating_sub(TAIL);
        text.drain(..surplus);
    }

    fn last_lines(&self) -> Vec<String> {
        let text = self.text.lock().expect("no panic while held");
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(QUOTED_LINES)..].iter().map(|line| shortened(line)).collect()
    }
}

fn shortened(line: &str) -> String {
    const QUOTED: usize = 400;
    match line.char_indices().nth(QUOTED) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

/// Reads what the backend says on its standard error, all of it: a full pipe would stop it. A flood is read in even steps
/// and only counted, so that it costs the others nothing.
async fn read_stderr(mut source: ChildStderr, backend: BackendId, tail: Arc<StderrTail>) {
    let gate = NoiseGate::new();
    let mut chunk = vec![0; STDERR_CHUNK];
    let mut line = Vec::new();
    while let Ok(length @ 1..) = source.read(&mut chunk).await {
        tail.extend(&chunk[..length]);
        if gate.is_closed() {
            gate.hold(memchr::memchr_iter(b'\n', &chunk[..length]).count());
            line.clear();
            // What comes meanwhile gathers in the pipe, instead of waking this task line by line.
            tokio::time::sleep(FLOOD_STEP).await;
            continue;
        }
        for part in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
            let room = LOGGED_LINE.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                log_line(&backend, &gate, &line);
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        log_line(&backend, &gate, &line);
    }
}

fn log_line(backend: &BackendId, gate: &NoiseGate, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    match gate.pass() {
        Some(0) => info!(target: "backend", backend = %backend, "{text}"),
        Some(held) => info!(target: "backend", backend = %backend, held_back = held, "{text}"),
        None => {}
    }
}
