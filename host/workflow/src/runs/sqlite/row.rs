//! Runs as rows.

use std::sync::Arc;

use vmcp_core::{journal::RunId, json::RawJson, workflow::WorkflowSource};
use vmcp_store::rusqlite::{
    OptionalExtension as _, Result, Row, Transaction,
    types::{FromSqlError, Type},
};

use crate::runs::{RunHead, RunRecord, RunState, RunStream, TimedEvent};

const STATES: [(RunState, &str); 5] = [
    (RunState::Running, "running"),
    (RunState::Waiting, "waiting"),
    (RunState::Completed, "completed"),
    (RunState::Failed, "failed"),
    (RunState::Cancelled, "cancelled"),
];
const COLUMNS: &str =
    "run.id, root, parent, parent_call, tool, owner, arguments, client, began, changed, state, result,
    stream, request, source.component, source.config, source.document,
    (SELECT count(*) FROM event WHERE event.run = run.id)";

pub(super) fn state(state: RunState) -> &'static str {
    STATES.iter().find(|(known, _)| *known == state).map_or("running", |(_, name)| name)
}

/// A count or a time, none of which comes near the end of SQLite's numbers.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A number all of whose bits count.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn find(transaction: &Transaction<'_>, run: RunId) -> Result<Option<RunRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM run JOIN source ON source.digest = run.source WHERE run.id = ?1");
    transaction.prepare_cached(&sql)?.query_row([run.0], record).optional()
}

pub(super) fn with_events(transaction: &Transaction<'_>, run: RunId) -> Result<Option<RunRecord>> {
    let Some(mut record) = find(transaction, run)? else { return Ok(None) };
    record.events = events(transaction, run)?;
    Ok(Some(record))
}

pub(super) fn all(transaction: &Transaction<'_>) -> Result<Vec<RunRecord>> {
    let sql =
        format!("SELECT {COLUMNS} FROM run JOIN source ON source.digest = run.source ORDER BY began DESC, run.id");
    transaction.prepare_cached(&sql)?.query_map([], record)?.collect()
}

pub(super) fn events(transaction: &Transaction<'_>, run: RunId) -> Result<Vec<TimedEvent>> {
    let mut select = transaction.prepare_cached("SELECT at, event FROM event WHERE run = ?1 ORDER BY number")?;
    let events = select
        .query_map([run.0], |row| Ok(TimedEvent { at: unsigned(row.get(0)?), event: read(&json(row, 1)?, 1)? }))?;
    events.collect()
}

fn record(row: &Row<'_>) -> Result<RunRecord> {
    let parent: Option<[u8; 16]> = row.get(2)?;
    let call: Option<i64> = row.get(3)?;
    let named: String = row.get(10)?;
    let state = STATES.iter().find(|(_, name)| *name == named).map(|(state, _)| *state);
    let stream: Option<i64> = row.get(12)?;
    let stream = match stream {
        Some(number) => Some(RunStream { number: number.cast_unsigned(), request: json(row, 13)? }),
        None => None,
    };
    let text = |column: usize| row.get::<_, String>(column).map(Arc::<str>::from);
    let head = RunHead {
        id: RunId(row.get(0)?),
        root: RunId(row.get(1)?),
        parent: parent.zip(call).map(|(parent, call)| (RunId(parent), unsigned(call))),
        tool: text(4)?,
        owner: row.get(5)?,
        arguments: json(row, 6)?,
        client: read(&json(row, 7)?, 7)?,
        began: unsigned(row.get(8)?),
        source: WorkflowSource {
            component: text(14)?,
            config: text(15)?,
            document: row.get::<_, Option<String>>(16)?.map(Into::into),
        },
    };
    let result: Option<String> = row.get(11)?;
    Ok(RunRecord {
        head: Arc::new(head),
        state: state.ok_or_else(|| wrong(10, FromSqlError::InvalidType))?,
        changed: unsigned(row.get(9)?),
        result: result.map(|_| json(row, 11)).transpose()?,
        stream,
        told: unsigned(row.get(17)?),
        events: Vec::new(),
    })
}

fn json(row: &Row<'_>, column: usize) -> Result<RawJson> {
    RawJson::parse(row.get::<_, String>(column)?).map_err(|error| wrong(column, error))
}

fn read<T: serde::de::DeserializeOwned>(json: &RawJson, column: usize) -> Result<T> {
    json.to_value().map_err(|error| wrong(column, error))
}

fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> vmcp_store::rusqlite::Error {
    vmcp_store::rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
