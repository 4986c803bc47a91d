//! How large the result is to be, and Lanczos3 to make it so.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};
use guest_sdk::prelude::*;
use image::{ColorType, DynamicImage, ImageBuffer};

use crate::decode::Pixels;

/// The largest size of the same aspect ratio that fits into the box; a side that is not given
/// bounds nothing. Never below one pixel, and above the size itself only to `enlarge`.
pub(crate) fn fit(
    size: (u32, u32),
    within: (Option<u32>, Option<u32>),
    enlarge: bool,
) -> (u32, u32) {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let across = within.0.map(|most| f64::from(most) / width);
    let down = within.1.map(|most| f64::from(most) / height);
    let factor = match (across, down) {
        (Some(across), Some(down)) => across.min(down),
        (Some(factor), None) | (None, Some(factor)) => factor,
        (None, None) => return size,
    };
    if factor >= 1.0 && !enlarge {
        return size;
    }
    let scaled = |side: f64, most: Option<u32>| {
        let side = (side * factor).round().clamp(1.0, f64::from(u32::MAX)) as u32;
        side.min(most.unwrap_or(u32::MAX))
    };
    (scaled(width, within.0), scaled(height, within.1))
}

/// Scales `pixels` to `target`.
pub(crate) fn scale(pixels: Pixels, target: (u32, u32)) -> Result<DynamicImage> {
    let (colour, (width, height)) = (pixels.colour, pixels.size);
    if target == pixels.size {
        return picture(colour, target, pixels.bytes);
    }
    let kind = match colour {
        ColorType::L8 => PixelType::U8,
        ColorType::La8 => PixelType::U8x2,
        ColorType::Rgb8 => PixelType::U8x3,
        ColorType::Rgba8 => PixelType::U8x4,
        ColorType::L16 => PixelType::U16,
        ColorType::La16 => PixelType::U16x2,
        ColorType::Rgb16 => PixelType::U16x3,
        ColorType::Rgba16 => PixelType::U16x4,
        other => bail!("pictures of the colour type {other:?} are not taken"),
    };
    let mut source = Image::from_vec_u8(width, height, pixels.bytes, kind)?;
    let mut result = Image::new(target.0, target.1, kind);
    // Colours count by how much of them shows. In place: the resizer itself would copy the source.
    let alpha = MulDiv::new();
    if colour.has_alpha() {
        alpha.multiply_alpha_inplace(&mut source)?;
    }
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(false);
    Resizer::new().resize(&source, &mut result, &options)?;
    drop(source);
    if colour.has_alpha() {
        alpha.divide_alpha_inplace(&mut result)?;
    }
    picture(colour, target, result.into_vec())
}

fn picture(colour: ColorType, (width, height): (u32, u32), bytes: Vec<u8>) -> Result<DynamicImage> {
    let wide = |bytes: Vec<u8>| -> Vec<u16> {
        bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect()
    };
    let picture = match colour {
        ColorType::L8 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        ColorType::La8 => {
            ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8)
        }
        ColorType::Rgb8 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        ColorType::Rgba8 => {
            ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8)
        }
        ColorType::L16 => {
            ImageBuffer::from_raw(width, height, wide(bytes)).map(DynamicImage::ImageLuma16)
        }
        ColorType::La16 => {
            ImageBuffer::from_raw(width, height, wide(bytes)).map(DynamicImage::ImageLumaA16)
        }
        ColorType::Rgb16 => {
            ImageBuffer::from_raw(width, height, wide(bytes)).map(DynamicImage::ImageRgb16)
        }
        ColorType::Rgba16 => {
            ImageBuffer::from_raw(width, height, wide(bytes)).map(DynamicImage::ImageRgba16)
        }
        other => bail!("pictures of the colour type {other:?} are not taken"),
    };
    picture.context("the decoder gave fewer pixels than it said")
}
