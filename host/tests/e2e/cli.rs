//! The commands that need no server.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, built, command, root, run, stdout};

#[test]
fn run_does_what_the_server_does() {
    let directory = TempDir::new().unwrap();
    let output = directory.path().join("out.jpg");
    let done = run(&[
        "run",
        "image-processor",
        "--input",
        "samples/photo.jpg",
        "--option",
        "width=320",
        "--output",
        output.to_str().unwrap(),
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let size = imagesize::blob_size(&fs::read(&output).unwrap()).unwrap();
    assert_eq!(size.width, 320);
}

#[test]
fn run_reads_and_writes_the_standard_streams() {
    let mut child = command()
        .args(["run", "text-transformer", "--option", "ops=upper", "--content-type", "text/plain"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"quiet").unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.stdout, b"QUIET");
}

#[test]
fn run_says_what_went_wrong_once_with_code_and_help() {
    let done = run(&["run", "nobody", "--input", "samples/order.json"]);
    assert_eq!(done.status.code(), Some(1));
    let error = String::from_utf8(done.stderr).unwrap();
    assert!(error.contains("error: no plugin `nobody` is serving"), "{error}");
    assert!(error.contains("code: host/unknown-plugin") && error.contains("help: "), "{error}");

    let done = run(&["run", "image-processor", "--input", "samples/nothing.jpg", "--json"]);
    let error: Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!(error["error"]["code"], json!("host/file"));
    assert_eq!(run(&["run"]).status.code(), Some(2));
}

#[test]
fn run_explains_why_the_plugin_is_not_there() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("broken.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let plugins = directory.path().to_str().unwrap();
    let done = run(&["run", "broken", "--input", "samples/order.json", "--plugins", plugins]);
    let error = String::from_utf8(done.stderr).unwrap();
    assert!(error.contains("code: core/not-a-component"), "{error}");
}

#[test]
fn inspect_shows_what_a_component_is_and_whether_it_would_load() {
    let file = built("plugins").join("log-enricher/log-enricher.wasm");
    let done = run(&["inspect", "--json", file.to_str().unwrap()]);
    assert!(done.status.success(), "{}", stdout(&done));
    let seen: Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!(seen["world"], json!("event-plugin"));
    assert_eq!((&seen["contract"], &seen["lane"]), (&json!("1.1.0"), &json!("unary")));
    assert_eq!(seen["bytes"], json!(fs::metadata(&file).unwrap().len()));
    assert!(seen["digest"].as_str().unwrap().starts_with("sha256:"));
    let has = |member: &str, part: &str| {
        let list = seen[member].as_array().unwrap();
        list.iter().any(|entry| entry.as_str().unwrap().contains(part))
    };
    assert!(has("imports", "toolsku:host-api/host-services@1.0.0"));
    assert!(has("exports", "toolsku:plugin-system/event-handler@1.1.0"));
    assert!(has("permissions", "memory 64MB: granted by"));
    assert!(has("producers", "rustc"));
    assert_eq!(seen["verdict"]["loads"], json!(true));

    let text = stdout(&run(&["inspect", file.to_str().unwrap()]));
    assert!(text.contains("verdict      this host would load it"), "{text}");
}

#[test]
fn inspect_says_why_a_file_would_not_load() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("x.wasm");
    for (bytes, code) in [
        (b"\0asm\x01\0\0\0".to_vec(), "core/not-a-component"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "core/manifest-missing"),
        (Vec::new(), "core/not-a-component"),
    ] {
        fs::write(&file, bytes).unwrap();
        let done = run(&["inspect", "--json", file.to_str().unwrap()]);
        assert_eq!(done.status.code(), Some(1));
        let seen: Value = serde_json::from_str(&stdout(&done)).unwrap();
        assert_eq!(seen["verdict"]["code"], json!(code));
        assert!(seen["verdict"]["remedy"].is_string());
    }
}

#[test]
fn inspect_takes_paths_as_people_write_them() {
    for (folder, path) in
        [("plugins/log-enricher", "log-enricher.wasm"), ("plugins/log-enricher", ".")]
    {
        let mut here = command();
        here.current_dir(root().join("dist").join(folder));
        let done = here.args(["inspect", "--json", path]).output().unwrap();
        assert!(done.status.success(), "{path}: {}", stdout(&done));
    }
    let mut beside = command();
    beside.current_dir(built("test-plugins"));
    let done = beside.args(["inspect", "--json", "framing-decorator"]).output().unwrap();
    assert!(done.status.success(), "{}", stdout(&done));
}

#[test]
fn inspect_waits_for_no_pipe_and_reads_no_giant() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe.wasm");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let giant = directory.path().join("giant.wasm");
    fs::File::create(&giant).unwrap().set_len(4 << 30).unwrap();
    for (path, code) in [(pipe, "core/unreadable"), (giant, "core/too-large")] {
        let done = run(&["inspect", "--json", path.to_str().unwrap()]);
        let seen: Value = serde_json::from_str(&stdout(&done)).unwrap();
        assert_eq!(seen["verdict"]["code"], json!(code));
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_in_peace() {
    let mut child = command()
        .args(["list", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    assert!(!String::from_utf8_lossy(&done.stderr).contains("panicked"));
}

#[test]
fn inspect_loads_a_plugin_with_what_it_depends_on() {
    let folder = built("test-plugins").join("framing-decorator");
    let done = run(&["inspect", "--json", folder.to_str().unwrap()]);
    assert!(done.status.success(), "{}", stdout(&done));
}

#[test]
fn doctor_finds_a_machine_that_can_run_tests_healthy() {
    let data = TempDir::new().unwrap();
    let done = run(&["doctor", "--json", "--data-dir", data.path().to_str().unwrap()]);
    let report: Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!(report["healthy"], json!(true), "{report}");
    assert!(done.status.success());
    let names: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["engine", "address-space", "data-dir", "plugins", "rustc", "wasm32-wasip2"] {
        assert!(names.contains(&name), "{name}");
    }
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("data");
    let done = run(&["doctor", "--json", "--data-dir", below.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1), "{}", stdout(&done));
}

#[test]
fn two_hosts_do_not_share_a_data_directory_and_the_second_says_so() {
    let data = TempDir::new().unwrap();
    let _first = Host::serve_from(&built("test-plugins"), data.path(), &[]);
    let plugins = built("test-plugins");
    let second = command()
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--plugins"])
        .arg(plugins)
        .arg("--data-dir")
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("ipc/storage-failed"), "{error}");
}

#[test]
fn an_address_in_use_is_told_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = TempDir::new().unwrap();
    let done = command()
        .args(["serve", "--listen", &address, "--plugins"])
        .arg(built("test-plugins"))
        .arg("--data-dir")
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let error = String::from_utf8(done.stderr).unwrap();
    assert!(
        error.contains("host/address-in-use") && error.contains("--listen 127.0.0.1:0"),
        "{error}"
    );
}

#[test]
fn the_program_knows_its_own_name() {
    let version = format!("plugin-host {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&run(&["--version"])), version);
}

#[test]
fn completions_are_written_for_a_shell() {
    let done = run(&["completions", "bash"]);
    assert!(stdout(&done).contains("plugin-host"));
    assert!(root().is_dir());
}
