//! The revisions of the protocol and the two eras they fall into.

use std::fmt;

/// How requests carry their context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// 2024-11-05 to 2025-11-25: `initialize` first, then a session.
    Legacy,
    /// 2026-07-28: no handshake, every request carries its context in `_meta`.
    Modern,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        })
    }
}

/// A published revision that the host speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Revision {
    /// Oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// The newest with a handshake: what `initialize` offers.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// The newest without.
    pub const LATEST_MODERN: Self = Self::V2026_07_28;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 { Era::Modern } else { Era::Legacy }
    }

    /// What a server answers to an `initialize` that asks for `wanted`: the same if it speaks it, else its newest.
    pub fn negotiate(wanted: &str) -> Self {
        Self::parse(wanted).filter(|revision| revision.era() == Era::Legacy).unwrap_or(Self::LATEST_LEGACY)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_is_answered_with_a_revision_that_has_a_handshake() {
        let check = |wanted, expected| assert_eq!(Revision::negotiate(wanted), expected, "{wanted}");
        check("2024-11-05", Revision::V2024_11_05);
        check("2025-11-25", Revision::V2025_11_25);
        check("2026-07-28", Revision::V2025_11_25);
        check("1999-01-01", Revision::V2025_11_25);
    }
}
