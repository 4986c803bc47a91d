//! The smallest guest that has a state.

use crate::guests::v1_and;

/// A `plugin-v1` that counts its calls, and hands the count on in the form `format`: 4 bytes, and as many more
/// as the form says. It knows all forms up to that.
pub(crate) struct Counter {
    pub(crate) format: u32,
    /// What it does before it gives up its state; may return instead.
    pub(crate) snapshot: &'static str,
    /// What it does before it takes over a state; may return instead.
    pub(crate) restore: &'static str,
}

impl Counter {
    pub(crate) const ONE: Self = Self { format: 1, snapshot: "", restore: "" };

    pub(crate) fn wat(&self) -> String {
        let Self { format, snapshot, restore } = self;
        let count = "(local $n i32) (local $at i32)
            (i32.store (i32.const 600) (i32.add (i32.load (i32.const 600)) (i32.const 1)))
            (local.set $n (i32.load (i32.const 600)))
            (local.set $at (i32.const 640))
            (loop $digit
                (local.set $at (i32.sub (local.get $at) (i32.const 1)))
                (i32.store8 (local.get $at)
                    (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
                (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
                (br_if $digit (local.get $n)))
            (call $echo (local.get $at) (i32.sub (i32.const 640) (local.get $at)))";
        let core = format!(
            r#"(data (i32.const 700) "no count:\1b")
            (func $refuse (result i32) ;; with a reason, as `snapshot` does
                (i32.store8 (i32.const 32) (i32.const 1))
                (i32.store (i32.const 36) (i32.const 700))
                (i32.store (i32.const 40) (i32.const 10))
                (i32.const 32))
            (func $invalid (result i32)
                (i32.store8 (i32.const 48) (i32.const 1))
                (i32.store8 (i32.const 52) (i32.const 1))
                (i32.store (i32.const 56) (i32.const 700))
                (i32.store (i32.const 60) (i32.const 10))
                (i32.const 48))
            (func $unknown (result i32)
                (i32.store8 (i32.const 48) (i32.const 1))
                (i32.store8 (i32.const 52) (i32.const 0))
                (i32.store (i32.const 56) (i32.const {format}))
                (i32.const 48))
            (func $work (local $n i32) ;; for a while
                (local.set $n (i32.const 30000000))
                (loop $on (br_if $on
                    (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            (func (export "snapshot") (result i32)
                {snapshot}
                (i32.store8 (i32.const 32) (i32.const 0))
                (i32.store (i32.const 36) (i32.const {format}))
                (i32.store (i32.const 40) (i32.const 600))
                (i32.store (i32.const 44) (i32.add (i32.const 4) (i32.const {format})))
                (i32.const 32))
            (func (export "restore") (param $format i32) (param $ptr i32) (param $len i32) (result i32)
                {restore}
                (if (i32.gt_u (local.get $format) (i32.const {format}))
                    (then (return (call $unknown))))
                (if (i32.ne (local.get $len) (i32.add (i32.const 4) (local.get $format)))
                    (then (return (call $invalid))))
                (i32.store (i32.const 600) (i32.load (local.get $ptr)))
                (i32.store8 (i32.const 48) (i32.const 0))
                (i32.const 48))"#
        );
        v1_and(count, &core, STATE_TRANSFER)
    }
}

/// Exports `state-transfer`, made of the core functions `snapshot` and `restore`.
const STATE_TRANSFER: &str = r#"
    (type $state (record (field "format" u32) (field "data" (list u8))))
    (type $error (variant (case "unknown-format" u32) (case "invalid" string)))
    (func $snapshot (result (result $state (error string)))
        (canon lift (core func $i "snapshot") (memory $i "memory")))
    (func $restore (param "state" $state) (result (result (error $error)))
        (canon lift (core func $i "restore") (memory $i "memory")
            (realloc (func $i "cabi_realloc"))))
    (component $transfer
        (type $state-def (record (field "format" u32) (field "data" (list u8))))
        (type $error-def (variant (case "unknown-format" u32) (case "invalid" string)))
        (import "the-state" (type $state (eq $state-def)))
        (import "the-error" (type $error (eq $error-def)))
        (import "snapshot" (func $snapshot (result (result $state (error string)))))
        (import "restore" (func $restore
            (param "state" $state) (result (result (error $error)))))
        (export $state-out "state-snapshot" (type $state))
        (export $error-out "restore-error" (type $error))
        (export "snapshot" (func $snapshot)
            (func (result (result $state-out (error string)))))
        (export "restore" (func $restore)
            (func (param "state" $state-out) (result (result (error $error-out))))))
    (instance $state-transfer (instantiate $transfer
        (with "the-state" (type $state)) (with "the-error" (type $error))
        (with "snapshot" (func $snapshot)) (with "restore" (func $restore))))
    (export "toolsku:plugin-system/state-transfer@1.0.0" (instance $state-transfer))"#;
