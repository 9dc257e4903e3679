//! What searches found, how good they are, and how one came about.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use vmcp_core::ranking::{Arm, Hit, Subquery};
use vmcp_optimizer::{
    eval::{BUDGETS, Comparison, Estimate, Figure, Metric, Summary},
    search::{ExplainedCandidate, Explanation},
};

use super::{line, note, table, text};

/// Candidates of an explanation that the table shows; JSON has all of them.
const SHOWN_CANDIDATES: usize = 30;

/// The figures of tables, in percent.
const SHOWN: [Metric; 10] = [
    Metric::Recall(1),
    Metric::Recall(3),
    Metric::Recall(5),
    Metric::Recall(8),
    Metric::All(8),
    Metric::ReciprocalRank,
    Metric::Gain,
    Metric::Within(0),
    Metric::Within(1),
    Metric::Within(2),
];

/// A bar on standard error for tools that are embedded, then for queries that are asked; without a terminal, nothing.
pub(crate) fn progress(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}").expect("the template is right");
    let bar = ProgressBar::new(0).with_style(style).with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A set whose queries need tools that it does not have.
pub(crate) fn missing_tools(set: &str, missing: &[String]) {
    let (count, first) = (missing.len(), missing.iter().take(3).cloned().collect::<Vec<_>>().join(", "));
    note(&format!("warning: {set}: {count} needed tools are not there and can never be found, e.g. {first}"));
}

/// The measured figures, and what there is to compare.
pub(crate) fn evaluation(summaries: &[Summary], comparisons: &[Comparison]) {
    line(&figures_table(summaries).to_string());
    line(
        "percent, and below it where 95 % of the means of like queries lie; tok: within so many tokens (o200k), the definitions",
    );
    line("of find_tool and call_tool and the answer's own JSON included; ms: p50 and p99 of a search");
    if let Some(first) = comparisons.first() {
        line("");
        line(&format!(
            "{} against {}, query by query: percent points, * where the interval excludes 0",
            first.b, first.a
        ));
        line(&comparison_table(comparisons).to_string());
    }
}

fn figures_table(summaries: &[Summary]) -> Table {
    let mut table = numbers(&["set", "ranking"], &["ms"]);
    for summary in summaries {
        let mut cells = vec![
            Cell::new(format!("{}\n{} queries", summary.set, summary.queries)),
            Cell::new(format!("{}\n{}", summary.ranking, summary.embedding)),
        ];
        cells.extend(shown(&summary.figures, |estimate| {
            format!("{:.1}\n{:.1}–{:.1}", percent(estimate.mean), percent(estimate.low), percent(estimate.high))
        }));
        let latency = summary.latency;
        cells.push(Cell::new(format!("{:.2}\n{:.2}", latency.p50_millis, latency.p99_millis)));
        table.add_row(cells);
    }
    table
}

fn comparison_table(comparisons: &[Comparison]) -> Table {
    let mut table = numbers(&["set"], &[]);
    for comparison in comparisons {
        let mut cells = vec![Cell::new(format!("{}\n{}", comparison.set, comparison.embedding))];
        cells.extend(shown(&comparison.figures, |estimate| {
            let sure = if estimate.low > 0.0 || estimate.high < 0.0 { "*" } else { "" };
            let (mean, low, high) = (percent(estimate.mean), percent(estimate.low), percent(estimate.high));
            format!("{mean:+.1}{sure}\n{low:+.1} {high:+.1}")
        }));
        table.add_row(cells);
    }
    table
}

/// A table with a column per shown figure, between others.
fn numbers(before: &[&str], after: &[&str]) -> Table {
    let heading = |metric: &Metric| match metric {
        Metric::Within(index) => format!("R@{}\ntok", BUDGETS[*index]),
        metric => metric.to_string(),
    };
    let figures: Vec<_> = SHOWN.iter().map(heading).collect();
    let header = before.iter().copied().chain(figures.iter().map(String::as_str)).chain(after.iter().copied());
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(before.len()) {
        column.set_cell_alignment(CellAlignment::Right);
        column.set_padding((0, 1));
    }
    table
}

fn shown(figures: &[Figure], write: impl Fn(Estimate) -> String) -> Vec<Cell> {
    let figure = |metric: &Metric| figures.iter().find(|figure| figure.metric == *metric);
    SHOWN.iter().map(|metric| figure(metric).map_or_else(|| Cell::new("–"), |f| Cell::new(write(f.estimate)))).collect()
}

fn percent(share: f64) -> f64 {
    share * 100.0
}

/// One search, laid open.
pub(crate) fn explanation(title: &str, explanation: &Explanation) {
    line(title);
    for subquery in &explanation.plan.subqueries {
        line(&format!("  {}", planned(subquery)));
    }
    if !explanation.dense {
        line("  dense queries were not run");
    }
    let subqueries = &explanation.plan.subqueries;
    let arms: Vec<_> = subqueries
        .iter()
        .flat_map(|subquery| [(subquery.id, Arm::Lexical), (subquery.id, Arm::Dense)])
        .filter(|arm| explanation.candidates.iter().any(|candidate| hit(candidate, *arm).is_some()))
        .collect();
    let mut header = vec![String::new(), "tool".into(), "server".into(), "score".into()];
    header.extend(arms.iter().map(|(subquery, arm)| match arm {
        Arm::Lexical => format!("{subquery}: words"),
        Arm::Dense => format!("{subquery}: meaning"),
    }));
    header.push("why".into());
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header);
    for (index, candidate) in explanation.candidates.iter().take(SHOWN_CANDIDATES).enumerate() {
        let place = if candidate.score.is_some() { (index + 1).to_string() } else { String::new() };
        let score = candidate.score.map_or_else(|| "left out".into(), |score| format!("{score:.3}"));
        let mut cells = vec![place, candidate.name.clone(), candidate.server.clone(), score];
        cells.extend(arms.iter().map(|arm| {
            hit(candidate, *arm).map_or_else(String::new, |hit| format!("{:.3} (#{})", hit.score, hit.rank))
        }));
        cells.push(candidate.why.clone());
        table.add_row(cells);
    }
    line(&table.to_string());
    let more = explanation.candidates.len().saturating_sub(SHOWN_CANDIDATES);
    if more > 0 {
        line(&format!("and {more} more; --json shows all"));
    }
}

fn hit(candidate: &ExplainedCandidate, (subquery, arm): (u32, Arm)) -> Option<&Hit> {
    candidate.hits.iter().find(|hit| hit.subquery == subquery && hit.arm == arm)
}

/// A subquery in one line.
fn planned(subquery: &Subquery) -> String {
    let mut parts = vec![format!("{}:", subquery.id)];
    if let Some(lexical) = &subquery.lexical {
        let term = |term: &vmcp_core::ranking::Term| match (term.weight - 1.0).abs() < 1e-9 {
            true => term.text.clone(),
            false => format!("{}·{:.2}", term.text, term.weight),
        };
        parts.push(format!("words [{}]", lexical.terms.iter().map(term).collect::<Vec<_>>().join(" ")));
    }
    if let Some(dense) = &subquery.dense {
        parts.push(format!("meaning of {:?}", dense.text));
    }
    parts.push(format!("best {} each", subquery.pool));
    parts.join(" ")
}

/// What `find_tool` answered.
pub(crate) fn found(answer: &Value) {
    let tools = answer["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let matches = answer["matches"].as_array().map(Vec::as_slice);
    let mut table = match matches {
        Some(_) => table(&["tool", "description", "server", "score", "why"]),
        None => table(&["tool", "description"]),
    };
    for (index, tool) in tools.iter().enumerate() {
        let description = tool["description"].as_str().and_then(|text| text.trim().lines().next()).unwrap_or("–");
        let mut cells = vec![text(&tool["name"]), shortened(description)];
        if let Some(reason) = matches.and_then(|matches| matches.get(index)) {
            let score = reason["score"].as_f64().map_or_else(|| "–".into(), |score| format!("{score:.3}"));
            cells.extend([text(&reason["server"]), score, text(&reason["why"])]);
        }
        table.add_row(cells);
    }
    line(&table.to_string());
    let percent = answer["token_metrics"]["savings_percent"].as_f64().unwrap_or_default();
    line(&format!("{} tools, {percent:.1} % smaller than listing all", tools.len()));
    if let Some(lacks) = answer["note"].as_str() {
        note(&format!("note: {lacks}"));
    }
}

/// Enough of a description for a table.
fn shortened(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
