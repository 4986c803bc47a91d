//! The one way from bytes to code that the engine runs. All that makes it safe is in this file, and in the
//! two that it asks: `entry` and `helper`.
#![expect(unsafe_code, reason = "the engine cannot check machine code, so loading any is unsafe")]

use std::ops::Range;

use wasmtime::{Engine, component::Component};

use super::{
    entry,
    key::{CodeKey, EngineId},
    secret::Secret,
    wire::Compiled,
};

/// What an engine of this process's own release has compiled. There is no way to make one but those below.
#[derive(Debug)]
pub(super) struct NativeCode {
    bytes: Vec<u8>,
    /// Where in `bytes` the code is.
    code: Range<usize>,
}

impl NativeCode {
    /// Compiles `component` for the engine of these settings, in this process.
    pub(super) fn compile(compiler: &Engine, component: &[u8]) -> wasmtime::Result<Self> {
        let bytes = compiler.precompile_component(component)?;
        Ok(Self { code: 0..bytes.len(), bytes })
    }

    /// What a helper of this host has compiled, if it did so for the engine `wanted`.
    pub(super) fn compiled(by_helper: Compiled, wanted: EngineId) -> Option<Self> {
        let Compiled { engine, code: bytes } = by_helper;
        (engine == wanted).then_some(Self { code: 0..bytes.len(), bytes })
    }

    /// A file of the cache: `bytes` in memory of our own, which nobody else can change any more.
    ///
    /// # Errors
    /// Why it is not what [`entry::seal`] made of such code, with the same `secret`.
    pub(super) fn authentic(
        mut bytes: Vec<u8>,
        key: &CodeKey,
        secret: &Secret,
    ) -> Result<Self, entry::Mismatch> {
        let code = entry::open(&mut bytes, key, secret)?;
        Ok(Self { bytes, code })
    }

    /// What [`NativeCode::load`] loads.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.code.clone()]
    }

    /// # Errors
    /// It was compiled for another engine, or needs more than an instance may have.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the engine asks for bytes that it has itself serialized, unchanged. They come from
        // `precompile_component` in this process; from a helper that is started by this process, holds the
        // same code for the same engine as its id says, and answers through a pipe between the two; or from
        // a file that is sealed with a key which only hosts of this user know, and with which they seal
        // nothing but `NativeCode`. In each case `bytes` is owned here, and is not changed since.
        unsafe { Component::deserialize(engine, self.bytes()) }
    }
}
