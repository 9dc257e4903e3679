//! Names and descriptions as they are, searched by FTS5 itself: what rankings that reproduce the reference system ask for.
//!
//! A table in memory, made when it is first asked for and brought up to date by the searches themselves.

use std::sync::{Arc, Mutex, PoisonError};

use vmcp_core::ranking::{LexicalQuery, MatchMode};
use vmcp_store::{Database, Format, Location, StoreError, rusqlite::params};

use super::{
    lexical::LexicalSearch,
    slot::{Scored, Slot, Visible},
};
use crate::document::ToolDocument;

static FORMAT: Format = Format {
    application_id: 0x766D_6372, // "vmcr"
    is_durable: false,
    migrations: &["CREATE VIRTUAL TABLE tool USING fts5(name, description, tokenize = 'porter unicode61')"],
};

type Documents = [Option<Arc<ToolDocument>>];

#[derive(Default)]
pub(super) struct ReferenceTable(Mutex<Option<Filled>>);

struct Filled {
    database: Database,
    /// What the rows were made of: the rowid is the position.
    rows: Vec<Option<Arc<ToolDocument>>>,
}

impl ReferenceTable {
    /// The best of `documents` for each search by `bm25()`, best first, ties by slot.
    pub(super) fn search(
        &self,
        documents: &Documents,
        searches: &[LexicalSearch<'_>],
        visible: &Visible,
    ) -> Result<Vec<Vec<Scored>>, StoreError> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: a table that failed half-way is not used again.
        let mut filled = match table.take() {
            Some(filled) => filled,
            None => Filled { database: Database::open(Location::Memory, &FORMAT)?.database, rows: Vec::new() },
        };
        filled.follow(documents)?;
        let results = searches.iter().map(|search| filled.search(search, visible)).collect();
        *table = Some(filled);
        results
    }
}

impl Filled {
    /// Makes the rows those of `documents`.
    fn follow(&mut self, documents: &Documents) -> Result<(), StoreError> {
        let slots = documents.len().max(self.rows.len());
        self.rows.resize(slots, None);
        let at = |slot: usize| documents.get(slot).and_then(Option::as_ref);
        let is_same = |slot: &usize| match (&self.rows[*slot], at(*slot)) {
            (Some(row), Some(document)) => Arc::ptr_eq(row, document),
            (None, None) => true,
            _ => false,
        };
        let different: Vec<usize> = (0..slots).filter(|slot| !is_same(slot)).collect();
        if different.is_empty() {
            return Ok(());
        }
        self.database.write(|tx| {
            let mut delete = tx.prepare("DELETE FROM tool WHERE rowid = ?")?;
            let mut insert = tx.prepare("INSERT INTO tool (rowid, name, description) VALUES (?, ?, ?)")?;
            for slot in &different {
                if self.rows[*slot].is_some() {
                    delete.execute([slot])?;
                }
                if let Some(document) = at(*slot) {
                    insert.execute(params![slot, document.name(), document.description()])?;
                }
            }
            Ok(())
        })?;
        different.into_iter().for_each(|slot| self.rows[slot] = at(slot).cloned());
        Ok(())
    }

    fn search(&self, search: &LexicalSearch<'_>, visible: &Visible) -> Result<Vec<Scored>, StoreError> {
        let Some(expression) = expression(search.query).filter(|_| search.pool > 0) else { return Ok(Vec::new()) };
        self.database.read(|c| {
            let mut select =
                c.prepare("SELECT rowid, -bm25(tool) FROM tool WHERE tool MATCH ? ORDER BY bm25(tool), rowid")?;
            let mut rows = select.query([expression])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let slot = Slot(row.get(0)?);
                if visible.contains(slot) {
                    found.push(Scored { slot, score: row.get(1)? });
                    if found.len() == search.pool {
                        break;
                    }
                }
            }
            Ok(found)
        })
    }
}

/// The terms as quoted phrases, so that nothing in them is taken for syntax; `None` without terms.
fn expression(query: &LexicalQuery) -> Option<String> {
    let operator = match query.mode {
        MatchMode::Any => " OR ",
        MatchMode::All => " AND ",
    };
    let quote = |text: &str| format!("\"{}\"", text.replace('\0', " ").replace('"', "\"\""));
    let terms: Vec<String> =
        query.terms.iter().filter(|term| !term.text.trim().is_empty()).map(|term| quote(&term.text)).collect();
    (!terms.is_empty()).then(|| terms.join(operator))
}

#[cfg(test)]
mod tests {
    use vmcp_core::ranking::{DocumentForm, Term};

    use super::*;

    fn documents() -> Vec<Option<Arc<ToolDocument>>> {
        let tool = |name: &str, description: &str| {
            let definition = serde_json::json!({"description": description}).to_string();
            Some(Arc::new(ToolDocument::new(name, name, "s", &definition)))
        };
        vec![
            tool("read_file", "Reads a file"),
            None,
            tool("write", "Writes files"),
            tool("quote", "say \"hi\" AND bye"),
        ]
    }

    fn found(
        table: &ReferenceTable,
        documents: &Documents,
        terms: &[&str],
        mode: MatchMode,
        visible: &Visible,
    ) -> Vec<u32> {
        let terms = terms.iter().map(|text| Term { text: (*text).into(), weight: 1.0 }).collect();
        let query = LexicalQuery {
            terms,
            columns: Vec::new(),
            mode,
            form: DocumentForm::Reference,
            saturation: 1.2,
            length_normalisation: 0.75,
            exact: 0.0,
        };
        let hits = table.search(documents, &[LexicalSearch { query: &query, pool: 5 }], visible).unwrap().remove(0);
        assert!(hits.iter().all(|hit| hit.score > 0.0));
        hits.iter().map(|hit| hit.slot.0).collect()
    }

    #[test]
    fn fts5_searches_names_and_descriptions() {
        let table = ReferenceTable::default();
        let documents = documents();
        let check = |terms: &[&str], mode: MatchMode, expected: &[u32]| {
            assert_eq!(found(&table, &documents, terms, mode, &Visible::All), expected, "{terms:?}");
        };
        check(&["file"], MatchMode::Any, &[0, 2]);
        check(&["writing"], MatchMode::Any, &[2]);
        check(&["writing", "files"], MatchMode::All, &[2]);
        check(&["writing", "reading"], MatchMode::All, &[]);
        check(&["\"hi\""], MatchMode::Any, &[3]);
        check(&["AND", "NOT", "NEAR(", "*", "a\0b", "name:"], MatchMode::Any, &[3]);
        check(&[], MatchMode::Any, &[]);
        check(&[" ", ""], MatchMode::All, &[]);
        check(&["!!!"], MatchMode::Any, &[]);
    }

    #[test]
    fn rows_follow_the_documents_of_each_search() {
        let table = ReferenceTable::default();
        let first = documents();
        let mut second = first[..3].to_vec();
        second[0] = first[2].clone();
        second[2] = None;
        for _ in 0..2 {
            assert_eq!(found(&table, &first, &["files"], MatchMode::Any, &Visible::All), [0, 2]);
            assert_eq!(found(&table, &second, &["files"], MatchMode::Any, &Visible::All), [0]);
            assert_eq!(found(&table, &[], &["files"], MatchMode::Any, &Visible::All), [0; 0]);
        }
        let only = Visible::Only([Slot(2)].into_iter().collect());
        assert_eq!(found(&table, &first, &["files"], MatchMode::Any, &only), [2]);
    }
}
