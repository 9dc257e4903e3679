//! `eval`, `snapshot` and `find`: what they measure is what clients get.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use vmcp_tests::{
    FakeBackend, Mcp, TestHost,
    process::{binary, run, workspace_dir},
};

/// Definitions of tools that differ in what they are for.
const TOOLS: [(&str, &str); 12] = [
    ("send_mail", "Sends an e-mail message to a recipient"),
    ("list_mailboxes", "Shows the folders of a mail account"),
    ("read_file", "Reads a text file from disk"),
    ("write_file", "Writes text into a file on disk"),
    ("delete_file", "Removes a file from disk for good"),
    ("get_weather", "Tells the weather forecast for a city"),
    ("convert_currency", "Converts an amount of money between currencies"),
    ("create_issue", "Opens an issue in the tracker of a repository"),
    ("close_issue", "Closes an issue of a repository as done"),
    ("search_flights", "Finds flights between two airports on a date"),
    ("book_hotel", "Reserves a hotel room for some nights"),
    ("translate_text", "Translates a sentence into another language"),
];

/// Queries that can be answered by their words, and one that asks for two tools.
const QUERIES: [(&str, &[&str]); 5] = [
    ("what will the weather forecast be in Oslo", &["get_weather"]),
    ("send an e-mail message to my boss", &["send_mail"]),
    ("reserve a hotel room for two nights, then find flights to the airport there", &["book_hotel", "search_flights"]),
    ("open an issue in the repository", &["create_issue"]),
    ("how much money is that amount in other currencies", &["convert_currency"]),
];

fn lines(rows: impl Iterator<Item = Value>) -> String {
    rows.map(|row| row.to_string()).collect::<Vec<_>>().join("\n")
}

/// A set on disk.
struct Golden {
    dir: TempDir,
}

impl Golden {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tool = |(name, description): &(&str, &str)| json!({ "server": "all", "name": name, "description": description, "input_schema": { "type": "object" } });
        std::fs::write(dir.path().join("tools.jsonl"), lines(TOOLS.iter().map(tool))).unwrap();
        let query = |(index, (query, gold)): (usize, &(&str, &[&str]))| {
            let gold: Vec<_> = gold.iter().map(|name| format!("all/{name}")).collect();
            json!({ "id": format!("q{index}"), "query": query, "gold": gold })
        };
        std::fs::write(dir.path().join("queries.jsonl"), lines(QUERIES.iter().enumerate().map(query))).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `eval` on the set's files.
    fn eval(&self) -> Command {
        let mut command = eval();
        command.arg("--tools").arg(self.path("tools.jsonl")).arg("--queries").arg(self.path("queries.jsonl"));
        command
    }

    /// Writes the tools as definitions that a backend offers.
    fn definitions(&self) -> PathBuf {
        let file = self.path("definitions.jsonl");
        let definition = |(name, description): &(&str, &str)| json!({ "name": name, "description": description, "inputSchema": { "type": "object" } });
        std::fs::write(&file, lines(TOOLS.iter().map(definition))).unwrap();
        file
    }
}

fn eval() -> Command {
    let mut command = Command::new(binary("vmcp-host"));
    command.arg("eval").env("NO_COLOR", "1");
    command
}

/// Runs a command that succeeds, for its JSON.
async fn json_of(command: &mut Command) -> Value {
    let (code, stdout, stderr) = run(command.arg("--json")).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

fn figure(row: &Value, metric: &str) -> f64 {
    let figures = row["figures"].as_array().unwrap();
    figures.iter().find(|figure| figure["metric"] == metric).unwrap()["mean"].as_f64().unwrap()
}

#[tokio::test]
async fn easy_queries_are_found_and_rows_come_per_ranking_and_provider() {
    let golden = Golden::new();
    let mut command = golden.eval();
    command.args(["--ranking", "linear", "--ranking", "toolhive", "--embedding", "builtin", "--embedding", "none"]);
    let report = json_of(command.args(["--compare", "toolhive", "linear"])).await;
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| format!("{} {}", row["ranking"], row["embedding"])).collect();
    assert_eq!(
        names,
        [r#""linear" "builtin""#, r#""toolhive" "builtin""#, r#""linear" "none""#, r#""toolhive" "none""#],
        "one row each"
    );
    for row in rows {
        assert_eq!(row["queries"], 5);
        assert!(figure(row, "R@8") > 0.85, "{row}");
        assert!(figure(row, "R@2000tok") > 0.5, "{row}");
    }
    let compared: Vec<_> = report["comparisons"].as_array().unwrap().iter().map(|row| &row["embedding"]).collect();
    assert_eq!(compared, ["builtin", "none"]);
}

#[tokio::test]
async fn several_sets_end_in_their_mean() {
    let (golden, other) = (Golden::new(), Golden::new());
    let mut command = golden.eval();
    command.arg("--tools").arg(other.path("tools.jsonl")).arg("--queries").arg(other.path("queries.jsonl"));
    let report = json_of(&mut command).await;
    let sets: Vec<_> = report["rows"].as_array().unwrap().iter().map(|row| row["queries"].clone()).collect();
    assert_eq!(sets, [5, 5, 10]);
}

#[tokio::test]
async fn the_gate_fails_with_a_code_of_its_own() {
    let golden = Golden::new();
    // A query that nothing answers.
    let hopeless = json!({ "id": "x", "query": "tune the piano", "gold": ["all/tune_piano"] });
    std::fs::write(golden.path("queries.jsonl"), lines([hopeless].into_iter())).unwrap();
    let (code, _, stderr) = run(golden.eval().args(["--min-recall@8", "90"])).await;
    assert_eq!(code, Some(9), "{stderr}");
    assert!(stderr.contains("R@8 is 0.00 %, below 90 %"), "{stderr}");
    assert!(stderr.contains("1 needed tools are not there") && stderr.contains("all/tune_piano"), "{stderr}");
    let (code, _, stderr) = run(golden.eval().args(["--min-recall@8", "0"])).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn what_cannot_be_measured_is_said() {
    let golden = Golden::new();
    let check = async |command: &mut Command, wanted: &str| {
        let (code, _, stderr) = run(command).await;
        assert!(code != Some(0) && stderr.contains(wanted), "{wanted} is missing in {stderr}");
    };
    check(&mut eval(), "name a file with `--tools`").await;
    check(eval().arg("--tools").arg(golden.path("tools.jsonl")), "there are 1 sets and 0 `--queries`").await;
    check(golden.eval().args(["--ranking", "guess"]), "`guess`").await;
    check(golden.eval().args(["--embedding", "word2vec"]), "no such provider").await;
    check(golden.eval().args(["--embedding", "tei:http://127.0.0.1:9"]), "does not work").await;
    check(golden.eval().args(["--min-recall@8", "0.9"]), "did you mean 90?").await;
    std::fs::write(golden.path("queries.jsonl"), "{\"id\": 7}\n").unwrap();
    check(&mut golden.eval(), "queries.jsonl, line 1: ").await;
}

#[tokio::test]
async fn one_search_is_laid_open() {
    let golden = Golden::new();
    let mut command = eval();
    command.arg("--tools").arg(golden.path("tools.jsonl")).args(["--ranking", "clause-blend"]);
    let explained = json_of(command.args(["--explain", "weather forecast for a city"])).await;
    let best = &explained[0]["explanation"]["candidates"][0];
    assert_eq!(best["name"], "get_weather", "{explained}");
    assert!(best["score"].is_f64() && !best["hits"].as_array().unwrap().is_empty(), "{best}");
}

/// Ids by query, as `--run-out` writes them.
fn written_run(folder: &Path) -> Value {
    let file = std::fs::read_dir(folder).unwrap().next().expect("a run is written").unwrap().path();
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// 200 queries, each in the words of two tools.
fn many_queries() -> Vec<String> {
    let pairs = TOOLS.iter().flat_map(|(name, one)| TOOLS.iter().map(move |(_, other)| (name, one, other)));
    let queries = pairs.flat_map(|(name, one, other)| [format!("{one}, then {other}"), format!("{name} and {other}")]);
    queries.take(200).collect()
}

#[tokio::test]
async fn eval_on_a_live_catalog_finds_what_clients_find() {
    let golden = Golden::new();
    let queries = many_queries();
    let row = |(index, query): (usize, &String)| json!({ "id": format!("q{index}"), "query": query, "gold": ["all/send_mail"] });
    std::fs::write(golden.path("queries.jsonl"), lines(queries.iter().enumerate().map(row))).unwrap();
    let backend = FakeBackend::new().tools_file(&golden.definitions());
    let host = TestHost::builder().backend("all", backend).yaml("optimizer: {}").start().await;

    // What `eval` finds in the tools of the running host.
    let runs = golden.path("runs");
    let mut live = eval();
    live.arg("--live").arg("--queries").arg(golden.path("queries.jsonl")).arg("-c").arg(&host.written.config);
    live.args(["--limit", "8"]).arg("--run-out").arg(&runs);
    let report = json_of(&mut live).await;
    assert_eq!(report["rows"][0]["queries"], 200);
    let measured = written_run(&runs);

    // What a client is answered.
    let (code, snapshot, stderr) = run(host.written.subcommand("snapshot").arg("-c").arg(&host.written.config)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let tools: Vec<Value> = snapshot.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tools.len(), TOOLS.len());
    let id_of = |advertised: &Value| {
        let shown = |tool: &&Value| &tool["advertised"] == advertised || &tool["name"] == advertised;
        let tool = tools.iter().find(shown).unwrap_or_else(|| panic!("{advertised} is not in the snapshot"));
        format!("{}/{}", tool["server"].as_str().unwrap(), tool["name"].as_str().unwrap())
    };
    let client = host.connect_modern();
    for (index, query) in queries.iter().enumerate() {
        let reply = client.call("find_tool", json!({ "tool_description": query })).await;
        let found = reply.result()["structuredContent"]["tools"].as_array().unwrap();
        let ids: Vec<_> = found.iter().map(|tool| id_of(&tool["name"])).collect();
        assert_eq!(json!(ids), measured[format!("q{index}")], "{query}");
    }

    // And the command line.
    let mut find = host.written.subcommand("find");
    find.arg("-c").arg(&host.written.config).args([QUERIES[0].0, "--limit", "3", "--explain"]);
    let answer = json_of(&mut find).await;
    assert_eq!(answer["tools"].as_array().unwrap().len(), 3);
    assert_eq!(id_of(&answer["tools"][0]["name"]), "all/get_weather");
    assert_eq!(answer["matches"][0]["server"], "all");
}

/// Two servers offer the same tools; the questions want those of `first`, which nothing but the user's ranking prefers.
#[tokio::test]
async fn a_ranking_of_the_users_shows_in_the_comparison() {
    let golden = Golden::new();
    let tool = |server: &str, (name, description): &(&str, &str)| json!({ "server": server, "name": name, "description": description });
    let tools = ["first", "second"].into_iter().flat_map(|server| TOOLS.iter().map(move |row| tool(server, row)));
    std::fs::write(golden.path("tools.jsonl"), lines(tools)).unwrap();
    let query = |(index, (name, description)): (usize, &(&str, &str))| json!({ "id": format!("q{index}"), "query": description, "gold": [format!("first/{name}")] });
    std::fs::write(golden.path("queries.jsonl"), lines(TOOLS.iter().enumerate().map(query))).unwrap();
    let source = workspace_dir().join("examples/plugins/server-boost.wasm");
    let config = golden.path("vmcp.yaml");
    let text = format!(
        "name: test\nplugins: [{{ name: server-boost, source: {} }}]\n\
         optimizer: {{ ranking: server-boost, rankingConfig: {{ boost: {{ first: 2 }} }} }}\n",
        source.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut eval = golden.eval();
    eval.arg("-c").arg(&config).args(["--ranking", "linear", "--compare", "linear", "server-boost"]);
    let report = json_of(&mut eval).await;
    let (rows, compared) = (&report["rows"], &report["comparisons"][0]);
    assert!(figure(&rows[0], "R@1") < 0.5 && figure(&rows[1], "R@1") > 0.9, "{rows:#}");
    let gain = compared["figures"].as_array().unwrap().iter().find(|figure| figure["metric"] == "R@1").unwrap();
    assert!(gain["low"].as_f64().unwrap() > 0.0, "{gain}");
}

#[tokio::test]
async fn find_says_that_nothing_is_searched_where_all_tools_are_shown() {
    let written = TestHost::builder().backend("b", FakeBackend::echo(["a"])).write().await;
    let (code, _, stderr) = run(written.subcommand("find").arg("-c").arg(&written.config).arg("anything")).await;
    assert!(code != Some(0) && stderr.contains("has no `optimizer`"), "{stderr}");
}
