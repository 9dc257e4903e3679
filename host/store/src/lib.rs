//! Unstable. SQLite files: opened, migrated, locked, and moved aside where they are broken or somebody else's.
//!
//! The only crate that depends on rusqlite; what its users need of it comes from here. All calls block: from async code they
//! belong on a blocking thread.

mod database;
mod error;
mod file;

pub use database::{Database, Format, Location, Opened};
pub use error::StoreError;
pub use rusqlite;
