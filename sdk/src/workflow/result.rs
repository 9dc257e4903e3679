//! Results of tools, those that a workflow gets and the one that it gives.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::WorkflowError;

/// A tool result as the protocol has it: an object with `content`, and perhaps `structuredContent` and `isError`.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult(pub Value);

impl ToolResult {
    /// One text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(json!({ "content": [{ "type": "text", "text": text.into() }] }))
    }

    /// An object, structured and as text for clients that read no structure.
    ///
    /// # Errors
    /// If `value` cannot be written as JSON.
    pub fn structured(value: &impl Serialize) -> Result<Self, WorkflowError> {
        let value = serde_json::to_value(value).map_err(|error| WorkflowError::Failed(error.to_string()))?;
        Ok(Self(json!({ "content": [{ "type": "text", "text": value.to_string() }], "structuredContent": value })))
    }

    /// Whether the tool says that it failed.
    pub fn is_error(&self) -> bool {
        self.0["isError"] == true
    }

    /// All texts of the content, one after the other.
    pub fn to_text(&self) -> String {
        let content = self.0["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<_> = content.iter().filter_map(|block| block["text"].as_str()).collect();
        texts.join("\n")
    }

    /// The structured content as a type; without one, the text read as JSON.
    ///
    /// # Errors
    /// If it is something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, WorkflowError> {
        let value = match &self.0["structuredContent"] {
            Value::Null => serde_json::from_str(&self.to_text()),
            structured => Ok(structured.clone()),
        };
        value
            .and_then(serde_json::from_value)
            .map_err(|error| WorkflowError::Failed(format!("a tool result is not what was expected: {error}")))
    }
}
