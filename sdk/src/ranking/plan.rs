//! What a ranking wants to have searched.

use super::{Query, distinct, without_stop_words, words};

/// Words of one search by words that the host accepts.
const MAX_TERMS: usize = 256;
/// Text of one search that the host accepts, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// The searches of one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// At most 32.
    pub subqueries: Vec<Subquery>,
    /// Have each candidate list the others whose vectors' cosine is at least this.
    pub similar_from: Option<f64>,
    /// Texts of the candidates that [`rank`](super::RankingStrategy::rank) reads.
    pub texts: Texts,
}

impl Plan {
    /// These searches, candidates without similarities and with [all texts](Texts::ALL).
    pub fn new(subqueries: impl IntoIterator<Item = Subquery>) -> Self {
        Self { subqueries: subqueries.into_iter().collect(), similar_from: None, texts: Texts::ALL }
    }

    /// The same with these texts alone.
    #[must_use]
    pub fn reading(self, texts: Texts) -> Self {
        Self { texts, ..self }
    }
}

/// What candidates carry beside their names and numbers. Each text is copied for each candidate, of which there are hundreds, so
/// a ranking that reads less is faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// [`Candidate::backend`](super::Candidate::backend).
    pub backend: bool,
    /// [`Candidate::description`](super::Candidate::description).
    pub description: bool,
    /// [`Candidate::annotations`](super::Candidate::annotations).
    pub annotations: bool,
}

impl Texts {
    /// All of them.
    pub const ALL: Self = Self { backend: true, description: true, annotations: true };

    /// Those that [`Fusion::into_ranked`](super::Fusion::into_ranked) and [`why`](super::why) read.
    pub fn for_reasons(query: &Query) -> Self {
        Self { description: query.explain, ..Self::default() }
    }
}

/// One search, through one arm or both.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// By which hits refer to it; unique in the plan.
    pub id: u32,
    /// The search by words.
    pub lexical: Option<LexicalQuery>,
    /// The search by meaning.
    pub dense: Option<DenseQuery>,
    /// Best hits to take from each arm, 1 to 200.
    pub pool: u32,
}

impl Subquery {
    /// Both arms over the standard documents: `terms` by words, `text` by meaning, each only if there is any.
    pub fn new(id: u32, terms: Vec<Term>, text: &str, pool: u32) -> Self {
        let lexical = (!terms.is_empty()).then(|| LexicalQuery::new(terms));
        let dense = (!text.trim().is_empty()).then(|| DenseQuery::new(text));
        Self { id, lexical, dense, pool }
    }
}

/// A search by words: BM25 over the columns' weighted frequencies.
#[derive(Clone, Debug, PartialEq)]
pub struct LexicalQuery {
    /// At most 256. Repeated ones count once, with the greatest weight.
    pub terms: Vec<Term>,
    /// Columns to search; the others do not count.
    pub columns: Vec<WeightedColumn>,
    /// Whether one of the terms is enough.
    pub mode: MatchMode,
    /// Which form of the documents is searched.
    pub form: DocumentForm,
    /// How soon more of the same term adds little: `k1` of BM25, usually 1.2 to 2.
    pub saturation: f64,
    /// How much the length of a document counts, 0 to 1: `b` of BM25, usually 0.75.
    pub length_normalisation: f64,
    /// What a word adds where it stands exactly as the client wrote it, beside what its stem adds; 0 counts stems alone.
    pub exact: f64,
}

impl LexicalQuery {
    /// Documents with any of the first 256 `terms`, with the weights that find best on the development data.
    pub fn new(mut terms: Vec<Term>) -> Self {
        terms.truncate(MAX_TERMS);
        Self {
            terms,
            columns: Column::DEFAULT_WEIGHTS.to_vec(),
            mode: MatchMode::Any,
            form: DocumentForm::Standard,
            saturation: 1.2,
            length_normalisation: 0.75,
            exact: 0.7,
        }
    }
}

/// A search by meaning: the cosine between the text's vector and those of the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenseQuery {
    /// At most 64 KiB.
    pub text: String,
    /// Which form of the documents is searched.
    pub form: DocumentForm,
}

impl DenseQuery {
    /// The first 64 KiB of `text`, over the standard documents.
    pub fn new(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
        Self { text: text.into(), form: DocumentForm::Standard }
    }
}

/// A word to look for. The host folds, splits and stems it in the way it did with the documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// As the client wrote it.
    pub text: String,
    /// Factor of what the term adds to a score; 1 is usual.
    pub weight: f64,
}

impl Term {
    /// `text` with the usual weight.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), weight: 1.0 }
    }

    /// The words of `text` that say something: no stop words unless there are no others, each once, at most 256.
    pub fn of(text: &str) -> Vec<Self> {
        let mut words = distinct(without_stop_words(words(text)));
        words.truncate(MAX_TERMS);
        words.into_iter().map(Self::new).collect()
    }
}

impl Query {
    /// The words of text and keywords that say something: no stop words unless there are no others, each once, at most 256.
    pub fn terms(&self) -> Vec<Term> {
        let mut all = self.text.clone();
        for keyword in &self.keywords {
            all.push(' ');
            all.push_str(keyword);
        }
        Term::of(&all)
    }
}

/// A field of the indexed documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Name of the backend, split into words.
    Server,
    /// Advertised name of the tool, split into words.
    Name,
    /// Description.
    Description,
    /// Names of the parameters, nested ones included, split into words.
    ParameterNames,
    /// Descriptions of the parameters.
    ParameterDescriptions,
    /// Values that parameters may have.
    EnumValues,
}

impl Column {
    /// All columns with the weights that find best on the development data. The order of their sizes is what counts: half or
    /// twice of any changes little.
    pub const DEFAULT_WEIGHTS: [WeightedColumn; 6] = [
        WeightedColumn { column: Self::Server, weight: 1.0 },
        WeightedColumn { column: Self::Name, weight: 3.0 },
        WeightedColumn { column: Self::Description, weight: 0.7 },
        WeightedColumn { column: Self::ParameterNames, weight: 1.4 },
        WeightedColumn { column: Self::ParameterDescriptions, weight: 0.7 },
        WeightedColumn { column: Self::EnumValues, weight: 0.5 },
    ];
}

/// How much a column counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedColumn {
    /// The column.
    pub column: Column,
    /// Factor of a term's frequency in it, above 0.
    pub weight: f64,
}

/// Which documents a search by words finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchMode {
    /// Those with at least one of the terms.
    Any,
    /// Those with all of them.
    All,
}

/// Which form of the documents is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentForm {
    /// All columns, names split into words. As text for meaning: server, name, description and parameter names.
    Standard,
    /// Name and description as they are, scored by the `bm25()` of SQLite's FTS5 with equal weights; weights and parameters of
    /// the query are not used. As text for meaning: `name: N description: D`.
    Reference,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_keywords_count_as_words() {
        let check = |text: &str, keywords: &[&str], expected: &[&str]| {
            let keywords = keywords.iter().map(|keyword| (*keyword).into()).collect();
            let terms = Query { keywords, ..Query::new(text) }.terms();
            assert_eq!(terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>(), expected);
        };
        check("Find the issues of a repository", &[], &["Find", "issues", "repository"]);
        check("Find issues", &["issues", "github search"], &["Find", "issues", "github", "search"]);
        check("what is it", &[], &["what", "is", "it"]);
        check("what is it", &["time"], &["time"]);
        check("", &[], &[]);
    }

    #[test]
    fn queries_stay_within_the_host_s_limits() {
        let many = (0..1_000).map(|number| format!("word{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(Query::new(many).terms().len(), 256);
        assert_eq!(LexicalQuery::new(vec![Term::new("x"); 300]).terms.len(), 256);
        assert_eq!(DenseQuery::new(&("x".to_owned() + &"ü".repeat(40_000))).text.len(), 65_535);
    }

    #[test]
    fn an_arm_without_anything_to_look_for_is_left_out() {
        let check = |terms: Vec<Term>, text: &str, expected: (bool, bool)| {
            let subquery = Subquery::new(0, terms, text, 100);
            assert_eq!((subquery.lexical.is_some(), subquery.dense.is_some()), expected);
        };
        check(Term::of("search"), "search", (true, true));
        check(Term::of("?!"), "?!", (false, true));
        check(Term::of(" "), " ", (false, false));
    }
}
