//! What no toolchain makes: values that are none, and components whose every part spins.

use super::{Arena, ViolationType::*};
use crate::text;

/// A `plugin-v1` whose `process` is `body`, with `realloc`, `post-return` and more of its module.
pub(super) fn v1(body: &str, realloc: &str, post: &str, extra: &str) -> String {
    format!(
        r#"(component
        (core module $m
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            {extra}
            (func (export "process") (param $ptr i32) (param $len i32) (result i32) {body})
            (func (export "post-process") (param i32) {post}))
        (core instance $i (instantiate $m))
        (func $process (param "input" string) (result string)
            (canon lift (core func $i "process") (memory $i "memory")
                (realloc (func $i "cabi_realloc")) (post-return (func $i "post-process"))))
        (component $shim
            (import "process" (func $f (param "input" string) (result string)))
            (export "process" (func $f)))
        (instance $api (instantiate $shim (with "process" (func $process))))
        (export "toolsku:plugin-system/plugin-api-v1@1.0.0" (instance $api)))"#
    )
}

const SPIN: &str = "(loop $l (br $l))";
/// The end of a module, an instance of it, and a function to call.
const END: &str = "(func (export \"f\"))) (core instance $i (instantiate $m))
    (func (export \"f\") (canon lift (core func $i \"f\")))";
const ROOM: &str = "(i32.const 1024)";
/// Answers with the empty text.
const EMPTY: &str = "(i32.const 16)";

/// Has a planted plugin called; the code of the error.
async fn code(arena: &Arena, plugin: &str, input: &str) -> String {
    arena.beside(arena.ask(plugin, text(input))).await
}

// C01, C08
#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_guest_ends_with_its_time_or_its_mistake() {
    let Some(arena) = Arena::new("").await else { return };
    let cpu = "security/cpu-time-exceeded";
    let returns = |ptr: &str, len: &str| {
        format!(
            "(i32.store (i32.const 16) (i32.const {ptr})) (i32.store (i32.const 20) (i32.const {len})) {EMPTY}"
        )
    };
    for (plugin, wat, expected) in [
        ("fine", v1(EMPTY, ROOM, "", ""), ""),
        ("spins", v1(&format!("{SPIN} unreachable"), ROOM, "", ""), cpu),
        ("spins-realloc", v1(EMPTY, &format!("{SPIN} unreachable"), "", ""), cpu),
        ("spins-post", v1(EMPTY, ROOM, SPIN, ""), cpu),
        ("realloc-outside", v1(EMPTY, "(i32.const 0x7fffffff)", "", ""), "core/trap-boundary"),
        ("realloc-negative", v1(EMPTY, "(i32.const -1)", "", ""), "core/trap-boundary"),
        ("outside", v1(&returns("0x7fffffff", "9"), ROOM, "", ""), "core/trap-boundary"),
        ("endless", v1(&returns("0", "-1"), ROOM, "", ""), "core/trap-boundary"),
        ("wraps", v1(&returns("-4", "8"), ROOM, "", ""), "core/trap-boundary"),
        ("misaligned", v1("(i32.const 17)", ROOM, "", ""), "core/trap-boundary"),
        ("far", v1("(i32.const 65532)", ROOM, "", ""), "core/trap-boundary"),
        (
            "grows",
            v1(
                "(loop $l (br_if $l (i32.eq (memory.grow (i32.const 1)) (i32.const 7))) (drop (memory.grow (i32.const 10))) (br $l)) unreachable",
                ROOM,
                "",
                "",
            ),
            cpu,
        ),
        (
            "table-grows",
            v1(
                "(loop $l (drop (table.grow 0 (ref.null func) (i32.const 1000))) (br $l)) unreachable",
                ROOM,
                "",
                "(table 1 funcref)",
            ),
            cpu,
        ),
    ] {
        assert_eq!(arena.plant(plugin, &wat).await, Ok(()), "{plugin}");
        assert_eq!(code(&arena, plugin, "x").await, expected, "{plugin}");
    }
    assert_eq!(code(&arena, "fine", "again").await, "");
    arena.ends(&[CpuTimeExceeded]).await;
}

// C01, C04, C16
#[tokio::test(flavor = "multi_thread")]
async fn what_wants_too_much_from_the_start_does_not_start() {
    let Some(arena) = Arena::new("").await else { return };
    let instances: String =
        (0..500).map(|n| format!("(core instance $i{n} (instantiate $m))")).collect();
    let many = |module: &str| format!("(component (core module $m {module} {END} {instances})");
    let one = |module: &str| format!("(component (core module $m {module} {END})");
    for (plugin, wat, expected) in [
        ("start-spins", one(&format!("(func $s {SPIN}) (start $s)")), "security/cpu-time-exceeded"),
        ("start-traps", one("(func $s unreachable) (start $s)"), "core/trap-unreachable"),
        ("four-gib", one("(memory 65536)"), "core/"),
        ("one-page-more", one("(memory 245)"), "security/memory-exceeded"),
        ("many-instances", many("(memory 0)"), "core/"),
        ("many-tables", many("(table 1000 funcref)"), "core/"),
        ("huge-table", one("(table 50000000 funcref)"), "core/"),
        ("endless-table", one("(table 0xffffffff funcref)"), "core/"),
        ("large-table", one("(table 49000 funcref)"), ""),
        (
            "two-large-tables",
            one("(table 49000 funcref) (table 49000 funcref) (table 49000 funcref)"),
            "core/",
        ),
        ("two-memories", one("(memory 200) (memory 200)"), "core/"),
        ("data-outside", one("(memory 1) (data (i32.const 0x7fffffff) \"x\")"), "core/trap-memory"),
    ] {
        let found = arena.plant(plugin, &wat).await;
        let found = found.err().unwrap_or_default();
        match expected {
            "" => assert_eq!(found, "", "{plugin}"),
            expected => assert!(found.starts_with(expected), "{plugin}: {found}"),
        }
    }
    arena.ends(&[CpuTimeExceeded, MemoryExceeded, LimitExceeded]).await;
}

/// A component with one function `f` that answers with what lies at 16, which is `data`.
fn answers(result: &str, data: &str) -> String {
    format!(
        r#"(component
        (core module $m
            (memory (export "memory") 1)
            (data (i32.const 16) "{data}")
            (func (export "f") (result i32) (i32.const 16)))
        (core instance $i (instantiate $m))
        (func (export "f") (result {result}) (canon lift (core func $i "f") (memory $i "memory"))))"#
    )
}

/// The same, where the result is a number by itself.
fn answers_flat(result: &str, value: &str) -> String {
    format!(
        r#"(component
        (core module $m (memory (export "memory") 1) (func (export "f") (result i32) (i32.const {value})))
        (core instance $i (instantiate $m))
        (func (export "f") (result {result}) (canon lift (core func $i "f") (memory $i "memory"))))"#
    )
}

// C08, C10
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_none_end_the_call() {
    let Some(arena) = Arena::new("").await else { return };
    let boundary = "core/trap-boundary";
    for (plugin, wat, expected) in [
        ("a-char", answers_flat("char", "97"), ""),
        ("a-surrogate", answers_flat("char", "0xd800"), boundary),
        ("no-char", answers_flat("char", "0x110000"), boundary),
        ("negative-char", answers_flat("char", "-1"), boundary),
        ("a-bool", answers_flat("bool", "2"), ""),
        ("a-byte", answers_flat("u8", "0x1ff"), ""),
        ("some", answers("(option u32)", "\\01\\00\\00\\00\\07\\00\\00\\00"), ""),
        ("no-option", answers("(option u32)", "\\07\\00\\00\\00\\07\\00\\00\\00"), boundary),
        ("no-result", answers("(result u32 (error u32))", "\\ff\\00\\00\\00"), boundary),
        (
            "no-text",
            answers(
                "string",
                "\\20\\00\\00\\00\\01\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\ff",
            ),
            boundary,
        ),
        ("no-list", answers("(list u64)", "\\10\\00\\00\\00\\ff\\ff\\ff\\7f"), boundary),
        ("misaligned-list", answers("(list u64)", "\\11\\00\\00\\00\\01\\00\\00\\00"), boundary),
        (
            "list-of-nothing",
            answers("(list (tuple u64 u64 u64 u64))", "\\10\\00\\00\\00\\00\\00\\00\\08"),
            boundary,
        ),
    ] {
        assert_eq!(arena.plant(plugin, &wat).await, Ok(()), "{plugin}");
        let found = arena.call_f(plugin).await;
        assert_eq!(found, expected, "{plugin}");
    }
    arena.ends(&[]).await;
}

// C10: the other way, into the host.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_none_do_not_come_in() {
    let Some(arena) = Arena::new("").await else { return };
    let logs = |level: &str, ptr: &str, len: &str, handle: &str| {
        format!(
            r#"(component
            (import "toolsku:host-api/host-services@1.0.0" (instance $host
                (type $level' (enum "trace" "debug" "info" "warn" "error"))
                (export "log-level" (type $level (eq $level')))
                (export "logger" (type $logger (sub resource)))
                (export "[constructor]logger" (func (param "name" string) (result (own $logger))))
                (export "[method]logger.log" (func (param "self" (borrow $logger))
                    (param "level" $level) (param "message" string)))
                (export "config-store" (type $store (sub resource)))
                (export "[constructor]config-store" (func (result (own $store))))))
            (alias export $host "logger" (type $logger))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (core func $new (canon lower (func $host "[constructor]logger") (memory $memory "memory")))
            (core func $log (canon lower (func $host "[method]logger.log") (memory $memory "memory")))
            (core func $store (canon lower (func $host "[constructor]config-store")))
            (core func $drop (canon resource.drop $logger))
            (core module $m
                (import "h" "new" (func $new (param i32 i32) (result i32)))
                (import "h" "log" (func $log (param i32 i32 i32 i32)))
                (import "h" "store" (func $store (result i32)))
                (import "h" "drop" (func $drop (param i32)))
                (func (export "f") (local $logger i32)
                    (local.set $logger (call $new (i32.const 0) (i32.const 1)))
                    (call $log {handle} (i32.const {level}) (i32.const {ptr}) (i32.const {len}))))
            (core instance $m (instantiate $m
                (with "h" (instance (export "new" (func $new)) (export "log" (func $log))
                    (export "store" (func $store)) (export "drop" (func $drop))))))
            (func (export "f") (canon lift (core func $m "f"))))"#
        )
    };
    let own = "(local.get $logger)";
    for (plugin, wat, expected) in [
        ("said", logs("2", "0", "1", own), ""),
        ("no-level", logs("5", "0", "1", own), "core/"),
        ("negative-level", logs("-1", "0", "1", own), "core/"),
        ("text-outside", logs("2", "0x7fffffff", "1", own), "core/"),
        ("text-too-long", logs("2", "0", "-1", own), "core/"),
        ("text-wraps", logs("2", "-4", "8", own), "core/"),
        ("no-handle", logs("2", "0", "1", "(i32.const 77)"), "core/"),
        ("handle-zero", logs("2", "0", "1", "(i32.const 0)"), "core/"),
        ("handle-far", logs("2", "0", "1", "(i32.const -1)"), "core/"),
        ("handle-of-another-kind", logs("2", "0", "1", "(call $store)"), "core/"),
        (
            "handle-dropped",
            logs("2", "0", "1", "(call $drop (local.get $logger)) (local.get $logger)"),
            "core/",
        ),
    ] {
        assert_eq!(arena.plant(plugin, &wat).await, Ok(()), "{plugin}");
        let found = arena.call_f(plugin).await;
        match expected {
            "" => assert_eq!(found, "", "{plugin}"),
            expected => assert!(found.starts_with(expected), "{plugin}: {found}"),
        }
    }
    arena.ends(&[]).await;
}

// C13
#[tokio::test(flavor = "multi_thread")]
async fn memory_of_another_plugin_is_found_empty() {
    let Some(arena) = Arena::new("").await else { return };
    let each = |what: &str| {
        format!(
            "(local $at i32) (local.set $at (i32.const 4096))
            (loop $l {what}
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $at) (i32.const 65536)))) {EMPTY}"
        )
    };
    let smears = v1(&each("(i32.store8 (local.get $at) (i32.const 0xaa))"), ROOM, "", "");
    let looks = v1(&each("(if (i32.load8_u (local.get $at)) (then unreachable))"), ROOM, "", "");
    for round in 0..3 {
        let (one, other) = (format!("smears-{round}"), format!("looks-{round}"));
        assert_eq!(arena.plant(&one, &smears).await, Ok(()));
        assert_eq!(code(&arena, &one, "x").await, "");
        let one = crate::name(&one);
        arena.host.unload(&one, std::time::Duration::from_secs(5)).await.unwrap();
        assert_eq!(arena.plant(&other, &looks).await, Ok(()));
        assert_eq!(code(&arena, &other, "x").await, "", "in round {round}");
    }
    // The one that looks would see it.
    let own = "(i32.store8 (i32.const 5000) (i32.const 1))";
    let sees = v1(
        &each("(if (i32.load8_u (local.get $at)) (then unreachable))").replacen(
            "(loop",
            &format!("{own} (loop"),
            1,
        ),
        ROOM,
        "",
        "",
    );
    assert_eq!(arena.plant("sees", &sees).await, Ok(()));
    assert_eq!(code(&arena, "sees", "x").await, "core/trap-unreachable");
    arena.ends(&[]).await;
}
