//! Modern client, modern backend: requests for input are results, and cross as they are with the state that belongs to
//! them; the name in the retry leads to the same backend.

use vmcp_core::json::RawJson;

/// What the backend is told that the client can be asked: what the client said, byte for byte.
pub fn capabilities(of_client: &RawJson) -> RawJson {
    of_client.clone()
}
