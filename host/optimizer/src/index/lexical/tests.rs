use proptest::prelude::*;
use vmcp_core::ranking::{
    DocumentForm,
    MatchMode::{All, Any},
    Term, WeightedColumn,
};
use vmcp_store::{Database, Format, Location};

use super::{super::storage::column_texts, *};
use crate::document::ToolDocument;

fn tool(name: &str, server: &str, description: &str, parameter: &str) -> Arc<ToolDocument> {
    let schema =
        serde_json::json!({"properties": {parameter: {"description": description, "enum": [name, parameter]}}});
    let definition = serde_json::json!({"description": description, "inputSchema": schema}).to_string();
    Arc::new(ToolDocument::new(name, name, server, &definition))
}

fn image(documents: &[Arc<ToolDocument>]) -> LexicalImage {
    let mut image = LexicalImage::default();
    let placed: Vec<_> =
        documents.iter().enumerate().map(|(at, document)| (Slot::from_position(at), document.clone())).collect();
    image.update(&[], &placed, &mut Splitter::default());
    image
}

fn query(terms: &[(&str, f64)], columns: &[(Column, f64)], mode: MatchMode) -> LexicalQuery {
    LexicalQuery {
        terms: terms.iter().map(|(text, weight)| Term { text: (*text).into(), weight: *weight }).collect(),
        columns: columns.iter().map(|(column, weight)| WeightedColumn { column: *column, weight: *weight }).collect(),
        mode,
        form: DocumentForm::Standard,
        saturation: 1.2,
        length_normalisation: 0.75,
        exact: 0.0,
    }
}

fn search(image: &LexicalImage, query: &LexicalQuery, pool: usize, visible: &Visible) -> Vec<Scored> {
    image.search(&[LexicalSearch { query, pool }], visible, &mut Splitter::default()).remove(0)
}

#[test]
fn terms_columns_modes_and_visibility_decide_what_is_found() {
    let documents = [
        tool("readFile", "disk", "Reads a file", "path"),
        tool("writeFile", "disk", "Writes into a file that exists", "path"),
        tool("sendMail", "post", "Sends a letter", "address"),
        tool("listMails", "post", "Lists letters", "folder"),
        tool("weather", "sky", "Tells the weather", "city"),
    ];
    let image = image(&documents);
    let name = [(Column::Name, 1.0)];
    let all = Column::ALL.map(|column| (column, 1.0));
    let check = |terms: &[(&str, f64)], columns: &[(Column, f64)], mode: MatchMode, expected: &[u32]| {
        let found = search(&image, &query(terms, columns, mode), 10, &Visible::All);
        assert_eq!(found.iter().map(|hit| hit.slot.0).collect::<Vec<_>>(), expected, "{terms:?} {columns:?} {mode:?}");
    };
    check(&[("files", 1.0)], &name, Any, &[0, 1]);
    check(&[("files", 1.0), ("WRITE", 1.0)], &name, Any, &[1, 0]);
    check(&[("files", 1.0), ("WRITE", 1.0)], &name, All, &[1]);
    check(&[("writeFile", 1.0)], &name, All, &[1]);
    check(&[("files", 1.0), ("unheard", 1.0)], &name, All, &[]);
    check(&[("files", 1.0), ("unheard", 1.0)], &name, Any, &[0, 1]);
    check(&[("letter", 1.0)], &name, Any, &[]);
    check(&[("letter", 1.0)], &all, Any, &[3, 2]);
    check(&[("mail", 1.0), ("weather", 5.0)], &name, Any, &[4, 2, 3]);
    check(&[("mail", 1.0), ("weather", 0.0)], &name, Any, &[2, 3]);
    check(&[("mail", 1.0), ("weather", f64::NAN)], &name, Any, &[2, 3]);
    check(&[("mail", 1.0)], &[(Column::Name, 0.0)], Any, &[]);
    check(&[("mail", 1.0)], &[], Any, &[]);
    check(&[], &name, Any, &[]);
    check(&[("!", 1.0)], &name, All, &[]);

    let mail = query(&[("mail", 1.0)], &name, Any);
    let only = Visible::Only([Slot(0), Slot(3)].into_iter().collect());
    assert_eq!(search(&image, &mail, 10, &only).iter().map(|hit| hit.slot.0).collect::<Vec<_>>(), [3]);
    assert_eq!(search(&image, &mail, 1, &Visible::All).iter().map(|hit| hit.slot.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn words_that_nobody_has_any_more_are_forgotten() {
    let before = tool("alpha", "s", "gamma", "p");
    let after = tool("beta", "s", "delta", "p");
    let mut image = image(std::slice::from_ref(&before));
    let words = image.distinct_words();
    for _ in 0..10 {
        image.update(&[(Slot(0), before.clone())], &[(Slot(0), after.clone())], &mut Splitter::default());
        image.update(&[(Slot(0), after.clone())], &[(Slot(0), before.clone())], &mut Splitter::default());
    }
    assert_eq!(image.distinct_words(), words);
    // Each word is there as its stem and as it was, and two words come while two others are still there.
    assert!(image.postings.len() <= 2 * (words + 2), "ids are used again: {}", image.postings.len());
}

fn words(most: usize) -> impl Strategy<Value = String> {
    let word =
        prop::sample::select(vec!["file", "read", "write", "mail", "user", "repo", "find", "über", "x1", "東京"]);
    prop::collection::vec(word, 0..most).prop_map(|words| words.join(" "))
}

fn documents() -> impl Strategy<Value = Vec<Arc<ToolDocument>>> {
    let document = (words(4), words(2), words(12), words(3));
    prop::collection::vec(document, 1..30).prop_map(|documents| {
        documents
            .iter()
            .map(|(name, server, description, parameter)| tool(name, server, description, parameter))
            .collect()
    })
}

fn weighted_columns() -> impl Strategy<Value = Vec<(Column, f64)>> {
    let weights = prop::collection::vec(0.1f64..4.0, COLUMNS);
    (prop::sample::subsequence(Column::ALL.to_vec(), 1..=COLUMNS), weights)
        .prop_map(|(columns, weights)| columns.into_iter().zip(weights).collect())
}

static NO_TABLES: Format = Format { application_id: 1, migrations: &[""], is_durable: false };

/// What SQLite says of the same documents, in a table of the searched columns.
fn scores_of_fts5(
    documents: &[Arc<ToolDocument>],
    words: &[String],
    columns: &[(Column, f64)],
    mode: MatchMode,
) -> Vec<(u32, f64)> {
    let names: Vec<String> = columns.iter().map(|(column, _)| format!("c{}", *column as usize)).collect();
    let weights: Vec<String> = columns.iter().map(|(_, weight)| weight.to_string()).collect();
    let operator = if mode == MatchMode::Any { " OR " } else { " AND " };
    let expression = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(operator);
    let database = Database::open(Location::Memory, &NO_TABLES).unwrap().database;
    let found = database.write(|tx| {
        tx.execute_batch(&format!("CREATE VIRTUAL TABLE t USING fts5({}, tokenize = 'ascii')", names.join(", ")))?;
        for (at, document) in documents.iter().enumerate() {
            let texts = column_texts(document, &mut Splitter::default());
            let values: Vec<String> =
                columns.iter().map(|(column, _)| format!("'{}'", texts[*column as usize])).collect();
            let sql = format!("INSERT INTO t (rowid, {}) VALUES ({at}, {})", names.join(", "), values.join(", "));
            tx.execute(&sql, [])?;
        }
        let sql = format!("SELECT rowid, -bm25(t, {}) FROM t WHERE t MATCH ?", weights.join(", "));
        tx.prepare(&sql)?.query_map([expression], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    });
    found.unwrap()
}

proptest! {
    #[test]
    fn scores_are_those_of_fts5(
        documents in documents(),
        request in words(6).prop_filter("something to look for", |request| !request.is_empty()),
        columns in weighted_columns(),
        all in any::<bool>(),
    ) {
        let mode = if all { MatchMode::All } else { MatchMode::Any };
        let mut distinct = Splitter::default().words(&request);
        distinct.sort();
        distinct.dedup();
        let mut expected = scores_of_fts5(&documents, &distinct, &columns, mode);
        expected.sort_by_key(|(slot, _)| *slot);
        let query = query(&[(&request, 1.0)], &columns, mode);
        let mut found = search(&image(&documents), &query, usize::MAX, &Visible::All);
        found.sort_by_key(|hit| hit.slot);
        let slots = |found: &[Scored]| found.iter().map(|hit| hit.slot.0).collect::<Vec<_>>();
        prop_assert_eq!(slots(&found), expected.iter().map(|(slot, _)| *slot).collect::<Vec<_>>());
        for (hit, (_, score)) in found.iter().zip(&expected) {
            prop_assert!((hit.score - score).abs() <= 1e-9 * score, "{} {score}", hit.score);
        }
    }

    #[test]
    fn searches_together_find_what_each_finds_alone(
        documents in documents(),
        requests in prop::collection::vec((words(5), weighted_columns(), any::<bool>()), 1..6),
    ) {
        let image = image(&documents);
        let mut queries: Vec<LexicalQuery> = Vec::new();
        for (request, columns, all) in &requests {
            let mode = if *all { MatchMode::All } else { MatchMode::Any };
            queries.push(query(&[(request, 1.0)], columns, mode));
            queries.push(query(&[(request, 2.0), ("file", 1.0)], &requests[0].1, mode));
        }
        let searches: Vec<_> = queries.iter().map(|query| LexicalSearch { query, pool: 5 }).collect();
        let together = image.search(&searches, &Visible::All, &mut Splitter::default());
        for (query, found) in queries.iter().zip(together) {
            prop_assert_eq!(found, search(&image, query, 5, &Visible::All));
        }
    }
}
