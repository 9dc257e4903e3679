//! Legacy client, legacy backend: replies and requests of the backend cross as they are; ids and progress tokens are
//! those of the hop, and given by the connections.

use vmcp_core::json::RawJson;

use super::capability;

/// What the backend is told that the client can be asked.
pub fn capabilities(of_client: &RawJson) -> RawJson {
    capability::canonical(of_client, |_| true)
}
