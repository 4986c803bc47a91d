//! Misbehaves in the way that option `do` asks for.
//!
//! Written against the generated bindings and not against the traits of the SDK: the SDK would
//! cap the error text.

use std::hint::black_box;
use std::time::Duration;

use guest_sdk::bindings::exports::toolsku::plugin_system::{base_plugin, data_processor};

/// Parsed by the host after this: colours, a forged second line, text direction.
const ESCAPES: &str = "\u{1b}[31mred\u{1b}[0m\nforged: line\r\u{202e}txet desrever\u{7}";
const ERROR_BYTES: usize = 4 * 1024 * 1024;
const LINES: u64 = 1_000_000;

/// The plugin.
pub struct Misbehaving;

impl base_plugin::Guest for Misbehaving {
    fn get_metadata() -> base_plugin::PluginMetadata {
        base_plugin::PluginMetadata {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn initialize() -> Result<(), String> {
        Ok(())
    }

    fn shutdown() -> Result<(), String> {
        Ok(())
    }
}

impl data_processor::Guest for Misbehaving {
    fn process(
        req: data_processor::ProcessRequest,
    ) -> Result<data_processor::ProcessResponse, String> {
        let option = |name: &str| {
            req.options.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
        };
        let number = |name: &str, default: u64| match option(name) {
            Some(value) => value.parse().map_err(|_| format!("option `{name}`: not a number")),
            None => Ok(default),
        };
        let output = misbehave(option("do").unwrap_or("ok"), &number)?;
        let content_type = "application/octet-stream".to_owned();
        Ok(data_processor::ProcessResponse { output, content_type, items_processed: 1 })
    }

    fn validate(_: Vec<u8>) -> bool {
        true
    }
}

fn misbehave(
    how: &str,
    number: &dyn Fn(&str, u64) -> Result<u64, String>,
) -> Result<Vec<u8>, String> {
    match how {
        "ok" => Ok(b"ok".to_vec()),
        "panic" => panic!("asked to panic"),
        "unreachable" => trap(),
        "loop" => {
            let mut rounds = 0_u64;
            loop {
                rounds = black_box(rounds.wrapping_add(1));
            }
        }
        "recurse" => Ok(recurse(0).to_le_bytes().to_vec()),
        "allocate" => {
            let mut blocks = Vec::new();
            loop {
                blocks.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "exit" => std::process::exit(0),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number("ms", 1000)?));
            Ok(b"slept".to_vec())
        }
        "flood-stdout" => {
            let line = "stdout ".repeat(64);
            for count in 0..number("lines", LINES)? {
                println!("{count} {line}");
            }
            Ok(b"flooded".to_vec())
        }
        "flood-log" => {
            let logger =
                guest_sdk::bindings::toolsku::host_api::host_services::Logger::new("flood");
            let line = "log ".repeat(64);
            for count in 0..number("lines", LINES)? {
                logger.log(
                    guest_sdk::bindings::toolsku::host_api::host_services::LogLevel::Info,
                    &format!("{count} {line}"),
                );
            }
            Ok(b"flooded".to_vec())
        }
        "handles" => {
            let one = || guest_sdk::bindings::toolsku::host_api::host_services::Logger::new("held");
            let held: Vec<_> = (0..number("count", 100_000)?).map(|_| one()).collect();
            Ok(held.len().to_string().into_bytes())
        }
        "huge-output" => {
            let bytes = number("bytes", 1 << 30)?;
            Ok(vec![b'x'; usize::try_from(bytes).map_err(|_| "option `bytes`: too large")?])
        }
        "error" => Err("e".repeat(ERROR_BYTES)),
        "escape-codes" => {
            let logger =
                guest_sdk::bindings::toolsku::host_api::host_services::Logger::new("escape-codes");
            logger.log(
                guest_sdk::bindings::toolsku::host_api::host_services::LogLevel::Error,
                ESCAPES,
            );
            Err(ESCAPES.to_owned())
        }
        other => Err(format!("option `do`: unknown `{other}`")),
    }
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}

/// Uses the engine's stack and next to none of the memory's, so that it is the former that ends.
#[expect(unconditional_recursion, reason = "what it is for")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    recurse(black_box(depth) + 1).wrapping_add(black_box(depth))
}

#[cfg(target_family = "wasm")]
guest_sdk::__export_raw!(
    Misbehaving, PROCESSOR_PLUGIN:
    base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
    data_processor __export_toolsku_plugin_system_data_processor_1_1_0_cabi
);

#[test]
fn it_can_also_behave() {
    assert_eq!(misbehave("ok", &|_, default| Ok(default)).unwrap(), b"ok");
}
