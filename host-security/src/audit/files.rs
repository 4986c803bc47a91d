//! The files of a log: their names, their lines, and where the last good one ends.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::record::{Hash, Intact, LINE_BYTES_MAX, parse};
use crate::audit::RecordKind;

/// Holds the lock of the host that writes.
pub(super) const LOCK: &str = "audit.lock";
/// The private key of checkpoints.
pub(super) const KEY: &str = "audit.key";
/// The public key of checkpoints.
pub(super) const PUBLIC_KEY: &str = "audit.pub";
/// Most files that are looked at. No host keeps more.
pub(super) const FILES_MAX: usize = 10_000;

const DIGITS: usize = 20;

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogFile {
    /// The number of its first record.
    pub(super) first_seq: u64,
    pub(super) path: PathBuf,
}

impl LogFile {
    pub(super) fn new(directory: &Path, first_seq: u64) -> Self {
        let name = format!("audit-{first_seq:0DIGITS$}.jsonl");
        Self { first_seq, path: directory.join(name) }
    }

    /// Its name, without the directory.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}

/// The files of the log in a directory, the oldest first. Whatever else lies there is passed over, links
/// and pipes with the right names too.
pub(super) fn log_files(directory: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| {
            let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
            let is_number = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            if is_number { digits.parse::<u64>().ok() } else { None }
        });
        let Some(first_seq) = number else { continue };
        if !entry.file_type()?.is_file() {
            continue;
        }
        if files.len() >= FILES_MAX {
            let many = format!("more than {FILES_MAX} files");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, many));
        }
        files.push(LogFile { first_seq, path: entry.path() });
    }
    files.sort();
    Ok(files)
}

/// The lines of one file, each in bounded memory.
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Where the next line begins.
    offset: u64,
}

/// What stands between two line ends.
pub(super) struct Line<'a> {
    /// Without the line end; no more than [`LINE_BYTES_MAX`] of it.
    pub(super) bytes: &'a [u8],
    /// How long it is, its end included.
    pub(super) length: u64,
    /// Whether it has a line end.
    pub(super) ended: bool,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::new(File::open(path)?), line: Vec::new(), offset: 0 })
    }

    /// The next line, if there is one.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let limit = LINE_BYTES_MAX as u64;
        self.line.clear();
        let mut length = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line)? as u64;
        let mut ended = self.line.ends_with(b"\n");
        if ended {
            self.line.pop();
        }
        if length == limit && !ended {
            let mut skipped = Vec::new();
            loop {
                skipped.clear();
                let more = (&mut self.reader).take(limit).read_until(b'\n', &mut skipped)?;
                length += more as u64;
                ended = skipped.ends_with(b"\n");
                if ended || more == 0 {
                    break;
                }
            }
        }
        self.offset += length;
        Ok((length > 0).then_some(Line { bytes: &self.line, length, ended }))
    }

    /// Goes to where a line began.
    pub(super) fn back_to(&mut self, offset: u64) -> io::Result<()> {
        self.offset = offset;
        self.reader.seek(SeekFrom::Start(offset)).map(drop)
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

/// Where the good part of a file ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// Bytes up to the end of the last intact record.
    pub(super) good_bytes: u64,
    /// Records since the last checkpoint of the file, or since its beginning.
    pub(super) unsealed: u64,
}

/// The last intact record of a file; `None` if it has none. What comes before it may be damaged: that is
/// for `verify` to say, and nothing to be cut off.
pub(super) fn end_of(path: &Path) -> io::Result<Option<End>> {
    let mut lines = Lines::open(path)?;
    let mut end: Option<End> = None;
    while let Some(line) = lines.next()? {
        if !line.ended {
            break;
        }
        let Some(Intact { record, hash, .. }) = parse(line.bytes) else { continue };
        let is_seal = record.kind == RecordKind::Checkpoint;
        let unsealed = if is_seal { 0 } else { end.map_or(0, |end| end.unsealed) + 1 };
        let good_bytes = lines.offset();
        end = Some(End { seq: record.seq, hash, good_bytes, unsealed });
    }
    Ok(end)
}

/// A beginning of what follows `offset` in a file, and how many bytes follow.
pub(super) fn tail_of(path: &Path, offset: u64, bytes_max: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len().saturating_sub(offset);
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok((bytes, length))
}
