//! Streams and events over HTTP, through the real program.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    time::{Duration, Instant},
};

use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, built, code, command, root, sample};

/// Lines that are made as they are sent, this many bytes in all.
fn lines(bytes: u64) -> reqwest::Body {
    let line = [vec![b'a'; (64 << 10) - 1], vec![b'\n']].concat();
    let chunk = bytes::Bytes::from(line);
    let chunks = futures::stream::repeat(chunk).take((bytes >> 16) as usize);
    reqwest::Body::wrap_stream(chunks.map(Ok::<_, std::io::Error>))
}

const GIB: u64 = 1 << 30;

#[test]
fn a_gibibyte_goes_through_64_megabytes_and_the_host_does_not_grow() {
    let host = Host::serve(&built("plugins"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/plugins/line-filter/stream?keep=a", host.base);
    // A client that reads while it sends: one that does not would wait for itself.
    let through = |bytes: u64| {
        runtime.block_on(async {
            let request = client.post(&url).header("content-type", "text/plain").body(lines(bytes));
            let mut response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            let mut passed = 0;
            while let Some(chunk) = response.chunk().await.unwrap() {
                passed += chunk.len() as u64;
            }
            passed
        })
    };
    assert_eq!(through(1 << 20), 1 << 20);
    let before = host.rss_kib();
    let done = std::sync::atomic::AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                most = most.max(host.rss_kib());
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        });
        let passed = through(GIB);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(passed, GIB);
        watch.join().unwrap()
    });
    let grown = most.saturating_sub(before) >> 10;
    // The guest's own memory is in there, too.
    assert!(grown < 32, "the host grew by {grown} MiB, from {} MiB", before >> 10);
}

#[test]
fn a_file_is_compressed_and_comes_back_whole() {
    let host = Host::serve(&built("plugins"));
    let send = |mode: &str, body: Vec<u8>| {
        let path = format!("/v1/plugins/gzip/stream?mode={mode}");
        let response = host.post(&path).header("content-type", "image/jpeg").body(body);
        let response = response.send().unwrap();
        assert_eq!(response.status(), 200);
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (media_type, response.bytes().map(|bytes| bytes.to_vec()))
    };
    let photo = sample("photo.jpg");
    let (media_type, packed) = send("compress", photo.clone());
    assert_eq!(media_type, "application/gzip");
    let packed = packed.unwrap();
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut read).unwrap();
    assert!(read == photo, "other programs read it, too");
    assert!(send("decompress", packed.clone()).1.unwrap() == photo);
    // What is not whole does not look as if it were: the answer breaks off.
    let half = packed[..packed.len() / 2].to_vec();
    assert!(send("decompress", half).1.is_err());
    // Before anything has come out, a refusal is an answer like any other.
    let path = "/v1/plugins/gzip/stream?mode=explode";
    let refused = host.post(path).header("content-type", "a/b").body("x").send().unwrap();
    assert_eq!(
        (refused.status().as_u16(), code(&refused.text().unwrap())),
        (422, "core/plugin-refused".to_owned())
    );
    let nothing = host.post("/v1/plugins/log-enricher/stream").body("x").send().unwrap();
    assert_eq!(
        (nothing.status().as_u16(), code(&nothing.text().unwrap())),
        (404, "core/not-offered".to_owned())
    );
}

#[test]
fn a_stream_runs_without_a_server_too() {
    let dir = TempDir::new().unwrap();
    let packed = dir.path().join("photo.gz");
    let (plugins, photo) = (built("plugins"), root().join("samples/photo.jpg"));
    let arguments = ["run", "gzip", "--json", "--plugins"];
    let mut pack = command();
    pack.args(arguments).arg(&plugins).arg("--input").arg(&photo).arg("--output").arg(&packed);
    let done = pack.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told["bytes"], std::fs::metadata(&packed).unwrap().len());
    let mut unpack = command();
    unpack.args(["run", "gzip", "--option", "mode=decompress", "--plugins"]).arg(&plugins);
    unpack.stdin(std::fs::File::open(&packed).unwrap());
    let done = unpack.output().unwrap();
    assert!(done.status.success() && done.stdout == sample("photo.jpg"));
    let mut broken = command();
    broken.args(["run", "gzip", "--option", "mode=decompress", "--plugins"]).arg(&plugins);
    let done = broken.arg("--input").arg(&photo).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("core/plugin-refused"), "{done:?}");
}

/// How many instances of a plugin are at work.
fn busy(host: &Host, plugin: &str) -> u64 {
    let shown: Value = host.get(&format!("/v1/plugins/{plugin}")).json().unwrap();
    shown["instances"]["busy"].as_u64().unwrap_or_else(|| panic!("{shown}"))
}

#[track_caller]
fn comes_to_rest(host: &Host, plugin: &str) {
    let began = Instant::now();
    while busy(host, plugin) > 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "{plugin} is still at work");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_client_that_hangs_up_ends_the_stream() {
    let host = Host::serve(&built("test-plugins"));
    let flood = host.post("/v1/plugins/odd-stream/stream?do=flood").body("x").send().unwrap();
    let mut reader = BufReader::new(flood);
    let mut some = [0; 1 << 16];
    reader.read_exact(&mut some).unwrap();
    assert_eq!(busy(&host, "odd-stream"), 1);
    drop(reader);
    comes_to_rest(&host, "odd-stream");
    let again = host.post("/v1/plugins/odd-stream/stream").body("again").send().unwrap();
    assert_eq!(again.text().unwrap(), "again");
}

#[test]
fn a_plugin_that_stalls_meets_its_deadline() {
    let host = Host::serve(&built("test-plugins"));
    let stalled = host.post("/v1/plugins/odd-stream/stream?do=stall").body("x").send().unwrap();
    assert!(stalled.bytes().is_err(), "it breaks off");
    comes_to_rest(&host, "odd-stream");
    let log = host.stop();
    assert!(log.contains("core/deadline"), "{log}");
}

/// A directory with plugins of both sets.
fn both(plugins: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (set, plugin) in plugins {
        let (from, to) = (built(set).join(plugin), dir.path().join(plugin));
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(&from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    dir
}

/// The next event of a stream, as type and data.
fn next(lines: &mut impl BufRead) -> (String, Value) {
    let (mut event_type, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the stream has ended");
        if let Some(told) = line.strip_prefix("event: ") {
            event_type = told.trim_end().to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return (event_type, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn a_log_line_goes_from_plugin_to_plugin_and_who_watches_sees_it() {
    let plugins = both(&[("plugins", "log-enricher"), ("test-plugins", "event-probe")]);
    let host = Host::serve(plugins.path());
    let watching = host.get("/v1/events/stream?after=0");
    assert_eq!(watching.headers()["content-type"], "text/event-stream");
    let mut watching = BufReader::new(watching);
    let line = "level=info user=ann password=hunter2";
    let posted = host.post("/v1/events?type=log.line").header("content-type", "text/plain");
    let posted: Value = posted.body(line).send().unwrap().json().unwrap();
    let expected = json!([{ "plugin": "log-enricher", "handled": true, "attempts": 1 }]);
    assert_eq!(posted["deliveries"], expected);

    let (event_type, enriched) = next(&mut watching);
    assert_eq!(
        (event_type.as_str(), &enriched["source"]),
        ("log.enriched", &json!("log-enricher"))
    );
    let (event_type, seen) = next(&mut watching);
    assert_eq!(
        (event_type.as_str(), &seen["source"]),
        ("seen.log.enriched", &json!("event-probe"))
    );
    assert_eq!(seen["payload"], enriched["payload"]);
    assert!(!seen["payload"].as_str().unwrap().contains("hunter2"));

    // Who comes back goes on where they were; who wants less gets less.
    let mut again = BufReader::new(host.get("/v1/events/stream?after=0&type=seen.*"));
    assert_eq!(next(&mut again).0, "seen.log.enriched");
    for bad in ["type=Bad", "after=x", "afterr=1"] {
        assert_eq!(host.get(&format!("/v1/events/stream?{bad}")).status(), 400, "{bad}");
    }
    let metrics = host.get("/metrics").text().unwrap();
    for line in [
        r#"event_deliveries_total{plugin="event-probe",outcome="handled"} 1"#,
        "events_published_total 3",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    drop((watching, again));
}

#[test]
fn a_host_that_stops_does_not_wait_for_who_watches() {
    let host = Host::serve(&built("test-plugins"));
    let watching = host.get("/v1/events/stream");
    let began = Instant::now();
    host.stop();
    assert!(began.elapsed() < Duration::from_secs(60));
    drop(watching);
}

#[test]
fn what_was_not_handled_is_listed_and_replayed_by_the_operator() {
    let dir = TempDir::new().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "secret-of-the-operator-0123456789").unwrap();
    let data = dir.path().join("data");
    let token: &Path = &token;
    let arguments = ["--admin-token-file", token.to_str().unwrap()];
    let host = Host::serve_from(&built("test-plugins"), &data, &arguments);
    let event = json!({ "event-type": "probe.fail", "payload": "p", "source": "e2e" });
    let posted: Value = host.post("/v1/events").json(&event).send().unwrap().json().unwrap();
    let [delivery] = posted["deliveries"].as_array().unwrap().as_slice() else {
        panic!("{posted}")
    };
    assert_eq!((&delivery["handled"], &delivery["attempts"]), (&json!(false), &json!(5)));
    assert_eq!(delivery["code"], "core/plugin-refused");

    let bearer = "Bearer secret-of-the-operator-0123456789";
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let list = || {
        let url = format!("{}/v1/events/dead", host.base);
        let listed = client.get(url).header("authorization", bearer).send().unwrap();
        listed.json::<Value>().unwrap()
    };
    assert_eq!(host.get("/v1/events/dead").status(), 401);
    assert_eq!(host.post("/v1/events/dead/replay").send().unwrap().status(), 401);
    let letters = list();
    assert_eq!(letters["letters"][0]["event"]["payload"], "p");
    assert_eq!(letters["letters"][0]["subscriber"], "event-probe");
    let ids = json!({ "ids": [letters["letters"][0]["id"]] });
    let replay = host.post("/v1/events/dead/replay").header("authorization", bearer);
    let replayed: Value = replay.json(&ids).send().unwrap().json().unwrap();
    assert_eq!(replayed, json!({ "replayed": 1 }));
    let replay = host.post("/v1/events/dead/replay").header("authorization", bearer);
    assert_eq!(replay.body("{\"idz\":[]}").send().unwrap().status(), 422);
}
