//! What searches and updates of the index cost, on made-up tools: `cargo bench -p vmcp-optimizer --bench index`.

use std::sync::Arc;

use divan::{Bencher, black_box};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use vmcp_core::ranking::{Column, DocumentForm, LexicalQuery, MatchMode, Term, WeightedColumn};
use vmcp_optimizer::{
    document::ToolDocument,
    embedding::{EmbedError, Embedded, Embedder, ModelId, Purpose},
    index::{DenseSearch, Index, IndexOptions, LexicalSearch, Visible},
};

const TOOLS: [usize; 2] = [10_000, 100_000];
const VOCABULARY: usize = 20_000;
const WIDTH: usize = 256;

fn main() {
    divan::main();
}

/// Words as frequent as in a language: the n-th about 1/n as often as the first.
struct Language(StdRng);

impl Language {
    fn word(&mut self) -> String {
        let exponent: f64 = self.0.random();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let mut rank = (VOCABULARY as f64).powf(exponent) as usize;
        let mut word = String::new();
        while word.len() < 4 || rank > 0 {
            word.push(char::from(b"tnrsldkm"[rank % 8]));
            word.push(char::from(b"aeiou"[rank / 8 % 5]));
            rank /= 40;
        }
        word
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn tool(&mut self, number: usize) -> Arc<ToolDocument> {
        let properties: serde_json::Map<_, _> = (0..self.0.random_range(1..6))
            .map(|_| (self.words(2).replace(' ', "_"), json!({"type": "string", "description": self.words(9)})))
            .collect();
        let description = self.words(25);
        let definition = json!({"description": description, "inputSchema": {"properties": properties}});
        let name = format!("{}_{number}", self.words(2).replace(' ', "_"));
        let server = format!("server-{}", number / 10);
        Arc::new(ToolDocument::new(&format!("{server}_{name}"), &name, &server, &definition.to_string()))
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..WIDTH).map(|_| self.0.random_range(-1.0..1.0)).collect()
    }
}

fn language() -> Language {
    Language(StdRng::seed_from_u64(7))
}

fn tools(count: usize) -> Vec<Arc<ToolDocument>> {
    let mut language = language();
    (0..count).map(|number| language.tool(number)).collect()
}

fn index(count: usize) -> Index {
    let index = Index::open(IndexOptions::default()).expect("memory is there");
    index.update(tools(count));
    index
}

fn query(language: &mut Language, words: usize) -> LexicalQuery {
    let weights = [1.0, 3.0, 0.7, 1.4, 0.5, 0.4];
    let columns = Column::ALL.into_iter().zip(weights);
    LexicalQuery {
        terms: (0..words).map(|_| Term { text: language.word(), weight: 1.0 }).collect(),
        columns: columns.map(|(column, weight)| WeightedColumn { column, weight }).collect(),
        mode: MatchMode::Any,
        form: DocumentForm::Standard,
        saturation: 1.2,
        length_normalisation: 0.75,
        exact: 0.2,
    }
}

#[divan::bench(args = TOOLS)]
fn search_fifteen_words(bencher: Bencher<'_, '_>, count: usize) {
    let index = index(count);
    let mut language = language();
    bencher.with_inputs(|| query(&mut language, 15)).bench_local_values(|query| {
        let searches = [LexicalSearch { query: &query, pool: 100 }];
        black_box(index.read().lexical(&searches, &Visible::All).expect("memory does not fail"))
    });
}

/// A request of fifteen words and the five clauses that it consists of.
#[divan::bench(args = TOOLS)]
fn search_with_clauses(bencher: Bencher<'_, '_>, count: usize) {
    let index = index(count);
    let mut language = language();
    bencher.with_inputs(|| query(&mut language, 15)).bench_local_values(|whole| {
        let clauses = whole.terms.chunks(3).map(|terms| LexicalQuery { terms: terms.to_vec(), ..whole.clone() });
        let queries: Vec<_> = std::iter::once(whole.clone()).chain(clauses).collect();
        let searches: Vec<_> = queries.iter().map(|query| LexicalSearch { query, pool: 100 }).collect();
        black_box(index.read().lexical(&searches, &Visible::All).expect("memory does not fail"))
    });
}

/// Vectors without meaning.
struct Noise;

impl Embedder for Noise {
    fn label(&self) -> &'static str {
        "noise"
    }

    fn embed<'a>(
        &'a self,
        texts: &'a [String],
        _: Purpose,
    ) -> futures::future::BoxFuture<'a, Result<Embedded, EmbedError>> {
        let mut language = language();
        let vectors = texts.iter().map(|_| language.vector()).collect();
        Box::pin(std::future::ready(Ok(Embedded { model: ModelId::new("noise"), vectors })))
    }
}

#[divan::bench(args = TOOLS, consts = [1, 6])]
fn search_by_meaning<const VECTORS: usize>(bencher: Bencher<'_, '_>, count: usize) {
    let index = index(count);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    let filled = runtime.block_on(index.embed_missing(&Noise, DocumentForm::Standard, None, &|_, _| {}));
    assert_eq!(filled.expect("noise does not fail").embedded, count);
    let mut language = language();
    let vectors = || (0..VECTORS).map(|_| language.vector()).collect::<Vec<_>>();
    bencher.with_inputs(vectors).bench_local_values(|vectors| {
        let searches: Vec<_> = vectors.iter().map(|vector| DenseSearch { vector, pool: 100 }).collect();
        black_box(index.read().dense(DocumentForm::Standard, &searches, &Visible::All))
    });
}

#[divan::bench(args = TOOLS, sample_count = 20)]
fn change_one_tool(bencher: Bencher<'_, '_>, count: usize) {
    let index = index(count);
    let mut tools = tools(count);
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        tools[count / 2] = ToolDocument::new(
            "changing",
            "changing",
            "s",
            &json!({"description": format!("in round {number} of the change")}).to_string(),
        )
        .into();
        index.update(tools.clone())
    });
}

#[divan::bench(args = [10_000], sample_count = 5)]
fn index_from_nothing(bencher: Bencher<'_, '_>, count: usize) {
    let tools = tools(count);
    bencher.bench_local(|| {
        let index = Index::open(IndexOptions::default()).expect("memory is there");
        index.update(tools.clone());
        index
    });
}
