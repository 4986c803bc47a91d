use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::{noon, violation};
use crate::{
    audit::{
        AuditEvent, AuditRecord, EnforcementAction, RecordKind, SecurityViolation, ViolationType,
        record::{Hash, LINE_BYTES_MAX, NO_HASH, encode, is_sealed, is_torn, parse},
        shape::{cut, records},
    },
    hex::hex,
    sign::SigningKey,
};

/// A line with the hash that is right for its body.
pub(super) fn close(body: &str, prev: &Hash) -> String {
    let message = [b"plugin-host audit record v1".as_slice(), prev, body.as_bytes()].concat();
    let hash = crate::sign::digest_of(&message);
    format!("{body},\"hash\":\"{}\"}}", hex(hash.as_bytes()))
}

#[test]
fn a_line_can_be_made_and_verified_by_who_only_read_the_manual() {
    let AuditEvent::Violation(_) = violation("greedy", "open", "/etc") else { unreachable!() };
    let mut record = records(&violation("greedy", "open", "/etc")).remove(0);
    record.seq = 7;
    let (line, _) = encode(record, &[0xab; 32], None).unwrap();
    let body = format!(
        "{{\"seq\":7,\"time\":\"2026-01-01T12:00:00.123Z\",\"kind\":\"violation\",\
         \"plugin\":\"greedy\",\"revision\":\"1.0.0\",\"type\":\"fs-access-denied\",\
         \"operation\":\"open\",\"resource\":\"/etc\",\"action\":\"denied\",\
         \"rule\":\"host.toml: policy.deny.fs \\\"read:/etc\\\"\",\"prev\":\"{}\"",
        "ab".repeat(32)
    );
    assert_eq!(String::from_utf8(line).unwrap(), close(&body, &[0xab; 32]) + "\n");
}

#[test]
fn a_seal_is_of_one_key_and_one_line() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let record = AuditRecord::new(RecordKind::Checkpoint, noon());
    let (line, _) = encode(record.clone(), &NO_HASH, Some(&key)).unwrap();
    let line = line.trim_ascii_end();
    assert!(is_sealed(line, &key.public()) && parse(line).is_some());
    assert!(!is_sealed(line, &other.public()));
    let (unsigned, _) = encode(record, &NO_HASH, None).unwrap();
    assert!(!is_sealed(unsigned.trim_ascii_end(), &key.public()));
}

#[test]
fn a_torn_line_is_a_beginning_of_one_and_nothing_else() {
    let (line, _) =
        encode(records(&violation("a", "open", "\u{e9}")).remove(0), &NO_HASH, None).unwrap();
    for end in 0..line.len() {
        assert!(is_torn(&line[..end]), "{end}");
    }
    for other in [
        &b"x"[..],
        b"\0\0",
        b"{}",
        b"[]",
        b"{\"seq\":1}x",
        &[&line[..line.len() - 1], b" "].concat(),
    ] {
        assert!(!is_torn(other), "{}", String::from_utf8_lossy(other));
    }
}

#[test]
fn the_words_of_records_are_those_of_the_documents() {
    fn check(word: &str, value: impl serde::Serialize) {
        assert_eq!(serde_json::json!(value), word);
    }
    use EnforcementAction as Action;
    use ViolationType as Type;
    for value in [
        Type::FsAccessDenied,
        Type::NetAccessDenied,
        Type::MessageDenied,
        Type::MemoryExceeded,
        Type::CpuTimeExceeded,
        Type::InstanceLimitExceeded,
        Type::TimeoutExceeded,
        Type::QuotaExceeded,
        Type::LimitExceeded,
        Type::SignatureRefused,
    ] {
        check(value.word(), value);
    }
    for value in [Action::Denied, Action::Terminated, Action::Logged] {
        check(value.word(), value);
    }
    for value in [
        RecordKind::Violation,
        RecordKind::Granted,
        RecordKind::Lifecycle,
        RecordKind::Folded,
        RecordKind::Dropped,
        RecordKind::Opened,
        RecordKind::Closed,
        RecordKind::Checkpoint,
        RecordKind::Rotated,
        RecordKind::Recovered,
    ] {
        check(value.word(), value);
    }
}

#[test]
fn a_time_that_no_calendar_has_is_written_as_one_that_it_has() {
    let time = |time| AuditRecord::new(RecordKind::Opened, time).time;
    assert_eq!(time(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    assert_eq!(time(late), "9999-12-31T23:59:59.000Z");
}

#[test]
fn a_grant_of_many_decisions_is_kept_within_bounds() {
    let mut event = AuditEvent::Granted {
        plugin: "a".to_owned(),
        revision: "1.0.0".to_owned(),
        decisions: (0..1_000).map(|at| format!("{at} {}", "x".repeat(9_000))).collect(),
        timestamp: noon(),
    };
    cut(&mut event);
    let records = records(&event);
    assert_eq!(records.len(), 257);
    assert_eq!(records[256].resource.as_deref(), Some("and 744 more"));
    assert!(records[0].resource.as_ref().unwrap().ends_with("x..."));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        // What is worst for what is read line by line, and what grows most when it is escaped.
        proptest::collection::vec(
            prop_oneof![
                Just('\n'),
                Just('\r'),
                Just('\u{1b}'),
                Just('\u{2028}'),
                Just('\u{202e}'),
                Just('"'),
                Just('\\'),
                Just('\t'),
                Just('\u{7f}'),
                Just('\u{1f600}'),
                any::<char>(),
            ],
            0..3_000,
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_guest_says_one_record_is_one_line(
        plugin in text(), operation in text(), resource in text(), rule in text(), allow in text(),
    ) {
        let mut event = AuditEvent::Violation(SecurityViolation {
            plugin, operation, resource, rule,
            revision: "1.0.0".to_owned(),
            violation_type: ViolationType::NetAccessDenied,
            timestamp: noon(),
            action: EnforcementAction::Denied,
            allow: Some(allow),
        });
        cut(&mut event);
        let record = records(&event).remove(0);
        let (line, hash) = encode(record.clone(), &NO_HASH, None).unwrap();
        prop_assert!(line.len() < LINE_BYTES_MAX / 2);
        let text = String::from_utf8(line).unwrap();
        let inner = text.strip_suffix('\n').unwrap();
        let acts = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
        prop_assert!(!inner.chars().any(acts));
        let intact = parse(inner.as_bytes()).unwrap();
        prop_assert_eq!(intact.hash, hash);
        prop_assert_eq!(&intact.record.resource, &record.resource);
        prop_assert!(record.resource.unwrap().len() <= 1_027);
        prop_assert!(record.operation.unwrap().len() <= 515);
    }
}
