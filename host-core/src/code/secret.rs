//! The key that only hosts of this user know: what they wrote, they can tell from what others did.

use std::{io, path::Path, thread, time::Duration};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use super::files;

pub(super) const MAC_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// The key of one cache. Files are sealed by AES-256-GCM: a MAC by HMAC alone takes three times as long,
/// which is most of what it takes to load code. GCM must not see two messages under one key and nonce, so
/// each file has a key of its own: HMAC-SHA-256 of a header with a number in it that never comes again.
pub(super) struct Secret(hmac::Key);

impl Secret {
    pub(super) fn of(key: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The key in `directory`. The first to come makes it, and hosts that start at one time end up with
    /// one key. A key that others may have seen is replaced: then nothing written with it counts any more.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        match read(directory) {
            Ok(key) => return Ok(Self::of(&key)),
            Err(error) if is_transient(&error) => return Err(error),
            Err(_) => {}
        }
        // Held for a moment at most, and only by those who came when there was no good key.
        let lock = files::open_lock(&directory.join("lock"))?;
        acquire(&lock)?;
        let key = match read(directory) {
            Ok(key) => key,
            Err(error) if is_transient(&error) => return Err(error),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(
                        directory = %directory.display(),
                        error = &error as &dyn std::error::Error,
                        "the key of the code cache is replaced, and with it all code there"
                    );
                }
                let key = random()?;
                files::write(directory, "key", &key)?;
                key
            }
        };
        Ok(Self::of(&key))
    }

    /// Seals `body` in its place, together with a header that has [`random`] bytes in it.
    pub(super) fn seal(
        &self,
        header: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; MAC_BYTES], Unspecified> {
        let key = self.file_key(header)?;
        let tag = key.seal_in_place_separate_tag(only_nonce(), Aad::from(header), body)?;
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(tag.as_ref());
        Ok(mac)
    }

    /// Opens in its place what [`Secret::seal`] made, and its MAC after it. What fails is wiped out.
    pub(super) fn open_sealed(
        &self,
        header: &[u8],
        body_and_mac: &mut [u8],
    ) -> Result<(), Unspecified> {
        let key = self.file_key(header)?;
        key.open_in_place(only_nonce(), Aad::from(header), body_and_mac).map(drop)
    }

    fn file_key(&self, header: &[u8]) -> Result<LessSafeKey, Unspecified> {
        let key = hmac::sign(&self.0, header);
        UnboundKey::new(&AES_256_GCM, key.as_ref()).map(LessSafeKey::new)
    }
}

/// Each key has one message.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Bytes that never come again.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(bytes)
}

fn read(directory: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let opened = files::open(&directory.join("key"))?;
    opened.check_private()?;
    let bytes = opened.read(KEY_BYTES as u64)?;
    <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| files::invalid("it has another length"))
}

/// Whether the key may be a good one.
fn is_transient(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}

/// Waits a few seconds: whoever holds the lock for longer does not work.
fn acquire(lock: &std::fs::File) -> io::Result<()> {
    for _ in 0..100 {
        match lock.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
        sync::Barrier,
    };

    use super::Secret;

    fn mac(directory: &Path) -> [u8; 16] {
        Secret::open(directory).unwrap().seal(b"header", &mut []).unwrap()
    }

    #[test]
    fn a_key_outlives_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let first = mac(dir.path());
        assert_eq!(mac(dir.path()), first);
        let key = fs::metadata(dir.path().join("key")).unwrap();
        assert_eq!((key.len(), key.permissions().mode() & 0o777), (32, 0o600));
        assert_ne!(mac(tempfile::tempdir().unwrap().path()), first);
    }

    #[test]
    fn hosts_that_start_at_one_time_end_up_with_one_key() {
        for bad in [None, Some("short")] {
            let dir = tempfile::tempdir().unwrap();
            if let Some(bad) = bad {
                fs::write(dir.path().join("key"), bad).unwrap();
            }
            let start = Barrier::new(8);
            let macs: Vec<_> = std::thread::scope(|scope| {
                let open = || {
                    start.wait();
                    mac(dir.path())
                };
                let hosts: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                hosts.into_iter().map(|host| host.join().unwrap()).collect()
            });
            assert!(macs.iter().all(|mac| *mac == macs[0]), "{bad:?}");
        }
    }

    #[test]
    fn a_key_that_others_may_have_seen_or_that_is_none_is_replaced() {
        let elsewhere = tempfile::tempdir().unwrap();
        let known = mac(elsewhere.path());
        let known_key = elsewhere.path().join("key");
        type Put = fn(&Path, &Path);
        let ways: [(&str, Put); 5] = [
            ("short", |key, _| fs::write(key, "short").unwrap()),
            ("long", |key, _| fs::write(key, [7; 33]).unwrap()),
            ("empty", |key, _| fs::write(key, "").unwrap()),
            ("a link", |key, known| symlink(known, key).unwrap()),
            ("readable", |key, known| {
                fs::copy(known, key).unwrap();
                fs::set_permissions(key, Permissions::from_mode(0o640)).unwrap();
            }),
        ];
        for (name, put) in ways {
            let dir = tempfile::tempdir().unwrap();
            put(&dir.path().join("key"), &known_key);
            let replaced = mac(dir.path());
            assert_ne!(replaced, known, "{name}");
            assert_eq!(mac(dir.path()), replaced, "{name}");
            assert_eq!(mac(elsewhere.path()), known, "{name}");
        }
    }
}
