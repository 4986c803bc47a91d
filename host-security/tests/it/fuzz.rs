//! Files that nobody wrote on purpose, here those of operators: no panic, no hang, no growth, and nothing
//! proven that is not so.
//!
//! Keys and times are new in each process, so that a case which hangs on their very bytes may not come again
//! from its seed alone; what fails says what it was made of.
//! The numbers, the changes and the process around the cases are those of `host-core`'s tests. `cargo xtask
//! fuzz` runs the same with many cases.

#[path = "../../../host-core/tests/it/fuzz/harness.rs"]
mod harness;
#[path = "../../../host-core/tests/it/fuzz/mutate.rs"]
mod mutate;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::SystemTime,
};

use host_security::{
    Auditor, Denial, Destination, GuestPath, Policy, Request, Rights, Rules,
    audit::{self, AuditLog, AuditRecord, AuditSettings, parse_since, public_key},
    sign::{Signature, SigningKey, Trust, TrustPolicy, digest_of},
    special_range,
};
use plugin_contract::{Explain, FsAccess, FsPermission, Manifest, NetAccess, NetTarget};

use harness::run;
use mutate::{Rng, mutated, mutated_text};

/// The code of an error that can be acted on and is fit to be shown.
fn checked<E: Explain + ?Sized>(error: &E) -> &'static str {
    assert!(error.code().contains('/') && !error.remedy().is_empty(), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{message:?}");
    error.code()
}

/// A log of several files and some checkpoints, closed.
fn log(directory: &Path) {
    let mut settings = AuditSettings::new(directory);
    (settings.bytes_max, settings.checkpoint_records) = (4 << 10, 7);
    (settings.plugin_rate, settings.plugin_burst) = (u32::MAX, u32::MAX);
    let log = AuditLog::open(settings).unwrap();
    let auditor = Auditor::new("greedy", "1.0.0", Some(std::sync::Arc::new(log.clone())));
    for at in 0..60 {
        auditor.lifecycle("loaded", &format!("{at} \u{e9}\n\"{{}}\""));
    }
    log.close().unwrap();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Changes some of the log in a directory.
fn damage(rng: &mut Rng, directory: &Path) {
    let logs: Vec<_> = files(directory).into_iter().filter(|path| is_log(path)).collect();
    let (file, other) = (rng.pick(&logs), rng.pick(&logs));
    let read = |path: &Path| fs::read(path).unwrap();
    match rng.below(12) {
        0 => fs::remove_file(file).unwrap(),
        1 => fs::rename(file, other).unwrap(),
        2 => fs::write(file, read(other)).unwrap(),
        3 => fs::rename(file, directory.join(format!("audit-{:020}.jsonl", rng.next()))).unwrap(),
        4 => {
            let lines = String::from_utf8(read(file)).unwrap();
            let mut lines: Vec<_> = lines.split_inclusive('\n').collect();
            let (one, two) = (rng.below(lines.len()), rng.below(lines.len()));
            lines.swap(one, two);
            fs::write(file, lines.concat()).unwrap();
        }
        5 => {
            let key = directory.join("audit.pub");
            let changed = mutated(rng, &read(&key), &read(file));
            fs::write(key, changed).unwrap();
        }
        _ => {
            let changed = mutated(rng, &read(file), &read(other));
            fs::write(file, changed).unwrap();
        }
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl")
}

#[test]
fn changed_audit_logs() {
    run("fuzz::changed_audit_logs", 150, || {
        let good = tempfile::tempdir().unwrap();
        log(good.path());
        let key = public_key(good.path()).unwrap();
        let records = audit::read(good.path()).unwrap().map(Result::unwrap);
        let records: HashMap<u64, AuditRecord> = records.map(|it| (it.seq, it)).collect();
        let count = audit::verify(good.path(), Some(&key)).unwrap().records;
        assert_eq!(count, records.len() as u64);
        move |rng| {
            let directory = tempfile::tempdir().unwrap();
            for file in files(good.path()) {
                fs::copy(&file, directory.path().join(file.file_name().unwrap())).unwrap();
            }
            damage(rng, directory.path());
            let read = audit::read(directory.path()).unwrap().take(10_000);
            let read: Vec<_> = read.collect();
            assert!(read.len() < 1_000, "{} records of {count}", read.len());
            for fault in read.iter().filter_map(|record| record.as_ref().err()) {
                checked(fault);
            }
            let (last, _) = audit::last(directory.path(), rng.below(100)).unwrap();
            assert!(last.len() < 100);
            let outcome = match audit::verify(directory.path(), Some(&key)) {
                Ok(verified) => {
                    // What is said to be sealed is what was written.
                    let sealed = verified.sealed_up_to.unwrap_or(0);
                    let read = read.iter().flatten().filter(|record| record.seq <= sealed);
                    for record in read {
                        assert_eq!(records.get(&record.seq), Some(record));
                    }
                    "ok"
                }
                Err(fault) => checked(&fault),
            };
            if rng.once_in(10) {
                match AuditLog::open(AuditSettings::new(directory.path())) {
                    Ok(log) => log.close().unwrap(),
                    Err(error) => drop(checked(&error)),
                }
            }
            vec![outcome]
        }
    });
}

#[test]
fn changed_signatures() {
    run("fuzz::changed_signatures", 1_000, || {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let digest = digest_of(b"a component");
        let (good, foreign) = (key.sign(&digest).to_string(), other.sign(&digest).to_string());
        let made = Signature::parse(good.as_bytes()).unwrap();
        let text = |required: bool| {
            format!(
                "require-signature = {required}\nrevoked-keys = [\"{}\"]\n[trusted-keys]\nbuilds = \"{}\"\n",
                other.public(),
                key.public()
            )
        };
        let (texts, directory) = ([text(true), text(false)], tempfile::tempdir().unwrap());
        key.write_new(&directory.path().join("key")).unwrap();
        let secret = fs::read(directory.path().join("key")).unwrap();
        let policy: TrustPolicy = toml::from_str(&texts[0]).unwrap();
        move |rng| {
            let changed = mutated(rng, good.as_bytes(), foreign.as_bytes());
            let outcome = match policy.check(&digest, Some(&changed)) {
                Ok(trust) => {
                    assert!(matches!(trust, Trust::Signed { .. }), "{trust}");
                    assert_eq!(
                        Signature::parse(&changed).unwrap(),
                        made,
                        "{}",
                        changed.escape_ascii()
                    );
                    "ok"
                }
                Err(refused) => checked(&refused),
            };
            let at = rng.below(2);
            let policy = mutated_text(rng, &texts[at], &foreign);
            if let Ok(policy) = toml::from_str::<TrustPolicy>(&policy) {
                let _ = policy.check(&digest, Some(good.as_bytes())).inspect_err(|it| {
                    checked(it);
                });
            }
            let path = directory.path().join("key");
            fs::write(&path, mutated(rng, &secret, foreign.as_bytes())).unwrap();
            // A key that is read is one that can be signed with.
            match SigningKey::read(&path) {
                Ok(key) => assert!(key.sign(&digest).verify(&digest).is_ok()),
                Err(error) => drop(checked(&error)),
            }
            vec![outcome]
        }
    });
}

/// One section of `host.toml`, and what a plugin asks for.
const RULES: &str = r#"
allow.fs = ["read:/data", "read-write:/cache", "write:/data/in", "read:/"]
allow.net = ["connect:api.example.com:443", "connect:10.0.0.0/8:*", "listen:[::1]:80", "datagram:*:53"]
deny.fs = ["read-write:/data/private", "write:/cache/a"]
deny.net = ["connect:10.1.2.3:*", "connect:*:25"]
env = { TZ = "UTC", HOME = "" }
paths = { "/data" = "/srv/pictures", "/" = "/tmp" }
limits = { memory = "32MB", cpu-time = "1m", timeout = "5s", max-instances = 4, data-size = "1GB", http-size = "1KiB" }
"#;
const MANIFEST: &str = r#"
[plugin]
name = "guest"
version = "0.1.0"
entrypoint = "guest.wasm"
description = "\u001b[31m\u202e\t"
[permissions]
fs = ["read-write:/data", "read:/cache/a/b", "read-write:/"]
net = ["connect:*:*", "listen:127.0.0.1:8080", "datagram:8.8.8.8:53"]
env = ["HOME", "TZ"]
memory = "1GB"
[permissions.deny]
fs = ["write:/data/in/x"]
net = ["connect:192.168.0.0/16:*"]
"#;

#[test]
fn changed_rules() {
    run("fuzz::changed_rules", 1_000, || {
        let (rules, manifest): (Rules, Manifest) =
            (toml::from_str(RULES).unwrap(), MANIFEST.parse().unwrap());
        move |rng| {
            let changed = toml::from_str(&mutated_text(rng, RULES, MANIFEST));
            let outcome = if changed.is_ok() { "ok" } else { "refused" };
            let policy = Policy { all: changed.unwrap_or(rules.clone()), plugins: BTreeMap::new() };
            let asked = mutated_text(rng, MANIFEST, RULES).parse().unwrap_or(manifest.clone());
            let request = Request::from_manifest(&asked);
            let grant = policy.grant(&request);
            for decision in grant.decisions() {
                let shown = decision.to_string();
                assert!(!shown.contains(char::is_control), "{shown:?}");
            }
            for _ in 0..10 {
                let path = path(rng);
                if path.first().is_some_and(|first| first == "plugin-data") {
                    continue; // Every plugin has it, asked for or not.
                }
                let expected = rights(&policy, &request, &path);
                assert_eq!(grant.fs().rights(&path), expected, "{path:?}");
                for access in [FsAccess::Read, FsAccess::Write, FsAccess::ReadWrite] {
                    let answer = grant.fs().check(&path, access);
                    assert_eq!(answer.is_ok(), expected.cover(access), "{path:?}");
                    answer.unwrap_or_else(explained);
                }
            }
            let address = address(rng);
            let names = [mutated_text(rng, "api.example.com", RULES)];
            let to = Destination { names: &names, address, port: rng.next() as u16 };
            for access in [NetAccess::Connect, NetAccess::Listen, NetAccess::Datagram] {
                let answer = grant.net().check(access, to);
                // No name and no `*` leads to such an address.
                if answer.is_ok() && special_range(address).is_some() {
                    let is_address = |target: &NetTarget| matches!(target, NetTarget::Range(..));
                    assert!(policy.all.allow.net.iter().any(|allow| is_address(&allow.target)));
                }
                answer.unwrap_or_else(explained);
            }
            grant.net().check_name(&names[0]).unwrap_or_else(explained);
            vec![outcome]
        }
    });
}

#[test]
fn random_texts() {
    run("fuzz::random_texts", 2_000, || {
        |rng| {
            let path = mutated_text(rng, "/data/a.b/c", "/../.\\\0//./x");
            let outcome = match path.parse::<GuestPath>() {
                Ok(taken) => {
                    let is_plain = |part: &String| {
                        !["", ".", ".."].contains(&part.as_str()) && !part.contains(['/', '\0'])
                    };
                    assert!(taken.parts().iter().all(is_plain), "{path:?}");
                    assert_eq!(taken.to_string().parse(), Ok(taken));
                    "ok"
                }
                Err(problem) => {
                    assert!(!problem.is_empty());
                    "refused"
                }
            };
            let since = mutated_text(rng, "2026-01-31T12:00:00Z", "90m 7d 999999999999999999y");
            if let Err(problem) = parse_since(&since, SystemTime::UNIX_EPOCH) {
                assert!(!problem.is_empty());
            }
            vec![outcome]
        }
    });
}

/// A path as a guest's is when it has been resolved.
fn path(rng: &mut Rng) -> Vec<String> {
    const PARTS: [&str; 12] = [
        "data",
        "database",
        "private",
        "cache",
        "a",
        "b",
        "in",
        "x",
        "plugin-data",
        "é",
        "Data",
        "\n",
    ];
    (0..rng.below(6)).map(|_| (*rng.pick(&PARTS)).to_owned()).collect()
}

fn address(rng: &mut Rng) -> IpAddr {
    let first = *rng.pick(&[8, 10, 127, 169, 172, 192, 100, 224]);
    let four = Ipv4Addr::from([first, rng.next() as u8, rng.next() as u8, rng.next() as u8]);
    match rng.below(4) {
        0 => four.into(),
        1 => four.to_ipv6_mapped().into(),
        2 => Ipv6Addr::from(u128::from(four.to_bits()) | 0x64_ff9b << 96).into(),
        _ => Ipv6Addr::from(u128::from(rng.next()) << rng.below(65)).into(),
    }
}

fn explained(denial: Denial) {
    assert!(!denial.rule.is_empty() && !denial.rule.contains(char::is_control), "{denial:?}");
}

/// What the rules say of a path, found by reading them one after another.
fn rights(policy: &Policy, request: &Request, path: &[String]) -> Rights {
    let of = |rules: &[FsPermission]| {
        let covering = || rules.iter().filter(|rule| path.starts_with(&rule.path));
        Rights {
            read: covering().any(|rule| rule.access.reads()),
            write: covering().any(|rule| rule.access.writes()),
        }
    };
    let [asked, allowed] = [of(&request.fs), of(&policy.all.allow.fs)];
    let [denied, unwanted] = [of(&policy.all.deny.fs), of(&request.deny_fs)];
    Rights {
        read: asked.read && allowed.read && !denied.read && !unwanted.read,
        write: asked.write && allowed.write && !denied.write && !unwanted.write,
    }
}
