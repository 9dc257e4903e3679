use proptest::{collection::vec, prelude::*, sample::select};
use vmcp_sdk::conflict::Kind;

use super::*;

fn request(names: NameRule, contenders: &[(&str, &str)]) -> Request {
    let contenders = contenders.iter().map(|(backend, name)| Contender::new(*backend, *name)).collect();
    Request { kind: Kind::Tool, names, contenders }
}

fn shown(resolutions: &[Resolution]) -> Vec<&str> {
    resolutions.iter().map(|r| r.name().unwrap_or("(hidden)")).collect()
}

fn check(config: &Smart, names: NameRule, contenders: &[(&str, &str)], expected: &[(&str, &str)]) {
    let resolved = config.resolve(&request(names, contenders)).unwrap();
    let found: Vec<(&str, &str)> = resolved.iter().map(|r| (r.name().unwrap_or(""), r.why.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn only_names_that_clash_are_prefixed() {
    let check = |contenders, expected| check(&Smart::default(), NameRule::Strict, contenders, expected);
    check(&[("github", "search")], &[("search", "its own name")]);
    check(
        &[("github", "search"), ("jira", "issue"), ("jira", "search"), ("wiki", "search")],
        &[
            ("github_search", "prefixed: jira has it too"),
            ("issue", "its own name"),
            ("jira_search", "prefixed: github has it too"),
            ("wiki_search", "prefixed: github has it too"),
        ],
    );
    check(
        &[("my server", "go"), ("other", "go")],
        &[("my_server_go", "prefixed: other has it too"), ("other_go", "prefixed: my server has it too")],
    );
}

#[test]
fn illegal_characters_are_replaced_by_the_rule_in_force() {
    let contenders = [("a", "issues.list"), ("b", "go/fast")];
    check(
        &Smart::default(),
        NameRule::Strict,
        &contenders,
        &[("issues_list", "illegal characters replaced"), ("go_fast", "illegal characters replaced")],
    );
    check(
        &Smart::default(),
        NameRule::Protocol,
        &contenders,
        &[("issues.list", "its own name"), ("go_fast", "illegal characters replaced")],
    );
    let dotted = Smart { separator: ".".into(), ..Smart::default() };
    let clash = [("a", "x"), ("b", "x")];
    check(&dotted, NameRule::Protocol, &clash, &[("a.x", "prefixed: b has it too"), ("b.x", "prefixed: a has it too")]);
    check(&dotted, NameRule::Strict, &clash, &[("a_x", "prefixed: b has it too"), ("b_x", "prefixed: a has it too")]);
}

#[test]
fn the_exact_name_stays_where_one_backend_has_two_that_become_equal() {
    let hash = shorten::hash("a", "x.y", 0);
    check(
        &Smart::default(),
        NameRule::Strict,
        &[("a", "x.y"), ("a", "x_y")],
        &[(&format!("x_y_{hash}"), "another one of this backend is `x_y`"), ("x_y", "its own name")],
    );
}

#[test]
fn long_names_are_shortened_with_a_hash() {
    let long = "list_all_the_things_that_anybody_ever_put_into_a_drawer";
    let (only, hash) = ([("a", long)], shorten::hash("a", long, 0));
    check(
        &Smart::default(),
        NameRule::Strict,
        &only,
        &[(&format!("list_all_the_things_that_anybody_ever_put_{hash}"), "shortened to 48")],
    );
    let wide = Smart { max_length: 128, ..Smart::default() };
    check(&wide, NameRule::Strict, &only, &[(long, "its own name")]);
    let other_hash = shorten::hash("b", long, 0);
    check(
        &Smart::default(),
        NameRule::Strict,
        &[("a", long), ("b", long)],
        &[
            (&format!("a_list_all_the_things_that_anybody_ever_p_{hash}"), "prefixed and shortened: b has it too"),
            (
                &format!("b_list_all_the_things_that_anybody_ever_p_{other_hash}"),
                "prefixed and shortened: a has it too",
            ),
        ],
    );
}

#[test]
fn a_prefixed_name_gives_way_to_one_that_exists() {
    let hash = shorten::hash("a", "x", 0);
    check(
        &Smart::default(),
        NameRule::Strict,
        &[("a", "x"), ("b", "x"), ("c", "a_x")],
        &[
            (&format!("a_x_{hash}"), "prefixed: b has it too; marked: `a_x` is taken"),
            ("b_x", "prefixed: a has it too"),
            ("a_x", "its own name"),
        ],
    );
}

#[test]
fn resources_keep_their_uri_and_the_first_backend_owns_it() {
    let resources = Request { kind: Kind::Resource, ..request(NameRule::Strict, &[("a", "f:/x"), ("b", "f:/x")]) };
    assert_eq!(shown(&Smart::default().resolve(&resources).unwrap()), ["f:/x", "(hidden)"]);
}

#[test]
fn limits_of_the_config_are_checked() {
    let check = |max_length, separator: &str, expected: &[&str]| {
        let problems = Smart { max_length, separator: separator.into() }.check();
        assert_eq!(problems.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(), expected);
    };
    check(48, "_", &[]);
    check(16, "--", &[]);
    check(15, "_", &["/maxLength"]);
    check(129, "", &["/maxLength", "/separator"]);
    check(48, " ", &["/separator"]);
    check(48, "_____", &["/separator"]);
}

/// Few letters and few backends, so that everything clashes with everything.
fn contenders() -> impl Strategy<Value = Vec<(String, String)>> {
    let backend = select(vec!["a", "a_b", "b", "a.b", "b b", "an_extremely_long_backend_name_that_fills_a_line", "ü"]);
    let name = prop_oneof!["[ab_.]{0,5}", "[ab]_x", "x", "(ab_){20,50}", "\\PC{0,4}"];
    vec((backend.prop_map(str::to_owned), name), 0..60).prop_map(|mut contenders| {
        contenders.sort();
        contenders
    })
}

proptest! {
    #[test]
    fn every_contender_gets_a_unique_legal_name(
        contenders in contenders(),
        names in select(vec![NameRule::Strict, NameRule::Protocol]),
        max_length in 16..=128_usize,
    ) {
        let contenders: Vec<_> = contenders.iter().map(|(backend, name)| (backend.as_str(), name.as_str())).collect();
        let smart = Smart { max_length, ..Smart::default() };
        let request = request(names, &contenders);
        let resolved = smart.resolve(&request).unwrap();
        let exposed: Vec<&str> = resolved.iter().filter_map(Resolution::name).collect();
        prop_assert_eq!(exposed.len(), contenders.len());
        prop_assert_eq!(exposed.iter().collect::<HashSet<_>>().len(), contenders.len(), "{:?}", exposed);
        for name in &exposed {
            prop_assert!(names.is_legal(name) && name.len() <= max_length, "{}", name);
        }
        prop_assert_eq!(smart.resolve(&request).unwrap(), resolved);
    }
}
