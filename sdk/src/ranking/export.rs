//! Forwards the component's exports to a [`RankingStrategy`].

use std::{any::Any, cell::RefCell, marker::PhantomData, rc::Rc};

use super::{
    Arm, Candidate, Column, DenseQuery, DocumentForm, Findings, Hit, LexicalQuery, MatchMode, Plan, Query, Ranked,
    RankingError, RankingStrategy, Similarity, Subquery, Term, Texts, WeightedColumn,
};
use crate::{
    bindings::ranking::exports::vmcp::ranking::ranking_strategy as wit,
    component::{in_one_line, load_config},
    log,
};

thread_local! {
    /// The ranking of this instance with the config that it was read from: `rank` is asked of the value that planned.
    static LOADED: RefCell<Option<(String, Rc<dyn Any>)>> = const { RefCell::new(None) };
}

/// The exports of the ranking `R`.
pub struct Exported<R>(PhantomData<R>);

impl<R: RankingStrategy> wit::Guest for Exported<R> {
    fn plan(config: String, query: wit::Query) -> Result<wit::SearchPlan, wit::RankingError> {
        log::report_panics();
        let plan = strategy::<R>(config)?.plan(&query.into())?;
        Ok(plan.into())
    }

    fn rank(config: String, query: wit::Query, findings: wit::Findings) -> Result<Vec<wit::Ranked>, wit::RankingError> {
        log::report_panics();
        let ranked = strategy::<R>(config)?.rank(&query.into(), &findings.into())?;
        Ok(ranked.into_iter().map(wit::Ranked::from).collect())
    }
}

/// The ranking that `config` describes, the same one as long as the config is the same.
fn strategy<R: RankingStrategy>(config: String) -> Result<Rc<R>, wit::RankingError> {
    LOADED.with_borrow_mut(|loaded| {
        if let Some((kept, strategy)) = loaded
            && *kept == config
            && let Ok(strategy) = Rc::clone(strategy).downcast()
        {
            return Ok(strategy);
        }
        let strategy =
            load_config(&config, R::check).map_err(|problems| wit::RankingError::Config(in_one_line(&problems)))?;
        let strategy: Rc<R> = Rc::new(strategy);
        *loaded = Some((config, Rc::clone(&strategy) as Rc<dyn Any>));
        Ok(strategy)
    })
}

impl From<wit::Query> for Query {
    fn from(query: wit::Query) -> Self {
        Self {
            text: query.text,
            keywords: query.keywords,
            semantic_ratio: query.semantic_ratio,
            limit: query.limit as usize,
            explain: query.explain,
            extra: query.extra,
        }
    }
}

impl From<wit::Findings> for Findings {
    fn from(findings: wit::Findings) -> Self {
        let mut hits = findings.hits.into_iter().map(Hit::from);
        let mut similar = findings.similar.into_iter().map(Similarity::from);
        let candidate = |candidate: wit::Candidate| Candidate {
            id: candidate.id,
            name: candidate.name,
            backend: candidate.backend.unwrap_or_default(),
            description: candidate.description.unwrap_or_default(),
            annotations: candidate.annotations.unwrap_or_default(),
            hits: hits.by_ref().take(candidate.hits as usize).collect(),
            similar: similar.by_ref().take(candidate.similar as usize).collect(),
            calls: candidate.calls,
            failures: candidate.failures,
            idle_seconds: candidate.idle_seconds,
            pinned: candidate.pinned,
            extra: candidate.extra.unwrap_or_default(),
        };
        Self { candidates: findings.candidates.into_iter().map(candidate).collect(), dense: findings.dense }
    }
}

impl From<wit::Hit> for Hit {
    fn from(hit: wit::Hit) -> Self {
        Self {
            subquery: hit.subquery,
            arm: match hit.arm {
                wit::Arm::Lexical => Arm::Lexical,
                wit::Arm::Dense => Arm::Dense,
            },
            score: hit.score,
            rank: hit.rank,
        }
    }
}

impl From<wit::Similarity> for Similarity {
    fn from(other: wit::Similarity) -> Self {
        Self { id: other.id, cosine: other.cosine }
    }
}

impl From<Plan> for wit::SearchPlan {
    fn from(plan: Plan) -> Self {
        Self {
            subqueries: plan.subqueries.into_iter().map(wit::Subquery::from).collect(),
            similar_from: plan.similar_from,
            texts: plan.texts.into(),
            extra: String::new(),
        }
    }
}

impl From<Texts> for wit::CandidateTexts {
    fn from(Texts { backend, description, annotations }: Texts) -> Self {
        let wanted = [(backend, Self::BACKEND), (description, Self::DESCRIPTION), (annotations, Self::ANNOTATIONS)];
        wanted
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, text)| text)
            .fold(Self::empty(), |all, text| all | text)
    }
}

impl From<Subquery> for wit::Subquery {
    fn from(subquery: Subquery) -> Self {
        Self {
            id: subquery.id,
            lexical: subquery.lexical.map(wit::LexicalQuery::from),
            dense: subquery.dense.map(wit::DenseQuery::from),
            pool: subquery.pool,
            extra: String::new(),
        }
    }
}

impl From<LexicalQuery> for wit::LexicalQuery {
    fn from(query: LexicalQuery) -> Self {
        let term = |term: Term| wit::Term { text: term.text, weight: term.weight };
        let column =
            |column: WeightedColumn| wit::WeightedColumn { column: column.column.into(), weight: column.weight };
        Self {
            terms: query.terms.into_iter().map(term).collect(),
            columns: query.columns.into_iter().map(column).collect(),
            mode: match query.mode {
                MatchMode::Any => wit::MatchMode::Any,
                MatchMode::All => wit::MatchMode::All,
            },
            form: query.form.into(),
            saturation: query.saturation,
            length_normalisation: query.length_normalisation,
            exact: query.exact,
            extra: String::new(),
        }
    }
}

impl From<DenseQuery> for wit::DenseQuery {
    fn from(query: DenseQuery) -> Self {
        Self { text: query.text, form: query.form.into(), extra: String::new() }
    }
}

impl From<Column> for wit::Column {
    fn from(column: Column) -> Self {
        match column {
            Column::Server => Self::Server,
            Column::Name => Self::Name,
            Column::Description => Self::Description,
            Column::ParameterNames => Self::ParameterNames,
            Column::ParameterDescriptions => Self::ParameterDescriptions,
            Column::EnumValues => Self::EnumValues,
        }
    }
}

impl From<DocumentForm> for wit::DocumentForm {
    fn from(form: DocumentForm) -> Self {
        match form {
            DocumentForm::Standard => Self::Standard,
            DocumentForm::Reference => Self::Reference,
        }
    }
}

impl From<Ranked> for wit::Ranked {
    fn from(Ranked { id, score, why }: Ranked) -> Self {
        Self { id, score, why, extra: String::new() }
    }
}

impl From<RankingError> for wit::RankingError {
    fn from(error: RankingError) -> Self {
        match error {
            RankingError::Config(message) => Self::Config(message),
            RankingError::Other(message) => Self::Other(message),
        }
    }
}
