//! `prefixFormat`, the key that several resolvers share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Contender, NameRule};

/// What stands before a name, with `{workload}` for the backend's name, e.g. `{workload}_` or `acme-{workload}.`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("minLength" = 1))]
pub struct PrefixFormat(String);

impl PrefixFormat {
    /// The contender's name behind its prefix, illegal characters replaced. It may be longer than `names` allows.
    pub fn apply(&self, contender: &Contender, names: NameRule) -> String {
        let mut name = self.0.replace("{workload}", &contender.backend);
        name.push_str(&contender.name);
        names.replace_illegal(&name)
    }
}

impl Default for PrefixFormat {
    fn default() -> Self {
        Self("{workload}_".into())
    }
}

impl TryFrom<String> for PrefixFormat {
    type Error = &'static str;

    fn try_from(format: String) -> Result<Self, Self::Error> {
        if format.is_empty() { Err("must not be empty") } else { Ok(Self(format)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_fills_every_placeholder() {
        let check = |format: &str, backend: &str, names: NameRule, expected: &str| {
            let format = PrefixFormat::try_from(format.to_owned()).unwrap();
            assert_eq!(format.apply(&Contender::new(backend, "search"), names), expected);
        };
        check("{workload}_", "github", NameRule::Strict, "github_search");
        check("{workload}.", "github", NameRule::Protocol, "github.search");
        check("{workload}.", "github", NameRule::Strict, "github_search");
        check("{workload}-{workload}-", "a", NameRule::Strict, "a-a-search");
        check("fixed_", "github", NameRule::Strict, "fixed_search");
        check("{workload}_", "brave.search", NameRule::Protocol, "brave.search_search");
        check("{workload}_", "brave search", NameRule::Strict, "brave_search_search");
    }
}
