//! Exit codes. They are part of the interface: scripts may rely on them.

use std::process::ExitCode;

use vmcp_host::ComponentRefused;

/// What went wrong, as far as the exit code tells it. Anything else is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config,
    /// A component was refused, or could not decide.
    #[error("a component was refused")]
    Component,
    /// The address is in use, or may not be listened on.
    #[error("the address cannot be listened on")]
    Address,
    /// No host is running for this configuration.
    #[error("no host is running")]
    NotRunning,
    /// The tool answered with an error.
    #[error("the tool answered with an error")]
    Tool,
    /// At least one backend is not well.
    #[error("a backend is not well")]
    Unwell,
    /// A replayed run differs from the recorded one.
    #[error("the run differs from the recorded one")]
    Differs,
    /// The search finds less than was asked for.
    #[error("the search finds too little")]
    Recall,
}

impl Failure {
    pub(crate) fn code(self) -> u8 {
        match self {
            // 2 is clap's, for arguments that make no sense.
            Self::Config => 3,
            Self::Component => 4,
            Self::Address => 5,
            Self::NotRunning => 6,
            Self::Tool => 7,
            Self::Unwell => 8,
            Self::Recall => 9,
            Self::Differs => 10,
        }
    }
}

/// The code for an error, from the [`Failure`] in its chain.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    let of_component = || error.is::<ComponentRefused>().then_some(Failure::Component);
    let failure = error.downcast_ref::<Failure>().copied().or_else(of_component);
    ExitCode::from(failure.map_or(1, Failure::code))
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        failure.code().into()
    }
}
