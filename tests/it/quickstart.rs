//! The first command of the README, without the build.

use std::path::Path;

use tokio::process::Command;
use vmcp_tests::{
    Era, Mcp, StdioClient, eventually,
    process::{PATIENCE, binary, run, workspace_dir},
};

#[tokio::test]
async fn the_quickstart_serves_two_servers_whose_names_clash() {
    let home = tempfile::tempdir().unwrap();
    let quickstart = workspace_dir().join("examples/quickstart/vmcp.yaml");
    let text = std::fs::read_to_string(&quickstart).unwrap();
    let serve = async |text: &str| {
        // A copy, so that nothing is written into the checkout; paths of the file still lead where they did.
        let dir = tempfile::tempdir().unwrap();
        let examples = dir.path().join("examples");
        let folder = examples.join("quickstart");
        std::fs::create_dir(&examples).unwrap();
        copy("examples/quickstart", &examples).await;
        copy("examples/plugins", &examples).await;
        std::fs::write(folder.join("vmcp.yaml"), text).unwrap();
        let mut host = Command::new(binary("vmcp-host"));
        host.arg("serve").arg("--stdio").arg("-c").arg(folder.join("vmcp.yaml"));
        host.env("XDG_STATE_HOME", home.path()).env("XDG_CACHE_HOME", home.path());
        let client = StdioClient::start(&mut host, Era::Legacy, serde_json::json!({})).await;
        eventually("both servers are up", PATIENCE, || async { client.tool_names().await.len() == 8 }).await;
        let names = client.tool_names().await;
        let listed = client.call("tasks_list", serde_json::json!({})).await;
        assert!(listed.message.get("result").is_some() || !names.contains(&"tasks_list".to_owned()), "{}", listed.raw);
        names
    };
    let smart = ["done", "notes_add", "notes_list", "notes_search", "read", "tasks_add", "tasks_list", "tasks_search"];
    assert_eq!(serve(&text).await, smart);

    // The one line that the README changes.
    let (line, changed) = ("\n  conflictResolution: smart\n", "\n  conflictResolution: server-suffix\n");
    assert!(text.contains(line));
    let names = serve(&text.replace(line, changed)).await;
    assert!(
        ["add_notes", "add_tasks", "read_notes", "done_tasks"].iter().all(|name| names.contains(&(*name).to_owned())),
        "{names:?}"
    );
}

async fn copy(path: &str, into: &Path) {
    let (code, _, stderr) = run(Command::new("cp").arg("-r").arg(workspace_dir().join(path)).arg(into)).await;
    assert_eq!(code, Some(0), "{stderr}");
}
