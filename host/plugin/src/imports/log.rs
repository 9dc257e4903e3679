//! `vmcp:host/log`: what a component says goes to the host's log under the component's name.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    bindings::log::vmcp::host::log::{Host, Level},
    call::CallState,
};

/// Longest message, in bytes; the rest is cut.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// Most messages of one call; later ones are dropped.
const MAX_MESSAGES: usize = 1_000;
/// Error messages kept to explain a failure.
const MAX_KEPT_ERRORS: usize = 10;

/// The log of one call.
pub(crate) struct CallLog {
    component: Arc<str>,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    messages: usize,
    errors: Vec<String>,
}

impl CallLog {
    pub(crate) fn new(component: Arc<str>) -> Self {
        Self { component, said: Mutex::default() }
    }

    pub(crate) fn write(&self, level: Level, message: &str) {
        let message = &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)];
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.messages += 1;
        if level == Level::Error {
            if said.errors.len() == MAX_KEPT_ERRORS {
                said.errors.remove(0); // a panic is the last thing that a component says
            }
            said.errors.push(message.to_owned());
        }
        if said.messages > MAX_MESSAGES {
            if said.messages == MAX_MESSAGES + 1 {
                tracing::warn!(component = &*self.component, "further messages of this call are dropped");
            }
            return;
        }
        drop(said);
        let component = &*self.component;
        match level {
            Level::Trace => tracing::trace!(component, "{message}"),
            Level::Debug => tracing::debug!(component, "{message}"),
            Level::Info => tracing::info!(component, "{message}"),
            Level::Warn => tracing::warn!(component, "{message}"),
            Level::Error => tracing::error!(component, "{message}"),
        }
    }

    /// The last errors of the call, if it logged any.
    pub(crate) fn errors(&self) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        (!said.errors.is_empty()).then(|| said.errors.join("; "))
    }
}

impl Host for CallState {
    fn log(&mut self, level: Level, message: String) {
        self.log.write(level, &message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let log = CallLog::new("it".into());
        log.write(Level::Error, &"ü".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(log.errors().unwrap(), "ü".repeat(MAX_MESSAGE_BYTES / 2));
    }

    #[test]
    fn the_last_errors_explain_a_failure() {
        let log = CallLog::new("it".into());
        assert_eq!(log.errors(), None);
        log.write(Level::Info, "fine");
        for number in 0..MAX_MESSAGES + 5 {
            log.write(Level::Error, &number.to_string());
        }
        let errors = log.errors().unwrap();
        assert!(errors.starts_with("995; ") && errors.ends_with("; 1004"), "{errors}");
    }
}
