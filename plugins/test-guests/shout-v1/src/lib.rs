//! Upper-cases text, by the first contract.

use guest_sdk::prelude::*;

struct Shout;

impl PluginV1 for Shout {
    fn process(input: String) -> String {
        input.to_uppercase()
    }
}

guest_sdk::plugin_v1!(Shout);

#[test]
fn text_is_upper_cased() {
    assert_eq!(Shout::process("straße".to_owned()), "STRASSE");
}
