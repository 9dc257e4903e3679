//! What an agent does with real servers: search, call wrongly, read why, call again.

use serde_json::{Value, json};
use vmcp_tests::{Mcp, TestHost, real::RealServer};

use super::{find, found, refusal};

#[tokio::test]
async fn an_agent_finds_a_tool_and_mends_its_call() {
    let host = TestHost::builder().real("files", RealServer::Filesystem).real("git", RealServer::Git);
    let (files, repository) = (host.dir().join("files"), host.dir().join("git"));
    std::fs::write(files.join("note.txt"), "written before").unwrap();
    let made = std::process::Command::new("git").args(["init", "-q"]).current_dir(&repository).status().unwrap();
    assert!(made.success());
    let host = host.yaml("optimizer: {}").start().await;
    let (legacy, modern) = (host.connect().await, host.connect_modern());
    for era in [0, 1] {
        let call = async |name: &str, parameters: Value| {
            let arguments = json!({ "tool_name": name, "parameters": parameters });
            match era {
                0 => legacy.call("call_tool", arguments).await,
                _ => modern.call("call_tool", arguments).await,
            }
        };
        let search = async |text: &str| {
            let arguments = json!({ "tool_description": text });
            match era {
                0 => find(&legacy, arguments).await,
                _ => find(&modern, arguments).await,
            }
        };
        let names = found(&search("read the contents of a text file").await);
        assert!(names.iter().take(3).any(|name| name == "read_text_file"), "{names:?}");
        let path = files.join("note.txt");
        let wrong = call("read_text_file", json!({ "file_path": path })).await;
        assert!(refusal(&wrong).contains("path"), "{}", wrong.raw);
        let mended = call("read_text_file", json!({ "path": path })).await;
        assert!(mended.text().contains("written before"), "{}", mended.raw);

        let names = found(&search("show which files of the repository have changes").await);
        assert!(names.contains(&"git_status".to_owned()), "{names:?}");
        let wrong = call("git_status", json!({ "repo": repository })).await;
        assert!(refusal(&wrong).contains("did you mean `repo_path`"), "{}", wrong.raw);
        let mended = call("git_status", json!({ "repo_path": repository })).await;
        assert_ne!(mended.result()["isError"], true, "{}", mended.raw);
    }
}
