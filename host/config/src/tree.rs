//! YAML text as a tree of nodes that know where they stand.
//!
//! Structure follows Go's yaml.v3, so that a file means here what it means to the reference system: aliases are shared
//! nodes, `<<` merges with the mapping's own keys winning, and a key that stands twice is an error. What a scalar *is*
//! stays open here; `scalar` and `shape` decide it.
//!
//! The parser's own limits bound the text; the number of nodes is bounded with aliases counted as often as they are
//! used, so that a few lines cannot expand to gigabytes.

use std::{collections::HashMap, sync::Arc};

use serde_yaml::granit_parser::{self, Event, Marker, Parser, ScalarStyle, Span, Tag};

use crate::{
    key_path::{KeyPath, Step},
    problem::{Location, Problem, Rule},
};

/// Largest file that is read.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Most nodes in a file, aliases counted as often as they are used.
const MAX_NODES: usize = 200_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// A file as nodes.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The file as it was named.
    pub(crate) file: Arc<str>,
    pub(crate) root: Arc<Node>,
}

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Location,
    pub(crate) kind: NodeKind,
    /// Nodes in this subtree, itself included.
    size: usize,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    Scalar(ScalarText),
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

/// A scalar as it is written.
#[derive(Debug)]
pub(crate) struct ScalarText {
    pub(crate) text: String,
    /// Without quotes, and no block scalar.
    pub(crate) plain: bool,
    pub(crate) tag: Option<String>,
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Location,
    pub(crate) value: Arc<Node>,
}

impl Node {
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
}

impl Tree {
    /// Reads one document. The problems beside a tree are those that leave one to go on with.
    pub(crate) fn parse(text: &str, file: &str) -> Result<(Self, Vec<Problem>), Problem> {
        let file: Arc<str> = file.into();
        let mut builder = Builder { file: &file, problems: Vec::new(), anchors: HashMap::new(), open: Vec::new() };
        if text.len() > MAX_BYTES {
            let message = format!("the file has {} bytes, more than {MAX_BYTES}", text.len());
            return Err(builder.problem(Rule::TooComplex, Location::START, message));
        }
        let options = granit_parser::options! { emit_comments: false };
        let mut parser = Parser::new_from_str_with_options(text.trim_start_matches('\u{feff}'), options);
        let root = builder.document(&mut parser)?;
        let problems = builder.problems;
        Ok((Self { file, root }, problems))
    }

    /// The value at `path`.
    pub(crate) fn get(&self, path: &KeyPath) -> Option<&Arc<Node>> {
        path.steps().iter().try_fold(&self.root, |node, step| Some(child(node, step)?.1))
    }

    /// Where the value of `path` begins. Where it is absent or empty: the nearest enclosing key or list entry.
    pub(crate) fn locate(&self, path: &KeyPath) -> Location {
        let (mut node, mut place) = (&self.root, self.root.at);
        for step in path.steps() {
            match child(node, step) {
                Some((key_at, value)) => {
                    place = key_at.unwrap_or(value.at);
                    node = value;
                }
                None => return place,
            }
        }
        match &node.kind {
            NodeKind::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => place,
            _ => node.at,
        }
    }

    /// The tree of a file that has the whole of this one as the only item of the list `key`.
    pub(crate) fn below(self, key: &str) -> Self {
        let Self { file, root } = self;
        let (at, size) = (root.at, root.size);
        let list = Arc::new(Node { at, kind: NodeKind::List(vec![root]), size: size + 1 });
        let entry = Entry { key: key.to_owned(), key_at: at, value: list };
        Self { file, root: Arc::new(Node { at, kind: NodeKind::Map(vec![entry]), size: size + 2 }) }
    }

    /// Where the key of `path` stands; for a list entry its value.
    pub(crate) fn locate_key(&self, path: &KeyPath) -> Location {
        let key = || {
            let (last, parent) = path.steps().split_last()?;
            child(self.get(&parent.iter().cloned().collect())?, last)?.0
        };
        key().unwrap_or_else(|| self.locate(path))
    }
}

/// One step down: the key's place, and the value.
fn child<'n>(node: &'n Arc<Node>, step: &Step) -> Option<(Option<Location>, &'n Arc<Node>)> {
    match (&node.kind, step) {
        (NodeKind::Map(_), step) => {
            let entry = match step {
                Step::Key(key) => node.get(key)?,
                Step::Index(index) => node.get(&index.to_string())?,
            };
            Some((Some(entry.key_at), &entry.value))
        }
        (NodeKind::List(items), Step::Index(index)) => Some((None, items.get(*index)?)),
        _ => None,
    }
}

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: Vec<Problem>,
    anchors: HashMap<usize, Arc<Node>>,
    /// Anchors whose value is being read.
    open: Vec<usize>,
}

type Events<'t, 'p> = &'p mut Parser<'t, granit_parser::StrInput<'t>>;

impl Builder<'_> {
    fn document(&mut self, events: Events<'_, '_>) -> Result<Arc<Node>, Problem> {
        let empty = |builder: &Self| builder.problem(Rule::EmptyFile, Location::START, "the file is empty".into());
        let root = loop {
            match self.next(events)? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd, _) => return Err(empty(self)),
                (event, span) => break self.node(events, event, span, 0)?,
            }
        };
        if matches!(&root.kind, NodeKind::Scalar(scalar) if scalar.plain && scalar.text.is_empty()) {
            return Err(empty(self));
        }
        loop {
            match self.next(events)? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    let message = "a second document begins here; a configuration is one document".into();
                    self.problems.push(self.problem(Rule::MultipleDocuments, location(&span.start), message));
                    return Ok(root);
                }
            }
        }
    }

    fn next<'t>(&self, events: Events<'t, '_>) -> Result<(Event<'t>, Span), Problem> {
        match events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.problem(Rule::YamlSyntax, location(error.marker()), error.info().clone())),
            None => Err(self.problem(Rule::YamlSyntax, Location::START, "the text ends too early".into())),
        }
    }

    fn node<'t>(
        &mut self,
        events: Events<'t, '_>,
        event: Event<'t>,
        span: Span,
        depth: usize,
    ) -> Result<Arc<Node>, Problem> {
        let at = location(&span.start);
        if depth > MAX_DEPTH {
            return Err(self.problem(Rule::TooComplex, at, format!("nested deeper than {MAX_DEPTH}")));
        }
        let (anchor, kind) = match event {
            Event::Alias(id) => return self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(tag_name);
                // The parser puts `~` where nothing is written.
                let text = if plain && span.is_empty() { String::new() } else { text.into_owned() };
                (anchor, NodeKind::Scalar(ScalarText { text, plain, tag }))
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(anchor);
                let mut items = Vec::new();
                loop {
                    match self.next(events)? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(events, event, span, depth + 1)?),
                    }
                }
                self.open.pop();
                (anchor, NodeKind::List(items))
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(anchor);
                let entries = self.mapping(events, depth)?;
                self.open.pop();
                (anchor, NodeKind::Map(entries))
            }
            _ => return Err(self.problem(Rule::YamlSyntax, at, "a value is missing".into())),
        };
        let size = 1 + match &kind {
            NodeKind::Scalar(_) => 0,
            NodeKind::List(items) => items.iter().map(|item| item.size).sum(),
            NodeKind::Map(entries) => entries.iter().map(|entry| entry.value.size + 1).sum(),
        };
        if size > MAX_NODES {
            return Err(self.problem(Rule::TooComplex, at, format!("more than {MAX_NODES} values")));
        }
        let node = Arc::new(Node { at, kind, size });
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        Ok(node)
    }

    fn alias(&self, id: usize, at: Location) -> Result<Arc<Node>, Problem> {
        if self.open.contains(&id) {
            return Err(self.problem(Rule::RecursiveAlias, at, "the alias stands inside the value it names".into()));
        }
        let unknown = || self.problem(Rule::YamlSyntax, at, "the alias names no anchor".into());
        self.anchors.get(&id).map(Arc::clone).ok_or_else(unknown)
    }

    /// Reads up to the end of a mapping: its own keys in order, then what `<<` adds.
    fn mapping(&mut self, events: Events<'_, '_>, depth: usize) -> Result<Vec<Entry>, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merge = None;
        loop {
            let (event, span) = match self.next(events)? {
                (Event::MappingEnd, _) => break,
                next => next,
            };
            let key_node = self.node(events, event, span, depth + 1)?;
            let (event, value_span) = self.next(events)?;
            let value = self.node(events, event, value_span, depth + 1)?;
            let key_at = location(&span.start);
            match &key_node.kind {
                NodeKind::Scalar(key) if key.plain && key.text == "<<" && merge.is_none() => {
                    merge = Some((key_at, value));
                }
                NodeKind::Scalar(key) if key.plain && matches!(key.text.as_str(), "" | "~" | "null") => {
                    self.report(Rule::BadKey, key_at, "a key must be text, this one is null");
                }
                NodeKind::Scalar(key) => match entries.iter().find(|entry| entry.key == key.text) {
                    Some(first) => {
                        let message = format!("key `{}` stands already in line {}", key.text, first.key_at.line);
                        self.report(Rule::DuplicateKey, key_at, &message);
                    }
                    None => entries.push(Entry { key: key.text.clone(), key_at, value }),
                },
                NodeKind::List(_) | NodeKind::Map(_) => {
                    self.report(Rule::BadKey, key_at, "a key must be text, not a list or a mapping");
                }
            }
        }
        if let Some((at, value)) = merge {
            self.merge(&mut entries, &value, at);
        }
        Ok(entries)
    }

    /// Adds the keys of `from` that are not there yet; of a list, the earlier mapping wins.
    fn merge(&mut self, entries: &mut Vec<Entry>, from: &Node, at: Location) {
        let sources: Vec<&Node> = match &from.kind {
            NodeKind::List(items) => items.iter().map(AsRef::as_ref).collect(),
            _ => vec![from],
        };
        for source in sources {
            let NodeKind::Map(added) = &source.kind else {
                self.report(Rule::BadMerge, at, "`<<` takes a mapping or a list of mappings");
                continue;
            };
            for entry in added {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry.clone());
                }
            }
        }
    }

    fn report(&mut self, rule: Rule, at: Location, message: &str) {
        let problem = self.problem(rule, at, message.to_owned());
        self.problems.push(problem);
    }

    fn problem(&self, rule: Rule, location: Location, message: String) -> Problem {
        Problem { file: Arc::clone(self.file), location, path: KeyPath::root(), rule, message, hint: None }
    }
}

/// `!!int` for a core tag, else the tag as it resolves.
fn tag_name(tag: &Tag) -> String {
    match tag.suffix_in_namespace("tag:yaml.org,2002:") {
        Some(name) => format!("!!{name}"),
        None => format!("{}{}", tag.handle(), tag.suffix()),
    }
}

fn location(marker: &Marker) -> Location {
    Location { line: marker.line(), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.kind {
            NodeKind::Scalar(scalar) => scalar.text.clone(),
            NodeKind::List(items) => format!("[{}]", items.iter().map(|i| shown(i)).collect::<Vec<_>>().join(",")),
            NodeKind::Map(entries) => {
                let pairs = entries.iter().map(|entry| format!("{}:{}", entry.key, shown(&entry.value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn structure_is_that_of_yaml_v3() {
        let check = |text: &str, expected: &str| {
            let (tree, problems) = Tree::parse(text, "f").unwrap();
            assert_eq!(shown(&tree.root), expected, "{text}");
            assert!(problems.is_empty(), "{problems:?}");
        };
        check("a: &x {b: 1}\nc: *x", "{a:{b:1},c:{b:1}}");
        check("base: &b {p: 1, q: 2}\nown: {q: 3, <<: *b}", "{base:{p:1,q:2},own:{q:3,p:1}}");
        check("m: {<<: [{a: 1}, {a: 2, b: 3}]}", "{m:{a:1,b:3}}");
        check("m: {<<: {a: 1}, a: 2}", "{m:{a:2}}");
        check("'<<': 1", "{<<:1}");
        check("1: a\ntrue: b", "{1:a,true:b}");
        check("\u{feff}a: 1", "{a:1}");
        check("a: 1\r\nb: 2\r\n", "{a:1,b:2}");
        check("---\na: 1\n...\n", "{a:1}");
    }

    #[test]
    fn what_has_no_tree_is_refused_with_its_place() {
        let check = |text: &str, rule: Rule, line: usize, column: usize| {
            let problem = Tree::parse(text, "f").unwrap_err();
            assert_eq!((problem.rule, problem.location), (rule, Location { line, column }), "{text:?}: {problem}");
        };
        check("", Rule::EmptyFile, 1, 1);
        check("# only a comment\n", Rule::EmptyFile, 1, 1);
        check("---\n", Rule::EmptyFile, 1, 1);
        check("a: [1,\nb: 2", Rule::YamlSyntax, 1, 4);
        check("a: *b", Rule::YamlSyntax, 1, 4);
        check("a: &x [*x]", Rule::RecursiveAlias, 1, 8);
        check(&("[".repeat(80) + &"]".repeat(80)), Rule::TooComplex, 1, 66);
        let bomb: String = (1..9)
            .map(|level| format!("l{level}: &l{level} [{}]\n", vec![format!("*l{}", level - 1); 9].join(",")))
            .fold("l0: &l0 [x]\n".to_owned(), |text, line| text + &line);
        assert_eq!(Tree::parse(&bomb, "f").unwrap_err().rule, Rule::TooComplex);
    }

    #[test]
    fn what_leaves_a_tree_is_reported_beside_it() {
        let check = |text: &str, rule: Rule, line: usize, column: usize| {
            let (_, problems) = Tree::parse(text, "f").unwrap();
            let found: Vec<_> = problems.iter().map(|p| (p.rule, p.location)).collect();
            assert_eq!(found, [(rule, Location { line, column })], "{text:?}");
        };
        check("a: 1\nb: 2\na: 3", Rule::DuplicateKey, 3, 1);
        check("a: 1\n---\nb: 2", Rule::MultipleDocuments, 2, 1);
        check("? [a]\n: 1", Rule::BadKey, 1, 3);
        check("~: 1", Rule::BadKey, 1, 1);
        check("a: 1\n<<: 2", Rule::BadMerge, 2, 1);
    }

    #[test]
    fn paths_lead_to_places_and_absent_ones_to_the_nearest() {
        let (tree, _) = Tree::parse("a:\n  - b: 1\n    c:\n", "f").unwrap();
        let check = |pointer: &str, value: (usize, usize), key: (usize, usize)| {
            let path = KeyPath::from_pointer(pointer).unwrap();
            let place = |(line, column)| Location { line, column };
            assert_eq!((tree.locate(&path), tree.locate_key(&path)), (place(value), place(key)), "{pointer}");
        };
        check("", (1, 1), (1, 1));
        check("/a/0/b", (2, 8), (2, 5));
        check("/a/0/c", (3, 5), (3, 5));
        check("/a/0/x", (2, 5), (2, 5));
        check("/x/y", (1, 1), (1, 1));
    }
}
