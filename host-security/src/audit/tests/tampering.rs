use std::{fs, path::Path};

use plugin_contract::Explain;

use super::{lines, log_of, paths, records, settings, violation};
use crate::{
    audit::{
        AuditFault, AuditLog, AuditRecord, AuditSink, Problem, RecordKind, last, public_key, read,
        record::{NO_HASH, encode, parse},
        verify,
    },
    sign::SigningKey,
};

/// The fault of a log: the record it names and the code.
#[track_caller]
fn check(directory: &Path, seq: u64, code: &str) {
    let fault = verify(directory, None).unwrap_err();
    assert_eq!(fault.code(), code, "{fault}");
    match fault {
        AuditFault::Record { seq: named, .. } => assert_eq!(named, seq, "{fault}"),
        other => panic!("{other}"),
    }
}

/// A log with `count` records of violations in one file; its file and that file's lines.
fn small_log(directory: &Path, count: usize) -> (std::path::PathBuf, Vec<String>) {
    log_of(settings(directory), count);
    let path = paths(directory).remove(0);
    let lines = lines(&path);
    (path, lines)
}

fn write(path: &Path, lines: &[impl AsRef<str>]) {
    let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
    fs::write(path, text).unwrap();
}

#[test]
fn every_changed_byte_is_found_and_its_record_named() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = small_log(dir.path(), 3);
    let key = public_key(dir.path()).unwrap();
    let good = fs::read(&path).unwrap();
    let changes: [fn(u8) -> u8; 5] =
        [|byte| byte ^ 1, |byte| byte ^ 0x20, |byte| byte ^ 0x80, |_| b'\n', |_| b' '];
    let (mut seq, mut line) = (1, 1);
    for at in 0..good.len() {
        for change in changes {
            let mut bytes = good.clone();
            bytes[at] = change(bytes[at]);
            if bytes == good {
                continue;
            }
            fs::write(&path, &bytes).unwrap();
            match verify(dir.path(), Some(&key)) {
                Err(AuditFault::Record { seq: named, line: at_line, problem, .. }) => {
                    assert_eq!((named, at_line, problem), (seq, line, Problem::Changed), "{at}");
                }
                other => panic!("byte {at} to {:?}: {other:?}", bytes[at] as char),
            }
        }
        if good[at] == b'\n' {
            (seq, line) = (seq + 1, line + 1);
        }
    }
    assert_eq!(seq, 7);
    fs::write(&path, good).unwrap();
    verify(dir.path(), Some(&key)).unwrap();
}

#[test]
fn a_record_that_was_removed_moved_or_doubled_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lines) = small_log(dir.path(), 5);
    let change = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        write(&path, &changed);
    };
    change(&|lines| drop(lines.remove(3)));
    check(dir.path(), 4, "audit/record-missing");
    change(&|lines| drop(lines.remove(0)));
    check(dir.path(), 1, "audit/record-missing");
    change(&|lines| lines.swap(2, 3));
    check(dir.path(), 3, "audit/record-missing");
    change(&|lines| lines.insert(3, lines[2].clone()));
    check(dir.path(), 4, "audit/record-repeated");
    change(&|lines| lines.insert(2, String::new()));
    check(dir.path(), 3, "audit/record-changed");
    change(&|_| {});
    verify(dir.path(), None).unwrap();
}

/// The records from `from` on, bound together again after a change.
fn rebind(lines: &[String], from: usize, to: usize, key: Option<&SigningKey>) -> Vec<String> {
    let mut out: Vec<String> = lines[..from].to_vec();
    let mut hash = match from {
        0 => NO_HASH,
        _ => parse(lines[from - 1].as_bytes()).unwrap().hash,
    };
    for line in &lines[from..to] {
        let mut record: AuditRecord = serde_json::from_str(line).unwrap();
        if record.kind == RecordKind::Violation {
            record.resource = Some("/harmless".to_owned());
        }
        let old_sign = record.sign.clone();
        let is_seal = record.kind == RecordKind::Checkpoint;
        let (mut bytes, new) = encode(record.clone(), &hash, key.filter(|_| is_seal)).unwrap();
        if is_seal && key.is_none() {
            // The signature that was there, bound in with a hash that is right.
            let stand_in = SigningKey::generate().unwrap();
            (bytes, _) = encode(record, &hash, Some(&stand_in)).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            let sign = text.split("\"sign\":\"").nth(1).unwrap()[..88].to_owned();
            let body = text.split(",\"hash\"").next().unwrap();
            out.push(super::format::close(&body.replace(&sign, &old_sign.unwrap()), &hash));
            continue;
        }
        bytes.pop();
        out.push(String::from_utf8(bytes).unwrap());
        hash = new;
    }
    out.extend_from_slice(&lines[to..]);
    out
}

#[test]
fn a_record_with_a_right_hash_of_its_own_does_not_fit_the_one_that_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lines) = small_log(dir.path(), 5);
    write(&path, &rebind(&lines, 2, 3, None));
    check(dir.path(), 4, "audit/record-exchanged");
}

#[test]
fn a_chain_that_was_bound_anew_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lines) = small_log(dir.path(), 5);
    let stolen = SigningKey::generate().unwrap();
    for key in [None, Some(&stolen)] {
        write(&path, &rebind(&lines, 2, lines.len(), key));
        check(dir.path(), lines.len() as u64, "audit/not-sealed");
    }
}

#[test]
fn who_exchanges_the_key_too_is_found_by_who_noted_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lines) = small_log(dir.path(), 5);
    let noted = public_key(dir.path()).unwrap();
    let stolen = SigningKey::generate().unwrap();
    write(&path, &rebind(&lines, 2, lines.len(), Some(&stolen)));
    fs::write(dir.path().join("audit.pub"), stolen.public().to_string()).unwrap();
    verify(dir.path(), None).unwrap();
    assert_eq!(verify(dir.path(), Some(&noted)).unwrap_err().code(), "audit/not-sealed");
}

#[test]
fn a_removed_file_is_found_unless_the_log_says_that_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    (settings.bytes_max, settings.files_max) = (4 << 10, 5);
    log_of(settings, 200);
    let files = paths(dir.path());
    let first = |at: usize| parse(lines(&files[at])[0].as_bytes()).unwrap().record.seq;
    assert_eq!(verify(dir.path(), None).unwrap().first_seq, first(0));

    let hidden = dir.path().join("hidden");
    let without = |at: usize, seq: u64| {
        fs::rename(&files[at], &hidden).unwrap();
        check(dir.path(), seq, "audit/record-missing");
        fs::rename(&hidden, &files[at]).unwrap();
    };
    without(0, first(0));
    without(2, first(2));
    // The newest says what is kept. Without it, more seems to be gone than was said.
    fs::rename(&files[4], &hidden).unwrap();
    let fault = verify(dir.path(), None).unwrap_err();
    assert_eq!(fault.code(), "audit/record-missing");
    fs::rename(&hidden, &files[4]).unwrap();
    verify(dir.path(), None).unwrap();
}

#[test]
fn an_end_that_was_cut_off_between_records_shows_in_the_last_number_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lines) = small_log(dir.path(), 5);
    write(&path, &lines[..4]);
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.last_seq, verified.sealed_up_to, verified.unsealed), (4, None, 4));
}

#[test]
fn a_log_that_is_not_there_is_no_log_that_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let code = |directory: &Path| verify(directory, None).unwrap_err().code();
    assert_eq!(code(dir.path()), "sign/file");
    let (path, _) = small_log(dir.path(), 1);
    fs::write(&path, "").unwrap();
    assert_eq!(code(dir.path()), "audit/no-log");
    fs::remove_file(&path).unwrap();
    assert_eq!(code(dir.path()), "audit/no-log");
    let key = public_key(dir.path()).unwrap();
    let nowhere = dir.path().join("nowhere");
    assert_eq!(verify(&nowhere, Some(&key)).unwrap_err().code(), "audit/unreadable");
}

#[test]
fn files_of_strangers_are_read_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lines) = small_log(dir.path(), 2);
    // A line of 256 MiB that is nowhere on disk, after two good ones.
    write(&path, &lines[..2]);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(256 << 20).unwrap();
    check(dir.path(), 3, "audit/record-changed");
    assert_eq!(read(dir.path()).unwrap().flatten().count(), 2);

    for text in [
        "[".repeat(200_000),
        "{\"seq\":18446744073709551615}\n".repeat(1_000),
        "\u{0}\u{ff}\n".repeat(1_000),
    ] {
        fs::write(&path, text).unwrap();
        check(dir.path(), 1, "audit/record-changed");
        assert!(read(dir.path()).unwrap().all(|record| record.is_err()));
        assert!(last(dir.path(), 5).unwrap().0.is_empty());
    }
}

#[test]
fn the_largest_number_is_not_the_end_of_the_world() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = small_log(dir.path(), 1);
    let mut record = AuditRecord::new(RecordKind::Opened, super::noon());
    record.seq = u64::MAX;
    let (line, _) = encode(record, &NO_HASH, None).unwrap();
    fs::write(&path, line).unwrap();
    check(dir.path(), 1, "audit/record-missing");
    assert_eq!(read(dir.path()).unwrap().count(), 1);
    let log = AuditLog::open(settings(dir.path())).unwrap();
    log.record(violation("greedy", "open", "1"));
    log.close().unwrap();
}

#[cfg(unix)]
#[test]
fn what_only_looks_like_a_file_of_the_log_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = small_log(dir.path(), 1);
    let name = |number: u64| dir.path().join(format!("audit-{number:020}.jsonl"));
    let made = std::process::Command::new("mkfifo").arg(name(2)).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("/dev/zero", name(3)).unwrap();
    fs::create_dir(name(4)).unwrap();
    fs::write(dir.path().join("audit-5.jsonl"), "x").unwrap();
    assert_eq!(paths(dir.path()), [path]);
    verify(dir.path(), None).unwrap();
    assert_eq!(records(dir.path()).len(), 4);
}
