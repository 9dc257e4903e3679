//! Where in the file something is, as people write it (`aggregation.tools[0].workload`) and as a JSON pointer.

use std::fmt;

/// One step down into the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// A path of keys and list positions from the top of the file. The empty path is the whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The whole file.
    pub fn root() -> Self {
        Self::default()
    }

    /// This path and then `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// This path and then list position `index`, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path without its last step; the root stays the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Reads an RFC 6901 pointer; `None` when it is not empty and does not begin with `/`. A token of digits only becomes
    /// a list position; as a key it is found all the same.
    pub fn from_pointer(pointer: &str) -> Option<Self> {
        if pointer.is_empty() {
            return Some(Self::root());
        }
        let tokens = pointer.strip_prefix('/')?.split('/');
        Some(Self(tokens.map(|token| step_of(&token.replace("~1", "/").replace("~0", "~"))).collect()))
    }
}

fn step_of(token: &str) -> Step {
    match token.parse::<usize>() {
        Ok(index) if index.to_string() == token => Step::Index(index),
        _ => Step::Key(token.to_owned()),
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<T: IntoIterator<Item = Step>>(steps: T) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !is_plain(key) => write!(f, "[{key:?}]")?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_become_readable_paths() {
        let check = |pointer: &str, expected: &str| {
            assert_eq!(KeyPath::from_pointer(pointer).map(|path| path.to_string()).as_deref(), Some(expected));
        };
        check("", "");
        check("/backends/0/url", "backends[0].url");
        check("/outgoingAuth/backends/my.backend/type", r#"outgoingAuth.backends["my.backend"].type"#);
        check("/metadata/a~1b~0c", r#"metadata["a/b~c"]"#);
        assert_eq!(KeyPath::from_pointer("backends"), None);
    }
}
