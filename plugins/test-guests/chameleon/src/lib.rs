//! One component that tests turn into many versions: by writing other digits, as many, into its bytes.
//!
//! It answers with its version and its input. Of `KNOBS`, `fail` is how many of a thousand calls fail, `spin`
//! how many thousand rounds a call takes longer, `start=0` has it not initialize, `keep=1` has it keep its
//! input as `last` in its configuration, tell of it as `chameleon.kept`, and answer what it had kept before, and
//! `tell=1` has it answer which instance it is, and which of its calls this was.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;

use guest_sdk::bindings::exports::toolsku::plugin_system::{base_plugin, data_processor};
use guest_sdk::prelude::*;
use guest_sdk::{config, events};

static KNOBS: [u8; 64] = *b"KNOBS version=1.0.0 fail=0000 spin=00000 start=1 keep=0 tell=0 .";

/// What stands after `name=` in the knobs.
fn knob(name: &str) -> String {
    // The bytes that are there when it runs, and not those that the compiler saw.
    let knobs = String::from_utf8_lossy(black_box(&KNOBS)).into_owned();
    let mut words = knobs.split(' ');
    let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().to_owned()
}

fn number(name: &str) -> u64 {
    knob(name).parse().unwrap_or_default()
}

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    /// No other instance has this one.
    static INSTANCE: u64 = RandomState::new().hash_one(0);
}

/// The plugin. Written against the generated bindings: the SDK would tell the version of the package.
pub struct Chameleon;

impl base_plugin::Guest for Chameleon {
    fn get_metadata() -> base_plugin::PluginMetadata {
        base_plugin::PluginMetadata {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: knob("version"),
        }
    }

    fn initialize() -> std::result::Result<(), String> {
        match number("start") {
            0 => Err("it is told not to start".to_owned()),
            _ => Ok(()),
        }
    }

    fn shutdown() -> std::result::Result<(), String> {
        Ok(())
    }
}

fn answer(input: &[u8]) -> Result<String> {
    let calls = CALLS.get();
    CALLS.set(calls + 1);
    // Spread over the thousand.
    if (calls * 617) % 1_000 < number("fail") {
        bail!("it is told to fail");
    }
    let mut rounds = 0_u64;
    for round in 0..number("spin") * 1_000 {
        rounds = black_box(rounds.wrapping_add(round));
    }
    let input = String::from_utf8_lossy(input).into_owned();
    let mut answer = format!("{} {input}", knob("version"));
    if number("keep") == 1 {
        let last = config::get("last")?;
        config::set("last", &input)?;
        events::emit("chameleon.kept", &input)?;
        answer.push_str(&format!(" after {}", last.as_deref().unwrap_or("nothing")));
    }
    if number("tell") == 1 {
        answer.push_str(&format!(" {:x} {}", INSTANCE.with(|instance| *instance), calls + 1));
    }
    Ok(answer)
}

impl data_processor::Guest for Chameleon {
    fn process(
        req: data_processor::ProcessRequest,
    ) -> std::result::Result<data_processor::ProcessResponse, String> {
        let output = answer(&req.input).map_err(|error| error.to_string())?.into_bytes();
        let content_type = "text/plain".to_owned();
        Ok(data_processor::ProcessResponse { output, content_type, items_processed: 1 })
    }

    fn validate(_: Vec<u8>) -> bool {
        true
    }
}

#[cfg(target_family = "wasm")]
guest_sdk::__export_raw!(
    Chameleon, PROCESSOR_PLUGIN:
    base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
    data_processor __export_toolsku_plugin_system_data_processor_1_1_0_cabi
);

#[test]
fn knobs_are_read_by_name() {
    assert_eq!((knob("version").as_str(), number("start"), number("spin")), ("1.0.0", 1, 0));
    assert_eq!(answer(b"hello").unwrap(), "1.0.0 hello");
}
