//! What the host offers its guests.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, built};

fn probe(host: &Host, options: &[(&str, &str)]) -> Value {
    let (status, body) = host.process("services-probe", options, "");
    assert_eq!(status, 200, "{options:?}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn configuration_outlives_the_host_even_if_it_is_killed() {
    let data = TempDir::new().unwrap();
    let mut host = Host::serve_from(&built("test-plugins"), data.path(), &[]);
    let set = [("do", "config-set"), ("key", "colour"), ("value", "green")];
    assert_eq!(probe(&host, &set), json!({ "ok": null }));
    host.kill();
    let host = Host::serve_from(&built("test-plugins"), data.path(), &[]);
    assert_eq!(probe(&host, &[("do", "config-get"), ("key", "colour")]), json!({ "ok": "green" }));
    assert_eq!(probe(&host, &[("do", "config-keys")]), json!({ "ok": ["colour"] }));
}

#[test]
fn configuration_is_bounded() {
    let host = Host::serve(&built("test-plugins"));
    let long = "k".repeat(300);
    let refused = probe(&host, &[("do", "config-set"), ("key", &long)]);
    assert!(refused["error"].as_str().unwrap().contains("256"), "{refused}");
}

#[test]
fn a_plugin_sees_the_variables_it_was_granted_and_no_others() {
    let host = Host::serve_with(
        &built("test-plugins"),
        &["--grant-env", "PROBE_REGION=north", "--grant-env", "SECRET=x"],
    );
    assert_eq!(probe(&host, &[("do", "env")]), json!({ "ok": [["PROBE_REGION", "north"]] }));
    let host = Host::serve(&built("test-plugins"));
    assert_eq!(probe(&host, &[("do", "env")]), json!({ "ok": [] }));
}

#[test]
fn events_are_taken_up_to_a_plugins_share() {
    let host = Host::serve(&built("test-plugins"));
    let emit = [("do", "emit"), ("type", "probe.done"), ("payload", "{}"), ("count", "3")];
    assert_eq!(probe(&host, &emit), json!({ "ok": null }));
    let page: Value = host.get("/v1/events?limit=2").json().unwrap();
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next"]), (2, &json!(2)));
    let storm = probe(&host, &[("do", "emit"), ("count", "100000")]);
    assert!(storm["error"].is_string(), "{storm}");
    let bad = probe(&host, &[("do", "emit"), ("type", "Not A Type")]);
    assert!(bad["error"].is_string(), "{bad}");
}

#[test]
fn messages_go_to_whom_they_may_and_nobody_else() {
    let host = Host::serve(&built("test-plugins"));
    let refused = probe(&host, &[("do", "message"), ("target", "messenger")]);
    assert!(
        refused["error"].as_str().unwrap().contains("the message was not granted"),
        "{refused}"
    );
    let ask = |about: &str| {
        let path = format!("/v1/plugins/messenger/message?type={about}");
        let response = host.post(&path).body("hello").send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    assert_eq!(ask("echo"), (200, "hello".to_owned()));
    assert_eq!(ask("who"), (200, "@http".to_owned()));
    assert_eq!(ask("echo&wait=false"), (202, String::new()));
    let (status, problem) = ask("fail");
    assert_eq!((status, crate::harness::code(&problem).as_str()), (422, "core/plugin-refused"));
    let (status, problem) = ask("sleep&timeout-ms=200");
    assert_eq!((status, crate::harness::code(&problem).as_str()), (504, "ipc/message-timeout"));
    assert_eq!(host.post("/v1/plugins/shout-v1/message?type=x").send().unwrap().status(), 404);
    assert_eq!(host.post("/v1/plugins/messenger/message").send().unwrap().status(), 400);
    let large = host.post("/v1/plugins/messenger/message?type=echo").body(vec![0; (1 << 20) + 1]);
    assert_eq!(large.send().unwrap().status(), 413);
}

#[test]
fn a_plugin_has_a_directory_of_its_own_and_no_network_it_was_not_granted() {
    let host = Host::serve(&built("test-plugins"));
    assert_eq!(probe(&host, &[("do", "data-dir")]), json!({ "ok": "/plugin-data" }));
    let refused = probe(&host, &[("do", "http"), ("url", "http://127.0.0.1:9/")]);
    let says = refused["error"].as_str().unwrap();
    assert!(says.contains("permissions.net"), "{says}");
}

#[test]
fn a_log_line_carries_plugin_and_request() {
    let host = Host::serve(&built("test-plugins"));
    let response = host
        .post("/v1/plugins/services-probe/process?do=log&message=hello-from-inside&level=warn")
        .header("content-type", "text/plain")
        .header("x-request-id", "trace-me-7")
        .send()
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let log = host.stop();
    let line = log
        .lines()
        .find(|line| line.contains("hello-from-inside"))
        .unwrap_or_else(|| panic!("{log}"));
    for part in ["WARN", "plugin=services-probe", "version=0.1.0", "trace-me-7"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_call() {
    let data = TempDir::new().unwrap();
    let (unread, log) = std::io::pipe().unwrap();
    let mut host = Host::serve_logging_to(&built("test-plugins"), data.path(), log.into());
    // More than a pipe and the host's own queue hold.
    let message = "x".repeat(1 << 10);
    for _ in 0..1_200 {
        let said = [("do", "log"), ("level", "error"), ("message", message.as_str())];
        assert_eq!(probe(&host, &said), json!({ "ok": null }));
    }
    assert_eq!(host.get("/healthz").status(), 200);
    host.terminate();
    assert!(host.ends(), "it waits for who reads its log");
    drop(unread);
}

#[test]
fn a_log_that_cannot_be_written_fails_no_call() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let data = TempDir::new().unwrap();
    let host = Host::serve_logging_to(&built("test-plugins"), data.path(), full.into());
    assert_eq!(probe(&host, &[("do", "log"), ("level", "error")]), json!({ "ok": null }));
    assert_eq!(host.refusal("misbehaving", &[("do", "panic")], "").0, 500);
    assert_eq!(host.get("/healthz").status().as_u16(), 200);
}
