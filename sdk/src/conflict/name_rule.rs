//! Which names the host advertises, and how to make one of any text.

/// The rule that advertised names of tools and prompts keep (`aggregation.names` in the configuration).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameRule {
    /// Legal for every client: `[A-Za-z0-9_-]`, 1 to 64 characters.
    Strict,
    /// The specification's grammar: `[A-Za-z0-9_.-]`, 1 to 128 characters.
    Protocol,
}

impl NameRule {
    /// The longest legal name, in characters (all of them are ASCII).
    pub fn max_length(self) -> usize {
        match self {
            Self::Strict => 64,
            Self::Protocol => 128,
        }
    }

    /// Whether a name may contain `character`.
    pub fn allows(self, character: char) -> bool {
        character.is_ascii_alphanumeric()
            || matches!(character, '_' | '-')
            || (self == Self::Protocol && character == '.')
    }

    /// Whether `name` is advertised as it is.
    pub fn is_legal(self, name: &str) -> bool {
        (1..=self.max_length()).contains(&name.len()) && name.chars().all(|c| self.allows(c))
    }

    /// `name` with `_` for every character that is not allowed. The length is left alone, apart from an empty name,
    /// which becomes `_`.
    pub fn replace_illegal(self, name: &str) -> String {
        match name {
            "" => "_".into(),
            _ => name.chars().map(|c| if self.allows(c) { c } else { '_' }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_characters_are_replaced() {
        let check = |rule: NameRule, name: &str, expected: &str| {
            assert_eq!(rule.replace_illegal(name), expected);
            assert!(rule.is_legal(expected));
        };
        check(NameRule::Strict, "search", "search");
        check(NameRule::Strict, "issues.list", "issues_list");
        check(NameRule::Protocol, "issues.list", "issues.list");
        check(NameRule::Protocol, "a/b c", "a_b_c");
        check(NameRule::Strict, "größe", "gr__e");
        check(NameRule::Strict, "", "_");
    }

    #[test]
    fn length_and_grammar_make_a_name_legal() {
        let check = |rule: NameRule, name: &str, expected: bool| assert_eq!(rule.is_legal(name), expected, "{name}");
        check(NameRule::Strict, "", false);
        check(NameRule::Strict, &"x".repeat(64), true);
        check(NameRule::Strict, &"x".repeat(65), false);
        check(NameRule::Protocol, &"x".repeat(128), true);
        check(NameRule::Protocol, &"x".repeat(129), false);
        check(NameRule::Strict, "a.b", false);
        check(NameRule::Protocol, "a.b", true);
        check(NameRule::Protocol, "a b", false);
    }
}
