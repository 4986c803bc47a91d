//! The smallest guests that show a fact: components in WebAssembly text.

use host_core::{Admission, Artifact, CoreError, admit};
use plugin_contract::Manifest;

/// A manifest for a guest of this name.
pub(crate) fn manifest(name: &str, rest: &str) -> Manifest {
    format!(
        "[plugin]\nname = \"{name}\"\nversion = \"0.1.0\"\nentrypoint = \"{name}.wasm\"\n{rest}"
    )
    .parse()
    .unwrap()
}

/// Admits a component written as text.
pub(crate) fn admit_wat(name: &str, wat: &str) -> Result<Artifact, CoreError> {
    let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    admit(bytes, Some(manifest(name, "")), &Admission::default())
}

/// A `plugin-v1` whose `process` is `body`: the core function takes pointer and length of a string
/// and leaves the pointer of a (pointer, length) pair. `extra` goes into the core module.
pub(crate) fn v1(body: &str, extra: &str) -> String {
    v1_and(body, extra, "")
}

/// The same, with more in the component.
pub(crate) fn v1_and(body: &str, extra: &str, more: &str) -> String {
    format!(
        r#"(component
        (core module $m
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 1024))
            (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $next))
                (global.set $next (i32.add (global.get $next) (local.get 3)))
                (local.get $at))
            (func $echo (param $ptr i32) (param $len i32) (result i32)
                (i32.store (i32.const 16) (local.get $ptr))
                (i32.store (i32.const 20) (local.get $len))
                (i32.const 16))
            {extra}
            (func (export "process") (param $ptr i32) (param $len i32) (result i32)
                {body})
            (func (export "post-process") (param i32)
                (global.set $next (i32.const 1024))))
        (core instance $i (instantiate $m))
        (func $process (param "input" string) (result string)
            (canon lift (core func $i "process") (memory $i "memory")
                (realloc (func $i "cabi_realloc")) (post-return (func $i "post-process"))))
        (component $shim
            (import "process" (func $f (param "input" string) (result string)))
            (export "process" (func $f)))
        (instance $api (instantiate $shim (with "process" (func $process))))
        (export "toolsku:plugin-system/plugin-api-v1@1.0.0" (instance $api))
        {more})"#
    )
}

/// A `plugin-v1` that answers with its input.
pub(crate) fn echo() -> String {
    v1("(call $echo (local.get $ptr) (local.get $len))", "")
}
