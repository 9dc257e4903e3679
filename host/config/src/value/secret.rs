//! Values that are never printed.

use std::{
    borrow::Cow,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A string, or where to find one: `{ fromEnv: NAME }` or `{ fromFile: PATH }`. Reading the file keeps the reference;
/// [`resolve`](Self::resolve) fetches the value. `Debug` shows where it comes from and never what it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Stands in the file.
    Literal(String),
    /// The value of an environment variable of the host.
    FromEnv(String),
    /// The content of a file, without the line break at its end.
    FromFile(PathBuf),
}

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The variable is absent, empty or not Unicode.
    #[error("environment variable `{0}` is not set")]
    UnsetVariable(String),
    #[error("cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// An empty secret is a mistake wherever one is asked for.
    #[error("`{}` is empty", .0.display())]
    EmptyFile(PathBuf),
}

impl Secret {
    /// The value, from this process's environment or the file system.
    pub fn resolve(&self) -> Result<String, SecretError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::FromEnv(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(value),
                _ => Err(SecretError::UnsetVariable(name.clone())),
            },
            Self::FromFile(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
                match text.trim_end_matches(['\r', '\n']) {
                    "" => Err(SecretError::EmptyFile(path.clone())),
                    value => Ok(value.to_owned()),
                }
            }
        }
    }

    /// Makes a relative `fromFile` relative to `base`.
    pub(crate) fn rebase(&mut self, base: &Path) {
        if let Self::FromFile(path) = self {
            *path = base.join(&*path);
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::FromEnv(name) => write!(f, "FromEnv({name})"),
            Self::FromFile(path) => write!(f, "FromFile({})", path.display()),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSecret {
    Literal(String),
    FromEnv {
        #[serde(rename = "fromEnv")]
        from_env: String,
    },
    FromFile {
        #[serde(rename = "fromFile")]
        from_file: PathBuf,
    },
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match RawSecret::deserialize(deserializer)? {
            RawSecret::Literal(value) => Self::Literal(value),
            RawSecret::FromEnv { from_env } => Self::FromEnv(from_env),
            RawSecret::FromFile { from_file } => Self::FromFile(from_file),
        })
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A string, `{ fromEnv: NAME }` or `{ fromFile: PATH }`; never printed.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "fromEnv": {
                            "type": "string",
                            "minLength": 1,
                            "description": "Name of an environment variable of the host.",
                        },
                        "fromFile": {
                            "type": "string",
                            "minLength": 1,
                            "description": "Path of a file, relative to the configuration file.",
                        },
                    },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
            "x-expect": "a string, `{fromEnv: NAME}` or `{fromFile: PATH}`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Secret::Literal("hunter2".into())), "Literal(…)");
        assert_eq!(format!("{:?}", Secret::FromEnv("TOKEN".into())), "FromEnv(TOKEN)");
    }

    #[test]
    fn what_cannot_be_resolved_says_where_it_looked() {
        let unset = Secret::FromEnv("VMCP_TEST_NEVER_SET".into()).resolve().unwrap_err();
        assert_eq!(unset.to_string(), "environment variable `VMCP_TEST_NEVER_SET` is not set");
        let absent = Secret::FromFile("/nonexistent/token".into()).resolve().unwrap_err();
        assert_eq!(absent.to_string(), "cannot read `/nonexistent/token`");
        let this = Secret::FromFile(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).resolve().unwrap();
        assert!(this.starts_with("[package]") && !this.ends_with('\n'));
    }
}
