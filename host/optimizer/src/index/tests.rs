use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use proptest::prelude::*;
use tempfile::TempDir;
use vmcp_core::ranking::{Column, LexicalQuery, MatchMode, Term, WeightedColumn};

use super::*;
use crate::embedding::{EmbedError, Embedded, Embedder, Purpose};

/// One text per document, which makes counting easy.
const REFERENCE: DocumentForm = DocumentForm::Reference;

fn tool(name: &str, description: &str) -> Arc<ToolDocument> {
    let definition = serde_json::json!({"description": description}).to_string();
    Arc::new(ToolDocument::new(name, name, "server", &definition))
}

fn tools(names: &[&str]) -> Vec<Arc<ToolDocument>> {
    names.iter().map(|name| tool(name, &format!("Does {name} things"))).collect()
}

fn in_memory() -> Index {
    Index::open(IndexOptions::default()).unwrap()
}

fn in_file(path: &Path) -> Index {
    Index::open(IndexOptions { path: Some(path.to_owned()) }).unwrap()
}

fn query(text: &str) -> LexicalQuery {
    LexicalQuery {
        terms: vec![Term { text: text.into(), weight: 1.0 }],
        columns: Column::ALL.map(|column| WeightedColumn { column, weight: 1.0 }).to_vec(),
        mode: MatchMode::Any,
        form: DocumentForm::Standard,
        saturation: 1.2,
        length_normalisation: 0.75,
        exact: 0.0,
    }
}

/// Scores and names of what a request finds, best first, ties in order of names.
fn found(index: &Index, text: &str) -> Vec<(f64, String)> {
    let reader = index.read();
    let query = query(text);
    let hits = reader.lexical(&[LexicalSearch { query: &query, pool: 100 }], &Visible::All).unwrap().remove(0);
    let name = |slot| reader.document(slot).unwrap().name().to_owned();
    let mut found: Vec<_> = hits.iter().map(|hit| ((hit.score * 1e9).round() / 1e9, name(hit.slot))).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found
}

fn names(index: &Index, text: &str) -> Vec<String> {
    found(index, text).into_iter().map(|(_, name)| name).collect()
}

fn changes(added: usize, changed: usize, removed: usize, unchanged: usize) -> Changes {
    Changes { added, changed, removed, unchanged }
}

#[test]
fn updates_touch_what_changed() {
    let index = in_memory();
    let rowids = |name: &str| -> i64 {
        let sql = "SELECT id FROM tool WHERE name = ?";
        index.inner.cache.database().read(|c| c.query_row(sql, [name], |row| row.get(0))).unwrap()
    };
    assert_eq!(index.update(tools(&["a", "b", "c"])), changes(3, 0, 0, 0));
    let (row, slot) = (rowids("a"), index.read().slot("a"));
    let mut next = tools(&["a", "c", "d", "d"]);
    next[1] = tool("c", "Something new");
    assert_eq!(index.update(next.clone()), changes(1, 1, 1, 1));
    assert_eq!((rowids("a"), index.read().slot("a")), (row, slot), "what stays is not touched");
    assert_eq!(index.update(next), changes(0, 0, 0, 3));
    assert_eq!(index.inner.cache.rows(), (3, 3));
    assert_eq!(names(&index, "new"), ["c"]);
    assert_eq!(names(&index, "b"), [""; 0]);
    assert_eq!(index.update(Vec::new()), changes(0, 0, 3, 0));
    assert_eq!((index.inner.cache.rows(), index.status().words), ((0, 0), 0));
}

#[test]
fn a_reader_sees_one_state_to_its_end() {
    let index = in_memory();
    index.update(tools(&["a", "b"]));
    let reader = index.read();
    index.update(tools(&["c"]));
    assert!(reader.slot("a").is_some() && reader.slot("c").is_none() && reader.len() == 2);
    assert_eq!(names(&index, "things"), ["c"]);
}

#[test]
fn every_tool_is_found_by_its_own_name() {
    let index = in_memory();
    let named = |advertised: &str, own: &str, server: &str| Arc::new(ToolDocument::new(advertised, own, server, "{}"));
    let documents = [
        named("github_searchIssues", "searchIssues", "github"),
        named("jira_searchIssues", "searchIssues", "jira"),
        named("find_it", "searchIssues", "other"),
        named("搜索文件", "搜索文件", "文件"),
        named("x", "x", "y"),
    ];
    index.update(documents.to_vec());
    for document in &documents {
        assert_eq!(names(&index, document.name())[0], document.name());
    }
}

#[test]
fn slots_do_not_depend_on_the_order_of_documents() {
    let (one, other) = (in_memory(), in_memory());
    one.update(tools(&["a", "b", "c"]));
    other.update(tools(&["c", "a", "b"]));
    for name in ["a", "b", "c"] {
        assert_eq!(one.read().slot(name), other.read().slot(name));
    }
}

#[test]
fn a_file_that_is_right_is_not_written_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    in_file(&path).update(tools(&["a", "b"]));
    let index = in_file(&path);
    let version =
        || index.inner.cache.database().read(|c| c.query_row("SELECT total_changes()", [], |r| r.get::<_, i64>(0)));
    assert_eq!(index.update(tools(&["a", "b"])), changes(2, 0, 0, 0), "the documents are new to this process");
    assert_eq!(version().unwrap(), 0);
    index.update(tools(&["a", "c"]));
    assert_eq!(index.inner.cache.rows(), (2, 2));
    assert_eq!(index.status().storage, Storage::File(path));
}

#[test]
fn two_hosts_can_use_one_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    let many: Vec<String> = (0..50).map(|n| format!("tool{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let index = in_file(&path);
                for round in 0..5 {
                    index.update(tools(&many[round..]));
                    assert_eq!(index.read().len(), many.len() - round);
                    assert_eq!(names(&index, "tool7"), ["tool7"]);
                }
                assert_eq!(index.status().storage, Storage::File(path.clone()));
            });
        }
    });
    let index = in_file(&path);
    index.update(tools(&many));
    assert_eq!(index.inner.cache.rows(), (50, 50));
    assert_eq!(index.status().quarantined, None);
}

#[test]
fn broken_files_are_moved_aside_and_the_index_is_whole() {
    let check = |claim: &str, harm: &dyn Fn(&Path)| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("index.db");
        let many: Vec<_> = (0..300).map(|n| tool(&format!("tool{n}"), "Reads all the files of a folder")).collect();
        in_file(&path).update(many.clone());
        harm(&path);
        let index = in_file(&path);
        index.update(many);
        assert_eq!(
            (index.inner.cache.rows(), names(&index, "tool7")),
            ((300, 300), vec!["tool7".to_owned()]),
            "{claim}"
        );
        assert_eq!(index.status().storage, Storage::File(path), "{claim}");
        assert!(index.status().quarantined.is_some_and(|aside| aside.exists()), "{claim}");
    };
    check("overwritten", &|path| fs::write(path, "no database ".repeat(500)).unwrap());
    check("cut off", &|path| {
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..content.len() / 3]).unwrap();
    });
    check("damaged in the middle", &|path| {
        let mut content = fs::read(path).unwrap();
        let half = content.len() / 2 / 4096 * 4096;
        content[half..half + 4096].fill(0x5A);
        fs::write(path, content).unwrap();
    });
    check("of another program", &|path| {
        fs::remove_file(path).unwrap();
        let other = rusqlite_connection(path);
        other.execute_batch("CREATE TABLE cheese (age)").unwrap();
    });
}

fn rusqlite_connection(path: &Path) -> vmcp_store::rusqlite::Connection {
    vmcp_store::rusqlite::Connection::open(path).unwrap()
}

#[test]
fn damage_while_running_is_mended() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    let index = in_file(&path);
    index.update(tools(&["a", "b"]));
    let database = index.inner.cache.database();
    database.read(|c| c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))).unwrap();
    let mut content = fs::read(&path).unwrap();
    content[100..].fill(0x5A);
    fs::write(&path, content).unwrap();
    database.read(|c| c.execute_batch("PRAGMA shrink_memory; PRAGMA cache_size = 0")).unwrap();
    index.update(tools(&["a", "b", "c"]));
    assert_eq!(index.inner.cache.rows(), (3, 3));
    assert_eq!(index.status().storage, Storage::File(path));
    assert!(index.status().quarantined.is_some());
}

#[test]
fn a_full_disk_leaves_the_index_in_memory() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    let index = in_file(&path);
    index.update(tools(&["a"]));
    let database = index.inner.cache.database();
    let limit = |pages: i64| database.read(|c| c.pragma_update(None, "max_page_count", pages)).unwrap();
    limit(1);
    let many: Vec<_> = (0..500).map(|n| tool(&format!("tool{n}"), &"Word after word ".repeat(20))).collect();
    assert_eq!(index.update(many.clone()), changes(500, 0, 1, 0));
    assert_eq!(names(&index, "tool499"), ["tool499"]);
    match index.status().storage {
        Storage::Lost { reason, .. } => assert!(reason.contains("full"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(index.inner.cache.rows(), (1, 1), "the file is as it was");
    limit(1 << 20);
    index.update(many);
    assert_eq!((index.inner.cache.rows(), index.status().storage), ((500, 500), Storage::File(path)));
}

#[test]
fn a_path_that_cannot_be_a_file_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let Err(error) = Index::open(IndexOptions { path: Some(folder.path().join("file/index.db")) }) else {
        panic!("opened below a file")
    };
    assert!(error.to_string().contains("file"), "{error}");
}

const CHILD: &str = "VMCP_TEST_INDEX_FILE";

/// Not a test of its own: the process that the next test kills.
#[test]
fn writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let index = in_file(Path::new(&path));
    for round in 0.. {
        let documents = (0..40).map(|n| tool(&format!("tool{n}"), &format!("In round {round}")));
        index.update(documents.collect());
    }
}

#[test]
fn a_killed_process_leaves_a_usable_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    for round in 0..5u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "index::tests::writes_until_killed", "--test-threads", "1"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !path.exists() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        std::thread::park_timeout(Duration::from_millis(100 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let index = in_file(&path);
        index.update(tools(&["a", "b"]));
        assert_eq!((index.inner.cache.rows(), index.status().quarantined), ((2, 2), None));
    }
}

/// The vector of a text is that of its length; counts what it is asked.
struct Counting {
    models: Vec<&'static str>,
    asked: AtomicUsize,
    texts: AtomicUsize,
    fails: bool,
}

impl Counting {
    fn new(models: &[&'static str]) -> Self {
        Self { models: models.to_vec(), asked: 0.into(), texts: 0.into(), fails: false }
    }

    fn texts(&self) -> usize {
        self.texts.swap(0, Ordering::Relaxed)
    }
}

impl Embedder for Counting {
    fn label(&self) -> &'static str {
        "counting"
    }

    /// The first answer is of the first model and so on; those after the last are of the last.
    fn embed<'a>(&'a self, texts: &'a [String], _: Purpose) -> BoxFuture<'a, Result<Embedded, EmbedError>> {
        Box::pin(async move {
            if self.fails {
                return Err(EmbedError::BadReply { provider: "counting".into(), message: "no".into() });
            }
            let asked = self.asked.fetch_add(1, Ordering::Relaxed);
            self.texts.fetch_add(texts.len(), Ordering::Relaxed);
            let model = ModelId::new(self.models[asked.min(self.models.len() - 1)]);
            #[expect(clippy::cast_precision_loss, reason = "texts are short")]
            let vectors = texts.iter().map(|text| vec![1.0, text.len() as f32]).collect();
            Ok(Embedded { model, vectors })
        })
    }
}

async fn fill(index: &Index, embedder: &Counting, known: Option<&str>) -> Result<Filled, EmbedError> {
    index.embed_missing(embedder, REFERENCE, known.map(ModelId::new).as_ref(), &|_, _| {}).await
}

fn served(index: &Index) -> Option<(String, usize)> {
    let status = index.status();
    status.vectors.first().map(|status| (status.model.to_string(), status.vectors))
}

fn thousand() -> Vec<Arc<ToolDocument>> {
    (0..1000).map(|n| tool(&format!("tool{n}"), "x")).collect()
}

#[tokio::test]
async fn only_what_is_new_is_embedded() {
    let index = in_memory();
    let embedder = Counting::new(&["m"]);
    assert_eq!(fill(&index, &embedder, None).await.unwrap(), Filled::default());
    index.update(thousand());
    let progress = Mutex::new(Vec::new());
    let filled =
        index.embed_missing(&embedder, REFERENCE, None, &|done, all| progress.lock().unwrap().push((done, all))).await;
    assert_eq!((filled.unwrap().embedded, embedder.texts()), (1000, 1000));
    assert_eq!(progress.lock().unwrap().last(), Some(&(1000, 1000)));
    assert_eq!(served(&index), Some(("m".into(), 1000)));

    let mut changed = thousand();
    changed[3] = tool("tool3", "another text");
    changed.push(tool("tool1000", "x"));
    index.update(changed);
    assert_eq!(served(&index), Some(("m".into(), 999)), "no vector of an earlier text");
    fill(&index, &embedder, None).await.unwrap();
    assert_eq!((embedder.texts(), served(&index)), (2, Some(("m".into(), 1001))));

    index.update(thousand());
    assert_eq!(fill(&index, &embedder, None).await.unwrap().embedded, 0, "texts of earlier are remembered");
    assert_eq!(served(&index), Some(("m".into(), 1000)));
    index.forget_vectors(REFERENCE);
    assert_eq!((served(&index), index.read().dense_model(REFERENCE)), (None, None));
}

#[tokio::test]
async fn a_tool_in_parts_gets_one_vector() {
    let index = in_memory();
    index.update(tools(&["a", "b"]));
    let embedder = Counting::new(&["m"]);
    let parts: usize =
        index.read().documents().map(|(_, tool)| tool.embedding_texts(DocumentForm::Standard).len()).sum();
    let filled = index.embed_missing(&embedder, DocumentForm::Standard, None, &|_, _| {}).await.unwrap();
    assert_eq!((filled.embedded, embedder.texts(), served(&index)), (2, parts, Some(("m".into(), 2))));
    let filled = index.embed_missing(&embedder, DocumentForm::Standard, None, &|_, _| {}).await.unwrap();
    assert_eq!((filled.embedded, filled.cached, embedder.texts()), (0, 2, 0));
}

#[tokio::test]
async fn a_restart_embeds_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    let embedder = Counting::new(&["m"]);
    for expected in [1000, 0] {
        let index = in_file(&path);
        index.update(thousand());
        let filled = fill(&index, &embedder, None).await.unwrap();
        assert_eq!((filled.embedded, filled.cached), (expected, 1000 - expected));
        assert_eq!((embedder.texts(), embedder.asked.swap(0, Ordering::Relaxed) > 0), (expected, expected > 0));
        assert_eq!(served(&index), Some(("m".into(), 1000)));
    }
}

#[tokio::test]
async fn another_model_replaces_the_vectors_at_once() {
    let index = in_memory();
    index.update(thousand());
    fill(&index, &Counting::new(&["old"]), None).await.unwrap();
    let embedder = Counting::new(&["new"]);
    assert_eq!(fill(&index, &embedder, None).await.unwrap().embedded, 0, "nothing tells that it changed");
    fill(&index, &embedder, Some("new")).await.unwrap();
    assert_eq!((embedder.texts(), served(&index)), (1000, Some(("new".into(), 1000))));
    fill(&index, &embedder, Some("old")).await.unwrap();
    assert_eq!((embedder.texts(), served(&index)), (0, Some(("old".into(), 1000))), "the old vectors are still known");
}

#[tokio::test]
async fn a_model_may_change_once_under_way() {
    let index = in_memory();
    index.update(thousand());
    fill(&index, &Counting::new(&["a", "a", "b"]), Some("a")).await.unwrap();
    assert_eq!(served(&index), Some(("b".into(), 1000)));

    let index = in_memory();
    index.update(thousand());
    let error = fill(&index, &Counting::new(&["a", "a", "b", "b", "a"]), None).await.unwrap_err();
    assert!(matches!(error, EmbedError::ModelChanged { .. }), "{error}");
    assert_eq!(served(&index), None);
}

#[tokio::test]
async fn a_provider_that_fails_leaves_what_serves() {
    let index = in_memory();
    index.update(tools(&["a"]));
    fill(&index, &Counting::new(&["m"]), None).await.unwrap();
    index.update(tools(&["a", "b"]));
    let failing = Counting { fails: true, ..Counting::new(&["m"]) };
    assert!(matches!(fill(&index, &failing, None).await, Err(EmbedError::BadReply { .. })));
    assert_eq!(served(&index), Some(("m".into(), 1)));
    let reader = index.read();
    let hits = reader.dense(REFERENCE, &[DenseSearch { vector: &[1.0, 0.0], pool: 9 }], &Visible::All).remove(0);
    assert_eq!(hits.iter().map(|hit| hit.slot).collect::<Vec<_>>(), [reader.slot("a").unwrap()]);
}

#[tokio::test]
async fn useless_vectors_are_dropped_when_there_are_many() {
    let index = in_memory();
    let count = |model: &str| -> usize {
        let sql = "SELECT count(*) FROM embedding JOIN model ON model.id = embedding.model WHERE model.name = ?";
        index.inner.cache.database().read(|c| c.query_row(sql, [model], |row| row.get(0))).unwrap()
    };
    let embedder = Counting::new(&["m"]);
    for round in 0..11 {
        index.update((0..1000).map(|n| tool(&format!("tool{n}"), &format!("In round {round}"))).collect());
        fill(&index, &embedder, None).await.unwrap();
    }
    assert_eq!(count("m"), 11_000, "some spare ones are kept");
    index.update(tools(&["a"]));
    fill(&index, &embedder, None).await.unwrap();
    assert_eq!(count("m"), 1);

    let old = "UPDATE model SET used = 1000";
    index.inner.cache.database().read(|c| c.execute(old, [])).unwrap();
    fill(&index, &Counting::new(&["n"]), Some("n")).await.unwrap();
    assert_eq!((count("m"), count("n")), (0, 1));
}

fn catalog() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..12, 0u8..3), 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn after_any_updates_the_index_is_like_a_fresh_one(catalogs in prop::collection::vec(catalog(), 1..6)) {
        let index = in_memory();
        let documents = |catalog: &[(u8, u8)]| -> Vec<_> {
            catalog.iter().map(|(name, text)| tool(&format!("tool {name}"), &"word ".repeat(usize::from(*text)))).collect()
        };
        for catalog in &catalogs {
            index.update(documents(catalog));
            let live = index.read().len();
            prop_assert_eq!(index.inner.cache.rows(), (live, live));
        }
        let fresh = in_memory();
        fresh.update(documents(catalogs.last().unwrap()));
        for text in ["tool 3", "word", "tool word 1 2 3 4 5", "server"] {
            prop_assert_eq!(found(&index, text), found(&fresh, text));
        }
        prop_assert_eq!(index.status(), fresh.status());
    }
}
