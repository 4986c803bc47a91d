//! World `stream-plugin`: inputs of any length, in constant memory.
//!
//! The author writes a [`Transform`] that is fed one chunk after the other; reading, writing and
//! waiting for a slow reader are done here. The output of a chunk is handed on before the next
//! chunk is read, so a plugin holds one of each at a time.

use serde::de::DeserializeOwned;
use wit_bindgen::{FutureWriter, StreamReader, StreamResult, StreamWriter};

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::stream_transformer as wit;
use crate::bindings::{wit_future, wit_stream};
use crate::{Error, Plugin, Result, options};

/// How much is read at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// One stream being worked on.
pub trait Transform: 'static {
    /// Takes the next bytes of the input and appends what they become to `output`.
    ///
    /// # Errors
    /// Ends the stream after the `output` so far; `finished` says why.
    fn chunk(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<()>;

    /// Called once after the last chunk, for what is still to be written.
    ///
    /// # Errors
    /// As [`Transform::chunk`].
    fn end(&mut self, output: &mut Vec<u8>) -> Result<()> {
        let _ = output;
        Ok(())
    }
}

/// Works on streams.
pub trait StreamPlugin: Plugin {
    /// The options of a stream; see [`crate::options`].
    type Options: DeserializeOwned;
    /// What works on one stream.
    type Transform: Transform;

    /// Starts a stream of the media type `content_type`; answers with what will work on it and
    /// the media type that comes out.
    ///
    /// # Errors
    /// An error means that nothing will be produced.
    fn open(&self, content_type: &str, options: Self::Options)
    -> Result<(Self::Transform, String)>;
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: StreamPlugin,
{
    async fn transform(
        input: StreamReader<u8>,
        options: wit::StreamOptions,
    ) -> Result<wit::StreamOutput, String> {
        let opened = super::with::<E, _>(|plugin| {
            plugin.open(&options.content_type, options::from_pairs(&options.options)?)
        });
        let (transform, content_type) = opened.map_err(Error::into_wire)?;
        let (writer, data) = wit_stream::new();
        let (done, finished) = wit_future::new(|| Err("the stream was given up".to_owned()));
        wit_bindgen::spawn_local(pump(input, transform, writer, done));
        Ok(wit::StreamOutput { content_type, data, finished })
    }
}

/// Moves a stream through `transform` until one of its ends is gone.
async fn pump(
    mut input: StreamReader<u8>,
    mut transform: impl Transform,
    mut writer: StreamWriter<u8>,
    done: FutureWriter<Result<(), String>>,
) {
    let mut buffer = Vec::with_capacity(CHUNK_BYTES);
    let mut output = Vec::new();
    let result = loop {
        let (status, chunk) = input.read(buffer).await;
        let last = !matches!(status, StreamResult::Complete(_));
        let mut step = if chunk.is_empty() { Ok(()) } else { transform.chunk(&chunk, &mut output) };
        if last && step.is_ok() {
            step = transform.end(&mut output);
        }
        if !output.is_empty() {
            output = writer.write_all(output).await;
            if !output.is_empty() {
                break Ok(()); // Nobody reads any more; there is nothing left to report either.
            }
        }
        if last || step.is_err() {
            break step;
        }
        buffer = chunk;
        buffer.clear();
    };
    // The end of the data comes before the word on whether it is whole.
    drop(writer);
    // Fails only where nobody waits for it.
    let _ = done.write(result.map_err(Error::into_wire)).await;
}

/// Exports a [`StreamPlugin`] as the world `stream-plugin`.
#[macro_export]
macro_rules! stream_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::StreamPlugin, STREAM_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
            stream_transformer __export_toolsku_plugin_system_stream_transformer_1_1_0_cabi
        );
    };
}
