//! One bad backend never hides the others, slows them, or loses a client.

use std::time::Duration;

use serde_json::json;
use vmcp_tests::{
    Behaviour, FakeBackend, Mcp, TestHost,
    bench::faults::{FAULTS, Fault, others_during},
    eventually,
    process::{PATIENCE, kill_9, read_pids},
};

fn frail() -> FakeBackend {
    FakeBackend::echo(["echo"]).tool("never", Behaviour::Never).tool("calls", Behaviour::Calls)
}

#[tokio::test]
async fn a_killed_backend_fails_its_call_at_once_and_comes_back_by_itself() {
    for modern in [false, true] {
        let builder = TestHost::builder();
        let pids = builder.dir().join("pids");
        let mut backend = frail().pid_file(&pids);
        if modern {
            backend = backend.modern();
        }
        let host = builder.backend("frail", backend).start().await;
        let client = host.connect().await;
        assert_eq!(client.call("echo", json!({})).await.answered_by(), "frail");
        let (reply, ()) = tokio::join!(client.call("never", json!({})), async {
            client.call("calls", json!({ "tool": "never" })).await.result();
            read_pids(&pids).into_iter().for_each(kill_9);
        });
        assert_eq!(reply.error_kind(), "connectionLost", "long before it would be a timeout");
        assert_eq!(reply.error()["data"]["backend"], "frail");
        eventually("the backend is back with its tools", PATIENCE, || async {
            client.call("echo", json!({})).await.message.get("result").is_some()
        })
        .await;
        assert_eq!(client.tool_names().await, ["calls", "echo", "never"], "its names were never gone");
        assert!(read_pids(&pids).len() >= 2, "it was started again");
    }
}

#[tokio::test]
async fn a_killed_http_backend_is_used_again_when_it_is_back() {
    let frail = frail().http();
    let mut host = TestHost::builder().backend("frail", frail.clone()).start().await;
    let client = host.connect().await;
    assert_eq!(client.call("echo", json!({})).await.answered_by(), "frail");
    let server = &mut host.written.servers[0].1;
    let port = server.first_line.rsplit_once(':').unwrap().1.trim_end_matches("/mcp").parse().unwrap();
    let (reply, ()) = tokio::join!(client.call("never", json!({})), async {
        client.call("calls", json!({ "tool": "never" })).await.result();
        server.kill().await;
    });
    assert_eq!(reply.error_kind(), "connectionLost", "long before it would be a timeout");
    let again = frail.with(|spec| {
        spec.port = port;
        spec.name = "again".to_owned();
    });
    let _server = vmcp_tests::process::ServerProcess::start(&again.command()).await;
    eventually("the backend is back", PATIENCE, || async {
        let reply = client.call("echo", json!({})).await;
        reply.message.get("result").is_some() && reply.answered_by() == "again"
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_dies_in_its_handshake_is_reported_with_its_last_words() {
    let dying = FakeBackend::echo(["gone"]).with(|spec| spec.dies_in_handshake = Some(42));
    let host = TestHost::builder().backend("sound", FakeBackend::echo(["fine"])).backend("dying", dying).start().await;
    assert_eq!(host.connect().await.tool_names().await, ["fine"]);
    assert_ne!(host.backend_status("dying").await["health"], "healthy");
    host.wait_for_log("dying, line 7").await;
    let log = host.stderr();
    assert!(log.contains("42") && log.contains("fake-backend") && log.contains("dying, line 3"), "{log}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named_with_a_hint() {
    let entry = json!({ "name": "absent", "transport": "stdio", "command": "no-such-program-here" });
    let host = TestHost::builder().backend("sound", FakeBackend::echo(["fine"])).entry(entry).start().await;
    assert_eq!(host.connect().await.tool_names().await, ["fine"]);
    host.wait_for_log("no-such-program-here").await;
    assert!(host.stderr().contains("PATH"), "{}", host.stderr());
}

/// The five faults of one backend; the bench `faults` measures how many calls there are and the delay, here none may fail.
async fn no_call_fails_during(fault: Fault) {
    let sample = others_during(Some(fault), Duration::from_secs(2)).await;
    assert!(sample.calls >= 3, "{fault:?}: each of the three backends is called");
    assert_eq!(sample.failed, Vec::<String>::new(), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_one_backend_fails_a_call_of_another() {
    for fault in FAULTS {
        no_call_fails_during(fault).await;
    }
}
