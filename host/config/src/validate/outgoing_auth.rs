//! Rules of `outgoingAuth`.

use super::Environment;
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::outgoing_auth::{
        AwsStsConfig, HeaderInjectionConfig, OutgoingAuthConfig, Strategy, StrategyType, XaaConfig,
    },
};

pub(super) fn check(auth: &OutgoingAuthConfig, environment: Environment<'_>, path: &KeyPath, report: &mut Report<'_>) {
    if let Some(default) = &auth.default {
        strategy(default, environment, &path.key("default"), report);
    }
    for (name, own) in &auth.backends {
        strategy(own, environment, &path.key("backends").key(name), report);
    }
}

fn strategy(strategy: &Strategy, environment: Environment<'_>, path: &KeyPath, report: &mut Report<'_>) {
    let section = match strategy.kind {
        StrategyType::Unauthenticated => None,
        StrategyType::HeaderInjection => Some(("headerInjection", strategy.header_injection.is_some())),
        StrategyType::TokenExchange => Some(("tokenExchange", strategy.token_exchange.is_some())),
        StrategyType::UpstreamInject => Some(("upstreamInject", strategy.upstream_inject.is_some())),
        StrategyType::AwsSts => Some(("awsSts", strategy.aws_sts.is_some())),
        StrategyType::Obo => Some(("obo", strategy.obo.is_some())),
        StrategyType::Xaa => Some(("xaa", strategy.xaa.is_some())),
    };
    if let Some((key, false)) = section {
        report.error(Rule::IncompleteStrategy, &path.key(key), format!("this type needs the section `{key}`"));
    }
    if let Some(header) = &strategy.header_injection {
        header_injection(header, environment, &path.key("headerInjection"), report);
    }
    if let Some(exchange) = &strategy.token_exchange {
        let path = path.key("tokenExchange");
        client(
            &path,
            ["clientId", "clientSecret", "clientSecretEnv"],
            [&exchange.client_id, &exchange.client_secret, &exchange.client_secret_env],
            false,
            report,
        );
        token_type(exchange.subject_token_type.as_deref(), &TOKEN_TYPES, &path, report);
    }
    if let Some(aws) = &strategy.aws_sts {
        role_mappings(aws, &path.key("awsSts").key("roleMappings"), report);
    }
    if let Some(obo) = &strategy.obo {
        client(
            &path.key("obo"),
            ["clientId", "clientSecret", "clientSecretEnv"],
            [&obo.client_id, &obo.client_secret, &obo.client_secret_env],
            false,
            report,
        );
    }
    if let Some(config) = &strategy.xaa {
        xaa(config, &path.key("xaa"), report);
    }
}

fn header_injection(
    header: &HeaderInjectionConfig,
    environment: Environment<'_>,
    path: &KeyPath,
    report: &mut Report<'_>,
) {
    match (&header.header_value, &header.header_value_env) {
        (Some(_), Some(_)) => {
            let message = "only one of `headerValue` and `headerValueEnv` is allowed";
            report.error_at_key(Rule::ExactlyOne, &path.key("headerValueEnv"), message, None);
        }
        (None, None) => report.error(Rule::ExactlyOne, path, "one of `headerValue` and `headerValueEnv` is needed"),
        (Some(_), None) => {}
        (None, Some(variable)) => {
            if environment(variable).is_none_or(|value| value.is_empty()) {
                let message = format!("environment variable `{variable}` is not set");
                report.error(Rule::UnsetVariable, &path.key("headerValueEnv"), message);
            }
        }
    }
}

/// Client credentials: at most one way to the secret, no secret without an id, and where `id_needs_secret` the reverse.
fn client(
    path: &KeyPath,
    [id_key, secret_key, env_key]: [&str; 3],
    [id, secret, env]: [&Option<String>; 3],
    id_needs_secret: bool,
    report: &mut Report<'_>,
) {
    if secret.is_some() && env.is_some() {
        let message = format!("only one of `{secret_key}` and `{env_key}` is allowed");
        report.error_at_key(Rule::ExactlyOne, &path.key(env_key), message, None);
    }
    let given = if secret.is_some() { secret_key } else { env_key };
    match (id.is_some(), secret.is_some() || env.is_some()) {
        (false, true) => {
            report.error_at_key(
                Rule::SecretWithoutClient,
                &path.key(given),
                format!("`{given}` needs `{id_key}`"),
                None,
            );
        }
        (true, false) if id_needs_secret => {
            let message = format!("`{id_key}` needs `{secret_key}` or `{env_key}`");
            report.error_at_key(Rule::SecretWithoutClient, &path.key(id_key), message, None);
        }
        _ => {}
    }
}

const TOKEN_TYPES: [&str; 3] = ["access_token", "id_token", "jwt"];

/// A token type by its short name or as the URN of RFC 8693.
fn token_type(given: Option<&str>, allowed: &[&str], path: &KeyPath, report: &mut Report<'_>) {
    let Some(given) = given else { return };
    let short = given.strip_prefix("urn:ietf:params:oauth:token-type:").unwrap_or(given);
    if !allowed.contains(&short) {
        let allowed: Vec<_> = allowed.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("`{given}` is not one of {}", allowed.join(", "));
        report.error(Rule::BadValue, &path.key("subjectTokenType"), message);
    }
}

fn role_mappings(aws: &AwsStsConfig, path: &KeyPath, report: &mut Report<'_>) {
    for (index, mapping) in aws.role_mappings.iter().enumerate() {
        if mapping.claim.is_some() == mapping.matcher.is_some() {
            report.error(Rule::ExactlyOne, &path.index(index), "exactly one of `claim` and `matcher` is needed");
        }
    }
}

fn xaa(xaa: &XaaConfig, path: &KeyPath, report: &mut Report<'_>) {
    client(
        path,
        ["idpClientId", "idpClientSecret", "idpClientSecretEnv"],
        [&xaa.idp_client_id, &xaa.idp_client_secret, &xaa.idp_client_secret_env],
        true,
        report,
    );
    client(
        path,
        ["targetClientId", "targetClientSecret", "targetClientSecretEnv"],
        [&xaa.target_client_id, &xaa.target_client_secret, &xaa.target_client_secret_env],
        true,
        report,
    );
    token_type(xaa.subject_token_type.as_deref(), &["id_token"], path, report);
}
