//! Measures a search: how often the tools that a query needs are among the first that it finds, how many fit a budget of
//! tokens, and how long it takes.
//!
//! In reading order: `golden` reads tool sets and queries, `run` asks them, `metric` scores what came back, `budget` counts
//! tokens, `bootstrap` says how far a mean can be trusted, `outcome` puts it together. Nothing here prints.

mod bootstrap;
mod budget;
mod golden;
mod metric;
mod outcome;
mod run;

pub use self::{
    bootstrap::{Estimate, SAMPLES},
    budget::{BUDGETS, Meter},
    golden::{GoldenError, GoldenQuery, GoldenSet, GoldenTool, read_queries, read_tools},
    metric::{CUTOFF, METRICS, Metric, Scores},
    outcome::{Comparison, Figure, Latency, Run, Summary},
    run::{Costs, MeasureError, measure},
};
