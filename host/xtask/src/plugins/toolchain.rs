//! The compiler for components: rustup's when it has the WebAssembly target, else Debian's in a private folder.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::cache::Cache;

const TARGET: &str = "wasm32-unknown-unknown";

pub(super) struct Toolchain {
    /// `rustc -vV`.
    pub(super) version: String,
    variables: Vec<(String, String)>,
    /// Its folder, which must not show in what it builds.
    folder: PathBuf,
}

impl Toolchain {
    pub(super) fn find(cache: &Cache) -> Result<Self> {
        let shell = Shell::new()?;
        shell.change_dir(cache.root());
        if has_target(&shell) {
            let folder = PathBuf::from(cmd!(shell, "rustc --print sysroot").quiet().read()?);
            let version = cmd!(shell, "rustc -vV").quiet().read()?;
            return Ok(Self { version, variables: Vec::new(), folder });
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64"))
            || cmd!(shell, "apt-get --version").quiet().read().is_err()
        {
            bail!("no WebAssembly target, run: rustup target add {TARGET}");
        }
        let folder = cache.dir().join("guest-toolchain");
        let script = cache.root().join("host/xtask/guest-toolchain.sh");
        let lines = cmd!(shell, "{script} {folder}").quiet().read().with_context(|| {
            format!("no WebAssembly target here nor in Debian's archive, run: rustup target add {TARGET}")
        })?;
        let variables: Vec<(String, String)> = lines
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let rustc = folder.join("usr/bin/rustc");
        let version = cmd!(shell, "{rustc} -vV").envs(variables.iter().map(|(n, v)| (n, v))).quiet().read()?;
        Ok(Self { version, variables, folder })
    }

    /// What `cargo build` needs in its environment, so that only the sources decide the bytes.
    pub(super) fn environment(&self, repository: &Path) -> Result<Vec<(String, String)>> {
        let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
            .context("neither CARGO_HOME nor HOME is set")?;
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        let flags = [remap(repository, "/vmcp-host"), remap(&cargo_home, "/cargo"), remap(&self.folder, "/rust")];
        let mut variables = self.variables.clone();
        if cfg!(unix) {
            let wrapper = repository.join("host/xtask/stable-metadata.sh");
            variables.push(("RUSTC_WRAPPER".into(), wrapper.display().to_string()));
            variables.push(("VMCP_REPOSITORY".into(), repository.display().to_string()));
        }
        // Rust flags are split at this character and may then contain spaces.
        variables.push(("CARGO_ENCODED_RUSTFLAGS".into(), flags.join("\u{1f}")));
        Ok(variables)
    }
}

fn has_target(shell: &Shell) -> bool {
    let folder = cmd!(shell, "rustc --print target-libdir --target {TARGET}").quiet().ignore_stderr().read();
    folder.is_ok_and(|folder| Path::new(&folder).is_dir())
}
