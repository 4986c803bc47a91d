//! Keys, and the files they are kept in.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::Path,
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use plugin_contract::{Digest, Explain, escape};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};

use super::{DOMAIN, Signature, digest_of};
use crate::hex::hex;

/// Longest file with a key, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 10;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A private ed25519 key. Never shown, not in `Debug` either.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// A new key, from the system's randomness.
    ///
    /// # Errors
    /// `sign/no-randomness`.
    pub fn generate() -> Result<Self, SignError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pkcs8 = document.map_err(|_| SignError::NoRandomness)?.as_ref().to_vec();
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| SignError::NoRandomness)?;
        Ok(Self { pair, pkcs8 })
    }

    /// Reads a key as [`write_new`](Self::write_new) or `openssl genpkey -algorithm ed25519` writes it:
    /// PKCS#8 in PEM, at most 4 KiB.
    ///
    /// # Errors
    /// `sign/key-exposed` if others than its owner may do anything with the file (not checked where files
    /// have no such mode), `sign/key-invalid`, `sign/file`.
    pub fn read(path: &Path) -> Result<Self, SignError> {
        let (bytes, metadata) =
            read_bounded(path).map_err(|source| SignError::file(path, source))?;
        if let Some(mode) = exposed(&metadata) {
            return Err(SignError::Exposed { path: shown(path), mode });
        }
        let invalid = |problem| SignError::Invalid { path: shown(path), problem };
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid("not text"))?;
        let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let base64: String = inner
            .ok_or(invalid("not one `PRIVATE KEY` in PEM"))?
            .split_ascii_whitespace()
            .collect();
        let pkcs8 = STANDARD.decode(base64).map_err(|_| invalid("not base64"))?;
        // Others write version 1, without the public key, which then is computed.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8)
            .map_err(|_| invalid("not an ed25519 key in PKCS#8"))?;
        Ok(Self { pair, pkcs8 })
    }

    /// Writes the key to a file that is not there yet, which its owner alone may read. It is on disk
    /// when this returns.
    ///
    /// # Errors
    /// `sign/key-exists` if there is such a file; it is left alone. `sign/file` otherwise; then no file is
    /// left behind.
    pub fn write_new(&self, path: &Path) -> Result<(), SignError> {
        let base64 = STANDARD.encode(&self.pkcs8);
        let mut text = format!("{BEGIN}\n");
        for line in base64.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str(&format!("{END}\n"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        owner_only(&mut options);
        write_new(path, &options, &text)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Vouches for the artifact with this digest.
    pub fn sign(&self, artifact: &Digest) -> Signature {
        let signature = self.sign_bytes(&[DOMAIN, artifact.as_bytes()].concat());
        Signature::new(self.public(), *artifact, signature)
    }

    /// Signs anything. The message has to begin with a domain of its own.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        bytes
    }
}

/// A public ed25519 key, written `ed25519:` and the base64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its short name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&digest_of(&self.0).as_bytes()[..8]);
        KeyId(id)
    }

    /// Reads a file that holds one public key as text, at most 4 KiB.
    ///
    /// # Errors
    /// `sign/key-invalid`, `sign/file`.
    pub fn read(path: &Path) -> Result<Self, SignError> {
        let (bytes, _) = read_bounded(path).map_err(|source| SignError::file(path, source))?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(|text| text.trim().parse().ok()).ok_or(SignError::Invalid {
            path: shown(path),
            problem: "not `ed25519:` and the base64 of 32 bytes",
        })
    }

    /// Writes the key to a file that is not there yet, for all to read.
    ///
    /// # Errors
    /// `sign/key-exists` if there is such a file; it is left alone. `sign/file` otherwise.
    pub fn write_new(&self, path: &Path) -> Result<(), SignError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        write_new(path, &options, &format!("{self}\n"))
    }

    /// Whether its private half signed the message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a public key is written `ed25519:` and the base64 of 32 bytes")]
pub struct InvalidPublicKey;

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let base64 = text.strip_prefix("ed25519:").filter(|base64| base64.len() == 44);
        let bytes =
            STANDARD.decode(base64.ok_or(InvalidPublicKey)?).map_err(|_| InvalidPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidPublicKey)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidPublicKey;

    fn try_from(text: String) -> Result<Self, InvalidPublicKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// The short name of a key: the first 8 bytes of the SHA-256 of its public half, in hex. For people to
/// tell keys apart; who decides on trust compares the whole [`PublicKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a key cannot be had or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Others than its owner may read or write the private key.
    #[error("the private key `{path}` is open to others: its mode is {mode:o}")]
    Exposed {
        /// The file, escaped.
        path: String,
        /// Its mode bits.
        mode: u32,
    },
    /// There is a file where a new key should go. It was not touched.
    #[error("`{path}` is there already")]
    Exists {
        /// The file, escaped.
        path: String,
    },
    /// The file holds no key.
    #[error("`{path}` holds no key: {problem}")]
    Invalid {
        /// The file, escaped.
        path: String,
        /// What is wrong with it. Never what it holds.
        problem: &'static str,
    },
    /// The file cannot be read or written.
    #[error("`{path}` cannot be used")]
    File {
        /// The file, escaped.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no randomness to make a key from")]
    NoRandomness,
}

impl SignError {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: shown(path), source }
    }
}

impl Explain for SignError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exposed { .. } => "sign/key-exposed",
            Self::Exists { .. } => "sign/key-exists",
            Self::Invalid { .. } => "sign/key-invalid",
            Self::File { .. } => "sign/file",
            Self::NoRandomness => "sign/no-randomness",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Exposed { .. } => {
                "run `chmod 600` on it, and make a new key if someone may have read it"
            }
            Self::Exists { .. } => "name another file, or move that one away if it is not needed",
            Self::Invalid { .. } => "name a file that `plugin-host key generate` wrote",
            Self::File { .. } => "see that the path is right and may be read or written",
            Self::NoRandomness => "see that the system's random device can be used",
        }
    }
}

pub(crate) fn shown(path: &Path) -> String {
    escape(&path.display().to_string(), 1_000)
}

fn write_new(path: &Path, options: &fs::OpenOptions, text: &str) -> Result<(), SignError> {
    let mut file = options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SignError::Exists { path: shown(path) },
        _ => SignError::file(path, source),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
        let _ = fs::remove_file(path);
        SignError::file(path, source)
    })
}

/// A whole small file. A pipe or a device is not waited for.
fn read_bounded(path: &Path) -> io::Result<(Vec<u8>, fs::Metadata)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 4 KiB"));
    }
    Ok((bytes, metadata))
}

#[cfg(unix)]
fn exposed(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn exposed(_: &fs::Metadata) -> Option<u32> {
    None
}

/// New files are their owner's alone.
#[cfg(unix)]
pub(crate) fn owner_only(options: &mut fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
pub(crate) fn owner_only(_: &mut fs::OpenOptions) {}
