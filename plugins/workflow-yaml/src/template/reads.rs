//! Which parts of the context a template reads, found in its syntax tree.
//!
//! A path is followed through fields, `index` with literal keys, `with`, and variables. What a template computes, or reads of the
//! elements of a `range`, stays unseen.

use gotmpl::{
    TemplateError,
    parse::{CommandNode, Expr, ListNode, Node, Parser, PipeNode},
};

use super::functions;

/// Keys from the root of the context: `[steps, a, output, text]` for `.steps.a.output.text`.
pub(crate) type Path = Vec<String>;

pub(super) struct Analysis {
    pub(super) reads: Vec<Path>,
    /// Functions, templates and variables that do not exist.
    pub(super) problems: Vec<String>,
}

pub(super) fn analyse(source: &str) -> Result<Analysis, TemplateError> {
    let (body, defined) = Parser::new(source, "{{", "}}")?.parse()?;
    let templates = defined.iter().map(|define| define.name.to_string()).collect();
    let mut reader = Reader { templates, ..Reader::default() };
    reader.template(&body, Some(&Vec::new()));
    for define in &defined {
        reader.template(&define.body, None);
    }
    Ok(Analysis { reads: reader.reads, problems: reader.problems })
}

#[derive(Default)]
struct Reader {
    templates: Vec<String>,
    reads: Vec<Path>,
    problems: Vec<String>,
    /// Variables in scope, innermost last, and the path each stands for.
    variables: Vec<(String, Option<Path>)>,
}

impl Reader {
    /// A whole template, whose dot and `$` are at `dot`.
    fn template(&mut self, body: &ListNode, dot: Option<&Path>) {
        self.variables = vec![("$".to_owned(), dot.cloned())];
        self.list(body, dot);
    }

    fn list(&mut self, list: &ListNode, dot: Option<&Path>) {
        for node in &list.nodes {
            self.node(node, dot);
        }
    }

    fn node(&mut self, node: &Node, dot: Option<&Path>) {
        let scope = self.variables.len();
        match node {
            Node::List(list) => self.list(list, dot),
            Node::Action(action) => {
                self.pipe(&action.pipe, dot);
                return; // a variable declared here lives on
            }
            Node::If(branch) => {
                self.pipe(&branch.pipe, dot);
                self.block(&branch.body, dot);
                branch.else_body.iter().for_each(|body| self.block(body, dot));
            }
            Node::With(branch) => {
                let inner = self.pipe(&branch.pipe, dot);
                self.block(&branch.body, inner.as_ref());
                branch.else_body.iter().for_each(|body| self.block(body, dot));
            }
            Node::Range(branch) => {
                self.commands(&branch.pipe, dot);
                self.root_lost(&branch.pipe.decl);
                if !branch.pipe.is_assign {
                    self.variables.extend(branch.pipe.decl.iter().map(|name| (name.to_string(), None)));
                }
                self.block(&branch.body, None);
                branch.else_body.iter().for_each(|body| self.block(body, dot));
            }
            Node::Template(call) => {
                if !self.templates.iter().any(|name| *name == call.name) {
                    self.problems.push(format!("template `{}` is not defined", call.name));
                }
                match &call.pipe {
                    Some(pipe) => _ = self.pipe(pipe, dot),
                    // The engine hands it the dot, which Go does not.
                    None => _ = self.read(dot.cloned()),
                }
            }
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
        self.variables.truncate(scope);
    }

    fn block(&mut self, body: &ListNode, dot: Option<&Path>) {
        let scope = self.variables.len();
        self.list(body, dot);
        self.variables.truncate(scope);
    }

    /// Reads a pipeline and keeps what it declares; gives the path of its value where it has one.
    fn pipe(&mut self, pipe: &PipeNode, dot: Option<&Path>) -> Option<Path> {
        let path = self.commands(pipe, dot);
        self.root_lost(&pipe.decl);
        for name in &pipe.decl {
            if pipe.is_assign {
                if !self.variables.iter().any(|(known, _)| known == name.as_str()) {
                    self.problems.push(format!("variable `{name}` is not defined"));
                }
                // It may stand for either, from here on.
                self.variables
                    .iter_mut()
                    .filter(|(known, _)| known == name.as_str())
                    .for_each(|(_, path)| *path = None);
            } else {
                self.variables.push((name.to_string(), path.clone()));
            }
        }
        path
    }

    /// Whoever gives `$` another value may still read it as what it was, in a branch that does not.
    fn root_lost(&mut self, declared: &[impl AsRef<str>]) {
        if declared.iter().any(|name| name.as_ref() == "$") {
            self.read(Some(Vec::new()));
        }
    }

    fn commands(&mut self, pipe: &PipeNode, dot: Option<&Path>) -> Option<Path> {
        let paths: Vec<_> = pipe.commands.iter().map(|command| self.command(command, dot)).collect();
        match paths.as_slice() {
            [path] => path.clone(),
            _ => None,
        }
    }

    fn command(&mut self, command: &CommandNode, dot: Option<&Path>) -> Option<Path> {
        let paths: Vec<_> = command.args.iter().map(|argument| self.expression(argument, dot)).collect();
        match command.args.as_slice() {
            [_] => paths.into_iter().next()?,
            [Expr::Identifier(_, name), _, keys @ ..] if name == "index" => {
                let keys = keys.iter().map_while(|key| match key {
                    Expr::String(_, key) => Some(key.to_string()),
                    _ => None,
                });
                let keys: Vec<String> = keys.collect();
                let whole = keys.len() + 2 == command.args.len();
                let path = self.read(extended(paths[1].as_ref(), keys));
                path.filter(|_| whole)
            }
            _ => None,
        }
    }

    fn expression(&mut self, expression: &Expr, dot: Option<&Path>) -> Option<Path> {
        match expression {
            Expr::Dot(_) => self.read(dot.cloned()),
            Expr::Field(_, fields) => self.read(extended(dot, fields)),
            Expr::Variable(_, name, fields) => {
                let Some((_, path)) = self.variables.iter().rev().find(|(known, _)| known == name.as_str()) else {
                    self.problems.push(format!("variable `{name}` is not defined"));
                    return None;
                };
                let path = extended(path.as_ref(), fields);
                self.read(path)
            }
            Expr::Identifier(_, name) => {
                if !functions::exists(name) {
                    self.problems.push(format!("function `{name}` is not defined"));
                }
                None
            }
            Expr::Pipe(_, pipe) => self.commands(pipe, dot),
            Expr::Chain(_, inner, fields) => {
                let inner = self.expression(inner, dot);
                self.read(extended(inner.as_ref(), fields))
            }
            Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(_) => None,
        }
    }

    fn read(&mut self, path: Option<Path>) -> Option<Path> {
        if let Some(path) = path.as_ref().filter(|path| !self.reads.contains(path)) {
            self.reads.push(path.clone());
        }
        path
    }
}

fn extended(path: Option<&Path>, keys: impl IntoIterator<Item = impl ToString>) -> Option<Path> {
    path.map(|path| path.iter().cloned().chain(keys.into_iter().map(|key| key.to_string())).collect())
}
