//! The lexical query of the system whose schemas `find_tool` has: every word of the query, OR-joined, over name and
//! description, among the tools that a list in JSON allows. Its table, its tokenizer and its terms; no vectors, no server.

use std::{collections::HashSet, time::Instant};

use serde_json::{Value, json};
use vmcp_store::rusqlite::{self, Connection, params};

use crate::bench::stats::Latencies;

/// Words that its queries leave out.
const NOISE: [&str; 23] = [
    "name",
    "description",
    "schema",
    "input",
    "output",
    "type",
    "properties",
    "required",
    "title",
    "id",
    "tool",
    "server",
    "meta",
    "data",
    "content",
    "text",
    "value",
    "field",
    "column",
    "table",
    "index",
    "key",
    "primary",
];
/// Tools of one answer.
const LIMIT: usize = 8;

/// An index in memory.
pub(super) struct Reference {
    database: Connection,
    /// The names of all tools, as JSON.
    allowed: String,
}

impl Reference {
    pub(super) fn of(definitions: &[Value]) -> anyhow::Result<Self> {
        let mut database = Connection::open_in_memory()?;
        database.execute_batch(
            "CREATE TABLE tool (name TEXT PRIMARY KEY, description TEXT);
             CREATE VIRTUAL TABLE word USING fts5 (name, description, content='tool', tokenize='porter unicode61');
             CREATE TRIGGER tool_added AFTER INSERT ON tool BEGIN
                 INSERT INTO word (rowid, name, description) VALUES (new.rowid, new.name, new.description);
             END;",
        )?;
        let transaction = database.transaction()?;
        let mut insert = transaction.prepare("INSERT INTO tool (name, description) VALUES (?1, ?2)")?;
        for definition in definitions {
            insert.execute(params![definition["name"].as_str(), definition["description"].as_str()])?;
        }
        drop(insert);
        transaction.commit()?;
        let names: Vec<_> = definitions.iter().map(|definition| &definition["name"]).collect();
        Ok(Self { database, allowed: json!(names).to_string() })
    }

    /// Asks all `queries`, one after the other.
    pub(super) fn measure(&self, warm_up: &[String], queries: &[String]) -> anyhow::Result<Latencies> {
        let mut search = self.search()?;
        for query in warm_up {
            search(query)?;
        }
        let mut latencies = Latencies::default();
        let begun = Instant::now();
        for query in queries {
            let asked = Instant::now();
            search(query)?;
            latencies.push(asked.elapsed());
        }
        latencies.took = begun.elapsed();
        Ok(latencies)
    }

    /// The names that a query finds, best first.
    fn search(&self) -> rusqlite::Result<impl FnMut(&str) -> rusqlite::Result<Vec<String>>> {
        let mut statement = self.database.prepare(
            "SELECT tool.name FROM word JOIN tool ON tool.rowid = word.rowid
             WHERE word MATCH ?1 AND tool.name IN (SELECT value FROM json_each(?2))
             ORDER BY word.rank LIMIT ?3",
        )?;
        Ok(move |query: &str| {
            statement.query_map(params![expression(query), self.allowed, LIMIT], |row| row.get(0))?.collect()
        })
    }
}

/// The words of `query` as FTS5 takes them.
fn expression(query: &str) -> String {
    let mut seen = HashSet::new();
    let terms = query.split_whitespace().filter(|word| {
        let lower = word.to_lowercase();
        !NOISE.contains(&lower.as_str()) && seen.insert(lower)
    });
    terms.map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_words_without_noise() {
        let check = |query: &str, expected: &str| assert_eq!(expression(query), expected, "{query}");
        check("read the File", r#""read" OR "the" OR "File""#);
        check("file FILE name", r#""file""#);
        check(r#"say "hi""#, r#""say" OR """hi""""#);
    }

    #[test]
    fn a_tool_is_found_by_a_stem_of_its_description() {
        let tools = [
            json!({ "name": "commit_log", "description": "Lists commits" }),
            json!({ "name": "read_file", "description": "Reads a file" }),
        ];
        let found = Reference::of(&tools).unwrap().search().unwrap()("reading files").unwrap();
        assert_eq!(found, ["read_file"]);
    }
}
