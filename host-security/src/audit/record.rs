//! One record: its fields, its line, and the hash that binds it to the record before it.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{EnforcementAction, ViolationType};
use crate::{
    hex::{hex, unhex},
    sign::{PublicKey, SigningKey},
};

/// Longest line, in bytes, its end included. `shape` keeps records below a half of it.
pub(super) const LINE_BYTES_MAX: usize = 16 << 10;

const DOMAIN: &[u8] = b"plugin-host audit record v1";
const SEAL_DOMAIN: &[u8] = b"plugin-host audit seal v1";

/// Of a record.
pub(super) type Hash = [u8; 32];

/// What comes before the first record.
pub(super) const NO_HASH: Hash = [0; 32];

/// One record of the log. Texts are escaped and cut: nothing in them acts on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number; one more than that of the record before it. The first has 1.
    pub seq: u64,
    /// When it happened: RFC 3339 in UTC, with milliseconds.
    pub time: String,
    /// What it tells of.
    pub kind: RecordKind,
    /// Whose doing it is, or to whom it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The plugin's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What was violated.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub violation_type: Option<ViolationType>,
    /// What was tried or done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// On what, or what there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What was done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<EnforcementAction>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The line that would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// How many: events in `folded` and `dropped`, bytes in `recovered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// In `folded`: how many of each type and operation. They sum up to `count`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// In `rotated`: the first record that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// In `checkpoint` and `opened`: the name of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The hash of the record before it, in hex.
    pub prev: String,
    /// In `checkpoint`: the signature, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<String>,
    /// Its own hash, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RecordKind {
    /// A plugin went, or tried to go, past what it may.
    Violation,
    /// A plugin asked for something, and was answered.
    Granted,
    /// Something was done to a plugin.
    Lifecycle,
    /// Events of a plugin that told too much to keep each of them.
    Folded,
    /// Events that nobody had time or room to keep.
    Dropped,
    /// A host opened the log.
    Opened,
    /// A host closed the log.
    Closed,
    /// Everything up to here is sealed with the log's key.
    Checkpoint,
    /// A file was full and this one begins; which records are kept.
    Rotated,
    /// The end of the log was torn, and was cut off.
    Recovered,
    /// One that a newer host knows.
    #[serde(other)]
    Other,
}

impl RecordKind {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Violation => "violation",
            Self::Granted => "granted",
            Self::Lifecycle => "lifecycle",
            Self::Folded => "folded",
            Self::Dropped => "dropped",
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Checkpoint => "checkpoint",
            Self::Rotated => "rotated",
            Self::Recovered => "recovered",
            Self::Other => "other",
        }
    }
}

impl AuditRecord {
    /// A record that says nothing yet.
    pub(super) fn new(kind: RecordKind, time: SystemTime) -> Self {
        Self {
            seq: 0,
            time: rfc3339(time),
            kind,
            plugin: None,
            revision: None,
            violation_type: None,
            operation: None,
            resource: None,
            action: None,
            rule: None,
            allow: None,
            count: None,
            counts: BTreeMap::new(),
            from: None,
            key: None,
            prev: String::new(),
            sign: None,
            hash: String::new(),
        }
    }

    /// When it happened; `None` if `time` is no time.
    pub fn at(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.time).ok()
    }
}

/// Within what can be written: the formatter panics outside.
fn rfc3339(time: SystemTime) -> String {
    const LAST_SECOND: u64 = 253_402_300_799; // Of the year 9999.
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since = since.min(std::time::Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

const HASH_BEFORE: &str = ",\"hash\":\"";
const SIGN_BEFORE: &str = ",\"sign\":\"";
const AFTER: &str = "\"}";
const HASH_DIGITS: usize = 64;
const SIGN_DIGITS: usize = 88;

/// The line of a record, its end included, and its hash. `record` has to have its place already: `seq`,
/// and `prev` by the argument. With a key, the record is signed.
///
/// # Errors
/// None that are known of: there is nothing in a record that JSON cannot say.
pub(super) fn encode(
    mut record: AuditRecord,
    prev: &Hash,
    seal: Option<&SigningKey>,
) -> serde_json::Result<(Vec<u8>, Hash)> {
    record.prev = hex(prev);
    (record.sign, record.hash) = (None, String::new());
    let mut line = serde_json::to_vec(&record)?;
    line.pop(); // The closing brace.
    if let Some(key) = seal {
        let signature = key.sign_bytes(&[SEAL_DOMAIN, &line].concat());
        line.extend_from_slice(SIGN_BEFORE.as_bytes());
        line.extend_from_slice(STANDARD.encode(signature).as_bytes());
        line.push(b'"');
    }
    let hash = hash_of(prev, &line);
    line.extend_from_slice(HASH_BEFORE.as_bytes());
    line.extend_from_slice(hex(&hash).as_bytes());
    line.extend_from_slice(AFTER.as_bytes());
    line.push(b'\n');
    Ok((line, hash))
}

fn hash_of(prev: &Hash, body: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in [DOMAIN, prev, body] {
        context.update(part);
    }
    let mut hash = NO_HASH;
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// A line that is as it was written: its hash is that of its bytes.
pub(super) struct Intact {
    pub(super) record: AuditRecord,
    pub(super) prev: Hash,
    pub(super) hash: Hash,
}

/// Reads a line, without its end. `None` if it is not as a host wrote it, in any byte.
pub(super) fn parse(line: &[u8]) -> Option<Intact> {
    let (body, hash) = split(line, HASH_BEFORE, HASH_DIGITS, AFTER)?;
    let hash: Hash = unhex(hash)?;
    let record: AuditRecord = serde_json::from_slice(line).ok()?;
    let prev: Hash = unhex(&record.prev)?;
    (hash_of(&prev, body) == hash).then_some(Intact { record, prev, hash })
}

/// Whether the line of a checkpoint was signed with the key.
pub(super) fn is_sealed(line: &[u8], key: &PublicKey) -> bool {
    let sealed = || {
        let (body, _) = split(line, HASH_BEFORE, HASH_DIGITS, AFTER)?;
        let (body, signature) = split(body, SIGN_BEFORE, SIGN_DIGITS, "\"")?;
        let signature = STANDARD.decode(signature).ok()?.try_into().ok()?;
        Some(key.has_signed(&[SEAL_DOMAIN, body].concat(), &signature))
    };
    sealed().unwrap_or(false)
}

/// What stands before `before`, and the value of fixed length between it and `after` at the end.
fn split<'a>(
    line: &'a [u8],
    before: &str,
    digits: usize,
    after: &str,
) -> Option<(&'a [u8], &'a str)> {
    let rest = line.strip_suffix(after.as_bytes())?;
    let (rest, value) = rest.split_at_checked(rest.len().checked_sub(digits)?)?;
    let body = rest.strip_suffix(before.as_bytes())?;
    Some((body, std::str::from_utf8(value).ok()?))
}

/// Whether bytes without a line end are what a crash leaves of a line: a beginning of one.
pub(super) fn is_torn(bytes: &[u8]) -> bool {
    let begin = b"{\"seq\":";
    if !(bytes.starts_with(begin) || begin.starts_with(bytes)) {
        return false;
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        Ok(_) => bytes.ends_with(AFTER.as_bytes()) && parse(bytes).is_some(),
        Err(error) => error.is_eof(),
    }
}
