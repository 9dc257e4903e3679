//! Everything an author of a vmcp-host component needs: per extension point a trait with plain Rust types, and a macro
//! that registers an implementation as the component's export.
//!
//! STABILITY: experimental until 0.2; the WIT packages below it are versioned on their own.
//!
//! A component that decides names is a type that reads as its own configuration and implements
//! [`ConflictResolver`](conflict::ConflictResolver):
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use vmcp_sdk::conflict::{ConflictResolver, Request, Resolution, ResolveError, Tie};
//!
//! /// Puts a fixed word before every name.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields)]
//! struct Marked {
//!     /// The word, e.g. `acme`.
//!     word: String,
//! }
//!
//! impl ConflictResolver for Marked {
//!     fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
//!         if request.kind.keeps_names() {
//!             return Ok(request.keep_names());
//!         }
//!         let proposed = request.contenders.iter().map(|contender| {
//!             let name = format!("{}_{}_{}", self.word, contender.slug, contender.name);
//!             Resolution::expose(request.names.replace_illegal(&name), "every name is marked")
//!         });
//!         Ok(request.settle(proposed.collect(), Tie::FirstKeeps))
//!     }
//! }
//!
//! vmcp_sdk::register_conflict_resolver!(Marked);
//! ```
//!
//! One that ranks what a search finds implements [`RankingStrategy`](ranking::RankingStrategy):
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use vmcp_sdk::ranking::{
//!     Arm, Findings, Fusion, Plan, Query, Ranked, RankingError, RankingStrategy, Subquery, min_max,
//! };
//!
//! /// Meaning alone, and tools that failed lately last.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields)]
//! struct Careful {}
//!
//! impl RankingStrategy for Careful {
//!     fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
//!         Ok(Plan::new([Subquery::new(0, query.terms(), &query.text, 50)]))
//!     }
//!
//!     fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
//!         // Words where meaning could not be searched.
//!         let arm = if findings.dense { Arm::Dense } else { Arm::Lexical };
//!         let mut fusion = Fusion::new(findings);
//!         fusion.add(1.0, &min_max(&findings.list(arm, |_| true), 50));
//!         fusion.scale(|candidate| if candidate.failures > 0 { 0.1 } else { 1.0 });
//!         Ok(fusion.into_ranked(query))
//!     }
//! }
//!
//! vmcp_sdk::register_ranking_strategy!(Careful);
//! ```
//!
//! The crate's feature `heap`, which is on by default, is the component's allocator: a component with one of its own turns it off.
//!
//! The crate is compiled for `wasm32-unknown-unknown` as a `cdylib`; there is no WASI, so the component can reach nothing
//! but the host's log. Compiled for any other target the same code is an ordinary library: `cargo test` runs its unit
//! tests without a host, and [`log`] writes to standard error.

#![warn(missing_docs)]

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
pub mod component;
pub mod conflict;
#[doc(hidden)]
pub mod export;
#[cfg(all(target_arch = "wasm32", feature = "heap"))]
#[expect(unsafe_code, reason = "an allocator cannot be had without")]
mod heap;
pub mod log;
pub mod ranking;
#[cfg(feature = "workflow")]
pub mod workflow;
