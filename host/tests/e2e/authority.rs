//! What an operator says in `host.toml`, and what becomes of it.

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, built, run, stdout};

/// A `host.toml`, and a directory with a file for the plugin to read.
fn operator(more: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("library")).unwrap();
    fs::write(dir.path().join("library/book"), "a story").unwrap();
    let text = format!(
        "[policy.limits]\nmemory = \"32MB\"\n[plugins.file-probe]\nallow.fs = [\"read:/library\"]\n\
         paths = {{ \"/library\" = \"{}/library\" }}\n{more}",
        dir.path().display()
    );
    fs::write(dir.path().join("host.toml"), text).unwrap();
    dir
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).display().to_string()
}

fn parsed(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn inspect_explains_each_decision_and_its_rule() {
    let dir = operator("deny.fs = [\"read:/library/private\"]\n");
    let probe = built("test-plugins").join("file-probe");
    let policy = path(&dir, "host.toml");
    let output = run(&["inspect", "--json", "--policy", &policy, probe.to_str().unwrap()]);
    let seen = parsed(&output);
    let says: Vec<&str> =
        seen["permissions"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for line in [
        "memory 64MB: lowered to 32MB by host.toml: policy.limits.memory",
        "cpu-time 5s: granted by the host's default ceiling of cpu-time",
        "fs read:/library: granted by host.toml: plugins.file-probe.allow.fs \"read:/library\"; \
         except host.toml: plugins.file-probe.deny.fs \"read:/library/private\"",
        "fs read-write:/work: denied: host.toml: no allow.fs covers it; host.toml: \
         plugins.file-probe.allow.fs = [\"read-write:/work\"] would allow it",
    ] {
        assert!(says.contains(&line), "{line}\n{says:#?}");
    }
}

#[test]
fn the_audit_log_says_why_a_file_could_not_be_opened() {
    let dir = operator("");
    let data = dir.path().join("data");
    let host =
        Host::serve_from(&built("test-plugins"), &data, &["--config", &path(&dir, "host.toml")]);
    let commands = "read /library/book\nread /etc/passwd";
    let (status, answer) = host.process("file-probe", &[], commands);
    assert_eq!((status, answer.as_str()), (200, "ok a story\nerror PermissionDenied\n"));
    host.stop();
    let data = data.to_str().unwrap();
    let found = run(&["audit", "search", "--data-dir", data, "--text", "passwd", "--json"]);
    let record: Value = serde_json::from_str(stdout(&found).lines().next().unwrap()).unwrap();
    assert_eq!(record["plugin"], "file-probe");
    assert_eq!(record["type"], "fs-access-denied");
    assert_eq!(record["resource"], "/etc/passwd");
    assert_eq!(record["action"], "denied");
    assert!(record["allow"].as_str().unwrap().starts_with("plugin.toml: permissions.fs = ["));
    assert!(run(&["audit", "verify", "--data-dir", data]).status.success());
    // One byte changed, and it is told where.
    let log =
        fs::read_dir(Path::new(data).join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let log = log.filter(|path| path.extension().is_some_and(|ext| ext == "jsonl")).min().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace("/etc/passwd", "/etc/hosts!")).unwrap();
    let refused = run(&["audit", "verify", "--data-dir", data]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_host_that_wants_signatures_takes_none_but_those_it_trusts() {
    let dir = operator("");
    let public = fs::read_to_string(built("plugins").join("../dev-signing.pub")).unwrap();
    let serve = |more: &str| {
        let text = format!("[signatures]\nrequire-signature = true\n{more}");
        fs::write(dir.path().join("signed.toml"), text).unwrap();
        let config = path(&dir, "signed.toml");
        let plugins = built("plugins").display().to_string();
        let list = run(&["list", "--json", "--plugins", &plugins, "--config", &config]);
        let list = parsed(&list);
        let codes = list["refused"].as_array().unwrap().iter();
        let codes: Vec<String> =
            codes.map(|refused| refused["code"].as_str().unwrap().to_owned()).collect();
        (list["plugins"].as_array().unwrap().len(), codes)
    };
    let key = public.trim();
    assert_eq!(serve(&format!("[signatures.trusted-keys]\ndev = \"{key}\"")), (6, vec![]));
    let refused = |code: &str| (0, vec![code.to_owned(); 6]);
    assert_eq!(serve(""), refused("signature/untrusted-key"));
    assert_eq!(serve(&format!("revoked-keys = [\"{key}\"]")), refused("signature/revoked-key"));
}

#[test]
fn a_run_that_learns_shows_what_the_plugin_needs() {
    let dir = operator("");
    fs::write(dir.path().join("commands"), "read /library/book\nread /etc/passwd").unwrap();
    let plugins = built("test-plugins").display().to_string();
    let (config, input) = (path(&dir, "host.toml"), path(&dir, "commands"));
    let learned = run(&[
        "run",
        "file-probe",
        "--learn",
        "--plugins",
        &plugins,
        "--policy",
        &config,
        "--input",
        &input,
        "--content-type",
        "text/plain",
        "--json",
    ]);
    let learned = parsed(&learned);
    assert_eq!(learned["fs"], json!(["read:/library/book"]));
    assert_eq!(learned["refused"][0]["resource"], "/etc/passwd");
    let unused = learned["unused"].as_array().unwrap();
    assert!(unused.contains(&json!("fs read-write:/work")), "{learned}");
    assert!(learned["unused-imports"].as_array().unwrap().is_empty(), "{learned}");
}

#[test]
fn a_policy_that_cannot_be_understood_is_told_with_file_line_and_form() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("host.toml"), "[policy]\nallow.fs = [\"exec:/bin\"]\n").unwrap();
    let plugins = built("plugins").display().to_string();
    let output = run(&["list", "--plugins", &plugins, "--config", &path(&dir, "host.toml")]);
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(says.contains("host.toml: line 2") && says.contains("expected `read:`"), "{says}");
}

#[test]
fn an_unsigned_copy_keeps_no_signed_plugin_out() {
    let dir = TempDir::new().unwrap();
    let real = built("plugins").join("text-transformer");
    for (copy, files) in [
        ("a-copy", &["plugin.toml", "text-transformer.wasm"][..]),
        ("real", &["plugin.toml", "text-transformer.wasm", "text-transformer.wasm.sig"]),
    ] {
        fs::create_dir_all(dir.path().join("plugins").join(copy)).unwrap();
        for file in files {
            fs::copy(real.join(file), dir.path().join("plugins").join(copy).join(file)).unwrap();
        }
    }
    let public = fs::read_to_string(built("plugins").join("../dev-signing.pub")).unwrap();
    let text = format!(
        "[signatures]\nrequire-signature = true\n[signatures.trusted-keys]\ndev = \"{}\"",
        public.trim()
    );
    fs::write(dir.path().join("host.toml"), text).unwrap();
    let (plugins, config) = (path(&dir, "plugins"), path(&dir, "host.toml"));
    let list = parsed(&run(&["list", "--json", "--plugins", &plugins, "--config", &config]));
    assert_eq!(list["plugins"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["refused"][0]["code"], "signature/missing");
}
