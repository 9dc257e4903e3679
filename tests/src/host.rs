//! The host as users run it: the built binary, a configuration file, a free port, folders of its own.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::{
    baked,
    client::TestClient,
    era::Era,
    fake::FakeBackend,
    http,
    process::{self, PATIENCE, ServerProcess, eventually, profile_dir, to_pid},
    real::RealServer,
    stdio_client::StdioClient,
};

/// What a test says before its host starts.
#[derive(Debug)]
#[must_use]
pub struct HostBuilder {
    dir: Arc<TempDir>,
    fakes: Vec<(String, FakeBackend, Value)>,
    entries: Vec<Value>,
    yaml: String,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    shell: Option<String>,
    has_name: bool,
}

impl HostBuilder {
    pub fn backend(self, name: &str, backend: FakeBackend) -> Self {
        self.backend_with(name, backend, Value::Null)
    }

    /// With more keys in its entry of `backends`.
    pub fn backend_with(mut self, name: &str, backend: FakeBackend, keys: Value) -> Self {
        self.fakes.push((name.to_owned(), backend, keys));
        self
    }

    /// A real server whose files lie in a folder `name` of the host's folder.
    pub fn real(mut self, name: &str, server: RealServer) -> Self {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.entries.push(server.entry(name, &dir));
        self
    }

    /// An entry of `backends` as it stands in the file.
    pub fn entry(mut self, entry: Value) -> Self {
        self.entries.push(entry);
        self
    }

    /// More top-level keys.
    pub fn yaml(mut self, yaml: &str) -> Self {
        self.has_name |= yaml.lines().any(|line| line.starts_with("name:"));
        writeln!(self.yaml, "{yaml}").unwrap();
        self
    }

    /// More arguments of `serve`.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A line that a shell runs before it becomes the host, for what is inherited: limits, signals.
    pub fn shell(mut self, line: &str) -> Self {
        self.shell = Some(line.to_owned());
        self
    }

    /// The folder with the configuration, the state and the files of real servers.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration, starts what its backends need, and returns the file.
    pub async fn write(self) -> WrittenHost {
        let written = self.write_as_it_is().await;
        if baked::is_wanted() {
            baked::bake_composites(&written).await;
        }
        written
    }

    async fn write_as_it_is(mut self) -> WrittenHost {
        let mut servers = Vec::new();
        for (name, backend, keys) in std::mem::take(&mut self.fakes) {
            let (mut entry, server) = backend.entry(&name).await;
            entry.as_object_mut().unwrap().extend(keys.as_object().cloned().unwrap_or_default());
            self.entries.push(entry);
            servers.extend(server.map(|server| (name, server)));
        }
        let mut text = self.yaml.clone();
        if !self.has_name {
            text.insert_str(0, "name: test\n");
        }
        if !self.entries.is_empty() {
            text.push_str("backends:\n");
        }
        for entry in &self.entries {
            writeln!(text, "  - {entry}").unwrap();
        }
        writeln!(text, "stateDir: {}", self.dir().join("state").display()).unwrap();
        // Compiled components are keyed by content, so that the hosts of all tests share them.
        writeln!(text, "cacheDir: {}", profile_dir().join("test-component-cache").display()).unwrap();
        let config = self.dir().join("vmcp.yaml");
        std::fs::write(&config, text).unwrap();
        let Self { dir, arguments, env, shell, .. } = self;
        WrittenHost { config, servers, dir, arguments, env, shell }
    }

    /// Starts the host and waits until it is ready.
    pub async fn start(self) -> TestHost {
        self.write().await.start().await
    }

    /// Starts a host that ends by itself.
    pub async fn fail(self) -> Ended {
        // What it complains of has a place in this very file.
        let written = self.write_as_it_is().await;
        let mut command = written.command();
        command.args(["-p", "0"]).args(&written.arguments);
        let (code, stdout, stderr) = process::run(&mut command).await;
        Ended { code, stdout, stderr }
    }
}

/// How a host ended that was not asked to.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A configuration on disk and the servers it names.
#[derive(Debug)]
pub struct WrittenHost {
    pub config: PathBuf,
    pub servers: Vec<(String, ServerProcess)>,
    dir: Arc<TempDir>,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    shell: Option<String>,
}

impl WrittenHost {
    /// `vmcp-host serve -c FILE` without further arguments.
    fn command(&self) -> Command {
        let mut command = self.subcommand("serve");
        command.arg("-c").arg(&self.config);
        command
    }

    /// A subcommand in the environment of this host.
    pub fn subcommand(&self, name: &str) -> Command {
        let binary = process::binary("vmcp-host");
        let mut command = match &self.shell {
            Some(line) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{line}; exec \"$0\" \"$@\"")]).arg(binary);
                shell
            }
            None => Command::new(binary),
        };
        command.arg(name).envs(self.env.iter().cloned()).env("NO_COLOR", "1");
        command
    }

    pub async fn start(self) -> TestHost {
        self.start_on(0).await
    }

    pub async fn start_on(self, port: u16) -> TestHost {
        let mut host = self.launch(port);
        host.url = host.printed_url().await;
        host.wait_until_ready().await;
        host
    }

    /// Starts without waiting for anything; the URL is a guess unless the port is free.
    pub fn launch(self, port: u16) -> TestHost {
        let mut child = self
            .command()
            .args(["-p", &port.to_string()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        TestHost { url: format!("http://127.0.0.1:{port}/mcp"), child, stdout, stderr, written: self }
    }

    /// Serves over stdin and stdout to a client of `era`.
    pub async fn serve_stdio(&self, era: Era) -> StdioClient {
        let mut command = self.command();
        command.arg("--stdio").args(&self.arguments);
        StdioClient::start(&mut command, era, serde_json::json!({})).await
    }
}

/// A running host; killed when dropped, its stderr shown when the test panics.
#[derive(Debug)]
pub struct TestHost {
    pub url: String,
    pub written: WrittenHost,
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl TestHost {
    pub fn builder() -> HostBuilder {
        let dir = tempfile::Builder::new().prefix("vmcp-test-").tempdir().unwrap();
        HostBuilder {
            dir: Arc::new(dir),
            fakes: Vec::new(),
            entries: Vec::new(),
            yaml: String::new(),
            arguments: Vec::new(),
            env: Vec::new(),
            shell: None,
            has_name: false,
        }
    }

    /// A legacy client.
    pub async fn connect(&self) -> TestClient {
        TestClient::legacy(&self.url).await
    }

    pub fn connect_modern(&self) -> TestClient {
        TestClient::modern(&self.url)
    }

    pub fn dir(&self) -> &Path {
        self.written.dir.path()
    }

    /// A URL beside `/mcp`.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.strip_suffix("/mcp").unwrap())
    }

    pub async fn status(&self) -> Value {
        serde_json::from_str(&http::get(&self.at("/status")).await.unwrap().text().await).unwrap()
    }

    /// What the host tells its owner.
    pub async fn doctor(&self) -> Value {
        let mut doctor = self.written.subcommand("doctor");
        let (code, stdout, stderr) = process::run(doctor.arg("--json").arg("-c").arg(&self.written.config)).await;
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} ({code:?}): {stdout}{stderr}"))
    }

    /// One backend's entry of `/status`.
    pub async fn backend_status(&self, name: &str) -> Value {
        let status = self.status().await;
        let backend = status["backends"].as_array().and_then(|all| all.iter().find(|backend| backend["name"] == name));
        backend.unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the host runs")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stderr holds `text`.
    pub async fn wait_for_log(&self, text: &str) {
        self.stderr.wait_for(text).await;
    }

    pub async fn is_ready(&self) -> bool {
        matches!(http::get(&self.at("/readyz")).await, Ok(response) if response.status == 200)
    }

    pub async fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "the host is not ready ({ended:?})");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn printed_url(&self) -> String {
        let found = |text: &str| {
            let start = text.find("http://127.0.0.1:")?;
            let url = text[start..].split_whitespace().next()?;
            url.ends_with("/mcp").then(|| url.to_owned())
        };
        self.stdout.wait_until(|text| found(text).is_some()).await;
        found(&self.stdout.text()).expect("it was there a moment ago")
    }

    /// SIGTERM; how the host ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        kill_process(to_pid(self.pid()), Signal::TERM).unwrap();
        timeout(PATIENCE, self.child.wait()).await.expect("SIGTERM ends the host").unwrap()
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends the host and starts it again with the same files.
    pub async fn restart(mut self) -> Self {
        self.terminate().await;
        self.take_written().start().await
    }

    /// kill -9, and a new start with the same files on the same port.
    pub async fn crash(mut self) -> Self {
        self.kill().await;
        let port = self.port();
        self.take_written().start_on(port).await
    }

    /// The port that it listens on, or did.
    pub fn port(&self) -> u16 {
        let (authority, _) = http::split_url(&self.url);
        authority.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Its files and servers, for a host after this one.
    pub fn take_written(&mut self) -> WrittenHost {
        let Self { written, .. } = self;
        WrittenHost {
            config: written.config.clone(),
            servers: std::mem::take(&mut written.servers),
            dir: Arc::clone(&written.dir),
            arguments: written.arguments.clone(),
            env: written.env.clone(),
            shell: written.shell.clone(),
        }
    }

    /// Waits until the catalog has this tool.
    pub async fn wait_for_tool(&self, name: &str) {
        let client = self.connect_modern();
        eventually(&format!("tool {name}"), PATIENCE, || async {
            use crate::mcp::Mcp;
            client.tool_names().await.iter().any(|tool| tool == name)
        })
        .await;
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        #[expect(clippy::print_stderr, reason = "a failing test shows what its host said")]
        if std::thread::panicking() {
            let config = std::fs::read_to_string(&self.written.config).unwrap_or_default();
            eprintln!("--- vmcp.yaml\n{config}--- host stdout\n{}--- host stderr\n{}---", self.stdout(), self.stderr());
        }
    }
}

/// What a process wrote so far.
#[derive(Debug)]
struct Output {
    text: watch::Receiver<String>,
}

impl Output {
    fn of(pipe: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let (sender, text) = watch::channel(String::new());
        let mut lines = BufReader::new(pipe).lines();
        #[expect(clippy::disallowed_methods, reason = "ends with the process")]
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // The end of a flood is as good as all of it.
                sender.send_modify(|text| {
                    if text.len() > 4 << 20 {
                        text.clear();
                    }
                    text.push_str(&line);
                    text.push('\n');
                });
            }
        });
        Self { text }
    }

    fn text(&self) -> String {
        self.text.borrow().clone()
    }

    async fn wait_for(&self, wanted: &str) {
        self.wait_until(|text| text.contains(wanted)).await;
    }

    async fn wait_until(&self, is_so: impl Fn(&str) -> bool) {
        let mut text = self.text.clone();
        let outcome = timeout(PATIENCE, text.wait_for(|text| is_so(text))).await;
        let held = matches!(&outcome, Ok(Ok(_)));
        drop(outcome);
        assert!(held, "the host did not write what the test waits for");
    }
}
