//! From what enforcement tells to what is kept: fields, escaped and cut.

use std::{collections::BTreeMap, time::SystemTime};

use plugin_contract::escape;

use super::{AuditEvent, AuditRecord, RecordKind, SecurityViolation};

/// Longest `resource`, in bytes.
pub(super) const RESOURCE_BYTES_MAX: usize = 1 << 10;
/// Longest of every other text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// Most decisions of one event that are kept each. The rest is counted.
pub(super) const DECISIONS_MAX: usize = 256;
/// Longest operation in the counts of a folded record, in bytes.
const OPERATION_BYTES_MAX: usize = 64;

/// Events on their way may not cost more than their records will.
pub(super) fn cut(event: &mut AuditEvent) {
    /// A bit more than is kept, so that escaping still sees that something was cut.
    fn text(text: &mut String, bytes_max: usize) {
        if text.len() > bytes_max + 4 {
            text.truncate(text.floor_char_boundary(bytes_max + 4));
            text.shrink_to_fit();
        }
    }
    match event {
        AuditEvent::Violation(violation) => {
            let SecurityViolation { plugin, revision, operation, resource, rule, allow, .. } =
                violation;
            for short in [plugin, revision, operation, rule].into_iter().chain(allow) {
                text(short, TEXT_BYTES_MAX);
            }
            text(resource, RESOURCE_BYTES_MAX);
        }
        AuditEvent::Granted { plugin, revision, decisions, .. } => {
            text(plugin, TEXT_BYTES_MAX);
            text(revision, TEXT_BYTES_MAX);
            for decision in decisions.iter_mut().take(DECISIONS_MAX) {
                text(decision, RESOURCE_BYTES_MAX);
            }
            if decisions.len() > DECISIONS_MAX {
                let more = decisions.len() - DECISIONS_MAX;
                decisions.truncate(DECISIONS_MAX);
                decisions.push(format!("and {more} more"));
                decisions.shrink_to_fit();
            }
        }
        AuditEvent::Lifecycle { plugin, revision, operation, detail, .. } => {
            for short in [plugin, revision, operation] {
                text(short, TEXT_BYTES_MAX);
            }
            text(detail, RESOURCE_BYTES_MAX);
        }
    }
}

/// The records of an event: one, or one for each decision.
pub(super) fn records(event: &AuditEvent) -> Vec<AuditRecord> {
    match event {
        AuditEvent::Violation(violation) => {
            let mut record = named(
                RecordKind::Violation,
                &violation.plugin,
                &violation.revision,
                violation.timestamp,
            );
            record.violation_type = Some(violation.violation_type);
            record.operation = Some(shown(&violation.operation, TEXT_BYTES_MAX));
            record.resource = Some(shown(&violation.resource, RESOURCE_BYTES_MAX));
            record.action = Some(violation.action);
            record.rule = Some(shown(&violation.rule, TEXT_BYTES_MAX));
            record.allow = violation.allow.as_deref().map(|allow| shown(allow, TEXT_BYTES_MAX));
            vec![record]
        }
        AuditEvent::Granted { plugin, revision, decisions, timestamp } => {
            let record = |decision: &String| {
                let mut record = named(RecordKind::Granted, plugin, revision, *timestamp);
                record.resource = Some(shown(decision, RESOURCE_BYTES_MAX));
                record
            };
            decisions.iter().map(record).collect()
        }
        AuditEvent::Lifecycle { plugin, revision, operation, detail, timestamp } => {
            let mut record = named(RecordKind::Lifecycle, plugin, revision, *timestamp);
            record.operation = Some(shown(operation, TEXT_BYTES_MAX));
            record.resource = Some(shown(detail, RESOURCE_BYTES_MAX));
            vec![record]
        }
    }
}

/// Under which name an event is counted where it is not kept itself.
pub(super) fn name_of(event: &AuditEvent) -> String {
    let (word, operation) = match event {
        AuditEvent::Violation(it) => (it.violation_type.word(), it.operation.as_str()),
        AuditEvent::Granted { .. } => return RecordKind::Granted.word().to_owned(),
        AuditEvent::Lifecycle { operation, .. } => {
            (RecordKind::Lifecycle.word(), operation.as_str())
        }
    };
    format!("{word} {}", shown(operation, OPERATION_BYTES_MAX))
}

/// Events of one plugin that were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) plugin: String,
    pub(super) revision: String,
    pub(super) counts: BTreeMap<String, u64>,
}

impl Folded {
    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(super) fn record(self, now: SystemTime) -> AuditRecord {
        let mut record = named(RecordKind::Folded, &self.plugin, &self.revision, now);
        record.count = Some(self.total());
        record.counts = self.counts;
        record
    }
}

fn named(kind: RecordKind, plugin: &str, revision: &str, time: SystemTime) -> AuditRecord {
    let mut record = AuditRecord::new(kind, time);
    record.plugin = Some(shown(plugin, TEXT_BYTES_MAX));
    record.revision = Some(shown(revision, TEXT_BYTES_MAX));
    record
}

/// Escaped, and at most `bytes_max` and three dots long, for what escaping adds too.
pub(super) fn shown(text: &str, bytes_max: usize) -> String {
    let mut shown = escape(text, bytes_max);
    if shown.len() > bytes_max + 3 {
        shown.truncate(shown.floor_char_boundary(bytes_max));
        shown.push_str("...");
    }
    shown
}
