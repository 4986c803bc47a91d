//! Tells what each service of the host answers, as JSON. Option `do` says which to ask:
//!
//! `log` (level, message), `config-set` (key, value), `config-get` (key), `config-delete` (key),
//! `config-keys` (prefix), `env`, `emit` (type, payload, count), `data-dir`, `http` (url),
//! `message` (target, type, payload), `stdout` (message).

use std::fmt::Display;
use std::time::Duration;

use guest_sdk::prelude::*;
use guest_sdk::{config, data_dir, env, events, http, messaging};
use serde_json::{Value, json};

struct Probe;

#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    r#do: String,
    level: String,
    message: String,
    key: String,
    value: String,
    prefix: String,
    r#type: String,
    payload: String,
    count: u32,
    url: String,
    target: String,
    timeout_ms: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            r#do: "env".to_owned(),
            level: "info".to_owned(),
            message: "probing".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
            prefix: String::new(),
            r#type: "probe.done".to_owned(),
            payload: "{}".to_owned(),
            count: 1,
            url: "http://127.0.0.1/".to_owned(),
            target: "nobody".to_owned(),
            timeout_ms: None,
        }
    }
}

impl Plugin for Probe {
    fn initialize() -> Result<Self> {
        log::set_max_level(log::LevelFilter::Trace);
        Ok(Self)
    }
}

impl Processor for Probe {
    type Options = Options;

    fn process(&self, input: Input, options: Options) -> Result<Output> {
        let answer = match options.r#do.as_str() {
            "log" => {
                let level = options.level.parse().context("option `level`")?;
                log::log!(target: "probe", level, "{}", options.message);
                log::logger().flush();
                json!({ "ok": null })
            }
            "config-set" => told(config::set(&options.key, &options.value)),
            "config-get" => told(config::get(&options.key)),
            "config-delete" => told(config::delete(&options.key)),
            "config-keys" => told(config::keys(&options.prefix)),
            "env" => json!({ "ok": env::vars() }),
            "emit" => told(
                (0..options.count)
                    .try_for_each(|_| events::emit(&options.r#type, &options.payload)),
            ),
            "data-dir" => told(data_dir().map(|path| path.display().to_string())),
            "http" => {
                let response = if input.bytes.is_empty() {
                    http::get(&options.url, &[])
                } else {
                    http::post(&options.url, &input.bytes, &[])
                };
                told(response.map(|response| {
                    json!({
                        "status": response.status,
                        "headers": response.headers,
                        "body": String::from_utf8_lossy(&response.body),
                    })
                }))
            }
            "message" => {
                let message =
                    messaging::Message::new(&options.target, &options.r#type, options.payload);
                let timeout = options.timeout_ms.map(Duration::from_millis);
                told(messaging::request(message, timeout).map(|reply| {
                    json!({
                        "success": reply.success,
                        "payload": String::from_utf8_lossy(&reply.payload),
                    })
                }))
            }
            "stdout" => {
                println!("{}", options.message);
                json!({ "ok": null })
            }
            other => bail!("option `do`: unknown `{other}`"),
        };
        Ok(Output::new(answer.to_string(), "application/json"))
    }
}

fn told<T: serde::Serialize, E: Display>(result: Result<T, E>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

guest_sdk::processor_plugin!(Probe);

#[cfg(test)]
mod tests {
    use super::*;
    use guest_sdk::testing::{Harness, emitted, logged, set_env};

    #[track_caller]
    fn check(options: &[(&str, &str)], expected: &str) {
        let mut probe = Harness::<Probe>::new().unwrap();
        for (name, value) in options {
            probe.option(name, value);
        }
        let output = probe.process("", "").unwrap();
        assert_eq!(String::from_utf8(output.bytes).unwrap(), expected);
    }

    #[test]
    fn each_service_answers() {
        set_env("PROBE_REGION", "north");
        check(&[("do", "env")], r#"{"ok":[["PROBE_REGION","north"]]}"#);
        check(&[("do", "config-set")], r#"{"ok":null}"#);
        check(&[("do", "config-get")], r#"{"ok":"value"}"#);
        check(&[("do", "config-keys")], r#"{"ok":["key"]}"#);
        check(&[("do", "config-delete")], r#"{"ok":null}"#);
        check(&[("do", "emit"), ("count", "3")], r#"{"ok":null}"#);
        assert_eq!(emitted().len(), 3);
        check(&[("do", "log"), ("level", "trace")], r#"{"ok":null}"#);
        assert_eq!(logged()[0].message, "probing");
        check(&[("do", "http")], r#"{"error":"this host offers no HTTP client"}"#);
    }
}
