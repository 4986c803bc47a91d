use plugin_contract::{FsAccess, FsPermission};
use proptest::prelude::*;

use super::{FsRules, Rights};
use crate::rules::Placed;

fn rules(asked: &[String], allowed: &[String], denied: &[String]) -> FsRules {
    let parse = |texts: &[String]| -> Vec<FsPermission> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let placed = |texts: &[String]| {
        let place = |permission| Placed { permission, place: "here".to_owned() };
        parse(texts).into_iter().map(place).collect()
    };
    FsRules::new("a".parse().unwrap(), parse(asked), placed(allowed), placed(denied))
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

#[track_caller]
fn check(deny: &str, path: &str, access: FsAccess, expected: Result<(), &str>) {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let denied: Vec<&str> = deny.split_whitespace().collect();
    let rules = rules(
        &owned(&["read-write:/data", "read:/etc/app"]),
        &owned(&["read:/data", "write:/data/out", "read-write:/etc"]),
        &owned(&denied),
    );
    let answer = rules.check(&parts(path), access).map_err(|denial| denial.rule);
    assert_eq!(answer.as_ref().map_err(String::as_str).copied(), expected);
}

#[test]
fn a_right_is_asked_for_and_allowed_and_not_denied() {
    const NOT_ALLOWED: Result<(), &str> = Err("host.toml: no allow.fs covers it");
    const NEITHER: Result<(), &str> =
        Err("neither permissions.fs nor the host's allow.fs covers it");
    check("", "/data/a", FsAccess::Read, Ok(()));
    check("", "/data/a", FsAccess::Write, NOT_ALLOWED);
    check("", "/data/out/a", FsAccess::ReadWrite, Ok(()));
    check("", "/database", FsAccess::Read, NEITHER);
    check("", "/etc/app", FsAccess::Read, Ok(()));
    check("", "/etc/app", FsAccess::Write, Err("plugin.toml: permissions.fs does not ask for it"));
    check(
        "",
        "/etc/application",
        FsAccess::Read,
        Err("plugin.toml: permissions.fs does not ask for it"),
    );
}

#[test]
fn a_deny_wins_over_every_allow_and_the_most_precise_explains() {
    let denied = "read:/data read-write:/data/out/x";
    check(denied, "/data/out/y", FsAccess::Write, Ok(()));
    check(denied, "/data/out/y", FsAccess::Read, Err("here \"read:/data\""));
    check(denied, "/data/out/x/y", FsAccess::Read, Err("here \"read-write:/data/out/x\""));
    check(denied, "/data/out/x/y", FsAccess::Write, Err("here \"read-write:/data/out/x\""));
}

#[test]
fn a_path_cannot_write_the_line_that_would_allow_more() {
    let rules = rules(&[], &[], &[]);
    let denial = rules.check(&["x\", \"read-write:"], FsAccess::Read).unwrap_err();
    let allow = denial.allow.unwrap();
    assert!(allow.contains(r#"["read:/x\", \"read-write:"]"#), "{allow}");
}

/// The model: paths as text with a slash at their end, so that a prefix is a prefix of components.
fn model(asked: &[String], allowed: &[String], denied: &[String], path: &str) -> Rights {
    let whole = format!("{}/", path.trim_end_matches('/'));
    let union = |rules: &[String], right: &str| {
        rules.iter().any(|rule| {
            let (word, root) = rule.split_once(':').unwrap();
            word.contains(right) && whole.starts_with(&format!("{}/", root.trim_end_matches('/')))
        })
    };
    let has = |right| union(asked, right) && union(allowed, right) && !union(denied, right);
    Rights { read: has("read"), write: has("write") }
}

fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "ab", "b", "data", "database"]);
    prop::collection::vec(part, 0..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn some_rules() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec!["read", "write", "read-write"]);
    let rule = (word, path()).prop_map(|(word, path)| format!("{word}:{path}"));
    prop::collection::vec(rule, 0..5)
}

proptest! {
    #[test]
    fn the_rules_agree_with_a_model(
        asked in some_rules(), allowed in some_rules(), denied in some_rules(), path in path()
    ) {
        let rules = rules(&asked, &allowed, &denied);
        let expected = model(&asked, &allowed, &denied, &path);
        prop_assert_eq!(rules.rights(&parts(&path)), expected);
        for access in [FsAccess::Read, FsAccess::Write, FsAccess::ReadWrite] {
            prop_assert_eq!(rules.check(&parts(&path), access).is_ok(), expected.cover(access));
        }
    }

    #[test]
    fn what_has_rights_lies_under_a_root(
        asked in some_rules(), allowed in some_rules(), denied in some_rules(), path in path()
    ) {
        let rules = rules(&asked, &allowed, &denied);
        let path: Vec<String> = parts(&path).into_iter().map(str::to_owned).collect();
        if rules.rights(&path).any() {
            prop_assert!(rules.roots().iter().any(|root| path.starts_with(root)));
        }
    }
}
