//! Parses log lines, adds fields, redacts secrets, and emits the result as events.
//!
//! Takes `log.line` (the payload is one line) and `log.batch` (many lines), and emits one
//! `log.enriched` for each line that is not blank, with a JSON object as its payload:
//!
//! | field        | what it is                                                               |
//! |--------------|--------------------------------------------------------------------------|
//! | `format`     | `json`, `logfmt`, `access`, `syslog`, `leveled` or `plain`               |
//! | `level`      | `trace`, `debug`, `info`, `warn`, `error` or `fatal`, where one is known |
//! | `timestamp`  | RFC 3339, where one is found; without a zone it is taken for UTC         |
//! | `message`    | the text of the line, where it has one                                   |
//! | `status_class` | `2xx` to `5xx`, where there is an HTTP status                          |
//! | `fields`     | everything else that was parsed                                          |
//! | `source`     | the source of the event                                                  |
//! | `redactions` | how many secrets were replaced by `[redacted]`                           |
//! | `cut`        | `true` where the line was longer than 32 KiB                             |
//!
//! The key `redact-email` of the plugin's configuration, set to `true`, has e-mail addresses
//! redacted too. Asked for at the start of an instance.
//! Not here: the formats (`parse`), the secrets (`redact`), points in time (`time`).

mod parse;
mod redact;
#[cfg(test)]
mod tests;
mod time;

use guest_sdk::prelude::*;
use guest_sdk::{config, events};
use serde_json::{Map, Value};

const LINE_BYTES_MAX: usize = 32 * 1024;
const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

struct LogEnricher {
    parser: parse::Parser,
    redactor: redact::Redactor,
}

impl Plugin for LogEnricher {
    fn initialize() -> Result<Self> {
        let redact_email = match config::get("redact-email") {
            Ok(value) => value.is_some_and(|value| value == "true"),
            Err(error) => {
                log::warn!("e-mail addresses are not redacted: {error}");
                false
            }
        };
        Ok(Self { parser: parse::Parser::new()?, redactor: redact::Redactor::new(redact_email)? })
    }
}

impl EventHandler for LogEnricher {
    fn supported_events(&self) -> Vec<String> {
        vec!["log.line".to_owned(), "log.batch".to_owned()]
    }

    fn on_event(&self, event: Event) -> Result<()> {
        ensure!(
            event.payload.len() <= PAYLOAD_BYTES_MAX,
            "the payload has {} bytes; the most is {PAYLOAD_BYTES_MAX}",
            event.payload.len()
        );
        match event.event_type.as_str() {
            "log.line" => self.emit(&event.payload, &event.source),
            "log.batch" => {
                // A private key spans lines, and none of them alone gives it away.
                let batch = self.redactor.hide_keys(&event.payload);
                for (at, line) in batch.lines().enumerate() {
                    self.emit(line, &event.source).with_context(|| format!("line {}", at + 1))?;
                }
                Ok(())
            }
            other => bail!("event type `{other}`: expected log.line or log.batch"),
        }
    }
}

impl LogEnricher {
    fn emit(&self, line: &str, source: &str) -> Result<()> {
        if line.trim().is_empty() {
            return Ok(());
        }
        let enriched = self.enrich(line, source);
        Ok(events::emit("log.enriched", &Value::Object(enriched).to_string())?)
    }

    fn enrich(&self, line: &str, source: &str) -> Map<String, Value> {
        let whole = line.trim_end_matches(['\r', '\n']);
        let line = &whole[..whole.floor_char_boundary(LINE_BYTES_MAX)];
        let parsed = self.parser.parse(line);

        let mut redactions = 0;
        let mut enriched = Map::new();
        let mut add = |name: &str, value: Value| enriched.insert(name.to_owned(), value);
        add("format", parsed.format.into());
        if let Some(level) = parsed.level {
            add("level", level.into());
        }
        if let Some(timestamp) = parsed.timestamp {
            add("timestamp", timestamp.into());
        }
        if let Some(message) = parsed.message {
            add("message", self.redactor.text(&message, &mut redactions).into_owned().into());
        }
        if let Some(status) = parsed.status {
            add("status_class", format!("{}xx", status / 100).into());
        }
        let mut fields = Value::Object(parsed.fields);
        self.redactor.value(&mut fields, &mut redactions);
        if fields.as_object().is_some_and(|fields| !fields.is_empty()) {
            add("fields", fields);
        }
        add("source", source.into());
        add("redactions", redactions.into());
        if line.len() < whole.len() {
            add("cut", true.into());
        }
        enriched
    }
}

guest_sdk::event_plugin!(LogEnricher);
