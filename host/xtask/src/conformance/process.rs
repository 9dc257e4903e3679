//! The processes of a run: backend, host and suite. What they write goes to files beside the results.

use std::{
    env, fs,
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::Run;
use crate::{cache::Cache, steps::start_failure};

/// Longest wait for a process to be ready. No measure of speed: it only ends a run that hangs.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often a process is looked at that is not ready yet.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest time for one scenario; those with tasks take some seconds, on a slow machine many.
const SCENARIO_MS: &str = "180000";

/// A server that ends with this.
pub(super) struct Server {
    child: Child,
    /// Where the suite finds it.
    pub(super) url: String,
    /// Removed at the end.
    folder: Option<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the suite has noticed then.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The backend of the run over streamable HTTP, and its URL.
pub(super) fn start_fixture(cache: &Cache, run: &Run) -> anyhow::Result<(Server, String)> {
    let mut command = Command::new(cache.binary("debug", "fixture-backend"));
    command.args(["--era", run.era.name(), "--transport", "http"]).arg("--log").arg(run.results.join("backend.jsonl"));
    let server = start(&mut command, run, "backend", None)?;
    let url = server.url.clone();
    Ok((server, url))
}

/// The host before that backend, with a configuration that leaves its names as they are.
pub(super) fn start_host(cache: &Cache, run: &Run, backend_url: &str) -> anyhow::Result<Server> {
    let folder =
        env::temp_dir().join(format!("vmcp-conformance-{}-{}", std::process::id(), run.name().replace(' ', "-")));
    fs::create_dir_all(&folder)?;
    // Compiled components are keyed by content, so that tests and runs share them.
    let compiled = cache.binary("debug", "test-component-cache");
    let config = format!(
        "name: conformance\nbackends:\n  - {{ name: backend, transport: streamable-http, url: {backend_url:?} }}\n\
         aggregation: {{ conflictResolution: smart, names: protocol }}\n\
         stateDir: {}\ncacheDir: {}\n",
        folder.join("state").display(),
        compiled.display(),
    );
    let file = folder.join("vmcp.yaml");
    fs::write(&file, &config)?;
    fs::write(run.results.join("vmcp.yaml"), &config)?;
    let mut command = Command::new(cache.binary("debug", "vmcp-host"));
    command.args(["serve", "-p", "0", "-c"]).arg(&file).env("NO_COLOR", "1");
    let server = start(&mut command, run, "host", Some(folder))?;
    wait_until_ready(&server.url)?;
    Ok(server)
}

/// Starts a server and waits for the URL that it prints.
fn start(command: &mut Command, run: &Run, name: &str, folder: Option<PathBuf>) -> anyhow::Result<Server> {
    let (stdout, stderr) = (run.results.join(format!("{name}.out")), run.results.join(format!("{name}.err")));
    command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let child = command.spawn().with_context(|| start_failure(command))?;
    let mut server = Server { child, url: String::new(), folder };
    let begun = Instant::now();
    loop {
        if let Some(url) = printed_url(&fs::read_to_string(&stdout)?) {
            server.url = url;
            return Ok(server);
        }
        if let Some(status) = server.child.try_wait()? {
            bail!("the {name} ended ({status}): {}", fs::read_to_string(&stderr)?.trim());
        }
        if begun.elapsed() > PATIENCE {
            bail!("the {name} printed no URL within {PATIENCE:?}; see {}", stderr.display());
        }
        pause();
    }
}

/// The first whole word that is a URL with the path of an MCP endpoint.
fn printed_url(text: &str) -> Option<String> {
    let (whole, _) = text.rsplit_once('\n')?;
    let url = whole.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:") && word.ends_with("/mcp"))?;
    Some(url.to_owned())
}

/// Waits for `/readyz`: until then the host does not know the backend's tools.
fn wait_until_ready(url: &str) -> anyhow::Result<()> {
    let authority = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let begun = Instant::now();
    while !is_ready(authority).unwrap_or(false) {
        if begun.elapsed() > PATIENCE {
            bail!("the host was not ready within {PATIENCE:?}");
        }
        pause();
    }
    Ok(())
}

fn is_ready(authority: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

#[expect(clippy::disallowed_methods, reason = "a command with nothing else to do")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// The suite as installed in `folder`.
pub(super) struct Suite<'a> {
    pub(super) folder: &'a Path,
    pub(super) run: &'a Run,
}

impl Suite<'_> {
    /// Runs all scenarios; what it printed. Its exit code says less than that.
    pub(super) fn test(&self, url: &str) -> anyhow::Result<String> {
        let modules = self.folder.join("node_modules");
        let printed = self.run.results.join("suite.txt");
        let output = File::create(&printed)?;
        let mut command = Command::new(modules.join(".bin/node"));
        command
            .arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"))
            .args(["server", "--url", url, "--requirements", self.run.requirements.name(), "--timeout", SCENARIO_MS])
            .arg("--output-dir")
            .arg(&self.run.results)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        command.status().with_context(|| start_failure(&command))?;
        Ok(fs::read_to_string(&printed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::printed_url;

    #[test]
    fn a_url_is_read_once_its_line_is_whole() {
        assert_eq!(printed_url(""), None);
        assert_eq!(printed_url("http://127.0.0.1:1/mcp"), None);
        assert_eq!(printed_url("http://127.0.0.1:1/mcp\n").as_deref(), Some("http://127.0.0.1:1/mcp"));
        assert_eq!(printed_url("  clients  http://127.0.0.1:1/mcp\nmore").as_deref(), Some("http://127.0.0.1:1/mcp"));
    }
}
