//! Unstable. Finds the right one among thousands of tools: an index of their words and meanings, the providers that turn texts
//! into vectors, the search that a ranking component directs, and the evaluation that measures it.

pub mod call_tool;
pub mod document;
pub mod embedding;
pub mod eval;
pub mod find_tool;
pub mod index;
pub mod search;
pub mod tokens;
pub mod words;
