//! What a component may import: `vmcp:host/log` always, WASI by `grants.wasi`, nothing else.
//!
//! The check is on names, before anything runs. An import without functions or resources brings types only and needs no
//! grant.

use globset::{Glob, GlobSet, GlobSetBuilder};
use wasmtime::{
    Engine,
    component::{Component, types::ComponentItem},
};

use crate::{
    error::PluginError,
    imports::{LOG, WASI, WASI_VERSION, WORKFLOW_PACKAGE, WORKFLOW_VERSION},
    interface::InterfaceName,
};

/// What the configuration allows a component beyond its world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Patterns over WASI interfaces, e.g. `wasi:clocks/*` or `wasi:random/random`; the version may be left out.
    pub wasi: Vec<String>,
}

/// What an import of a component means to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Only types: nothing to link.
    TypesOnly,
    /// Everybody may have it.
    Offered,
    /// What only workflows may have.
    Workflow,
    /// WASI, by grant.
    Wasi,
    /// The host has the interface, but another version of it.
    OtherVersion {
        offered: &'static str,
    },
    Unknown,
}

/// The imports of a component with what they mean, in the component's order.
pub(crate) fn needs(engine: &Engine, component: &Component) -> Vec<(String, Need)> {
    let component_type = component.component_type();
    let imports = component_type.imports(engine);
    imports.map(|(name, import)| (name.to_owned(), need(engine, name, &import.ty))).collect()
}

fn need(engine: &Engine, name: &str, item: &ComponentItem) -> Need {
    let ComponentItem::ComponentInstance(instance) = item else {
        return if matches!(item, ComponentItem::Type(_)) { Need::TypesOnly } else { Need::Unknown };
    };
    if instance.exports(engine).all(|(_, export)| matches!(export.ty, ComponentItem::Type(_))) {
        return Need::TypesOnly;
    }
    let Some(name) = InterfaceName::parse(name) else { return Need::Unknown };
    let log = InterfaceName::parse(LOG).expect("a constant name");
    if name.is_compatible(&log) {
        return Need::Offered;
    }
    if name.same_path(&log) {
        return Need::OtherVersion { offered: LOG };
    }
    if name.package == WORKFLOW_PACKAGE {
        let offered = InterfaceName { version: Some(WORKFLOW_VERSION), ..name };
        return if name.is_compatible(&offered) {
            Need::Workflow
        } else {
            Need::OtherVersion { offered: "vmcp:workflow 0.1" }
        };
    }
    if !WASI.contains(&name.package) {
        return Need::Unknown;
    }
    if name.is_compatible(&InterfaceName { version: Some(WASI_VERSION), ..name }) {
        Need::Wasi
    } else {
        Need::OtherVersion { offered: "WASI 0.2" }
    }
}

/// Whether `component` may have all that it imports. Tells if WASI is to be linked.
pub(crate) fn check(
    needs: &[(String, Need)],
    grants: &Grants,
    is_workflow: bool,
    component: &str,
) -> Result<bool, PluginError> {
    let component = component.to_owned();
    if let Some((import, Need::OtherVersion { offered })) =
        needs.iter().find(|(_, need)| matches!(need, Need::OtherVersion { .. }))
    {
        return Err(PluginError::IncompatibleImport { component, import: import.clone(), offered: (*offered).into() });
    }
    let for_others = with(needs, Need::Workflow).filter(|_| !is_workflow);
    let unknown: Vec<String> = with(needs, Need::Unknown).chain(for_others).map(Into::into).collect();
    if !unknown.is_empty() {
        return Err(PluginError::UnknownImport { component, imports: unknown });
    }
    let granted = patterns(grants, &component)?;
    let missing: Vec<String> =
        with(needs, Need::Wasi).filter(|import| !is_granted(&granted, import)).map(Into::into).collect();
    if missing.is_empty() {
        return Ok(with(needs, Need::Wasi).next().is_some());
    }
    let line = grants_line(needs, grants);
    Err(PluginError::WasiNotGranted { component, imports: missing, line })
}

/// The line of the configuration that grants all WASI that a component imports, beside what `grants` has already.
pub(crate) fn grants_line(needs: &[(String, Need)], grants: &Grants) -> String {
    let mut patterns = grants.wasi.clone();
    for import in with(needs, Need::Wasi) {
        let package = import.split('/').next().unwrap_or(import);
        let pattern = format!("{package}/*");
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    let quoted: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
    format!("grants: {{ wasi: [{}] }}", quoted.join(", "))
}

fn with(needs: &[(String, Need)], wanted: Need) -> impl Iterator<Item = &str> {
    needs.iter().filter(move |(_, need)| *need == wanted).map(|(import, _)| import.as_str())
}

fn patterns(grants: &Grants, component: &str) -> Result<GlobSet, PluginError> {
    let mut set = GlobSetBuilder::new();
    for pattern in &grants.wasi {
        let bad = |source: globset::Error| PluginError::BadGrant {
            component: component.into(),
            pattern: pattern.clone(),
            source: source.into(),
        };
        set.add(Glob::new(pattern).map_err(bad)?);
    }
    set.build().map_err(|source| PluginError::BadGrant {
        component: component.into(),
        pattern: grants.wasi.join(", "),
        source: source.into(),
    })
}

/// Whether a pattern covers the import, named with or without its version.
fn is_granted(granted: &GlobSet, import: &str) -> bool {
    granted.is_match(import) || import.split_once('@').is_some_and(|(path, _)| granted.is_match(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wasi(imports: &[&str]) -> Vec<(String, Need)> {
        imports.iter().map(|import| ((*import).to_owned(), Need::Wasi)).collect()
    }

    #[test]
    fn patterns_cover_interfaces_with_and_without_version() {
        let check_all = |grants: &[&str], expected: bool| {
            let needs = wasi(&["wasi:clocks/monotonic-clock@0.2.6"]);
            let grants = Grants { wasi: grants.iter().map(|grant| (*grant).to_owned()).collect() };
            assert_eq!(check(&needs, &grants, false, "it").is_ok(), expected, "{grants:?}");
        };
        check_all(&[], false);
        check_all(&["wasi:clocks/*"], true);
        check_all(&["wasi:*"], true);
        check_all(&["wasi:clocks/monotonic-clock"], true);
        check_all(&["wasi:clocks/monotonic-clock@0.2.6"], true);
        check_all(&["wasi:clocks/monotonic-clock@0.2.5"], false);
        check_all(&["wasi:clocks/wall-clock", "wasi:random/*"], false);
        check_all(&["wasi:clocks/wall-clock", "wasi:clocks/mono*"], true);
    }

    #[test]
    fn a_refusal_has_the_line_that_grants_everything_imported() {
        let needs = wasi(&["wasi:clocks/wall-clock@0.2.0", "wasi:io/poll@0.2.0", "wasi:clocks/monotonic-clock@0.2.0"]);
        let grants = Grants { wasi: vec!["wasi:random/*".into()] };
        let error = check(&needs, &grants, false, "it").unwrap_err();
        let line = r#"grants: { wasi: ["wasi:random/*", "wasi:clocks/*", "wasi:io/*"] }"#;
        assert!(error.hint().unwrap().ends_with(line), "{:?}", error.hint());
        assert!(
            check(&needs, &Grants { wasi: vec!["wasi:clocks/*".into(), "wasi:io/*".into()] }, false, "it").unwrap()
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        let error =
            check(&wasi(&["wasi:io/poll@0.2.0"]), &Grants { wasi: vec!["wasi:{io".into()] }, false, "it").unwrap_err();
        assert!(error.to_string().contains("`wasi:{io`"), "{error}");
    }
}
