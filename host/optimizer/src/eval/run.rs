//! Asks every query of a set, one after the other.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    budget::Meter,
    golden::{GoldenQuery, GoldenSet, GoldenTool, tool_id},
    outcome::Run,
};
use crate::{
    call_tool, find_tool,
    search::{Optimizer, SearchError, SearchRequest},
    tokens::{TokenCounter, TokenMetrics},
};

/// Counts the tokens of answers with tools of one set.
pub struct Costs<'a> {
    counter: &'a TokenCounter,
    tools: HashMap<String, &'a GoldenTool>,
    meter: Meter,
}

impl<'a> Costs<'a> {
    /// - `limit`: tools of an answer, which the definition of `find_tool` names
    pub fn new(counter: &'a TokenCounter, set: &'a GoldenSet, limit: u32) -> Self {
        let texts = [
            find_tool::definition(None, "", limit),
            call_tool::definition(None),
            find_tool::answer(&[], &TokenMetrics::default(), None, None),
        ];
        let fixed = texts.iter().map(|text| counter.count(text.as_str())).sum();
        let tools = set.tools.iter().map(|tool| (tool.id(), tool)).collect();
        Self { counter, tools, meter: Meter { fixed, tools: HashMap::new() } }
    }

    /// What an answer with these tools needs.
    fn meter(&mut self, found: &[String]) -> &Meter {
        for id in found {
            if let (None, Some(tool)) = (self.meter.tools.get(id), self.tools.get(id)) {
                self.meter.tools.insert(id.clone(), self.counter.count(&tool.definition()));
            }
        }
        &self.meter
    }
}

/// Asks every query of `set` and adds what comes back to `run`; `asked` is called after each.
///
/// # Errors
/// At the first query that is not answered by the ranking and the provider that are measured.
pub async fn measure(
    optimizer: &Arc<Optimizer>,
    set: &GoldenSet,
    costs: &mut Costs<'_>,
    run: &mut Run,
    asked: impl Fn(),
) -> Result<(), MeasureError> {
    for query in &set.queries {
        let (found, latency) = ask(optimizer, query).await?;
        let meter = costs.meter(&found);
        run.add(query, found, latency, meter);
        asked();
    }
    Ok(())
}

/// The ids that `query` finds, best first, and how long that takes.
async fn ask(optimizer: &Arc<Optimizer>, query: &GoldenQuery) -> Result<(Vec<String>, Duration), MeasureError> {
    let mut request = SearchRequest::new(query.query.clone());
    request.keywords.clone_from(&query.keywords);
    let begun = Instant::now();
    let answer = optimizer.search(request).await;
    let latency = begun.elapsed();
    let answer = answer.map_err(|source| MeasureError::Failed { query: query.id.clone(), source })?;
    if let Some(note) = answer.note {
        return Err(MeasureError::Impaired { query: query.id.clone(), note });
    }
    let ids = answer.tools.iter().map(|tool| tool_id(tool.document.server(), tool.document.own_name()));
    Ok((ids.collect(), latency))
}

/// Why a measurement would say nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    #[error("query `{query}` is not answered")]
    Failed { query: String, source: SearchError },
    /// Something else than what is measured answered.
    #[error("query `{query}` is not answered as it should: {note}")]
    Impaired { query: String, note: String },
}
