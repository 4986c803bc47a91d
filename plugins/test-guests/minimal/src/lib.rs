//! Does nothing.

use guest_sdk::prelude::*;

struct Minimal;

impl Plugin for Minimal {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

guest_sdk::minimal_plugin!(Minimal);
