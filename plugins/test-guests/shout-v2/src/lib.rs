//! Upper-cases text as often as option `times` says, by the second contract.

use guest_sdk::prelude::*;

const TIMES_MAX: u32 = 1000;

struct Shout;

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Options {
    times: Option<u32>,
}

impl PluginV2 for Shout {
    type Options = Options;

    fn process(input: String, options: Options) -> Result<String> {
        let times = options.times.unwrap_or(1);
        ensure!(times <= TIMES_MAX, "option `times`: at most {TIMES_MAX}, got {times}");
        Ok(vec![input.to_uppercase(); times as usize].join(" "))
    }
}

guest_sdk::plugin_v2!(Shout);

#[test]
fn text_is_repeated_as_often_as_asked() {
    let options = Options { times: Some(2) };
    assert_eq!(Shout::process("hey".to_owned(), options).unwrap(), "HEY HEY");
}
