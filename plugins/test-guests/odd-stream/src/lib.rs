//! Treats streams in the way that the option `do` asks for. What comes out:
//!
//! - `copy`: what goes in
//! - `return`: the input stream itself, not touched
//! - `stall`: nothing, and nothing is read
//! - `swallow`: nothing, once all was read
//! - `flood`: bytes without an end, and nothing is read
//! - `count`: how many bytes were read, once all were
//! - `spin`, `trap`, `sleep`: nothing, after the first bytes that came in
//! - `refuse`: an error before anything else
//! - `doubt`: what goes in, and last an error
//! - `forget`: what goes in, without a word on whether it is whole
//! - `linger`: what goes in, and then it never ends
//! - `keep`: nothing, and the end that it reads from is kept when all is over
//! - `kept`: what is to be read from the end that was kept
//! - `blame`: nothing: it gives up a read, and then waits for ever
//!
//! Written against the generated bindings, since the traits of the SDK have no place for most of it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::hint::black_box;
use std::task::Poll;
use std::time::Duration;

use guest_sdk::bindings::exports::toolsku::plugin_system::{base_plugin, stream_transformer};
use guest_sdk::bindings::{wit_future, wit_stream};
use wit_bindgen::{FutureWriter, StreamReader, StreamResult, StreamWriter};

/// The plugin.
pub struct OddStream;

impl base_plugin::Guest for OddStream {
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

impl stream_transformer::Guest for OddStream {
    async fn transform(
        input: StreamReader<u8>,
        options: stream_transformer::StreamOptions,
    ) -> Result<stream_transformer::StreamOutput, String> {
        let told = options.options.iter().find(|(name, _)| name == "do");
        let how = told.map_or("copy", |(_, how)| how.as_str()).to_owned();
        if how == "refuse" {
            return Err("told to refuse".to_owned());
        }
        let content_type = options.content_type;
        let (done, finished) = wit_future::new(|| Err("given up".to_owned()));
        if how == "return" {
            wit_bindgen::spawn_local(async move {
                let _ = done.write(Ok(())).await;
            });
            return Ok(stream_transformer::StreamOutput { content_type, data: input, finished });
        }
        let input = match how.as_str() {
            "keep" => {
                KEPT.set(Some(input));
                wit_stream::new().1
            }
            "kept" => KEPT.take().ok_or("nothing was kept")?,
            _ => input,
        };
        let (writer, data) = wit_stream::new();
        wit_bindgen::spawn_local(work(how, input, writer, done));
        Ok(stream_transformer::StreamOutput { content_type, data, finished })
    }
}

std::thread_local! {
    static KEPT: RefCell<Option<StreamReader<u8>>> = const { RefCell::new(None) };
}

async fn work(
    how: String,
    mut input: StreamReader<u8>,
    mut writer: StreamWriter<u8>,
    done: FutureWriter<Result<(), String>>,
) {
    let mut total = 0_u64;
    let mut buffer = Vec::with_capacity(64 << 10);
    match how.as_str() {
        "stall" => wait_for_ever().await,
        "keep" => {}
        "blame" => {
            let mut read = Box::pin(input.read(buffer));
            poll_fn(|cx| {
                let _ = read.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            wit_bindgen::yield_async().await;
            drop(read);
            drop(input);
            wait_for_ever().await;
        }
        "flood" => while writer.write_all(vec![b'x'; 64 << 10]).await.is_empty() {},
        _ => loop {
            let (status, mut chunk) = input.read(buffer).await;
            total += chunk.len() as u64;
            match how.as_str() {
                "spin" => loop {
                    black_box(total);
                },
                "trap" => std::process::abort(),
                "sleep" => std::thread::sleep(Duration::from_secs(60)),
                "swallow" | "count" => {}
                _ => {
                    chunk = writer.write_all(chunk).await;
                    if !chunk.is_empty() {
                        return;
                    }
                }
            }
            buffer = chunk;
            buffer.clear();
            if !matches!(status, StreamResult::Complete(_)) {
                break;
            }
        },
    }
    if how == "count" {
        writer.write_all(total.to_string().into_bytes()).await;
    }
    drop(writer);
    match how.as_str() {
        "doubt" => drop(done.write(Err("told to doubt".to_owned())).await),
        "forget" => std::mem::forget(done),
        _ => drop(done.write(Ok(())).await),
    }
    if how == "linger" {
        wait_for_ever().await;
    }
}

/// For something that does not come: with nothing to wait for, the runtime gives up.
async fn wait_for_ever() {
    let (_writer, mut reader) = wit_stream::new();
    let _: (StreamResult, Vec<u8>) = reader.read(Vec::with_capacity(1)).await;
}

#[cfg(target_family = "wasm")]
guest_sdk::__export_raw!(
    OddStream, STREAM_PLUGIN:
    base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
    stream_transformer __export_toolsku_plugin_system_stream_transformer_1_1_0_cabi
);
