//! What a run of the suite found: its summary says which scenarios there were and which are scored, the files beside it
//! what each check found.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Run;

#[derive(Debug)]
pub(super) struct Results {
    scenarios: Vec<Scenario>,
    pub(super) findings: Vec<Finding>,
    pub(super) took: Duration,
}

#[derive(Debug, PartialEq, Eq)]
struct Scenario {
    name: String,
    is_required: bool,
    passed: usize,
    failed: usize,
}

/// A check that did not pass.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) scenario: String,
    pub(super) is_required: bool,
    pub(super) check: String,
    pub(super) verdict: Verdict,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Failed,
    /// Against what the specification recommends.
    Warned,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) scenarios: usize,
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) warnings: usize,
}

/// One entry of `checks.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    #[serde(default)]
    error_message: Option<String>,
}

impl Results {
    /// Reads what the suite printed, and the files that it left.
    pub(super) fn read(run: &Run, output: &str, took: Duration) -> anyhow::Result<Self> {
        let scenarios = scenarios(output);
        if scenarios.is_empty() {
            let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
            bail!("the suite came to no summary; its last words: {last}");
        }
        let mut findings = Vec::new();
        for scenario in &scenarios {
            let checks = checks(&run.results, &scenario.name)?;
            let before = findings.len();
            findings.extend(checks.into_iter().filter_map(|check| Finding::of(scenario, check)));
            if scenario.failed > 0 && findings.len() == before {
                findings.push(Finding {
                    scenario: scenario.name.clone(),
                    is_required: scenario.is_required,
                    check: scenario.name.clone(),
                    verdict: Verdict::Failed,
                    message: "the suite says why in suite.txt".to_owned(),
                });
            }
        }
        Ok(Self { scenarios, findings, took })
    }

    pub(super) fn meet_requirements(&self) -> bool {
        self.totals(true).failed == 0
    }

    pub(super) fn totals(&self, is_required: bool) -> Totals {
        let mut totals = Totals::default();
        for scenario in self.scenarios.iter().filter(|scenario| scenario.is_required == is_required) {
            totals.scenarios += 1;
            totals.passed += scenario.passed;
            totals.failed += scenario.failed;
        }
        let is_warning = |it: &&Finding| it.is_required == is_required && it.verdict == Verdict::Warned;
        totals.warnings = self.findings.iter().filter(is_warning).count();
        totals
    }
}

impl Finding {
    fn of(scenario: &Scenario, check: Check) -> Option<Self> {
        let verdict = match check.status.as_str() {
            "FAILURE" => Verdict::Failed,
            "WARNING" => Verdict::Warned,
            _ => return None,
        };
        Some(Self {
            scenario: scenario.name.clone(),
            is_required: scenario.is_required,
            check: check.id,
            verdict,
            message: check.error_message.unwrap_or_default(),
        })
    }
}

/// Lines of the summary: `✓ NAME: N passed, M failed`, and below `  ✓ NAME (REASON)` for those that are not scored.
fn scenarios(output: &str) -> Vec<Scenario> {
    let summary = output.split_once("=== SUMMARY ===").map_or("", |(_, summary)| summary);
    let marked = |line: &'static str| move |text: &str| text.strip_prefix(line).map(str::to_owned);
    let (scored, unscored) = summary.split_once("Not scored for").unwrap_or((summary, ""));
    let unscored: Vec<_> = unscored
        .lines()
        .filter_map(|line| marked("✓ ")(line.trim()).or_else(|| marked("✗ ")(line.trim())))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect();
    scored
        .lines()
        .filter_map(|line| marked("✓ ")(line).or_else(|| marked("✗ ")(line)))
        .filter_map(|line| {
            let (name, counts) = line.split_once(": ")?;
            let (passed, failed) = counts.strip_suffix(" failed")?.split_once(" passed, ")?;
            let is_required = !unscored.iter().any(|unscored| unscored == name);
            Some(Scenario {
                name: name.to_owned(),
                is_required,
                passed: passed.parse().ok()?,
                failed: failed.parse().ok()?,
            })
        })
        .collect()
}

/// Checks of one scenario; its folder is `server-NAME-TIME`.
fn checks(folder: &Path, scenario: &str) -> anyhow::Result<Vec<Check>> {
    let begin = format!("server-{scenario}-20");
    let mut checks = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.path().join("checks.json");
        if entry.file_name().to_string_lossy().starts_with(&begin) && file.exists() {
            let text = fs::read_to_string(&file)?;
            let read: Vec<Check> =
                serde_json::from_str(&text).with_context(|| format!("{} is not what it was", file.display()))?;
            checks.extend(read);
        }
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: &[(&str, bool, usize, usize)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, is_required, passed, failed)| Scenario {
                name: (*name).to_owned(),
                is_required: *is_required,
                passed: *passed,
                failed: *failed,
            })
            .collect();
        assert_eq!(scenarios(output), expected, "{output}");
    }

    #[test]
    fn the_summary_says_what_is_scored() {
        check("it crashed", &[]);
        check("✓ a: 1 passed, 0 failed\n", &[]);
        check("\n=== SUMMARY ===\n✓ a: 2 passed, 0 failed\n\nTotal: 2 passed, 0 failed\n", &[("a", true, 2, 0)]);
        check(
            "=== SUMMARY ===\n✓ a: 2 passed, 0 failed\n✗ b-c: 0 passed, 1 failed\n\nTotal: 2 passed, 1 failed\n\n\
             Not scored for 2025-11-25: 1 scenario(s) run, 1 failing.\n  ✗ b-c (pending)\n",
            &[("a", true, 2, 0), ("b-c", false, 0, 1)],
        );
    }
}
