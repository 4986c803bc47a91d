//! What keeps a failing plugin from failing more.
//!
//! [`breaker`] refuses calls to a revision that fails again and again; [`poison`] refuses inputs on which
//! a plugin broke again and again. Both take time as a value and decide at once: neither waits, and
//! neither calls a guest.
//! Not here: which outcome counts as a failure. Who calls a guest knows.

pub(crate) mod breaker;
pub(crate) mod poison;
