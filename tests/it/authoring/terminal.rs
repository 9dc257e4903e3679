//! What `workflow run` asks a person at a terminal, and how it reads the answers.

use std::{fs, process::Stdio};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};
use vmcp_tests::{
    host::WrittenHost,
    process::{self, PATIENCE},
};

use super::questions::{asking, structured};

/// A command on a terminal of its own, as `script` of util-linux gives one.
struct Terminal {
    child: Child,
    shown: String,
}

impl Terminal {
    fn start(written: &WrittenHost) -> Self {
        let line = "exec \"$VMCP_HOST\" workflow run asks.yaml --json -c vmcp.yaml 2>&1 >result.json";
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", "exec sh -c \"$LINE\"", "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("LINE", line)
            .env("VMCP_HOST", process::binary("vmcp-host"))
            .env("NO_COLOR", "1")
            .current_dir(written.config.parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("util-linux has `script`");
        Self { child, shown: String::new() }
    }

    /// Waits until the terminal shows `prompt` after all that was entered, and enters `keys`.
    async fn enter(&mut self, prompt: &str, keys: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut bytes = [0; 1024];
        while !self.shown.ends_with(prompt) {
            let read = timeout(PATIENCE, stdout.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("no {prompt:?} in {:?}", self.shown)).unwrap_or_default();
            assert_ne!(read, 0, "no {prompt:?} in {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).await.unwrap();
    }

    /// The exit code, and what was shown.
    async fn end(mut self) -> (Option<i32>, String) {
        let mut stdout = self.child.stdout.take().unwrap();
        // It ends with the command.
        timeout(PATIENCE, stdout.read_to_string(&mut self.shown)).await.expect("the command ends").unwrap();
        (self.child.wait().await.unwrap().code(), self.shown)
    }
}

#[tokio::test]
async fn a_person_at_a_terminal_is_asked_line_by_line() {
    let written = asking().await;
    let result = || structured(&fs::read_to_string(written.config.with_file_name("result.json")).unwrap());
    let mut terminal = Terminal::start(&written);
    terminal.enter("count, a whole number [3]> ", "many\n").await;
    terminal.enter("many is no whole number\r\ncount, a whole number [3]> ", "\n").await;
    terminal.enter("forced, yes or no (may be empty)> ", "\n").await;
    terminal.enter("How far\r\n  1  canary\r\n  2  all\r\nstage> ", "\n").await;
    terminal.enter("`stage` is needed\r\nstage> ", "2\n").await;
    terminal.enter("yes or no> ", "y\n").await;
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(0), "{shown}");
    let content = json!({ "count": 3, "stage": "all" });
    assert_eq!(result(), json!({ "stage": { "action": "accept", "content": content }, "sure": "accept" }), "{shown}");
    assert!(shown.contains("Roll out?\r\n(!decline says no, !cancel or Ctrl-D gives no answer)\r\n"), "{shown}");
    assert!(shown.contains("Sure?\u{fffd}[2K"), "what is asked does not command the terminal: {shown:?}");

    let mut terminal = Terminal::start(&written);
    terminal.enter("count, a whole number [3]> ", "!decline\n").await;
    assert_eq!(terminal.end().await.0, Some(0));
    assert_eq!(result()["stage"], json!({ "action": "decline" }));

    for end in ["!cancel\n", "\u{4}"] {
        let mut terminal = Terminal::start(&written);
        terminal.enter("count, a whole number [3]> ", end).await;
        let (code, shown) = terminal.end().await;
        assert_eq!(code, Some(7), "{shown}");
        let text = fs::read_to_string(written.config.with_file_name("result.json")).unwrap();
        assert!(text.contains("step `stage` failed: the user cancelled"), "{text}");
    }
}
