//! JSON against JSON Schema.

use guest_sdk::prelude::*;
use jsonschema::{PatternOptions, ValidationError};
use serde_json::Value;

use crate::Report;

/// Deepest nesting of arrays and objects, as in `serde_json`.
const DEPTH_MAX: usize = 127;

const SCHEMA_BYTES_MAX: usize = 256 * 1024;

/// What a document may take up once it is read, in bytes: much more than its text where it
/// consists of many small things. The manifest asks for 256 MB.
const TREE_BYTES_MAX: u64 = 144_000_000;

/// The validator makes all violations before it hands out the first. Beyond this many values in the
/// document, or this many pairs of a value in the document and one in the schema, only one
/// violation is asked for.
/// FIXME: a schema made to break hundreds of rules at each value still runs out of memory below
/// these bounds; that costs the caller its own call.
const LISTED_VALUES_MAX: u64 = 200_000;
const LISTED_PAIRS_MAX: u64 = 8_000_000;

/// Bounds for each compiled pattern of the schema, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Values of this many bytes or more are not repeated in messages.
const QUOTED_BYTES_MAX: usize = 100;

pub(crate) fn check(document: &[u8], schema: Option<&str>) -> Result<Report> {
    let mut report = Report { checked: 1, ..Report::default() };
    let shape = Shape::of(document);
    ensure!(
        shape.depth <= DEPTH_MAX,
        "the document is nested {} deep; the most is {DEPTH_MAX}",
        shape.depth
    );
    let Some(schema) = schema else {
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(document) {
            report.add(String::new(), error.to_string());
        }
        return Ok(report);
    };
    let validator = compile(schema)?;
    let pairs = shape.values.saturating_mul(Shape::of(schema.as_bytes()).values);
    ensure!(
        shape.tree_bytes <= TREE_BYTES_MAX,
        "the document holds too many values to be checked against a schema: it would take {} MB, \
         more than the {} MB there are",
        shape.tree_bytes.div_ceil(1_000_000),
        TREE_BYTES_MAX / 1_000_000
    );
    let document: Value = match serde_json::from_slice(document) {
        Ok(document) => document,
        Err(error) => {
            report.add(String::new(), error.to_string());
            return Ok(report);
        }
    };
    if shape.values > LISTED_VALUES_MAX || pairs > LISTED_PAIRS_MAX {
        if let Err(error) = validator.validate(&document) {
            report.add(error.instance_path().as_str().to_owned(), message(&error));
            report.truncated = true;
        }
        return Ok(report);
    }
    for error in validator.iter_errors(&document) {
        let path = error.instance_path().as_str().to_owned();
        if !report.add(path, message(&error)) {
            break;
        }
    }
    Ok(report)
}

fn compile(schema: &str) -> Result<jsonschema::Validator> {
    ensure!(
        schema.len() <= SCHEMA_BYTES_MAX,
        "option `schema`: the most is {SCHEMA_BYTES_MAX} bytes, got {}",
        schema.len()
    );
    let depth = Shape::of(schema.as_bytes()).depth;
    ensure!(depth <= DEPTH_MAX, "option `schema`: nested {depth} deep; the most is {DEPTH_MAX}");
    let schema: Value = serde_json::from_str(schema).context("option `schema`: not JSON")?;
    // An engine that does not backtrack: the schema comes from the caller.
    let patterns =
        PatternOptions::regex().size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(&schema)
        .map_err(|error| Error::msg(format!("option `schema`: {error}")))
}

/// The message of the validator, without the value at fault where that is long.
fn message(error: &ValidationError<'_>) -> String {
    let short = match error.instance().as_ref() {
        Value::Array(_) | Value::Object(_) => false,
        Value::String(text) => text.len() < QUOTED_BYTES_MAX,
        _ => true,
    };
    if short { error.to_string() } else { error.masked().to_string() }
}

/// What can be told of a document before anything is allocated for it.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    depth: usize,
    /// How many values there are, counting those that hold others.
    values: u64,
    /// An upper bound of what the parsed document takes up.
    tree_bytes: u64,
}

impl Shape {
    fn of(document: &[u8]) -> Self {
        // An array doubles as it grows, and an object starts with a node of eleven places.
        const VALUE_BYTES: u64 = 64;
        const OBJECT_BYTES: u64 = 560;
        let (mut depth, mut deepest, mut values, mut objects) = (0_usize, 0, 1_u64, 0_u64);
        let mut bytes = document.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => {
                    while let Some(byte) = bytes.next() {
                        match byte {
                            b'"' => break,
                            b'\\' => drop(bytes.next()),
                            _ => {}
                        }
                    }
                }
                b'[' | b'{' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                    values += 1;
                    objects += u64::from(*byte == b'{');
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => values += 1,
                _ => {}
            }
        }
        let tree_bytes = 2 * document.len() as u64 + values * VALUE_BYTES + objects * OBJECT_BYTES;
        Self { depth: deepest, values, tree_bytes }
    }
}
