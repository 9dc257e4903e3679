//! `cargo xtask planted`: whether the test of the scheduler against its model would notice a bug.
//!
//! Each patch in `plugins/workflow-yaml/tests/planted` plants one, below a line that says what goes wrong. It changes single
//! lines without any around them, so that it goes on to apply while other code changes. All of it happens in a copy in the
//! cache folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    cache::Cache,
    steps::{output, start_failure, step},
};

const PATCHES: &str = "plugins/workflow-yaml/tests/planted";
const TEST: &str = "model::any_workflow_does_what_the_model_says";
/// Workflows of one run: the rarest of the bugs shows in one of some hundred.
const CASES: u32 = 10_000;

pub(crate) fn run_all(cache: &Cache) -> anyhow::Result<()> {
    step("bugs planted in a copy of workflow-yaml");
    let patches = patches(&cache.root().join(PATCHES))?;
    let copy = Copy::make(cache)?;
    copy.compile(cache).context("the test does not compile, without any bug")?;
    let ended = copy.test(cache)?;
    if !ended.passed {
        bail!("the test fails without any bug: {}", ended.said);
    }
    step(&format!("no bug: {CASES} workflows do what the model says"));
    let mut unnoticed = Vec::new();
    for patch in patches {
        copy.plant(&patch)?;
        copy.compile(cache)
            .with_context(|| format!("with the bug of `{}` it does not compile", patch.file.display()))?;
        let ended = copy.test(cache)?;
        copy.mend(cache)?;
        let outcome = match (ended.passed, ended.cases()) {
            (true, _) => "NOT NOTICED".to_owned(),
            (false, Some(cases)) => format!("noticed by workflow {}", cases + 1),
            (false, None) => bail!("with the bug `{}` the test fails otherwise: {}", patch.name, ended.said),
        };
        step(&format!("{}: {outcome}. {}", patch.name, patch.about));
        unnoticed.extend(ended.passed.then_some(patch.name));
    }
    if !unnoticed.is_empty() {
        bail!("the test against the model passes with these bugs: {}", unnoticed.join(", "));
    }
    Ok(())
}

/// A bug that can be planted.
struct Patch {
    file: PathBuf,
    name: String,
    /// What it says of itself.
    about: String,
}

fn patches(folder: &Path) -> anyhow::Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.path();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        patches.push(Patch { name, about: text.lines().next().unwrap_or_default().to_owned(), file });
    }
    if patches.is_empty() {
        bail!("there is no bug to plant in {}", folder.display());
    }
    patches.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(patches)
}

/// The components' workspace where bugs are planted.
struct Copy {
    workspace: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn make(cache: &Cache) -> anyhow::Result<Self> {
        let folder = cache.dir().join("planted");
        let copy = Self { workspace: folder.join("plugins"), target: folder.join("target") };
        if copy.workspace.exists() {
            fs::remove_dir_all(&copy.workspace)?;
        }
        copy_folder(&cache.root().join("plugins"), &copy.workspace)?;
        // It lies elsewhere, the packages beside it do not.
        let manifest = copy.workspace.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        fs::write(&manifest, text.replace("\"../", &format!("\"{}/", cache.root().display())))?;
        Ok(copy)
    }

    fn package(&self) -> PathBuf {
        self.workspace.join("workflow-yaml")
    }

    fn plant(&self, patch: &Patch) -> anyhow::Result<()> {
        let mut git = Command::new("git");
        // Inside a checkout of somebody else's, git would leave out what does not belong to that.
        git.env("GIT_CEILING_DIRECTORIES", &self.workspace).current_dir(self.package());
        git.args(["apply", "--unidiff-zero", "--ignore-whitespace"]).arg(&patch.file);
        let output = git.output().with_context(|| start_failure(&git))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` does not apply any more, bring it up to the code: {}", patch.file.display(), why.trim());
        }
        Ok(())
    }

    /// Takes the planted bug out.
    fn mend(&self, cache: &Cache) -> anyhow::Result<()> {
        copy_folder(&cache.root().join("plugins/workflow-yaml/src"), &self.package().join("src"))
    }

    fn compile(&self, cache: &Cache) -> anyhow::Result<()> {
        output(self.cargo(cache).args(["--quiet", "--no-run"])).map(|_| ())
    }

    fn test(&self, cache: &Cache) -> anyhow::Result<Ended> {
        let mut test = self.cargo(cache);
        test.args(["--", "--exact", TEST]).stdin(Stdio::null());
        // What failed first is enough to know.
        test.env("PROPTEST_CASES", CASES.to_string()).env("PROPTEST_MAX_SHRINK_ITERS", "0");
        let output = test.output().with_context(|| start_failure(&test))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !said.contains(&format!("test {TEST} ... ")) {
            bail!("there is no test `{TEST}` in workflow-yaml: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Ended { passed: output.status.success(), said })
    }

    fn cargo(&self, cache: &Cache) -> Command {
        let mut cargo = cache.cargo(&["test", "--locked", "--package", "workflow-yaml", "--test", "it"]);
        cargo.arg("--manifest-path").arg(self.workspace.join("Cargo.toml"));
        // Compiled once for each bug, and never debugged.
        cargo.env("CARGO_TARGET_DIR", &self.target).env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo
    }
}

/// A run of the test.
struct Ended {
    passed: bool,
    said: String,
}

impl Ended {
    /// How many workflows did as the model says before one did not.
    fn cases(&self) -> Option<u32> {
        let line = self.said.lines().find_map(|line| line.trim().strip_prefix("successes: "));
        line.and_then(|count| count.parse().ok())
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(())
}
