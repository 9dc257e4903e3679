//! One thread does all work on the database, in the order in which it was given. What waits is done together, in one
//! transaction: many runs then share the wait for the disk.

use std::{
    collections::HashSet,
    sync::{Arc, mpsc},
    thread,
};

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::error;
use vmcp_core::{journal::RunId, with_cause};
use vmcp_store::{
    Database,
    rusqlite::{self, Transaction},
};

use crate::runs::RunStoreError;

/// Most pieces of work in one transaction.
const MAX_BATCH: usize = 512;

/// How often a transaction is begun anew that could not begin, each time for as long as a busy file is waited for.
const MAX_ATTEMPTS: u32 = 3;

/// Where work is given.
pub(super) struct Writer(mpsc::Sender<Work>);

/// What is said once the transaction is over.
type Then = Box<dyn FnOnce(Result<(), RunStoreError>) + Send>;
type Do = Box<dyn FnOnce(&Transaction<'_>) -> rusqlite::Result<Option<Then>> + Send>;

enum Work {
    /// What cannot be written makes the run, of which something is missing then, unusable.
    Write(RunId, Do),
    Read(Do),
    Settle(RunId, oneshot::Sender<Result<(), RunStoreError>>),
}

impl Work {
    /// The run that is unusable if this is lost.
    fn touches(&self) -> Option<RunId> {
        match self {
            Self::Write(run, _) => Some(*run),
            Self::Read(_) | Self::Settle(..) => None,
        }
    }
}

impl Writer {
    pub(super) fn start(database: Database) -> std::io::Result<Self> {
        let (sender, work) = mpsc::channel();
        thread::Builder::new().name("runs".into()).spawn(move || write(&database, &work))?;
        Ok(Self(sender))
    }

    /// Writes something of `run`.
    pub(super) fn write(
        &self,
        run: RunId,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.give(Work::Write(run, Box::new(|transaction| write(transaction).map(|()| None))));
    }

    /// Reads or writes, and waits for it.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, RunStoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, RunStoreError>> {
        let (answer, answered) = oneshot::channel();
        self.give(Work::Read(Box::new(|transaction| {
            let (value, failed) = match ask(transaction) {
                Ok(value) => (value, None),
                Err(error) => (Err(unusable(&error)), Some(error)),
            };
            let then: Then = Box::new(move |committed| _ = answer.send(committed.and(value)));
            match failed {
                // A busy or full database shows here too.
                Some(error) => {
                    then(Err(unusable(&error)));
                    Err(error)
                }
                None => Ok(Some(then)),
            }
        })));
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(gone())) })
    }

    /// Returns once all that was written of `run` is in the file.
    pub(super) fn settled(&self, run: RunId) -> BoxFuture<'static, Result<(), RunStoreError>> {
        let (sender, settled) = oneshot::channel();
        self.give(Work::Settle(run, sender));
        Box::pin(async move { settled.await.unwrap_or_else(|_| Err(gone())) })
    }

    fn give(&self, work: Work) {
        // Only a panic ends the thread, which whoever waits for an answer is told.
        let _ = self.0.send(work);
    }
}

fn write(database: &Database, work: &mpsc::Receiver<Work>) {
    // Runs of which something is missing, in the order of their failures, and why.
    let mut broken: HashSet<RunId> = HashSet::new();
    while let Ok(first) = work.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(work.try_iter().take(MAX_BATCH)).collect();
        let touched: Vec<_> = batch.iter().filter_map(Work::touches).collect();
        let mut told = Vec::<(Option<RunId>, Then)>::new();
        let mut failed = Vec::new();
        let mut batch = Some(batch);
        let mut attempts = 0;
        let committed = loop {
            attempts += 1;
            let committed = database.write(|transaction| {
                for work in batch.take().into_iter().flatten() {
                    match work {
                        Work::Write(run, write) => {
                            if let Err(error) = write(transaction) {
                                error!(%run, error = with_cause(&error), "a run cannot be kept");
                                failed.push(run);
                            }
                        }
                        Work::Read(read) => match read(transaction) {
                            Ok(then) => told.extend(then.map(|then| (None, then))),
                            Err(error) => error!(error = with_cause(&error), "runs cannot be read"),
                        },
                        Work::Settle(run, sender) => {
                            told.push((Some(run), Box::new(move |result| _ = sender.send(result))));
                        }
                    }
                }
                Ok(())
            });
            // Another process keeps the file: nothing was begun, so all of it can be tried again.
            if !(committed.is_err() && batch.is_some() && attempts < MAX_ATTEMPTS) {
                break committed;
            }
        };
        let committed = committed.map_err(|error| {
            error!(error = with_cause(&error), "runs cannot be kept");
            failed.extend(touched);
            RunStoreError::Unusable(with_cause(&error).into())
        });
        broken.extend(failed);
        for (run, then) in told {
            let is_broken = run.is_some_and(|run| broken.contains(&run));
            then(if is_broken { Err(incomplete()) } else { committed.clone() });
        }
    }
}

pub(super) fn unusable(error: &rusqlite::Error) -> RunStoreError {
    RunStoreError::Unusable(with_cause(error).into())
}

fn incomplete() -> RunStoreError {
    RunStoreError::Unusable("something of this run could not be written".into())
}

fn gone() -> RunStoreError {
    RunStoreError::Unusable(Arc::from("the thread that writes them has ended"))
}
