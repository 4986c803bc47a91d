//! What can go wrong with a log, and what can be wrong in one.

use std::{fmt, io, path::Path};

use plugin_contract::Explain;

use crate::sign::{KeyId, SignError};

/// Why a log cannot be opened, or does not keep what it is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Another host, or another log of this one, writes to the directory.
    #[error("the audit log in `{directory}` is in use by another host")]
    InUse {
        /// The directory, escaped.
        directory: String,
    },
    /// A file or the directory cannot be used. What was not written is kept in memory, within bounds,
    /// and written once that works again.
    #[error("the audit log cannot use `{path}`")]
    Storage {
        /// Which, escaped.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There are records, and the key that seals them is gone.
    #[error("the audit log in `{directory}` has records and no `audit.key`")]
    KeyMissing {
        /// The directory, escaped.
        directory: String,
    },
    /// The key that seals records cannot be read or made.
    #[error("the audit log has no key to seal records with")]
    Key {
        /// Why.
        source: SignError,
    },
    /// `audit.pub` is not the public half of `audit.key`.
    #[error("`audit.pub` in `{directory}` does not belong to `audit.key`")]
    KeyMismatch {
        /// The directory, escaped.
        directory: String,
    },
    /// What was recorded is not on disk yet: the last attempt failed, or none has ended.
    #[error("the audit log could not be written: {problem}")]
    NotWritten {
        /// What the system said.
        problem: String,
    },
}

impl AuditError {
    pub(super) fn storage(path: &Path, source: io::Error) -> Self {
        Self::Storage { path: crate::sign::shown(path), source }
    }
}

impl Explain for AuditError {
    fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "audit/in-use",
            Self::Storage { .. } => "audit/storage-failed",
            Self::KeyMissing { .. } => "audit/key-missing",
            Self::Key { source } => source.code(),
            Self::KeyMismatch { .. } => "audit/key-mismatch",
            Self::NotWritten { .. } => "audit/not-written",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other host, or give this one a directory of its own",
            Self::Storage { .. } => {
                "see that the directory is there, may be written to, and has room"
            }
            Self::KeyMissing { .. } => {
                "put `audit.key` back from a backup, or move the old log away to begin a new one"
            }
            Self::Key { source } => source.remedy(),
            Self::KeyMismatch { .. } => {
                "find out who changed which; remove `audit.pub` to have it written again"
            }
            Self::NotWritten { .. } => "make room on the disk; what is missing is written then",
        }
    }
}

/// Why a log is not what a host wrote, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditFault {
    /// A file or the directory cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// Which, escaped.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no record at all.
    #[error("there is no audit log in `{directory}`")]
    NoLog {
        /// The directory, escaped.
        directory: String,
    },
    /// No public key was given, and the one in the directory cannot be read.
    #[error("there is no public key to compare checkpoints with")]
    Key {
        /// Why.
        source: SignError,
    },
    /// A record is not as it was written, or not where it was.
    #[error("{file}, line {line}: record {seq} {problem}")]
    Record {
        /// The name of the file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The record that should stand there.
        seq: u64,
        /// What is wrong.
        problem: Problem,
    },
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is not as it was written, in at least one byte.
    Changed,
    /// It is not there: a later one follows.
    Missing {
        /// The one that follows.
        found: u64,
    },
    /// An earlier one stands in its place.
    Repeated {
        /// The earlier one.
        found: u64,
    },
    /// It was written after another record than the one that stands before it: that one was exchanged.
    Unlinked,
    /// It is a checkpoint, and not signed with the key: it, or something since the last checkpoint, was
    /// made by someone else.
    NotSealed {
        /// The key that it was compared with.
        key: KeyId,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("was changed"),
            Self::Missing { found } => write!(f, "is missing: record {found} stands there"),
            Self::Repeated { found } => {
                write!(f, "is not there: record {found} stands there, which comes before it")
            }
            Self::Unlinked => {
                f.write_str("does not follow the record before it, which was exchanged")
            }
            Self::NotSealed { key } => {
                write!(
                    f,
                    "is not sealed by the key {key}, nor what stands since the last checkpoint"
                )
            }
        }
    }
}

impl AuditFault {
    pub(super) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable { path: crate::sign::shown(path), source }
    }
}

impl Explain for AuditFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "audit/unreadable",
            Self::NoLog { .. } => "audit/no-log",
            Self::Key { source } => source.code(),
            Self::Record { problem, .. } => match problem {
                Problem::Changed => "audit/record-changed",
                Problem::Missing { .. } => "audit/record-missing",
                Problem::Repeated { .. } => "audit/record-repeated",
                Problem::Unlinked => "audit/record-exchanged",
                Problem::NotSealed { .. } => "audit/not-sealed",
            },
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "see that the path is right and may be read",
            Self::NoLog { .. } => "name the directory of a log: `audit` in a host's data directory",
            Self::Key { .. } => "give the public key that was noted when the log was begun",
            Self::Record { .. } => {
                "trust nothing from that record on, keep the files as they are, and compare them with a copy"
            }
        }
    }
}
