//! What a search saves: in the reference's measure, bytes of JSON divided by four, and in tokens as a model counts them.

use tiktoken_rs::CoreBPE;

/// What one answer of `find_tool` costs against listing everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct TokenMetrics {
    pub token_metrics: Estimate,
    /// Absent until all tools are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_counts: Option<TokenCounts>,
}

/// Bytes of the definitions' JSON divided by four.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Of all tools that the client could see.
    pub baseline_tokens: u64,
    /// Of the tools returned.
    pub returned_tokens: u64,
    pub savings_percent: f64,
}

/// Tokens of `o200k_base`.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct TokenCounts {
    /// The definitions of all tools.
    pub baseline: u64,
    /// The definitions of `find_tool`, `call_tool` and pinned tools, which every request to a model carries.
    pub shown: u64,
    /// The definitions in this answer.
    pub returned: u64,
    pub savings_percent: f64,
}

impl Estimate {
    pub fn new(baseline_tokens: u64, returned_tokens: u64) -> Self {
        Self { baseline_tokens, returned_tokens, savings_percent: savings(baseline_tokens, returned_tokens) }
    }
}

impl TokenCounts {
    pub fn new(baseline: u64, shown: u64, returned: u64) -> Self {
        Self { baseline, shown, returned, savings_percent: savings(baseline, shown + returned) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn savings(baseline: u64, cost: u64) -> f64 {
    match baseline {
        0 => 0.0,
        _ => (baseline as f64 - cost as f64) / baseline as f64 * 100.0,
    }
}

/// A tool's share in the estimate.
pub fn estimate(definition: &str) -> u64 {
    (definition.len() / 4) as u64
}

/// Counts tokens as models of OpenAI since GPT-4o do. Its tables take tens of megabytes: keep it no longer than needed.
pub struct TokenCounter(CoreBPE);

impl TokenCounter {
    /// # Errors
    /// If the tables inside the program cannot be read.
    pub fn new() -> Result<Self, String> {
        tiktoken_rs::o200k_base().map(Self).map_err(|error| error.to_string())
    }

    pub fn count(&self, text: &str) -> u64 {
        self.0.encode_ordinary(text).len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_divide_bytes_by_four_and_never_by_nothing() {
        assert_eq!(estimate("12345678901"), 2);
        let check = |baseline, returned, percent: f64| {
            assert!((Estimate::new(baseline, returned).savings_percent - percent).abs() < 1e-9);
        };
        check(0, 0, 0.0);
        check(200, 50, 75.0);
        check(100, 150, -50.0);
    }

    #[test]
    fn tokens_are_those_of_the_published_encoding() {
        let counter = TokenCounter::new().unwrap();
        assert_eq!(counter.count(""), 0);
        assert_eq!(counter.count("hello world"), 2);
        assert_eq!(counter.count(r#"{"type":"object"}"#), 5);
    }
}
