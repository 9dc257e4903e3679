//! The stdio front: newline-delimited messages over any pair of byte streams. It serves the process's own stdin and stdout
//! for a client that started the host, and each connection to the host's socket.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    sync::mpsc,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmcp_gateway::Gateway;
use vmcp_mcp::error::{INVALID_REQUEST, RpcError};

use crate::{
    connection::{Connection, ConnectionOptions},
    reply, sse,
};

/// What a stream may do.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Longest message from the client, in bytes.
    pub message_limit: usize,
    /// Whether the methods of `admin` are answered.
    pub admin: bool,
    /// Longest wait for requests under way once the client has closed its side.
    pub grace: Duration,
}

/// Serves one client until it closes its side or `shutdown` fires. Requests under way at the client's end are finished
/// before this returns.
pub async fn serve(
    gateway: Arc<Gateway>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    options: StreamOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let StreamOptions { message_limit, admin, grace } = options;
    let (connection, queue) = Connection::open(gateway, ConnectionOptions { admin, modern: true, patience: None });
    let writing = TaskTracker::new().spawn(write_all(queue, writer, connection.closed.clone()));
    let read = tokio::select! {
        read = Box::pin(read_all(&connection, BufReader::new(reader), message_limit)) => read,
        () = shutdown.cancelled() => Ok(()),
        () = connection.closed.cancelled() => Ok(()),
    };
    connection.finish(grace).await;
    drop(connection);
    // A client that does not read cannot be told.
    let _ = time::timeout(grace, writing).await;
    read
}

async fn write_all(mut queue: mpsc::Receiver<Bytes>, mut writer: impl AsyncWrite + Unpin, closed: CancellationToken) {
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => message,
            () = closed.cancelled() => queue.try_recv().ok(),
        };
        let Some(message) = message else { return };
        let mut line = sse::one_line(&message).into_owned();
        line.push(b'\n');
        if writer.write_all(&line).await.is_err() || writer.flush().await.is_err() {
            // The client is gone: nobody waits for its requests any more.
            closed.cancel();
            return;
        }
    }
}

async fn read_all(
    connection: &Arc<Connection>,
    mut reader: impl AsyncBufRead + Unpin,
    message_limit: usize,
) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(message_limit as u64 + 1).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(());
        }
        if line.len() > message_limit && line.last() != Some(&b'\n') {
            let error = RpcError::new(
                INVALID_REQUEST,
                format!("the message is longer than {message_limit} bytes (`server.bodyLimit`)"),
            );
            connection.send(reply::error_message(None, &error)).await;
            skip_line(&mut reader).await?;
            continue;
        }
        if !line.trim_ascii().is_empty() {
            connection.take(&line.into()).await;
        }
    }
}

async fn skip_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf().await?;
        let (used, done) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(used);
        if done {
            return Ok(());
        }
    }
}
