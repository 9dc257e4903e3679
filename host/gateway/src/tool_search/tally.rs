//! What the definitions of a catalog cost a model, so that an answer can say what it saves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;
use tracing::warn;
use vmcp_core::{
    catalog::{Catalog, Entry},
    json::RawJson,
};
use vmcp_optimizer::tokens::{Estimate, TokenCounter, TokenCounts, TokenMetrics, estimate};

/// Tokens by tool, with the definition that they are of.
type Counted = HashMap<Arc<str>, (RawJson, u64)>;

/// The costs of the current catalog.
#[derive(Default)]
pub(super) struct Tally {
    now: Arc<ArcSwap<Costs>>,
    uncounted: Mutex<Option<Uncounted>>,
    /// Locked as long as somebody counts.
    counted: Arc<Mutex<Counted>>,
}

/// A catalog whose tokens nobody has counted yet.
struct Uncounted {
    generation: u64,
    entries: Vec<Arc<Entry>>,
    shown: Vec<RawJson>,
}

#[derive(Clone, Default)]
struct Costs {
    generation: u64,
    /// In the reference's measure.
    baseline: u64,
    /// In tokens; absent until they are counted.
    tokens: Option<Arc<Tokens>>,
}

struct Tokens {
    by_name: HashMap<Arc<str>, u64>,
    baseline: u64,
    shown: u64,
}

impl Tally {
    /// Takes the costs of `catalog`, in tokens after the next [`count`](Self::count).
    ///
    /// - `shown`: the definitions that every client sees
    pub(super) fn take(&self, catalog: &Catalog, shown: &[RawJson]) {
        let entries: Vec<_> = catalog.tools.entries().to_vec();
        let baseline = entries.iter().map(|entry| estimate(entry.definition.as_str())).sum();
        let generation = catalog.generation;
        self.now.store(Arc::new(Costs { generation, baseline, tokens: None }));
        let uncounted = Uncounted { generation, entries, shown: shown.to_vec() };
        *self.uncounted.lock().expect("no panic while locked") = Some(uncounted);
    }

    /// Counts the tokens of what was taken, in the background.
    pub(super) fn count(&self) {
        let uncounted = self.uncounted.lock().expect("no panic while locked").take();
        let Some(Uncounted { generation, entries, shown }) = uncounted else { return };
        let (now, counted) = (self.now.clone(), self.counted.clone());
        drop(tokio::task::spawn_blocking(move || {
            let tokens = count_tokens(&entries, &shown, &mut counted.lock().expect("no panic while locked"));
            now.rcu(|costs| match costs.generation == generation {
                true => Arc::new(Costs { tokens: tokens.clone(), ..Costs::clone(costs) }),
                false => costs.clone(),
            });
        }));
    }

    /// What an answer with these tools costs.
    pub(super) fn metrics(&self, returned: &[&Arc<Entry>]) -> TokenMetrics {
        let costs = self.now.load();
        let estimated = returned.iter().map(|entry| estimate(entry.definition.as_str())).sum();
        let counts = costs.tokens.as_ref().map(|tokens| {
            let counted = returned.iter().filter_map(|entry| tokens.by_name.get(&entry.name)).sum();
            TokenCounts::new(tokens.baseline, tokens.shown, counted)
        });
        TokenMetrics { token_metrics: Estimate::new(costs.baseline, estimated), token_counts: counts }
    }
}

/// Counts what is not counted yet, and forgets what is gone.
fn count_tokens(entries: &[Arc<Entry>], shown: &[RawJson], counted: &mut Counted) -> Option<Arc<Tokens>> {
    // Its tables are large and quick to make: they live as long as this call.
    let counter = TokenCounter::new().inspect_err(|error| warn!(error, "tokens cannot be counted")).ok()?;
    let mut by_name = HashMap::with_capacity(entries.len());
    let mut kept = HashMap::with_capacity(entries.len());
    for entry in entries {
        let known = counted.remove(&entry.name).filter(|(definition, _)| *definition == entry.definition);
        let (definition, count) =
            known.unwrap_or_else(|| (entry.definition.clone(), counter.count(entry.definition.as_str())));
        by_name.insert(entry.name.clone(), count);
        kept.insert(entry.name.clone(), (definition, count));
    }
    *counted = kept;
    let shown = shown.iter().map(|definition| counter.count(definition.as_str())).sum();
    Some(Arc::new(Tokens { baseline: by_name.values().sum(), by_name, shown }))
}
