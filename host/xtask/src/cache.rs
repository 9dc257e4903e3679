//! The folder outside the checkout that holds what is costly to make: `VMCP_CACHE`, or `~/.cache/vmcp-host`.
//!
//! `target/` is cargo's, `node/` and `python/` hold servers and clients, `conformance/` the suite, `models/` embedding models,
//! `tools/` programs of CI.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

pub(crate) struct Cache {
    dir: PathBuf,
    target: PathBuf,
    root: PathBuf,
}

impl Cache {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let dir = match env::var_os("VMCP_CACHE") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(env::var_os("HOME").context("neither VMCP_CACHE nor HOME is set")?)
                .join(".cache/vmcp-host"),
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the cache folder {}", dir.display()))?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| dir.join("target"), PathBuf::from);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("xtask lies two folders deep")?;
        Ok(Self { root: root.to_owned(), target: root.join(target), dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a binary of the workspace lies once it is built.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Where `cargo install` puts CI's programs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.dir.join("tools")
    }

    /// `cargo ARGUMENTS…` in the checkout, with the target folder of this cache.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from));
        command.args(arguments);
        command
    }

    /// A program in the checkout that finds CI's tools and the cache.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let path = env::var_os("PATH").unwrap_or_default();
        let tools = std::iter::once(self.tools().join("bin"));
        if let Ok(path) = env::join_paths(tools.chain(env::split_paths(&path))) {
            command.env("PATH", path);
        }
        // What cargo says about this package would make build scripts that look at it run again.
        let about_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| about_us(name))
        {
            command.env_remove(name);
        }
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target).env("VMCP_CACHE", &self.dir);
        command
    }
}
