//! Runs in a SQLite database: in memory, or in a file that several processes share.

mod holder;
mod row;
mod writer;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use serde_json::json;
use sha2::{Digest, Sha256};
use vmcp_core::{journal::RunId, json::RawJson, workflow::WorkflowSource};
use vmcp_store::{
    Database, Format, Location, StoreError,
    rusqlite::{self, OptionalExtension as _, Transaction, params},
};

use self::{holder::Holder, writer::Writer};
use crate::now;

use super::{Claim, Due, Ending, RunHead, RunRecord, RunState, RunStore, RunStoreError, RunStream, TimedEvent};

const FORMAT: Format = Format {
    // "vmcR", as its bytes.
    application_id: 0x766d_6352,
    migrations: &[include_str!("sqlite/schema.sql")],
    is_durable: true,
};

/// What the client is told of a run that its owner cancelled while nobody had it.
const CANCELLED: &str = "the run was cancelled: its owner cancelled it";
/// How long a component is kept that no run needs and no process has said to have.
const COMPONENT_KEPT: Duration = Duration::from_hours(24);

/// How long runs are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// A run that nobody came back to for so long fails; a week.
    pub lifetime: Duration,
    /// How long a run can be looked at after its end; an hour.
    pub kept: Duration,
    /// Outermost runs that wait at a time; 10,000.
    pub waiting: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { lifetime: Duration::from_hours(7 * 24), kept: Duration::from_hours(1), waiting: 10_000 }
    }
}

/// See the module.
pub struct SqliteRuns {
    writer: Writer,
    holder: Arc<Holder>,
    limits: RunLimits,
    is_durable: bool,
    /// Digests of the components that this process may begin runs of.
    components: Mutex<Vec<String>>,
}

impl SqliteRuns {
    /// Runs that end with the process.
    pub fn in_memory(limits: RunLimits) -> Result<Self, StoreError> {
        Self::open(Location::Memory, Holder::in_memory(), limits)
    }

    /// Runs in `file`, which is made if need be. Beside it lies a folder with a file per process that uses it.
    pub fn in_file(file: PathBuf, limits: RunLimits) -> Result<Self, StoreError> {
        let mut folder = file.clone().into_os_string();
        folder.push(".holders");
        let folder = PathBuf::from(folder);
        let holder = Holder::register(folder.clone()).map_err(|source| StoreError::File {
            action: "register in",
            path: folder,
            source,
        })?;
        Self::open(Location::File(file), holder, limits)
    }

    fn open(location: Location, holder: Holder, limits: RunLimits) -> Result<Self, StoreError> {
        let is_durable = location != Location::Memory;
        let opened = Database::open(location, &FORMAT)?;
        let writer = Writer::start(opened.database).map_err(|source| StoreError::File {
            action: "start the thread that writes",
            path: PathBuf::from("runs"),
            source,
        })?;
        Ok(Self { writer, holder: Arc::new(holder), limits, is_durable, components: Mutex::default() })
    }
}

impl RunStore for SqliteRuns {
    fn is_durable(&self) -> bool {
        self.is_durable
    }

    fn begin(&self, run: &Arc<RunHead>) {
        let (run, holder) = (run.clone(), self.holder.clone());
        self.writer.write(run.id, move |transaction| insert(transaction, &run, RunState::Running, Some(&holder.name)));
    }

    fn append(&self, run: RunId, first: u64, events: Vec<TimedEvent>) {
        self.writer.write(run, move |transaction| {
            let sql = "INSERT INTO event (run, number, at, event) VALUES (?1, ?2, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (number, TimedEvent { at, event }) in (first..).zip(events) {
                insert.execute(params![run.0, row::number(number), row::number(at), RawJson::of(&event).as_str()])?;
            }
            Ok(())
        });
    }

    fn settled(&self, run: RunId) -> BoxFuture<'static, Result<(), RunStoreError>> {
        self.writer.settled(run)
    }

    fn rest(&self, run: RunId, wake: Option<u64>) -> BoxFuture<'static, Result<(), RunStoreError>> {
        let most = self.limits.waiting;
        let resting = self.writer.ask(move |transaction| {
            let sql = "SELECT count(*) FROM run WHERE state = 'waiting' AND parent IS NULL AND id <> ?1";
            let waiting: i64 = transaction.prepare_cached(sql)?.query_row([run.0], |row| row.get(0))?;
            if row::unsigned(waiting) >= most {
                return Ok(Err(RunStoreError::Full(most)));
            }
            let sql = "UPDATE run SET state = 'waiting', wake = ?2, changed = ?3
                       WHERE id = ?1 AND state IN ('running', 'waiting')";
            let mut update = transaction.prepare_cached(sql)?;
            match update.execute(params![run.0, wake.map(row::number), row::number(now())])? {
                0 => Ok(Err(RunStoreError::Unusable("it has ended".into()))),
                _ => Ok(Ok(())),
            }
        });
        let settled = self.writer.settled(run);
        Box::pin(async move {
            resting.await?;
            settled.await
        })
    }

    fn wake(&self, run: RunId) {
        self.writer.write(run, move |transaction| {
            let sql = "UPDATE run SET state = 'running', wake = NULL, changed = ?2
                       WHERE id = ?1 AND state IN ('running', 'waiting')";
            transaction.prepare_cached(sql)?.execute(params![run.0, row::number(now())]).map(drop)
        });
    }

    fn release(&self, root: RunId) {
        self.writer.write(root, move |transaction| {
            transaction.prepare_cached("UPDATE run SET holder = NULL WHERE id = ?1")?.execute([root.0]).map(drop)
        });
    }

    fn end(&self, run: &Arc<RunHead>, ending: Ending, result: RawJson) {
        let run = run.clone();
        self.writer.write(run.id, move |transaction| {
            let state = RunState::from(ending);
            let sql = "UPDATE run SET state = ?2, result = ?3, changed = ?4, holder = NULL, wake = NULL
                       WHERE id = ?1 AND state IN ('running', 'waiting')";
            let mut update = transaction.prepare_cached(sql)?;
            let changed = row::number(now());
            if update.execute(params![run.id.0, row::state(state), result.as_str(), changed])? == 0 {
                // One that never rested may not have been written yet.
                insert(transaction, &run, state, None)?;
                let sql = "UPDATE run SET result = ?2 WHERE id = ?1 AND result IS NULL";
                transaction.prepare_cached(sql)?.execute(params![run.id.0, result.as_str()])?;
            }
            if run.id == run.root {
                let sql = "UPDATE run SET state = 'cancelled', changed = ?2, wake = NULL
                           WHERE root = ?1 AND id <> ?1 AND state IN ('running', 'waiting')";
                transaction.prepare_cached(sql)?.execute(params![run.id.0, changed])?;
            }
            Ok(())
        });
    }

    fn give_up_child(&self, parent: RunId, call: u64) {
        self.writer.write(parent, move |transaction| {
            let sql = "UPDATE run SET state = 'cancelled', changed = ?3, wake = NULL
                       WHERE parent = ?1 AND parent_call = ?2 AND state IN ('running', 'waiting')";
            let changed = row::number(now());
            transaction.prepare_cached(sql)?.execute(params![parent.0, row::number(call), changed]).map(drop)
        });
    }

    fn note_stream(&self, run: RunId, stream: RunStream) {
        self.writer.write(run, move |transaction| {
            let RunStream { number, request } = stream;
            let sql = "UPDATE run SET stream = ?2, request = ?3 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute(params![run.0, row::bits(number), request.as_str()]).map(drop)
        });
    }

    fn claim(&self, root: RunId) -> BoxFuture<'static, Result<Claim, RunStoreError>> {
        let holder = self.holder.clone();
        self.writer.ask(move |transaction| {
            let Some(mut record) = row::find(transaction, root)?.filter(|record| record.head.root == root) else {
                return Ok(Ok(Claim::Unknown));
            };
            if record.state.has_ended() {
                return Ok(Ok(Claim::Ended(Box::new(record))));
            }
            let sql = "SELECT holder, cancel FROM run WHERE id = ?1";
            let (held, cancel): (Option<String>, bool) =
                transaction.prepare_cached(sql)?.query_row([root.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if held.is_some_and(|name| holder.is_alive(&name)) {
                return Ok(Ok(Claim::Held));
            }
            if cancel {
                let result = json!({ "content": [{ "type": "text", "text": CANCELLED }], "isError": true }).to_string();
                let sql = "UPDATE run SET state = 'cancelled', result = ?2, changed = ?3, wake = NULL
                           WHERE root = ?1 AND state IN ('running', 'waiting')";
                transaction.prepare_cached(sql)?.execute(params![root.0, result, row::number(now())])?;
                let ended = row::find(transaction, root)?;
                return Ok(Ok(ended.map_or(Claim::Unknown, |record| Claim::Ended(Box::new(record)))));
            }
            let sql = "UPDATE run SET holder = ?2, state = 'running', wake = NULL, changed = ?3 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute(params![root.0, holder.name, row::number(now())])?;
            record.events = row::events(transaction, root)?;
            Ok(Ok(Claim::Taken(Box::new(record))))
        })
    }

    fn events(&self, run: RunId) -> BoxFuture<'static, Result<Vec<TimedEvent>, RunStoreError>> {
        self.writer.ask(move |transaction| row::events(transaction, run).map(Ok))
    }

    fn child(&self, parent: RunId, call: u64) -> BoxFuture<'static, Result<Option<RunRecord>, RunStoreError>> {
        self.writer.ask(move |transaction| {
            let sql = "SELECT id FROM run WHERE parent = ?1 AND parent_call = ?2";
            let mut select = transaction.prepare_cached(sql)?;
            let id = select.query_row(params![parent.0, row::number(call)], |row| row.get(0)).optional()?;
            id.map(|id| row::with_events(transaction, RunId(id))).transpose().map(|found| Ok(found.flatten()))
        })
    }

    fn due(&self, now: u64) -> BoxFuture<'static, Result<Due, RunStoreError>> {
        let holder = self.holder.clone();
        self.writer.ask(move |transaction| {
            let sql = "SELECT DISTINCT outermost.id, outermost.holder FROM run JOIN run AS outermost
                       ON outermost.id = run.root
                       WHERE run.state IN ('running', 'waiting') AND outermost.state IN ('running', 'waiting')
                       AND (run.wake <= ?1 OR outermost.cancel = 1 OR (run.state = 'running'
                            AND (outermost.state = 'running' OR outermost.holder IS NOT NULL)))";
            let mut select = transaction.prepare_cached(sql)?;
            let rows = select.query_map([row::number(now)], |row| Ok((RunId(row.get(0)?), row.get(1)?)))?;
            let rows: Vec<(RunId, Option<String>)> = rows.collect::<rusqlite::Result<_>>()?;
            let is_free = |held: &Option<String>| !held.as_ref().is_some_and(|name| holder.is_alive(name));
            let runs = rows.into_iter().filter(|(_, held)| is_free(held)).map(|(id, _)| id).collect();
            let sql = "SELECT min(wake) FROM run WHERE state = 'waiting' AND wake > ?1";
            let next: Option<i64> = transaction.prepare_cached(sql)?.query_row([row::number(now)], |row| row.get(0))?;
            Ok(Ok(Due { runs, next: next.map(row::unsigned) }))
        })
    }

    fn of_session(&self, session: &str) -> BoxFuture<'static, Result<Vec<RunRecord>, RunStoreError>> {
        let session = session.to_owned();
        self.writer.ask(move |transaction| {
            let mut select = transaction.prepare_cached("SELECT id FROM run WHERE session = ?1")?;
            let ids: Vec<[u8; 16]> =
                select.query_map([&session], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            let found: Vec<_> = ids
                .into_iter()
                .map(|id| row::with_events(transaction, RunId(id)))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(Ok(found.into_iter().flatten().collect()))
        })
    }

    fn list(&self) -> BoxFuture<'static, Result<Vec<RunRecord>, RunStoreError>> {
        self.writer.ask(|transaction| row::all(transaction).map(Ok))
    }

    fn find(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunRecord>, RunStoreError>> {
        self.writer.ask(move |transaction| row::with_events(transaction, run).map(Ok))
    }

    fn ask_to_cancel(&self, root: RunId) {
        self.writer.write(root, move |transaction| {
            transaction.prepare_cached("UPDATE run SET cancel = 1 WHERE id = ?1")?.execute([root.0]).map(drop)
        });
    }

    fn to_cancel(&self) -> BoxFuture<'static, Result<Vec<RunId>, RunStoreError>> {
        let holder = self.holder.clone();
        self.writer.ask(move |transaction| {
            let sql = "SELECT id FROM run WHERE state IN ('running', 'waiting') AND cancel = 1 AND holder = ?1";
            let mut select = transaction.prepare_cached(sql)?;
            let ids = select.query_map([&holder.name], |row| Ok(RunId(row.get(0)?)))?;
            ids.collect::<rusqlite::Result<_>>().map(Ok)
        })
    }

    fn keep_component(&self, digest: &str, bytes: &[u8]) {
        if !self.is_durable {
            return;
        }
        self.components.lock().unwrap_or_else(PoisonError::into_inner).push(digest.to_owned());
        let (digest, bytes) = (digest.to_owned(), bytes.to_owned());
        drop(self.writer.ask(move |transaction| {
            let sql = "INSERT INTO component (digest, seen, bytes) VALUES (?1, ?2, ?3)
                       ON CONFLICT (digest) DO UPDATE SET seen = excluded.seen";
            transaction.execute(sql, params![digest, row::number(now()), bytes]).map(|_| Ok(()))
        }));
    }

    fn component(&self, digest: &str) -> BoxFuture<'static, Result<Option<Vec<u8>>, RunStoreError>> {
        let digest = digest.to_owned();
        self.writer.ask(move |transaction| {
            let mut select = transaction.prepare_cached("SELECT bytes FROM component WHERE digest = ?1")?;
            select.query_row([&digest], |row| row.get(0)).optional().map(Ok)
        })
    }

    fn sweep(&self, now: u64) {
        let RunLimits { lifetime, kept, .. } = self.limits;
        let before =
            |time: Duration| row::number(now.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
        let (gone, ended) = (before(lifetime), before(kept));
        let message = format!("nobody came back to the run within {lifetime:?} (`runs.lifetime`)");
        let unseen = before(COMPONENT_KEPT);
        let holder = self.holder.clone();
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner).clone();
        drop(self.writer.ask(move |transaction| {
            free_the_dead(transaction, &holder)?;
            let result = json!({ "content": [{ "type": "text", "text": message }], "isError": true });
            let sql = "UPDATE run SET state = 'failed', result = ?2, changed = ?3, wake = NULL
                       WHERE state = 'waiting' AND changed < ?1 AND parent IS NULL AND holder IS NULL";
            transaction.prepare_cached(sql)?.execute(params![gone, result.to_string(), row::number(now)])?;
            let sql = "DELETE FROM run WHERE root IN (SELECT id FROM run WHERE parent IS NULL
                       AND state NOT IN ('running', 'waiting') AND changed < ?1)";
            if transaction.prepare_cached(sql)?.execute([ended])? > 0 {
                transaction.execute("DELETE FROM event WHERE run NOT IN (SELECT id FROM run)", [])?;
                transaction.execute("DELETE FROM source WHERE digest NOT IN (SELECT source FROM run)", [])?;
            }
            for digest in components {
                let sql = "UPDATE component SET seen = ?2 WHERE digest = ?1";
                transaction.prepare_cached(sql)?.execute(params![digest, row::number(now)])?;
            }
            let sql = "DELETE FROM component WHERE seen < ?1 AND digest NOT IN (SELECT component FROM source)";
            transaction.prepare_cached(sql)?.execute([unseen])?;
            Ok(Ok(()))
        }));
    }
}

/// Takes runs that wait from processes that are gone.
fn free_the_dead(transaction: &Transaction<'_>, holder: &Holder) -> rusqlite::Result<()> {
    let sql = "SELECT DISTINCT holder FROM run WHERE state = 'waiting' AND holder IS NOT NULL";
    let mut select = transaction.prepare_cached(sql)?;
    let names: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names.iter().filter(|name| !holder.is_alive(name)) {
        transaction.execute("UPDATE run SET holder = NULL WHERE state = 'waiting' AND holder = ?1", [name])?;
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, run: &RunHead, state: RunState, holder: Option<&str>) -> rusqlite::Result<()> {
    let source = digest(&run.source);
    let WorkflowSource { component, config, document } = &run.source;
    let sql = "INSERT OR IGNORE INTO source (digest, component, config, document) VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(sql)?.execute(params![source, component, config, document])?;
    let sql =
        "INSERT OR IGNORE INTO run (id, root, parent, parent_call, tool, owner, source, arguments, client, session,
               began, changed, state, holder) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    transaction.prepare_cached(sql)?.execute(params![
        run.id.0,
        run.root.0,
        run.parent.map(|(parent, _)| parent.0),
        run.parent.map(|(_, call)| row::number(call)),
        run.tool,
        run.owner,
        source,
        run.arguments.as_str(),
        RawJson::of(&run.client).as_str(),
        run.client.session,
        row::number(run.began),
        row::number(now()),
        row::state(state),
        holder.filter(|_| run.id == run.root),
    ])?;
    Ok(())
}

/// Tells sources apart.
fn digest(source: &WorkflowSource) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [&*source.component, &*source.config, source.document.as_deref().unwrap_or_default()] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests;
