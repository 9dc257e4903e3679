//! The command line: what it prints and how it ends.

use serde_json::Value;
use tokio::process::Command;
use vmcp_tests::{
    FakeBackend, TestHost,
    process::{binary, run},
};

fn vmcp_host() -> Command {
    let mut command = Command::new(binary("vmcp-host"));
    command.env("NO_COLOR", "1");
    command
}

#[tokio::test]
async fn validate_prints_every_problem_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    let text = "name: bad
backends:
  - { name: a, transport: stdoi, command: x }
  - { name: a, command: y }
aggregation:
  conflictResolutoin: prefix
server: { bodyLimit: lots }
";
    std::fs::write(&file, text).unwrap();
    let (code, stdout, stderr) = run(vmcp_host().arg("validate").arg("-c").arg(&file)).await;
    let printed = stdout + &stderr;
    assert!(code.is_some_and(|code| code != 0), "{printed}");
    for wanted in ["bad.yaml:3:", "bad.yaml:4:", "bad.yaml:6:", "bad.yaml:7:", "conflictResolution"] {
        assert!(printed.contains(wanted), "{wanted} is missing in:\n{printed}");
    }
}

#[tokio::test]
async fn validate_accepts_what_serve_takes_and_tells_each_keys_fate() {
    let written = TestHost::builder().backend("b", FakeBackend::echo(["a"])).write().await;
    let (code, stdout, stderr) = run(written.subcommand("validate").arg("-c").arg(&written.config)).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = run(written.subcommand("validate").arg("--json").arg("-c").arg(&written.config)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let fates: Value = serde_json::from_str(&stdout).unwrap();
    assert!(fates.to_string().contains("honoured"), "{fates}");
}

#[tokio::test]
async fn serve_refuses_a_bad_file_before_anything_starts() {
    let builder = TestHost::builder();
    let pids = builder.dir().join("pids");
    let ended = builder.backend("b", FakeBackend::echo(["a"]).pid_file(&pids)).yaml("nonsense: 1").fail().await;
    assert!(ended.code.is_some_and(|code| code != 0));
    assert!(ended.stderr.contains("nonsense"), "{}", ended.stderr);
    assert!(!pids.exists(), "no backend was started");
}

#[tokio::test]
async fn a_taken_port_is_said_before_backends_start() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let builder = TestHost::builder();
    let pids = builder.dir().join("pids");
    let written = builder.backend("b", FakeBackend::echo(["a"]).pid_file(&pids)).write().await;
    let mut serve = written.subcommand("serve");
    let (code, stdout, stderr) = run(serve.arg("-c").arg(&written.config).args(["-p", &port])).await;
    assert!(code.is_some_and(|code| code != 0), "{stdout}");
    let wanted = format!("port {port} is already in use, try 'vmcp-host serve ");
    assert!(stderr.contains(&wanted) && stderr.contains("-p 0"), "{stderr}");
    assert!(!pids.exists(), "no backend was started");
}

#[tokio::test]
async fn anonymous_access_from_elsewhere_needs_a_flag() {
    let ended = TestHost::builder().backend("b", FakeBackend::echo(["a"])).arg("--host").arg("0.0.0.0").fail().await;
    assert!(ended.code.is_some_and(|code| code != 0));
    assert!(ended.stderr.contains("--allow-anonymous-remote"), "{}", ended.stderr);
}

#[tokio::test]
async fn at_ready_the_host_says_what_it_serves() {
    let host = TestHost::builder()
        .backend("github", FakeBackend::echo(["search"]))
        .backend("jira", FakeBackend::echo(["search"]))
        .start()
        .await;
    let printed = host.stdout();
    for wanted in [host.url.as_str(), "github", "jira", "smart 0.1.0 (2 of 2 renamed"] {
        assert!(printed.contains(wanted), "{wanted} is missing in:\n{printed}");
    }
}

#[tokio::test]
async fn version_names_the_program() {
    let (code, stdout, _) = run(vmcp_host().arg("version")).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("vmcp-host") && stdout.contains(env!("CARGO_PKG_VERSION")), "{stdout}");
}
