//! Compresses or decompresses a stream of any length as gzip.
//!
//! | option  | value                                                                      |
//! |---------|----------------------------------------------------------------------------|
//! | `mode`  | `compress` (default) or `decompress`                                       |
//! | `level` | for `compress`: from 0 (stored as it is) to 9 (smallest), by default 6     |
//!
//! What comes out is `application/gzip` or `application/octet-stream`. The same input and level give
//! the same bytes: there is neither a time nor a name in the header. Several members in a row are
//! decompressed as one stream, and zeros after the last are padding, as for `gzip -d`. An input that
//! is cut, corrupt or followed by something else ends with an error that says so, and at which offset;
//! what was decompressed before that comes out.
//! Not here: the two directions themselves (`compress`, `decompress`).

mod compress;
mod decompress;
mod header;
#[cfg(test)]
mod tests;

use guest_sdk::prelude::*;

use compress::Compressor;
use decompress::Decompressor;

const LEVEL_DEFAULT: u32 = 6;

const LEVEL_MAX: u32 = 9;

struct Gzip;

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    mode: Mode,
    level: Option<u32>,
}

#[derive(serde::Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Compress,
    Decompress,
}

enum Work {
    Compress(Compressor),
    Decompress(Decompressor),
}

impl Plugin for Gzip {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl StreamPlugin for Gzip {
    type Options = Options;
    type Transform = Work;

    fn open(&self, _: &str, options: Options) -> Result<(Work, String)> {
        match options.mode {
            Mode::Compress => {
                let level = options.level.unwrap_or(LEVEL_DEFAULT);
                ensure!(
                    level <= LEVEL_MAX,
                    "option `level`: expected a whole number from 0 to {LEVEL_MAX}, got `{level}`"
                );
                Ok((Work::Compress(Compressor::new(level)), "application/gzip".to_owned()))
            }
            Mode::Decompress => {
                ensure!(options.level.is_none(), "option `level`: only `mode=compress` has one");
                let work = Work::Decompress(Decompressor::new());
                Ok((work, "application/octet-stream".to_owned()))
            }
        }
    }
}

impl Transform for Work {
    async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()> {
        match self {
            Self::Compress(compressor) => compressor.chunk(input, output).await,
            Self::Decompress(decompressor) => decompressor.chunk(input, output).await,
        }
    }

    async fn end(&mut self, output: &mut Writer) -> Result<()> {
        match self {
            Self::Compress(compressor) => compressor.end(output).await,
            Self::Decompress(decompressor) => decompressor.end(),
        }
    }
}

guest_sdk::stream_plugin!(Gzip);
