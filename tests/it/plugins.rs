//! Decisions are components: a user's file decides as a built-in does, a bad one is refused by name, and nothing native ever
//! answers for one.

use serde_json::json;
use vmcp_tests::{
    Behaviour, Ended, FakeBackend, Mcp, TestHost,
    host::HostBuilder,
    process::{binary, run, workspace_dir},
};

use crate::assembled::{Assembled, assembly, guest};

/// Two backends with a tool of the same name, named by the component in `tests/guests/NAME.wasm`.
fn named_by(guest: &str, more: &str) -> HostBuilder {
    let source = workspace_dir().join("tests/guests").join(guest).with_extension("wasm");
    TestHost::builder()
        .backend("a", FakeBackend::echo(["search"]))
        .backend("b", FakeBackend::echo(["search"]))
        .yaml(&format!("plugins: [{{ name: mine, source: {}{more} }}]", source.display()))
        .yaml("aggregation: { conflictResolution: mine }")
}

#[tokio::test]
async fn a_resolver_from_the_examples_changes_the_names() {
    let names = async |resolver: &str| {
        let source = workspace_dir().join("examples/plugins").join(resolver).with_extension("wasm");
        let host = TestHost::builder()
            .backend("github", FakeBackend::echo(["search"]))
            .backend("jira", FakeBackend::echo(["search"]))
            .yaml(&format!("plugins: [{{ name: {resolver}, source: {} }}]", source.display()))
            .yaml(&format!("aggregation: {{ conflictResolution: {resolver} }}"))
            .start()
            .await;
        let client = host.connect().await;
        let names = client.tool_names().await;
        assert_eq!(client.call(&names[1], json!({})).await.answered_by(), "jira");
        names
    };
    assert_eq!(names("server-suffix").await, ["search_github", "search_jira"]);
    assert_eq!(names("short-names").await.len(), 2);
}

#[tokio::test]
async fn a_bad_component_is_refused_with_name_and_reason() {
    let check = async |guest: &str, more: &str, reason: &str| {
        let Ended { code, stderr, .. } = named_by(guest, more).fail().await;
        assert_eq!(code, Some(4), "{guest}: {stderr}");
        assert!(stderr.contains("mine"), "{guest} is not named: {stderr}");
        assert!(stderr.contains(reason), "{guest}: {reason:?} is not said: {stderr}");
    };
    check("loops", "", "2s").await;
    check("loops", ", limits: { runningTime: 200ms }", "200ms").await;
    // Time in which a machine may stall.
    let long = ", limits: { runningTime: 1m }";
    check("allocates", long, "64 MiB").await;
    check("panics", long, "always panics").await;
    check("too-few", long, "1 resolutions for 2").await;
    check("repeated-names", long, "`same`").await;
    check("unknown-import", "", "imports").await;
    check("core-module", "", "core WebAssembly module").await;
    check("no-world", "", "does not export").await;
    check("wrong-type", "", "does not export").await;
    check("marked-prefix", &format!(", sha256: '{}'", "0".repeat(64)), "sha256").await;
}

#[tokio::test]
async fn an_illegal_name_hides_that_one_tool() {
    let host = named_by("illegal-names", "").start().await;
    assert_eq!(host.connect().await.tool_names().await, ["b_search"]);
    let (code, stdout, stderr) =
        run(host.written.subcommand("tools").arg("--all").arg("-c").arg(&host.written.config)).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("has a space"), "{stdout}");
}

#[tokio::test]
async fn wasi_is_refused_with_the_line_to_add_and_runs_with_it() {
    let ended = named_by("wasi-clock", "").fail().await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let line = ended.stderr.lines().find_map(|line| Some(&line[line.find("grants: ")?..]));
    let line = line.unwrap_or_else(|| panic!("no line to add in {}", ended.stderr)).trim_end_matches(['`', '.']);
    let host = named_by("wasi-clock", &format!(", {line}")).start().await;
    assert_eq!(host.connect().await.tool_names().await, ["a_search", "b_search"]);
}

#[tokio::test]
async fn a_running_host_goes_on_with_its_last_good_catalog() {
    let source = workspace_dir().join("tests/guests/repeated-names.wasm");
    let host = TestHost::builder()
        // One tool may have the one name that this resolver knows; two may not.
        .backend("growing", FakeBackend::new().tool("grow", Behaviour::AddTool))
        .yaml(&format!("plugins: [{{ name: mine, source: {} }}]", source.display()))
        .yaml("aggregation: { conflictResolution: mine }")
        .start()
        .await;
    let client = host.connect().await;
    assert_eq!(client.tool_names().await, ["same"]);
    assert_eq!(client.call("same", json!({})).await.text(), "added_0");
    host.wait_for_log("exposes two").await;
    assert!(host.stderr().contains("mine"), "{}", host.stderr());
    assert_eq!(client.tool_names().await, ["same"]);
    assert_eq!(client.call("same", json!({})).await.text(), "added_1");
}

#[tokio::test]
async fn a_plugin_may_not_take_the_name_of_a_built_in() {
    let source = workspace_dir().join("tests/guests/marked-prefix.wasm");
    let ended = TestHost::builder()
        .backend("a", FakeBackend::echo(["x"]))
        .yaml(&format!("plugins: [{{ name: prefix, source: {} }}]", source.display()))
        .fail()
        .await;
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("prefix"), "{}", ended.stderr);
}

#[tokio::test]
async fn inspect_tells_what_a_component_is() {
    let mut command = tokio::process::Command::new(binary("vmcp-host"));
    let (code, stdout, stderr) = run(command.args(["plugin", "inspect", "smart"])).await;
    assert_eq!(code, Some(0), "{stderr}");
    for wanted in ["smart 0.1.0", "vmcp:conflict/conflict-resolver@0.1.0", "sha256", "vmcp:host/log"] {
        assert!(stdout.contains(wanted), "{wanted} is missing in:\n{stdout}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_prefix_component_shows_its_mark_to_clients() {
    let written = TestHost::builder()
        .backend("a", FakeBackend::echo(["search"]).http())
        .yaml("aggregation: { conflictResolution: prefix }")
        .write()
        .await;
    let host = Assembled::start(assembly(&written).component("prefix", guest("marked-prefix"))).await;
    let client = host.connect_modern();
    assert_eq!(client.tool_names().await, ["MARK_a_search"]);
    assert_eq!(client.call("MARK_a_search", json!({})).await.answered_by(), "a");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_components_names_what_is_missing_and_answers_nothing_itself() {
    let written = TestHost::builder()
        .backend("a", FakeBackend::echo(["search"]).http())
        .yaml("aggregation: { conflictResolution: priority, conflictResolutionConfig: { priorityOrder: [a] } }")
        .write()
        .await;
    let error = assembly(&written).without_components().build().await.err().expect("nothing native answers");
    assert!(format!("{error:#}").contains("priority"), "{error:#}");
}
