//! Deciding how tools are searched for, and in which order they are answered.
//!
//! Implement [`RankingStrategy`], register it with [`register_ranking_strategy!`](crate::register_ranking_strategy). The
//! host calls it once per search: [`plan`](RankingStrategy::plan) says what to look for, the host looks, and
//! [`rank`](RankingStrategy::rank) orders what it found. Both are asked of one value on one instance: a field that serde
//! skips, say a `Cell`, may carry over what the plan worked out. The next search begins anew, and equal input must give
//! equal output.
//!
//! Helpers for both halves: [`Query::terms`] and [`clauses`] for plans, [`Fusion`] for orders.

mod clauses;
#[cfg(target_arch = "wasm32")]
mod export;
mod fusion;
mod lists;
mod plan;
mod why;
mod words;

use std::{fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use self::{
    clauses::clauses,
    fusion::{Fusion, dense_share, reciprocal_ranks},
    lists::{List, min_max, standard_scores},
    plan::{Column, DenseQuery, DocumentForm, LexicalQuery, MatchMode, Plan, Subquery, Term, Texts, WeightedColumn},
    why::why,
    words::{STOP_WORDS, distinct, without_stop_words, words},
};
pub use crate::component::ConfigProblem;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::Exported;

use crate::{
    component::{config_schema, load_config},
    export::Worlds,
};

/// The exported interface without its version, as `describe` names it.
const WORLD: &str = "vmcp:ranking/ranking-strategy";

/// Plans searches and orders what they find. The implementing type is the config itself: its fields are the keys that a user
/// writes under `rankingConfig`, its JSON Schema is what the host checks them against.
pub trait RankingStrategy: DeserializeOwned + JsonSchema + 'static {
    /// What the host is to search for.
    ///
    /// # Errors
    /// If no plan can be made; the search is then answered by another ranking, and the error is shown.
    fn plan(&self, query: &Query) -> Result<Plan, RankingError>;

    /// The candidates, best first; those left out are not answered.
    ///
    /// An unknown id, a repeated one or a score that is no number refuses the whole answer.
    ///
    /// # Errors
    /// If no order can be given; the search is then answered by another ranking, and the error is shown.
    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError>;

    /// What is wrong with the config beyond what its schema and its types say.
    fn check(&self) -> Vec<ConfigProblem> {
        Vec::new()
    }
}

/// What a client wants to find.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The request in the client's words.
    pub text: String,
    /// Keywords, if the client gave any beside it.
    pub keywords: Vec<String>,
    /// `hybridSearchSemanticRatio` of the configuration, 0 to 1: the weight of meaning against words. At 0 the host searches
    /// by words only, at 1 by meaning only, whatever the plan says.
    pub semantic_ratio: f64,
    /// Tools that the host will answer with at most. More may be ranked; the host cuts.
    pub limit: usize,
    /// Whether the client wants to know why each tool was found. Otherwise nobody reads [`Ranked::why`].
    pub explain: bool,
    /// JSON text with what later hosts say beyond the fields above; empty when there is nothing.
    pub extra: String,
}

impl Query {
    /// A query for `text` with the defaults of the host: both arms count, 8 tools and no reasons are wanted. For unit tests.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            keywords: Vec::new(),
            semantic_ratio: 0.5,
            limit: 8,
            explain: false,
            extra: String::new(),
        }
    }
}

/// A way in which documents are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// By words: BM25, above 0.
    Lexical,
    /// By meaning: the cosine of vectors, -1 to 1.
    Dense,
}

/// A document among the best of one subquery in one arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The subquery's id in the plan.
    pub subquery: u32,
    /// The arm.
    pub arm: Arm,
    /// More is better.
    pub score: f64,
    /// From 1.
    pub rank: u32,
}

/// Another candidate that means much the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// The other candidate.
    pub id: u32,
    /// Of the vectors of both.
    pub cosine: f64,
}

/// A tool that at least one subquery found. Hits beyond the configured distance are gone already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// By which the ranking refers to it.
    pub id: u32,
    /// The advertised name.
    pub name: String,
    /// Name of the backend, or of the part of the host, that it belongs to. This and the next two are empty where
    /// [`Plan::texts`] did not ask for them.
    pub backend: String,
    /// Empty when it has none.
    pub description: String,
    /// The annotations as JSON text; empty when there are none.
    pub annotations: String,
    /// Best first in each subquery and arm.
    pub hits: Vec<Hit>,
    /// As [`Plan::similar_from`] asked for; the most similar first.
    pub similar: Vec<Similarity>,
    /// Calls in the last day, of all clients.
    pub calls: u32,
    /// How many of them failed.
    pub failures: u32,
    /// Seconds since the last call; none if there was none since the host started.
    pub idle_seconds: Option<u32>,
    /// Whether clients see it without searching.
    pub pinned: bool,
    /// JSON text with what later hosts say beyond the fields above; empty when there is nothing.
    pub extra: String,
}

impl Candidate {
    /// A candidate of `backend` that is named `name` and was found by `hits`; all else is empty. For unit tests.
    pub fn new(id: u32, backend: impl Into<String>, name: impl Into<String>, hits: &[Hit]) -> Self {
        Self { id, backend: backend.into(), name: name.into(), hits: hits.to_vec(), ..Self::default() }
    }

    /// The hit of one subquery in one arm.
    pub fn hit(&self, subquery: u32, arm: Arm) -> Option<&Hit> {
        self.hits.iter().find(|hit| hit.subquery == subquery && hit.arm == arm)
    }
}

/// What the host found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// In no order that means anything.
    pub candidates: Vec<Candidate>,
    /// Whether the dense queries of the plan were run. They are not when the ratio is 0, or when the embedding provider fails.
    pub dense: bool,
}

/// The place of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Of the candidate.
    pub id: u32,
    /// For people; the order of the list is what counts.
    pub score: f64,
    /// Why it was found, in a few words for people; may be empty. [`why`] makes some.
    pub why: String,
}

/// Why there is no plan or no order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RankingError {
    /// The config cannot be used.
    Config(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for RankingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for RankingError {}

/// [`RankingStrategy`] as what a component exports.
#[doc(hidden)]
pub struct World<R>(PhantomData<R>);

impl<R: RankingStrategy> Worlds for World<R> {
    fn describe() -> Vec<(&'static str, String)> {
        vec![(WORLD, config_schema::<R>())]
    }

    fn check_config(world: &str, config: &str) -> Option<Vec<ConfigProblem>> {
        (world == WORLD).then(|| load_config(config, R::check).err().unwrap_or_default())
    }
}

/// Makes a [`RankingStrategy`] the component's export; once per crate. Name, version and summary are the crate's `name`,
/// `version` and `description`.
#[macro_export]
macro_rules! register_ranking_strategy {
    ($ranking:ty) => {
        $crate::__register!($crate::ranking::World<$ranking>, ranking: $ranking);
    };
}
