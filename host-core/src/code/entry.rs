//! What a file of the cache looks like: a header that says what the code is for, and the code, both sealed.
//!
//! ```text
//! 0   8  magic      16  32  digest of the component    88   16  random
//! 8   4  format     48  32  id of the engine           104      code, encrypted
//! 12  1  lane       80   8  length of the code         end  16  MAC
//! ```
//!
//! Numbers are little-endian. A reader knows what it asks for, so it compares the header and interprets
//! nothing before the seal was found whole.

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

/// The file for `code`.
pub(super) fn seal(key: &CodeKey, code: &[u8], secret: &Secret) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER_BYTES];
    header[..KNOWN_BYTES].copy_from_slice(&known(key, code.len()));
    header[KNOWN_BYTES..].copy_from_slice(&secret::random::<16>()?);
    let mut file = [header.as_slice(), code, &[0; MAC_BYTES]].concat();
    let code_end = HEADER_BYTES + code.len();
    let mac = secret.seal(&header, &mut file[HEADER_BYTES..code_end]);
    let mac = mac.map_err(|_| io::Error::other("it cannot be sealed"))?;
    file[code_end..].copy_from_slice(&mac);
    Ok(file)
}

/// Opens in its place what [`seal`] makes for `key`, and tells where the code is.
pub(super) fn open(
    file: &mut [u8],
    key: &CodeKey,
    secret: &Secret,
) -> Result<Range<usize>, Mismatch> {
    let (header, sealed) = file.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Mismatch::Short)?;
    let code_bytes = sealed.len().checked_sub(MAC_BYTES).ok_or(Mismatch::Short)?;
    if header[..KNOWN_BYTES] != known(key, code_bytes) {
        return Err(Mismatch::Header);
    }
    secret.open_sealed(header, sealed).map_err(|_| Mismatch::Mac)?;
    Ok(HEADER_BYTES..HEADER_BYTES + code_bytes)
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
        seal(&key(), CODE, secret).unwrap()
    }

    /// What a reader with `secret` who asks for `key` finds in `file`.
    fn read(file: &[u8], key: &CodeKey, secret: &Secret) -> Result<Vec<u8>, Mismatch> {
        let mut file = file.to_vec();
        open(&mut file, key, secret).map(|code| file[code].to_vec())
    }

    #[test]
    fn what_was_sealed_opens_for_its_own_key_and_no_other() {
        let secret = Secret::of(&[3; 32]);
        let file = file(&secret);
        assert_eq!(read(&file, &key(), &secret).as_deref(), Ok(CODE));
        let again = self::file(&secret);
        assert_ne!(file[104..], again[104..], "two files are sealed with one key");
        for other in [
            CodeKey { digest: Digest::from_bytes([9; 32]), ..key() },
            CodeKey { lane: Lane::Stream, ..key() },
            CodeKey { engine: EngineId([9; 32]), ..key() },
        ] {
            assert_eq!(read(&file, &other, &secret), Err(Mismatch::Header));
        }
        assert_eq!(read(&file, &key(), &Secret::of(&[4; 32])), Err(Mismatch::Mac));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let secret = Secret::of(&[3; 32]);
        let good = file(&secret);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(read(&bad, &key(), &secret).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_file_of_another_length_is_found() {
        let secret = Secret::of(&[3; 32]);
        let good = file(&secret);
        for length in 0..good.len() {
            assert!(read(&good[..length], &key(), &secret).is_err(), "{length} bytes of it");
        }
        assert_eq!(read(&[good, vec![0]].concat(), &key(), &secret), Err(Mismatch::Header));
    }
}
