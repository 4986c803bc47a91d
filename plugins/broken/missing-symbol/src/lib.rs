//! Calls a function that nobody defines: building it fails at the link.

use guest_sdk::prelude::*;

unsafe extern "C" {
    safe fn defined_by_nobody() -> u32;
}

struct Broken;

impl Plugin for Broken {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl Processor for Broken {
    type Options = ();

    fn process(&self, _: Input, (): ()) -> Result<Output> {
        Ok(Output::text(defined_by_nobody().to_string()))
    }
}

guest_sdk::processor_plugin!(Broken);
