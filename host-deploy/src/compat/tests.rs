use wit_parser::{PackageId, Resolve, WorldId};

use super::{Mismatch, Verdict, WitPackage, WitWorld, compare, compare_components, fits};

fn package(text: &str) -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let id = resolve
        .push_source("test.wit", &format!("package a:b@1.0.0;\n{text}"))
        .unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    (resolve, id)
}

/// Compares two packages; each change is one line of `expected`.
#[track_caller]
fn check(old: &str, new: &str, expected: &[&str]) {
    let ((old, old_id), (new, new_id)) = (package(old), package(new));
    let report = compare(WitPackage::new(&old, old_id), WitPackage::new(&new, new_id));
    let lines: Vec<String> = report.changes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected);
    let verdict = match () {
        () if expected.is_empty() => Verdict::Identical,
        () if expected.iter().any(|line| line.ends_with("(breaking)")) => Verdict::Breaking,
        () => Verdict::Additive,
    };
    assert_eq!(report.verdict(), verdict);
}

/// Compares two signatures of one function that guests import.
#[track_caller]
fn check_function(old: &str, new: &str, difference: Option<&str>) {
    let text = |function: &str| {
        format!(
            "interface t {{ record r {{ x: u8, y: list<u8> }} enum e {{ a, b }} resource s; }}
             interface i {{ use t.{{r, e, s}}; f: {function}; }}"
        )
    };
    let line = difference.map(|why| format!("`a:b/i.f`: {why} (breaking)"));
    check(&text(old), &text(new), &line.as_deref().into_iter().collect::<Vec<_>>());
}

#[test]
fn names_of_types_and_words_about_them_make_no_difference() {
    check(
        "interface i { type name = string; f: func(n: name) -> list<name>; }",
        "/// Words.\ninterface i { type name = string; /// Words.\n f: func(n: string) -> list<string>; }",
        &[],
    );
    check_function("func(x: r, y: own<s>)", "func(x: r, y: s)", None);
}

#[test]
fn a_function_has_to_be_exactly_as_it_was() {
    check_function("func(a: u8)", "func(b: u8)", Some("parameters was (a), now (b)"));
    check_function("func(a: u8)", "func(a: u8, b: u8)", Some("parameters was (a), now (a, b)"));
    check_function("func(a: u8)", "func(a: u16)", Some("parameter `a` was u8, now u16"));
    check_function("func(a: r)", "func(a: u8)", Some("parameter `a` was record {x, y}, now u8"));
    check_function("func() -> u8", "func()", Some("result was u8, now nothing"));
    check_function("func()", "async func()", Some("was a function, now an async function"));
    check_function(
        "func(a: borrow<s>)",
        "func(a: s)",
        Some("parameter `a` was borrow<resource a:b/t@1.0.0.s>, now own<resource a:b/t@1.0.0.s>"),
    );
}

#[test]
fn a_difference_deep_inside_is_told_with_the_way_to_it() {
    check_function(
        "func() -> result<list<option<tuple<u8, e>>>, string>",
        "func() -> result<list<option<tuple<u8, u8>>>, string>",
        Some(
            "result, ok, element of the list, value of the option, tuple place 1 was enum {a, b}, now u8",
        ),
    );
    check_function(
        "func(a: stream<u8>) -> future<result<_, string>>",
        "func(a: stream<u8>) -> future<result<u8, string>>",
        Some("result, value of the future, ok was nothing, now u8"),
    );
}

#[test]
fn one_more_field_case_or_flag_is_breaking() {
    for (old, new, was, now) in [
        ("record t { x: u8 }", "record t { x: u8, y: u8 }", "record {x}", "record {x, y}"),
        ("variant t { x(u8) }", "variant t { x(u8), y }", "variant {x}", "variant {x, y}"),
        ("enum t { x }", "enum t { x, y }", "enum {x}", "enum {x, y}"),
        ("flags t { x }", "flags t { x, y }", "flags {x}", "flags {x, y}"),
        (
            "record t { x: u8, y: u8 }",
            "record t { y: u8, x: u8 }",
            "record {x, y}",
            "record {y, x}",
        ),
    ] {
        check(
            &format!("interface i {{ {old} f: func(p: t); }}"),
            &format!("interface i {{ {new} f: func(p: t); }}"),
            &[
                &format!("`a:b/i.t`: was {was}, now {now} (breaking)"),
                &format!("`a:b/i.f`: parameter `p` was {was}, now {now} (breaking)"),
            ],
        );
    }
    check(
        "interface i { variant t { x(u8) } }",
        "interface i { variant t { x(u16) } }",
        &["`a:b/i.t`: case `x` was u8, now u16 (breaking)"],
    );
}

#[test]
fn a_changed_type_is_reported_where_it_was_defined_and_where_it_is_used() {
    check(
        "interface t { record r { x: u8 } } interface i { use t.{r}; f: func(p: r); }",
        "interface t { record r { x: u16 } } interface i { use t.{r}; f: func(p: r); }",
        &[
            "`a:b/t.r`: field `x` was u8, now u16 (breaking)",
            "`a:b/i.f`: parameter `p`, field `x` was u8, now u16 (breaking)",
        ],
    );
}

#[test]
fn more_types_interfaces_and_worlds_are_additive() {
    check(
        "interface i { f: func(); }",
        "interface i { type t = u8; f: func(); } interface j {} world w { export j; }",
        &[
            "`a:b/i.t`: new type (additive)",
            "`a:b/j`: new interface (additive)",
            "`a:b/w`: new world (additive)",
        ],
    );
}

#[test]
fn one_more_function_is_additive_only_where_guests_import() {
    let text = |functions: &str, side: &str| {
        format!("interface i {{ {functions} }} world w {{ {side} i; }}")
    };
    check(
        &text("f: func();", "import"),
        &text("f: func(); g: func();", "import"),
        &["`a:b/i.g`: new function (additive)"],
    );
    check(
        &text("f: func();", "export"),
        &text("f: func(); g: func();", "export"),
        &["`a:b/i.g`: new function, which existing guests do not export (breaking)"],
    );
}

#[test]
fn whatever_goes_is_breaking() {
    check(
        "interface i { type t = u8; f: func(); } interface j {} world w { import i; }",
        "interface i {}",
        &[
            "`a:b/i.t`: the type is gone (breaking)",
            "`a:b/i.f`: the function is gone (breaking)",
            "`a:b/j`: the interface is gone (breaking)",
            "`a:b/w`: the world is gone (breaking)",
        ],
    );
}

#[test]
fn a_world_may_offer_more_and_may_not_ask_for_more() {
    let text = |world: &str| format!("interface i {{}} interface j {{}} world w {{ {world} }}");
    let change = |old: &str, new: &str, line: &str| check(&text(old), &text(new), &[line]);
    change("import i;", "import i; import j;", "`a:b/w import a:b/j`: new import (additive)");
    change(
        "import i; import j;",
        "import i;",
        "`a:b/w import a:b/j`: the import is gone (breaking)",
    );
    change(
        "export i;",
        "export i; export j;",
        "`a:b/w export a:b/j`: new export, which existing guests do not have (breaking)",
    );
    change(
        "export i; export j;",
        "export i;",
        "`a:b/w export a:b/j`: the export is gone (breaking)",
    );
    change(
        "export run: func();",
        "export run: func() -> u8;",
        "`a:b/w export run`: result was nothing, now u8 (breaking)",
    );
}

#[test]
fn methods_of_resources_are_named_after_them() {
    check(
        "interface i { resource log { constructor(name: string); write: func(line: string); } }",
        "interface i { resource log { constructor(name: string); write: func(line: list<u8>); flush: func(); } }",
        &[
            "`a:b/i.log.write`: parameter `line` was string, now list<u8> (breaking)",
            "`a:b/i.log.flush`: new function (additive)",
        ],
    );
}

#[test]
fn a_package_is_compared_with_itself_only() {
    let (old, old_id) = package("");
    let mut new = Resolve::default();
    let new_id = new.push_source("c.wit", "package c:d@1.0.0;").unwrap();
    let report = compare(WitPackage::new(&old, old_id), WitPackage::new(&new, new_id));
    assert_eq!(report.changes[0].to_string(), "`a:b`: was a:b, now c:d (breaking)");
}

#[test]
fn towers_of_types_cost_their_height_and_not_their_expansion() {
    let tower = |top: &str| {
        let mut text = format!("type t0 = {top};\n");
        for i in 1..60 {
            text += &format!("type t{i} = tuple<t{0}, t{0}>;\n", i - 1);
        }
        format!("interface i {{ {text} f: func(p: t59); }}")
    };
    check(&tower("u8"), &tower("u8"), &[]);
    let ((old, old_id), (new, new_id)) = (package(&tower("u8")), package(&tower("u16")));
    let report = compare(WitPackage::new(&old, old_id), WitPackage::new(&new, new_id));
    assert_eq!(report.verdict(), Verdict::Breaking);
}

/// Resolves packages and gives back the world `name` of the last one.
fn world(packages: &[&str], name: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let ids: Vec<PackageId> =
        packages.iter().map(|text| resolve.push_source("test.wit", text).unwrap()).collect();
    let id = resolve.packages[*ids.last().unwrap()].worlds[name];
    (resolve, id)
}

const WORLD: &str = "package a:b@1.0.0;
    interface host { resource log { constructor(); write: func(line: string); } now: func() -> u64; }
    interface plugin { record r { x: u8 } run: func(p: r) -> r; stop: func(); }
    world w { import host; export plugin; }";

/// Whether the world `c` of `component` fits [`WORLD`]; each mismatch is one line of `expected`.
#[track_caller]
fn check_fit(component: &[&str], expected: &[&str]) {
    let (wanted, wanted_id) = world(&[WORLD], "w");
    let (found, found_id) = world(component, "c");
    let wasi = |name: &plugin_contract::InterfaceName| name.package == "wasi:io";
    let (wanted, found) = (WitWorld::new(&wanted, wanted_id), WitWorld::new(&found, found_id));
    let mismatches = fits(wanted, found, wasi).err().unwrap_or_default();
    let lines: Vec<String> = mismatches.iter().map(Mismatch::to_string).collect();
    assert_eq!(lines, expected);
}

/// The text of a component's world, in the version `version` of the contract.
fn component(version: &str, host: &str, plugin: &str, world: &str) -> String {
    format!(
        "package a:b@{version}; interface host {{ {host} }} interface plugin {{ {plugin} }} \
         world c {{ {world} }}"
    )
}

const PLUGIN: &str = "record r { x: u8 } run: func(p: r) -> r; stop: func();";

#[test]
fn a_component_that_exports_all_and_imports_less_fits() {
    for version in ["1.0.0", "1.7.2"] {
        let fitting =
            component(version, "now: func() -> u64;", PLUGIN, "import host; export plugin;");
        check_fit(&[&fitting], &[]);
    }
    check_fit(
        &[&component("1.0.0", "", &format!("{PLUGIN} more: func();"), "export plugin;")],
        &[],
    );
}

#[test]
fn another_track_of_the_contract_does_not_fit() {
    let text = component("2.0.0", "", PLUGIN, "export plugin;");
    check_fit(&[&text], &["`a:b/plugin@1.0.0` is not exported"]);
}

#[test]
fn a_missing_or_changed_export_is_named() {
    let text = |plugin: &str| component("1.0.0", "", plugin, "export plugin;");
    check_fit(
        &[&text("record r { x: u8 } run: func(p: r) -> r;")],
        &["`a:b/plugin@1.0.0.stop` is not exported"],
    );
    check_fit(
        &[&text("record r { x: u16 } run: func(p: r) -> r; stop: func();")],
        &["`a:b/plugin@1.0.0.run` parameter `p`, field `x` should be u8, is u16"],
    );
    check_fit(&[&component("1.0.0", "", "", "")], &["`a:b/plugin@1.0.0` is not exported"]);
}

#[test]
fn an_import_that_nobody_offers_is_named() {
    let text = |host: &str| component("1.0.0", host, PLUGIN, "import host; export plugin;");
    check_fit(
        &[&text("reboot: func();")],
        &["`a:b/host@1.0.0.reboot` is imported, and the world does not offer it"],
    );
    check_fit(
        &[&text("now: func() -> u32;")],
        &["`a:b/host@1.0.0.now` result should be u64, is u32"],
    );
    check_fit(&[&text("resource log { write: func(line: string); } now: func() -> u64;")], &[]);
}

#[test]
fn imports_outside_of_the_world_are_the_callers_to_allow() {
    let wasi = |name: &str| format!("package wasi:{name}@0.2.6; interface i {{ f: func(); }}");
    let text = |name: &str| {
        component("1.0.0", "", PLUGIN, &format!("import wasi:{name}/i@0.2.6; export plugin;"))
    };
    check_fit(&[&wasi("io"), &text("io")], &[]);
    check_fit(
        &[&wasi("sockets"), &text("sockets")],
        &["`wasi:sockets/i@0.2.6` is imported, and the world does not offer it"],
    );
}

#[test]
fn what_is_nested_too_deep_to_follow_does_not_fit() {
    let check = |levels: usize, expected: &[&str]| {
        let list = |i: usize| format!("type t{} = list<t{i}>; ", i + 1);
        let lists: String = (0..levels).map(list).collect();
        let plugin = format!("type t0 = u8; {lists} f: func(p: t{levels});");
        let (world, id) = world(&[&component("1.0.0", "", &plugin, "export plugin;")], "c");
        let world = WitWorld::new(&world, id);
        let mismatches = fits(world, world, |_| false).err().unwrap_or_default();
        let lines: Vec<String> = mismatches.iter().map(Mismatch::to_string).collect();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        assert!(lines.iter().zip(expected).all(|(line, end)| line.ends_with(end)), "{lines:?}");
    };
    check(100, &[]);
    check(101, &["is nested more than 100 types deep"]);
}

#[test]
fn a_revision_is_seen_by_those_who_call_it() {
    let check = |old: &str, new: &str, expected: &[&str]| {
        let ((old, old_id), (new, new_id)) = (world(&[old], "c"), world(&[new], "c"));
        let report = compare_components(WitWorld::new(&old, old_id), WitWorld::new(&new, new_id));
        let lines: Vec<String> = report.changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    };
    let text = |plugin: &str, world: &str| component("1.0.0", "now: func() -> u64;", plugin, world);
    let one = text(PLUGIN, "export plugin;");
    check(&one, &one, &[]);
    check(
        &one,
        &text(&format!("{PLUGIN} more: func();"), "import host; export plugin;"),
        &[
            "`a:b/plugin@1.0.0.more`: new function (additive)",
            "`a:b/host@1.0.0`: new import (additive)",
        ],
    );
    check(
        &one,
        &text("record r { x: u8 } run: func(p: r) -> u8;", "export plugin;"),
        &[
            "`a:b/plugin@1.0.0.run`: result was record {x}, now u8 (breaking)",
            "`a:b/plugin@1.0.0.stop`: the function is gone (breaking)",
        ],
    );
    check(&one, &text(PLUGIN, ""), &["`a:b/plugin@1.0.0`: the export is gone (breaking)"]);
}
