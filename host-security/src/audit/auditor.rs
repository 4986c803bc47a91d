//! Tells of one plugin.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use plugin_contract::FsAccess;

use super::{AuditEvent, AuditSink, EnforcementAction, SecurityViolation, ViolationType};
use crate::Denial;

/// Tells an [`AuditSink`] what one revision of a plugin does. Cheap to clone.
#[derive(Clone)]
pub struct Auditor {
    inner: Arc<Inner>,
}

struct Inner {
    plugin: String,
    revision: String,
    sink: Option<Arc<dyn AuditSink>>,
    usage: Option<Usage>,
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auditor({} {})", self.inner.plugin, self.inner.revision)
    }
}

impl Auditor {
    /// For this plugin and version. Without a sink, nothing is told to anyone.
    pub fn new(plugin: &str, revision: &str, sink: Option<Arc<dyn AuditSink>>) -> Self {
        let (plugin, revision) = (plugin.to_owned(), revision.to_owned());
        Self { inner: Arc::new(Inner { plugin, revision, sink, usage: None }) }
    }

    /// Notes what the plugin uses, too.
    #[must_use]
    pub fn learning(self, usage: Usage) -> Self {
        let Inner { plugin, revision, sink, .. } = &*self.inner;
        let (plugin, revision, sink) = (plugin.clone(), revision.clone(), sink.clone());
        Self { inner: Arc::new(Inner { plugin, revision, sink, usage: Some(usage) }) }
    }

    /// One operation was refused by a rule.
    pub fn denied(
        &self,
        violation_type: ViolationType,
        operation: &str,
        resource: &str,
        denial: &Denial,
    ) {
        self.violation(
            violation_type,
            EnforcementAction::Denied,
            operation,
            resource,
            &denial.rule,
            denial.allow.clone(),
        );
    }

    /// A limit was reached. `limit` names it with its value, as in `limits.open-files = 64`.
    pub fn exceeded(
        &self,
        violation_type: ViolationType,
        action: EnforcementAction,
        operation: &str,
        resource: &str,
        limit: &str,
    ) {
        self.violation(violation_type, action, operation, resource, limit, None);
    }

    fn violation(
        &self,
        violation_type: ViolationType,
        action: EnforcementAction,
        operation: &str,
        resource: &str,
        rule: &str,
        allow: Option<String>,
    ) {
        if let Some(usage) = &self.inner.usage
            && let Some(line) = &allow
        {
            usage.refused(operation, resource, line);
        }
        let Some(sink) = &self.inner.sink else { return };
        sink.record(AuditEvent::Violation(SecurityViolation {
            plugin: self.inner.plugin.clone(),
            revision: self.inner.revision.clone(),
            violation_type,
            operation: operation.to_owned(),
            // Escaped and cut for good where it is written; here only what one record may cost.
            resource: cut(resource, RESOURCE_BYTES_MAX),
            timestamp: SystemTime::now(),
            action,
            rule: rule.to_owned(),
            allow,
        }));
    }

    /// What the plugin was granted.
    pub fn granted(&self, decisions: Vec<String>) {
        let Some(sink) = &self.inner.sink else { return };
        let (plugin, revision) = (self.inner.plugin.clone(), self.inner.revision.clone());
        let timestamp = SystemTime::now();
        sink.record(AuditEvent::Granted { plugin, revision, decisions, timestamp });
    }

    /// Something was done to the plugin.
    pub fn lifecycle(&self, operation: &str, detail: &str) {
        let Some(sink) = &self.inner.sink else { return };
        sink.record(AuditEvent::Lifecycle {
            plugin: self.inner.plugin.clone(),
            revision: self.inner.revision.clone(),
            operation: operation.to_owned(),
            detail: cut(detail, RESOURCE_BYTES_MAX),
            timestamp: SystemTime::now(),
        });
    }

    /// A path was used, and was allowed.
    pub fn used_path(&self, path: &[String], access: FsAccess) {
        if let Some(usage) = &self.inner.usage {
            usage.path(path, access);
        }
    }

    /// A path was only looked at, and might have been.
    pub fn looked_at(&self, path: &[String]) {
        if let Some(usage) = &self.inner.usage {
            usage.look(path);
        }
    }

    /// An instance has this much memory now.
    pub fn used_memory(&self, bytes: u64) {
        if let Some(usage) = &self.inner.usage {
            usage.memory(bytes);
        }
    }

    /// A message was sent, and was allowed: `send:auditor`.
    pub fn used_message(&self, permission: &str) {
        if let Some(usage) = &self.inner.usage {
            usage.message(permission);
        }
    }

    /// An address was used, and was allowed: `connect:api.example.com:443`.
    pub fn used_address(&self, permission: &str) {
        if let Some(usage) = &self.inner.usage {
            usage.address(permission);
        }
    }
}

/// Longest resource in an event, in bytes.
const RESOURCE_BYTES_MAX: usize = 4 << 10;

fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// What a plugin used while someone was looking, to find the smallest manifest. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    read: BTreeSet<Vec<String>>,
    written: BTreeSet<Vec<String>>,
    looked_at: BTreeSet<Vec<String>>,
    memory_bytes: u64,
    addresses: BTreeSet<String>,
    messages: BTreeSet<String>,
    refused: BTreeSet<(String, String, String)>,
}

/// Most entries of each kind. What comes after is not noted.
const USED_MAX: usize = 4_096;

impl Usage {
    fn path(&self, path: &[String], access: FsAccess) {
        let mut seen = self.lock();
        let note = |paths: &mut BTreeSet<Vec<String>>| {
            if paths.len() < USED_MAX {
                paths.insert(path.to_vec());
            }
        };
        if access.reads() {
            note(&mut seen.read);
        }
        if access.writes() {
            note(&mut seen.written);
        }
    }

    fn look(&self, path: &[String]) {
        let mut seen = self.lock();
        if seen.looked_at.len() < USED_MAX {
            seen.looked_at.insert(path.to_vec());
        }
    }

    fn memory(&self, bytes: u64) {
        let mut seen = self.lock();
        seen.memory_bytes = seen.memory_bytes.max(bytes);
    }

    fn address(&self, permission: &str) {
        let mut seen = self.lock();
        if seen.addresses.len() < USED_MAX {
            seen.addresses.insert(permission.to_owned());
        }
    }

    fn message(&self, permission: &str) {
        let mut seen = self.lock();
        if seen.messages.len() < USED_MAX {
            seen.messages.insert(permission.to_owned());
        }
    }

    fn refused(&self, operation: &str, resource: &str, allow: &str) {
        let mut seen = self.lock();
        if seen.refused.len() < USED_MAX {
            let cut = |text: &str| cut(text, 300);
            seen.refused.insert((operation.to_owned(), cut(resource), cut(allow)));
        }
    }

    /// Paths that were read.
    pub fn read(&self) -> BTreeSet<Vec<String>> {
        self.lock().read.clone()
    }

    /// Paths that were written.
    pub fn written(&self) -> BTreeSet<Vec<String>> {
        self.lock().written.clone()
    }

    /// Paths of which it was only asked what they are.
    pub fn looked_at(&self) -> BTreeSet<Vec<String>> {
        self.lock().looked_at.clone()
    }

    /// The most memory that an instance had, in bytes, if one had any.
    pub fn memory_bytes(&self) -> Option<u64> {
        Some(self.lock().memory_bytes).filter(|bytes| *bytes > 0)
    }

    /// Addresses, in the words of the manifest.
    pub fn addresses(&self) -> BTreeSet<String> {
        self.lock().addresses.clone()
    }

    /// Whom messages went to, in the words of the manifest.
    pub fn messages(&self) -> BTreeSet<String> {
        self.lock().messages.clone()
    }

    /// What was refused: operation, resource, and the line that would allow it.
    pub fn refusals(&self) -> BTreeSet<(String, String, String)> {
        self.lock().refused.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
