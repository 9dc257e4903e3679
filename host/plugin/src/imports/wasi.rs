//! WASI for components that were granted it: clocks and random numbers work, the rest is there and empty.
//!
//! No files, no environment, no arguments, no network; what is written to stdout and stderr goes to the log.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream},
};

use crate::{bindings::log::vmcp::host::log::Level, call::CallState, imports::log::CallLog};

/// Most bytes that one call for random numbers may ask of the host.
const MAX_RANDOM_BYTES: u64 = 1 << 20;
/// A line without end is cut here, in bytes.
const MAX_LINE_BYTES: usize = 4 << 10;

/// WASI's state of one call.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    pub(crate) fn new(log: &Arc<CallLog>) -> Self {
        let context = WasiCtxBuilder::new()
            .stdout(LineLog::new(Level::Info, log))
            .stderr(LineLog::new(Level::Error, log))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM_BYTES)
            .build();
        Self { context, table: ResourceTable::new() }
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("only components that were granted WASI are linked with it");
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

/// A stream whose lines go to the log. Clones write to the same line.
#[derive(Clone)]
struct LineLog {
    level: Level,
    log: Arc<CallLog>,
    line: Arc<Mutex<Vec<u8>>>,
}

impl LineLog {
    fn new(level: Level, log: &Arc<CallLog>) -> Self {
        Self { level, log: Arc::clone(log), line: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE_BYTES - line.len();
            line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                self.write_line(&mut line);
            }
        }
    }

    fn write_line(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if !text.is_empty() {
            self.log.write(self.level, text);
        }
        line.clear();
    }
}

impl Drop for LineLog {
    /// The last line may lack its end; the last clone writes it.
    fn drop(&mut self) {
        if Arc::strong_count(&self.line) == 1 {
            let mut line = std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner));
            self.write_line(&mut line);
        }
    }
}

impl IsTerminal for LineLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LineLog {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_logged_line_by_line() {
        let log = Arc::new(CallLog::new("it".into()));
        let stream = LineLog::new(Level::Error, &log);
        stream.take(b"one\ntw");
        assert_eq!(log.errors().unwrap(), "one");
        stream.clone().take(b"o\n\nthree");
        assert_eq!(log.errors().unwrap(), "one; two");
        stream.take(&[b'x'; 2 * MAX_LINE_BYTES]);
        drop(stream);
        assert_eq!(log.errors().unwrap().len(), "one; two; ".len() + MAX_LINE_BYTES);
    }
}
