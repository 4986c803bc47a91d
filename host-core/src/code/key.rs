//! What code is for: which component, and which engine to the last detail.

use std::{
    fmt::Write,
    hash::{Hash, Hasher},
};

use plugin_contract::{Digest, Lane};
use ring::digest::{Context, SHA256};
use wasmtime::{Engine, ModuleVersionStrategy};

/// The format of what is kept and sent around the code. Raised with each change to it.
pub(super) const FORMAT: u32 = 1;

/// The exact release of the engine, and of what is around its code: `48.0.8/1`. The engine names only the
/// first number itself, and patches have changed what code must look like.
pub(crate) fn release() -> String {
    // The one place where the engine tells all three numbers.
    let mut told = Told(Vec::new());
    ModuleVersionStrategy::WasmtimeVersion.hash(&mut told);
    let version =
        told.0.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte));
    format!("{}/{FORMAT}", version.take(200).collect::<String>())
}

struct Told(Vec<u8>);

impl Hasher for Told {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

/// All that code must agree on with the engine that runs it: release, processor, features, settings. The
/// same for equal settings in all processes on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EngineId(pub(super) [u8; 32]);

impl EngineId {
    pub(super) fn of(engine: &Engine) -> Self {
        let mut hasher = Sha256(Context::new(&SHA256));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let mut id = [0; 32];
        id.copy_from_slice(hasher.0.finish().as_ref());
        Self(id)
    }
}

struct Sha256(Context);

impl Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

/// Names one piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CodeKey {
    /// Of the component.
    pub(super) digest: Digest,
    pub(super) lane: Lane,
    pub(super) engine: EngineId,
}

impl CodeKey {
    /// The name of its file: unique for all that is likely to be in one directory. What is inside says all.
    pub(super) fn file_name(&self) -> String {
        let mut name = String::with_capacity(100);
        // Writing to a string does not fail.
        self.digest.as_bytes().iter().for_each(|byte| _ = write!(name, "{byte:02x}"));
        _ = write!(name, "-{}-", self.lane.name());
        self.engine.0[..8].iter().for_each(|byte| _ = write!(name, "{byte:02x}"));
        name + FILE_SUFFIX
    }
}

/// What the names of files with code end in.
pub(super) const FILE_SUFFIX: &str = ".code";

#[cfg(test)]
mod tests {
    use plugin_contract::Lane;
    use wasmtime::Engine;

    use super::{EngineId, release};
    use crate::EngineSettings;

    #[test]
    fn the_release_of_the_engine_is_known_to_the_patch() {
        let numbers: Vec<u64> =
            release().split(['.', '/']).map(|number| number.parse().unwrap()).collect();
        let [major, _, _, _] = numbers[..] else { panic!("{}", release()) };
        assert_eq!(major.to_string(), wasmtime::ModuleVersionStrategy::WasmtimeVersion.as_str());
    }

    #[test]
    fn an_engine_without_slots_is_the_same_and_one_with_other_settings_is_not() {
        let mut settings = EngineSettings::default();
        settings.pool.instances = 1;
        let id = |settings: &EngineSettings, lane| {
            EngineId::of(&Engine::new(&settings.compile_config(lane)).unwrap())
        };
        let unary = id(&settings, Lane::Unary);
        assert_eq!(unary, EngineId::of(&Engine::new(&settings.config(Lane::Unary)).unwrap()));
        assert_ne!(unary, id(&settings, Lane::Stream));
        settings.pool.memory_reservation_bytes = 16 << 20;
        assert_ne!(unary, id(&settings, Lane::Unary));
    }
}
