//! Signing what was packaged, with a key for development.
//!
//! The key is made where there is none, in `target/`, and vouches for nothing but that these packages came
//! from this clone. What is released is signed elsewhere, with `plugin-host sign`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use host_security::sign::{SIGNATURE_SUFFIX, SigningKey};
use plugin_contract::Digest;

use super::stamp::write_if_changed;

/// The private key, from the root of the repository.
const KEY: &str = "target/dev-signing.key";
/// The public key.
const PUBLIC_KEY: &str = "dist/dev-signing.pub";

/// Signs packages.
pub(crate) struct Signer {
    key: SigningKey,
}

impl Signer {
    /// Reads the key of this clone; makes it first if it is not there, and says so.
    ///
    /// # Errors
    /// Those of the key file: `sign/key-exposed`, `sign/key-invalid`, `sign/file`.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(KEY);
        let is_new = !path.exists() && make(&path).context("making a development key")?;
        let key = SigningKey::read(&path)?;
        let public = key.public();
        write_if_changed(&root.join(PUBLIC_KEY), format!("{public}\n").as_bytes())?;
        if is_new {
            eprintln!(
                "made a development key, {KEY}; a host trusts what it signs with this in host.toml:\n\
                 [signatures.trusted-keys]\n\
                 development = \"{public}\""
            );
        }
        Ok(Self { key })
    }

    /// Writes the signature of a component beside it; says whether it was not there already. The same key
    /// and component give the same signature.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn sign(&self, component: &Path, digest: &Digest) -> anyhow::Result<bool> {
        let signature = self.key.sign(digest).to_string();
        write_if_changed(&signature_path(component), signature.as_bytes())
    }
}

fn signature_path(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(SIGNATURE_SUFFIX);
    path.into()
}

/// Whether the key is ours: two builds may begin at the same time, and have to end up with one key.
fn make(path: &Path) -> anyhow::Result<bool> {
    let directory = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    let unfinished = tempfile::tempdir_in(directory)?;
    let made = unfinished.path().join("key");
    SigningKey::generate()?.write_new(&made)?;
    match fs::hard_link(&made, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // Not every file system has hard links.
        Err(_) => Ok(fs::rename(&made, path).map(|()| true)?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use host_security::sign::{PublicKey, Trust, TrustPolicy};
    use plugin_contract::Digest;

    use super::{PUBLIC_KEY, Signer};

    #[test]
    fn a_package_is_signed_once_with_the_key_of_the_clone() {
        let root = tempfile::tempdir().unwrap();
        let component = root.path().join("a.wasm");
        let digest = Digest::of(b"component");
        assert!(Signer::open(root.path()).unwrap().sign(&component, &digest).unwrap());
        let again = Signer::open(root.path()).unwrap();
        assert!(!again.sign(&component, &digest).unwrap());

        let key = PublicKey::read(&root.path().join(PUBLIC_KEY)).unwrap();
        let trusted = [("development".to_owned(), key)].into();
        let policy = TrustPolicy { required: true, trusted, ..TrustPolicy::default() };
        let file = fs::read(root.path().join("a.wasm.sig")).unwrap();
        let trust = policy.check(&digest, Some(&file)).unwrap();
        assert_eq!(trust, Trust::Signed { by: "development".to_owned(), key: key.id() });

        assert!(again.sign(&component, &Digest::of(b"other")).unwrap());
    }
}
