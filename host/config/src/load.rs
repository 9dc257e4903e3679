//! From a file to a [`Config`]: the steps in order, and all problems of all of them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use crate::{
    check, client_file, composite_file,
    fate::{self, KeyFate},
    key_path::KeyPath,
    problem::{Location, Problem, Report, Rule, sorted},
    repair,
    section::{Config, Document},
    shape,
    tree::{MAX_BYTES, Tree},
    validate,
};

/// A file that can be used, and what is known about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Box<Config>,
    /// What the user should know, keys without effect among it. Sorted by position.
    pub warnings: Vec<Problem>,
    /// What becomes of every key that the file has, in its order.
    pub keys: Vec<KeyFate>,
    refused: Vec<Problem>,
    tree: Tree,
}

impl Loaded {
    /// Keys that this build does not support and may not ignore. Validation passes with them, serving does not.
    pub fn refused(&self) -> &[Problem] {
        &self.refused
    }

    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.tree.file
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where the value at a JSON pointer stands; for an absent one, the nearest enclosing key. `None` when the text is
    /// no pointer. Turns what a component says about its configuration into a place in the file.
    pub fn locate(&self, pointer: &str) -> Option<Location> {
        KeyPath::from_pointer(pointer).map(|path| self.tree.locate(&path))
    }

    /// A problem at a JSON pointer, for what other parts find wrong with their configuration.
    pub fn problem_at(&self, pointer: &str, rule: Rule, message: String, hint: Option<String>) -> Problem {
        let path = KeyPath::from_pointer(pointer).unwrap_or_default();
        Problem { file: Arc::clone(&self.tree.file), location: self.tree.locate(&path), path, rule, message, hint }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Everything that is wrong with the file, sorted by position.
    #[error("{}", Lines(problems))]
    Invalid { problems: Vec<Problem> },
}

impl ConfigError {
    /// What is wrong with the file; empty when it could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { problems } => problems,
        }
    }
}

struct Lines<'p>(&'p [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// Reads and checks the file at `path`. Relative paths in it are relative to its folder.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let base = absolute.parent().unwrap_or(Path::new("/"));
    let bytes = read(path).map_err(unreadable)?;
    let shown = path.to_string_lossy();
    let text = String::from_utf8(bytes).map_err(|error| ConfigError::Invalid {
        problems: vec![not_utf8(&shown, error.as_bytes(), error.utf8_error().valid_up_to())],
    })?;
    let mut loaded = load_str(&text, &shown, base)?;
    loaded.refused.extend(fate::auth_server_file(base));
    Ok(loaded)
}

/// Checks `text`, which problems call `file_name`; relative paths in it are relative to `base_dir`.
///
/// Not pure: it reads the file of `backendsFrom`, and looks up variables that this file and `headerValueEnv` name.
pub fn load_str(text: &str, file_name: &str, base_dir: &Path) -> Result<Loaded, ConfigError> {
    let invalid = |problems| ConfigError::Invalid { problems: sorted(problems) };
    let (tree, syntax) = Tree::parse(text, file_name).map_err(|problem| invalid(vec![problem]))?;
    let mut report = Report::new(&tree);
    report.errors = syntax;

    let environment = |name: &str| std::env::var(name).ok();
    let (document, mended) = typed(&tree, &mut report);
    let Some(mut document) = document else { return Err(invalid(report.errors)) };
    let before = report.errors.len();
    validate::validate(&document, &environment, &mut report);
    let entries = std::mem::take(&mut document.backends);
    let mut backends: Vec<_> = entries.into_iter().filter_map(|entry| entry.into_config(base_dir)).collect();
    if let Some(path) = &document.backends_from {
        backends = client_file::add(backends, &base_dir.join(path), &environment, &mut report);
    }
    let composite_files = match &document.composite_tools_from {
        Some(folder) => composite_file::read_folder(&base_dir.join(folder), &document.composite_tools, &mut report),
        None => Vec::new(),
    };
    validate::references(&document, &backends, &mut report);
    drop_consequences(&mut report.errors, before, &mended);

    let (mut warnings, errors) = (report.warnings, report.errors);
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    let fates = fate::of_keys(&tree);
    warnings.extend(fates.warnings);
    let stem = Path::new(file_name).file_stem().map_or("vmcp".into(), |stem| stem.to_string_lossy().into_owned());
    let config = Box::new(document.into_config(&stem, backends, composite_files, base_dir));
    Ok(Loaded { config, warnings: sorted(warnings), keys: fates.keys, refused: sorted(fates.refused), tree })
}

/// The document, mended where the schema refused it, and the places that the mends concern. None when the file is no
/// mapping.
fn typed(tree: &Tree, report: &mut Report<'_>) -> (Option<Document>, Vec<KeyPath>) {
    let mut instance = shape::instance(tree, report);
    let places = check::check(&instance, report);
    let mended = places.iter().map(|place| repair::mend(&mut instance, place)).collect();
    match Document::deserialize(&instance) {
        Ok(mut document) => {
            document.keep_composites(instance);
            (Some(document), mended)
        }
        Err(error) => {
            if report.errors.is_empty() {
                report.error(Rule::WrongType, &KeyPath::root(), error.to_string());
            }
            (None, mended)
        }
    }
}

/// Forgets what the rules found at or below a mend, or about the very thing that was mended.
fn drop_consequences(errors: &mut Vec<Problem>, from: usize, mended: &[KeyPath]) {
    let mut index = 0;
    errors.retain(|problem| {
        index += 1;
        let mends = |place: &KeyPath| problem.path.is_within(place) || place.parent() == problem.path;
        index <= from || !mended.iter().any(mends)
    });
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    // One byte beyond the limit tells that there is more; the tree refuses it with a position.
    std::fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn not_utf8(file: &str, bytes: &[u8], valid: usize) -> Problem {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    Problem {
        file: file.into(),
        location: Location { line, column },
        path: KeyPath::root(),
        rule: Rule::YamlSyntax,
        message: "the text is not UTF-8".into(),
        hint: None,
    }
}
