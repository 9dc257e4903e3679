//! Rules of `incomingAuth`.

use super::safe_path;
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::incoming_auth::{AuthzType, IncomingAuthConfig, IncomingAuthType},
};

pub(super) fn check(auth: &IncomingAuthConfig, path: &KeyPath, report: &mut Report<'_>) {
    let oidc_path = path.key("oidc");
    match (&auth.oidc, auth.kind) {
        (None, IncomingAuthType::Oidc) => {
            report.error(Rule::IncompleteOidc, &oidc_path, "`type: oidc` needs the section `oidc`");
        }
        (Some(oidc), IncomingAuthType::Oidc) => {
            for (key, value) in [("issuer", &oidc.issuer), ("audience", &oidc.audience)] {
                if value.is_empty() {
                    report.error(Rule::IncompleteOidc, &oidc_path.key(key), format!("`type: oidc` needs `{key}`"));
                }
            }
        }
        _ => {}
    }
    if let Some(file) = auth.oidc.as_ref().and_then(|oidc| oidc.ca_bundle_path.as_ref()) {
        let path = oidc_path.key("caBundlePath");
        safe_path(file, &path, report);
        if !file.is_absolute() {
            report.error(Rule::RelativePath, &path, "the path must be absolute");
        }
    }
    if let Some(authz) = &auth.authz
        && authz.kind == AuthzType::Cedar
        && authz.policies.is_empty()
    {
        let path = path.key("authz").key("policies");
        report.error(Rule::MissingPolicies, &path, "`type: cedar` needs at least one policy");
    }
}
