//! As much of Markdown as the checks need: links, headings, code.

/// What the checks look at in one document.
#[derive(Debug, Default)]
pub(crate) struct Markdown {
    pub(crate) links: Vec<Link>,
    /// Names that `#…` may lead to.
    pub(crate) anchors: Vec<String>,
    pub(crate) snippets: Vec<Snippet>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) line: usize,
}

/// One line of a code block, or one span of code in prose.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) is_span: bool,
}

impl Markdown {
    pub(crate) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut fence: Option<String> = None;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let start = line.trim_start();
            let ticks: String = start.chars().take_while(|c| *c == '`').collect();
            match &fence {
                Some(open) if ticks.len() >= open.len() && start == ticks => fence = None,
                Some(_) => document.snippets.push(Snippet { text: line.to_owned(), line: number, is_span: false }),
                None if ticks.len() >= 3 => fence = Some(ticks),
                None => document.prose(line, number),
            }
        }
        document
    }

    fn prose(&mut self, line: &str, number: usize) {
        // Code is every second part between ticks; what is left over is prose.
        let mut prose = String::new();
        for (index, part) in line.split('`').enumerate() {
            if index % 2 == 0 {
                prose.push_str(part);
            } else {
                self.snippets.push(Snippet { text: part.to_owned(), line: number, is_span: true });
                prose.push('`');
            }
        }
        if line.starts_with('#') {
            let anchor = anchor(line.trim_start_matches('#').trim());
            let repeats = self.anchors.iter().filter(|known| **known == anchor).count();
            self.anchors.push(if repeats == 0 { anchor } else { format!("{anchor}-{repeats}") });
        }
        let mut rest = prose.as_str();
        while let Some(open) = rest.find("](") {
            rest = &rest[open + 2..];
            let Some(close) = rest.find(')') else { break };
            let target = rest[..close].split(' ').next().unwrap_or_default();
            self.links.push(Link { target: target.to_owned(), line: number });
            rest = &rest[close..];
        }
    }
}

/// A heading's anchor as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_headings_and_code_are_found() {
        let document = Markdown::parse(
            "# The `--host` flag, twice\n## Names\n## Names\nSee [a](x.md#y \"t\") and [b](#names-1); `[c](z.md)`\n```sh\nvmcp-host serve # [d](e)\n```\n",
        );
        let targets: Vec<_> = document.links.iter().map(|link| (link.target.as_str(), link.line)).collect();
        assert_eq!(targets, [("x.md#y", 4), ("#names-1", 4)]);
        assert_eq!(document.anchors, ["the---host-flag-twice", "names", "names-1"]);
        let code: Vec<_> = document.snippets.iter().map(|snippet| (snippet.text.as_str(), snippet.is_span)).collect();
        assert_eq!(code, [("--host", true), ("[c](z.md)", true), ("vmcp-host serve # [d](e)", false)]);
    }
}
