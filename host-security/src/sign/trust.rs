//! Whose signatures count.

use std::{collections::BTreeMap, fmt};

use plugin_contract::{Digest, Explain, escape};
use serde::Deserialize;

use super::{KeyId, PublicKey, Signature};

/// What the operator says about signatures. The default trusts nobody and requires nothing.
///
/// ```
/// let policy: host_security::sign::TrustPolicy = toml::from_str(r#"
///     require-signature = true
///     revoked-keys = []
///     [trusted-keys]
///     builds = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
/// "#)?;
/// assert!(policy.required && policy.trusted.contains_key("builds"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustPolicy {
    /// `require-signature`: a component runs only with a signature of a trusted key. Default: no.
    #[serde(rename = "require-signature")]
    pub required: bool,
    /// `trusted-keys`: by names that the operator chooses.
    #[serde(rename = "trusted-keys")]
    pub trusted: BTreeMap<String, PublicKey>,
    /// `revoked-keys`: what they signed is refused, required or not, and trusted or not.
    #[serde(rename = "revoked-keys")]
    pub revoked: Vec<PublicKey>,
}

/// Who vouches for a component that is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Nobody. Not where a signature is required.
    Unsigned,
    /// A trusted key.
    Signed {
        /// The operator's name for it.
        by: String,
        /// Which.
        key: KeyId,
    },
    /// A key that the operator neither trusts nor revoked. Not where a signature is required.
    Unknown {
        /// Which.
        key: KeyId,
    },
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("unsigned"),
            Self::Signed { by, key } => write!(f, "signed by `{}` ({key})", escape(by, 100)),
            Self::Unknown { key } => write!(f, "signed by a key nobody knows ({key})"),
        }
    }
}

impl TrustPolicy {
    /// Whether the artifact with this digest may run, given the content of its signature file.
    ///
    /// A signature that is there has to be right even where none is required: one that is not is a lie
    /// or an accident, and neither should run.
    ///
    /// # Errors
    /// [`SignatureRefused`].
    pub fn check(
        &self,
        digest: &Digest,
        signature_file: Option<&[u8]>,
    ) -> Result<Trust, SignatureRefused> {
        let Some(file) = signature_file else {
            return if self.required {
                Err(SignatureRefused::Missing)
            } else {
                Ok(Trust::Unsigned)
            };
        };
        let signature = Signature::parse(file)?;
        signature.verify(digest)?;
        let (public, key) = (signature.key(), signature.key().id());
        if self.revoked.contains(&public) {
            return Err(SignatureRefused::RevokedKey { key });
        }
        match self.trusted.iter().find(|(_, trusted)| **trusted == public) {
            Some((name, _)) => Ok(Trust::Signed { by: name.clone(), key }),
            None if self.required => Err(SignatureRefused::UntrustedKey { key }),
            None => Ok(Trust::Unknown { key }),
        }
    }
}

/// Why a component is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureRefused {
    /// There is none, and one is required.
    #[error("it has no signature, and the host requires one")]
    Missing,
    /// Its manifest is not inside of it, and so not signed, where a signature is required.
    #[error("its manifest lies beside it and is not among what was signed")]
    ManifestNotSigned,
    /// The signature file is not one, or its key did not make it.
    #[error("its signature is not valid: {problem}")]
    Invalid {
        /// What is wrong, escaped.
        problem: String,
    },
    /// It is for other bytes.
    #[error("its signature is for other bytes: it says {signed}, the component is {artifact}")]
    Mismatch {
        /// What was signed.
        signed: Digest,
        /// What is there.
        artifact: Digest,
    },
    /// A signature is required, and the operator does not trust this key.
    #[error("it is signed with the key {key}, which the host does not trust")]
    UntrustedKey {
        /// Which.
        key: KeyId,
    },
    /// The operator revoked the key.
    #[error("it is signed with the key {key}, which was revoked")]
    RevokedKey {
        /// Which.
        key: KeyId,
    },
}

impl Explain for SignatureRefused {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "signature/missing",
            Self::ManifestNotSigned => "signature/manifest-not-signed",
            Self::Invalid { .. } => "signature/invalid",
            Self::Mismatch { .. } => "signature/mismatch",
            Self::UntrustedKey { .. } => "signature/untrusted-key",
            Self::RevokedKey { .. } => "signature/revoked-key",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "sign it with `plugin-host sign`, or set `require-signature = false`",
            Self::ManifestNotSigned => {
                "package it with `cargo xtask build-plugins`, which embeds the manifest, and sign that"
            }
            Self::Invalid { .. } => {
                "sign it again with `plugin-host sign`, or remove the `.sig` file"
            }
            Self::Mismatch { .. } => {
                "fetch component and signature again, together; sign again if the change is yours"
            }
            Self::UntrustedKey { .. } => {
                "add the key to `trusted-keys` in host.toml if you trust who has it"
            }
            Self::RevokedKey { .. } => "sign it with a key that is not revoked",
        }
    }
}
