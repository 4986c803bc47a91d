//! What plugins tried and were refused, and what was granted: told where it happens, kept where it can
//! be proven.
//!
//! Enforcement tells an [`Auditor`], which knows whose doing it is and passes an [`AuditEvent`] on to an
//! [`AuditSink`]. [`AuditLog`] is the sink that keeps: a directory of files in which every record carries
//! the hash of the one before it, and checkpoints are signed. [`verify`] names the first record that is
//! not as it was written; [`read`] and [`last`] give the records themselves.
//!
//! # What a record looks like
//! Each is one line of JSON, in `audit-<first seq>.jsonl`:
//! ```text
//! {"seq":7,"time":"2026-01-02T03:04:05.678Z","kind":"violation","plugin":"greedy",...,"prev":"<hex>","hash":"<hex>"}
//! ```
//! `hash` is the SHA-256 of the text `plugin-host audit record v1`, the 32 bytes of `prev`, and the bytes
//! of the line before `,"hash":`. `prev` is the hash of the record before it, zeros for the first. In a
//! checkpoint, `sign` stands between the two: the ed25519 signature of the text
//! `plugin-host audit seal v1` and the bytes of the line before `,"sign":`.
//!
//! # What it proves
//! Who cannot read `audit.key` cannot change, remove or move a record before the last checkpoint without
//! [`verify`] finding it, given the public key from another place than the directory. What follows the
//! last checkpoint is not sealed yet. Removing the end of the log, checkpoints included, is not found by
//! the log alone: compare `last_seq` with what was seen before.
//!
//! Not here: deciding (`rules`).

mod auditor;
mod chain;
mod error;
mod event;
mod files;
mod log;
mod rates;
mod read;
mod record;
mod shape;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use auditor::{Auditor, Usage};
pub use error::{AuditError, AuditFault, Problem};
pub use event::{AuditEvent, EnforcementAction, SecurityViolation, ViolationType};
pub use log::{AuditLog, AuditSettings};
pub use read::{Records, last, parse_since, read};
pub use record::{AuditRecord, RecordKind};
pub use verify::{Verified, public_key, verify};

/// Takes audit events. Never waits and never fails: who calls it is in the middle of a guest's call.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes one event.
    fn record(&self, event: AuditEvent);
}
