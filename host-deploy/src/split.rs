//! Which calls the candidate answers: the same ones each time, and nobody outside can tell which.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use siphasher::{sip::SipHasher13, sip128};

use crate::Share;

/// What makes a [`Split`] one's own. Who knows it can choose ids that fall to the side they want, so
/// draw it from a good source of randomness once, keep it, and do not show it: `Debug` does not.
///
/// In files it is 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SplitKey([u8; 16]);

impl SplitKey {
    /// From random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SplitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SplitKey(..)")
    }
}

/// A text is no [`SplitKey`]. It does not say what the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of a split is 32 hexadecimal digits")]
pub struct SplitKeyError;

impl FromStr for SplitKey {
    type Err = SplitKeyError;

    fn from_str(text: &str) -> Result<Self, SplitKeyError> {
        // `from_str_radix` would take a sign, too.
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SplitKeyError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| SplitKeyError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for SplitKey {
    type Error = SplitKeyError;
    fn try_from(text: String) -> Result<Self, SplitKeyError> {
        text.parse()
    }
}

impl From<SplitKey> for String {
    fn from(key: SplitKey) -> Self {
        format!("{:032x}", u128::from_be_bytes(key.0))
    }
}

/// Tells for each request id whether it is in a [`Share`] of all ids.
///
/// The answer for one id stays the same as long as key and salt do, and a growing share only ever
/// takes ids in. Without the key, ids cannot be made that fall to one side.
///
/// ```
/// use host_deploy::{Share, Split, SplitKey};
///
/// let key = SplitKey::from_bytes(*b"drawn at random!");
/// let salt = b"resizer@1.1.0"; // another rollout, other ids
/// let at = |share: &str| Split::new(&key, salt, share.parse().unwrap());
/// let ids = || (0..10_000u32).map(u32::to_le_bytes);
///
/// assert!((400..600).contains(&ids().filter(|id| at("5%").takes(id)).count()));
/// assert!(ids().all(|id| !at("5%").takes(&id) || at("25%").takes(&id)));
/// ```
#[derive(Clone)]
pub struct Split {
    hasher: SipHasher13,
    share: Share,
}

impl Split {
    /// Takes `share` of all ids. `salt` tells rollouts apart, so that it is not the same callers who
    /// meet every candidate first: name the plugin and the candidate's version.
    pub fn new(key: &SplitKey, salt: &[u8], share: Share) -> Self {
        // A key of its own for each salt. Were salt and id hashed one after the other, where the
        // one ends and the other begins would have to be part of it.
        let own = sip128::SipHasher24::new_with_key(&key.0).hash(salt);
        Self { hasher: SipHasher13::new_with_key(&own.as_bytes()), share }
    }

    /// Is the call with this id in the share?
    pub fn takes(&self, id: &[u8]) -> bool {
        self.bucket(id) < self.share.basis_points()
    }

    /// The share it takes.
    pub fn share(&self) -> Share {
        self.share
    }

    /// 0 to 9,999, each for the same part of all hashes up to 10,000 in 2^64.
    fn bucket(&self, id: &[u8]) -> u16 {
        let hash = u128::from(self.hasher.hash(id));
        ((hash * u128::from(Share::ALL.basis_points())) >> 64) as u16
    }
}

/// Without what the key could be guessed from.
impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split").field("share", &self.share).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
