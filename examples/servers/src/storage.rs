//! What both servers need of the file system: where to store, replacing a file whole, waiting off the runtime's workers.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

/// Neither `XDG_STATE_HOME` nor a home folder says where state belongs.
#[derive(Debug, thiserror::Error)]
#[error("neither XDG_STATE_HOME nor HOME is set")]
pub(crate) struct NoStateFolder;

/// `vmcp-host/examples` in the user's state folder.
pub(crate) fn state_folder() -> Result<PathBuf, NoStateFolder> {
    let xdg = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = xdg.or_else(|| std::env::home_dir().map(|home| home.join(".local/state"))).ok_or(NoStateFolder)?;
    Ok(state.join("vmcp-host").join("examples"))
}

/// Gives `path` the content `bytes`; a crash leaves the old content or the new one, nothing between.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.draft", std::process::id()));
    fs::write(&draft, bytes)?;
    fs::rename(&draft, path).inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}

/// Runs `work` on a thread that may block. An error comes back as the text that the tool's caller reads.
pub(crate) async fn on_disk<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    E: Error + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| with_causes(&error)),
        Err(panic) => Err(format!("the server failed inside: {panic}")),
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
