//! What a component wants to have searched, checked against what the host is ready to search.

use std::collections::HashSet;

use vmcp_core::ranking::{
    Column, DenseQuery, DocumentForm, LexicalQuery, MatchMode, SearchPlan, Subquery, Term, Texts, WeightedColumn,
};

use crate::bindings::ranking::exports::vmcp::ranking::ranking_strategy as wit;

/// Searches of one plan: one for the whole request, one for each of its parts, and room for ideas.
const MAX_SUBQUERIES: usize = 32;
/// Longest list of hits of one search; more are cut.
const MAX_POOL: u32 = 200;
/// Words of one search.
const MAX_TERMS: usize = 256;
/// Text of one search by meaning, and of all words of one search, in bytes. No request of a client is longer.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// The plan, or what is wrong with it.
pub(super) fn from_wit(plan: wit::SearchPlan) -> Result<SearchPlan, String> {
    let wit::SearchPlan { subqueries, similar_from, texts, .. } = plan;
    if subqueries.len() > MAX_SUBQUERIES {
        return Err(format!("{} subqueries, {MAX_SUBQUERIES} are allowed", subqueries.len()));
    }
    let mut ids = HashSet::with_capacity(subqueries.len());
    if let Some(repeated) = subqueries.iter().find(|subquery| !ids.insert(subquery.id)) {
        return Err(format!("two subqueries have the id {}", repeated.id));
    }
    if similar_from.is_some_and(f64::is_nan) {
        return Err("`similar-from` is no number".into());
    }
    let subqueries = subqueries.into_iter().map(subquery).collect::<Result<_, _>>()?;
    let texts = Texts {
        backend: texts.contains(wit::CandidateTexts::BACKEND),
        description: texts.contains(wit::CandidateTexts::DESCRIPTION),
        annotations: texts.contains(wit::CandidateTexts::ANNOTATIONS),
    };
    Ok(SearchPlan { subqueries, similar_from, texts })
}

fn subquery(subquery: wit::Subquery) -> Result<Subquery, String> {
    let wit::Subquery { id, lexical, dense, pool, .. } = subquery;
    let in_subquery = |message: String| format!("subquery {id}: {message}");
    if pool == 0 {
        return Err(in_subquery("its pool is 0".into()));
    }
    Ok(Subquery {
        id,
        lexical: lexical.map(lexical_query).transpose().map_err(in_subquery)?,
        dense: dense.map(dense_query).transpose().map_err(in_subquery)?,
        pool: pool.min(MAX_POOL),
    })
}

fn lexical_query(query: wit::LexicalQuery) -> Result<LexicalQuery, String> {
    let wit::LexicalQuery { terms, columns, mode, form, saturation, length_normalisation, exact, .. } = query;
    if terms.len() > MAX_TERMS {
        return Err(format!("{} terms, {MAX_TERMS} are allowed", terms.len()));
    }
    check_text(terms.iter().map(|term| term.text.len()).sum())?;
    if let Some(term) = terms.iter().find(|term| !term.weight.is_finite()) {
        return Err(format!("the weight of the term {:?} is {}", term.text, term.weight));
    }
    let mut seen = HashSet::with_capacity(columns.len());
    for wit::WeightedColumn { column, weight } in &columns {
        if !seen.insert(to_column(*column)) {
            return Err(format!("two weights for the column {column:?}"));
        }
        if !(weight.is_finite() && *weight > 0.0) {
            return Err(format!("the weight of the column {column:?} is {weight}"));
        }
    }
    if !(saturation.is_finite() && saturation >= 0.0) {
        return Err(format!("its saturation is {saturation}"));
    }
    if !(0.0..=1.0).contains(&length_normalisation) {
        return Err(format!("its length normalisation is {length_normalisation}"));
    }
    if !(exact.is_finite() && exact >= 0.0) {
        return Err(format!("its weight of exact words is {exact}"));
    }
    let columns = columns
        .into_iter()
        .map(|weighted| WeightedColumn { column: to_column(weighted.column), weight: weighted.weight });
    Ok(LexicalQuery {
        terms: terms.into_iter().map(|term| Term { text: term.text, weight: term.weight }).collect(),
        columns: columns.collect(),
        mode: match mode {
            wit::MatchMode::Any => MatchMode::Any,
            wit::MatchMode::All => MatchMode::All,
        },
        form: to_form(form),
        saturation,
        length_normalisation,
        exact,
    })
}

fn dense_query(query: wit::DenseQuery) -> Result<DenseQuery, String> {
    check_text(query.text.len())?;
    Ok(DenseQuery { text: query.text, form: to_form(query.form) })
}

fn check_text(bytes: usize) -> Result<(), String> {
    if bytes > MAX_TEXT_BYTES {
        return Err(format!("{bytes} bytes of text, {MAX_TEXT_BYTES} are allowed"));
    }
    Ok(())
}

fn to_column(column: wit::Column) -> Column {
    match column {
        wit::Column::Server => Column::Server,
        wit::Column::Name => Column::Name,
        wit::Column::Description => Column::Description,
        wit::Column::ParameterNames => Column::ParameterNames,
        wit::Column::ParameterDescriptions => Column::ParameterDescriptions,
        wit::Column::EnumValues => Column::EnumValues,
    }
}

fn to_form(form: wit::DocumentForm) -> DocumentForm {
    match form {
        wit::DocumentForm::Standard => DocumentForm::Standard,
        wit::DocumentForm::Reference => DocumentForm::Reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> wit::SearchPlan {
        let lexical = wit::LexicalQuery {
            terms: vec![wit::Term { text: "search".into(), weight: 1.0 }],
            columns: vec![wit::WeightedColumn { column: wit::Column::Name, weight: 3.0 }],
            mode: wit::MatchMode::Any,
            form: wit::DocumentForm::Standard,
            saturation: 1.2,
            length_normalisation: 0.75,
            exact: 0.7,
            extra: String::new(),
        };
        let dense =
            wit::DenseQuery { text: "search issues".into(), form: wit::DocumentForm::Standard, extra: String::new() };
        let subquery = |id| wit::Subquery {
            id,
            lexical: Some(lexical.clone()),
            dense: Some(dense.clone()),
            pool: 100,
            extra: String::new(),
        };
        wit::SearchPlan {
            subqueries: vec![subquery(0), subquery(7)],
            similar_from: None,
            texts: wit::CandidateTexts::empty(),
            extra: String::new(),
        }
    }

    #[test]
    fn a_plan_beyond_the_limits_is_refused_with_the_reason() {
        fn check(change: impl Fn(&mut wit::SearchPlan), expected: &str) {
            let mut changed = plan();
            change(&mut changed);
            let reason = from_wit(changed).err().unwrap_or_else(|| "accepted".into());
            assert_eq!(reason, expected);
        }
        let lexical = |change: fn(&mut wit::LexicalQuery)| {
            move |plan: &mut wit::SearchPlan| change(plan.subqueries[1].lexical.as_mut().unwrap())
        };
        let dense = |bytes: usize| {
            move |plan: &mut wit::SearchPlan| plan.subqueries[1].dense.as_mut().unwrap().text = "x".repeat(bytes)
        };
        let subqueries = |count: u32| {
            move |plan: &mut wit::SearchPlan| {
                let one = plan.subqueries[0].clone();
                plan.subqueries = (0..count).map(|id| wit::Subquery { id, ..one.clone() }).collect();
            }
        };
        check(|_| {}, "accepted");
        check(|plan| plan.subqueries.clear(), "accepted");
        check(subqueries(32), "accepted");
        check(subqueries(33), "33 subqueries, 32 are allowed");
        check(|plan| plan.subqueries[1].id = 0, "two subqueries have the id 0");
        check(|plan| plan.subqueries[1].pool = 0, "subquery 7: its pool is 0");
        check(|plan| plan.subqueries[1].pool = u32::MAX, "accepted");
        check(|plan| plan.similar_from = Some(f64::NAN), "`similar-from` is no number");
        check(lexical(|query| query.terms = vec![query.terms[0].clone(); 256]), "accepted");
        check(
            lexical(|query| query.terms = vec![query.terms[0].clone(); 257]),
            "subquery 7: 257 terms, 256 are allowed",
        );
        check(
            lexical(|query| query.terms[0].text = "x".repeat(65_537)),
            "subquery 7: 65537 bytes of text, 65536 are allowed",
        );
        check(
            lexical(|query| query.terms[0].weight = f64::INFINITY),
            "subquery 7: the weight of the term \"search\" is inf",
        );
        check(
            lexical(|query| query.columns[0].weight = f64::NAN),
            "subquery 7: the weight of the column Column::Name is NaN",
        );
        check(lexical(|query| query.columns[0].weight = 0.0), "subquery 7: the weight of the column Column::Name is 0");
        check(
            lexical(|query| query.columns.push(query.columns[0])),
            "subquery 7: two weights for the column Column::Name",
        );
        check(lexical(|query| query.saturation = -1.0), "subquery 7: its saturation is -1");
        check(lexical(|query| query.length_normalisation = 1.1), "subquery 7: its length normalisation is 1.1");
        check(lexical(|query| query.exact = -0.1), "subquery 7: its weight of exact words is -0.1");
        check(dense(65_536), "accepted");
        check(dense(65_537), "subquery 7: 65537 bytes of text, 65536 are allowed");
    }

    #[test]
    fn a_larger_pool_is_cut() {
        let mut plan = plan();
        plan.subqueries[1].pool = 1_000;
        let pools: Vec<u32> = from_wit(plan).unwrap().subqueries.iter().map(|subquery| subquery.pool).collect();
        assert_eq!(pools, [100, 200]);
    }
}
