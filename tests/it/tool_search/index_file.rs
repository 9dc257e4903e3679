//! The index file as a cache that may break, fill up, be left half written or be shared: searches never notice.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use vmcp_store::rusqlite::Connection;
use vmcp_tests::{
    TestHost,
    embedding_server::{EmbeddingServer, Fault},
    eventually,
    host::HostBuilder,
    process::{PATIENCE, free_port},
};

use super::{backend, desk, find, found};

/// Tools of a catalog that takes a while to embed.
const MANY: usize = 200;

fn many() -> Vec<Value> {
    let subjects = ["invoice", "garden", "rocket", "novel", "bridge"];
    let tool = |number: usize| {
        let subject = subjects[number % subjects.len()];
        json!({ "name": format!("{subject}_{number}"), "description": format!("Handles {subject} number {number}"),
                "inputSchema": { "type": "object" } })
    };
    (0..MANY).map(tool).collect()
}

/// A host whose index is `index.sqlite` of `folder`.
fn host_on(folder: &Path, tools: &[Value], more: &str) -> HostBuilder {
    let host = TestHost::builder();
    let backend = backend(host.dir(), "tools.jsonl", tools);
    let index = folder.join("index.sqlite");
    host.backend("all", backend).yaml(&format!("optimizer: {{ index: {{ path: {} }}, {more} }}", index.display()))
}

/// Rows of tools and of their words.
fn rows(folder: &Path) -> (usize, usize) {
    let database = Connection::open(folder.join("index.sqlite")).unwrap();
    let count = |table: &str| database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
    (count("tool").unwrap(), count("word").unwrap())
}

/// Files of `folder` beside the index and SQLite's own.
fn others(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let is_index = |file: &Path| {
        ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "index.sqlite.lock"]
            .iter()
            .any(|name| file.ends_with(name))
    };
    files.filter(|file| !is_index(file)).collect()
}

async fn index_status(host: &TestHost) -> Value {
    host.doctor().await["search"]["index"].take()
}

/// Asserts that each of `tools` is found by its own name.
async fn assert_found(host: &TestHost, tools: &[Value]) {
    let client = host.connect_modern();
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        let names = found(&find(&client, json!({ "tool_description": name })).await);
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
}

#[tokio::test]
async fn a_host_killed_while_it_embeds_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddingServer::start().await;
    server.max_batch(8);
    let tei = format!("embeddingProvider: tei, embeddingService: '{}'", server.url());
    let written = host_on(folder.path(), &many(), &tei).write().await;
    server.misbehave(Fault::Slow(Duration::from_millis(50)));
    let host = written.launch(free_port());
    eventually("the tools are being embedded", PATIENCE, || async { server.asked().texts > MANY / 2 }).await;
    server.misbehave(None);
    let host = host.crash().await;
    assert_found(&host, &many()).await;
    assert_eq!(rows(folder.path()), (MANY, MANY));
    let status = index_status(&host).await;
    assert_eq!((&status["vectors"][0]["vectors"], status["vectors"].as_array().unwrap().len()), (&json!(MANY), 1));
    assert!(status["quarantined"].is_null(), "{status}");

    // The next start embeds nothing.
    let before = server.asked().texts;
    let host = host.restart().await;
    assert_eq!(index_status(&host).await["vectors"][0]["vectors"], MANY);
    let asked = server.asked().texts - before;
    assert!(asked <= 1, "{asked} texts, of which one proves that the server is there");
}

#[tokio::test]
async fn a_file_that_is_no_index_is_moved_aside() {
    let check = async |content: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.sqlite"), content).unwrap();
        let host = host_on(folder.path(), &desk(), "").start().await;
        assert_found(&host, &desk()).await;
        assert_eq!(rows(folder.path()), (desk().len(), desk().len()));
        let [aside] = <[PathBuf; 1]>::try_from(others(folder.path())).unwrap();
        assert_eq!(std::fs::read(&aside).unwrap(), content);
        assert_eq!(index_status(&host).await["quarantined"], aside.display().to_string());
        assert!(host.stderr().contains("index.sqlite"), "{}", host.stderr());
    };
    check(b"this is a letter to my aunt, not an index").await;
    check(&[0; 8192]).await;
}

#[tokio::test]
async fn a_file_that_was_damaged_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = host_on(folder.path(), &many(), "").start().await;
    host.terminate().await;
    assert_eq!(rows(folder.path()), (MANY, MANY), "a host that ends leaves what the next one needs");
    let file = folder.path().join("index.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 4..bytes.len() / 4 * 3;
    bytes[middle].fill(0xAB);
    std::fs::write(&file, bytes).unwrap();
    let host = host.take_written().start().await;
    assert_found(&host, &many()).await;
    assert_eq!(rows(folder.path()), (MANY, MANY));
}

#[tokio::test]
async fn two_hosts_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddingServer::start().await;
    let tei = format!("embeddingProvider: tei, embeddingService: '{}'", server.url());
    let one = host_on(folder.path(), &many(), &tei).start().await;
    let before = server.asked().texts;
    let other = host_on(folder.path(), &many(), &tei).start().await;
    let asked = server.asked().texts - before;
    assert!(asked <= 1, "the second host embeds {asked} texts that the first has embedded");
    let (found_one, found_other) = (many(), many());
    tokio::join!(assert_found(&one, &found_one[..50]), assert_found(&other, &found_other[50..100]));
    assert_eq!(rows(folder.path()), (MANY, MANY));

    // With other tools the rows are those of the last one that wrote; each finds its own all the same.
    let third = host_on(folder.path(), &desk(), &tei).start().await;
    assert_found(&third, &desk()).await;
    assert_found(&one, &many()[..20]).await;
}

/// The disk is full for this host alone: no file of it may grow beyond some kilobytes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_leaves_the_index_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let written = host_on(folder.path(), &many(), "").shell("trap '' XFSZ; ulimit -f 128").write().await;
    let host = written.start().await;
    assert_found(&host, &many()).await;
    let status = index_status(&host).await;
    assert!(status["storage"]["lost"]["reason"].is_string(), "{status}");
    assert!(host.stderr().contains("in memory"), "{}", host.stderr());
}
