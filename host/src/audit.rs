//! Where audit events go: into the log, if the host keeps one, and into tracing.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use host_core::{CoreError, Operation};
use host_ipc::LimitReached;
use host_security::{
    AuditSink, Auditor,
    audit::{AuditEvent, AuditLog, AuditSettings, EnforcementAction, ViolationType},
    sign::SignatureRefused,
};
use plugin_contract::escape;

use crate::HostError;

/// Within a data directory.
const DIRECTORY: &str = "audit";

/// Violations that are told to tracing in a second. A plugin cannot fill the host's log; the audit log
/// counts all of them.
const TOLD_PER_SECOND: u32 = 20;

/// What there is to count of audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditCounts {
    /// How often a plugin was held to its grant.
    pub violations: u64,
    /// How often the log could not be written. It is tried again.
    pub write_failures: u64,
}

/// Takes the audit events of all plugins.
pub(crate) struct HostAudit {
    log: Option<AuditLog>,
    told: Mutex<(u32, Option<Instant>)>,
    violations: AtomicU64,
}

impl HostAudit {
    /// Keeps a log in the data directory, if there is one.
    pub(crate) fn open(data_dir: Option<&Path>) -> Result<Arc<Self>, HostError> {
        let open = |directory: &Path| AuditLog::open(AuditSettings::new(directory.join(DIRECTORY)));
        let log = data_dir.map(open).transpose()?;
        Ok(Arc::new(Self { log, told: Mutex::default(), violations: AtomicU64::new(0) }))
    }

    /// What happened since the host started.
    pub(crate) fn counts(&self) -> AuditCounts {
        AuditCounts {
            violations: self.violations.load(Ordering::Relaxed),
            write_failures: self.log.as_ref().map_or(0, AuditLog::failures),
        }
    }

    /// Tells of what the host or its operator did to a plugin.
    pub(crate) fn done(self: &Arc<Self>, plugin: &str, revision: &str, what: &str, detail: &str) {
        Auditor::new(plugin, revision, Some(self.clone())).lifecycle(what, detail);
    }

    /// Writes what is left and seals the log. Blocks.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.log
            && let Err(error) = log.close()
        {
            tracing::error!(%error, "the end of the audit log was not written");
        }
    }

    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = &mut *told;
        if since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
            (*count, *since) = (0, Some(Instant::now()));
        }
        *count += 1;
        *count <= TOLD_PER_SECOND
    }
}

impl AuditSink for HostAudit {
    fn record(&self, event: AuditEvent) {
        if let AuditEvent::Violation(violation) = &event {
            self.violations.fetch_add(1, Ordering::Relaxed);
            if self.may_tell() {
                tracing::warn!(
                    plugin = violation.plugin,
                    revision = violation.revision,
                    violation = ?violation.violation_type,
                    operation = violation.operation,
                    resource = escape(&violation.resource, 300),
                    rule = violation.rule,
                    action = ?violation.action,
                    "a plugin was held to its grant"
                );
            }
        }
        if let Some(log) = &self.log {
            log.record(event);
        }
    }
}

/// Tells `auditor` of a call that ended at a limit.
pub(crate) fn failed(auditor: &Auditor, error: &CoreError) {
    use {EnforcementAction as Action, ViolationType as Type};
    let told = match error {
        CoreError::MemoryExceeded { operation, .. } => {
            (Type::MemoryExceeded, Action::Terminated, *operation, "permissions.memory")
        }
        CoreError::CpuTime { operation, .. } => {
            (Type::CpuTimeExceeded, Action::Terminated, *operation, "permissions.cpu-time")
        }
        CoreError::Deadline { operation, .. } => {
            (Type::TimeoutExceeded, Action::Terminated, *operation, "permissions.timeout")
        }
        CoreError::TooManyHandles { operation, .. } => {
            (Type::LimitExceeded, Action::Terminated, *operation, "the handles of an instance")
        }
        CoreError::TooMuchData { operation, .. } => {
            (Type::LimitExceeded, Action::Terminated, *operation, "the bytes of one call")
        }
        CoreError::HostCall { operation, source, .. } if is_limit(source) => {
            (Type::LimitExceeded, Action::Terminated, *operation, "what host functions take")
        }
        CoreError::CannotInstantiate { source, .. } if is_limit(source) => {
            let limit = "the instances, tables and memories of an instance";
            (Type::LimitExceeded, Action::Denied, Operation::Instantiate, limit)
        }
        CoreError::Overloaded { instances, .. } => {
            let limit = format!("permissions.max-instances = {instances}");
            let kind = Type::InstanceLimitExceeded;
            auditor.exceeded(kind, Action::Denied, "call", "an instance", &limit);
            return;
        }
        _ => return,
    };
    let (kind, action, operation, limit) = told;
    auditor.exceeded(kind, action, operation.name(), &error.to_string(), limit);
}

/// Whether an error of the engine is about a limit. It has no types for that, but words.
fn is_limit(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let text = cause.to_string();
        text.contains("exceeds limit") || text.contains("limit exceeded")
    })
}

/// Tells of a service that was asked for more than it gives.
pub(crate) fn limited(auditor: &Auditor, reached: &LimitReached) {
    let (kind, action) = (ViolationType::LimitExceeded, EnforcementAction::Denied);
    auditor.exceeded(kind, action, reached.service, &reached.asked, &reached.limit);
}

/// Tells of a component that nobody trustworthy vouches for.
pub(crate) fn unsigned(auditor: &Auditor, refused: &SignatureRefused) {
    let (kind, action) = (ViolationType::SignatureRefused, EnforcementAction::Denied);
    auditor.exceeded(kind, action, "load", &refused.to_string(), "host.toml: signatures");
}
