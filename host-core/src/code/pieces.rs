//! Digests of a large piece of memory, by all cores: hashing is most of what it takes to load code.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

const PIECE_BYTES: usize = 256 << 10;
/// Another thread costs about as much as hashing this many pieces saves.
const PIECES_PER_THREAD_MIN: usize = 2;
const THREADS_MAX: usize = 4;

/// The SHA-256 of each 256 KiB of `bytes`, one after the other.
pub(super) fn digests(bytes: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = bytes.chunks(PIECE_BYTES).collect();
    let next = AtomicUsize::new(0);
    let digests = Mutex::new(vec![0; pieces.len() * SHA256_OUTPUT_LEN]);
    let work = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(piece) = pieces.get(at)
        {
            let digest = digest(&SHA256, piece);
            let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests[at * SHA256_OUTPUT_LEN..][..SHA256_OUTPUT_LEN].copy_from_slice(digest.as_ref());
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = cores.min(THREADS_MAX).min(pieces.len() / PIECES_PER_THREAD_MIN);
    thread::scope(|scope| {
        for _ in 1..threads {
            // If the system has no more threads, those that there are do the work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    digests.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ring::digest::{SHA256, digest};

    use super::{PIECE_BYTES, digests};

    #[test]
    fn each_piece_is_hashed_in_its_place_however_many_there_are() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 20 * PIECE_BYTES + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 1000) as u8).collect();
            let expected: Vec<u8> = bytes
                .chunks(PIECE_BYTES)
                .flat_map(|piece| digest(&SHA256, piece).as_ref().to_vec())
                .collect();
            assert_eq!(digests(&bytes), expected, "{length} bytes");
        }
    }
}
