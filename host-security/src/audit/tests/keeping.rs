use std::{fs, sync::Arc, thread, time::Duration};

use plugin_contract::Explain;

use super::{
    lines, log_of, noon, numbers, of_kind, paths, records, resources, settings, violation,
};
use crate::{
    Auditor,
    audit::{
        AuditEvent, AuditLog, AuditSettings, AuditSink, RecordKind, ViolationType, last,
        parse_since, public_key, read, verify,
    },
};

#[test]
fn what_was_told_is_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(AuditSettings::new(dir.path())).unwrap();
    log.record(violation("greedy", "open", "/etc/passwd"));
    log.record(AuditEvent::Granted {
        plugin: "greedy".to_owned(),
        revision: "1.0.0".to_owned(),
        decisions: vec!["env TZ: granted".to_owned(), "memory 8 GB: lowered".to_owned()],
        timestamp: noon(),
    });
    let auditor = Auditor::new("greedy", "1.0.0", Some(Arc::new(log.clone())));
    auditor.lifecycle("unloaded", "by the operator");
    log.close().unwrap();

    let records = records(dir.path());
    let kinds: Vec<&str> = records.iter().map(|record| record.kind.word()).collect();
    assert_eq!(
        kinds,
        ["opened", "violation", "granted", "granted", "lifecycle", "closed", "checkpoint"]
    );
    let violation = &records[1];
    assert_eq!(violation.time, "2026-01-01T12:00:00.123Z");
    assert_eq!(violation.at(), Some(noon()));
    assert_eq!(violation.violation_type, Some(ViolationType::FsAccessDenied));
    assert_eq!(violation.operation.as_deref(), Some("open"));
    assert_eq!(violation.resource.as_deref(), Some("/etc/passwd"));
    assert_eq!(violation.rule.as_deref(), Some("host.toml: policy.deny.fs \"read:/etc\""));
    assert_eq!(records[3].resource.as_deref(), Some("memory 8 GB: lowered"));
    assert_eq!(records[4].operation.as_deref(), Some("unloaded"));

    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.records, verified.first_seq, verified.last_seq), (7, 1, 7));
    assert_eq!((verified.sealed_up_to, verified.unsealed), (Some(7), 0));
    assert_eq!(verify(dir.path(), Some(&public_key(dir.path()).unwrap())).unwrap(), verified);
}

#[test]
fn a_log_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        log_of(settings(dir.path()), 2);
    }
    assert_eq!(resources(dir.path()), ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(verify(dir.path(), None).unwrap().records, 15);
}

#[test]
fn what_is_flushed_is_there_before_the_log_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(settings(dir.path())).unwrap();
    log.record(violation("greedy", "open", "1"));
    log.flush().unwrap();
    assert_eq!(resources(dir.path()), ["1"]);
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.sealed_up_to, verified.unsealed), (None, 2));
    assert_eq!(log.failures(), 0);
}

#[test]
fn whoever_flushes_or_closes_is_noticed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    for at in 0..300 {
        let mut settings = settings(&dir.path().join(at.to_string()));
        // Nothing else would wake the writer.
        settings.checkpoint_interval = Duration::from_secs(3_600);
        let log = AuditLog::open(settings).unwrap();
        // The writer is at work on them, or has just begun.
        for _ in 0..at % 100 {
            log.record(violation("greedy", "open", "1"));
        }
        if at % 2 == 0 {
            log.flush().unwrap();
        }
        log.close().unwrap();
    }
}

#[test]
fn checkpoints_come_after_so_many_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.checkpoint_records = 10;
    // On a slow disk, time alone would seal once more.
    settings.checkpoint_interval = Duration::from_secs(3_600);
    log_of(settings, 95);
    let records = records(dir.path());
    let seals = of_kind(&records, RecordKind::Checkpoint);
    assert_eq!(seals.iter().map(|seal| seal.seq).collect::<Vec<_>>()[..3], [11, 22, 33]);
    assert_eq!(seals.len(), 10);
}

#[test]
fn the_last_clone_closes_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(settings(dir.path())).unwrap();
    let clone = log.clone();
    drop(log);
    clone.record(violation("greedy", "open", "1"));
    drop(clone);
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.last_seq, verified.sealed_up_to), (4, Some(4)));
    log_of(settings(dir.path()), 1);
}

#[test]
fn what_is_recorded_after_the_end_is_lost_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(settings(dir.path())).unwrap();
    log.close().unwrap();
    log.close().unwrap();
    log.record(violation("greedy", "open", "1"));
    assert_eq!(log.flush().unwrap_err().code(), "audit/not-written");
    drop(log);
    assert_eq!(verify(dir.path(), None).unwrap().last_seq, 3);
}

#[test]
fn one_host_writes_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = AuditLog::open(settings(dir.path())).unwrap();
    let second = AuditLog::open(settings(dir.path())).unwrap_err();
    assert_eq!(second.code(), "audit/in-use");
    first.close().unwrap();
    AuditLog::open(settings(dir.path())).unwrap();
}

#[test]
fn a_log_cannot_be_opened_where_no_directory_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = AuditLog::open(settings(&file.join("audit"))).unwrap_err();
    assert_eq!(error.code(), "audit/storage-failed");
    AuditLog::open(settings(&dir.path().join("some/where/audit"))).unwrap();
}

#[cfg(unix)]
#[test]
fn nobody_but_the_owner_may_read_a_log() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit");
    log_of(settings(&audit), 1);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(mode(&audit), 0);
    assert_eq!(mode(&audit.join("audit.key")), 0);
    assert_eq!(mode(&paths(&audit)[0]), 0);
}

#[test]
fn a_lost_or_exchanged_key_is_told_and_nothing_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    log_of(settings(dir.path()), 1);
    let (key, public) = (dir.path().join("audit.key"), dir.path().join("audit.pub"));
    let (old_key, old_public) = (fs::read(&key).unwrap(), fs::read(&public).unwrap());
    let refused = |code: &str| {
        assert_eq!(AuditLog::open(settings(dir.path())).unwrap_err().code(), code);
    };

    fs::remove_file(&key).unwrap();
    refused("audit/key-missing");
    let other = crate::sign::SigningKey::generate().unwrap();
    other.write_new(&key).unwrap();
    refused("audit/key-mismatch");
    fs::write(&key, old_key).unwrap();
    fs::write(&public, "nonsense").unwrap();
    refused("sign/key-invalid");

    // What can be computed is written again.
    fs::remove_file(&public).unwrap();
    log_of(settings(dir.path()), 1);
    assert_eq!(fs::read(&public).unwrap(), old_public);
    verify(dir.path(), None).unwrap();
}

#[test]
fn old_files_go_and_the_log_says_from_where_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    (settings.bytes_max, settings.files_max) = (4 << 10, 3);
    log_of(settings, 200);

    let files = paths(dir.path());
    assert_eq!(files.len(), 3);
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() < 6 << 10, "{}", file.display());
        assert!(lines(file)[0].contains("\"kind\":\"rotated\""), "{}", file.display());
    }
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!(verified.last_seq - verified.first_seq + 1, verified.records);
    assert!(verified.first_seq > 100);
    let kept = resources(dir.path());
    assert_eq!(kept, numbers(201 - kept.len()..=200));
}

#[test]
fn a_storm_of_one_plugin_stays_small_and_every_event_is_counted() {
    const EVENTS: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(AuditSettings::new(dir.path())).unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                for at in 0..EVENTS / 4 {
                    log.record(violation("storm", &format!("op{thread}"), &at.to_string()));
                }
            });
        }
    });
    log.record(violation("quiet", "open", "/etc"));
    log.close().unwrap();

    let records = records(dir.path());
    let of_storm = |record: &&_| {
        let record: &crate::audit::AuditRecord = record;
        record.plugin.as_deref() == Some("storm")
    };
    let kept = records.iter().filter(of_storm).filter(|it| it.kind == RecordKind::Violation);
    let counted = of_kind(&records, RecordKind::Folded);
    for folded in &counted {
        assert_eq!(folded.counts.values().sum::<u64>(), folded.count.unwrap());
        assert_eq!(folded.revision.as_deref(), Some("1.0.0"));
    }
    let counted: u64 = counted.iter().filter_map(|folded| folded.count).sum();
    assert_eq!(kept.count() as u64 + counted, EVENTS);
    assert!(of_kind(&records, RecordKind::Dropped).is_empty());
    assert!(records.iter().any(|record| record.plugin.as_deref() == Some("quiet")));
    let bytes: u64 = paths(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < 1 << 20, "{bytes}");
    verify(dir.path(), None).unwrap();
}

#[test]
fn the_last_records_are_found_across_files_and_followed_by_those_to_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.bytes_max = 4 << 10;
    let log = AuditLog::open(settings).unwrap();
    let write = |numbers: std::ops::RangeInclusive<usize>| {
        for number in numbers {
            log.record(violation("greedy", "open", &number.to_string()));
        }
        log.flush().unwrap();
    };
    write(1..=50);
    assert!(paths(dir.path()).len() > 2);
    let all = records(dir.path());
    for count in [0, 1, 20, all.len(), all.len() + 10] {
        let (found, _) = last(dir.path(), count).unwrap();
        assert_eq!(found, all[all.len().saturating_sub(count)..]);
    }

    let (_, mut more) = last(dir.path(), 1).unwrap();
    assert!(more.next().is_none());
    write(51..=100);
    let came: Vec<_> = more
        .by_ref()
        .map(Result::unwrap)
        .filter(|record| record.kind == RecordKind::Violation)
        .filter_map(|record| record.resource)
        .collect();
    assert_eq!(came, numbers(51..=100));
    assert!(more.next().is_none());
    assert!(read(&dir.path().join("nowhere")).is_err());
}

#[test]
fn times_are_written_as_in_records_or_as_how_long_ago() {
    let minute = |minutes: u64| noon() - std::time::Duration::from_secs(60 * minutes);
    assert_eq!(parse_since("2026-01-01T12:00:00.123Z", noon()), Ok(noon()));
    assert_eq!(parse_since("90m", noon()), Ok(minute(90)));
    assert_eq!(parse_since("7d", noon()), Ok(minute(7 * 24 * 60)));
    for bad in ["", "soon", "-1h", "1 fortnight"] {
        assert!(parse_since(bad, noon()).is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_cut_off_the_end_is_set_aside_if_it_is_more_than_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    log_of(settings(dir.path()), 3);
    let path = dir.path().join(newest(dir.path()));
    let whole = std::fs::read_to_string(&path).unwrap();
    let copy = dir.path().join(format!("{}.damaged", newest(dir.path())));
    std::fs::write(&path, format!("{whole}half a line")).unwrap();
    log_of(settings(dir.path()), 1);
    assert!(!copy.exists());
    let whole = std::fs::read_to_string(&path).unwrap();
    let damaged = format!("{whole}not a record\nnor this\n");
    std::fs::write(&path, &damaged).unwrap();
    log_of(settings(dir.path()), 1);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), damaged);
    verify(dir.path(), None).unwrap();
}

/// The name of the newest file of a log.
fn newest(directory: &std::path::Path) -> String {
    let names = std::fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".jsonl")).max().unwrap()
}

#[test]
fn words_of_a_newer_host_are_read_as_such() {
    use crate::audit::{EnforcementAction, RecordKind, ViolationType};
    let word = "\"of-a-newer-host\"";
    assert_eq!(serde_json::from_str::<RecordKind>(word).unwrap(), RecordKind::Other);
    assert_eq!(serde_json::from_str::<ViolationType>(word).unwrap(), ViolationType::Other);
    assert_eq!(serde_json::from_str::<EnforcementAction>(word).unwrap(), EnforcementAction::Other);
    assert_eq!(serde_json::from_str::<RecordKind>("\"violation\"").unwrap(), RecordKind::Violation);
}
