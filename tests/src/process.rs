//! Processes of the tests: where the binaries lie, servers that print their address, and waiting for what is only visible
//! from outside.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process, test_kill_process},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Longest wait for what must happen. No measure of speed: it only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The same for a program that does more than one thing.
const WHOLE_RUN: Duration = Duration::from_mins(10);

/// A binary of this workspace, in the profile that the tests were built in.
pub fn binary(name: &str) -> PathBuf {
    let path = profile_dir().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: `cargo xtask test` builds it before the tests", path.display());
    path
}

/// The folder of the built binaries: tests run from its subfolder `deps`.
pub fn profile_dir() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let dir = this.parent().unwrap();
    if dir.ends_with("deps") { dir.parent().unwrap().to_owned() } else { dir.to_owned() }
}

/// The folder outside the checkout with servers, clients and tools.
pub fn cache_dir() -> PathBuf {
    let named = std::env::var_os("VMCP_CACHE").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/vmcp-host"))
}

/// The checkout.
pub fn workspace_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A server that prints its address as the first line; killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    pub first_line: String,
    child: Child,
}

impl ServerProcess {
    pub async fn start(command: &[String]) -> Self {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first_line = timeout(PATIENCE, lines.next_line()).await.expect("the server prints its address");
        Self { first_line: first_line.unwrap().expect("the server prints before it ends"), child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// kill -9, then waits for the end.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Runs a program to its end; `(exit code, stdout, stderr)`.
pub async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let both = async { tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err), child.wait()) };
    let (_, _, status) = timeout(WHOLE_RUN, both).await.unwrap_or_else(|_| panic!("{command:?} did not end"));
    (status.unwrap().code(), out, err)
}

/// kill -9. Who is gone already is as good as killed: hosts end what is left of a backend.
pub fn kill_9(pid: u32) {
    let killed = kill_process(to_pid(pid), Signal::KILL);
    assert!(matches!(killed, Ok(()) | Err(Errno::SRCH)), "{pid}: {killed:?}");
}

/// Whether a process of this id runs; one that ended and waits for its parent does not.
pub fn is_running(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    match state.as_deref().and_then(|stat| stat.rsplit(") ").next()?.chars().next()) {
        Some(state) => state != 'Z',
        None => !Path::new("/proc/self").exists() && test_kill_process(to_pid(pid)).is_ok(),
    }
}

/// Processes whose parent is `pid`, and theirs.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
    };
    let all: Vec<u32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(all.iter().filter(|child| parent_of(**child) == Some(parent)));
        next += 1;
    }
    found.remove(0);
    found
}

pub fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Ids that processes wrote into a `pidFile`.
pub fn read_pids(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Asks every 20 ms until the answer is yes; panics with `what` when `within` is over.
pub async fn eventually<F: Future<Output = bool>>(what: &str, within: Duration, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < within, "{what}: not within {within:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
