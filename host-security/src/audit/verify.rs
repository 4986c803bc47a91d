//! Whether a log is what a host wrote.

use std::{io, path::Path};

use super::{
    AuditFault, Problem, RecordKind,
    files::{self, Line, Lines, LogFile, log_files},
    record::{Hash, Intact, NO_HASH, is_sealed, is_torn, parse},
};
use crate::sign::{KeyId, PublicKey, shown};

/// A log in which every record is as it was written, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Records that are there.
    pub records: u64,
    /// The first of them. More than 1 where older files were removed, as the log itself says.
    pub first_seq: u64,
    /// The last of them. Whether more were there once, the log cannot say.
    pub last_seq: u64,
    /// The last checkpoint: up to it, nobody without the key has changed anything.
    pub sealed_up_to: Option<u64>,
    /// Records that follow the last checkpoint: they are in order, and not sealed yet.
    pub unsealed: u64,
    /// Bytes of a record that was not written to its end. A host that is writing has some now and then;
    /// after a crash they are there until the log is opened again.
    pub torn_bytes: u64,
    /// The key that checkpoints were compared with.
    pub key: KeyId,
}

/// The public key in the directory of a log.
///
/// # Errors
/// [`AuditFault::Key`].
pub fn public_key(directory: &Path) -> Result<PublicKey, AuditFault> {
    PublicKey::read(&directory.join(files::PUBLIC_KEY)).map_err(|source| AuditFault::Key { source })
}

/// Compares every record with its hash, its number and the record before it, and every checkpoint with the
/// key. The log may be in use. Memory is bounded, whatever is in the files.
///
/// Without a key, the `audit.pub` of the directory is used. That finds accidents and careless hands; who can
/// write to the directory can exchange log and key together. Note the public key elsewhere when a log is
/// begun, and give it here.
///
/// # Errors
/// [`AuditFault`]; [`AuditFault::Record`] names the first record that is changed, missing, or not in its
/// place.
pub fn verify(directory: &Path, key: Option<&PublicKey>) -> Result<Verified, AuditFault> {
    let key = key.map_or_else(|| public_key(directory), |key| Ok(*key))?;
    let mut attempts = 3;
    loop {
        attempts -= 1;
        match attempt(directory, &key) {
            // The host has removed an old file in the meantime.
            Err(AuditFault::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound && attempts > 0 => {}
            answer => return answer,
        }
    }
}

fn attempt(directory: &Path, key: &PublicKey) -> Result<Verified, AuditFault> {
    let files = log_files(directory).map_err(|error| AuditFault::unreadable(directory, error))?;
    let mut walk = Walk { key: *key, last: None, verified: None };
    let kept_from = kept_from(&files)?;
    for (at, file) in files.iter().enumerate() {
        walk.file(file, at + 1 == files.len(), kept_from)?;
    }
    walk.verified.ok_or_else(|| AuditFault::NoLog { directory: shown(directory) })
}

/// The oldest record that should be there, as the newest file says; the walk proves whether that was
/// written by the host.
fn kept_from(files: &[LogFile]) -> Result<u64, AuditFault> {
    for file in files.iter().rev() {
        let unreadable = |error| AuditFault::unreadable(&file.path, error);
        let mut lines = Lines::open(&file.path).map_err(unreadable)?;
        let Some(line) = lines.next().map_err(unreadable)?.filter(|line| line.ended) else {
            continue; // Begun, and nothing got into it.
        };
        return Ok(match parse(line.bytes) {
            Some(Intact { record, .. }) => record.from.unwrap_or(1),
            // The walk will say more about it.
            None => u64::MAX,
        });
    }
    Ok(u64::MAX)
}

struct Walk {
    key: PublicKey,
    /// Number and hash of the record before.
    last: Option<(u64, Hash)>,
    verified: Option<Verified>,
}

impl Walk {
    fn file(&mut self, file: &LogFile, is_last: bool, kept_from: u64) -> Result<(), AuditFault> {
        let unreadable = |error| AuditFault::unreadable(&file.path, error);
        let mut lines = Lines::open(&file.path).map_err(unreadable)?;
        let mut number = 0;
        while let Some(line) = lines.next().map_err(unreadable)? {
            number += 1;
            let is_whole = line.bytes.len() as u64 == line.length;
            if !line.ended && is_last && is_whole && is_torn(line.bytes) {
                if let Some(verified) = &mut self.verified {
                    verified.torn_bytes = line.length;
                }
                break;
            }
            self.line(&line, kept_from).map_err(|(seq, problem)| AuditFault::Record {
                file: file.name(),
                line: number,
                seq,
                problem,
            })?;
        }
        Ok(())
    }

    /// # Errors
    /// The record that should stand here, and what is wrong with it.
    fn line(&mut self, line: &Line<'_>, kept_from: u64) -> Result<(), (u64, Problem)> {
        let expected = self.last.map(|(seq, _)| seq.saturating_add(1));
        let intact = if line.ended { parse(line.bytes) } else { None };
        let Some(Intact { record, prev, hash }) = intact else {
            return Err((expected.unwrap_or(kept_from_or_first(kept_from)), Problem::Changed));
        };
        let found = record.seq;
        match expected {
            Some(expected) if found > expected => {
                return Err((expected, Problem::Missing { found }));
            }
            Some(expected) if found < expected => {
                return Err((expected, Problem::Repeated { found }));
            }
            None if found > kept_from => return Err((kept_from, Problem::Missing { found })),
            _ => {}
        }
        let before = match self.last {
            Some((_, hash)) => Some(hash),
            None => (found <= 1).then_some(NO_HASH),
        };
        if before.is_some_and(|before| before != prev) {
            return Err((found, Problem::Unlinked));
        }
        let is_seal = record.kind == RecordKind::Checkpoint;
        if is_seal && !is_sealed(line.bytes, &self.key) {
            return Err((found, Problem::NotSealed { key: self.key.id() }));
        }
        self.last = Some((found, hash));
        let key = self.key.id();
        let verified = self.verified.get_or_insert(Verified {
            records: 0,
            first_seq: found,
            last_seq: found,
            sealed_up_to: None,
            unsealed: 0,
            torn_bytes: 0,
            key,
        });
        verified.records += 1;
        verified.last_seq = found;
        if is_seal {
            (verified.sealed_up_to, verified.unsealed) = (Some(found), 0);
        } else {
            verified.unsealed += 1;
        }
        Ok(())
    }
}

/// What the first line of the oldest file should hold, as far as that can be said.
fn kept_from_or_first(kept_from: u64) -> u64 {
    if kept_from == u64::MAX { 1 } else { kept_from }
}
