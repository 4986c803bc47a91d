//! From bytes to pixels, refusing what would not fit before anything is allocated for it.

use std::io::Cursor;

use guest_sdk::prelude::*;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::{SIDE_PIXELS_MAX, WORK_BYTES_MAX, jpeg};

/// Widest and highest picture that is read, in pixels: the most that jpeg can express.
const SIDE_PIXELS_IN_MAX: u32 = 65_535;

/// A picture whose header has been read.
pub(crate) struct Picture {
    decoder: Box<dyn Decoder>,
    size: (u32, u32),
    orientation: Orientation,
    /// Bytes that decoding takes, beside the input.
    decode_bytes: u64,
    input_bytes: u64,
}

/// Pixels as they come from a decoder; 16-bit ones in the machine's byte order.
pub(crate) struct Pixels {
    pub(crate) bytes: Vec<u8>,
    pub(crate) size: (u32, u32),
    pub(crate) colour: ColorType,
}

/// [`ImageDecoder`] without its type parameters; the reader's own decoder has no name.
trait Decoder {
    fn colour(&self) -> ColorType;
    fn profile(&mut self) -> Option<Vec<u8>>;
    fn read(self: Box<Self>, into: &mut [u8]) -> image::ImageResult<()>;
}

impl<D: ImageDecoder> Decoder for D {
    fn colour(&self) -> ColorType {
        self.color_type()
    }

    fn profile(&mut self) -> Option<Vec<u8>> {
        self.icc_profile().ok().flatten()
    }

    fn read(self: Box<Self>, into: &mut [u8]) -> image::ImageResult<()> {
        (*self).read_image(into)
    }
}

/// Which of the formats `bytes` are in, going by how they start.
pub(crate) fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(bytes).ok()?;
    matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP).then_some(format)
}

/// The format of the input; its content type, where it says anything, has to agree.
pub(crate) fn format(input: &Input) -> Result<ImageFormat> {
    ensure!(!input.bytes.is_empty(), "the input is empty");
    let format = sniff(&input.bytes).context("the input is neither png, jpeg nor webp")?;
    let said = match input.content_type.as_str() {
        "" | "application/octet-stream" => return Ok(format),
        "image/png" => ImageFormat::Png,
        "image/jpeg" | "image/jpg" => ImageFormat::Jpeg,
        "image/webp" => ImageFormat::WebP,
        other => bail!("content type `{other}`: expected image/png, image/jpeg or image/webp"),
    };
    ensure!(
        said == format,
        "the content type says {}, but the bytes are {}",
        said.to_mime_type(),
        format.to_mime_type()
    );
    Ok(format)
}

/// Reads the header.
pub(crate) fn open(bytes: Vec<u8>, format: ImageFormat) -> Result<Picture> {
    let input_bytes = bytes.len() as u64;
    let frame = match format {
        ImageFormat::Jpeg => Some(jpeg::inspect(&bytes)?),
        _ => None,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(SIDE_PIXELS_IN_MAX);
    limits.max_image_height = Some(SIDE_PIXELS_IN_MAX);
    limits.max_alloc = Some(WORK_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;

    let size = decoder.dimensions();
    let pixels = u64::from(size.0) * u64::from(size.1);
    ensure!(pixels > 0, "the picture has no pixels");
    let working_bytes = match (format, frame) {
        // The jpeg decoder takes a copy of its input.
        (_, Some(frame)) => frame.coefficient_bytes() + input_bytes,
        // Lossless webp is decoded in four channels and then copied into what it has; lossy webp
        // keeps its luma and chroma planes.
        (ImageFormat::WebP, _) => 4 * pixels,
        _ => 0,
    };
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(Picture {
        size,
        orientation,
        decode_bytes: decoder.total_bytes().saturating_add(working_bytes),
        input_bytes,
        decoder: Box::new(decoder),
    })
}

impl Picture {
    /// Width and height as stored, before turning, in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.size
    }

    pub(crate) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Whether decoding, and then scaling to `target`, stays within the memory there is.
    pub(crate) fn check_cost(&self, target: (u32, u32)) -> Result<()> {
        let (width, height) = self.size;
        let too_large = |what: &str, bytes: u64| {
            Error::msg(format!(
                "{what} a picture of {width}x{height} pixels takes {} MB, more than the {} MB there are",
                bytes.div_ceil(1_000_000),
                WORK_BYTES_MAX / 1_000_000,
            ))
        };
        let decode = self.decode_bytes.saturating_add(self.input_bytes);
        if decode > WORK_BYTES_MAX {
            return Err(too_large("decoding", decode));
        }
        ensure!(
            target.0 <= SIDE_PIXELS_MAX && target.1 <= SIDE_PIXELS_MAX,
            "the output would be {}x{} pixels; the most is {SIDE_PIXELS_MAX} on a side, see `width` and `height`",
            target.0,
            target.1
        );
        // Scaling keeps the source, one step in between, and the result, which turning copies once.
        let pixel = u64::from(self.decoder.colour().bytes_per_pixel());
        let area = |width: u32, height: u32| u64::from(width) * u64::from(height) * pixel;
        let mut scale = area(width, height) + 2 * area(target.0, target.1);
        if target != self.size {
            scale += area(target.0, height);
        }
        if scale > WORK_BYTES_MAX {
            return Err(too_large(&format!("scaling to {}x{}", target.0, target.1), scale));
        }
        Ok(())
    }

    /// The colour profile, if it is one for the channels that decoding gives.
    pub(crate) fn colour_profile(&mut self) -> Option<Vec<u8>> {
        let profile = self.decoder.profile()?;
        let wanted: &[u8] = if self.decoder.colour().has_color() { b"RGB " } else { b"GRAY" };
        // Bytes 16 to 20 of a profile name its colour space. A CMYK jpeg has been turned into RGB.
        (profile.get(16..20) == Some(wanted)).then_some(profile)
    }

    pub(crate) fn decode(self) -> Result<Pixels> {
        let colour = self.decoder.colour();
        let len =
            u64::from(self.size.0) * u64::from(self.size.1) * u64::from(colour.bytes_per_pixel());
        let mut bytes = vec![0; usize::try_from(len)?];
        self.decoder.read(&mut bytes).map_err(unreadable)?;
        Ok(Pixels { bytes, size: self.size, colour })
    }
}

fn unreadable(error: image::ImageError) -> Error {
    Error::from(error).context("the picture cannot be read")
}
