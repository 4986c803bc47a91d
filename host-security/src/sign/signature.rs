//! The file beside an artifact that says who vouches for it.

use std::{fmt, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use plugin_contract::{Digest, escape};
use serde::Deserialize;

use super::{DOMAIN, PublicKey, SignError, SignatureRefused};

/// Longest signature file, in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 4 << 10;

const ALGORITHM: &str = "ed25519";
const VERSION: u32 = 1;

/// A detached signature: by which key, over which artifact. Having one says nothing yet;
/// [`verify`](Self::verify) compares it with the artifact, and a
/// [`TrustPolicy`](super::TrustPolicy) says whether the key counts.
///
/// [`Display`](fmt::Display) writes the file and [`parse`](Self::parse) reads it: TOML of at most 4 KiB, of
/// which every field has to be there and no other may be.
///
/// ```text
/// version = 1
/// algorithm = "ed25519"
/// key = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
/// digest = "sha256:..."
/// signature = "..."
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    digest: Digest,
    signature: [u8; 64],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    algorithm: String,
    key: PublicKey,
    digest: Digest,
    signature: String,
}

impl Signature {
    pub(super) fn new(key: PublicKey, digest: Digest, signature: [u8; 64]) -> Self {
        Self { key, digest, signature }
    }

    /// Reads a signature file.
    ///
    /// # Errors
    /// `signature/invalid`.
    pub fn parse(file: &[u8]) -> Result<Self, SignatureRefused> {
        let invalid = |problem: &str| SignatureRefused::Invalid { problem: escape(problem, 300) };
        if file.len() > SIGNATURE_BYTES_MAX {
            return Err(invalid("it is larger than 4 KiB"));
        }
        let text = std::str::from_utf8(file).map_err(|_| invalid("it is not text"))?;
        let file: File = toml::from_str(text).map_err(|error| invalid(error.message()))?;
        if file.version != VERSION {
            return Err(invalid("it is of another version than 1"));
        }
        if file.algorithm != ALGORITHM {
            return Err(invalid("its algorithm is another than `ed25519`"));
        }
        let signature = STANDARD.decode(&file.signature).ok().and_then(|it| it.try_into().ok());
        let signature = signature.ok_or(invalid("`signature` is not the base64 of 64 bytes"))?;
        Ok(Self { key: file.key, digest: file.digest, signature })
    }

    /// Whether it was made with its key, and for the artifact of this digest.
    ///
    /// # Errors
    /// `signature/mismatch` if it is for other bytes, `signature/invalid` if its key did not make it.
    pub fn verify(&self, artifact: &Digest) -> Result<(), SignatureRefused> {
        if self.digest != *artifact {
            let (signed, artifact) = (self.digest, *artifact);
            return Err(SignatureRefused::Mismatch { signed, artifact });
        }
        if !self.key.has_signed(&[DOMAIN, artifact.as_bytes()].concat(), &self.signature) {
            let problem = format!("the key {} did not make it", self.key.id());
            return Err(SignatureRefused::Invalid { problem });
        }
        Ok(())
    }

    /// Writes the file. It appears whole or not at all, in place of one that may be there.
    ///
    /// # Errors
    /// `sign/file`.
    pub fn write(&self, path: &Path) -> Result<(), SignError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.new-{}", std::process::id()));
        let write = || {
            fs::write(&unfinished, self.to_string())?;
            fs::rename(&unfinished, path)
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&unfinished);
            SignError::file(path, source)
        })
    }

    /// The key that it says made it.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The artifact that it says it is for.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, digest, signature } = self;
        writeln!(f, "version = {VERSION}")?;
        writeln!(f, "algorithm = \"{ALGORITHM}\"")?;
        writeln!(f, "key = \"{key}\"")?;
        writeln!(f, "digest = \"{digest}\"")?;
        writeln!(f, "signature = \"{}\"", STANDARD.encode(signature))
    }
}
