//! The engine: an index, a provider of vectors, a ranking, and what is known of how they do.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::sleep,
};
use tracing::{info, warn};
use vmcp_core::{
    ranking::{DocumentForm, Ranked, RankingError, RankingQuery, RankingRun, RankingStrategy, SearchPlan},
    with_cause,
};
use vmcp_store::StoreError;

use super::{
    Explanation, FoundTool, Reasons, SearchAnswer, SearchError, SearchRequest, VisibleTools,
    findings::{QueryVectors, find},
};
use crate::{
    document::ToolDocument,
    embedding::{EmbedError, Embedder, ModelId, Purpose},
    index::{Changes, Index, IndexStatus, Reader, Slot, Visible},
};

/// How long after the provider failed it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Servers that an error lists at most.
const LISTED_SERVERS: usize = 50;

/// What an engine is made of.
pub struct OptimizerOptions {
    pub index: Index,
    /// What turns texts into vectors; none searches by words only, and so does a ratio of 0, for which plans ask no vectors.
    pub embedder: Option<Arc<dyn Embedder>>,
    pub ranking: Arc<dyn RankingStrategy>,
    /// Answers when `ranking` fails.
    pub fallback: Option<Arc<dyn RankingStrategy>>,
    pub settings: SearchSettings,
}

/// What the configuration says about searches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchSettings {
    /// Weight of meaning against words, 0 to 1.
    pub semantic_ratio: f64,
    /// Cosine distance beyond which nothing is a hit, 0 to 2.
    pub distance_threshold: f64,
    /// Tools that one search returns at most.
    pub max_tools: u32,
}

/// Finds tools.
pub struct Optimizer {
    index: Index,
    embedder: Option<Arc<dyn Embedder>>,
    ranking: Arc<dyn RankingStrategy>,
    fallback: Option<Arc<dyn RankingStrategy>>,
    settings: SearchSettings,
    provider: Mutex<ProviderHealth>,
    /// Whether a task finds out when a provider that failed is back.
    is_kept_filled: AtomicBool,
    /// Notified when vectors are missing or of another model than the provider's.
    wants_fill: Notify,
    /// Why the ranking did not answer when it last failed.
    ranking_fault: Mutex<Option<String>>,
    progress: watch::Sender<Progress>,
    searches: AtomicU64,
    failed_searches: AtomicU64,
    searches_without_vectors: AtomicU64,
    ranking_faults: AtomicU64,
}

/// What is known of the provider beside what it says of itself.
#[derive(Default)]
struct ProviderHealth {
    /// Why there are no vectors, if they are wanted and there are none, and since when.
    fault: Option<(String, Instant)>,
    /// With which model it last answered, if not with the one that the tools are embedded with.
    now: Option<ModelId>,
}

/// How far the embedding of documents is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    pub done: usize,
    pub total: usize,
}

/// How an engine does, for `/status`.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OptimizerStatus {
    /// Label of the ranking component.
    pub ranking: String,
    pub ranking_fault: Option<String>,
    /// The embedding provider; absent when searches go by words only.
    pub provider: Option<String>,
    /// Why searches go by words only although vectors are wanted.
    pub provider_fault: Option<String>,
    pub embedding: Progress,
    pub index: IndexStatus,
    pub searches: u64,
    pub failed_searches: u64,
    /// Searches that went by words only because the provider failed.
    pub searches_without_vectors: u64,
    pub ranking_faults: u64,
}

/// Why one ranking gave no answer.
enum Failure {
    Ranking(RankingError),
    Other(SearchError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

impl From<RankingError> for Failure {
    fn from(error: RankingError) -> Self {
        Self::Ranking(error)
    }
}

impl Optimizer {
    pub fn new(options: OptimizerOptions) -> Self {
        Self {
            index: options.index,
            embedder: options.embedder,
            ranking: options.ranking,
            fallback: options.fallback,
            settings: options.settings,
            provider: Mutex::default(),
            is_kept_filled: AtomicBool::default(),
            wants_fill: Notify::new(),
            ranking_fault: Mutex::default(),
            progress: watch::Sender::default(),
            searches: AtomicU64::default(),
            failed_searches: AtomicU64::default(),
            searches_without_vectors: AtomicU64::default(),
            ranking_faults: AtomicU64::default(),
        }
    }

    /// Makes `documents` what can be found, by words at once and by meaning after the next [`fill`](Self::fill). Blocking.
    pub fn update(&self, documents: Vec<Arc<ToolDocument>>) -> Changes {
        let changes = self.index.update(documents);
        self.wants_fill.notify_one();
        changes
    }

    /// Embeds what has no vector yet, in the forms that the rankings ask for. Searches go on meanwhile.
    ///
    /// # Errors
    /// If the provider fails; searches go by words until a later fill succeeds.
    pub async fn fill(&self) -> Result<(), EmbedError> {
        let Some(embedder) = &self.embedder else { return Ok(()) };
        let began = Instant::now();
        self.ask_again(embedder.as_ref()).await?;
        let now = self.provider.lock().expect("no panic while locked").now.take();
        for form in self.wanted_forms() {
            let report = |done, total| {
                self.progress.send_replace(Progress { done, total });
            };
            match self.index.embed_missing(embedder.as_ref(), form, now.as_ref(), &report).await {
                Ok(filled) if filled.embedded > 0 => {
                    info!(provider = embedder.label(), tools = filled.embedded, took = ?began.elapsed(), "embedded");
                }
                Ok(_) => {}
                Err(error) => {
                    self.note_provider_fault(&error.to_string());
                    return Err(error);
                }
            }
        }
        if self.provider.lock().expect("no panic while locked").fault.take().is_some() {
            info!(provider = embedder.label(), "searches go by meaning again");
        }
        Ok(())
    }

    /// Has a provider that failed answer something: where no vector is missing, nothing else would show that it is back.
    async fn ask_again(&self, embedder: &dyn Embedder) -> Result<(), EmbedError> {
        if self.provider_fault().is_none() {
            return Ok(());
        }
        match embedder.embed(&["a tool".to_owned()], Purpose::Query).await {
            Ok(embedded) => {
                self.provider.lock().expect("no panic while locked").now = Some(embedded.model);
                Ok(())
            }
            Err(error) => {
                self.note_provider_fault(&error.to_string());
                Err(error)
            }
        }
    }

    /// Fills again whenever tools or the provider's model change, and until it succeeds where the provider fails. For ever.
    pub async fn keep_filled(&self) {
        self.is_kept_filled.store(true, Ordering::Relaxed);
        loop {
            self.wants_fill.notified().await;
            while self.fill().await.is_err() {
                sleep(RETRY).await;
            }
        }
    }

    /// How far the embedding of documents is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub fn settings(&self) -> SearchSettings {
        self.settings
    }

    pub fn status(&self) -> OptimizerStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OptimizerStatus {
            ranking: self.ranking.label().to_owned(),
            ranking_fault: self.ranking_fault.lock().expect("no panic while locked").clone(),
            provider: self.embedder.as_ref().map(|embedder| embedder.label().to_owned()),
            provider_fault: self.provider_fault(),
            embedding: *self.progress.borrow(),
            index: self.index.status(),
            searches: count(&self.searches),
            failed_searches: count(&self.failed_searches),
            searches_without_vectors: count(&self.searches_without_vectors),
            ranking_faults: count(&self.ranking_faults),
        }
    }

    /// Finds tools.
    pub async fn search(self: &Arc<Self>, request: SearchRequest) -> Result<SearchAnswer, SearchError> {
        self.searches.fetch_add(1, Ordering::Relaxed);
        let answer = self.search_or_stand_in(&Arc::new(request)).await;
        if answer.is_err() {
            self.failed_searches.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn search_or_stand_in(self: &Arc<Self>, request: &Arc<SearchRequest>) -> Result<SearchAnswer, SearchError> {
        let fault = match self.search_by(&self.ranking, request).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Ranking(fault)) => fault,
        };
        self.note_ranking_fault(&fault);
        let Some(fallback) = &self.fallback else { return Err(SearchError::Ranking(fault)) };
        match self.search_by(fallback, request).await {
            Ok(mut answer) => {
                let note = format!("the ranking `{}` failed, `{}` answered", self.ranking.label(), fallback.label());
                answer.note = Some([Some(note), answer.note].into_iter().flatten().collect::<Vec<_>>().join("; "));
                Ok(answer)
            }
            Err(Failure::Other(error)) => Err(error),
            Err(Failure::Ranking(source)) => Err(SearchError::BothRankings { ranking: fault, source }),
        }
    }

    async fn search_by(
        self: &Arc<Self>,
        ranking: &Arc<dyn RankingStrategy>,
        request: &Arc<SearchRequest>,
    ) -> Result<SearchAnswer, Failure> {
        let query = RankingQuery {
            text: request.text.clone(),
            keywords: request.keywords.clone(),
            semantic_ratio: self.settings.semantic_ratio,
            limit: request.limit.unwrap_or(u32::MAX).min(self.settings.max_tools),
            explain: request.reasons != Reasons::None,
        };
        let (engine, ranking, request) = (self.clone(), ranking.clone(), request.clone());
        if self.embedder.as_ref().is_none_or(|embedder| embedder.is_built_in()) {
            // Nothing is waited for in the middle, so one thread does all of it.
            return blocking(move || {
                let planned = plan(ranking.as_ref(), query)?;
                let reader = engine.index.read();
                let vectors = engine.query_vectors(&reader, &planned.plan).now_or_never().unwrap_or_default();
                engine.find_and_rank(&reader, planned, vectors, &request)
            })
            .await;
        }
        let planned = blocking(move || plan(ranking.as_ref(), query)).await?;
        let reader = self.index.read();
        let vectors = self.query_vectors(&reader, &planned.plan).await;
        blocking(move || engine.find_and_rank(&reader, planned, vectors, &request)).await
    }

    /// The half of a search that comes after the vectors. Blocking.
    fn find_and_rank(
        &self,
        reader: &Reader,
        planned: Planned,
        (vectors, note): (Option<QueryVectors>, Option<String>),
        request: &SearchRequest,
    ) -> Result<SearchAnswer, Failure> {
        let Planned { query, plan, mut run } = planned;
        let visible = visible(reader, request)?;
        let is_dense = vectors.is_some();
        let mut found = find(reader, &plan, vectors.as_ref(), &visible, self.settings)?;
        found.add_usage(reader, request);
        let findings = found.into_findings(reader, is_dense, plan.texts);
        let ranked = run.rank(&query, &findings)?;
        let explanation = (request.reasons == Reasons::All).then(|| Explanation::of(plan, reader, &findings, &ranked));
        let mut answer = best(reader, &query, ranked);
        answer.explanation = explanation;
        answer.note = note;
        Ok(answer)
    }

    /// The vectors of the plan's dense queries, or none and what to say about it. None of them, if none is wanted.
    async fn query_vectors(&self, reader: &Reader, plan: &SearchPlan) -> (Option<QueryVectors>, Option<String>) {
        let Some(embedder) = &self.embedder else { return (None, None) };
        let mut texts: Vec<_> = plan
            .subqueries
            .iter()
            .filter_map(|subquery| subquery.dense.as_ref())
            .map(|dense| dense.text.clone())
            .collect();
        texts.sort_unstable();
        texts.dedup();
        if texts.is_empty() || reader.is_empty() {
            return (None, None);
        }
        let fault = match self.standing_fault() {
            Some(fault) => fault,
            None => match embedder.embed(&texts, Purpose::Query).await {
                Ok(embedded) => match other_model(reader, plan, &embedded.model) {
                    None => return (Some(QueryVectors::new(texts, embedded.vectors)), None),
                    Some(fault) => {
                        self.provider.lock().expect("no panic while locked").now = Some(embedded.model);
                        self.wants_fill.notify_one();
                        fault
                    }
                },
                Err(error) => {
                    let fault = error.to_string();
                    self.note_provider_fault(&fault);
                    self.wants_fill.notify_one();
                    fault
                }
            },
        };
        self.searches_without_vectors.fetch_add(1, Ordering::Relaxed);
        (None, Some(format!("searched by words only: {fault}")))
    }

    /// The document forms that the rankings want vectors of: seen by having each plan a search.
    fn wanted_forms(&self) -> BTreeSet<DocumentForm> {
        let query = || RankingQuery {
            text: "find a tool that can do this".into(),
            keywords: Vec::new(),
            semantic_ratio: self.settings.semantic_ratio,
            limit: self.settings.max_tools,
            explain: false,
        };
        let mut forms = BTreeSet::new();
        for ranking in [Some(&self.ranking), self.fallback.as_ref()].into_iter().flatten() {
            match plan(ranking.as_ref(), query()) {
                Ok(Planned { plan, .. }) => {
                    forms.extend(plan.subqueries.iter().filter_map(|s| Some(s.dense.as_ref()?.form)));
                }
                Err(error) => self.note_ranking_fault(&error),
            }
        }
        forms
    }

    fn note_ranking_fault(&self, fault: &RankingError) {
        self.ranking_faults.fetch_add(1, Ordering::Relaxed);
        let text = with_cause(fault);
        warn!(fault = text, "a ranking failed");
        *self.ranking_fault.lock().expect("no panic while locked") = Some(text);
    }

    fn note_provider_fault(&self, fault: &str) {
        let mut health = self.provider.lock().expect("no panic while locked");
        if health.fault.as_ref().is_none_or(|(known, _)| known != fault) {
            warn!(fault, "searches go by words only");
        }
        health.fault = Some((fault.to_owned(), Instant::now()));
    }

    fn provider_fault(&self) -> Option<String> {
        self.provider.lock().expect("no panic while locked").fault.as_ref().map(|(fault, _)| fault.clone())
    }

    /// The provider's fault, if asking again would only cost a search time: when a task finds out that the provider is back,
    /// or while the fault is recent.
    fn standing_fault(&self) -> Option<String> {
        let is_watched = self.is_kept_filled.load(Ordering::Relaxed);
        let health = self.provider.lock().expect("no panic while locked");
        let stands = |(_, since): &&(String, Instant)| is_watched || since.elapsed() < RETRY;
        health.fault.as_ref().filter(stands).map(|(fault, _)| fault.clone())
    }
}

/// A search that a ranking has planned and will rank.
struct Planned {
    query: RankingQuery,
    plan: SearchPlan,
    run: Box<dyn RankingRun>,
}

/// Has `ranking` plan a search; what the ratio rules out is taken from the plan.
fn plan(ranking: &dyn RankingStrategy, query: RankingQuery) -> Result<Planned, RankingError> {
    let mut run = ranking.begin()?;
    let mut plan = run.plan(&query)?;
    for subquery in &mut plan.subqueries {
        if query.semantic_ratio <= 0.0 {
            subquery.dense = None;
        } else if query.semantic_ratio >= 1.0 && subquery.dense.is_some() {
            subquery.lexical = None;
        }
    }
    Ok(Planned { query, plan, run })
}

/// Why the vectors of `model` cannot be compared with those of the index, if so.
fn other_model(reader: &Reader, plan: &SearchPlan, model: &ModelId) -> Option<String> {
    plan.subqueries.iter().filter_map(|subquery| subquery.dense.as_ref()).find_map(|dense| {
        match reader.dense_model(dense.form) {
            Some(served) if served == model => None,
            Some(served) => Some(format!("the provider answers with {model}, the tools are embedded with {served}")),
            None => Some("the tools are not embedded yet".to_owned()),
        }
    })
}

/// The tools that `request` is about.
fn visible(reader: &Reader, request: &SearchRequest) -> Result<Visible, SearchError> {
    if request.server.is_none() && matches!(request.visible, VisibleTools::All) {
        return Ok(Visible::All);
    }
    let may_see = |document: &ToolDocument| match &request.visible {
        VisibleTools::All => true,
        VisibleTools::Only(accepts) => accepts(document.name()),
    };
    let Some(server) = &request.server else { return Ok(reader.visible(may_see)) };
    let mut known = BTreeSet::new();
    let visible = reader.visible(|document| {
        let may_see = may_see(document);
        if may_see && known.len() <= LISTED_SERVERS {
            known.insert(document.server().to_owned());
        }
        may_see && document.server() == server
    });
    match &visible {
        Visible::Only(slots) if slots.is_empty() => {
            let known = known.into_iter().take(LISTED_SERVERS).collect();
            Err(SearchError::NoSuchServer { server: server.clone(), known })
        }
        _ => Ok(visible),
    }
}

/// The first of `ranked`, as many as the query's limit.
fn best(reader: &Reader, query: &RankingQuery, ranked: Vec<Ranked>) -> SearchAnswer {
    let tool = |ranked: Ranked| {
        let document = reader.document(Slot(ranked.id))?.clone();
        Some(FoundTool { document, score: ranked.score, why: ranked.why })
    };
    let tools = ranked.into_iter().take(query.limit as usize).filter_map(tool).collect();
    SearchAnswer { tools, ..SearchAnswer::default() }
}

/// Runs what computes for a while where it keeps nobody waiting.
async fn blocking<R: Send + 'static, E: Into<Failure> + Send + 'static>(
    work: impl FnOnce() -> Result<R, E> + Send + 'static,
) -> Result<R, Failure> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Self {
        Self::Other(error)
    }
}
