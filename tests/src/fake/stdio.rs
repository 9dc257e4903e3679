//! The fake server on stdin and stdout. Plain threads, and what answers at once is answered on the reading thread, so that a
//! bench measures the host and not the fake.

use std::{
    io::{BufRead, Write},
    sync::Arc,
};

use futures::future::poll_immediate;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::server::{FakeServer, Outgoing, Outlet, notification};
use crate::era::Era;

/// Serves until EOF, and for ever when the spec says so.
pub fn serve(server: &Arc<FakeServer>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime with one thread can be built");
    let _entered = runtime.enter();
    let tasks = TaskTracker::new();
    let outlet: Outlet = Arc::new(write_line);
    if server.spec.era == Era::Legacy {
        tasks.spawn(announce_changes(Arc::clone(server), Arc::clone(&outlet)));
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let mut work = Box::pin(Arc::clone(server).handle("stdio".to_owned(), message, Arc::clone(&outlet)));
        if runtime.block_on(poll_immediate(&mut work)).is_none() {
            tasks.spawn(work);
        }
    }
    if server.spec.outlives_eof {
        runtime.block_on(std::future::pending::<()>());
    }
}

async fn announce_changes(server: Arc<FakeServer>, outlet: Outlet) {
    let mut changed = server.changed.subscribe();
    while changed.recv().await.is_ok() {
        outlet(notification("notifications/tools/list_changed", &json!({})));
    }
}

fn write_line(message: Outgoing) {
    let mut line = message.text;
    line.push('\n');
    let mut stdout = std::io::stdout().lock();
    // Nobody is left to tell when the other end is gone; EOF on stdin ends the loop.
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}
