//! CSV: names, number and types of columns.

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use guest_sdk::prelude::*;

use crate::{Options, Report};

const COLUMNS_MAX: usize = 4096;

/// What the fields of a column are to be.
#[derive(serde::Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Type {
    String,
    Int,
    Float,
    Bool,
    Date,
}

impl Type {
    fn takes(self, field: &str) -> bool {
        match self {
            Self::String => true,
            Self::Int => field.parse::<i64>().is_ok(),
            Self::Float => field.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Bool => matches!(field, "true" | "false"),
            Self::Date => is_date(field),
        }
    }

    fn form(self) -> &'static str {
        match self {
            Self::String => "any text",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "`true` or `false`",
            Self::Date => "a date like 2026-01-31",
        }
    }
}

pub(crate) fn check(document: &[u8], options: &Options) -> Result<Report> {
    let delimiter = options.delimiter.unwrap_or(',');
    let delimiter = u8::try_from(delimiter).ok().filter(u8::is_ascii);
    let delimiter = delimiter.context("option `delimiter`: expected an ASCII character")?;
    ensure!(
        !matches!(delimiter, b'"' | b'\r' | b'\n'),
        "option `delimiter`: neither a quote nor a line end can be one"
    );
    if let (Some(columns), Some(types)) = (&options.columns, &options.types) {
        ensure!(
            columns.len() == types.len(),
            "option `types`: {} types for {} columns",
            types.len(),
            columns.len()
        );
    }
    let named = options.columns.as_ref().map_or(0, Vec::len);
    ensure!(named <= COLUMNS_MAX, "option `columns`: the most is {COLUMNS_MAX}, got {named}");

    // Ragged rows are for us to report, each with its path.
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(document);
    let mut report = Report::default();
    let mut record = ByteRecord::new();

    let mut columns = options.columns.clone();
    if options.header.unwrap_or(true) {
        if !read(&mut reader, &mut record)? {
            report.add("/header".to_owned(), "the document has no header".to_owned());
            return Ok(report);
        }
        let header: Vec<_> =
            record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        check_header(&header, columns.as_deref(), &mut report);
        columns.get_or_insert(header);
    }
    let wanted = columns.as_ref().map(Vec::len).or(options.types.as_ref().map(Vec::len));
    if let (Some(wanted), Some(types)) = (wanted, &options.types) {
        ensure!(
            wanted == types.len(),
            "option `types`: {} types for the {wanted} columns of the header",
            types.len()
        );
    }
    let mut wanted = wanted;

    while read(&mut reader, &mut record)? {
        report.checked += 1;
        let row = report.checked;
        // Where nothing else says so, the first row does.
        let wanted = *wanted.get_or_insert(record.len());
        if record.len() != wanted {
            let message = format!("expected {wanted} columns, got {}", record.len());
            if !report.add(format!("/{row}"), message) {
                break;
            }
            continue;
        }
        let mut room = true;
        for (at, field) in record.iter().enumerate() {
            let kind = options.types.as_ref().map_or(Type::String, |types| types[at]);
            let message = match std::str::from_utf8(field) {
                Ok(field) if kind.takes(field) => continue,
                Ok("") => format!("expected {}, got an empty field", kind.form()),
                Ok(field) => format!("expected {}, got `{field}`", kind.form()),
                Err(error) => format!("not UTF-8: invalid byte at offset {}", error.valid_up_to()),
            };
            let name = columns.as_ref().and_then(|columns| columns.get(at));
            let name = name.map_or_else(|| (at + 1).to_string(), |name| escape(name));
            room = report.add(format!("/{row}/{name}"), message);
            if !room {
                break;
            }
        }
        if !room {
            break;
        }
    }
    Ok(report)
}

/// Reads a row; `false` at the end. Blank lines are no rows.
fn read(reader: &mut csv::Reader<&[u8]>, record: &mut ByteRecord) -> Result<bool> {
    reader.read_byte_record(record).map_err(|error| match error.kind() {
        ErrorKind::Io(_) | ErrorKind::Utf8 { .. } | ErrorKind::UnequalLengths { .. } => {
            error.into()
        }
        _ => Error::from(error).context("the document cannot be read"),
    })
}

fn check_header(header: &[String], columns: Option<&[String]>, report: &mut Report) {
    for (at, name) in header.iter().enumerate() {
        if header[..at].contains(name) {
            report.add(format!("/header/{}", escape(name)), "the column is there twice".to_owned());
        }
    }
    let Some(columns) = columns else { return };
    if header == columns {
        return;
    }
    let before = report.violations.len();
    for name in columns.iter().filter(|name| !header.contains(name)) {
        report.add(format!("/header/{}", escape(name)), "the column is missing".to_owned());
    }
    for name in header.iter().filter(|name| !columns.contains(name)) {
        report.add(format!("/header/{}", escape(name)), "the column is not expected".to_owned());
    }
    if report.violations.len() == before {
        let message = format!("expected the columns in the order {}", columns.join(", "));
        report.add("/header".to_owned(), message);
    }
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn is_date(field: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = field.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    field.len() == 10 && &field[4..5] == "-" && &field[7..8] == "-" && (1..=days).contains(&day)
}
