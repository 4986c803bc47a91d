//! On the documents in `samples/`, and on some that are wrong on purpose.

use guest_sdk::testing::Harness;
use serde_json::{Value, json};

use super::DataValidator;

const ORDER: &str = include_str!("../../../samples/order.json");
const ORDER_SCHEMA: &str = include_str!("../../../samples/order.schema.json");
const PEOPLE: &str = include_str!("../../../samples/people.csv");

fn run(input: &[u8], content_type: &str, options: &[(&str, &str)]) -> Result<Value, String> {
    let mut plugin = Harness::<DataValidator>::new().unwrap();
    for (name, value) in options {
        plugin.option(name, value);
    }
    let output = plugin.process(input, content_type).map_err(|error| error.to_string())?;
    assert_eq!(output.content_type, "application/json");
    let report: Value = serde_json::from_slice(&output.bytes).unwrap();
    assert_eq!(report["checked"], output.items);
    Ok(report)
}

/// The violations as `path message`.
#[track_caller]
fn violations(report: &Value) -> Vec<String> {
    let list = report["violations"].as_array().unwrap();
    assert_eq!(report["valid"], list.is_empty());
    let line = |one: &Value| {
        format!("{} {}", one["path"].as_str().unwrap(), one["message"].as_str().unwrap())
    };
    list.iter().map(line).collect()
}

#[track_caller]
fn json(document: &str, schema: &str, expected: &[&str]) {
    let report = run(document.as_bytes(), "application/json", &[("schema", schema)]).unwrap();
    assert_eq!(violations(&report), expected);
}

#[track_caller]
fn csv(document: &str, options: &[(&str, &str)], expected: &[&str]) {
    let report = run(document.as_bytes(), "text/csv", options).unwrap();
    assert_eq!(violations(&report), expected);
}

#[track_caller]
fn refused(input: &[u8], content_type: &str, options: &[(&str, &str)], expected: &str) {
    let error = run(input, content_type, options).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_good_document_has_no_violations() {
    json(ORDER, ORDER_SCHEMA, &[]);
    let people = [
        ("columns", "id,name,email,born,score,active"),
        ("types", "int,string,string,date,float,bool"),
    ];
    csv(PEOPLE, &people, &[]);
}

#[test]
fn each_violation_has_its_path() {
    let mut order: Value = serde_json::from_str(ORDER).unwrap();
    order["lines"][1]["quantity"] = json!(0);
    order["currency"] = json!("Euro");
    order.as_object_mut().unwrap().remove("customer");
    json(
        &order.to_string(),
        ORDER_SCHEMA,
        &[
            " \"customer\" is a required property",
            "/currency \"Euro\" does not match \"^[A-Z]{3}$\"",
            "/lines/1/quantity 0 is less than the minimum of 1",
        ],
    );
    json(
        r#"{"a/b~c":1}"#,
        r#"{"properties":{"a/b~c":false}}"#,
        &["/a~1b~0c False schema does not allow 1"],
    );
}

#[test]
fn a_long_value_is_not_repeated_in_the_message() {
    let document = format!("[{}1]", "1,".repeat(100_000));
    json(&document, r#"{"type":"object"}"#, &[" value is not of type \"object\""]);
}

#[test]
fn malformed_json_is_invalid_and_says_where() {
    let report = run(b"[\n 1,]", "application/json", &[]).unwrap();
    assert_eq!(violations(&report), [" expected value at line 2 column 4"]);
    assert!(violations(&run(b"[1]", "application/json", &[]).unwrap()).is_empty());
    assert_eq!(violations(&run(b"\xFF", "application/json", &[]).unwrap()).len(), 1);
    assert_eq!(violations(&run(b"", "application/json", &[("schema", "{}")]).unwrap()).len(), 1);
}

#[test]
fn violations_are_counted_up_to_a_thousand() {
    let document = format!("[{}1]", "1,".repeat(5000));
    let schema = [("schema", r#"{"items":{"type":"string"}}"#)];
    let report = run(document.as_bytes(), "application/json", &schema).unwrap();
    assert_eq!(violations(&report).len(), 1000);
    assert_eq!(report["truncated"], true);

    let document = "n\n".to_owned() + &"x\n".repeat(5000);
    let report = run(document.as_bytes(), "text/csv", &[("types", "int")]).unwrap();
    assert_eq!(violations(&report).len(), 1000);
    assert_eq!(report["truncated"], true);
    assert_eq!(run(b"n\n1", "text/csv", &[]).unwrap().get("truncated"), None);
}

#[test]
fn of_a_very_large_document_one_violation_is_told() {
    let document = format!("[{}1]", "1,".repeat(300_000));
    let schema = [("schema", r#"{"items":{"type":"string"}}"#)];
    let report = run(document.as_bytes(), "application/json", &schema).unwrap();
    assert_eq!(violations(&report), ["/0 1 is not of type \"string\""]);
    assert_eq!(report["truncated"], true);
    let schema = [("schema", r#"{"items":{"type":"integer"}}"#)];
    let report = run(document.as_bytes(), "application/json", &schema).unwrap();
    assert!(violations(&report).is_empty() && report.get("truncated").is_none());
}

#[test]
fn documents_beyond_what_can_be_checked_are_errors() {
    let large = vec![b' '; 50_000_000];
    refused(
        &large,
        "application/json",
        &[],
        "the document has 50000000 bytes; the most is 16777216",
    );
    let deep = "[".repeat(1_000_000);
    refused(deep.as_bytes(), "application/json", &[], "nested 1000000 deep; the most is 127");
    refused(deep.as_bytes(), "application/json", &[("schema", "{}")], "nested 1000000 deep");
    let many = format!("[{}1]", "{\"a\":1},".repeat(1_000_000));
    refused(many.as_bytes(), "application/json", &[("schema", "{}")], "holds too many values");
    assert!(violations(&run(many.as_bytes(), "application/json", &[]).unwrap()).is_empty());
    let nested = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert!(
        violations(&run(nested.as_bytes(), "application/json", &[("schema", "{}")]).unwrap())
            .is_empty()
    );
}

#[test]
fn brackets_and_quotes_inside_of_strings_do_not_nest() {
    let document = format!(r#"["\"{}"]"#, "[".repeat(1000));
    assert!(violations(&run(document.as_bytes(), "application/json", &[]).unwrap()).is_empty());
}

#[test]
fn a_schema_that_cannot_be_used_is_an_error() {
    let schema = |schema: &str, expected: &str| {
        refused(b"1", "application/json", &[("schema", schema)], expected);
    };
    schema("{", "option `schema`: not JSON");
    schema(r#"{"type":"strnig"}"#, "option `schema`: ");
    schema(r#"{"$ref":"https://example.org/x.json"}"#, "option `schema`: ");
    schema(r#"{"pattern":"(a{1000}){1000}"}"#, "option `schema`: ");
    schema(&format!("{}{{}}{}", r#"{"not":"#.repeat(200), "}".repeat(200)), "nested 201 deep");
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    json("1", r##"{"$ref":"#"}"##, &[]);
    json("1", r##"{"allOf":[{"$ref":"#"}]}"##, &[]);
    let list = r##"{"properties":{"next":{"$ref":"#"}},"required":["v"]}"##;
    json(r#"{"v":1,"next":{"v":2,"next":{}}}"#, list, &["/next/next \"v\" is a required property"]);
}

#[test]
fn each_field_of_a_table_is_checked() {
    csv(
        "id,born,ok\n1,2024-02-29,true\nx,2023-02-29,yes\n3,,false\n4\n",
        &[("types", "int,date,bool")],
        &[
            "/2/id expected a whole number, got `x`",
            "/2/born expected a date like 2026-01-31, got `2023-02-29`",
            "/2/ok expected `true` or `false`, got `yes`",
            "/3/born expected a date like 2026-01-31, got an empty field",
            "/4 expected 3 columns, got 1",
        ],
    );
    csv("a;b\n1;2,5\n", &[("delimiter", ";"), ("types", "int,string")], &[]);
    csv(
        "1,x\n",
        &[("header", "false"), ("types", "int,int")],
        &["/1/2 expected a whole number, got `x`"],
    );
    csv("a\n\"quoted, \"\"and\"\"\nlong\"\n", &[], &[]);
}

#[test]
fn the_header_is_compared_with_the_columns() {
    csv(
        "a,c\n",
        &[("columns", "a,b")],
        &["/header/b the column is missing", "/header/c the column is not expected"],
    );
    csv("b,a\n", &[("columns", "a,b")], &["/header expected the columns in the order a, b"]);
    csv("a,a\n", &[], &["/header/a the column is there twice"]);
    csv("", &[], &["/header the document has no header"]);
}

#[test]
fn text_that_is_no_utf8_is_a_violation() {
    let report = run(b"a\n\xFF\n", "text/csv", &[]).unwrap();
    assert_eq!(violations(&report), ["/1/a not UTF-8: invalid byte at offset 0"]);
}

#[test]
fn options_that_do_not_fit_are_named() {
    refused(b"", "text/csv", &[("schema", "{}")], "option `schema`: only application/json");
    refused(b"", "application/json", &[("columns", "a")], "option `columns`: only text/csv");
    refused(
        b"",
        "text/csv",
        &[("columns", "a"), ("types", "int,int")],
        "option `types`: 2 types for 1 columns",
    );
    refused(
        b"a\n",
        "text/csv",
        &[("types", "int,int")],
        "option `types`: 2 types for the 1 columns",
    );
    refused(b"", "text/csv", &[("types", "integer")], "option `types`: expected `string`, `int`");
    refused(b"", "text/csv", &[("delimiter", "ä")], "option `delimiter`");
    refused(b"", "text/plain", &[], "content type `text/plain`");
}
