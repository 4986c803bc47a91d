//! The records of a log, for those who look for something.
//!
//! Not here: whether they are what a host wrote (`verify`). A record whose hash is not right is told as a
//! fault here too.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    AuditFault, AuditRecord, Problem,
    files::{Lines, LogFile, log_files},
    record::parse,
};

/// All records, the oldest first. Memory is bounded, whatever is in the files.
///
/// # Errors
/// `audit/unreadable` if there is no such directory.
pub fn read(directory: &Path) -> Result<Records, AuditFault> {
    let mut records = Records::of(directory);
    records.list()?;
    Ok(records)
}

/// The last `count` records, the oldest of them first, and what follows them.
///
/// # Errors
/// `audit/unreadable`. Lines that are no records are passed over.
pub fn last(directory: &Path, count: usize) -> Result<(Vec<AuditRecord>, Records), AuditFault> {
    let files = log_files(directory).map_err(|error| AuditFault::unreadable(directory, error))?;
    let mut found: Vec<AuditRecord> = Vec::new();
    let mut rest = Records::of(directory);
    for (at, file) in files.iter().rev().enumerate() {
        let mut records = Records::of(directory);
        (records.queue, records.only) = (VecDeque::from([file.clone()]), true);
        let mut newest = VecDeque::new();
        for record in records.by_ref().flatten() {
            newest.push_back(record);
            if newest.len() > count - found.len() {
                newest.pop_front();
            }
        }
        newest.extend(std::mem::take(&mut found));
        found = newest.into();
        if at == 0 {
            (records.queue, records.only) = (VecDeque::new(), false);
            rest = records;
        }
        if found.len() >= count {
            break;
        }
    }
    Ok((found, rest))
}

/// Records as they come. After `None` it may be asked again: a host may have written more.
pub struct Records {
    directory: PathBuf,
    /// Files that were not begun yet.
    queue: VecDeque<LogFile>,
    current: Option<(LogFile, Lines, u64)>,
    /// Of the last record that was given.
    seq: u64,
    /// Of the newest file that was begun.
    newest: Option<u64>,
    /// No other files than those in the queue.
    only: bool,
}

impl Records {
    fn of(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, queue: VecDeque::new(), current: None, seq: 0, newest: None, only: false }
    }

    /// Puts the files into the queue that were not begun yet.
    fn list(&mut self) -> Result<(), AuditFault> {
        let files = log_files(&self.directory)
            .map_err(|error| AuditFault::unreadable(&self.directory, error))?;
        let is_new = |file: &LogFile| self.newest.is_none_or(|newest| file.first_seq > newest);
        self.queue = files.into_iter().filter(is_new).collect();
        Ok(())
    }

    /// Begins the next file; whether there is one.
    fn begin(&mut self) -> Result<bool, AuditFault> {
        if self.queue.is_empty() && !self.only {
            self.list()?;
        }
        while let Some(file) = self.queue.pop_front() {
            self.newest = Some(file.first_seq);
            match Lines::open(&file.path) {
                Ok(lines) => {
                    self.current = Some((file, lines, 0));
                    return Ok(true);
                }
                // Removed in the meantime, as old files are.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(AuditFault::unreadable(&file.path, error)),
            }
        }
        Ok(false)
    }

    /// The next line of the current file.
    fn line(&mut self) -> Option<Result<AuditRecord, AuditFault>> {
        let (file, lines, number) = self.current.as_mut()?;
        let begin = lines.offset();
        match lines.next() {
            Ok(Some(line)) if line.ended => {
                *number += 1;
                let seq = self.seq.saturating_add(1);
                Some(match parse(line.bytes) {
                    Some(intact) => {
                        self.seq = intact.record.seq;
                        Ok(intact.record)
                    }
                    None => Err(AuditFault::Record {
                        file: file.name(),
                        line: *number,
                        seq,
                        problem: Problem::Changed,
                    }),
                })
            }
            // Not written to its end, or cut off since.
            Ok(_) => match lines.back_to(begin) {
                Ok(()) => None,
                Err(error) => Some(Err(AuditFault::unreadable(&file.path, error))),
            },
            Err(error) => Some(Err(AuditFault::unreadable(&file.path, error))),
        }
    }
}

impl Iterator for Records {
    type Item = Result<AuditRecord, AuditFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.line() {
                return Some(record);
            }
            match self.begin() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => return Some(Err(fault)),
            }
        }
    }
}

/// A time that someone means by `text`: RFC 3339 as in records, or how long ago, as in `90m` or `7d`.
///
/// # Errors
/// What would have been right.
pub fn parse_since(text: &str, now: SystemTime) -> Result<SystemTime, &'static str> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago: Option<Duration> = humantime::parse_duration(text).ok();
    let since = ago.and_then(|ago| now.checked_sub(ago));
    since.ok_or("write a time like `2026-01-31T12:00:00Z`, or how long ago, like `90m` or `7d`")
}
