//! A backend that is a child process: JSON-RPC messages as lines on its standard input and output.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, ChildStdout},
    sync::{broadcast, mpsc},
    time::timeout,
};
use tracing::{debug, info};
use vmcp_core::{call::CallError, json::RawJson};
use vmcp_mcp::{era::Era, object::Object};

use crate::{
    audience::{Audience, Role},
    connect::ConnectError,
    duplex::{Duplex, Outbox},
    handshake::{self, BackendInfo, PROBE_PATIENCE, Probe},
    line::{Line, LineReader},
    message::BackendChange,
    process::{Launch, Process},
    spec::{BackendContext, BackendSpec},
};

/// Messages that wait for the process to read.
const QUEUE: usize = 16;
/// Messages up to this are written together with their neighbours.
const BATCHED: usize = 32 * 1024;
/// What replies already in the pipe have to arrive after the process ended.
const LAST_REPLIES: Duration = Duration::from_millis(50);
/// What a process that closed its output has to end.
const AFTER_OUTPUT: Duration = Duration::from_secs(1);

/// A running process and the connection to it.
#[derive(Clone)]
pub(crate) struct StdioLink {
    pub(crate) duplex: Arc<Duplex>,
    pub(crate) process: Arc<Process>,
}

/// Starts the process. Must be called within the runtime.
pub(crate) fn start(
    spec: &BackendSpec,
    launch: &Launch<'_>,
    context: &BackendContext,
    role: Role,
    changes: broadcast::Sender<BackendChange>,
) -> Result<StdioLink, ConnectError> {
    let (process, stdin, stdout) = Process::start(&spec.id, launch, context.watcher.as_ref(), &context.tasks)?;
    let process = Arc::new(process);
    let (pipe, queue) = mpsc::channel(QUEUE);
    let duplex = Duplex::new(
        spec.id.clone(),
        context.host_info.clone(),
        Outbox::Pipe(pipe),
        Audience::new(role, context.input_timeout),
        changes,
        context.tasks.clone(),
        spec.reply_limit,
    );
    context.tasks.spawn(write_messages(stdin, queue, duplex.clone()));
    context.tasks.spawn(read_until_the_end(stdout, duplex.clone(), process.clone(), spec.reply_limit));
    Ok(StdioLink { duplex, process })
}

/// Finds out what the backend speaks and introduces the host.
///
/// - `known`: its era, when it was found out before; else it is probed
pub(crate) async fn shake_hands(
    link: &StdioLink,
    known: Option<Era>,
    host_info: &RawJson,
    patience: Duration,
) -> Result<BackendInfo, HandshakeError> {
    if known != Some(Era::Legacy) {
        let silence = if known.is_none() { PROBE_PATIENCE.min(patience) } else { patience };
        match link
            .duplex
            .ask_modern(handshake::DISCOVER, Object::default(), silence)
            .await
            .map(|r| handshake::read_discover(&r))
        {
            Ok(Probe::Modern(info)) => return Ok(info),
            Ok(Probe::Foreign(why)) => return Err(HandshakeError::Refused(why)),
            Ok(Probe::Legacy) => {}
            Err(CallError::Timeout { .. }) if known.is_none() => {
                debug!("no answer to the probe: taken for a legacy server");
            }
            Err(_) if link.process.has_exited() || link.duplex.closed().is_cancelled() => {
                return Err(HandshakeError::Died { at: handshake::DISCOVER });
            }
            Err(error) => return Err(HandshakeError::Call(error)),
        }
    }
    let params = handshake::initialize_params(&link.duplex.audience().role.capabilities(), host_info);
    match link.duplex.ask(handshake::INITIALIZE, &params, patience).await {
        Ok(reply) => {
            let info = handshake::read_initialize(&reply).map_err(HandshakeError::Refused)?;
            link.duplex.begin(handshake::INITIALIZED).await.map_err(HandshakeError::Call)?;
            Ok(info)
        }
        Err(CallError::ConnectionLost { .. }) => Err(HandshakeError::Died { at: handshake::INITIALIZE }),
        Err(error) => Err(HandshakeError::Call(error)),
    }
}

/// Why the first words with a process came to nothing.
pub(crate) enum HandshakeError {
    /// The process ended, or closed its output, before it answered this.
    Died {
        at: &'static str,
    },
    Refused(String),
    Call(CallError),
}

/// Writes messages as they come, several at a time under load.
async fn write_messages(mut stdin: ChildStdin, mut queue: mpsc::Receiver<Bytes>, duplex: Arc<Duplex>) {
    let mut batch = Vec::with_capacity(QUEUE);
    let mut buffer = BytesMut::new();
    loop {
        let count = tokio::select! {
            biased;
            () = duplex.closed().cancelled() => return,
            count = queue.recv_many(&mut batch, QUEUE) => count,
        };
        if count == 0 {
            return;
        }
        let writing = async {
            for message in batch.drain(..) {
                put_line(&message, &mut buffer);
                if buffer.len() > BATCHED {
                    stdin.write_all(&buffer.split()).await?;
                }
            }
            if !buffer.is_empty() {
                stdin.write_all(&buffer.split()).await?;
            }
            stdin.flush().await
        };
        tokio::select! {
            biased;
            () = duplex.closed().cancelled() => return,
            written = writing => if let Err(error) = written {
                // The reading side sees the end of the process and knows more about it.
                debug!(%error, "cannot write to the process");
                return;
            }
        }
    }
}

/// Appends `message` as one line. A line break in JSON text is only ever space between tokens.
fn put_line(message: &[u8], buffer: &mut BytesMut) {
    buffer.reserve(message.len() + 1);
    let from = buffer.len();
    buffer.extend_from_slice(message);
    let mut at = from;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &buffer[at..]) {
        at += found;
        buffer[at] = b' ';
    }
    buffer.extend_from_slice(b"\n");
}

/// Reads until the process or its output ends, then closes the connection.
async fn read_until_the_end(stdout: ChildStdout, duplex: Arc<Duplex>, process: Arc<Process>, limit: usize) {
    let reading = read_messages(LineReader::new(stdout, limit), &duplex);
    tokio::pin!(reading);
    let why = tokio::select! {
        biased;
        () = duplex.closed().cancelled() => return,
        how = process.exited() => {
            // A process may answer and end at once: its last words are in the pipe.
            drop(timeout(LAST_REPLIES, &mut reading).await);
            format!("the process {how}")
        }
        why = &mut reading => after_output(why, process.exited()).await,
    };
    info!(target: "backend", backend = %duplex.backend(), "{why}");
    duplex.close(why);
    process.end(AFTER_OUTPUT);
}

/// Mostly the output closes because the process ends: then that is the reason.
async fn after_output(why: String, exited: impl Future<Output = String>) -> String {
    match timeout(LAST_REPLIES, exited).await {
        Ok(how) => format!("the process {how}"),
        Err(_) => why,
    }
}

/// Reads messages until none can come any more, and says why.
async fn read_messages(mut lines: LineReader<ChildStdout>, duplex: &Arc<Duplex>) -> String {
    loop {
        match lines.next().await {
            Ok(Some(Line::Whole(line))) => {
                let is_blank = line.iter().all(u8::is_ascii_whitespace);
                if !is_blank && !duplex.accept(line.clone()).await {
                    let text = String::from_utf8_lossy(&line[..line.len().min(500)]);
                    duplex.complain(&format!("standard output that is no JSON: {}", text.trim_end()));
                }
            }
            Ok(Some(Line::TooLong(skipped))) => {
                if !duplex.skip(&skipped) {
                    return "the process sent a message that is too long and answers no known call".to_owned();
                }
            }
            Ok(None) => return "the process closed its output".to_owned(),
            Err(error) => return format!("cannot read from the process: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_space_it_contains() {
        let mut buffer = BytesMut::new();
        put_line(b"{\"a\":\r\n 1}", &mut buffer);
        put_line(b"{}", &mut buffer);
        assert_eq!(&buffer[..], b"{\"a\":   1}\n{}\n");
    }
}
