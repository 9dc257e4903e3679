//! The example files of composite tools, on the servers that they are written for.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use vmcp_tests::{
    Era, HostBuilder, Mcp, TestHost,
    process::workspace_dir,
    real::{RealServer, make_repository},
};

use super::failure;
use crate::bridge::{call_and_be_asked, client_of};

/// The host of an example, whose backends work in the folder `work` of it.
///
/// - `servers`: what takes the place of its section `backends`, by their names there
fn example(file: &str, servers: &[(&str, RealServer)]) -> HostBuilder {
    let text = fs::read_to_string(workspace_dir().join("examples/composite-tools").join(file)).unwrap();
    let (tools, backends) = text.split_once("\nbackends:\n").expect("the backends come last");
    let names: Vec<_> = backends.lines().filter_map(|line| line.strip_prefix("  - name: ")).collect();
    assert_eq!(names, servers.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let mut host = TestHost::builder().yaml(tools);
    let work = host.dir().join("work");
    fs::create_dir(&work).unwrap();
    for (name, server) in servers {
        let mut entry = server.entry(name, &work);
        entry["cwd"] = json!(work);
        host = host.entry(entry);
    }
    host
}

/// Names and contents of the files in a folder.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    entries.map(read).collect()
}

fn make(dir: &Path, names: &[&str]) -> BTreeMap<String, String> {
    fs::create_dir_all(dir).unwrap();
    for name in names {
        fs::write(dir.join(name), format!("first called {name}")).unwrap();
    }
    files(dir)
}

#[tokio::test]
async fn the_example_of_a_handover_gathers_from_three_servers_and_writes_a_note() {
    let servers = [
        ("time", RealServer::Time),
        ("git", RealServer::Git),
        ("memory", RealServer::Memory),
        ("files", RealServer::Filesystem),
    ];
    let host = example("handover.yaml", &servers);
    let work = host.dir().join("work");
    make_repository(&work).await;
    fs::write(work.join("draft.md"), "not yet").unwrap();
    let host = host.start().await;
    host.wait_for_tool("handover").await;
    let client = host.connect().await;
    let fact = json!({ "name": "Release 1.2", "entityType": "release", "observations": ["waits for Ada", "is due"] });
    client.call("create_entities", json!({ "entities": [fact] })).await;
    let note = async |arguments: Value| {
        let reply = client.call("handover", arguments).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
        let name = reply.text().rsplit_once(" to ").and_then(|(_, rest)| rest.split('"').next()).unwrap().to_owned();
        let note = fs::read_to_string(work.join(&name)).unwrap();
        let date = name.strip_prefix("handover-").and_then(|rest| rest.strip_suffix(".md")).unwrap();
        assert!(note.starts_with(&format!("# Handover, {date}T")), "{name}: {note}");
        note
    };
    let text = note(json!({ "topic": "release" })).await;
    for part in [
        "draft.md",
        "\n## Last commits\n",
        "first",
        "\n## release\n\n- Release 1.2 (release)\n  - waits for Ada\n  - is due\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = note(json!({ "topic": "nowhere", "timezone": "Asia/Tokyo" })).await;
    assert!(text.ends_with("\n## nowhere\n\nNothing is known.\n") && text.contains("+09:00\n"), "{text}");
}

#[tokio::test]
async fn the_example_of_renaming_renames_what_the_user_saw_and_nothing_without_them() {
    let host = example("rename-files.yaml", &[("files", RealServer::Filesystem)]);
    let work = host.dir().join("work");
    fs::create_dir(work.join("IMG_folder")).unwrap();
    let host = host.start().await;
    host.wait_for_tool("rename_files").await;
    for (era, folder) in [(Era::Legacy, "old"), (Era::Modern, "new")] {
        let dir = work.join(folder);
        let before = make(&dir, &["IMG_1.jpg", "IMG_2 (copy).jpg", "notes.txt"]);
        let client = client_of(&host, era, json!({ "elicitation": { "form": {} } })).await;
        let arguments = json!({ "folder": folder, "find": "IMG_", "replace": "trip-" });
        for answer in ["decline", "cancel"] {
            let asked = call_and_be_asked(&client, "rename_files", arguments.clone(), 1).await;
            let message = asked.message().to_owned();
            assert!(message.starts_with(&format!("Rename these files in {folder}?\n\nIMG_")), "{message}");
            assert!(message.contains("\nIMG_2 (copy).jpg → trip-2 (copy).jpg"), "{message}");
            let reply = asked.answer(&json!({ "action": answer })).await;
            assert_eq!(reply.result()["structuredContent"], json!({ "renamed": 0 }), "{}", reply.raw);
            assert_eq!(files(&dir), before);
        }
        let asked = call_and_be_asked(&client, "rename_files", arguments.clone(), 1).await;
        let reply = asked.answer(&json!({ "action": "accept", "content": {} })).await;
        assert_eq!(reply.result()["structuredContent"], json!({ "renamed": 2 }), "{}", reply.raw);
        let renamed = before.iter().map(|(name, text)| (name.replace("IMG_", "trip-"), text.clone())).collect();
        assert_eq!(files(&dir), renamed);
        // There is nothing left to rename, and nothing to ask.
        let reply = client.call("rename_files", arguments).await;
        assert_eq!(reply.result()["structuredContent"], json!({ "renamed": 0 }), "{}", reply.raw);
    }
    // Folders keep their names.
    let reply = client_of(&host, Era::Modern, json!({})).await;
    let reply = reply.call("rename_files", json!({ "find": "IMG_", "replace": "" })).await;
    assert_eq!(reply.result()["structuredContent"], json!({ "renamed": 0 }), "{}", reply.raw);
}

#[tokio::test]
async fn the_example_of_renaming_leaves_a_folder_as_it_was_when_one_file_cannot_be_renamed() {
    let host = example("rename-files.yaml", &[("files", RealServer::Filesystem)]);
    let work = host.dir().join("work");
    let before = make(&work, &["a-1.txt", "a-2.txt", "a-3.txt", "a-4.txt", "b-3.txt"]);
    let host = host.start().await;
    host.wait_for_tool("rename_files").await;
    for era in [Era::Legacy, Era::Modern] {
        let client = client_of(&host, era, json!({ "elicitation": { "form": {} } })).await;
        let arguments = json!({ "find": "a-", "replace": "b-" });
        let asked = call_and_be_asked(&client, "rename_files", arguments, 1).await;
        let reply = asked.answer(&json!({ "action": "accept", "content": {} })).await;
        let said = reply.text();
        assert_eq!(reply.result()["isError"], true, "{}", reply.raw);
        assert!(said.contains("Destination already exists") && said.contains("b-3.txt"), "{said}");
        assert!(said.contains("undone: "), "{said}");
        assert_eq!(files(&work), before);
    }
    // A user who cannot be asked agrees to nothing.
    let said = failure(&host.connect().await, "rename_files", json!({ "find": "a-", "replace": "c-" })).await;
    assert!(said.contains("`sure`"), "{said}");
    assert_eq!(files(&work), before);
}
