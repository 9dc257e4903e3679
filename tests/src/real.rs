//! Real MCP servers at pinned versions, as `cargo xtask install-servers` puts them into the cache folder. They run unmodified.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    era::Era,
    process::{cache_dir, run},
};

/// One of the eight servers that the host is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RealServer {
    Everything,
    Filesystem,
    Memory,
    SequentialThinking,
    Git,
    Time,
    Fetch,
    Sqlite,
}

impl RealServer {
    pub const ALL: [Self; 8] = [
        Self::Everything,
        Self::Filesystem,
        Self::Memory,
        Self::SequentialThinking,
        Self::Git,
        Self::Time,
        Self::Fetch,
        Self::Sqlite,
    ];

    /// The newest era that the server speaks.
    pub fn era(self) -> Era {
        match self {
            Self::Git | Self::Time | Self::Fetch => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// Program and arguments for a server that works on the files in `dir`.
    pub fn command(self, dir: &Path) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        match self {
            Self::Everything => node_server("mcp-server-everything", &["stdio"]),
            Self::Filesystem => node_server("mcp-server-filesystem", &[&path(dir)]),
            Self::Memory => node_server("mcp-server-memory", &[]),
            Self::SequentialThinking => node_server("mcp-server-sequential-thinking", &[]),
            Self::Git => python_server("current", "mcp-server-git", &["--repository", &path(dir)]),
            Self::Time => python_server("current", "mcp-server-time", &["--local-timezone", "UTC"]),
            // It may fetch from this machine, and does not look for a robots.txt first.
            Self::Fetch => {
                python_server("current", "mcp-server-fetch", &["--allow-private-ips", "--ignore-robots-txt"])
            }
            Self::Sqlite => python_server("sqlite", "mcp-server-sqlite", &["--db-path", &path(&dir.join("data.db"))]),
        }
    }

    /// What the server needs in its environment.
    pub fn env(self, dir: &Path) -> Vec<(&'static str, String)> {
        match self {
            Self::Memory => vec![("MEMORY_FILE_PATH", dir.join("memory.jsonl").display().to_string())],
            // Everything shows its environment to the caller, which must be the same with and without the host.
            Self::Everything => vec![("SHOWN", "on purpose".to_owned())],
            // Without a `node` on its path it does not install a package of its own at the first call.
            Self::Fetch => vec![("PATH", String::new())],
            _ => Vec::new(),
        }
    }

    /// The entry of `backends`.
    pub fn entry(self, name: &str, dir: &Path) -> Value {
        let command = self.command(dir);
        let env: serde_json::Map<_, _> =
            self.env(dir).into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        json!({ "name": name, "transport": "stdio", "command": command[0], "args": command[1..], "env": env })
    }

    /// The same server without the host, in the environment that the host gives to its children.
    pub fn direct(self, dir: &Path) -> Command {
        let command = self.command(dir);
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).env_clear();
        for name in ["PATH", "HOME", "USER", "LANG", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                process.env(name, value);
            }
        }
        process.envs(self.env(dir));
        process
    }
}

/// Node 22 from the cache folder: not every machine's own is new enough for the clients.
pub fn node() -> PathBuf {
    installed(&node_dir().join("node_modules/.bin/node"))
}

/// The folder with `node_modules`.
pub fn node_dir() -> PathBuf {
    cache_dir().join("node")
}

/// A program of one of the Python environments.
pub fn python(environment: &str, program: &str) -> PathBuf {
    installed(&cache_dir().join("python").join(environment).join("bin").join(program))
}

fn node_server(name: &str, arguments: &[&str]) -> Vec<String> {
    let script = installed(&node_dir().join("node_modules/.bin").join(name));
    let program = [node().display().to_string(), script.display().to_string()];
    program.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
}

fn python_server(environment: &str, name: &str, arguments: &[&str]) -> Vec<String> {
    let program = python(environment, name).display().to_string();
    std::iter::once(program).chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
}

fn installed(path: &Path) -> PathBuf {
    assert!(path.exists(), "{} is missing: `cargo xtask install-servers` installs it", path.display());
    path.to_owned()
}

/// Makes a git repository with one commit, the same one wherever and whenever it is made.
pub async fn make_repository(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("README.md"), "# A repository\n").unwrap();
    for arguments in [
        &["init", "-q", "-b", "main"][..],
        &["config", "user.name", "Test"],
        &["config", "user.email", "test@example.com"],
        &["add", "."],
        &["commit", "-q", "-m", "first"],
    ] {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(dir);
        git.env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z").env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z");
        let (code, _, stderr) = run(&mut git).await;
        assert_eq!(code, Some(0), "git {arguments:?}: {stderr}");
    }
}
