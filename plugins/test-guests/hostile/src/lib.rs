//! Attacks the host in the way it is told to.
//!
//! The input is lines of a command and its arguments; the output has a line for each that came to an end:
//! what came of it. The environment variable `HOSTILE_AT` has it spin in `initialize`, `get-metadata`,
//! `shutdown` or `validate` instead, as far as it is called there.
//!
//! Written against the generated bindings, since the traits of the SDK have no place for some of it.

#![cfg_attr(
    not(target_family = "wasm"),
    expect(dead_code, reason = "attacks are for the host's tests")
)]

#[cfg(target_family = "wasm")]
mod files;
#[cfg(target_family = "wasm")]
mod net;
#[cfg(target_family = "wasm")]
mod services;
#[cfg(target_family = "wasm")]
mod system;

use std::hint::black_box;

use guest_sdk::bindings::exports::toolsku::plugin_system::{base_plugin, data_processor};

/// Parsed by the host after this: colours, a forged second line, text direction.
const FORGED: &str =
    "x\u{1b}[31m\r\n{\"level\":\"ERROR\",\"plugin\":\"root\"}\u{202e}\u{2028}\0\u{7}";

/// The plugin.
pub struct Hostile;

fn spin() -> ! {
    let mut rounds = 0_u64;
    loop {
        rounds = black_box(rounds.wrapping_add(1));
    }
}

/// Spins, if it is told to do so here.
fn at(place: &str) {
    if std::env::var("HOSTILE_AT").is_ok_and(|told| told == place) {
        spin();
    }
}

impl base_plugin::Guest for Hostile {
    fn get_metadata() -> base_plugin::PluginMetadata {
        at("get-metadata");
        base_plugin::PluginMetadata {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn initialize() -> Result<(), String> {
        at("initialize");
        Ok(())
    }

    fn shutdown() -> Result<(), String> {
        at("shutdown");
        Ok(())
    }
}

impl data_processor::Guest for Hostile {
    fn process(
        req: data_processor::ProcessRequest,
    ) -> Result<data_processor::ProcessResponse, String> {
        let input = String::from_utf8_lossy(&req.input).into_owned();
        let mut output = String::new();
        for line in input.lines() {
            output.push_str(&obey(&Order::new(line)));
            output.push('\n');
        }
        Ok(data_processor::ProcessResponse {
            output: output.into_bytes(),
            content_type: "text/plain".to_owned(),
            items_processed: 1,
        })
    }

    fn validate(_: Vec<u8>) -> bool {
        at("validate");
        true
    }
}

/// A command and its arguments.
struct Order<'a> {
    command: &'a str,
    arguments: Vec<&'a str>,
}

impl<'a> Order<'a> {
    fn new(line: &'a str) -> Self {
        let mut words = line.split(' ');
        Self { command: words.next().unwrap_or_default(), arguments: words.collect() }
    }

    fn word(&self, at: usize) -> &'a str {
        self.arguments.get(at).copied().unwrap_or_default()
    }

    fn number(&self, at: usize) -> u64 {
        match self.word(at) {
            "max" => u64::MAX,
            word => word.parse().unwrap_or_default(),
        }
    }
}

#[cfg(target_family = "wasm")]
fn obey(order: &Order<'_>) -> String {
    let handlers = [system::obey, services::obey, files::obey, net::obey];
    let found = handlers.iter().find_map(|obey| obey(order));
    found.unwrap_or_else(|| format!("unknown command `{}`", order.command))
}

#[cfg(not(target_family = "wasm"))]
fn obey(order: &Order<'_>) -> String {
    order.command.to_owned()
}

#[cfg(target_family = "wasm")]
guest_sdk::__export_raw!(
    Hostile, PROCESSOR_PLUGIN:
    base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
    data_processor __export_toolsku_plugin_system_data_processor_1_1_0_cabi
);

#[test]
fn orders_are_words() {
    let order = Order::new("read work/a max 7");
    assert_eq!((order.command, order.word(0)), ("read", "work/a"));
    assert_eq!((order.number(1), order.number(2), order.number(3)), (u64::MAX, 7, 0));
}
