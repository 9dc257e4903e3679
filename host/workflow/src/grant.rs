//! Which tools a workflow may call.

use globset::{Glob, GlobSet, GlobSetBuilder};
use vmcp_core::catalog::Entry;

/// The tools that a workflow may call.
#[derive(Clone, Debug)]
pub enum ToolGrant {
    /// Those that its definition names, by whatever name it calls them.
    Declared(Vec<String>),
    /// Patterns of the configuration over `backend/original-name`.
    Patterns(GlobSet),
}

impl ToolGrant {
    /// # Errors
    /// The first pattern that cannot be read.
    pub fn patterns(patterns: &[String]) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(Glob::new(pattern)?);
        }
        Ok(Self::Patterns(set.build()?))
    }

    /// Whether it covers `tool`.
    pub fn covers(&self, tool: &Entry) -> bool {
        let (backend, original_name) = (tool.backend(), &tool.capability.original_name);
        match self {
            Self::Declared(names) => {
                let dotted = format!("{backend}.{original_name}");
                names.iter().any(|name| **name == *tool.name || *name == dotted)
            }
            Self::Patterns(patterns) => patterns.is_match(format!("{backend}/{original_name}")),
        }
    }
}
