//! Unstable. What authors of composite tools need: a document of steps baked into a component, and drawn as a graph.

mod bake;
mod graph;

pub use bake::{BakeError, bake, source};
pub use graph::mermaid;
