//! Go's text/template over JSON: compiled once, expanded against what a step may see.
//!
//! The engine is the crate `gotmpl`. Here are the limits, the functions that workflows add (`functions`), the way between its
//! values and JSON (`value`), whether blocks are closed (`blocks`), and which parts of the context a template reads (`reads`).

mod blocks;
mod functions;
mod reads;
mod value;

use std::fmt::{self, Write};

pub(crate) use gotmpl::Value as TemplateValue;
pub(crate) use reads::Path;
pub(crate) use value::{from_json, map};

use crate::problem::{Place, Problems};

/// Longest output of one expansion, in bytes.
pub(crate) const MAX_OUTPUT_BYTES: usize = 10 * 1024 * 1024;
/// Turns of all `range` loops of one expansion together: more than any output within the limit needs, and below a second.
const MAX_RANGE_TURNS: u64 = 1_000_000;
/// What a missing key prints.
pub(crate) const NO_VALUE: &str = "<no value>";

/// A text of the document that may hold template actions.
pub(crate) struct Template {
    pub(crate) reads: Reads,
    body: Body,
}

/// The parts of the context that something reads, as far as they can be seen without running it.
pub(crate) struct Reads {
    /// Where it stands, for problems.
    pub(crate) place: Place,
    pub(crate) paths: Vec<Path>,
}

impl Reads {
    /// Whether it may read anything of what the context has under `key`: who reads all of it does.
    pub(crate) fn may_read(&self, key: &str) -> bool {
        self.paths.iter().any(|path| path.first().is_none_or(|first| first == key))
    }
}

enum Body {
    Literal(String),
    Compiled(gotmpl::Template),
}

impl Template {
    /// Compiles `source`. What is wrong with it becomes a problem, and the template is none.
    pub(crate) fn compile(source: &str, place: Place, problems: &mut Problems) -> Option<Self> {
        if !source.contains("{{") {
            let reads = Reads { place, paths: Vec::new() };
            return Some(Self { reads, body: Body::Literal(source.to_owned()) });
        }
        match Self::parse(source) {
            Ok((analysis, compiled)) => {
                analysis.problems.iter().for_each(|message| problems.add(&place, message));
                let reads = Reads { place, paths: analysis.reads };
                Some(Self { reads, body: Body::Compiled(compiled) })
            }
            Err(message) => {
                problems.add(&place, format!("the template does not parse: {message}"));
                None
            }
        }
    }

    fn parse(source: &str) -> Result<(reads::Analysis, gotmpl::Template), String> {
        let analysis = reads::analyse(source).map_err(|error| message(&error))?;
        blocks::check(source)?;
        let template = gotmpl::Template::new("").max_range_iters(MAX_RANGE_TURNS).funcs(functions::all());
        Ok((analysis, template.parse(source).map_err(|error| message(&error))?))
    }

    /// The text it yields in `context`; the error says what went wrong.
    pub(crate) fn expand(&self, context: &TemplateValue) -> Result<String, String> {
        let compiled = match &self.body {
            Body::Literal(text) => return Ok(text.clone()),
            Body::Compiled(compiled) => compiled,
        };
        let mut output = Limited { text: String::new(), overflowed: false };
        match compiled.execute_fmt(&mut output, context) {
            Ok(()) => Ok(output.text),
            Err(_) if output.overflowed => Err(format!("it yields more than {} MB", MAX_OUTPUT_BYTES / 1024 / 1024)),
            Err(error) => Err(message(&error)),
        }
    }
}

/// The engine's message without what it puts before all of its kind.
fn message(error: &gotmpl::TemplateError) -> String {
    let message = error.to_string();
    let prefixes = ["template: ", "execution error: "];
    prefixes.iter().find_map(|prefix| message.strip_prefix(prefix)).unwrap_or(&message).to_owned()
}

/// Text that refuses to grow beyond the limit.
struct Limited {
    text: String,
    overflowed: bool,
}

impl Write for Limited {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > MAX_OUTPUT_BYTES {
            self.overflowed = true;
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
