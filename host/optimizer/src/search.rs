//! One search: the ranking plans it, the index runs what was planned through both arms, the ranking orders what was found.
//!
//! Nothing here prefers one tool to another. Where the ranking fails, another component answers and the failure is named.

mod engine;
mod explanation;
mod findings;

use std::sync::Arc;

use vmcp_core::ranking::{RankingError, Usage};

pub use self::{
    engine::{Optimizer, OptimizerOptions, OptimizerStatus, Progress, SearchSettings},
    explanation::{ExplainedCandidate, Explanation},
};
use crate::document::ToolDocument;

/// What is known of a tool's use, by its advertised name.
pub type UsageOf = Arc<dyn Fn(&str) -> Usage + Send + Sync>;

/// What somebody wants to find.
#[derive(Clone)]
pub struct SearchRequest {
    pub text: String,
    pub keywords: Vec<String>,
    /// Only tools of this server.
    pub server: Option<String>,
    /// Fewer tools than the configuration allows.
    pub limit: Option<u32>,
    /// Which tools the asking identity may see.
    pub visible: VisibleTools,
    pub usage: UsageOf,
    /// Advertised names of the tools that clients see without searching.
    pub pinned: Arc<[String]>,
    pub reasons: Reasons,
}

impl SearchRequest {
    /// A search for `text` among all tools, none of them used or pinned.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            keywords: Vec::new(),
            server: None,
            limit: None,
            visible: VisibleTools::All,
            usage: Arc::new(|_| Usage::default()),
            pinned: Arc::default(),
            reasons: Reasons::None,
        }
    }
}

/// What a search says of why it found what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reasons {
    #[default]
    None,
    /// The ranking's words for each tool.
    Words,
    /// These, and [how each candidate was found](Explanation).
    All,
}

/// Which tools an identity may see.
#[derive(Clone)]
pub enum VisibleTools {
    All,
    /// Those that the function accepts, by advertised name.
    Only(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

/// One tool that was found.
#[derive(Clone, Debug)]
pub struct FoundTool {
    pub document: Arc<ToolDocument>,
    /// In the ranking's own measure.
    pub score: f64,
    /// In a few words; may be empty.
    pub why: String,
}

/// What was found, best first.
#[derive(Clone, Debug, Default)]
pub struct SearchAnswer {
    pub tools: Vec<FoundTool>,
    /// What the search lacked, for whoever reads the answer.
    pub note: Option<String>,
    pub explanation: Option<Explanation>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    #[error("the ranking failed, and nothing stands in for it")]
    Ranking(#[source] RankingError),
    #[error("{ranking}; and the ranking that stands in for it failed too")]
    BothRankings { ranking: RankingError, source: RankingError },
    #[error("the index cannot be searched")]
    Index(#[from] vmcp_store::StoreError),
    #[error("there is no server `{server}`; there are: {}", known.join(", "))]
    NoSuchServer { server: String, known: Vec<String> },
}
