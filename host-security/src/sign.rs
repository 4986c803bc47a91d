//! Signatures over components: who vouches for these bytes.
//!
//! A [`SigningKey`] signs the digest of an artifact, and the [`Signature`] lies beside it as
//! `NAME.wasm.sig`. The operator's [`TrustPolicy`] says whose signatures count, and whether a component
//! without one may run. What is signed is [`DOMAIN`] and the 32 bytes of the artifact's SHA-256.
//!
//! ```
//! use host_security::sign::{SigningKey, Trust, TrustPolicy, digest_of};
//!
//! let key = SigningKey::generate()?;
//! let digest = digest_of(b"the bytes of a component");
//! let file = key.sign(&digest).to_string();
//!
//! let trusted = [("builds".to_owned(), key.public())].into();
//! let policy = TrustPolicy { required: true, trusted, ..TrustPolicy::default() };
//! let trust = policy.check(&digest, Some(file.as_bytes()))?;
//! assert_eq!(trust, Trust::Signed { by: "builds".to_owned(), key: key.public().id() });
//! assert!(policy.check(&digest, None).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: finding the signature of a component (`host`), and what else a component is checked for.

mod key;
mod signature;
#[cfg(test)]
mod tests;
mod trust;

pub use key::{InvalidPublicKey, KeyId, PublicKey, SignError, SigningKey};
pub(crate) use key::{owner_only, shown};
pub use signature::{SIGNATURE_BYTES_MAX, Signature};
pub use trust::{SignatureRefused, Trust, TrustPolicy};

use plugin_contract::Digest;

/// What a signature of an artifact covers before the digest, so that it can stand for nothing else.
pub const DOMAIN: &[u8] = b"plugin-host signature v1";

/// What the name of an artifact is followed by in the name of its signature.
pub const SIGNATURE_SUFFIX: &str = ".sig";

/// The digest of an artifact.
pub fn digest_of(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    Digest::from_bytes(out)
}
