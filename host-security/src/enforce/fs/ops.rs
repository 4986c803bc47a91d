//! What may be done, one function for each operation. All of it blocks.

mod change;
mod list;
mod look;
mod open;

pub(super) use list::Listing;
pub(super) use look::Times;
pub(super) use open::Opening;

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::{
    Inner,
    sys::Outcome,
    view::Mount,
    walk::{Named, Target, shown},
};
use crate::audit::{EnforcementAction, ViolationType};

impl Inner {
    /// A quota was reached; said in the audit log.
    pub(super) fn exceeded_quota(&self, operation: &str, path: &str, limit: &str) {
        let (kind, action) = (ViolationType::QuotaExceeded, EnforcementAction::Denied);
        self.auditor.exceeded(kind, action, operation, path, limit);
    }

    /// A tree would hold more than it may.
    pub(super) fn full(&self, operation: &str, path: &[String], mount: &Mount) -> ErrorCode {
        let room = mount.room;
        let limit = format!(
            "the tree {} may hold {} bytes in {} entries",
            shown(&mount.guest),
            room.bytes,
            room.entries
        );
        self.exceeded_quota(operation, &shown(path), &limit);
        ErrorCode::InsufficientSpace
    }
}

/// A name that may come, go or change: not the beginning of a tree, which is the operator's.
fn changeable(target: Target) -> Outcome<Named> {
    match target {
        Target::Name(named) if named.guest != named.parent.mount.guest => Ok(named),
        Target::Name(_) | Target::Dir(_) => Err(ErrorCode::Busy),
    }
}
