mod crash;
mod failing;
mod format;
mod keeping;
mod rates;
mod tampering;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    AuditEvent, AuditLog, AuditRecord, AuditSettings, AuditSink, EnforcementAction, RecordKind,
    SecurityViolation, ViolationType, files::log_files, read,
};

/// A point in time that all tests share.
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_268_800_123)
}

fn violation(plugin: &str, operation: &str, resource: &str) -> AuditEvent {
    AuditEvent::Violation(SecurityViolation {
        plugin: plugin.to_owned(),
        revision: "1.0.0".to_owned(),
        violation_type: ViolationType::FsAccessDenied,
        operation: operation.to_owned(),
        resource: resource.to_owned(),
        timestamp: noon(),
        action: EnforcementAction::Denied,
        rule: "host.toml: policy.deny.fs \"read:/etc\"".to_owned(),
        allow: None,
    })
}

/// A log that keeps every event.
fn settings(directory: &Path) -> AuditSettings {
    let mut settings = AuditSettings::new(directory);
    (settings.plugin_rate, settings.plugin_burst) = (u32::MAX, u32::MAX);
    settings
}

/// A closed log with records of `1..=count`, one in each, and others around them.
fn log_of(settings: AuditSettings, count: usize) {
    let log = AuditLog::open(settings).unwrap();
    for at in 1..=count {
        log.record(violation("greedy", "open", &at.to_string()));
    }
    log.close().unwrap();
}

fn records(directory: &Path) -> Vec<AuditRecord> {
    read(directory).unwrap().map(Result::unwrap).collect()
}

fn of_kind(records: &[AuditRecord], kind: RecordKind) -> Vec<&AuditRecord> {
    records.iter().filter(|record| record.kind == kind).collect()
}

/// The resources of all violations, in order.
fn resources(directory: &Path) -> Vec<String> {
    let records = records(directory);
    let violations = of_kind(&records, RecordKind::Violation);
    violations.into_iter().map(|record| record.resource.clone().unwrap()).collect()
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn paths(directory: &Path) -> Vec<PathBuf> {
    log_files(directory).unwrap().into_iter().map(|file| file.path).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}
