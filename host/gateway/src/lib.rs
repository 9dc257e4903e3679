//! Unstable. Many servers as one, without a socket: discovers what the backends offer, has their names decided, keeps the
//! current catalog, and leads each request of a client to the backend that answers it.

pub mod aggregator;
pub mod authored;
pub mod definition;
pub mod discovery;
pub mod gateway;
pub mod last_seen;
pub mod params;
pub mod question;
pub mod router;
pub mod rules;
pub mod runs;
pub mod seal;
pub mod session;
pub mod tool_search;
pub mod uri;

mod ability;
mod admission;
mod composite;
mod forward;
mod legacy_task;
mod live;
mod mirror;
mod parked;
mod refresh;
mod seat;
mod subscriptions;
mod task;

pub use gateway::{Gateway, GatewayEvent, GatewayOptions};
pub use subscriptions::Watch;
