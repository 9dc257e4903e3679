//! A stdio server without anything between: as many calls under way as a window allows.

use std::{
    collections::HashMap,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::stats::Latencies;
use crate::era::add_modern_meta;

/// A child process that is called through its pipes.
pub(super) struct Pipe {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    _child: Child,
}

impl Pipe {
    pub(super) fn open(command: &[String]) -> Self {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { stdin, stdout: BufReader::with_capacity(128 << 10, stdout).lines(), next_id: 1, _child: child }
    }

    /// Calls `tool` for `time`, keeping `window` calls under way.
    pub(super) async fn measure(&mut self, tool: &str, arguments: &Value, window: usize, time: Duration) -> Latencies {
        let mut params = json!({ "name": tool, "arguments": arguments });
        add_modern_meta(&mut params, &json!({}));
        let body = format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{params},"id":"#);
        let mut latencies = Latencies::default();
        let mut under_way: HashMap<u64, Instant> = HashMap::new();
        let start = Instant::now();
        loop {
            while under_way.len() < window && start.elapsed() < time {
                self.stdin.write_all(format!("{body}{}}}\n", self.next_id).as_bytes()).await.unwrap();
                under_way.insert(self.next_id, Instant::now());
                self.next_id += 1;
            }
            if under_way.is_empty() {
                break;
            }
            let line = self.stdout.next_line().await.unwrap().expect("the server runs");
            let id = line.split_once("\"id\":").map(|(_, rest)| rest.trim_end_matches(|c: char| !c.is_ascii_digit()));
            let id = id.and_then(|id| id.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok());
            if let Some(begun) = id.and_then(|id| under_way.remove(&id)) {
                latencies.push(begun.elapsed());
            }
        }
        latencies.took = start.elapsed();
        latencies
    }
}
