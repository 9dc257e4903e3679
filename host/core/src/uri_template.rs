//! Tells whether a URI could have come from an RFC 6570 template: templates of backends are matched, never expanded, here.

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// An expression; what it may expand to depends on its operator alone.
    Expression(Operator),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `{x}`: anything but reserved separators.
    Simple,
    /// `{+x}`: anything.
    Reserved,
    /// `{#x}`, `{.x}`, `{/x}`, `{;x}`, `{?x}`, `{&x}`: begins with that character, or is empty.
    Prefixed(char),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{template}` is no URI template: {what}")]
pub struct UriTemplateError {
    template: String,
    what: &'static str,
}

impl UriTemplate {
    pub fn parse(template: &str) -> Result<Self, UriTemplateError> {
        let error = |what| UriTemplateError { template: template.to_owned(), what };
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            if rest[open..].starts_with('}') {
                return Err(error("a `}` has no `{`"));
            }
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            let close = rest[open..].find('}').ok_or_else(|| error("a `{` is not closed"))? + open;
            let expression = &rest[open + 1..close];
            let (operator, variables) = match expression.chars().next() {
                Some('+') => (Operator::Reserved, &expression[1..]),
                Some(c @ ('#' | '.' | '/' | ';' | '?' | '&')) => (Operator::Prefixed(c), &expression[1..]),
                _ => (Operator::Simple, expression),
            };
            let is_variable = |v: &str| {
                let name = v.split([':', '*']).next().unwrap_or_default();
                !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '%' | '-'))
            };
            if !variables.split(',').all(is_variable) {
                return Err(error("an expression names no variable"));
            }
            parts.push(Part::Expression(operator));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Whether `uri` could be an expansion. Linear in the number of parts times the square of the length at worst.
    pub fn matches(&self, uri: &str) -> bool {
        // The set of positions that the parts so far can reach.
        let mut reached = vec![false; uri.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; uri.len() + 1];
            for from in (0..=uri.len()).filter(|at| reached[*at]) {
                match part {
                    Part::Literal(text) if uri[from..].starts_with(text.as_str()) => next[from + text.len()] = true,
                    Part::Literal(_) => {}
                    Part::Expression(operator) => operator.reach(uri, from, &mut next),
                }
            }
            reached = next;
        }
        reached[uri.len()]
    }
}

impl Operator {
    /// Marks every position at which an expansion that begins at `from` may end.
    fn reach(self, uri: &str, from: usize, next: &mut [bool]) {
        let rest = &uri[from..];
        let (skip, legal): (usize, fn(char) -> bool) = match self {
            Self::Simple => (0, |c| !matches!(c, '/' | '?' | '#' | '&')),
            Self::Reserved => (0, |_| true),
            Self::Prefixed(prefix) => {
                next[from] = true; // an undefined variable expands to nothing
                if !rest.starts_with(prefix) {
                    return;
                }
                match prefix {
                    '#' => (1, |_| true),
                    '/' => (1, |c| !matches!(c, '?' | '#')),
                    '?' | '&' => (1, |c| c != '#'),
                    _ => (1, |c| !matches!(c, '/' | '?' | '#')),
                }
            }
        };
        for (at, c) in rest[skip..].char_indices() {
            if !legal(c) {
                return;
            }
            next[from + skip + at + c.len_utf8()] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_matched_to_the_templates_they_come_from() {
        let check = |template: &str, uri: &str, expected: bool| {
            assert_eq!(UriTemplate::parse(template).unwrap().matches(uri), expected, "{template} {uri}");
        };
        check("file:///{path}", "file:///a.txt", true);
        check("file:///{path}", "file:///a/b.txt", false);
        check("file:///{+path}", "file:///a/b.txt", true);
        check("demo://resource/{id}/data", "demo://resource/1/data", true);
        check("demo://resource/{id}/data", "demo://resource//data", false);
        check("demo://resource/{id}/data", "demo://resource/1/meta", false);
        check("x://{a}-{b}", "x://1-2-3", true);
        check("x://host{/path*}", "x://host/a/b", true);
        check("x://host{/path*}", "x://host", true);
        check("x://host{?q,page}", "x://host?q=1&page=2", true);
        check("x://host{?q}{#frag}", "x://host?q=1#top", true);
        check("x://{a}", "y://1", false);
        check("x://ü{a}", "x://üé", true);
    }

    #[test]
    fn broken_templates_are_refused() {
        for template in ["x://{a", "x://a}", "x://{}", "x://{a,}", "x://{?}"] {
            assert!(UriTemplate::parse(template).is_err(), "{template}");
        }
    }
}
