//! Writes to the host's log under the component's name. Compiled for anything but WebAssembly, to standard error.
//!
//! The host cuts a message at 4 KiB and keeps at most 1,000 per call of the component.

/// Finest detail, for the component's author.
pub fn trace(message: impl AsRef<str>) {
    write(Level::Trace, message.as_ref());
}

/// Detail for whoever looks into a problem.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// What an operator may want to know on a normal day.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// What an operator should look at; the component went on.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Why the component could not do its work.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

#[derive(Clone, Copy, Debug)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    use crate::bindings::component::vmcp::host::log as host;
    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::print_stderr, reason = "without a host, standard error is the log")]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// Lets the host log a panic's message; without it a panic is a trap that says nothing.
#[cfg(target_arch = "wasm32")]
pub(crate) fn report_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| error(panic.to_string()))));
}
