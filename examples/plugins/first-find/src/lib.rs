//! Asks several search tools at once and takes the first that finds something.
//!
//! When none does, the request is asked again without its last word, until something is found or no word is left. A race inside
//! of a loop: steps in a configuration cannot say that.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vmcp_sdk::{
    log,
    workflow::{ConfigProblem, Definition, ToolResult, Workflow, WorkflowError, arguments, progress, tools},
};

/// A race of search tools.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FirstFind {
    /// The tools, e.g. `[notes.search, tasks.search]`: each takes a `query`, and answers with lists.
    tools: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Arguments {
    /// Words to look for, the most important first.
    query: String,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Found {
    /// The tool that was first.
    tool: String,
    /// The words that it found something for.
    query: String,
    /// Its answer.
    answer: Value,
}

impl Workflow for FirstFind {
    fn definition(&self) -> Result<Definition, WorkflowError> {
        let about = "Searches in several places at once and gives the first answer that has something in it";
        let definition = Definition::new::<Arguments>("first-find", about).gives::<Found>();
        Ok(Definition { tools: self.tools.clone(), ..definition })
    }

    async fn run(&self, given: Map<String, Value>) -> Result<ToolResult, WorkflowError> {
        let Arguments { query } = arguments(given)?;
        let words: Vec<&str> = query.split_whitespace().collect();
        for left_out in 0..words.len() {
            let query = words[..words.len() - left_out].join(" ");
            progress::report(left_out as f64, Some(words.len() as f64), format!("searching for `{query}`"));
            if let Some(found) = self.race(&query).await {
                return ToolResult::structured(&found);
            }
        }
        Err(WorkflowError::failed(format!("nothing found for `{query}`, whichever words are left out")))
    }

    fn check(&self) -> Vec<ConfigProblem> {
        if self.tools.is_empty() { vec![ConfigProblem::new("/tools", "needs at least one tool")] } else { Vec::new() }
    }
}

vmcp_sdk::register_workflow!(FirstFind);

impl FirstFind {
    /// The first answer with something in it. The searches that are slower are cancelled.
    async fn race(&self, query: &str) -> Option<Found> {
        let search = |tool: &'_ String| {
            let tool = tool.clone();
            async move {
                let answer = tools::call(&tool, &json!({ "query": query })).await;
                (tool, answer)
            }
        };
        let mut searches: FuturesUnordered<_> = self.tools.iter().map(search).collect();
        while let Some((tool, answer)) = searches.next().await {
            match answer {
                Ok(result) if result.is_error() => log::warn(format!("`{tool}`: {}", result.to_text())),
                Ok(result) => match result.read::<Value>() {
                    Ok(answer) if has_something(&answer) => return Some(Found { tool, query: query.into(), answer }),
                    _ => {}
                },
                Err(error) => log::warn(format!("`{tool}`: {error}")),
            }
        }
        None
    }
}

/// Whether one of the lists of an answer has an item.
fn has_something(answer: &Value) -> bool {
    match answer {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => members.values().any(has_something),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_items_has_nothing() {
        let check = |answer: Value, expected: bool| assert_eq!(has_something(&answer), expected, "{answer}");
        check(json!({ "matches": [] }), false);
        check(json!({ "matches": [{ "name": "tea" }], "more": false }), true);
        check(json!("tea"), false);
    }

    #[test]
    fn the_tools_of_the_config_are_those_it_calls() {
        let workflow = FirstFind { tools: vec!["notes.search".into(), "tasks.search".into()] };
        let definition = workflow.definition().unwrap();
        assert_eq!(definition.tools, ["notes.search", "tasks.search"]);
        assert_eq!(definition.input_schema["required"], json!(["query"]));
        assert_eq!(FirstFind { tools: Vec::new() }.check()[0].pointer, "/tools");
    }
}
