//! What has to be known of a jpeg before it is decoded: how much memory that takes, and whether
//! its end is there. The decoder itself fills a missing rest with grey and says nothing.

use guest_sdk::prelude::*;

/// How a jpeg is coded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    progressive: bool,
    width: u16,
    height: u16,
    /// Horizontal and vertical sampling of each component.
    sampling: Vec<(u8, u8)>,
}

impl Frame {
    /// Bytes of coefficients that are kept until the last scan: none where there is only one.
    pub(crate) fn coefficient_bytes(&self) -> u64 {
        if !self.progressive {
            return 0;
        }
        let widest = self.sampling.iter().map(|&(h, _)| h).max().unwrap_or(1).max(1);
        let highest = self.sampling.iter().map(|&(_, v)| v).max().unwrap_or(1).max(1);
        let columns = u64::from(self.width).div_ceil(8 * u64::from(widest));
        let rows = u64::from(self.height).div_ceil(8 * u64::from(highest));
        let blocks: u64 = self.sampling.iter().map(|&(h, v)| u64::from(h) * u64::from(v)).sum();
        // Blocks of 64 coefficients of two bytes.
        columns * rows * blocks * 128
    }
}

/// Walks over the segments of a jpeg up to its first scan.
///
/// # Errors
/// Where a segment is cut off or malformed, or the end marker is missing.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Frame> {
    const TRUNCATED: &str = "the picture cannot be read: the jpeg is truncated";
    let mut frame = None;
    let mut at = 2; // After the start marker, which the format was told by.
    loop {
        // Any number of fill bytes may stand before a marker.
        while bytes.get(at) == Some(&0xFF) && bytes.get(at + 1) == Some(&0xFF) {
            at += 1;
        }
        let &[0xFF, marker] = bytes.get(at..at + 2).context(TRUNCATED)? else {
            bail!("the picture cannot be read: no jpeg marker at offset {at}");
        };
        at += 2;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue; // These have no content.
        }
        ensure!(marker != 0xD9, "the picture cannot be read: the jpeg has no scan");
        let &[high, low] = bytes.get(at..at + 2).context(TRUNCATED)? else { bail!("{TRUNCATED}") };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let content = bytes.get(at + 2..at + len).context(TRUNCATED)?;
        at += len;
        match marker {
            // Every start of frame, and not the tables that share the numbers.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                frame = Some(read_frame(marker, content)?);
            }
            0xDA => break,
            _ => {}
        }
    }
    // Within a scan 0xFF stands only before a zero or a marker, so this cannot be taken for pixels.
    ensure!(bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]), "{TRUNCATED}");
    frame.context("the picture cannot be read: the jpeg has no frame header")
}

fn read_frame(marker: u8, content: &[u8]) -> Result<Frame> {
    let [_precision, h1, h0, w1, w0, components, rest @ ..] = content else {
        bail!("the picture cannot be read: the jpeg frame header is cut off");
    };
    let sampling = rest.chunks_exact(3).take(usize::from(*components));
    Ok(Frame {
        progressive: matches!(marker, 0xC2 | 0xC6 | 0xCA | 0xCE),
        width: u16::from_be_bytes([*w1, *w0]),
        height: u16::from_be_bytes([*h1, *h0]),
        sampling: sampling.map(|component| (component[1] >> 4, component[1] & 15)).collect(),
    })
}
