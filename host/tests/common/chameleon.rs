//! The test guest `chameleon` in as many versions as a test wants: other digits, as many, in its bytes.

use std::path::{Path, PathBuf};

use host::Upload;

/// A version of the guest, and how it behaves.
#[derive(Clone)]
pub(crate) struct Chameleon {
    component: Vec<u8>,
    manifest: Vec<u8>,
}

impl Chameleon {
    /// The version `1.minor.patch` of a guest that does nothing odd.
    pub(crate) fn version(version: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/test-plugins/chameleon");
        let read =
            |name: &str| std::fs::read(folder.join(name)).expect("run `cargo xtask build-plugins`");
        let (component, manifest) = (read("chameleon.wasm"), read("plugin.toml"));
        let guest = Self { component, manifest };
        guest
            .knob("version=1.0.0", &format!("version={version}"))
            .text("version = \"1.0.0\"", &format!("version = \"{version}\""))
    }

    /// So many of a thousand calls fail.
    pub(crate) fn failing(self, per_mille: u32) -> Self {
        self.knob("fail=0000", &format!("fail={per_mille:04}"))
    }

    /// A call takes so many thousand rounds longer.
    pub(crate) fn slower(self, rounds: u32) -> Self {
        self.knob("spin=00000", &format!("spin={rounds:05}"))
    }

    /// It does not initialize.
    pub(crate) fn broken(self) -> Self {
        self.knob("start=1", "start=0")
    }

    /// It keeps its input and tells of it.
    pub(crate) fn keeping(self) -> Self {
        self.knob("keep=0", "keep=1")
    }

    /// It says which instance it is, and which of its calls this was.
    pub(crate) fn telling(self) -> Self {
        self.knob("tell=0", "tell=1")
    }

    /// Another line in its manifest, as long as the one before.
    pub(crate) fn text(mut self, was: &str, now: &str) -> Self {
        assert_eq!(was.len(), now.len());
        let in_component = replace(&mut self.component, was, now);
        let in_manifest = replace(&mut self.manifest, was, now);
        assert!(in_component > 0 && in_manifest > 0, "{was}");
        self
    }

    fn knob(mut self, was: &str, now: &str) -> Self {
        assert_eq!(was.len(), now.len());
        assert!(replace(&mut self.component, was, now) > 0, "{was}");
        self
    }

    pub(crate) fn upload(&self) -> Upload {
        let manifest = Some(self.manifest.clone());
        Upload { component: self.component.clone(), manifest, signature: None }
    }

    /// Writes its folder.
    pub(crate) fn write_to(&self, folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("chameleon.wasm"), &self.component).unwrap();
        std::fs::write(folder.join("plugin.toml"), &self.manifest).unwrap();
        folder.to_owned()
    }
}

fn replace(bytes: &mut [u8], was: &str, now: &str) -> usize {
    let mut found = 0;
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(was.len()).position(|it| it == was.as_bytes()) {
        bytes[from + at..][..now.len()].copy_from_slice(now.as_bytes());
        (found, from) = (found + 1, from + at + now.len());
    }
    found
}
