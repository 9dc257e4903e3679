//! The notes themselves: one Markdown file each in one folder. Knows files, not MCP.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Serialize;

/// Longest note, in bytes: more than a person writes, and little enough to send in one reply.
pub(crate) const MAX_NOTE_BYTES: usize = 1 << 20;
/// Longest note name, in bytes: with the ending it is a legal file name everywhere.
const MAX_NAME_BYTES: usize = 100;
const ENDING: &str = ".md";

/// Why the folder could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoteError {
    #[error("`{name}` is no note name: {reason}; `list` shows the names")]
    IllegalName { name: String, reason: &'static str },
    #[error("the title `{0}` has no letter or digit to make a name of")]
    UnusableTitle(String),
    #[error("a note has at most {MAX_NOTE_BYTES} bytes, this one has {0}")]
    TooLong(u64),
    #[error("there is a note `{0}` already; choose another title")]
    Exists(NoteName),
    #[error("there is no note `{0}`; `list` shows the names")]
    Missing(NoteName),
    #[error("the query is empty")]
    EmptyQuery,
    #[error("the note `{0}` is not UTF-8 text")]
    NotText(NoteName),
    #[error("cannot {what} `{path}`", path = .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// Name of a note: its file name without `.md`. Never leads out of the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NoteName(String);

impl NoteName {
    /// Checks `name`; an ending `.md` may be left on.
    pub(crate) fn new(name: &str) -> Result<Self, NoteError> {
        let bare = name.strip_suffix(ENDING).unwrap_or(name);
        let illegal = |reason| Err(NoteError::IllegalName { name: name.into(), reason });
        if bare.is_empty() {
            return illegal("it is empty");
        }
        if bare.len() > MAX_NAME_BYTES {
            return illegal("it is longer than 100 bytes");
        }
        if bare.starts_with('.') {
            return illegal("it begins with a dot");
        }
        if bare.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | ':')) {
            return illegal("it has a slash, a backslash, a colon or a control character");
        }
        Ok(Self(bare.into()))
    }

    /// `Meeting, 3 May` becomes `meeting-3-may`.
    fn of_title(title: &str) -> Result<Self, NoteError> {
        let mut name = String::new();
        for c in title.chars().flat_map(char::to_lowercase) {
            if name.len() + c.len_utf8() > MAX_NAME_BYTES {
                break;
            }
            if c.is_alphanumeric() {
                name.push(c);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        match name.trim_end_matches('-') {
            "" => Err(NoteError::UnusableTitle(title.into())),
            name => Self::new(name),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `list` says of a note.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct NoteSummary {
    /// Name to read it by.
    pub name: String,
    /// Its first heading; the name where it has none.
    pub title: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// One line of one note in which the query occurs.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct NoteMatch {
    /// Name of the note.
    pub name: String,
    /// Line number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// A folder of notes. Other files, hidden files and links in it are none of its business.
#[derive(Clone, Debug)]
pub(crate) struct NoteFolder {
    root: PathBuf,
}

impl NoteFolder {
    /// Takes the folder `root` and makes it if need be.
    pub(crate) fn open(root: PathBuf) -> Result<Self, NoteError> {
        fs::create_dir_all(&root).map_err(io_error("make the folder", &root))?;
        Ok(Self { root })
    }

    /// Writes a new note; its name comes from `title`.
    pub(crate) fn add(&self, title: &str, text: &str) -> Result<NoteName, NoteError> {
        let title = title.trim();
        let name = NoteName::of_title(title)?;
        let content = format!("# {}\n\n{}\n", title.replace(['\n', '\r'], " "), text.trim_end());
        if content.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(content.len() as u64));
        }
        let path = self.path(&name);
        match fs::File::create_new(&path) {
            Ok(mut file) => file.write_all(content.as_bytes()).map_err(io_error("write", &path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(NoteError::Exists(name)),
            Err(error) => return Err(io_error("write", &path)(error)),
        }
        Ok(name)
    }

    /// All notes by name.
    pub(crate) fn list(&self) -> Result<Vec<NoteSummary>, NoteError> {
        let summary = |name: NoteName| {
            let text = self.read(&name)?;
            let heading = text.lines().find_map(|line| line.strip_prefix("# ")).map(str::trim);
            let title = heading.filter(|heading| !heading.is_empty()).unwrap_or(name.as_str()).to_owned();
            Ok(NoteSummary { title, bytes: text.len() as u64, name: name.0 })
        };
        self.readable(summary)
    }

    /// The text of one note.
    pub(crate) fn read(&self, name: &NoteName) -> Result<String, NoteError> {
        let path = self.path(name);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Err(NoteError::Missing(name.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NoteError::Missing(name.clone())),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if found.len() > MAX_NOTE_BYTES as u64 {
            return Err(NoteError::TooLong(found.len()));
        }
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        String::from_utf8(bytes).map_err(|_| NoteError::NotText(name.clone()))
    }

    /// Up to `limit` lines that contain `query`, whatever its case.
    pub(crate) fn search(&self, query: &str, limit: usize) -> Result<Vec<NoteMatch>, NoteError> {
        let query = query.trim().to_lowercase();
        if query.is_empty() {
            return Err(NoteError::EmptyQuery);
        }
        let matches = self.readable(|name| {
            let text = self.read(&name)?;
            let hits = text.lines().enumerate().filter(|(_, line)| line.to_lowercase().contains(&query));
            let hit = |(index, line): (usize, &str)| NoteMatch {
                name: name.as_str().into(),
                line: index + 1,
                text: line.trim().into(),
            };
            Ok(hits.map(hit).take(limit).collect::<Vec<_>>())
        })?;
        Ok(matches.into_iter().flatten().take(limit).collect())
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Result<Vec<NoteName>, NoteError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(io_error("list", &self.root))? {
            let entry = entry.map_err(io_error("list", &self.root))?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|name| name.ends_with(ENDING)) else { continue };
            if let Ok(name) = NoteName::new(file_name) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// `view` of each note in turn; what is too long, no text, or just deleted is left out.
    fn readable<T>(&self, view: impl Fn(NoteName) -> Result<T, NoteError>) -> Result<Vec<T>, NoteError> {
        let seen = self.names()?.into_iter().map(view);
        seen.filter(|result| {
            !matches!(result, Err(NoteError::TooLong(_) | NoteError::NotText(_) | NoteError::Missing(_)))
        })
        .collect()
    }

    fn path(&self, name: &NoteName) -> PathBuf {
        self.root.join(format!("{name}{ENDING}"))
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NoteError {
    let path = path.to_owned();
    move |source| NoteError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, NoteFolder) {
        let place = tempfile::tempdir().unwrap();
        let folder = NoteFolder::open(place.path().join("notes")).unwrap();
        (place, folder)
    }

    #[test]
    fn names_stay_inside_the_folder() {
        let check = |name: &str, expected: Result<&str, &str>| {
            let actual = NoteName::new(name).map_err(|error| error.to_string());
            match (&actual, expected) {
                (Ok(actual), Ok(expected)) => assert_eq!(actual.as_str(), expected),
                (Err(actual), Err(expected)) => assert!(actual.contains(expected), "{name:?}: {actual}"),
                _ => panic!("{name:?}: {actual:?}"),
            }
        };
        check("welcome", Ok("welcome"));
        check("welcome.md", Ok("welcome"));
        check("Grüße 2", Ok("Grüße 2"));
        check("a..b", Ok("a..b"));
        check("", Err("empty"));
        check(".md", Err("empty"));
        check("..", Err("begins with a dot"));
        check("../secret", Err("begins with a dot"));
        check("a/../../b", Err("slash"));
        check("/etc/passwd", Err("slash"));
        check(r"..\x", Err("begins with a dot"));
        check(r"a\x", Err("slash"));
        check("c:x", Err("colon"));
        check("a\0b", Err("control"));
        check(&"x".repeat(101), Err("100 bytes"));
    }

    #[test]
    fn a_title_becomes_a_name() {
        let check = |title: &str, expected: Option<&str>| {
            assert_eq!(NoteName::of_title(title).ok().as_ref().map(NoteName::as_str), expected, "{title:?}");
        };
        check("Meeting, 3 May", Some("meeting-3-may"));
        check("  ../../etc/passwd ", Some("etc-passwd"));
        check("Äpfel & Birnen!", Some("äpfel-birnen"));
        check(&"ab".repeat(80), Some(&"ab".repeat(50)));
        check("…", None);
        check("", None);
    }

    #[test]
    fn notes_are_added_listed_read_and_found() {
        let (_place, folder) = folder();
        let name = folder.add("Shopping list", "Milk\nBread and milk\n").unwrap();
        folder.add("Milk", "none").unwrap();
        assert_eq!(folder.read(&name).unwrap(), "# Shopping list\n\nMilk\nBread and milk\n");
        let listed: Vec<_> = folder.list().unwrap().into_iter().map(|note| (note.name, note.title)).collect();
        assert_eq!(listed, [("milk".into(), "Milk".into()), ("shopping-list".into(), "Shopping list".to_owned())]);
        let found =
            |limit| folder.search("MILK", limit).unwrap().into_iter().map(|m| (m.name, m.line)).collect::<Vec<_>>();
        assert_eq!(found(10), [("milk".into(), 1), ("shopping-list".into(), 3), ("shopping-list".to_owned(), 4)]);
        assert_eq!(found(2).len(), 2);
        assert!(matches!(folder.search(" ", 1), Err(NoteError::EmptyQuery)));
        assert!(matches!(folder.add("shopping list", ""), Err(NoteError::Exists(_))));
        assert!(matches!(folder.add("Long", &"x".repeat(MAX_NOTE_BYTES)), Err(NoteError::TooLong(_))));
        assert!(matches!(folder.read(&NoteName::new("absent").unwrap()), Err(NoteError::Missing(_))));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_files_that_are_no_text_are_passed_over() {
        let (place, folder) = folder();
        let outside = place.path().join("secret.md");
        fs::write(&outside, "# Secret\n").unwrap();
        std::os::unix::fs::symlink(&outside, folder.root.join("link.md")).unwrap();
        fs::write(folder.root.join("binary.md"), [0xff, 0xfe]).unwrap();
        fs::write(folder.root.join("picture.png"), "no note").unwrap();
        fs::create_dir(folder.root.join("folder.md")).unwrap();
        assert_eq!(folder.list().unwrap(), []);
        assert_eq!(folder.search("secret", 10).unwrap(), []);
        assert!(matches!(folder.read(&NoteName::new("link").unwrap()), Err(NoteError::Missing(_))));
    }
}
