//! From pixels to bytes.

use guest_sdk::prelude::*;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, RgbaImage};

/// Writes `picture` in `format`. Webp is written lossless.
pub(crate) fn encode(
    picture: DynamicImage,
    format: ImageFormat,
    quality: u8,
    profile: Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let result = match format {
        ImageFormat::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            write(encoder, &opaque(picture), profile)
        }
        ImageFormat::WebP => {
            write(WebPEncoder::new_lossless(&mut bytes), &eight_bit(picture), profile)
        }
        _ => write(PngEncoder::new(&mut bytes), &picture, profile),
    };
    result.context("the picture cannot be written")?;
    Ok(bytes)
}

fn write(
    mut encoder: impl ImageEncoder,
    picture: &DynamicImage,
    profile: Option<Vec<u8>>,
) -> image::ImageResult<()> {
    if let Some(profile) = profile {
        // A format that cannot carry it gets the picture without it.
        let _ = encoder.set_icc_profile(profile);
    }
    picture.write_with_encoder(encoder)
}

/// Jpeg knows no transparency: what shows through is white.
fn opaque(picture: DynamicImage) -> DynamicImage {
    match eight_bit(picture) {
        DynamicImage::ImageRgba8(picture) => DynamicImage::ImageRgb8(on_white(&picture)),
        DynamicImage::ImageLumaA8(picture) => {
            let picture = DynamicImage::ImageLumaA8(picture).into_rgba8();
            DynamicImage::ImageLuma8(DynamicImage::ImageRgb8(on_white(&picture)).into_luma8())
        }
        other => other,
    }
}

fn on_white(picture: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let over = |channel: u8| {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            // At most 255: a mean of two channels, weighted by alpha.
            ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        Rgb([over(red), over(green), over(blue)])
    })
}

fn eight_bit(picture: DynamicImage) -> DynamicImage {
    match picture {
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLuma8(picture.into_luma8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLumaA8(picture.into_luma_alpha8()),
        DynamicImage::ImageRgb16(_) => DynamicImage::ImageRgb8(picture.into_rgb8()),
        DynamicImage::ImageRgba16(_) => DynamicImage::ImageRgba8(picture.into_rgba8()),
        other => other,
    }
}
