//! World `stream-plugin`: inputs of any length, in constant memory.
//!
//! The author writes a [`Transform`] that is fed one chunk after the other and writes what they
//! become to a [`Writer`]; reading, and waiting for a slow reader, are done here. A plugin holds
//! one chunk of input and one piece of output at a time, whatever a chunk becomes. All of that is
//! handed on before the next chunk is read.

#[cfg(test)]
mod tests;

use std::mem;

use serde::de::DeserializeOwned;
use wit_bindgen::{FutureWriter, StreamReader, StreamResult, StreamWriter};

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::stream_transformer as wit;
use crate::bindings::{wit_future, wit_stream};
use crate::{Error, Plugin, Result, ensure, options};

/// How much is read at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// How much of the output is handed on at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// One stream being worked on.
///
/// ```
/// use guest_sdk::prelude::*;
///
/// /// Writes each byte so many times.
/// struct Repeat(usize);
///
/// impl Transform for Repeat {
///     async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()> {
///         for byte in input {
///             for _ in 0..self.0 {
///                 output.write(&[*byte]).await?;
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
#[expect(async_fn_in_trait, reason = "a component has one thread: no future has to be `Send`")]
pub trait Transform: 'static {
    /// Takes the next bytes of the input, at least one, and writes what they become to `output`.
    ///
    /// A chunk may become any number of bytes: `output` holds few of them, so memory stays small
    /// where each part is written as it is made.
    ///
    /// # Errors
    /// Ends the stream after the output so far; `finished` says why.
    async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()>;

    /// Called once after the last chunk, for what is still to be written.
    ///
    /// # Errors
    /// As [`Transform::chunk`].
    async fn end(&mut self, output: &mut Writer) -> Result<()> {
        let _ = output;
        Ok(())
    }
}

/// Where a [`Transform`] writes its output.
pub struct Writer {
    reader: Reader,
    /// Written and not handed on yet: at most [`PIECE_BYTES`].
    piece: Vec<u8>,
    /// Whether the reader is gone.
    abandoned: bool,
}

enum Reader {
    Host(StreamWriter<u8>),
    #[cfg(not(target_family = "wasm"))]
    Test(TestReader),
}

/// Takes a piece; `false` when it wants no more.
#[cfg(not(target_family = "wasm"))]
type TestReader = Box<dyn FnMut(&[u8]) -> bool>;

impl Writer {
    fn new(reader: Reader) -> Self {
        Self { reader, piece: Vec::with_capacity(PIECE_BYTES), abandoned: false }
    }

    /// A writer for native tests; `reader` says whether it wants more.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn for_test(reader: impl FnMut(&[u8]) -> bool + 'static) -> Self {
        Self::new(Reader::Test(Box::new(reader)))
    }

    /// Appends `bytes` to the output.
    ///
    /// The reader gets them in pieces of up to 64 KiB, the last of them when the chunk is done; so
    /// it costs little to write few bytes at a time. Waits while the reader is slow.
    ///
    /// # Errors
    /// When nobody reads any more. Whatever the transform then does, it is the end of the stream.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let room = PIECE_BYTES - self.piece.len();
            let (fitting, rest) = bytes.split_at(room.min(bytes.len()));
            self.piece.extend_from_slice(fitting);
            if rest.is_empty() && !self.abandoned {
                return Ok(());
            }
            self.hand_on().await?;
            bytes = rest;
        }
    }

    /// Hands on what is held back.
    async fn hand_on(&mut self) -> Result<()> {
        if !self.abandoned && !self.piece.is_empty() {
            match &mut self.reader {
                // Gives back what was not taken, in the same allocation.
                Reader::Host(stream) => {
                    self.piece = stream.write_all(mem::take(&mut self.piece)).await;
                }
                #[cfg(not(target_family = "wasm"))]
                Reader::Test(reader) => {
                    if reader(&self.piece) {
                        self.piece.clear();
                    }
                }
            }
            self.abandoned = !self.piece.is_empty();
        }
        ensure!(!self.abandoned, "nobody reads the output");
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
        let output = Writer::new(Reader::Host(writer));
        wit_bindgen::spawn_local(pump(input, transform, output, done));
        Ok(wit::StreamOutput { content_type, data, finished })
    }
}

/// Moves a stream through `transform` until one of its ends is gone.
async fn pump(
    mut input: StreamReader<u8>,
    mut transform: impl Transform,
    mut output: Writer,
    done: FutureWriter<Result<(), String>>,
) {
    let mut buffer = Vec::with_capacity(CHUNK_BYTES);
    let mut result = loop {
        let (status, chunk) = input.read(buffer).await;
        let last = !matches!(status, StreamResult::Complete(_));
        let result = step(&mut transform, &chunk, last, &mut output).await;
        if last || result.is_err() {
            break result;
        }
        buffer = chunk;
        buffer.clear();
    };
    if output.abandoned {
        result = Ok(()); // That nobody reads is no failure of ours, and no news to the host.
    }
    // A host that still writes would otherwise wait for us, while we wait for it to hear us out.
    drop(input);
    // The end of the data comes before the word on whether it is whole.
    drop(output);
    // Fails only where nobody waits for it.
    let _ = done.write(result.map_err(Error::into_wire)).await;
}

/// Moves one chunk through `transform`, and after the `last` its end; the native harness goes the
/// same way. All that this comes to is handed on, even before an error.
pub(crate) async fn step(
    transform: &mut impl Transform,
    chunk: &[u8],
    last: bool,
    output: &mut Writer,
) -> Result<()> {
    let mut result = if chunk.is_empty() { Ok(()) } else { transform.chunk(chunk, output).await };
    if last && result.is_ok() {
        result = transform.end(output).await;
    }
    let handed_on = output.hand_on().await;
    result.and(handed_on)
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
