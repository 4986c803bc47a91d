//! What a file of the cache looks like: a header that says what the code is for, the code, and a MAC over
//! both.
//!
//! ```text
//! 0   8  magic      16  32  digest of the component    88   16  random
//! 8   4  format     48  32  id of the engine           104      code
//! 12  1  lane       80   8  length of the code         end  16  MAC
//! ```
//!
//! Numbers are little-endian. A reader knows what it asks for, so it compares the header and interprets
//! nothing before the MAC was right.

use std::{io, ops::Range};

use plugin_contract::Lane;

use super::{
    key::{CodeKey, FORMAT},
    secret::{self, MAC_BYTES, Secret},
};

const MAGIC: [u8; 8] = *b"plugcode";
const HEADER_BYTES: usize = 104;
/// So much of the header says what the code is for.
const KNOWN_BYTES: usize = 88;

/// What a file has beside the code.
pub(super) const OVERHEAD_BYTES: u64 = (HEADER_BYTES + MAC_BYTES) as u64;

/// Why a file is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("it is cut off")]
    Short,
    #[error("it is for other code than its name says, in another format, or of another length")]
    Header,
    #[error("it was changed, or written with another key")]
    Mac,
}

/// What comes before and after `code` in its file.
pub(super) fn seal(
    key: &CodeKey,
    code: &[u8],
    secret: &Secret,
) -> io::Result<([u8; HEADER_BYTES], [u8; MAC_BYTES])> {
    let mut header = [0; HEADER_BYTES];
    header[..KNOWN_BYTES].copy_from_slice(&known(key, code.len()));
    header[KNOWN_BYTES..].copy_from_slice(&secret::random::<16>()?);
    let mac = secret.mac(&header, code).map_err(|_| io::Error::other("it cannot be sealed"))?;
    Ok((header, mac))
}

/// Where the code is in `file`, if that is what [`seal`] makes for `key`.
pub(super) fn open(file: &[u8], key: &CodeKey, secret: &Secret) -> Result<Range<usize>, Mismatch> {
    let (header, rest) = file.split_first_chunk::<HEADER_BYTES>().ok_or(Mismatch::Short)?;
    let (code, mac) = rest.split_last_chunk::<MAC_BYTES>().ok_or(Mismatch::Short)?;
    if header[..KNOWN_BYTES] != known(key, code.len()) {
        return Err(Mismatch::Header);
    }
    if !secret.verify(header, code, mac) {
        return Err(Mismatch::Mac);
    }
    Ok(HEADER_BYTES..HEADER_BYTES + code.len())
}

fn known(key: &CodeKey, code_bytes: usize) -> [u8; KNOWN_BYTES] {
    let mut known = [0; KNOWN_BYTES];
    known[..8].copy_from_slice(&MAGIC);
    known[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    known[12] = match key.lane {
        Lane::Unary => 1,
        Lane::Stream => 2,
    };
    known[16..48].copy_from_slice(key.digest.as_bytes());
    known[48..80].copy_from_slice(&key.engine.0);
    known[80..].copy_from_slice(&(code_bytes as u64).to_le_bytes());
    known
}

#[cfg(test)]
mod tests {
    use plugin_contract::{Digest, Lane};

    use super::{Mismatch, open, seal};
    use crate::code::{
        key::{CodeKey, EngineId},
        secret::Secret,
    };

    const CODE: &[u8] = b"push, call, pop, return";

    fn key() -> CodeKey {
        CodeKey {
            digest: Digest::from_bytes([1; 32]),
            lane: Lane::Unary,
            engine: EngineId([2; 32]),
        }
    }

    fn file(secret: &Secret) -> Vec<u8> {
        let (header, mac) = seal(&key(), CODE, secret).unwrap();
        [header.as_slice(), CODE, &mac].concat()
    }

    #[test]
    fn what_was_sealed_opens_for_its_own_key_and_no_other() {
        let secret = Secret::of(&[3; 32]);
        let file = file(&secret);
        assert_eq!(&file[open(&file, &key(), &secret).unwrap()], CODE);
        assert_ne!(file, self::file(&secret), "two files with one key");
        for other in [
            CodeKey { digest: Digest::from_bytes([9; 32]), ..key() },
            CodeKey { lane: Lane::Stream, ..key() },
            CodeKey { engine: EngineId([9; 32]), ..key() },
        ] {
            assert_eq!(open(&file, &other, &secret), Err(Mismatch::Header));
        }
        assert_eq!(open(&file, &key(), &Secret::of(&[4; 32])), Err(Mismatch::Mac));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let secret = Secret::of(&[3; 32]);
        let good = file(&secret);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(open(&bad, &key(), &secret).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_file_of_another_length_is_found() {
        let secret = Secret::of(&[3; 32]);
        let good = file(&secret);
        for length in 0..good.len() {
            assert!(open(&good[..length], &key(), &secret).is_err(), "{length} bytes of it");
        }
        assert_eq!(open(&[good, vec![0]].concat(), &key(), &secret), Err(Mismatch::Header));
    }
}
