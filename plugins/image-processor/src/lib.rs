//! Resizes png, jpeg and webp pictures.
//!
//! | option    | value                  | without it                    |
//! |-----------|------------------------|-------------------------------|
//! | `width`   | 1 to 8192 pixels       | follows from `height`         |
//! | `height`  | 1 to 8192 pixels       | follows from `width`          |
//! | `enlarge` | `true` or `false`      | small pictures stay as they are |
//! | `format`  | `png`, `jpeg`, `webp`  | the format of the input       |
//! | `quality` | 1 to 100, jpeg only    | 85                            |
//!
//! The picture is fitted into the box of `width` and `height`, its aspect ratio kept. It is turned
//! upright as its EXIF orientation says; the colour profile is kept, other metadata is not. Only the
//! first picture of an animation is used.
//! Not here: decoding (`decode`), scaling (`scale`), encoding (`encode`).

mod decode;
mod encode;
mod jpeg;
mod scale;
#[cfg(test)]
mod tests;

use guest_sdk::prelude::*;
use image::ImageFormat;
use image::metadata::Orientation;

/// Widest and highest picture that is made, in pixels.
pub const SIDE_PIXELS_MAX: u32 = 8192;

/// What pictures may take up while they are worked on, in bytes. The manifest asks for 128 MB; the
/// rest is for the code's own data and for what the allocator cannot use.
pub const WORK_BYTES_MAX: u64 = 112_000_000;

const QUALITY: u8 = 85;

struct ImageProcessor;

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    width: Option<u32>,
    height: Option<u32>,
    enlarge: bool,
    format: Option<Format>,
    quality: Option<u8>,
}

#[derive(serde::Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Png,
    Jpeg,
    Webp,
}

impl Options {
    fn check(&self, output: ImageFormat) -> Result<()> {
        for (name, side) in [("width", self.width), ("height", self.height)] {
            if let Some(pixels) = side {
                ensure!(
                    (1..=SIDE_PIXELS_MAX).contains(&pixels),
                    "option `{name}`: expected 1 to {SIDE_PIXELS_MAX}, got {pixels}"
                );
            }
        }
        if let Some(quality) = self.quality {
            ensure!(
                (1..=100).contains(&quality),
                "option `quality`: expected 1 to 100, got {quality}"
            );
            ensure!(output == ImageFormat::Jpeg, "option `quality`: only jpeg has one");
        }
        Ok(())
    }
}

impl Plugin for ImageProcessor {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl Processor for ImageProcessor {
    type Options = Options;

    fn process(&self, input: Input, options: Options) -> Result<Output> {
        let input_format = decode::format(&input)?;
        let output_format = match options.format {
            Some(Format::Png) => ImageFormat::Png,
            Some(Format::Jpeg) => ImageFormat::Jpeg,
            Some(Format::Webp) => ImageFormat::WebP,
            None => input_format,
        };
        options.check(output_format)?;

        let mut picture = decode::open(input.bytes, input_format)?;
        let (width, height) = picture.size();
        // Scaling comes before turning, so that what is turned is small: the box is turned instead.
        let (box_width, box_height) = match picture.orientation() {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (options.height, options.width),
            _ => (options.width, options.height),
        };
        let target = scale::fit((width, height), (box_width, box_height), options.enlarge);
        picture.check_cost(target)?;

        let profile = picture.colour_profile();
        let orientation = picture.orientation();
        let pixels = picture.decode()?;
        let mut scaled = scale::scale(pixels, target)?;
        scaled.apply_orientation(orientation);
        let (out_width, out_height) = (scaled.width(), scaled.height());
        let quality = options.quality.unwrap_or(QUALITY);
        let bytes = encode::encode(scaled, output_format, quality, profile)?;
        log::debug!(
            "{input_format:?} {width}x{height} to {output_format:?} {out_width}x{out_height}, {} bytes",
            bytes.len()
        );
        Ok(Output::new(bytes, output_format.to_mime_type()))
    }

    fn validate(&self, input: &[u8]) -> bool {
        decode::sniff(input).is_some()
    }
}

guest_sdk::processor_plugin!(ImageProcessor);
