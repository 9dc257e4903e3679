//! `vmcp:ranking/ranking-strategy` as a [`RankingStrategy`].
//!
//! Both functions of one search run on one instance, within one allowance. It is made by `plan` and gone after `rank`, or
//! as soon as the run is dropped; in between, while the host searches, it keeps its slot of the pool but no time is
//! counted. So the host must not begin another question to a component between the two.

mod answer;
mod plan;

use std::sync::Arc;

use vmcp_core::ranking::{
    Arm, Candidate, Findings, Hit, Ranked, RankingError, RankingQuery, RankingRun, RankingStrategy, SearchPlan,
    Similarity,
};

use crate::{
    bindings::ranking::{RankingExportIndices, exports::vmcp::ranking::ranking_strategy as wit},
    call::{Callee, Running},
    error::PluginError,
};

/// The world's name, as `describe` and `check_config` have it.
pub const RANKING_STRATEGY: &str = "vmcp:ranking/ranking-strategy";
/// The same with the version that this host accepts.
pub(crate) const RANKING_STRATEGY_VERSION: &str = "vmcp:ranking/ranking-strategy@0.1.0";

/// A component with its config.
pub(crate) struct ComponentRankingStrategy(Arc<Shared>);

struct Shared {
    callee: Callee,
    indices: RankingExportIndices,
    label: String,
    /// JSON text.
    config: String,
}

/// One search.
struct ComponentRankingRun {
    strategy: Arc<Shared>,
    /// From `plan` to `rank`.
    running: Option<Running>,
}

impl ComponentRankingStrategy {
    /// - `config`: JSON text
    pub(crate) fn new(callee: Callee, indices: RankingExportIndices, label: String, config: String) -> Self {
        Self(Arc::new(Shared { callee, indices, label, config }))
    }
}

impl RankingStrategy for ComponentRankingStrategy {
    fn label(&self) -> &str {
        &self.0.label
    }

    fn begin(&self) -> Result<Box<dyn RankingRun>, RankingError> {
        Ok(Box::new(ComponentRankingRun { strategy: Arc::clone(&self.0), running: None }))
    }
}

impl RankingRun for ComponentRankingRun {
    fn plan(&mut self, query: &RankingQuery) -> Result<SearchPlan, RankingError> {
        let strategy = &*self.strategy;
        let keywords: Vec<&str> = query.keywords.iter().map(String::as_str).collect();
        let wit_query = query_to_wit(query, &keywords);
        let mut running = Running::new(&strategy.callee);
        let answer = running.call(&strategy.callee, "plan", async |store, instance| {
            let ranking = strategy.indices.load(&mut *store, instance)?;
            ranking.vmcp_ranking_ranking_strategy().call_plan(store, &strategy.config, wit_query).await
        });
        let plan = strategy.read("plan", answer, plan::from_wit)?;
        self.running = Some(running);
        Ok(plan)
    }

    fn rank(&mut self, query: &RankingQuery, findings: &Findings<'_>) -> Result<Vec<Ranked>, RankingError> {
        let strategy = &*self.strategy;
        let keywords: Vec<&str> = query.keywords.iter().map(String::as_str).collect();
        let wit_query = query_to_wit(query, &keywords);
        let candidates: Vec<_> = findings.candidates.iter().map(candidate_to_wit).collect();
        let (hits, similar) = (hits_to_wit(&findings.candidates), similar_to_wit(&findings.candidates));
        let wit_findings =
            wit::Findings { candidates: &candidates, hits: &hits, similar: &similar, dense: findings.dense, extra: "" };
        let mut running = self.running.take().unwrap_or_else(|| Running::new(&strategy.callee));
        let answer = running.call(&strategy.callee, "rank", async |store, instance| {
            let ranking = strategy.indices.load(&mut *store, instance)?;
            ranking.vmcp_ranking_ranking_strategy().call_rank(store, &strategy.config, wit_query, wit_findings).await
        });
        drop(running);
        strategy.read("rank", answer, |ranked| answer::from_wit(ranked, &findings.candidates))
    }
}

impl Shared {
    /// The answer in the host's words, once `convert` accepts it.
    fn read<A, R>(
        &self,
        during: &'static str,
        answer: Result<Result<A, wit::RankingError>, PluginError>,
        convert: impl FnOnce(A) -> Result<R, String>,
    ) -> Result<R, RankingError> {
        let component_error =
            |error: PluginError| RankingError::Component { ranking: self.label.clone(), source: error.into() };
        let answer = answer.map_err(component_error)?.map_err(|error| self.refusal(error))?;
        convert(answer).map_err(|message| {
            component_error(PluginError::BadReply { component: self.callee.name.to_string(), during, message })
        })
    }

    /// What the component itself gives as the reason.
    fn refusal(&self, error: wit::RankingError) -> RankingError {
        let ranking = self.label.clone();
        match error {
            wit::RankingError::Config(message) => RankingError::Config { ranking, message },
            wit::RankingError::Other(message) => RankingError::Failed { ranking, message },
        }
    }
}

fn query_to_wit<'a>(query: &'a RankingQuery, keywords: &'a [&'a str]) -> wit::Query<'a> {
    wit::Query {
        text: &query.text,
        keywords,
        semantic_ratio: query.semantic_ratio,
        limit: query.limit,
        explain: query.explain,
        extra: "",
    }
}

/// The hits of all candidates, one after the other: a list in each would be an allocation in the component for each.
fn hits_to_wit(candidates: &[Candidate<'_>]) -> Vec<wit::Hit> {
    let hit = |hit: &Hit| wit::Hit {
        subquery: hit.subquery,
        arm: match hit.arm {
            Arm::Lexical => wit::Arm::Lexical,
            Arm::Dense => wit::Arm::Dense,
        },
        score: hit.score,
        rank: hit.rank,
    };
    candidates.iter().flat_map(|candidate| &candidate.hits).map(hit).collect()
}

/// Their similarities, in the same way.
fn similar_to_wit(candidates: &[Candidate<'_>]) -> Vec<wit::Similarity> {
    let similarity = |other: &Similarity| wit::Similarity { id: other.id, cosine: other.cosine };
    candidates.iter().flat_map(|candidate| &candidate.similar).map(similarity).collect()
}

fn candidate_to_wit<'a>(candidate: &'a Candidate<'_>) -> wit::Candidate<'a> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    wit::Candidate {
        id: candidate.id,
        name: candidate.name,
        backend: candidate.backend,
        description: candidate.description,
        annotations: candidate.annotations,
        hits: count(candidate.hits.len()),
        similar: count(candidate.similar.len()),
        calls: candidate.usage.calls,
        failures: candidate.usage.failures,
        idle_seconds: candidate.usage.idle.map(|idle| u32::try_from(idle.as_secs()).unwrap_or(u32::MAX)),
        pinned: candidate.pinned,
        extra: None,
    }
}
