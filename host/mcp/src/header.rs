//! The HTTP headers of the protocol and the encoding of values that a header cannot hold as they are.

pub const SESSION_ID: &str = "mcp-session-id";
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
pub const METHOD: &str = "mcp-method";
pub const NAME: &str = "mcp-name";
/// Prefix of the headers that mirror annotated arguments.
pub const PARAM_PREFIX: &str = "mcp-param-";

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// The parameter that the `Mcp-Name` header of a modern request to `method` mirrors.
pub fn named_param(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// `value` as a header value: itself where it is visible ASCII without outer spaces, else base64 between sentinels.
pub fn encode(value: &str) -> String {
    let plain = value.bytes().all(|b| (0x20..0x7f).contains(&b)) && value.trim() == value && !value.starts_with(OPEN);
    if plain { value.to_owned() } else { format!("{OPEN}{}{CLOSE}", base64_encode(value.as_bytes())) }
}

/// The value that `header` stands for; `None` when its base64 is broken.
pub fn decode(header: &str) -> Option<String> {
    match header.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) {
        Some(encoded) => String::from_utf8(base64_decode(encoded)?).ok(),
        None => Some(header.to_owned()),
    }
}

fn base64_encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_header() {
        let check = |value: &str, header: &str| {
            assert_eq!(encode(value), header, "{value:?}");
            assert_eq!(decode(header).as_deref(), Some(value), "{header:?}");
        };
        check("search", "search");
        check("file:///a b", "file:///a b");
        check("é", "=?base64?w6k=?=");
        check(" x", "=?base64?IHg=?=");
        check("a\nb", "=?base64?YQpi?=");
        check("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?=");
        assert_eq!(decode("=?base64?***?="), None);
    }
}
