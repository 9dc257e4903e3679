//! Names of WIT interfaces with versions, and which versions stand for each other.

use std::fmt;

/// E.g. `vmcp:host/log@0.1.0`, split at `/` and `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceName<'a> {
    /// E.g. `vmcp:host`.
    pub(crate) package: &'a str,
    /// E.g. `log`.
    pub(crate) interface: &'a str,
    /// E.g. `0.1.0`.
    pub(crate) version: Option<&'a str>,
}

impl<'a> InterfaceName<'a> {
    /// `None` when `name` is a plain name such as `run`.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (path, version) = match name.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (name, None),
        };
        let (package, interface) = path.split_once('/')?;
        package.contains(':').then_some(Self { package, interface, version })
    }

    /// The name without its version.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.package, self.interface)
    }

    pub(crate) fn same_path(&self, other: &InterfaceName<'_>) -> bool {
        self.package == other.package && self.interface == other.interface
    }

    /// Whether the same interface, and one version may stand for the other as the linker sees it: equal major version,
    /// equal minor version below 1.0, equal patch version below 0.1.
    pub(crate) fn is_compatible(&self, other: &InterfaceName<'_>) -> bool {
        self.same_path(other)
            && (self.version == other.version
                || matches!((track(self.version), track(other.version)), (Some(one), Some(two)) if one == two))
    }
}

impl fmt::Display for InterfaceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.interface)?;
        match self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// What all compatible versions have in common; `None` for a pre-release, which is compatible with itself only.
fn track(version: Option<&str>) -> Option<[u64; 3]> {
    let release = version?.split('+').next()?;
    let mut parts = release.split('.').map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    match (parts.next(), major, minor) {
        (Some(_), ..) => None,
        (None, 0, 0) => Some([0, 0, patch]),
        (None, 0, _) => Some([0, minor, 0]),
        (None, ..) => Some([major, 0, 0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_below_one_and_minors_above_are_compatible() {
        let check = |one: &str, two: &str, expected: bool| {
            let (one, two) = (InterfaceName::parse(one).unwrap(), InterfaceName::parse(two).unwrap());
            assert_eq!(one.is_compatible(&two), expected, "{one} and {two}");
            assert_eq!(two.is_compatible(&one), expected, "{two} and {one}");
        };
        check("a:b/c@0.1.0", "a:b/c@0.1.3", true);
        check("a:b/c@0.1.0", "a:b/c@0.2.0", false);
        check("a:b/c@1.0.0", "a:b/c@1.7.2", true);
        check("a:b/c@1.0.0", "a:b/c@2.0.0", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.2", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.1", true);
        check("a:b/c@0.1.0-rc1", "a:b/c@0.1.0", false);
        check("a:b/c@0.1.0-rc1", "a:b/c@0.1.0-rc1", true);
        check("a:b/c@0.1.0+one", "a:b/c@0.1.2", true);
        check("a:b/c", "a:b/c", true);
        check("a:b/c", "a:b/c@0.1.0", false);
        check("a:b/c@0.1.0", "a:b/d@0.1.0", false);
        check("a:b/c@0.1.0", "a:x/c@0.1.0", false);
    }

    #[test]
    fn only_names_with_package_and_interface_are_interfaces() {
        let check = |name: &str, expected: Option<(&str, &str, Option<&str>)>| {
            let parsed = InterfaceName::parse(name);
            assert_eq!(parsed.map(|parsed| (parsed.package, parsed.interface, parsed.version)), expected, "{name}");
        };
        check("wasi:clocks/monotonic-clock@0.2.6", Some(("wasi:clocks", "monotonic-clock", Some("0.2.6"))));
        check("a:b/c", Some(("a:b", "c", None)));
        check("run", None);
        check("b/c", None);
    }
}
