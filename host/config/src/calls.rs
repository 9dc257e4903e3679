//! Whether the tools that composite tools call are there, and take the arguments that the steps give them. Which tools there
//! are, the caller knows; no tool is asked here.
//!
//! Only what is certain before a run is an error. What the interpreter makes of texts is in `typing`, what can be said of those
//! with templates in them in `template`, what the tool's schema says of the result in `arguments`, and which names it has in
//! `fields`.

mod arguments;
mod fields;
mod template;
mod typing;

use serde_json::{Map, Value};

use self::arguments::{At, Finding};
use crate::{
    composite_file::{self, CompositeFile},
    key_path::KeyPath,
    load::Loaded,
    problem::{Location, Problem, Rule, nearest, sorted},
    section::composite::{CompositeToolConfig, StepConfig},
    tree::Tree,
    validate::composite::all,
};

/// Most names that a hint offers.
const MAX_NAMES: usize = 5;

/// What is called, by the name that the configuration has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called<'a> {
    /// By its advertised name or by `backend.original-name`.
    Tool(&'a str),
    /// A composite tool of this configuration.
    Composite(&'a str),
}

impl Called<'_> {
    fn what(self) -> &'static str {
        match self {
            Self::Tool(_) => "tool",
            Self::Composite(_) => "composite tool",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Tool(name) | Self::Composite(name) => name,
        }
    }
}

/// What is known of what is called.
#[derive(Clone, Debug)]
pub enum Callee {
    There(Takes),
    Missing {
        /// Names that it could have had.
        known: Vec<String>,
        /// Whether it cannot come later either; else it is a warning.
        is_certain: bool,
    },
    /// It may be there or not.
    Unknown {
        why: String,
    },
}

/// The arguments that a tool takes.
#[derive(Clone, Debug)]
pub struct Takes {
    /// JSON Schema of an object.
    pub schema: Value,
    /// Arguments that the configuration decides: whatever a step gives for them is not sent.
    pub settled: Vec<String>,
}

/// What is wrong with the calls of a configuration, each list sorted by position.
#[derive(Debug, Default)]
pub struct CallReport {
    /// What fails whenever it is run.
    pub errors: Vec<Problem>,
    /// What is likely to be a slip.
    pub warnings: Vec<Problem>,
    /// What could not be checked.
    pub notes: Vec<Problem>,
}

/// Holds the calls of all composite tools against what is known of the tools.
///
/// - `declared`: the tools that each composite tool says it calls, those of `compositeTools` first
pub fn check_calls(loaded: &Loaded, declared: &[&[String]], callee: &dyn Fn(Called<'_>) -> Callee) -> CallReport {
    let entries = KeyPath::root().key("compositeTools");
    let entries = loaded.config.composite_tools.iter().enumerate().map(|(index, tool)| {
        let path = entries.index(index);
        Checker { tool, tree: loaded.tree(), path, has_own_file: false, callee, found: CallReport::default() }
    });
    let files = loaded.config.composite_files.iter().map(|file: &CompositeFile| {
        let path = composite_file::place();
        Checker { tool: &file.tool, tree: file.tree(), path, has_own_file: true, callee, found: CallReport::default() }
    });
    let mut all = CallReport::default();
    for (checker, declared) in entries.chain(files).zip(declared) {
        let CallReport { errors, warnings, notes } = checker.check(declared);
        all.errors.extend(errors);
        all.warnings.extend(warnings);
        all.notes.extend(notes);
    }
    CallReport { errors: sorted(all.errors), warnings: sorted(all.warnings), notes: sorted(all.notes) }
}

/// One call that the configuration has.
struct Call<'a> {
    called: Called<'a>,
    /// Of the step, or of what undoes it.
    path: KeyPath,
    /// Of the name.
    named: KeyPath,
    arguments: Option<&'a Map<String, Value>>,
}

/// Looks through one composite tool.
struct Checker<'a> {
    tool: &'a CompositeToolConfig,
    tree: &'a Tree,
    path: KeyPath,
    has_own_file: bool,
    callee: &'a dyn Fn(Called<'_>) -> Callee,
    found: CallReport,
}

impl Checker<'_> {
    fn check(mut self, declared: &[String]) -> CallReport {
        if self.tool.workflow.is_some() {
            let path = self.path.key("workflow");
            for name in declared {
                let called = Called::Tool(name);
                let call = Call { called, path: path.clone(), named: path.clone(), arguments: None };
                self.callee(&call);
            }
            return self.found;
        }
        for (path, step) in all(&self.tool.steps, &self.path.key("steps")) {
            let inner = step.step.as_deref().map(|inner| (path.key("step"), inner));
            for call in [(path, step)].into_iter().chain(inner).flat_map(|(path, step)| calls(step, &path)) {
                if let Some(takes) = self.callee(&call) {
                    self.arguments(&call, &takes);
                }
            }
        }
        self.found
    }

    /// What the tool takes, if it is there.
    fn callee(&mut self, call: &Call<'_>) -> Option<Takes> {
        let (what, name) = (call.called.what(), call.called.name());
        match (self.callee)(call.called) {
            Callee::There(takes) => return Some(takes),
            Callee::Missing { known, is_certain } => {
                let message = format!("there is no {what} `{name}`");
                let location = self.tree.locate(&call.named);
                let problem = self.problem(Rule::UnknownTool, &call.named, location, message, near(name, &known));
                let list = if is_certain { &mut self.found.errors } else { &mut self.found.warnings };
                list.push(problem);
            }
            Callee::Unknown { why } => self.skip(call, &why),
        }
        None
    }

    fn arguments(&mut self, call: &Call<'_>, takes: &Takes) {
        let findings = match arguments::check(call.arguments, takes) {
            Ok(findings) => findings,
            Err(why) => return self.skip(call, &format!("its schema cannot be used: {why}")),
        };
        let arguments = call.path.key("arguments");
        for Finding { path, at, rule, message, hint, is_certain } in findings {
            let path: KeyPath = arguments.steps().iter().chain(path.steps()).cloned().collect();
            let location = match at {
                At::Key => self.tree.locate_key(&path),
                At::Value => self.tree.locate(&path),
            };
            let message = format!("{} `{}` {message}", call.called.what(), call.called.name());
            let problem = self.problem(rule, &path, location, message, hint);
            let list = if is_certain { &mut self.found.errors } else { &mut self.found.warnings };
            list.push(problem);
        }
    }

    fn skip(&mut self, call: &Call<'_>, why: &str) {
        let message = format!("not checked against its tool: {why}");
        let location = self.tree.locate(&call.named);
        let problem = self.problem(Rule::UncheckedCall, &call.path, location, message, None);
        self.found.notes.push(problem);
    }

    fn problem(
        &self,
        rule: Rule,
        path: &KeyPath,
        location: Location,
        message: String,
        hint: Option<String>,
    ) -> Problem {
        let problem = Problem { file: self.tree.file.clone(), location, path: path.clone(), rule, message, hint };
        if self.has_own_file { composite_file::in_own_file(problem) } else { problem }
    }
}

/// What one step calls, without the steps inside it.
fn calls<'s>(step: &'s StepConfig, path: &KeyPath) -> Vec<Call<'s>> {
    let (path, arguments) = (path.clone(), step.arguments.as_ref());
    let (tool, workflow) = (path.key("tool"), path.key("workflow"));
    let undo = step.undo.as_ref().map(|undo| {
        let path = path.key("undo");
        let named = path.key("tool");
        Call { called: Called::Tool(&undo.tool), path, named, arguments: undo.arguments.as_ref() }
    });
    let call = match (&step.tool, &step.workflow) {
        (Some(name), _) => Some(Call { called: Called::Tool(name), path, named: tool, arguments }),
        (None, Some(name)) => Some(Call { called: Called::Composite(name), path, named: workflow, arguments }),
        (None, None) => None,
    };
    call.into_iter().chain(undo).collect()
}

/// A hint with the names nearest to `name`; where none is near, with the first there are.
fn near(name: &str, known: &[String]) -> Option<String> {
    let near = nearest(name, known.iter().map(String::as_str));
    let listed = |names: &[&str]| {
        let more = if names.len() > MAX_NAMES { ", …" } else { "" };
        let names: Vec<_> = names.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
        format!("{}{more}", names.join(", "))
    };
    match (near.as_slice(), known) {
        ([], []) => None,
        ([], known) => Some(format!("there are {}", listed(&known.iter().map(String::as_str).collect::<Vec<_>>()))),
        ([one], _) => Some(format!("did you mean `{one}`?")),
        (near, _) => Some(format!("did you mean one of {}?", listed(near))),
    }
}
