//! Functions of components that nobody here has seen: small ones, in WebAssembly text.

mod calls;
mod values;

use std::fmt::Write;

use wasmtime::{Config, Engine, component::Component};

/// A component that exports, for each of `types` by name, a function that takes a list of the type and
/// returns it. Types have to be exported, too: `text` is that of a type in WebAssembly text.
fn echoes(types: &[(&str, &str)]) -> String {
    let mut wat = String::from(
        r#"(component
        (core module $m
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 1024))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func (export "echo") (param i32 i32) (result i32)
                (i32.store (i32.const 16) (local.get 0))
                (i32.store (i32.const 20) (local.get 1))
                (i32.const 16))
            (func (export "done") (param i32) (global.set $next (i32.const 1024))))
        (core instance $i (instantiate $m))"#,
    );
    for (name, text) in types {
        write!(
            wat,
            r#"
        (type ${name}-inner {text})
        (export ${name} "{name}" (type ${name}-inner))
        (type ${name}-list (list ${name}))
        (func $echo-{name} (param "x" ${name}-list) (result ${name}-list)
            (canon lift (core func $i "echo") (memory $i "memory")
                (realloc (func $i "realloc")) (post-return (func $i "done"))))
        (export "echo-{name}" (func $echo-{name}))"#
        )
        .unwrap();
    }
    wat + ")"
}

fn compile(wat: &str) -> Component {
    let mut config = Config::new();
    config.concurrency_support(false);
    let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    Component::new(&Engine::new(&config).unwrap(), bytes).unwrap()
}
