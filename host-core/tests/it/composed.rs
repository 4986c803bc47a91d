//! Components made of components, by whoever: what crosses between them is right, or a trap.

use host_core::{Caller, FunctionCall};
use plugin_contract::Explain;

use crate::{budget, instance};

/// A component of two: the outer passes the bytes at 1,024 on to the inner as a string, in an encoding of
/// its own. The inner answers with the number of units that it was given, and adds up what they are.
fn passes(bytes: &str, units: u32, outer: &str, inner: &str) -> String {
    let realloc = r#"(global $next (mut i32) (i32.const 4096))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get 3)))
            (local.get $at))"#;
    format!(
        r#"(component
        (component $inner
            (core module $m (memory (export "memory") 1) {realloc}
                (func (export "take") (param $at i32) (param $units i32) (result i32)
                    (local.get $units)))
            (core instance $m (instantiate $m))
            (func (export "take") (param "text" string) (result u32)
                (canon lift (core func $m "take") (memory $m "memory")
                    (realloc (func $m "realloc")) string-encoding={inner})))
        (component $outer
            (import "take" (func $take (param "text" string) (result u32)))
            (core module $memory (memory (export "memory") 1) {realloc}
                (data (i32.const 1024) "{bytes}"))
            (core instance $memory (instantiate $memory))
            (core func $take (canon lower (func $take) (memory $memory "memory")
                (realloc (func $memory "realloc")) string-encoding={outer}))
            (core module $m (import "h" "take" (func $take (param i32 i32) (result i32)))
                (func (export "f") (result i32)
                    (call $take (i32.const 1024) (i32.const {units}))))
            (core instance $m (instantiate $m (with "h" (instance (export "take" (func $take))))))
            (func (export "f") (result u32) (canon lift (core func $m "f"))))
        (instance $inner (instantiate $inner))
        (instance $outer (instantiate $outer (with "take" (func $inner "take"))))
        (export "f" (func $outer "f")))"#
    )
}

/// What the inner component was given; or the code of the error.
async fn given(wat: String) -> Result<String, &'static str> {
    let mut guest = instance(&wat).await;
    let call = FunctionCall::Text("f()".to_owned());
    let reply = guest.call(&Caller::default(), &call, &budget()).await;
    reply.map(|reply| reply.wave(100).unwrap()).map_err(|error| error.code())
}

#[tokio::test]
async fn strings_cross_in_any_encoding() {
    // "hé" in each of them: units of the outer, and those that the inner is to be given.
    let utf8 = ("h\\c3\\a9", 3);
    let utf16 = ("h\\00\\e9\\00", 2);
    // By default latin-1; the highest bit of the length would say otherwise.
    let latin1 = ("h\\e9", 2);
    for (outer, (bytes, units)) in [("utf8", utf8), ("utf16", utf16), ("latin1+utf16", latin1)] {
        for (inner, expected) in [("utf8", "3"), ("utf16", "2"), ("latin1+utf16", "2")] {
            let given = given(passes(bytes, units, outer, inner)).await;
            assert_eq!(given, Ok(expected.to_owned()), "{outer} to {inner}");
        }
    }
}

#[tokio::test]
async fn strings_that_are_none_do_not_cross() {
    // A byte that no text has; half of a pair; more than the memory holds.
    for (bytes, units, outer) in [
        ("\\ff\\fe", 2, "utf8"),
        ("\\00\\d8", 1, "utf16"),
        ("", 70_000, "utf8"),
        ("", 40_000, "utf16"),
        ("", 0x8000_9000, "latin1+utf16"),
    ] {
        for inner in ["utf8", "utf16", "latin1+utf16"] {
            let given = given(passes(bytes, units, outer, inner)).await;
            let code = given.unwrap_err();
            // The engine finds texts that are none in a function of its own.
            let stopped = code.starts_with("core/trap") || code == "core/host-call";
            assert!(stopped, "{outer} to {inner}: {code}");
        }
    }
}
