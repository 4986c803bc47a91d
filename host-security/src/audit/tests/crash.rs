//! A host that is killed at any moment.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use super::{records, settings, violation};
use crate::audit::{AuditLog, AuditSettings, AuditSink, verify};

const DIRECTORY: &str = "AUDIT_CRASH_DIRECTORY";
const ROUND: &str = "AUDIT_CRASH_ROUND";
const FILES: &str = "AUDIT_CRASH_FILES";

fn small_files(directory: &Path, files_max: usize) -> AuditSettings {
    let mut settings = settings(directory);
    (settings.bytes_max, settings.files_max) = (16 << 10, files_max);
    settings.checkpoint_records = 20;
    settings
}

/// Not a test: the process that is killed. Writes records without end, and says up to which one they are
/// on disk.
#[test]
#[ignore = "a part of the tests of this file, which start it"]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let (round, files) = (env::var(ROUND).unwrap(), env::var(FILES).unwrap());
    let settings = small_files(Path::new(&directory), files.parse().unwrap());
    let log = AuditLog::open(settings).unwrap();
    for number in 1_u64.. {
        log.record(violation("greedy", "open", &format!("{round}/{number}")));
        if number % 7 == 0 {
            log.flush().unwrap();
            let mut out = std::io::stdout();
            if writeln!(out, "acked {number}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    }
}

/// Starts the child, kills it after it acknowledged `after` times; the last number it acknowledged.
fn killed(directory: &Path, round: u64, files_max: usize, after: u64) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "audit::tests::crash::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .env(FILES, files_max.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acked = 0;
    let mut left = after;
    for line in lines {
        let line = line.unwrap();
        // The first word may follow what the test harness says on that line.
        if let Some((_, number)) = line.split_once("acked ") {
            acked = number.parse().unwrap();
        }
        left = left.saturating_sub(1);
        if left == 0 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acked
}

/// Numbers that look random, the same each time.
fn moments(count: usize) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % 60
    })
    .take(count)
}

#[test]
fn a_host_that_is_killed_loses_nothing_that_was_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    for (round, after) in (0..).zip(moments(20)) {
        let acked = killed(dir.path(), round, 5_000, after);
        verify(dir.path(), None).unwrap();
        AuditLog::open(small_files(dir.path(), 5_000)).unwrap().close().unwrap();
        let verified = verify(dir.path(), None).unwrap();
        assert_eq!((verified.first_seq, verified.unsealed), (1, 0));
        let kept: BTreeSet<String> =
            records(dir.path()).into_iter().filter_map(|record| record.resource).collect();
        for number in 1..=acked {
            assert!(kept.contains(&format!("{round}/{number}")), "{round}/{number} of {acked}");
        }
    }
}

#[test]
fn a_host_that_is_killed_while_old_files_go_leaves_a_log_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    for (round, after) in (0..).zip(moments(10)) {
        killed(dir.path(), round, 2, after * 2);
        AuditLog::open(small_files(dir.path(), 2)).unwrap().close().unwrap();
        verify(dir.path(), None).unwrap();
    }
}
