//! What operators do and see while a host serves.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, built, bytes, code, command, run, stdout};

/// A host with some of the test plugins, in a directory of its own.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new(plugins: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        for plugin in plugins {
            let to = directory.path().join("plugins").join(plugin);
            copy(&built("test-plugins").join(plugin), &to);
        }
        fs::write(directory.path().join("token"), "0123456789abcdef\n").unwrap();
        Self { directory }
    }

    fn serve(&self, config: &str, arguments: &[&str]) -> Host {
        let path = |name: &str| self.directory.path().join(name);
        fs::write(path("host.toml"), config).unwrap();
        let (config, token) = (path("host.toml"), path("token"));
        let mut all = vec!["--config", config.to_str().unwrap()];
        all.extend(["--admin-token-file", token.to_str().unwrap()]);
        all.extend(arguments);
        Host::serve_from(&path("plugins"), &path("data"), &all)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn order(host: &Host, plugin: &str, what: &str, token: &str) -> (u16, String) {
    let answer = host
        .post(&format!("/v1/plugins/{plugin}/{what}"))
        .header("authorization", format!("Bearer {token}"))
        .send()
        .unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

const TOKEN: &str = "0123456789abcdef";

/// Asks until the answer is the one that is waited for.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..400 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("{what} never came");
}

#[test]
fn a_plugin_that_pauses_is_not_called_until_it_resumes() {
    let host = Bench::new(&["moody"]).serve("[health]\ninterval = \"100ms\"\n", &[]);
    assert_eq!(host.process("moody", &[], "pause 8").0, 200);
    until("the pause", || host.process("moody", &[], "hello").0 == 503);
    assert_eq!(host.refusal("moody", &[], "hello"), (503, "core/plugin-paused".to_owned()));
    let listed: Value = host.get("/v1/plugins/moody").json().unwrap();
    assert_eq!(listed["state"], "paused");
    until("the end of it", || host.process("moody", &[], "hello").0 == 200);
}

#[test]
fn a_plugin_that_is_broken_is_started_anew() {
    let host = Bench::new(&["moody"]).serve("[health]\ninterval = \"100ms\"\n", &[]);
    // Its instance has had enough; the next one has not.
    assert_eq!(host.process("moody", &[], "sulk").0, 200);
    until("a new instance", || {
        let metrics = host.get("/metrics").text().unwrap();
        host.process("moody", &[], "hello").0 == 200 && metrics.contains("plugin_calls_total")
    });
    // None of its instances will ever start again.
    assert_eq!(host.process("moody", &[], "despair").0, 200);
    until("the recovery", || {
        host.process("moody", &[], "hello").1.contains("core/plugin-recovering")
    });
    let listed: Value = host.get("/v1/plugins").json().unwrap();
    assert_eq!(listed["refused"][0]["code"], "core/initialize-failed");
    assert_eq!(listed["refused"][0]["state"], "recovering");
}

#[test]
fn operators_unload_start_and_reload_with_their_token_and_nobody_without() {
    let bench = Bench::new(&["shout-v1", "word-count", "framing-decorator"]);
    let host = bench.serve("", &[]);
    let (status, body) = order(&host, "shout-v1", "unload", "0123456789abcdeX");
    assert_eq!((status, code(&body).as_str()), (401, "http/unauthorized"));
    assert_eq!(order(&host, "shout-v1", "unload", TOKEN).0, 204);
    assert_eq!(host.refusal("shout-v1", &[], "x"), (503, "core/not-loaded".to_owned()));
    assert_eq!(order(&host, "shout-v1", "start", TOKEN).0, 204);
    assert_eq!(host.process("shout-v1", &[], "x"), (200, "X".to_owned()));

    let (status, body) = order(&host, "word-count", "unload", TOKEN);
    assert_eq!((status, code(&body).as_str()), (409, "core/still-needed"));

    let file = bench.directory.path().join("plugins/shout-v1/shout-v1.wasm");
    let good = fs::read(&file).unwrap();
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    let (status, body) = order(&host, "shout-v1", "reload", TOKEN);
    assert!(status >= 400, "{body}");
    assert_eq!(host.process("shout-v1", &[], "x").0, 200, "the old one serves on");
    fs::write(&file, &good).unwrap();
    assert_eq!(order(&host, "shout-v1", "reload", TOKEN).0, 204);
    assert_eq!(host.process("shout-v1", &[], "x").0, 200);

    let without = Host::serve(&built("test-plugins"));
    let (status, body) = order(&without, "shout-v1", "unload", TOKEN);
    assert_eq!((status, code(&body).as_str()), (403, "http/admin-disabled"));
}

#[test]
fn what_callers_get_from_a_plugin_out_of_order_is_the_operators_choice() {
    let bench = Bench::new(&["misbehaving"]);
    let host = bench.serve("[plugins.misbehaving]\non-failure = \"pass-through\"\n", &[]);
    let answer = host
        .post("/v1/plugins/misbehaving/process?do=panic")
        .header("content-type", "text/plain")
        .body("as it was")
        .send()
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let how = answer.headers()["x-plugin-degraded"].to_str().unwrap().to_owned();
    assert_eq!(how, "passed-through; core/trap-unreachable");
    assert_eq!(answer.text().unwrap(), "as it was");
    assert_eq!(host.process("misbehaving", &[("do", "error")], "").0, 422, "a refusal stays one");
    // Also after a deadline, when the guest still had it.
    let late = host.process("misbehaving", &[("do", "sleep"), ("ms", "60000")], "as it was");
    assert_eq!(late, (200, "as it was".to_owned()));
}

#[test]
fn a_configuration_that_makes_no_sense_keeps_the_host_from_starting() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("host.toml");
    fs::write(&config, "[health]\ninterval = \"soon\"\n").unwrap();
    let output = run(&["list", "--config", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("host/config-invalid") && complaint.contains("health.interval"));
}

#[test]
fn a_batch_reports_each_item_in_order_if_that_is_wanted() {
    let host = Host::serve(&built("test-plugins"));
    let items: Vec<Value> = (0..30)
        .map(|at| match at {
            7 => json!({ "text": "", "options": { "do": "error" } }),
            // The first takes longest.
            _ => json!({
                "base64": "", "content-type": "text/plain",
                "options": { "do": "sleep", "ms": if at == 0 { "300" } else { "1" } },
            }),
        })
        .collect();
    let batch = |ordered: bool| {
        let body = json!({ "items": items, "concurrency": 3, "ordered": ordered });
        let answer = host.post("/v1/plugins/misbehaving/batch").json(&body).send().unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let lines = String::from_utf8(bytes(answer)).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let ordered = batch(true);
    assert_eq!(ordered.len(), 30);
    assert!((0..30).all(|at| ordered[at]["index"] == at), "{ordered:?}");
    assert_eq!(ordered[7]["code"], "core/plugin-refused");
    assert_eq!(ordered[8]["text"], "slept");
    let unordered = batch(false);
    assert_eq!(unordered.len(), 30);
    assert_ne!(unordered[0]["index"], 0, "the slow one came first");

    let (status, body) = {
        let answer = host.post("/v1/plugins/misbehaving/batch").body("{\"items\":1}").send();
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    };
    assert_eq!((status, code(&body).as_str()), (422, "http/invalid-json"));
}

#[test]
fn a_batch_whose_client_does_not_read_keeps_no_instance_busy() {
    let host = Host::serve(&built("test-plugins"));
    let items: Vec<Value> = (0..40)
        .map(|_| json!({ "text": "", "options": { "do": "huge-output", "bytes": "4000000" } }))
        .collect();
    let body = json!({ "items": items, "concurrency": 16 });
    // The head of the answer has come, and nobody reads on.
    let unread = host.post("/v1/plugins/misbehaving/batch").json(&body).send().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..5 {
        assert_eq!(host.process("misbehaving", &[("do", "ok")], "").0, 200);
    }
    drop(unread);
    let too_many: Vec<Value> = (0..1_001).map(|_| json!({ "text": "" })).collect();
    let body = json!({ "items": too_many });
    let answer = host.post("/v1/plugins/misbehaving/batch").json(&body).send().unwrap();
    assert_eq!(answer.status().as_u16(), 422);
    let body = json!({ "function": "f", "args": ["x".repeat(2 << 20)] });
    let answer = host.post("/v1/plugins/misbehaving/call").json(&body).send().unwrap();
    assert_eq!(answer.status().as_u16(), 413);
}

#[test]
fn functions_are_called_by_name_over_http_and_on_the_command_line() {
    let host = Host::serve(&built("test-plugins"));
    let body = json!({ "function": "plugin-api-v1#process", "args": ["hello"] });
    let answer = host.post("/v1/plugins/shout-v1/call").json(&body).send().unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({ "result": "HELLO" }));
    let wrong = json!({ "function": "plugin-api-v1#process", "args": [7] });
    let answer = host.post("/v1/plugins/shout-v1/call").json(&wrong).send().unwrap();
    assert_eq!(answer.status().as_u16(), 422);
    assert_eq!(code(&answer.text().unwrap()), "core/invalid-arguments");

    let plugins = built("test-plugins");
    let call = |arguments: &[&str]| {
        let output =
            command().arg("call").args(arguments).arg("--plugins").arg(&plugins).output().unwrap();
        (output.status.success(), stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (good, out, _) = call(&["shout-v1", "plugin-api-v1#process(\"hello\")"]);
    assert_eq!((good, out.trim()), (true, "\"HELLO\""));
    let (good, _, err) = call(&["shout-v1", "plugin-api-v1#proces(\"hello\")"]);
    assert!(!good && err.contains("core/no-such-function"), "{err}");
}

/// A component of a world that nobody here has seen.
const STRANGE: &str = r#"(component
    (core module $m (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))
    (core instance $i (instantiate $m))
    (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (component $shim
        (import "add" (func $f (param "a" u32) (param "b" u32) (result u32)))
        (export "add" (func $f)))
    (instance $math (instantiate $shim (with "add" (func $add))))
    (export "acme:demo/math@2.1.0" (instance $math)))"#;

#[test]
fn a_component_that_nobody_here_has_seen_is_loaded_and_called() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("Strange Thing.wasm");
    fs::write(&file, wat::parse_str(STRANGE).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let listed = run(&["call", file]);
    assert_eq!(stdout(&listed).trim(), "acme:demo/math@2.1.0#add(a: u32, b: u32) -> u32");
    assert_eq!(stdout(&run(&["call", file, "math#add(40, 2)"])).trim(), "42");
    assert_eq!(stdout(&run(&["call", file, "math#add", "--args", "[40, 2]"])).trim(), "42");

    // And as a plugin among others.
    let folder = directory.path().join("plugins/strange");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(file, folder.join("strange.wasm")).unwrap();
    let manifest =
        "[plugin]\nname = \"strange\"\nversion = \"2.1.0\"\nentrypoint = \"strange.wasm\"\n";
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    let host = Host::serve(&directory.path().join("plugins"));
    let body = json!({ "function": "add", "args": [1, 2] });
    let answer = host.post("/v1/plugins/strange/call").json(&body).send().unwrap();
    assert_eq!(answer.status().as_u16(), 404, "there is no such function outside of an interface");
    let body = json!({ "function": "acme:demo/math#add", "args": [1, 2] });
    let answer = host.post("/v1/plugins/strange/call").json(&body).send().unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({ "result": 3 }));
    assert_eq!(host.refusal("strange", &[], "x"), (404, "core/not-offered".to_owned()));
}

#[test]
fn metrics_tell_what_has_happened() {
    let host = Host::serve(&built("test-plugins"));
    for _ in 0..3 {
        assert_eq!(host.process("misbehaving", &[("do", "ok")], "").0, 200);
    }
    assert_eq!(host.process("misbehaving", &[("do", "panic")], "").0, 500);
    let text = host.get("/metrics").text().unwrap();
    let has = |line: &str| text.lines().any(|found| found == line);
    let labels = r#"{plugin="misbehaving",version="0.1.0""#;
    assert!(has(&format!("plugin_calls_total{labels}}} 4")), "{text}");
    let trap = r#"code="core/trap-unreachable""#;
    assert!(has(&format!("plugin_errors_total{labels},{trap}}} 1")), "{text}");
    assert!(has(&format!("plugin_call_seconds_count{labels}}} 4")), "{text}");
    assert!(has(&format!("plugin_state{labels},state=\"serving\"}} 1")), "{text}");
    assert!(text.contains("code_cache_hits_total") && text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_second_start_compiles_nothing() {
    let bench = Bench::new(&["shout-v1", "word-count"]);
    let code = bench.directory.path().join("code");
    let arguments = ["--code-dir", code.to_str().unwrap()];
    let compiled = |host: &Host| {
        let text = host.get("/metrics").text().unwrap();
        let line = text.lines().find(|line| line.starts_with("code_cache_compiled_total"));
        line.unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    let first = bench.serve("", &arguments);
    assert_eq!(compiled(&first), "2");
    drop(first);
    let second = bench.serve("", &arguments);
    assert_eq!(compiled(&second), "0");
    assert_eq!(second.process("shout-v1", &[], "x"), (200, "X".to_owned()));
}

#[test]
fn plugins_of_a_lazy_host_start_with_their_first_call() {
    let host = Bench::new(&["shout-v1", "word-count"]).serve("", &["--lazy"]);
    let state = |plugin: &str| {
        let listed: Value = host.get(&format!("/v1/plugins/{plugin}")).json().unwrap();
        listed["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("shout-v1"), "registered");
    assert_eq!(host.process("shout-v1", &[], "x"), (200, "X".to_owned()));
    assert_eq!(
        (state("shout-v1").as_str(), state("word-count").as_str()),
        ("serving", "registered")
    );
}
