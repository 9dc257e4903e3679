//! Unstable. The domain: names, capabilities, the catalog, calls and their errors, and one trait per extension point.
//!
//! No IO and no runtime here: all other crates may use this one, it uses none of them.

pub mod ability;
pub mod call;
pub mod capability;
pub mod catalog;
pub mod extension;
pub mod id;
pub mod journal;
pub mod json;
pub mod ranking;
pub mod uri_template;
pub mod workflow;

/// An error of any kind, as the `source` of one of ours.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error and its nearest cause in one line, for people.
pub fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
