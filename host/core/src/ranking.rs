//! What a ranking is asked and answers: the words of `wit/deps/vmcp-ranking@0.1.0`, which says what each of them means.

use std::time::Duration;

use crate::BoxError;

/// Decides how tools are searched for and in which order they are answered.
pub trait RankingStrategy: Send + Sync {
    /// The name in the configuration and the component's version, e.g. `clause-blend 0.1.0`.
    fn label(&self) -> &str;

    /// Begins one search.
    ///
    /// # Errors
    /// If the component cannot be run.
    fn begin(&self) -> Result<Box<dyn RankingRun>, RankingError>;
}

/// One search: `plan` once, then `rank` once. Blocking: at most the component's limits.
pub trait RankingRun: Send {
    fn plan(&mut self, query: &RankingQuery) -> Result<SearchPlan, RankingError>;

    fn rank(&mut self, query: &RankingQuery, findings: &Findings<'_>) -> Result<Vec<Ranked>, RankingError>;
}

/// What a client wants to find.
#[derive(Clone, Debug, PartialEq)]
pub struct RankingQuery {
    pub text: String,
    pub keywords: Vec<String>,
    /// 0 to 1: the weight of meaning against words.
    pub semantic_ratio: f64,
    /// Tools that will be answered with at most.
    pub limit: u32,
    /// Whether somebody reads [`Ranked::why`].
    pub explain: bool,
}

/// A field of the indexed documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Column {
    Server,
    Name,
    Description,
    ParameterNames,
    ParameterDescriptions,
    EnumValues,
}

impl Column {
    pub const ALL: [Self; 6] = [
        Self::Server,
        Self::Name,
        Self::Description,
        Self::ParameterNames,
        Self::ParameterDescriptions,
        Self::EnumValues,
    ];
}

/// Which form of the documents is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentForm {
    /// All columns, names split into words.
    Standard,
    /// Name and description as they are.
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchMode {
    Any,
    All,
}

/// A word to look for, as the client wrote it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Term {
    pub text: String,
    pub weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedColumn {
    pub column: Column,
    pub weight: f64,
}

/// A search by words.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LexicalQuery {
    pub terms: Vec<Term>,
    pub columns: Vec<WeightedColumn>,
    pub mode: MatchMode,
    pub form: DocumentForm,
    /// `k1` of BM25.
    pub saturation: f64,
    /// `b` of BM25.
    pub length_normalisation: f64,
    /// What the client's very form of a word adds beside its stem.
    pub exact: f64,
}

/// A search by meaning.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DenseQuery {
    pub text: String,
    pub form: DocumentForm,
}

/// One search, through one arm or both.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subquery {
    pub id: u32,
    pub lexical: Option<LexicalQuery>,
    pub dense: Option<DenseQuery>,
    /// Best hits to take from each arm.
    pub pool: u32,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchPlan {
    pub subqueries: Vec<Subquery>,
    /// Have each candidate list the others whose cosine is at least this.
    pub similar_from: Option<f64>,
    /// Texts that `rank` reads.
    pub texts: Texts,
}

/// What candidates carry beside their names and numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Texts {
    pub backend: bool,
    pub description: bool,
    pub annotations: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    Lexical,
    Dense,
}

/// A document among the best of one subquery in one arm.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    pub subquery: u32,
    pub arm: Arm,
    pub score: f64,
    /// From 1.
    pub rank: u32,
}

/// Another candidate that means much the same.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Similarity {
    pub id: u32,
    pub cosine: f64,
}

/// A tool that at least one subquery found.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub id: u32,
    pub name: &'a str,
    /// This and the next two: none where the plan did not ask for them.
    pub backend: Option<&'a str>,
    pub description: Option<&'a str>,
    /// JSON text, or empty.
    pub annotations: Option<&'a str>,
    pub hits: Vec<Hit>,
    pub similar: Vec<Similarity>,
    pub usage: Usage,
    pub pinned: bool,
}

/// How a tool was used in the last day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub calls: u32,
    pub failures: u32,
    /// Since the last call.
    pub idle: Option<Duration>,
}

/// What the host found.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    pub candidates: Vec<Candidate<'a>>,
    /// Whether the dense queries were run.
    pub dense: bool,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ranked {
    pub id: u32,
    pub score: f64,
    /// Why it was found, in a few words; may be empty.
    pub why: String,
}

/// Why there is no plan or no order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RankingError {
    /// The ranking cannot use its config.
    #[error("`{ranking}` cannot use its config: {message}")]
    Config { ranking: String, message: String },
    /// The ranking said something else is wrong.
    #[error("`{ranking}` failed: {message}")]
    Failed { ranking: String, message: String },
    /// The component trapped, ran into a limit, or could not be run at all.
    #[error("`{ranking}` did not answer")]
    Component { ranking: String, source: BoxError },
}
