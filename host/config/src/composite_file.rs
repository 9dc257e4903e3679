//! A composite tool in a file of its own: one entry of `compositeTools`.

use std::{fs, path::Path, sync::Arc};

use serde::Deserialize as _;

use crate::{
    check,
    key_path::KeyPath,
    problem::{Problem, Report, Rule, sorted},
    section::{Document, composite::CompositeToolConfig},
    shape,
    tree::Tree,
    validate,
};

/// Where a composite file's entry stands in the configuration that it would be part of.
const PLACE: &str = "/compositeTools/0";

/// A composite tool and the file that it is from.
#[derive(Clone, Debug)]
pub struct CompositeFile {
    pub tool: CompositeToolConfig,
    /// The file as written.
    pub text: String,
    tree: Arc<Tree>,
}

impl CompositeFile {
    /// Reads and checks the file at `path`, as far as that goes without its interpreter.
    ///
    /// # Errors
    /// All that is wrong with it, sorted by position.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let name = path.to_string_lossy();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(text, &name),
            Err(error) => Err(vec![Problem {
                file: (&*name).into(),
                location: crate::Location { line: 1, column: 1 },
                path: KeyPath::root(),
                rule: Rule::YamlSyntax,
                message: format!("cannot be read: {error}"),
                hint: None,
            }]),
        }
    }

    /// The same for a text, which problems call `name`.
    pub fn parse(text: String, name: &str) -> Result<Self, Vec<Problem>> {
        let (tree, syntax) = Tree::parse(&text, name).map_err(|problem| vec![problem])?;
        let tree = tree.below("compositeTools");
        let mut report = Report::new(&tree);
        report.errors = syntax;
        let instance = shape::instance(&tree, &mut report);
        check::check(&instance, &mut report);
        let mut document = Document::deserialize(&instance).ok();
        if let Some(document) = &mut document {
            validate::composite::check(document, &mut report);
            document.keep_composites(instance);
        }
        let tool = document.and_then(|mut document| document.composite_tools.pop());
        match (tool, report.errors) {
            (Some(tool), errors) if errors.is_empty() => Ok(Self { tool, text, tree: Arc::new(tree) }),
            (_, errors) => Err(sorted(errors).into_iter().map(in_own_file).collect()),
        }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// A problem at a JSON pointer into the file.
    pub fn problem_at(&self, pointer: &str, rule: Rule, message: String) -> Problem {
        let path = KeyPath::from_pointer(&format!("{PLACE}{pointer}")).unwrap_or_default();
        let location = self.tree.locate(&path);
        in_own_file(Problem { file: self.tree.file.clone(), location, path, rule, message, hint: None })
    }
}

/// Where the entry of a composite file stands in its tree.
pub(crate) fn place() -> KeyPath {
    KeyPath::from_pointer(PLACE).unwrap_or_default()
}

/// The problem with its place as the author of the file knows it.
pub(crate) fn in_own_file(mut problem: Problem) -> Problem {
    let place = place();
    if problem.path.is_within(&place) {
        problem.path = problem.path.steps().iter().skip(place.steps().len()).cloned().collect();
    }
    problem
}

/// The composite tools of a folder, by file name; what is wrong with them goes to `report`.
///
/// - `others`: of the configuration itself
pub(crate) fn read_folder(
    folder: &Path,
    others: &[CompositeToolConfig],
    report: &mut Report<'_>,
) -> Vec<CompositeFile> {
    let at = KeyPath::root().key("compositeToolsFrom");
    let mut paths: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => {
            entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_document(path)).collect()
        }
        Err(error) => {
            report.error(Rule::BadCompositeFolder, &at, format!("cannot read `{}`: {error}", folder.display()));
            return Vec::new();
        }
    };
    paths.sort_unstable();
    let mut files: Vec<CompositeFile> = Vec::new();
    for path in paths {
        let mut file = match CompositeFile::read(&path) {
            Ok(file) => file,
            Err(problems) => {
                report.errors.extend(problems);
                continue;
            }
        };
        file.tool.rebase(folder);
        let known = files.iter().map(|file| &file.tool).chain(others).any(|tool| tool.name == file.tool.name);
        if known {
            let message = format!("there is another composite tool `{}`", file.tool.name);
            report.errors.push(file.problem_at("/name", Rule::DuplicateComposite, message));
        }
        files.push(file);
    }
    files
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    path.is_file() && extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&&*extension))
}
