//! On pictures made here and on those in `samples/`.

use std::io::Cursor;

use guest_sdk::testing::Harness;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::{Error, ImageProcessor, Output, scale};

const PHOTO_JPG: &[u8] = include_bytes!("../../../samples/photo.jpg");
const PHOTO_PNG: &[u8] = include_bytes!("../../../samples/photo.png");
const PHOTO_WEBP: &[u8] = include_bytes!("../../../samples/photo.webp");

fn run(bytes: &[u8], content_type: &str, options: &[(&str, &str)]) -> Result<Output, Error> {
    let mut plugin = Harness::<ImageProcessor>::new().unwrap();
    for (name, value) in options {
        plugin.option(name, value);
    }
    plugin.process(bytes, content_type)
}

#[track_caller]
fn check(bytes: &[u8], options: &[(&str, &str)], format: ImageFormat, size: (u32, u32)) {
    let output = run(bytes, "", options).unwrap();
    assert_eq!(output.content_type, format.to_mime_type());
    assert_eq!(image::guess_format(&output.bytes).unwrap(), format);
    let picture = image::load_from_memory(&output.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), size);
}

#[track_caller]
fn refused(bytes: &[u8], content_type: &str, options: &[(&str, &str)], expected: &str) {
    let error = run(bytes, content_type, options).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn gradient(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| Rgb([(x % 256) as u8, (y % 256) as u8, 128]);
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel))
}

#[test]
fn each_format_is_resized_and_kept() {
    check(PHOTO_JPG, &[("width", "320")], ImageFormat::Jpeg, (320, 180));
    check(PHOTO_PNG, &[("height", "90")], ImageFormat::Png, (160, 90));
    check(PHOTO_WEBP, &[("width", "100"), ("height", "100")], ImageFormat::WebP, (100, 56));
}

#[test]
fn each_format_is_made_of_each_other() {
    for format in ["png", "jpeg", "webp"] {
        let wanted = ImageFormat::from_extension(format).unwrap();
        check(PHOTO_PNG, &[("width", "64"), ("format", format)], wanted, (64, 36));
    }
}

#[test]
fn a_small_picture_grows_only_when_asked() {
    let small = encoded(&gradient(20, 10), ImageFormat::Png);
    check(&small, &[("width", "40")], ImageFormat::Png, (20, 10));
    check(&small, &[("width", "40"), ("enlarge", "true")], ImageFormat::Png, (40, 20));
}

#[test]
fn the_box_is_never_exceeded_and_no_side_vanishes() {
    assert_eq!(scale::fit((1000, 1), (Some(10), None), false), (10, 1));
    assert_eq!(scale::fit((3, 2), (Some(2), Some(2)), false), (2, 1));
    assert_eq!(scale::fit((4000, 3000), (Some(333), Some(250)), false), (333, 250));
    assert_eq!(scale::fit((10, 10), (None, None), true), (10, 10));
}

#[test]
fn a_lower_quality_makes_a_smaller_jpeg() {
    let size = |quality| {
        run(PHOTO_PNG, "", &[("format", "jpeg"), ("quality", quality)]).unwrap().bytes.len()
    };
    assert!(size("20") < size("85"));
    assert_eq!(size("85"), run(PHOTO_PNG, "", &[("format", "jpeg")]).unwrap().bytes.len());
}

#[test]
fn a_picture_on_its_side_is_turned_upright_and_the_box_means_the_result() {
    let jpeg = encoded(&gradient(40, 20), ImageFormat::Jpeg);
    let mut turned = jpeg[..2].to_vec();
    // An EXIF segment that says orientation 6: turn by 90 degrees to the right.
    turned.extend(b"\xFF\xE1\x00\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    turned.extend(&jpeg[2..]);
    check(&turned, &[], ImageFormat::Jpeg, (20, 40));
    check(&turned, &[("width", "10")], ImageFormat::Jpeg, (10, 20));
}

#[test]
fn transparency_becomes_white_in_a_jpeg() {
    let clear = DynamicImage::ImageRgba8(RgbaImage::from_pixel(16, 16, Rgba([200, 0, 0, 0])));
    let output = run(&encoded(&clear, ImageFormat::Png), "", &[("format", "jpeg")]).unwrap();
    let pixel = image::load_from_memory(&output.bytes).unwrap().into_rgb8().get_pixel(8, 8).0;
    assert!(pixel.iter().all(|&channel| channel > 250), "{pixel:?}");
}

#[test]
fn what_cannot_be_seen_does_not_colour_what_can() {
    let pixel = |x: u32, _: u32| if x < 32 { Rgba([0, 0, 255, 255]) } else { Rgba([255, 0, 0, 0]) };
    let half = DynamicImage::ImageRgba8(RgbaImage::from_fn(64, 64, pixel));
    let output = run(&encoded(&half, ImageFormat::Png), "", &[("width", "7")]).unwrap();
    let scaled = image::load_from_memory(&output.bytes).unwrap().into_rgba8();
    assert!(scaled.pixels().all(|pixel| pixel.0[0] == 0), "red came in");
    assert!(scaled.pixels().any(|pixel| (1..255).contains(&pixel.0[3])));
}

#[test]
fn sixteen_bit_and_grey_pictures_are_resized_too() {
    let deep = DynamicImage::ImageRgb16(gradient(64, 32).into_rgb16());
    check(&encoded(&deep, ImageFormat::Png), &[("width", "16")], ImageFormat::Png, (16, 8));
    let grey = DynamicImage::ImageLuma8(gradient(64, 32).into_luma8());
    let png = encoded(&grey, ImageFormat::Png);
    for format in ["png", "jpeg", "webp"] {
        let wanted = ImageFormat::from_extension(format).unwrap();
        check(&png, &[("width", "16"), ("format", format)], wanted, (16, 8));
    }
}

#[test]
fn the_content_type_has_to_agree_with_the_bytes() {
    refused(PHOTO_PNG, "image/jpeg", &[], "says image/jpeg, but the bytes are image/png");
    refused(PHOTO_PNG, "text/plain", &[], "content type `text/plain`");
    assert!(run(PHOTO_PNG, "image/png", &[("width", "8")]).is_ok());
}

#[test]
fn options_out_of_bounds_are_named() {
    refused(PHOTO_PNG, "", &[("width", "0")], "option `width`: expected 1 to 8192, got 0");
    refused(PHOTO_PNG, "", &[("height", "8193")], "option `height`");
    refused(PHOTO_JPG, "", &[("quality", "101")], "option `quality`: expected 1 to 100");
    refused(PHOTO_PNG, "", &[("quality", "50")], "only jpeg has one");
    refused(
        PHOTO_PNG,
        "",
        &[("format", "gif")],
        "option `format`: expected `png`, `jpeg` or `webp`",
    );
}

#[test]
fn garbage_and_cut_off_pictures_are_errors() {
    refused(b"", "", &[], "the input is empty");
    refused(b"GIF89a", "", &[], "neither png, jpeg nor webp");
    for photo in [PHOTO_JPG, PHOTO_PNG, PHOTO_WEBP] {
        for len in [12, 20, 64, 700, photo.len() / 2, photo.len() - 40] {
            assert!(run(&photo[..len], "", &[("width", "8")]).is_err(), "{len} bytes passed");
        }
    }
}

#[test]
fn a_damaged_picture_never_panics() {
    for photo in [PHOTO_PNG, PHOTO_WEBP] {
        for step in 0..24 {
            let mut bytes = photo.to_vec();
            let at = step * step * 97 % bytes.len();
            bytes[at] ^= 0x55;
            let _ = run(&bytes, "", &[("width", "8")]);
        }
    }
}

/// A png whose header promises a size that its few bytes cannot hold.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(&gradient(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = bytes[12..29].iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    });
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[test]
fn a_bomb_is_refused_before_anything_is_allocated_for_it() {
    refused(
        &bomb(20_000, 20_000),
        "",
        &[("width", "8")],
        "decoding a picture of 20000x20000 pixels takes 1201 MB",
    );
    refused(&bomb(70_000, 1), "", &[], "cannot be read");
    refused(&bomb(u32::MAX, u32::MAX), "", &[], "cannot be read");
    // What fits is tried, and then found to be cut off.
    refused(&bomb(100, 100), "", &[], "cannot be read");
}

#[test]
fn a_result_that_does_not_fit_is_refused() {
    let small = encoded(&gradient(16, 16), ImageFormat::Png);
    refused(&small, "", &[("width", "8000"), ("enlarge", "true")], "scaling to 8000x8000");
    let wide = encoded(&gradient(9000, 2), ImageFormat::Png);
    refused(&wide, "", &[], "the output would be 9000x2 pixels");
}
