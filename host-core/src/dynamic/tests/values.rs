use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::super::{
    json,
    problem::{Path, Problem, Room},
    shape::{Int, Members, Shape},
    wave,
};

const U8: Shape = Shape::Int(Int::U8);
const S32: Shape = Shape::Int(Int::S32);
const U64: Shape = Shape::Int(Int::U64);

fn list(item: Shape) -> Shape {
    Shape::List(Box::new(item))
}

fn option(some: Shape) -> Shape {
    Shape::Option(Box::new(some))
}

fn result(ok: Option<Shape>, err: Option<Shape>) -> Shape {
    Shape::Result { ok: ok.map(Box::new), err: err.map(Box::new) }
}

fn members<const N: usize>(list: [(&str, Option<Shape>); N]) -> Members {
    Members::new(list.into_iter())
}

fn point() -> Shape {
    Shape::Record(members([
        ("x", Some(S32)),
        ("y", Some(S32)),
        ("label", Some(option(Shape::String))),
    ]))
}

fn drawing() -> Shape {
    Shape::Variant(members([
        ("circle", Some(Shape::F64)),
        ("path", Some(list(point()))),
        ("none", None),
    ]))
}

fn rights() -> Shape {
    Shape::Flags(members([("read", None), ("write", None), ("none", None)]))
}

fn color() -> Shape {
    Shape::Enum(members([("red", None), ("dark-blue", None), ("some", None)]))
}

fn from_json(shape: &Shape, value: &Value) -> Result<Val, String> {
    let val = json::read(shape, value, &Path::param("x"), &mut Room::new());
    val.map_err(|Problem(problem)| problem)
}

fn from_wave(shape: &Shape, text: &str) -> Result<Val, String> {
    let params = [("x".to_owned(), shape.clone())];
    let vals = wave::Reader::new(&format!("({text})")).arguments(&params);
    vals.map(|mut vals| vals.remove(0)).map_err(|Problem(problem)| problem)
}

/// One value, as text and as JSON, both ways.
#[track_caller]
fn check(shape: &Shape, text: &str, value: Value) {
    let val = from_json(shape, &value).unwrap();
    assert_eq!(from_wave(shape, text).as_ref(), Ok(&val));
    assert_eq!(wave::write(&val, 1_000), text);
    assert_eq!(json::write(shape, val), value);
}

/// Another way to write down a value.
#[track_caller]
fn also(shape: &Shape, text: &str, value: &Value) {
    assert_eq!(from_wave(shape, text), from_json(shape, value));
    from_json(shape, value).unwrap();
}

#[test]
fn values_can_be_written_as_text_and_as_json() {
    check(&Shape::Bool, "true", json!(true));
    check(&S32, "-7", json!(-7));
    check(&Shape::F32, "0.1", json!(0.1));
    check(&Shape::F64, "0.1", json!(0.1));
    check(&Shape::Char, r"'\''", json!("'"));
    check(&Shape::String, r#""say \"hi\"\n""#, json!("say \"hi\"\n"));
    check(&list(S32), "[1, 2]", json!([1, 2]));
    check(&list(S32), "[]", json!([]));
    check(&list(U8), "[0, 255]", json!({"base64": "AP8="}));
    check(&list(U8), "[]", json!({"base64": ""}));
    check(&Shape::Tuple(vec![S32, Shape::Char]), "(1, 'x')", json!([1, "x"]));
    check(&drawing(), "circle(0.5)", json!({"circle": 0.5}));
    check(&drawing(), "%none", json!("none"));
    check(&color(), "dark-blue", json!("dark-blue"));
    check(&color(), "%some", json!("some"));
    check(&rights(), "{read, none}", json!(["read", "none"]));
    check(&rights(), "{}", json!([]));
    check(&result(Some(S32), Some(Shape::String)), "ok(1)", json!({"ok": 1}));
    check(&result(Some(S32), Some(Shape::String)), "err(\"a\")", json!({"err": "a"}));
    check(&result(None, None), "err", json!({"err": null}));
    check(
        &drawing(),
        r#"path([{x: 1, y: -2, label: some("a")}])"#,
        json!({"path": [{"x": 1, "y": -2, "label": "a"}]}),
    );
}

#[test]
fn options_in_options_are_told_apart() {
    let maybe = option(option(S32));
    check(&maybe, "none", json!(null));
    check(&maybe, "some(none)", json!({"some": null}));
    check(&maybe, "some(some(1))", json!({"some": 1}));
    check(&option(S32), "some(1)", json!(1));
    check(&option(result(None, None)), "some(ok)", json!({"ok": null}));
}

#[test]
fn integers_that_json_readers_would_round_are_strings() {
    let safe = (1_u64 << 53) - 1;
    check(&U64, &safe.to_string(), json!(safe));
    check(&U64, "9007199254740992", json!("9007199254740992"));
    check(&U64, "18446744073709551615", json!("18446744073709551615"));
    check(&Shape::Int(Int::S64), "-9223372036854775808", json!("-9223372036854775808"));
    also(&U64, "18446744073709551615", &json!(u64::MAX));
    also(&U64, "7", &json!("7"));
    for bad in ["", "-", "+1", "1.0", "0x1", " 1", "18446744073709551616"] {
        assert!(from_json(&U64, &json!(bad)).is_err(), "{bad}");
    }
    assert!(from_json(&S32, &json!("7")).is_err(), "there is no need for it");
}

#[test]
fn floats_that_json_has_no_numbers_for_are_strings() {
    for shape in [Shape::F32, Shape::F64] {
        check(&shape, "nan", json!("nan"));
        check(&shape, "inf", json!("inf"));
        check(&shape, "-inf", json!("-inf"));
        assert!(from_json(&shape, &json!("infinity")).is_err());
    }
    assert!(from_json(&Shape::F64, &json!(1e300)).is_ok());
    assert!(from_json(&Shape::F32, &json!(1e300)).is_err());
}

#[test]
fn there_is_more_than_one_way_to_write_a_value() {
    also(&list(U8), "[1, 2]", &json!([1, 2]));
    also(&point(), "{y: 2, x: 1}", &json!({"y": 2, "x": 1}));
    also(&point(), "{x: 1, y: 2, label: none,}", &json!({"x": 1, "y": 2, "label": null}));
    also(&point(), "{%x: 1, y: 2, label: \"a\"}", &json!({"x": 1, "y": 2, "label": "a"}));
    also(&rights(), "{write, read,}", &json!(["write", "read"]));
    also(&drawing(), "%circle(1e2)", &json!({"circle": 100}));
    also(&result(Some(S32), None), "1", &json!({"ok": 1}));
    also(&list(S32), " // one\n [ 1 , // two\r\n\t 2, ] ", &json!([1, 2]));
    also(&Shape::String, r#""\u{1f600}\t\\""#, &json!("😀\t\\"));
    let lines = "\"\"\"\n  a \"b\"\n   \\u{63}\n\n  \"\"\"".replace("\n\n", "\n  \n");
    also(&Shape::String, &lines, &json!("a \"b\"\n c\n"));
    also(&Shape::String, "\"\"\"\r\na\r\n\"\"\"", &json!("a"));
    also(&Shape::String, "\"\"\"\n\"\"\"", &json!(""));
    let empty = Shape::Record(members([("a", Some(option(U8)))]));
    also(&empty, "{:}", &json!({}));
}

/// What is said of a value that does not fit, as JSON or as text.
#[track_caller]
fn refused(said: Result<Val, String>, problem: &str) {
    assert_eq!(said, Err(problem.to_owned()));
}

#[test]
fn a_problem_says_where_and_what_was_expected() {
    let json = |shape: &Shape, value: Value| from_json(shape, &value);
    refused(json(&S32, json!("a")), "`x`: expected s32, not \"a\"");
    refused(json(&U8, json!(256)), "`x`: expected u8, not 256");
    refused(json(&U8, json!(1.5)), "`x`: expected u8, not 1.5");
    refused(json(&list(S32), json!([1, null])), "`x[1]`: expected s32, not null");
    refused(
        json(&Shape::Char, json!("ab")),
        "`x`: expected char: a string of one character, not \"ab\"",
    );
    refused(
        json(&list(drawing()), json!(["none", {"path": [{"x": 0, "y": true}]}])),
        "`x[1].path[0].y`: expected s32, not true",
    );
    refused(json(&point(), json!({"x": 1})), "`x.y`: is missing; expected s32");
    refused(
        json(&point(), json!({"x": 1, "y": 2, "z\u{1b}": 3})),
        r"`x.z\u{1b}`: there is no such member",
    );
    refused(
        json(&color(), json!("green")),
        "`x`: expected one of red, dark-blue, some, not \"green\"",
    );
    refused(
        json(&drawing(), json!("circle")),
        "`x`: expected {\"circle\": f64}, not the case alone",
    );
    refused(
        json(&drawing(), json!({"none": 1})),
        "`x`: expected \"none\", not a payload, which it has not",
    );
    refused(json(&rights(), json!(["read", "read"])), "`x[1]`: `read` is there twice");
    refused(
        json(&list(U8), json!({"base64": "?"})),
        "`x`: expected base64 with padding, not \"?\"",
    );
    refused(json(&result(None, None), json!({"ok": 1})), "`x.ok`: expected null, not 1");
    refused(
        json(&option(option(S32)), json!(1)),
        "`x`: expected option of an option: null or {\"some\": ..}, not 1",
    );
    refused(
        json(&Shape::Tuple(vec![S32, S32]), json!([1])),
        "`x`: expected tuple: an array of 2, not an array of 1",
    );
}

#[test]
fn a_problem_in_a_text_says_the_same() {
    let wave = |shape: &Shape, text: &str| from_wave(shape, text);
    refused(wave(&S32, "\"a\""), "`x`: expected s32, not \"a\")");
    refused(wave(&U8, "256"), "`x`: expected u8, not 256");
    refused(wave(&list(S32), "[1, x]"), "`x[1]`: expected s32, not x");
    refused(
        wave(&list(drawing()), "[%none, path([{x: 0, y: true}])]"),
        "`x[1].path[0].y`: expected s32, not true",
    );
    refused(wave(&point(), "{x: 1}"), "`x.y`: is missing; expected s32");
    refused(wave(&point(), "{x: 1, x: 2}"), "`x.x`: is there twice");
    refused(wave(&point(), "{x: 1, z: 2}"), "`x`: expected one of x, y, label as a member, not z");
    refused(wave(&color(), "green"), "`x`: expected one of red, dark-blue, some, not green");
    refused(wave(&drawing(), "circle"), "`x.circle`: is missing; expected f64");
    refused(wave(&drawing(), "none(1)"), "`x.none`: has no payload");
    refused(wave(&rights(), "{read, read}"), "`x`: `read` is there twice");
    refused(wave(&Shape::Tuple(vec![S32, S32]), "(1)"), "`x[1]`: is missing; expected s32");
    refused(
        wave(&Shape::Tuple(vec![S32]), "(1, 2)"),
        "`x`: expected no more than 1 items in the tuple, not 2))",
    );
    refused(wave(&Shape::String, "\"a\nb\""), "`x`: the string does not end on its line");
    refused(wave(&Shape::String, r#""\q""#), r#"`x`: `\` goes before one of ' " t n r \ u{..}"#);
    refused(wave(&list(S32), "[1 2]"), "`x[0]`: expected `,` or `]` after it, not 2])");
    refused(
        wave(&S32, "1, 2"),
        "expected `)`, for there are no more parameters, not 2) (at byte 4 of the arguments)",
    );
    refused(
        wave(&S32, "1) 2"),
        "expected nothing after the arguments, not 2) (at byte 4 of the arguments)",
    );
}

#[test]
fn numbers_are_written_in_one_way() {
    for bad in [
        "+1", "01", "1.", ".5", "1e", "0x1", "1_000", "Infinity", "NaN", "--1", "-", "1.e5", "-nan",
    ] {
        assert!(from_wave(&Shape::F64, bad).is_err(), "{bad}");
    }
    for good in ["0", "-0", "10", "1.5", "1e5", "1E+5", "-1.25e-5", "0.0"] {
        let expected = Ok(Val::Float64(good.parse().unwrap()));
        assert_eq!(from_wave(&Shape::F64, good), expected);
    }
    assert!(from_wave(&S32, "1.0").is_err());
}

#[test]
fn a_text_that_is_cut_is_no_longer_than_asked() {
    let val = Val::String("\u{e9}\u{1b}".repeat(100));
    assert_eq!(wave::write(&val, 12), "\"\u{e9}\\u{1b}\u{e9}\\...");
    let many = Val::List(vec![Val::U8(1); 1 << 20]);
    assert_eq!(wave::write(&many, 8), "[1, 1, 1...");
}

#[test]
fn a_short_text_cannot_become_a_large_value() {
    // A thousand options that are all left out, many times.
    let names: Vec<_> = (0..1_000).map(|i| format!("member-{i}")).collect();
    let record = names.iter().map(|name| (name.as_str(), Some(option(U8))));
    let records = list(Shape::Record(Members::new(record)));
    let problem = "the arguments take more than 64 MiB up to here";
    let text = format!("[{}]", "{:},".repeat(200_000));
    assert!(from_wave(&records, &text).unwrap_err().ends_with(problem));
    let value = Value::Array(vec![json!({}); 200_000]);
    assert!(from_json(&records, &value).unwrap_err().ends_with(problem));
    assert!(from_wave(&records, "[{:}, {:}]").is_ok());
    let bytes = json!({"base64": "AAAA".repeat(1 << 20)});
    assert!(from_json(&list(U8), &bytes).unwrap_err().ends_with(problem));
    let bytes = json!({"base64": "AAAA".repeat(1 << 18)});
    assert!(from_json(&list(U8), &bytes).is_ok());
}

#[test]
fn no_text_however_long_takes_more_stack_than_its_type_is_deep() {
    let long = 1 << 20;
    let texts = [
        "// comment\n".repeat(long / 11) + "1",
        " ".repeat(long) + "1",
        "[".repeat(long),
        "(".repeat(long),
        "some(".repeat(long / 5),
        "{a:".repeat(long / 3),
        "1".repeat(long),
        "\"".to_owned() + &"\\n".repeat(long / 2) + "\"",
        "\"\"\"\n".to_owned() + &"\n".repeat(long) + "\"\"\"",
        "\\u{".repeat(long / 3),
        "a-".repeat(long / 2),
    ];
    let shapes = [S32, Shape::F64, list(S32), Shape::String, color(), point(), option(option(U8))];
    let small = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        for shape in &shapes {
            for text in &texts {
                let _ = from_wave(shape, text);
            }
        }
        (from_wave(&S32, &texts[0]), from_wave(&Shape::String, &texts[7]).is_ok())
    });
    assert_eq!(small.unwrap().join().unwrap(), (Ok(Val::S32(1)), true));
}

/// Words of the language among them.
const NAMES: [&str; 8] = ["a", "some", "none", "ok", "err", "inf", "true", "two-words"];

fn shape() -> impl Strategy<Value = Shape> {
    let int = prop::sample::select(vec![
        Int::S8,
        Int::U8,
        Int::S16,
        Int::U16,
        Int::S32,
        Int::U32,
        Int::S64,
        Int::U64,
    ]);
    let some_names = || prop::sample::subsequence(NAMES.to_vec(), 1..NAMES.len());
    let plain =
        move || some_names().prop_map(|names| Members::new(names.into_iter().map(|n| (n, None))));
    let leaf = prop_oneof![
        4 => int.prop_map(Shape::Int),
        1 => prop::sample::select(vec![
            Shape::Bool,
            Shape::F32,
            Shape::F64,
            Shape::Char,
            Shape::String,
        ]),
        1 => plain().prop_map(Shape::Enum),
        1 => plain().prop_map(Shape::Flags),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let maybe = || prop::option::of(inner.clone().prop_map(Box::new));
        let fields = (some_names(), prop::collection::vec(inner.clone(), NAMES.len()));
        let cases =
            (some_names(), prop::collection::vec(prop::option::of(inner.clone()), NAMES.len()));
        prop_oneof![
            inner.clone().prop_map(list),
            inner.clone().prop_map(option),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            (maybe(), maybe()).prop_map(|(ok, err)| Shape::Result { ok, err }),
            fields.prop_map(|(names, shapes)| {
                Shape::Record(Members::new(names.into_iter().zip(shapes.into_iter().map(Some))))
            }),
            cases.prop_map(|(names, shapes)| {
                Shape::Variant(Members::new(names.into_iter().zip(shapes)))
            }),
        ]
    })
}

fn payload(shape: Option<&Shape>) -> BoxedStrategy<Option<Box<Val>>> {
    match shape {
        Some(shape) => val(shape).prop_map(|val| Some(Box::new(val))).boxed(),
        None => Just(None).boxed(),
    }
}

fn val(shape: &Shape) -> BoxedStrategy<Val> {
    match shape {
        Shape::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Shape::Int(int) => {
            let int = *int;
            // Of all values, those that fit.
            let value =
                prop_oneof![any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from)];
            (value, 0..64_u32)
                .prop_map(move |(value, shift)| {
                    let fits =
                        (0..=8).find_map(|more| int.val(value >> (shift + more * 8).min(127)));
                    fits.unwrap_or_else(|| int.val(0).unwrap())
                })
                .boxed()
        }
        Shape::F32 => any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).boxed(),
        Shape::F64 => any::<u64>().prop_map(|bits| Val::Float64(f64::from_bits(bits))).boxed(),
        Shape::Char => any::<char>().prop_map(Val::Char).boxed(),
        Shape::String => any::<String>().prop_map(Val::String).boxed(),
        Shape::List(item) => prop::collection::vec(val(item), 0..4).prop_map(Val::List).boxed(),
        Shape::Tuple(items) => {
            items.iter().map(val).collect::<Vec<_>>().prop_map(Val::Tuple).boxed()
        }
        Shape::Record(members) => {
            let fields: Vec<_> = members
                .iter()
                .map(|(name, shape)| (Just(name.to_owned()), val(shape.unwrap())))
                .collect();
            fields.prop_map(Val::Record).boxed()
        }
        Shape::Variant(cases) => {
            let cases: Vec<_> = cases
                .iter()
                .map(|(name, shape)| {
                    let name = name.to_owned();
                    payload(shape).prop_map(move |val| Val::Variant(name.clone(), val)).boxed()
                })
                .collect();
            prop::sample::select(cases).prop_flat_map(|case| case).boxed()
        }
        Shape::Enum(cases) => {
            let names: Vec<_> = cases.iter().map(|(name, _)| name.to_owned()).collect();
            prop::sample::select(names).prop_map(Val::Enum).boxed()
        }
        Shape::Flags(flags) => {
            let names: Vec<_> = flags.iter().map(|(name, _)| name.to_owned()).collect();
            let all = 0..=names.len();
            prop::sample::subsequence(names, all).prop_map(Val::Flags).boxed()
        }
        Shape::Option(some) => {
            let some = val(some).prop_map(|val| Some(Box::new(val)));
            prop_oneof![Just(None), some].prop_map(Val::Option).boxed()
        }
        Shape::Result { ok, err } => {
            let ok = payload(ok.as_deref()).prop_map(|val| Val::Result(Ok(val)));
            let err = payload(err.as_deref()).prop_map(|val| Val::Result(Err(val)));
            prop_oneof![ok, err].boxed()
        }
        Shape::Foreign(what) => panic!("{what}"),
    }
}

fn typed() -> impl Strategy<Value = (Shape, Val)> {
    shape().prop_flat_map(|shape| {
        let val = val(&shape);
        (Just(shape), val)
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(NAMES.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name =
            prop::sample::select(["base64"].iter().chain(&NAMES).copied().collect::<Vec<_>>());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.prop_map(str::to_owned), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_comes_back_from_json((shape, val) in typed()) {
        let value = json::write(&shape, val.clone());
        prop_assert_eq!(from_json(&shape, &value), Ok(val), "{}", value);
    }

    #[test]
    fn every_value_comes_back_from_its_text((shape, val) in typed()) {
        let text = wave::write(&val, usize::MAX);
        prop_assert_eq!(from_wave(&shape, &text), Ok(val), "{}", text);
    }

    #[test]
    fn text_and_json_can_be_exchanged((shape, val) in typed()) {
        let by_text = from_wave(&shape, &wave::write(&val, usize::MAX)).unwrap();
        let by_json = from_json(&shape, &json::write(&shape, by_text)).unwrap();
        prop_assert_eq!(by_json, val);
    }

    #[test]
    fn no_document_is_too_odd(shape in shape(), value in any_json()) {
        if let Ok(val) = from_json(&shape, &value) {
            let again = json::write(&shape, val.clone());
            prop_assert_eq!(from_json(&shape, &again), Ok(val));
        }
    }

    #[test]
    fn no_text_is_too_odd(
        shape in shape(),
        text in r#"([\[\](){}:,%"'\\ /\n-]|some|none|ok|err|true|nan|inf|a|1|0|\.|e|\\u\{|\PC){0,20}"#,
    ) {
        if let Ok(val) = from_wave(&shape, &text) {
            prop_assert_eq!(from_wave(&shape, &wave::write(&val, usize::MAX)), Ok(val));
        }
    }

    #[test]
    fn a_text_with_a_mistake_is_read_or_refused(
        (shape, val) in typed(),
        at in any::<prop::sample::Index>(),
        other in prop::sample::select(r#"[](){}:,%"' -1a"#.chars().collect::<Vec<_>>()),
    ) {
        let mut text: Vec<char> = wave::write(&val, usize::MAX).chars().collect();
        let at = at.index(text.len());
        text[at] = other;
        let _ = from_wave(&shape, &text.into_iter().collect::<String>());
    }
}
