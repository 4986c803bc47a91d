//! What the HTTP surface promises beside the calls themselves.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Host, built, code};

#[test]
fn request_ids_are_echoed_or_made() {
    let host = Host::serve(&built("test-plugins"));
    let ask = |id: &str| {
        let response =
            host.post("/v1/plugins/nobody/process").header("x-request-id", id).send().unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("Req-1_a.b"), "Req-1_a.b");
    assert_ne!(ask("not an id"), "not an id");
    let made = host.get("/healthz").headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(made.len(), 36);
}

#[test]
fn what_is_not_there_is_told_apart() {
    let host = Host::serve(&built("test-plugins"));
    let check = |response: reqwest::blocking::Response, status: u16, expected: &str| {
        assert_eq!(response.status().as_u16(), status);
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(media_type, "application/problem+json");
        assert_eq!(code(&response.text().unwrap()), expected);
    };
    check(host.get("/nowhere"), 404, "http/no-such-route");
    check(host.get("/v1/plugins/shout-v1/process"), 405, "http/method-not-allowed");
    check(host.get("/v1/plugins/nobody"), 404, "host/unknown-plugin");
    check(host.get("/v1/plugins/shout-v1@9.9.9"), 404, "host/unknown-plugin");
    check(host.get("/v1/plugins/..%2F..%2Fetc"), 404, "host/invalid-name");
    check(host.get("/v1/plugins/%FF%FE"), 404, "host/invalid-name");
    check(host.get("/v1/events?after=x"), 400, "http/invalid-query");
    check(host.post("/v1/events").body("x").send().unwrap(), 415, "http/unsupported-media-type");
    let broken = host.post("/v1/events").header("content-type", "application/json").body("{");
    check(broken.send().unwrap(), 422, "http/invalid-json");
    for event in [
        json!({ "event-type": "Not A Type", "payload": "" }),
        json!({ "event-type": "a.b", "payload": "", "source": "shout-v1" }),
    ] {
        check(host.post("/v1/events").json(&event).send().unwrap(), 422, "host/invalid-event");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let host = Host::serve_with(&built("test-plugins"), &["--body-limit", "1MiB"]);
    let send = |body: reqwest::blocking::Body| {
        let request =
            host.post("/v1/plugins/shout-v1/process").header("content-type", "text/plain");
        request.body(body).send().map(|response| response.status().as_u16())
    };
    assert_eq!(send(vec![b'x'; 1 << 20].into()).unwrap(), 200);
    assert_eq!(send(vec![b'x'; (1 << 20) + 1].into()).unwrap(), 413);
    let unending = std::io::repeat(b'x').take(8 << 20);
    // The host may close before all is sent; it must not answer with success.
    match send(reqwest::blocking::Body::new(unending)) {
        Ok(status) => assert_eq!(status, 413),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error}"),
    }
    assert_eq!(send("still here".into()).unwrap(), 200);
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_answered() {
    let host = Host::serve_with(&built("test-plugins"), &["--body-timeout", "300ms"]);
    let address = host.base.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    slow.write_all(
        b"POST /v1/plugins/shout-v1/process HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nabc",
    )
    .unwrap();
    let mut answer = [0; 64];
    let read = slow.read(&mut answer).unwrap();
    let line = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(line.starts_with("HTTP/1.1 408"), "{line}");
}

#[test]
fn the_list_shows_what_serves() {
    let host = Host::serve(&built("plugins"));
    let list: Value = host.get("/v1/plugins").json().unwrap();
    let names: Vec<_> =
        list["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].clone()).collect();
    assert_eq!(
        json!(names),
        json!([
            "data-validator",
            "gzip",
            "image-processor",
            "line-filter",
            "log-enricher",
            "text-transformer"
        ])
    );
    assert_eq!(list["refused"], json!([]));
    let one: Value = host.get("/v1/plugins/image-processor@0.1.0").json().unwrap();
    assert_eq!(one["world"], json!("processor-plugin"));
    assert_eq!(one["instances"]["max"], json!(5));
}

#[test]
fn a_browser_must_not_run_what_a_plugin_answers() {
    let host = Host::serve(&built("plugins"));
    let response = host
        .post("/v1/plugins/text-transformer/process?ops=markdown")
        .header("content-type", "text/markdown")
        .body("# hi")
        .send()
        .unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["content-security-policy"], "sandbox");
}

#[test]
fn stopping_lets_calls_under_way_end_and_takes_no_more() {
    let host = Host::serve(&built("test-plugins"));
    assert_eq!(host.get("/readyz").status().as_u16(), 200);
    let (slow, address) =
        (host.base.clone(), host.base.strip_prefix("http://").unwrap().to_owned());
    let call = std::thread::spawn(move || {
        let url = format!("{slow}/v1/plugins/misbehaving/process?do=sleep&ms=1500");
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let response = client.post(url).header("content-type", "text/plain").send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    });
    // Until the call is under way, there is nothing to drain.
    while host.get("/v1/plugins/misbehaving").json::<Value>().unwrap()["instances"]["busy"]
        != json!(1)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = host.stop();
    assert_eq!(call.join().unwrap(), (200, "slept".to_owned()));
    assert!(TcpStream::connect(address).is_err());
    assert!(log.contains("all calls have ended"), "{log}");
}
