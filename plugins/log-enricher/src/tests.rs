//! On the logs in `samples/`, and on lines that are hard.

use guest_sdk::testing::{Harness, set_config, take_emitted};
use serde_json::{Value, json};

use super::LogEnricher;

const ACCESS_LOG: &str = include_str!("../../../samples/access.log");
const APP_LOG: &str = include_str!("../../../samples/app.log");

fn send(event_type: &str, payload: &str) -> Result<Vec<Value>, String> {
    let mut plugin = Harness::<LogEnricher>::new().unwrap();
    plugin.event(event_type, payload).map_err(|error| error.to_string())?;
    let events = take_emitted();
    assert!(events.iter().all(|event| event.event_type == "log.enriched"));
    Ok(events.iter().map(|event| serde_json::from_str(&event.payload).unwrap()).collect())
}

fn enrich(line: &str) -> Value {
    send("log.line", line).unwrap().remove(0)
}

#[track_caller]
fn check(line: &str, expected: Value) {
    assert_eq!(enrich(line), expected);
}

#[track_caller]
fn redacted(line: &str, expected: &str, count: u32) {
    let enriched = enrich(line);
    assert_eq!(enriched["message"], expected);
    assert_eq!(enriched["redactions"], count);
}

#[test]
fn each_format_is_told_and_taken_apart() {
    check(
        r#"{"ts":1773480425,"level":"WARNING","msg":"odd","status":404,"n":1}"#,
        json!({"format":"json","level":"warn","timestamp":"2026-03-14T09:27:05Z","message":"odd",
            "status_class":"4xx","fields":{"status":404,"n":1},"source":"test","redactions":0}),
    );
    check(
        r#"time="2026-03-14 09:27:05,5" lvl=err msg="a \"b\"" x=1 flag"#,
        json!({"format":"logfmt","level":"error","timestamp":"2026-03-14T09:27:05.5Z",
            "message":"a \"b\"","fields":{"x":"1","flag":true},"source":"test","redactions":0}),
    );
    check(
        r#"192.0.2.1 - ada [14/Mar/2026:09:27:05 +0100] "GET /a?b=c HTTP/1.1" 503 - "-" "curl \"8\"""#,
        json!({"format":"access","level":"error","timestamp":"2026-03-14T09:27:05+01:00",
            "status_class":"5xx","fields":{"remote_addr":"192.0.2.1","user":"ada","method":"GET",
            "path":"/a?b=c","protocol":"HTTP/1.1","user_agent":"curl \\\"8\\\"","status":503},
            "source":"test","redactions":0}),
    );
    check(
        "<34>Mar 14 09:27:15 host1 sshd[47]: Failed password for ada",
        json!({"format":"syslog","level":"fatal","message":"Failed password for ada",
            "fields":{"facility":4,"time":"Mar 14 09:27:15","host":"host1","app":"sshd","pid":47},
            "source":"test","redactions":0}),
    );
    check(
        "[2026-03-14T09:27:16+01:00] INFO  done",
        json!({"format":"leveled","level":"info","timestamp":"2026-03-14T09:27:16+01:00",
            "message":"done","source":"test","redactions":0}),
    );
    check(
        "Error handling is hard",
        json!({"format":"plain","message":"Error handling is hard","source":"test","redactions":0}),
    );
}

#[test]
fn the_samples_are_parsed_and_hold_no_secret_afterwards() {
    let access = send("log.batch", ACCESS_LOG).unwrap();
    assert_eq!(access.len(), ACCESS_LOG.lines().count());
    assert!(access.iter().all(|line| line["format"] == "access" && line["timestamp"].is_string()));
    let app = send("log.batch", APP_LOG).unwrap();
    assert_eq!(app.len(), APP_LOG.lines().count());
    let formats: Vec<_> = app.iter().map(|line| line["format"].as_str().unwrap()).collect();
    for format in ["json", "logfmt", "syslog", "leveled", "plain"] {
        assert!(formats.contains(&format), "{format} is missing: {formats:?}");
    }
    let all = format!("{access:?}{app:?}");
    for secret in [
        "hunter2",
        "tok_5f2b9c",
        "ak_live_",
        "correct horse",
        "4111",
        "eyJhbGci",
        "YWRhOmh1",
        "AKIAIOSF",
        "s3cr3t",
        "MC4CAQAw",
    ] {
        assert!(!all.contains(secret), "{secret} got through");
    }
    for kept in ["5678 9012 3456", "Failed password for invalid user", "ada@example.org"] {
        assert!(all.contains(kept), "{kept} is gone");
    }
}

#[test]
fn secrets_are_found_by_name_within_a_text() {
    redacted("login password=hunter2, user=ada", "login password=[redacted], user=ada", 1);
    redacted("X-Api-Key: abc def", "X-Api-Key: [redacted] def", 1);
    redacted(
        r#"sent {"client_secret": "a \n b", "x": 1}"#,
        r#"sent {"client_secret": [redacted], "x": 1}"#,
        1,
    );
    redacted("to https://x/?a=1&token=abc&b=2", "to https://x/?a=1&token=[redacted]&b=2", 1);
    redacted("Authorization: Bearer abcdefghijk done", "Authorization: [redacted] done", 1);
    redacted("postgres://app:pa55@db/x up", "postgres://[redacted]@db/x up", 1);
    redacted("the password is wrong", "the password is wrong", 0);
}

#[test]
fn secrets_are_found_by_their_form() {
    redacted("got bearer abc123def456", "got bearer [redacted]", 1);
    redacted("got Basic YWRhOmh1bnRlcjI= there", "got Basic [redacted] there", 1);
    redacted("only basic functionality", "only basic functionality", 0);
    redacted("key AKIAIOSFODNN7EXAMPLE.", "key [redacted].", 1);
    redacted("card 4111-1111-1111-1111 ok", "card [redacted] ok", 1);
    redacted("id 4111111111111112 ok", "id 4111111111111112 ok", 0);
    redacted("at 1773480438123 ms", "at 1773480438123 ms", 0);
}

#[test]
fn secrets_are_found_by_the_name_of_their_field() {
    let enriched = enrich(
        r#"{"m":1,"userPassword":{"old":"a"},"access-key":["b"],"token":null,"tokens":3,"card":4111111111111111}"#,
    );
    let fields = json!({"m":1,"userPassword":"[redacted]","access-key":"[redacted]","token":null,
        "tokens":3,"card":"[redacted]"});
    assert_eq!(enriched["fields"], fields);
    assert_eq!(enriched["redactions"], 3);
}

#[test]
fn a_private_key_is_redacted_across_the_lines_of_a_batch() {
    let batch = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----\nb";
    let lines = send("log.batch", batch).unwrap();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["a", "[redacted]", "b"]);
    assert_eq!(lines[1]["redactions"], 1);
    redacted("x -----BEGIN PRIVATE KEY----- MIIB", "x [redacted]", 1);
}

#[test]
fn addresses_are_redacted_when_configured() {
    redacted("to ada@example.org", "to ada@example.org", 0);
    set_config("redact-email", "true");
    redacted("to ada@example.org", "to [redacted]", 1);
}

#[test]
fn a_long_line_is_cut_between_characters_and_a_secret_at_the_cut_is_redacted() {
    let enriched = enrich(&"ä".repeat(40_000));
    assert_eq!(enriched["cut"], true);
    assert_eq!(enriched["message"].as_str().unwrap().len(), 32 * 1024);
    let line = format!(r#"{{"a":"{}","password":"hunter2hunter2"}}"#, "x".repeat(32 * 1024 - 30));
    let enriched = enrich(&line);
    assert_eq!(enriched["cut"], true);
    assert!(!enriched.to_string().contains("hunter"), "{enriched}");
}

#[test]
fn hostile_lines_take_no_time() {
    for line in [
        "a=".repeat(16_000),
        "\"\\".repeat(16_000),
        "password".repeat(4000),
        "4 ".repeat(16_000),
        "-----BEGIN PRIVATE KEY-----".repeat(1000),
    ] {
        enrich(&line);
    }
    let deep = "{\"a\":".repeat(5000);
    assert_eq!(enrich(&deep)["format"], "plain");
}

#[test]
fn blank_lines_are_skipped_and_other_events_refused() {
    assert!(send("log.line", " \r\n").unwrap().is_empty());
    assert_eq!(send("log.batch", "a\n\n\r\nb\n").unwrap().len(), 2);
    assert!(send("user.created", "x").unwrap_err().contains("expected log.line or log.batch"));
    assert!(send("log.batch", &"x".repeat(5 << 20)).unwrap_err().contains("the most is 4194304"));
}
