use std::collections::BTreeMap;

use serde::Deserialize;

use super::from_pairs;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Png,
    JpegXl,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    max_width: Option<u32>,
    ratio: f64,
    enlarge: bool,
    format: Option<Format>,
    title: String,
    delimiter: Option<char>,
    ops: Vec<String>,
    sizes: Vec<u8>,
    at: Option<(i32, i32)>,
}

fn read(pairs: &[(&str, &str)]) -> Result<Options, String> {
    let pairs: Vec<_> = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    from_pairs(&pairs).map_err(|error| error.to_string())
}

#[track_caller]
fn check(pairs: &[(&str, &str)], expected: Options) {
    assert_eq!(read(pairs), Ok(expected));
}

#[track_caller]
fn refused(pairs: &[(&str, &str)], expected: &str) {
    assert_eq!(read(pairs).unwrap_err(), expected);
}

#[test]
fn no_options_are_the_defaults() {
    check(&[], Options::default());
}

#[test]
fn each_kind_of_field_reads_its_own_form() {
    check(
        &[
            ("max-width", "320"),
            ("ratio", "0.5"),
            ("enlarge", "yes"),
            ("format", "jpeg-xl"),
            ("title", " as it is "),
            ("delimiter", ";"),
            ("at", "-1, 2"),
        ],
        Options {
            max_width: Some(320),
            ratio: 0.5,
            enlarge: true,
            format: Some(Format::JpegXl),
            title: " as it is ".to_owned(),
            delimiter: Some(';'),
            at: Some((-1, 2)),
            ..Options::default()
        },
    );
}

#[test]
fn a_list_is_one_value_with_commas_or_the_option_repeated() {
    let ops = |ops: &[&str]| Options {
        ops: ops.iter().map(|op| (*op).to_owned()).collect(),
        ..Options::default()
    };
    check(&[("ops", "trim, lower")], ops(&["trim", "lower"]));
    check(&[("ops", "a,b"), ("title", ""), ("ops", "c")], ops(&["a,b", "c"]));
    check(&[("ops", "")], ops(&[]));
    check(&[("sizes", "1,2")], Options { sizes: vec![1, 2], ..Options::default() });
}

#[test]
fn a_list_names_its_option_when_one_item_is_wrong() {
    refused(
        &[("sizes", "1,300")],
        "option `sizes`: expected a whole number from 0 to 255, got `300`",
    );
}

#[test]
fn two_values_for_one_place_are_refused() {
    refused(
        &[("max-width", "1"), ("max-width", "2")],
        "option `max-width`: given 2 times, but it takes one value",
    );
}

#[test]
fn values_of_the_wrong_form_say_which_form_is_right() {
    refused(
        &[("max-width", "-1")],
        "option `max-width`: expected a whole number from 0 to 4294967295, got `-1`",
    );
    refused(&[("ratio", "half")], "option `ratio`: expected a number, got `half`");
    refused(&[("enlarge", "maybe")], "option `enlarge`: expected `true` or `false`, got `maybe`");
    refused(&[("format", "gif")], "option `format`: expected `png` or `jpeg-xl`, got `gif`");
    refused(&[("delimiter", "ab")], "option `delimiter`: expected one character, got `ab`");
    refused(&[("at", "1")], "option `at`: expected 2 values, got 1");
}

#[test]
fn an_unknown_option_is_refused_with_the_known_ones() {
    let error = read(&[("widht", "1")]).unwrap_err();
    assert!(error.starts_with("unknown option `widht`, expected `max-width`, "), "{error}");
}

#[test]
fn an_unknown_option_passes_where_the_struct_lets_it() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Lenient {
        known: u8,
    }
    let pairs = [("extra".to_owned(), "x".to_owned()), ("known".to_owned(), "7".to_owned())];
    assert_eq!(from_pairs(&pairs), Ok(Lenient { known: 7 }));
    let error = from_pairs::<Lenient>(&[]).unwrap_err();
    assert_eq!(error.to_string(), "option `known` is missing");
}

#[test]
fn no_options_at_all_can_be_asked_for() {
    assert_eq!(from_pairs::<()>(&[]), Ok(()));
    let error = from_pairs::<()>(&[("a".to_owned(), "1".to_owned())]).unwrap_err();
    assert_eq!(error.to_string(), "unknown option `a`, there are no options");
}

#[test]
fn a_map_takes_every_option() {
    let pairs = [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())];
    let map: BTreeMap<String, String> = from_pairs(&pairs).unwrap();
    assert_eq!(map.len(), 2);
}

#[test]
fn a_long_value_is_shortened_in_the_message() {
    let long = "x".repeat(10_000);
    assert!(read(&[("max-width", &long)]).unwrap_err().len() < 200);
}
