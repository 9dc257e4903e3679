//! `call`: one tool call from the command line.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use super::session::HostSession;
use crate::{cli::Call, exit::Failure, report};

pub(crate) async fn run(arguments: Call) -> anyhow::Result<ExitCode> {
    let mut host = HostSession::open(&arguments.file.config).await?;
    let result = call(&mut host, &arguments).await;
    host.close().await;
    let result = result?;
    match arguments.json {
        true => report::json(&result),
        false => report::tool_result(&result),
    }
    Ok(if result["isError"] == true { Failure::Tool.into() } else { ExitCode::SUCCESS })
}

async fn call(host: &mut HostSession, call: &Call) -> anyhow::Result<Value> {
    let arguments = match &call.arguments_json {
        Some(text) => serde_json::from_str(text).context("`--arguments-json` is no JSON object")?,
        None if call.arguments.is_empty() => Map::new(),
        None => {
            let schema = input_schema(host, &call.name).await?;
            call.arguments.iter().map(|pair| argument(pair, &schema)).collect::<anyhow::Result<_>>()?
        }
    };
    host.ask("tools/call", json!({ "name": call.name, "arguments": arguments })).await
}

/// The input schema of a tool; null where the tool is not listed, and the call itself tells why.
async fn input_schema(host: &mut HostSession, name: &str) -> anyhow::Result<Value> {
    let mut cursor = None;
    loop {
        let params = cursor.map_or_else(|| json!({}), |cursor: Value| json!({ "cursor": cursor }));
        let mut page = host.ask("tools/list", params).await?;
        let tool = page["tools"].as_array_mut().and_then(|tools| tools.iter_mut().find(|tool| tool["name"] == name));
        if let Some(tool) = tool {
            return Ok(tool["inputSchema"].take());
        }
        match page.get_mut("nextCursor") {
            Some(next) => cursor = Some(next.take()),
            None => return Ok(Value::Null),
        }
    }
}

/// `key=value` as an argument: text where the schema asks for a string, else JSON, else text.
fn argument(pair: &str, schema: &Value) -> anyhow::Result<(String, Value)> {
    let Some((key, text)) = pair.split_once('=') else { bail!("`{pair}` is no `key=value`") };
    let wants_text = schema["properties"][key]["type"] == "string";
    let value = match serde_json::from_str(text) {
        Ok(value) if !wants_text => value,
        _ => Value::String(text.to_owned()),
    };
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_typed_by_the_schema() {
        let schema = json!({ "properties": { "id": { "type": "string" }, "n": { "type": "integer" } } });
        let check = |pair: &str, expected: Value| assert_eq!(argument(pair, &schema).unwrap().1, expected, "{pair}");
        check("id=12", json!("12"));
        check("n=12", json!(12));
        check("other=[1]", json!([1]));
        check("other=hello world", json!("hello world"));
        check("other=a=b", json!("a=b"));
        assert!(argument("no pair", &schema).is_err());
    }
}
