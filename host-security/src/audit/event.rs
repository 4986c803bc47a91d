//! What there is to tell.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Something that belongs into the audit log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AuditEvent {
    /// A plugin went, or tried to go, past what it may.
    Violation(SecurityViolation),
    /// A plugin was granted something, at its start.
    Granted {
        /// Who.
        plugin: String,
        /// Its version.
        revision: String,
        /// Each decision, as a sentence.
        decisions: Vec<String>,
        /// When.
        timestamp: SystemTime,
    },
    /// Something was done to a plugin by the host or its operator: loaded, started, stopped, refused.
    Lifecycle {
        /// To whom.
        plugin: String,
        /// Its version.
        revision: String,
        /// What: `admitted`, `refused`, `started`, `unloaded`, `reloaded`.
        operation: String,
        /// What there is to say about it: a digest, a signer, a reason.
        detail: String,
        /// When.
        timestamp: SystemTime,
    },
}

/// One attempt of a plugin to go past what it may.
#[derive(Debug, Clone, PartialEq)]
pub struct SecurityViolation {
    /// Who.
    pub plugin: String,
    /// Its version.
    pub revision: String,
    /// Of which type.
    pub violation_type: ViolationType,
    /// What it tried: `open`, `connect`, `memory.grow`.
    pub operation: String,
    /// On what: a path, an address, an amount. What a guest chose; escaped when it is written.
    pub resource: String,
    /// When.
    pub timestamp: SystemTime,
    /// What was done about it.
    pub action: EnforcementAction,
    /// The rule that decided.
    pub rule: String,
    /// The line that would allow it, if one would.
    pub allow: Option<String>,
}

/// What was violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ViolationType {
    /// A path outside the grant, or against it.
    FsAccessDenied,
    /// An address outside the grant, or against it.
    NetAccessDenied,
    /// A message to whom the grant does not name, or against it.
    MessageDenied,
    /// More memory than granted.
    MemoryExceeded,
    /// More CPU time than granted.
    CpuTimeExceeded,
    /// More instances at one time than granted.
    InstanceLimitExceeded,
    /// More wall time than granted.
    TimeoutExceeded,
    /// More on disk than granted: bytes or entries.
    QuotaExceeded,
    /// More of a countable: files, sockets, handles, random bytes, log lines, events.
    LimitExceeded,
    /// A component whose signature is missing, wrong, or of a key that is not trusted.
    SignatureRefused,
    /// One that a newer host knows.
    #[serde(other)]
    Other,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnforcementAction {
    /// The one operation was refused; the plugin goes on.
    Denied,
    /// The call was ended.
    Terminated,
    /// It was let through, and noted.
    Logged,
    /// One that a newer host knows.
    #[serde(other)]
    Other,
}

impl ViolationType {
    /// As it is written in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FsAccessDenied => "fs-access-denied",
            Self::NetAccessDenied => "net-access-denied",
            Self::MessageDenied => "message-denied",
            Self::MemoryExceeded => "memory-exceeded",
            Self::CpuTimeExceeded => "cpu-time-exceeded",
            Self::InstanceLimitExceeded => "instance-limit-exceeded",
            Self::TimeoutExceeded => "timeout-exceeded",
            Self::QuotaExceeded => "quota-exceeded",
            Self::LimitExceeded => "limit-exceeded",
            Self::SignatureRefused => "signature-refused",
            Self::Other => "other",
        }
    }
}

impl EnforcementAction {
    /// As it is written in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Terminated => "terminated",
            Self::Logged => "logged",
            Self::Other => "other",
        }
    }
}
