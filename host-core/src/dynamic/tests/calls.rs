use plugin_contract::{Explain, PluginId};
use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::{
    Store,
    component::{Component, Linker, Val},
};

use super::{compile, echoes};
use crate::{
    CoreError, FunctionCall, FunctionReply, JsonCall,
    dynamic::{FUNCTIONS_MAX, Functions},
};

/// Types that no one here knows.
const TYPES: &[(&str, &str)] = &[
    ("color", r#"(enum "red" "dark-blue" "none")"#),
    ("rights", r#"(flags "read" "write" "exec")"#),
    ("point", r#"(record (field "x" s32) (field "y" s32) (field "color" (option $color)))"#),
    ("drawing", r#"(variant (case "circle" f64) (case "path" (list $point)) (case "empty"))"#),
    ("outcome", r#"(result $drawing (error string))"#),
    ("pair", "(tuple u64 char)"),
    ("maybe", "(option (option u8))"),
    ("word", "string"),
    ("bytes", "(list u8)"),
    ("tiny", "u8"),
];

const ADD: &str = r#"
    (core module $m
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "div") (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))
        (func (export "nop")))
    (core instance $i (instantiate $m))
    (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (func $div (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "div")))
    (func $nop (canon lift (core func $i "nop")))
    (instance $math (export "add" (func $add)) (export "div" (func $div)))
    (instance $misc (export "nop" (func $nop)))"#;

/// A component with the functions of `ADD`, exported as `exports` says.
fn adding(exports: &str) -> Component {
    compile(&format!("(component {ADD} {exports})"))
}

fn plugin() -> PluginId {
    PluginId::new("demo").unwrap()
}

fn text(text: &str) -> FunctionCall {
    FunctionCall::Text(text.to_owned())
}

fn document(document: Value) -> FunctionCall {
    FunctionCall::Json(serde_json::from_value(document).unwrap())
}

async fn try_call(component: &Component, call: &FunctionCall) -> Result<FunctionReply, CoreError> {
    let asked = Functions::find(component).ask(&plugin(), call)?;
    let engine = component.engine();
    let mut store = Store::new(engine, ());
    let instance = Linker::new(engine).instantiate_async(&mut store, component).await.unwrap();
    let first = asked.call(&mut store, &instance).await.unwrap();
    // A second time, on the same instance.
    assert_eq!(asked.call(&mut store, &instance).await.unwrap(), first);
    Ok(asked.reply(first))
}

async fn call(component: &Component, call: &FunctionCall) -> FunctionReply {
    try_call(component, call).await.unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(component: &Component, call: &FunctionCall, code: &str, message: &str) {
    let Err(error) = Functions::find(component).ask(&plugin(), call) else { panic!("{call:?}") };
    assert_eq!((error.code(), error.to_string().as_str()), (code, message));
}

#[tokio::test]
async fn a_function_of_a_component_nobody_has_seen_can_be_called() {
    let component =
        adding(r#"(export "toolsku:demo/math@1.0.0" (instance $math)) (export "add" (func $add))"#);
    for name in [
        "toolsku:demo/math@1.0.0#add",
        "toolsku:demo/math@1.3.0#add",
        "toolsku:demo/math#add",
        "math#add",
        "add",
    ] {
        let reply = call(&component, &text(&format!("{name}(1, 2)"))).await;
        assert_eq!(reply.wave(100).as_deref(), Some("3"), "{name}");
        let reply = call(&component, &document(json!({"function": name, "args": [1, 2]}))).await;
        assert_eq!(reply.into_json(), Some(json!(3)), "{name}");
    }
}

#[tokio::test]
async fn a_function_without_a_result_answers_nothing() {
    let component = adding(r#"(export "nop" (func $nop))"#);
    for call_nop in [text("nop()"), text(" nop ( ) "), document(json!({"function": "nop"}))] {
        let reply = call(&component, &call_nop).await;
        assert_eq!((reply.wave(100), reply.into_json()), (None, None));
    }
}

#[tokio::test]
async fn every_type_goes_to_the_guest_and_back() {
    let component = compile(&echoes(TYPES));
    for (name, wave, value) in [
        ("color", "[red, %none]", json!(["red", "none"])),
        ("rights", "[{read, exec}, {}]", json!([["read", "exec"], []])),
        (
            "point",
            "[{x: 1, y: -2, color: some(red)}, {x: 3, y: 4}]",
            json!([{"x": 1, "y": -2, "color": "red"}, {"x": 3, "y": 4, "color": null}]),
        ),
        (
            "drawing",
            "[circle(0.5), path([{x: 1, y: 2}]), empty]",
            json!([{"circle": 0.5}, {"path": [{"x": 1, "y": 2, "color": null}]}, "empty"]),
        ),
        (
            "outcome",
            r#"[ok(empty), err("no \u{1b}")]"#,
            json!([{"ok": "empty"}, {"err": "no \u{1b}"}]),
        ),
        ("pair", "[(18446744073709551615, 'x')]", json!([["18446744073709551615", "x"]])),
        ("maybe", "[none, some(none), some(some(7))]", json!([null, {"some": null}, {"some": 7}])),
        ("word", r#"["", "äöü"]"#, json!(["", "äöü"])),
        ("bytes", "[[], [1, 2, 3]]", json!([{"base64": ""}, {"base64": "AQID"}])),
        ("tiny", "[1, 2, 3]", json!({"base64": "AQID"})),
    ] {
        let reply = call(&component, &text(&format!("echo-{name}({wave})"))).await;
        assert_eq!(reply.wave(1_000).as_deref(), Some(wave), "{name}");
        assert_eq!(reply.into_json(), Some(value.clone()), "{name}");
        let json = json!({"function": format!("echo-{name}"), "args": [value]});
        let reply = call(&component, &document(json)).await;
        assert_eq!(reply.wave(1_000).as_deref(), Some(wave), "{name}");
    }
}

#[tokio::test]
async fn a_guest_that_traps_says_so() {
    let component = adding(r#"(export "div" (func $div))"#);
    assert_eq!(call(&component, &text("div(7, 2)")).await.wave(9).as_deref(), Some("3"));
    let asked = Functions::find(&component).ask(&plugin(), &text("div(7, 0)")).unwrap();
    let mut store = Store::new(component.engine(), ());
    let linker = Linker::new(component.engine());
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let error = asked.call(&mut store, &instance).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&wasmtime::Trap::IntegerDivisionByZero));
}

#[test]
fn a_function_that_is_not_there_is_answered_with_those_that_are() {
    let component = adding(
        r#"(export "toolsku:demo/math@1.0.0" (instance $math)) (export "misc" (instance $misc))"#,
    );
    let offered = "but toolsku:demo/math@1.0.0#add, toolsku:demo/math@1.0.0#div, misc#nop";
    for name in [
        "add",
        "math#sub",
        "toolsku:demo/math@2.0.0#add",
        "other:demo/math#add",
        "",
        "#",
        "Math#add",
    ] {
        refused(
            &component,
            &text(&format!("{name}(1, 2)")),
            "core/no-such-function",
            &format!("`demo` exports no single function `{name}`, {offered}"),
        );
    }
    refused(
        &compile("(component)"),
        &text("f\u{1b}()"),
        "core/no-such-function",
        r"`demo` exports no single function `f\u{1b}`, nor any other",
    );
}

#[test]
fn a_name_that_means_several_functions_is_answered_with_these() {
    let component = adding(
        r#"(export "a:one/math@1.0.0" (instance $math)) (export "b:two/math" (instance $math))
        (export "misc" (instance $misc))"#,
    );
    refused(
        &component,
        &text("math#add(1, 2)"),
        "core/no-such-function",
        "`demo` exports no single function `math#add`, but a:one/math@1.0.0#add, b:two/math#add",
    );
    assert!(Functions::find(&component).ask(&plugin(), &text("b:two/math#add(1, 2)")).is_ok());
    assert!(Functions::find(&component).ask(&plugin(), &text("misc#nop()")).is_ok());
}

#[test]
fn arguments_that_do_not_fit_are_refused_before_the_call() {
    let component = adding(r#"(export "math" (instance $math))"#);
    let check = |call: FunctionCall, problem: &str| {
        let message = format!("the arguments for `math#add` of `demo` do not fit: {problem}");
        refused(&component, &call, "core/invalid-arguments", &message);
    };
    let json = |args: Value| document(json!({"function": "math#add", "args": args}));
    check(json(json!([1])), "`b`: is missing; expected u32");
    check(json(json!([1, 2, 3])), "3 arguments are more than the 2 it takes");
    check(json(json!([1, -1])), "`b`: expected u32, not -1");
    check(text("math#add(1)"), "`b`: is missing; expected u32");
    check(text("math#add(1, -1)"), "`b`: expected u32, not -1");
    check(
        text("math#add(1, 2, 3)"),
        "expected `)`, for there are no more parameters, not 3) (at byte 7 of the arguments)",
    );
    check(
        text("math#add(1, 2"),
        "expected `,` or `)` after an argument, not the end (at byte 5 of the arguments)",
    );
    let bare = "the arguments for `math#add 1` of `demo` do not fit: \
        write arguments in parentheses: `function(1, 2)`";
    refused(&component, &text("math#add 1"), "core/invalid-arguments", bare);
}

#[test]
fn a_call_that_is_too_long_is_refused_unread() {
    let component = adding(r#"(export "math" (instance $math))"#);
    let ask = |blanks: usize| {
        let call = text(&format!("math#add(1,{}2)", " ".repeat(blanks)));
        Functions::find(&component).ask(&plugin(), &call).err().map(|error| error.to_string())
    };
    assert_eq!(ask((1 << 20) - 13), None);
    assert!(ask(1 << 20).unwrap().ends_with("the text is longer than 1 MiB"));
}

#[test]
fn a_document_with_other_members_is_refused() {
    for bad in [json!({"args": []}), json!({"function": "f", "arguments": []}), json!("f()")] {
        assert!(serde_json::from_value::<JsonCall>(bad).is_err());
    }
}

#[test]
fn functions_are_listed_with_their_types() {
    let list = |component: &Component| -> Vec<String> {
        Functions::find(component).list().iter().map(ToString::to_string).collect()
    };
    let component =
        adding(r#"(export "toolsku:demo/math@1.0.0" (instance $math)) (export "nop" (func $nop))"#);
    assert_eq!(
        list(&component),
        [
            "toolsku:demo/math@1.0.0#add(a: u32, b: u32) -> u32",
            "toolsku:demo/math@1.0.0#div(a: u32, b: u32) -> u32",
            "nop()"
        ]
    );
    let point = "record { x: s32, y: s32, color: option<enum { red, dark-blue, none }> }";
    let drawing = format!("variant {{ circle(f64), path(list<{point}>), empty }}");
    let echo = |name: &str, ty: &str| format!("echo-{name}(x: list<{ty}>) -> list<{ty}>");
    assert_eq!(
        list(&compile(&echoes(TYPES))),
        [
            echo("color", "enum { red, dark-blue, none }"),
            echo("rights", "flags { read, write, exec }"),
            echo("point", point),
            echo("drawing", &drawing),
            echo("outcome", &format!("result<{drawing}, string>")),
            echo("pair", "tuple<u64, char>"),
            echo("maybe", "option<option<u8>>"),
            echo("word", "string"),
            echo("bytes", "list<u8>"),
            echo("tiny", "u8"),
        ]
    );
}

#[test]
fn resources_have_no_text_and_cannot_be_passed() {
    let component = compile(
        r#"(component
        (core module $m (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (type $file' (resource (rep i32)))
        (export $file "file" (type $file'))
        (func $close (param "file" (own $file)) (canon lift (core func $i "f")))
        (export "close" (func $close)))"#,
    );
    let functions = Functions::find(&component).list();
    assert_eq!(functions[0].to_string(), "close(file: own<resource>)");
    assert!(!functions[0].callable);
    refused(
        &component,
        &text("close(1)"),
        "core/not-callable",
        "`close` of `demo` cannot be called by name: it takes or returns own<resource>",
    );
}

#[test]
fn what_begins_and_ends_an_instance_is_for_the_host_to_call() {
    let component = adding(
        r#"
        (instance $base (export "shutdown" (func $nop)) (export "get-metadata" (func $nop)))
        (instance $other (export "shutdown" (func $nop)))
        (export "toolsku:plugin-system/base-plugin@1.0.0" (instance $base))
        (export "other:system/base@1.0.0" (instance $other))"#,
    );
    refused(
        &component,
        &text("base-plugin#shutdown()"),
        "core/not-callable",
        "`toolsku:plugin-system/base-plugin@1.0.0#shutdown` of `demo` cannot be called by name: \
        the host calls it, at the beginning or the end of an instance",
    );
    let functions = Functions::find(&component);
    let callable: Vec<_> = functions.list().iter().map(|info| info.callable).collect();
    assert_eq!(callable, [false, true, true]);
    assert!(functions.ask(&plugin(), &text("base-plugin#get-metadata()")).is_ok());
    assert!(functions.ask(&plugin(), &text("base#shutdown()")).is_ok());
    // Not even by a plugin that imports it of another.
    let exactly = |interface| functions.exactly(&plugin(), interface, "shutdown", Vec::new());
    let error = exactly("toolsku:plugin-system/base-plugin@1.0.0").map(drop).unwrap_err();
    assert_eq!(error.code(), "core/not-callable");
    assert!(exactly("other:system/base@1.0.0").is_ok());
}

/// A function that takes a record of records of records, each of which holds the next one twice: it has
/// 2^depth parts.
fn doubling(depth: usize) -> String {
    let mut wat = String::from(
        r#"(component
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
            (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (type $t0 u8)"#,
    );
    for i in 1..=depth {
        let next = i - 1;
        wat += &format!(
            r#"
        (type $t{i}-inner (record (field "a" $t{next}) (field "b" $t{next})))
        (export $t{i} "t{i}" (type $t{i}-inner))"#
        );
    }
    wat + &format!(
        r#"
        (func $f (param "x" $t{depth})
            (canon lift (core func $i "f") (memory $i "memory") (realloc (func $i "realloc"))))
        (export "f" (func $f)))"#
    )
}

#[test]
fn a_type_that_doubles_with_each_line_is_not_followed_to_its_end() {
    let small = compile(&doubling(8));
    assert!(Functions::find(&small).list()[0].callable);
    let large = compile(&doubling(16));
    let began = std::time::Instant::now();
    let functions = Functions::find(&large).list();
    assert!(!functions[0].callable);
    assert!(functions[0].params[0].1.len() <= 1_003);
    assert!(functions[0].params[0].1.ends_with("..."));
    refused(
        &large,
        &document(json!({"function": "f", "args": [null]})),
        "core/not-callable",
        "`f` of `demo` cannot be called by name: it takes or returns a type that is too large",
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn of_very_many_functions_the_first_are_found() {
    let exports: String =
        (0..FUNCTIONS_MAX + 10).map(|i| format!("(export \"f{i}\" (func $nop))")).collect();
    let functions = Functions::find(&adding(&exports));
    assert_eq!(functions.0.len(), FUNCTIONS_MAX);
    assert!(functions.ask(&plugin(), &text(&format!("f{}()", FUNCTIONS_MAX - 1))).is_ok());
    assert!(functions.ask(&plugin(), &text(&format!("f{FUNCTIONS_MAX}()"))).is_err());
}

#[tokio::test]
async fn a_list_of_many_variants_is_read_and_written_in_time() {
    // By search, this would take 2 x 30,000 x 4,000 steps.
    let cases: String = (0..4_000).map(|i| format!(" \"case-{i}\"")).collect();
    let component = compile(&echoes(&[("many", &format!("(enum{cases})"))]));
    let value = Value::Array(vec!["case-3999".into(); 30_000]);
    let began = std::time::Instant::now();
    let json = json!({"function": "echo-many", "args": [value]});
    assert_eq!(call(&component, &document(json)).await.into_json(), Some(value));
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Lists of all kinds of things, each of one of `TYPES` or of none.
const TEXTS: &[&str] = &[
    "[]",
    "[red]",
    "[dark-blue, %none,]",
    "[none]",
    "[{read}, {exec,}]",
    "[{}]",
    "[{:}]",
    "[{x: 1, y: 2}]",
    "[{y: 2, x: 1, color: red}]",
    "[{x: 1, y: 2, color: none}]",
    "[{x: 1}]",
    "[circle(1)]",
    "[circle(nan), empty]",
    "[path([])]",
    "[circle]",
    "[empty(1)]",
    "[ok(empty)]",
    "[empty]",
    "[err(\"a\")]",
    "[err]",
    "[(1, 'x')]",
    "[(1, '\\u{e9}'),]",
    "[(1)]",
    "[(1, 'ab')]",
    "[none, some(none), some(some(1))]",
    "[some(1)]",
    "[1]",
    "[\"\"]",
    "[\"\\t\\\"\\\\\"]",
    "[\"\"\"\n  a\n   b\n  \"\"\"]",
    "[\"\"\"\n\"\"\"]",
    "[\"\"\"a\n\"\"\"]",
    "[\"\"\"\na\n \"\"\"]",
    "[\"\\q\"]",
    "[\"\n\"]",
    "[[1, 2], []]",
    "[255]",
    "[256]",
    "[-1]",
    "[01]",
    "[1.0]",
    "[1e0]",
    "[1 2]",
    "[,]",
    "[1,,2]",
    "1",
    "",
    "[1] // the end",
    "[ // a\n 1 ]",
    "[1]]",
    "[%x]",
    "[Red]",
];

/// Whether a text is the first argument of the function with this index, by our reader and by the engine's.
fn read(functions: &Functions, function: usize, text: &str) -> (Option<Val>, Option<Val>) {
    let function = &functions.0[function];
    let call = FunctionCall::Text(format!("{}({text}\n)", function.name));
    let ours = functions.ask(&plugin(), &call).ok().map(|mut asked| asked.args.remove(0));
    let ty = function.ty.params().next().unwrap().1;
    (ours.map(with_flags_in_order), Val::from_wave(&ty, text).ok().map(with_flags_in_order))
}

/// Flags are a set: in which order they are told does not matter.
fn with_flags_in_order(val: Val) -> Val {
    match val {
        Val::List(items) => Val::List(items.into_iter().map(with_flags_in_order).collect()),
        Val::Flags(mut names) => {
            names.sort();
            Val::Flags(names)
        }
        val => val,
    }
}

#[test]
fn the_engine_reads_a_text_in_the_same_way() {
    let component = compile(&echoes(TYPES));
    let functions = Functions::find(&component);
    let mut both = 0;
    for (function, (name, _)) in TYPES.iter().enumerate() {
        for text in TEXTS {
            let (ours, theirs) = read(&functions, function, text);
            // Where the type tells, ours takes words of the language for names of cases, too.
            if *text != "[none]" || theirs.is_some() {
                assert_eq!(ours, theirs, "{name}: {text}");
            }
            both += usize::from(ours.is_some());
        }
    }
    assert!(both > 40, "{both}");
}

proptest! {
    #[test]
    fn no_mistake_is_read_as_something_else(
        text in prop::sample::select(TEXTS),
        mistakes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::option::of(prop::sample::select(SIGNS))),
            1..4,
        ),
    ) {
        thread_local! {
            static FUNCTIONS: Functions = Functions::find(&compile(&echoes(TYPES)));
        }
        let mut text: Vec<char> = text.chars().chain(" ".chars()).collect();
        for (at, sign) in mistakes {
            let at = at.index(text.len());
            match sign {
                Some(sign) => text.insert(at, sign),
                None if text.len() > 1 => drop(text.remove(at)),
                None => {}
            }
        }
        let text: String = text.into_iter().collect();
        for (function, (name, _)) in TYPES.iter().enumerate() {
            let (ours, theirs) = FUNCTIONS.with(|functions| read(functions, function, &text));
            if ours.is_some() && theirs.is_some() {
                prop_assert_eq!(ours, theirs, "{}: {}", name, text);
            }
        }
    }
}

const SIGNS: &[char] = &[
    '[', ']', '(', ')', '{', '}', ':', ',', '%', '"', '\'', '\\', '/', '\n', '\r', ' ', '-', '1',
    'e', '.', 'a', 'A', 'é',
];
