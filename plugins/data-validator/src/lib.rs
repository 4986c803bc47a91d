//! Checks JSON against a schema and the shape of CSV, and names each violation with its path.
//!
//! | content type       | option      | value                                                             |
//! |--------------------|-------------|-------------------------------------------------------------------|
//! | `application/json` | `schema`    | a JSON Schema (draft 4 to 2020-12), as text; without it the document only has to be well-formed |
//! | `text/csv`         | `columns`   | the names of the columns, in order                                |
//! |                    | `types`     | the type of each column: `string`, `int`, `float`, `bool`, `date` |
//! |                    | `delimiter` | the character between fields, by default `,`                      |
//! |                    | `header`    | whether the first row names the columns, by default `true`        |
//!
//! The answer is `{"valid":…,"violations":[{"path":…,"message":…}],"checked":…}`: for JSON the path
//! is a JSON pointer, for CSV `/row/column` with rows counted from 1 after the header. After 1,000
//! violations the check ends and `"truncated":true` is added; of a JSON document with more than
//! 200,000 values only one violation is told. A document that is malformed is
//! invalid; one that is too large or too deep to be checked is an error.
//! Not here: the checks themselves (`json`, `table`).

mod json;
mod table;
#[cfg(test)]
mod tests;

use guest_sdk::prelude::*;
use serde::Serialize;

/// The largest document that is taken, in bytes.
const INPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

const VIOLATIONS_MAX: usize = 1000;

/// Messages repeat parts of the document; longer ones are cut here, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

struct DataValidator;

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    schema: Option<String>,
    columns: Option<Vec<String>>,
    types: Option<Vec<table::Type>>,
    delimiter: Option<char>,
    header: Option<bool>,
}

/// What is wrong, and where.
#[derive(Serialize, Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    message: String,
}

/// What a check came to.
#[derive(Serialize, Default)]
struct Report {
    valid: bool,
    violations: Vec<Violation>,
    /// How many documents or rows were looked at.
    checked: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Report {
    /// Takes down a violation; `false` once there is no room for more.
    fn add(&mut self, path: String, mut message: String) -> bool {
        if self.violations.len() == VIOLATIONS_MAX {
            self.truncated = true;
            return false;
        }
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        self.violations.push(Violation { path, message });
        true
    }
}

impl Plugin for DataValidator {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl Processor for DataValidator {
    type Options = Options;

    fn process(&self, input: Input, options: Options) -> Result<Output> {
        ensure!(
            input.bytes.len() <= INPUT_BYTES_MAX,
            "the document has {} bytes; the most is {INPUT_BYTES_MAX}",
            input.bytes.len()
        );
        let mut report = match input.content_type.as_str() {
            "application/json" => {
                let for_csv = [
                    ("columns", options.columns.is_some()),
                    ("types", options.types.is_some()),
                    ("delimiter", options.delimiter.is_some()),
                    ("header", options.header.is_some()),
                ];
                for (name, given) in for_csv {
                    ensure!(!given, "option `{name}`: only text/csv has one");
                }
                json::check(&input.bytes, options.schema.as_deref())?
            }
            "text/csv" => {
                ensure!(options.schema.is_none(), "option `schema`: only application/json has one");
                table::check(&input.bytes, &options)?
            }
            other => bail!("content type `{other}`: expected application/json or text/csv"),
        };
        report.valid = report.violations.is_empty();
        let output = Output::new(serde_json::to_vec(&report)?, "application/json");
        Ok(output.items(report.checked))
    }

    fn validate(&self, input: &[u8]) -> bool {
        input.len() <= INPUT_BYTES_MAX
    }
}

guest_sdk::processor_plugin!(DataValidator);
