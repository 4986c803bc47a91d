//! From a line to its parts. The formats are tried from the strictest to the loosest; a line that
//! fits none is plain text.

use guest_sdk::prelude::*;
use regex::Regex;
use serde_json::{Map, Value};

use crate::time;

/// Fewer pairs may be chance: `a=b` stands in many a sentence.
const PAIRS_MIN: usize = 2;

const LEVEL_KEYS: [&str; 5] = ["level", "severity", "lvl", "loglevel", "log.level"];
const TIME_KEYS: [&str; 6] = ["timestamp", "@timestamp", "time", "ts", "datetime", "date"];
const MESSAGE_KEYS: [&str; 3] = ["message", "msg", "text"];
const STATUS_KEYS: [&str; 3] = ["status", "status_code", "http.status_code"];

/// What a line consists of.
#[derive(Default)]
pub(crate) struct Parsed {
    pub(crate) format: &'static str,
    pub(crate) level: Option<&'static str>,
    pub(crate) timestamp: Option<String>,
    pub(crate) message: Option<String>,
    /// An HTTP status from 100 to 599.
    pub(crate) status: Option<u64>,
    pub(crate) fields: Map<String, Value>,
}

pub(crate) struct Parser {
    access: Regex,
    syslog: Regex,
    leveled: Regex,
}

impl Parser {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            access: Regex::new(
                r#"^(\S+) (\S+) (\S+) \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)(?: "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)")?"#,
            )?,
            syslog: Regex::new(
                r"^<(\d{1,3})>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (\S+) ([^\s:\[]+)(?:\[(\d+)\])?: (.*)$",
            )?,
            leveled: Regex::new(
                r"^(?:\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\]?\s+)?([\[(]?)([A-Za-z]{3,11})([\])]?:?)\s+(.*)$",
            )?,
        })
    }

    pub(crate) fn parse(&self, line: &str) -> Parsed {
        json(line)
            .or_else(|| self.access(line))
            .or_else(|| self.syslog(line))
            .or_else(|| logfmt(line))
            .or_else(|| self.leveled(line))
            .unwrap_or_else(|| Parsed {
                format: "plain",
                message: Some(line.to_owned()),
                ..Parsed::default()
            })
    }

    fn access(&self, line: &str) -> Option<Parsed> {
        let found = self.access.captures(line)?;
        let mut fields = Map::new();
        let mut text = |name: &str, value: &str| {
            if value != "-" {
                fields.insert(name.to_owned(), value.into());
            }
        };
        text("remote_addr", &found[1]);
        text("user", &found[3]);
        let mut request = found[5].split(' ');
        text("method", request.next().unwrap_or_default());
        text("path", request.next().unwrap_or_default());
        text("protocol", request.next().unwrap_or_default());
        if let (Some(referer), Some(agent)) = (found.get(8), found.get(9)) {
            text("referer", referer.as_str());
            text("user_agent", agent.as_str());
        }
        let status = found[6].parse().ok().filter(is_status)?;
        fields.insert("status".to_owned(), status.into());
        if let Ok(bytes) = found[7].parse::<u64>() {
            fields.insert("bytes".to_owned(), bytes.into());
        }
        Some(Parsed {
            format: "access",
            level: Some(match status {
                500.. => "error",
                400.. => "warn",
                _ => "info",
            }),
            timestamp: time::of_access_log(&found[4]),
            message: None,
            status: Some(status),
            fields,
        })
    }

    fn syslog(&self, line: &str) -> Option<Parsed> {
        let found = self.syslog.captures(line)?;
        let priority: u64 = found[1].parse().ok().filter(|&priority| priority < 192)?;
        let mut fields = Map::new();
        fields.insert("facility".to_owned(), (priority / 8).into());
        // Its year is not told, so it makes no timestamp.
        fields.insert("time".to_owned(), found[2].into());
        fields.insert("host".to_owned(), found[3].into());
        fields.insert("app".to_owned(), found[4].into());
        if let Some(Ok(pid)) = found.get(5).map(|pid| pid.as_str().parse::<u64>()) {
            fields.insert("pid".to_owned(), pid.into());
        }
        Some(Parsed {
            format: "syslog",
            level: Some(match priority % 8 {
                0..=2 => "fatal",
                3 => "error",
                4 => "warn",
                7 => "debug",
                _ => "info",
            }),
            message: Some(found[6].to_owned()),
            fields,
            ..Parsed::default()
        })
    }

    fn leveled(&self, line: &str) -> Option<Parsed> {
        let found = self.leveled.captures(line)?;
        let timestamp = found.get(1).and_then(|text| time::of_text(text.as_str()));
        let word = &found[3];
        let level = level_of(word)?;
        // "Error handling is hard" is a sentence; "ERROR handling failed" and "error: x" are not.
        let marked = word.chars().all(|letter| letter.is_ascii_uppercase())
            || timestamp.is_some()
            || !found[2].is_empty()
            || !found[4].is_empty();
        marked.then(|| Parsed {
            format: "leveled",
            level: Some(level),
            timestamp,
            message: Some(found[5].to_owned()),
            ..Parsed::default()
        })
    }
}

fn json(line: &str) -> Option<Parsed> {
    if !line.trim_start().starts_with('{') {
        return None;
    }
    let fields = serde_json::from_str::<Map<String, Value>>(line).ok()?;
    Some(structured("json", fields))
}

/// `key=value key="quoted value" flag`. Taken for logfmt if it starts with a pair, and has two.
fn logfmt(line: &str) -> Option<Parsed> {
    let mut fields = Map::new();
    let mut rest = line.trim();
    let (mut pairs, mut flags) = (0, 0);
    while !rest.is_empty() {
        let end =
            rest.find(|c: char| c == '=' || c == '"' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() {
            return None;
        }
        let value;
        (value, rest) = match after.strip_prefix('=') {
            Some(after) => {
                pairs += 1;
                let (value, rest) = logfmt_value(after)?;
                (Value::String(value), rest)
            }
            None if pairs == 0 || after.starts_with('"') => return None,
            None => {
                flags += 1;
                (Value::Bool(true), after)
            }
        };
        fields.insert(key.to_owned(), value);
        rest = rest.trim_start();
    }
    (pairs >= PAIRS_MIN && pairs >= flags).then(|| structured("logfmt", fields))
}

fn logfmt_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// Takes the well-known fields out of the others.
fn structured(format: &'static str, mut fields: Map<String, Value>) -> Parsed {
    let level_key =
        LEVEL_KEYS.iter().find(|key| fields.get(**key).and_then(level_of_value).is_some());
    let level = level_key
        .and_then(|key| fields.shift_remove(*key))
        .and_then(|value| level_of_value(&value));
    let time_key =
        TIME_KEYS.iter().find(|key| fields.get(**key).and_then(time::of_value).is_some());
    let timestamp =
        time_key.and_then(|key| fields.shift_remove(*key)).and_then(|value| time::of_value(&value));
    let message_key =
        MESSAGE_KEYS.iter().find(|key| fields.get(**key).is_some_and(Value::is_string));
    let message = match message_key.and_then(|key| fields.shift_remove(*key)) {
        Some(Value::String(message)) => Some(message),
        _ => None,
    };
    let status = STATUS_KEYS.iter().find_map(|key| match fields.get(*key)? {
        Value::Number(status) => status.as_u64().filter(is_status),
        Value::String(status) => status.parse().ok().filter(is_status),
        _ => None,
    });
    Parsed { format, level, timestamp, message, status, fields }
}

fn is_status(status: &u64) -> bool {
    (100..600).contains(status)
}

fn level_of_value(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(word) => level_of(word),
        // As pino and bunyan count them.
        Value::Number(number) => match number.as_u64()? {
            10 => Some("trace"),
            20 => Some("debug"),
            30 => Some("info"),
            40 => Some("warn"),
            50 => Some("error"),
            60 => Some("fatal"),
            _ => None,
        },
        _ => None,
    }
}

fn level_of(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" | "information" | "notice" => "info",
        "warn" | "warning" => "warn",
        "err" | "error" => "error",
        "crit" | "critical" | "fatal" | "alert" | "emerg" | "emergency" | "panic" => "fatal",
        _ => return None,
    })
}
