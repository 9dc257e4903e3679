//! Who answers what a tool asks its user: the person at the terminal, a file, or nobody.

mod form;

use std::{
    collections::VecDeque,
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use self::form::Field;
use crate::report;

/// The one thing that a host asks of a client that can do no more than this.
const ELICITATION: &str = "elicitation/create";
const HOW_TO_ENTER: &str = "!decline says no, !cancel or Ctrl-D gives no answer";

pub(crate) enum Answers {
    Nobody,
    File(AnswerFile),
    Terminal(Lines<BufReader<Stdin>>),
}

/// Answers in the order of the questions.
pub(crate) struct AnswerFile {
    path: PathBuf,
    given: usize,
    left: VecDeque<Map<String, Value>>,
}

impl Answers {
    /// The answers of `file`; without one those of the person at the terminal, if there is one.
    pub(crate) fn of(file: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = file {
            let name = path.display();
            let text = fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
            let left = serde_json::from_str(&text).with_context(|| format!("`{name}` is no JSON list of answers"))?;
            return Ok(Self::File(AnswerFile { path: path.to_owned(), given: 0, left }));
        }
        match io::stdin().is_terminal() && io::stderr().is_terminal() {
            true => Ok(Self::Terminal(BufReader::new(tokio::io::stdin()).lines())),
            false => Ok(Self::Nobody),
        }
    }

    /// What a client that has these answers can be asked.
    pub(crate) fn capabilities(&self) -> Value {
        match self {
            Self::Nobody => json!({}),
            Self::File(_) | Self::Terminal(_) => json!({ "elicitation": { "form": {} } }),
        }
    }

    /// The answers to `inputRequests`, under the same keys.
    pub(crate) async fn to(&mut self, requests: &Value) -> anyhow::Result<Map<String, Value>> {
        let mut answers = Map::new();
        for (key, request) in requests.as_object().into_iter().flatten() {
            answers.insert(key.clone(), self.answer(request).await?);
        }
        Ok(answers)
    }

    async fn answer(&mut self, request: &Value) -> anyhow::Result<Value> {
        let (method, params) = (request["method"].as_str().unwrap_or_default(), &request["params"]);
        if method != ELICITATION {
            bail!("the tool asks for `{method}`, which a terminal cannot give");
        }
        let message = params["message"].as_str().unwrap_or_default();
        match self {
            Self::Nobody => bail!("the tool asks something, and nobody can answer: {message}"),
            Self::File(file) => file.next(message, &params["requestedSchema"]),
            Self::Terminal(lines) => ask(lines, message, &params["requestedSchema"]).await,
        }
    }

    /// Remarks, once all is done, on what nobody asked for, and on how to answer what could not be asked.
    pub(crate) fn remark(&self, result: &Value) {
        match self {
            Self::File(AnswerFile { path, left, .. }) if !left.is_empty() => {
                report::note(&format!(
                    "`{}` has {} more, which nothing asked for",
                    path.display(),
                    answers(left.len())
                ));
            }
            // A step that cannot ask names the method; what a backend says that cannot is its own affair.
            Self::Nobody if result["isError"] == true && result["content"].to_string().contains(ELICITATION) => {
                report::note(
                    "hint: run it in a terminal to be asked, or give the answers in a file with '--answers FILE'",
                );
            }
            _ => {}
        }
    }
}

impl AnswerFile {
    /// The next answer, as the protocol has it.
    fn next(&mut self, message: &str, schema: &Value) -> anyhow::Result<Value> {
        let name = self.path.display();
        let Some(next) = self.left.pop_front() else {
            bail!("`{name}` has {}, and there is one more question: {message}", answers(self.given));
        };
        self.given += 1;
        let answer = as_answer(next);
        // A schema that is none excludes nothing.
        if answer["action"] == "accept"
            && let Ok(validator) = jsonschema::validator_for(schema)
            && let Some(error) = validator.iter_errors(&answer["content"]).next()
        {
            let place = error.instance_path();
            bail!("answer {} of `{name}` does not fit the question \"{message}\": {place} {error}", self.given);
        }
        Ok(answer)
    }
}

fn answers(count: usize) -> String {
    format!("{count} answer{}", if count == 1 { "" } else { "s" })
}

/// `{action, content}` as it is; any other object is the content of a yes.
fn as_answer(given: Map<String, Value>) -> Value {
    let is_action = |action: &Value| ["accept", "decline", "cancel"].iter().any(|known| action == known);
    let is_answer =
        given.get("action").is_some_and(is_action) && given.keys().all(|key| key == "action" || key == "content");
    if !is_answer {
        return json!({ "action": "accept", "content": given });
    }
    let mut answer = given;
    if answer["action"] == "accept" {
        answer.entry("content").or_insert_with(|| json!({}));
    }
    Value::Object(answer)
}

/// Asks the person at the terminal, line by line, for each property of the answer.
async fn ask(lines: &mut Lines<BufReader<Stdin>>, message: &str, schema: &Value) -> anyhow::Result<Value> {
    let fields = Field::all(schema);
    report::question(message, HOW_TO_ENTER);
    let no_answer = |action: &str| json!({ "action": action });
    let mut content = Map::new();
    if fields.is_empty() {
        loop {
            match line(lines, "yes or no").await?.as_deref().map(form::yes_or_no) {
                None => return Ok(no_answer("cancel")),
                Some(Ok(true)) => return Ok(json!({ "action": "accept", "content": {} })),
                Some(Ok(false)) => return Ok(no_answer("decline")),
                Some(Err(why)) => report::note(&why),
            }
        }
    }
    for field in &fields {
        field.about().iter().for_each(|about| report::note(&report::plain(about)));
        loop {
            let entered = match line(lines, &field.prompt()).await? {
                None => return Ok(no_answer("cancel")),
                Some(entered) if entered.trim() == "!decline" => return Ok(no_answer("decline")),
                Some(entered) => field.read(&entered),
            };
            match entered {
                Ok(None) => break,
                Ok(Some(value)) => {
                    content.insert(field.name.to_owned(), value);
                    break;
                }
                Err(why) => report::note(&report::plain(&why)),
            }
        }
    }
    Ok(json!({ "action": "accept", "content": content }))
}

/// A line that was entered; `None` when there will be no answer.
async fn line(lines: &mut Lines<BufReader<Stdin>>, prompt: &str) -> anyhow::Result<Option<String>> {
    report::prompt(prompt);
    let entered = lines.next_line().await.context("cannot read what is entered")?;
    if entered.is_none() {
        report::note(""); // the line that the prompt began
    }
    Ok(entered.filter(|entered| entered.trim() != "!cancel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(answers: &Value) -> AnswerFile {
        AnswerFile { path: "answers.json".into(), given: 0, left: serde_json::from_value(answers.clone()).unwrap() }
    }

    #[test]
    fn an_answer_of_a_file_is_content_unless_it_says_what_was_done() {
        let check = |given: Value, expected: Value| {
            assert_eq!(file(&json!([given])).next("?", &Value::Null).unwrap(), expected, "{given}");
        };
        check(json!({ "a": 1 }), json!({ "action": "accept", "content": { "a": 1 } }));
        check(json!({}), json!({ "action": "accept", "content": {} }));
        check(json!({ "action": "accept" }), json!({ "action": "accept", "content": {} }));
        check(json!({ "action": "decline" }), json!({ "action": "decline" }));
        check(
            json!({ "action": "accept", "content": { "a": 1 } }),
            json!({ "action": "accept", "content": { "a": 1 } }),
        );
        check(json!({ "action": "reboot" }), json!({ "action": "accept", "content": { "action": "reboot" } }));
        let other = json!({ "action": "cancel", "host": "a" });
        check(other.clone(), json!({ "action": "accept", "content": other }));
    }

    #[test]
    fn answers_that_do_not_fit_or_do_not_suffice_are_errors_that_say_which() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let mut answers = file(&json!([{ "n": 1 }, { "n": "1" }, { "action": "decline" }]));
        assert_eq!(answers.next("How many?", &schema).unwrap()["content"]["n"], 1);
        let error = answers.next("How many?", &schema).unwrap_err().to_string();
        assert!(
            error.starts_with("answer 2 of `answers.json` does not fit the question \"How many?\": /n "),
            "{error}"
        );
        assert_eq!(answers.next("How many?", &schema).unwrap(), json!({ "action": "decline" }));
        let error = answers.next("And now?", &schema).unwrap_err().to_string();
        assert_eq!(error, "`answers.json` has 3 answers, and there is one more question: And now?");
    }
}
