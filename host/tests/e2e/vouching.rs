//! Signatures and the audit log, from the command line.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use host_security::{
    Auditor,
    audit::{AuditLog, AuditSettings, ViolationType},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{built, command, run, stdout};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The code of a command that is refused, and what it says to a person.
#[track_caller]
fn refused(arguments: &[&str]) -> (String, String) {
    let done = run(&[arguments, &["--json"]].concat());
    assert_eq!(done.status.code(), Some(1), "{}", stdout(&done));
    let error: Value = serde_json::from_slice(&done.stderr).unwrap();
    let told = run(arguments);
    assert_eq!(told.status.code(), Some(1));
    let code = error["error"]["code"].as_str().unwrap().to_owned();
    (code, String::from_utf8(told.stderr).unwrap())
}

#[track_caller]
fn accepted(arguments: &[&str]) -> String {
    let done = run(arguments);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    stdout(&done)
}

/// A directory with a key `mine`, a key `other`, and a copy of a plugin.
fn workshop() -> TempDir {
    let dir = TempDir::new().unwrap();
    for name in ["mine", "other"] {
        let out = dir.path().join(format!("{name}.key"));
        accepted(&["key", "generate", "--out", text(&out)]);
    }
    let folder = dir.path().join("plugins/log-enricher");
    fs::create_dir_all(&folder).unwrap();
    for file in ["log-enricher.wasm", "plugin.toml"] {
        fs::copy(built("plugins").join("log-enricher").join(file), folder.join(file)).unwrap();
    }
    dir
}

#[test]
fn a_key_is_made_once_and_shown_without_its_secret() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("builds.key");
    let said = accepted(&["key", "generate", "--out", text(&out)]);
    let public = fs::read_to_string(dir.path().join("builds.key.pub")).unwrap();
    assert!(said.contains(&format!("builds = \"{}\"", public.trim())), "{said}");
    let private = fs::read_to_string(&out).unwrap();
    assert!(!said.contains(private.lines().nth(1).unwrap()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(refused(&["key", "generate", "--out", text(&out)]).0, "sign/key-exists");
    assert_eq!(fs::read_to_string(&out).unwrap(), private);
}

#[test]
fn what_is_signed_is_verified_and_what_was_changed_since_is_refused() {
    let dir = workshop();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key, public, other) = (at("mine.key"), at("mine.key.pub"), at("other.key.pub"));
    let verify = |path: &str, key: &str, code: Option<&str>| {
        let done = run(&["verify", path, "--key", key, "--json"]);
        let seen: Value = serde_json::from_str(&stdout(&done)).unwrap();
        assert_eq!(seen["verified"], json!(code.is_none()), "{seen}");
        assert_eq!(seen["components"][0]["code"].as_str(), code, "{seen}");
        assert_eq!(done.status.code(), Some(i32::from(code.is_some())));
    };
    let component = at("plugins/log-enricher/log-enricher.wasm");
    verify(&component, &public, Some("signature/missing"));
    for path in [component.as_str(), &at("plugins/log-enricher"), &at("plugins")] {
        accepted(&["sign", path, "--key", &key]);
        verify(path, &public, None);
        fs::remove_file(format!("{component}.sig")).unwrap();
    }
    accepted(&["sign", &component, "--key", &key]);
    verify(&component, fs::read_to_string(&public).unwrap().trim(), None);
    verify(&component, &other, Some("signature/untrusted-key"));
    let said = accepted(&["verify", &component, "--key", &public]);
    assert!(said.contains("signed by"), "{said}");

    let config = dir.path().join("host.toml");
    let public_text = fs::read_to_string(&public).unwrap();
    let public_text = public_text.trim();
    let trusts = format!("[signatures.trusted-keys]\nmine = \"{public_text}\"\n");
    fs::write(&config, &trusts).unwrap();
    let said = accepted(&["verify", &component, "--config", text(&config)]);
    assert!(said.contains("signed by `mine`"), "{said}");
    fs::write(&config, format!("[signatures]\nrevoked-keys = [\"{public_text}\"]\n{trusts}"))
        .unwrap();
    let done = run(&["verify", &component, "--config", text(&config)]);
    assert!(stdout(&done).contains("code: signature/revoked-key"), "{}", stdout(&done));

    let mut bytes = fs::read(&component).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&component, bytes).unwrap();
    verify(&component, &public, Some("signature/mismatch"));
    fs::write(format!("{component}.sig"), "nonsense").unwrap();
    verify(&component, &public, Some("signature/invalid"));
    assert_eq!(run(&["verify", &component]).status.code(), Some(2));
}

#[test]
fn a_key_that_others_may_read_signs_nothing() {
    let dir = workshop();
    let component = dir.path().join("plugins/log-enricher/log-enricher.wasm");
    let sign = |key: &Path| refused(&["sign", text(&component), "--key", text(key)]).0;
    let key = dir.path().join("mine.key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(sign(&key), "sign/key-exposed");
    }
    assert_eq!(sign(&dir.path().join("none.key")), "sign/file");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let other = dir.path().join("other.key");
    let (code, _) = refused(&["sign", text(&empty), "--key", text(&other)]);
    assert_eq!(code, "host/no-component");
    assert!(!dir.path().join("plugins/log-enricher/log-enricher.wasm.sig").exists());
}

/// A log with two plugins in it, under `audit` of a data directory.
fn data() -> TempDir {
    let data = TempDir::new().unwrap();
    let log = AuditLog::open(AuditSettings::new(data.path().join("audit"))).unwrap();
    let auditor = |name| Auditor::new(name, "1.0.0", Some(Arc::new(log.clone())));
    let denial = host_security::Denial { rule: "a rule".to_owned(), allow: None };
    for number in 0..30 {
        let path = format!("/etc/{number}\x1b[31m\n");
        auditor("greedy").denied(ViolationType::FsAccessDenied, "open", &path, &denial);
    }
    auditor("other").denied(ViolationType::NetAccessDenied, "connect", "10.0.0.1:80", &denial);
    // Beside all the other tests, a disk may take longer than a host that stops would wait.
    let closed = (0..20).any(|_| log.close().is_ok());
    assert!(closed, "{:?}", log.last_error());
    data
}

#[test]
fn the_log_is_shown_and_searched_without_what_terminals_act_on() {
    let data = data();
    let of = |arguments: &[&str]| {
        accepted(&[&["audit"], arguments, &["--data-dir", text(data.path())]].concat())
    };
    let tail = of(&["tail", "-n", "3"]);
    let tail: Vec<&str> = tail.lines().collect();
    assert_eq!(tail.len(), 3);
    assert!(
        tail[0].contains("net-access-denied  connect  10.0.0.1:80  denied  by a rule"),
        "{tail:?}"
    );
    assert!(tail[2].contains("checkpoint"), "{tail:?}");

    let found = of(&["search", "--plugin", "greedy", "--text", "/ETC/7"]);
    assert!(found.contains("/etc/7\\u{1b}[31m\\n") && !found.contains('\x1b'), "{found}");
    assert_eq!(found.lines().count(), 1);
    let count = |arguments: &[&str]| of(&[&["search"], arguments].concat()).lines().count();
    assert_eq!(count(&["--type", "net-access-denied"]), 1);
    assert_eq!(count(&["--type", "violation", "--since", "1h"]), 31);
    assert_eq!(count(&["--since", "2999-01-01T00:00:00Z"]), 0);
    assert_eq!(count(&["--plugin", "greedy", "--limit", "5"]), 5);
    assert_eq!(run(&["audit", "search", "--type", "nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["audit", "search", "--since", "soon"]).status.code(), Some(2));

    let found = of(&["search", "--plugin", "other", "--json"]);
    let record: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(record["resource"], json!("10.0.0.1:80"));
    let nowhere = data.path().join("nowhere");
    assert_eq!(refused(&["audit", "tail", "--dir", text(&nowhere)]).0, "audit/unreadable");
}

#[test]
fn records_to_come_are_shown_as_they_come() {
    let data = TempDir::new().unwrap();
    let directory = data.path().join("audit");
    let log = AuditLog::open(AuditSettings::new(&directory)).unwrap();
    let mut child = command()
        .args(["audit", "tail", "--follow", "-n", "1", "--dir", text(&directory)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("opened"));
    let auditor = Auditor::new("greedy", "1.0.0", Some(Arc::new(log)));
    auditor.lifecycle("unloaded", "by the operator");
    assert!(lines.next().unwrap().contains("unloaded  by the operator"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_changed_byte_of_the_log_is_found_and_its_record_named() {
    let data = data();
    let directory = data.path().join("audit");
    let verify = ["audit", "verify", "--data-dir", text(data.path())];
    assert!(accepted(&verify).contains("every record is as it was written"));
    let key = directory.join("audit.pub");
    let done = accepted(&[&verify[..], &["--json", "--key", text(&key)]].concat());
    let seen: Value = serde_json::from_str(&done).unwrap();
    assert_eq!((&seen["records"], &seen["sealed-up-to"]), (&json!(34), &json!(34)));

    let other = TempDir::new().unwrap();
    let out = other.path().join("other.key");
    accepted(&["key", "generate", "--out", text(&out)]);
    let other = other.path().join("other.key.pub");
    let (code, _) = refused(&[&verify[..], &["--key", text(&other)]].concat());
    assert_eq!(code, "audit/not-sealed");

    let file = directory.join("audit-00000000000000000001.jsonl");
    let changed = fs::read_to_string(&file).unwrap().replace("/etc/9", "/etc/8");
    fs::write(&file, changed).unwrap();
    let (code, said) = refused(&verify);
    assert_eq!(code, "audit/record-changed");
    assert!(said.contains("line 11: record 11 was changed"), "{said}");
}
