//! The header of a gzip member, one byte after the other: nothing of it is kept, so a name of any
//! length takes no memory (RFC 1952, 2.3).

use flate2::Crc;
use guest_sdk::prelude::*;

/// What each gzip member begins with.
pub(crate) const MAGIC: [u8; 2] = [0x1F, 0x8B];

/// The only compression method there is.
const DEFLATE: u8 = 8;

const FIXED_BYTES: u64 = 10;

const HAS_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// A header that is being read.
#[derive(Default)]
pub(crate) struct Header {
    field: Field,
    /// How many bytes of the field there were.
    at: u64,
    flags: u8,
    extra_bytes: u16,
    /// Of the header so far.
    crc: Crc,
    /// As the header has it.
    checksum: u16,
}

/// The parts of a header, in their order. All but the first can be missing.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Field {
    #[default]
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Checksum,
}

impl Header {
    /// Takes the next byte; `true` if it was the last of the header.
    ///
    /// # Errors
    /// What is wrong with this byte, or with the header that it ends.
    pub(crate) fn take(&mut self, byte: u8) -> Result<bool> {
        let at = self.at;
        self.at += 1;
        if self.field != Field::Checksum {
            self.crc.update(&[byte]);
        }
        let ended = match self.field {
            Field::Fixed => {
                self.take_fixed(at, byte)?;
                self.at == FIXED_BYTES
            }
            Field::ExtraLength => {
                self.extra_bytes |= u16::from(byte) << (8 * at);
                self.at == 2
            }
            Field::Extra => self.at == u64::from(self.extra_bytes),
            Field::Name | Field::Comment => byte == 0,
            Field::Checksum => {
                self.checksum |= u16::from(byte) << (8 * at);
                self.at == 2
            }
        };
        if ended { self.next_field() } else { Ok(false) }
    }

    fn take_fixed(&mut self, at: u64, byte: u8) -> Result<()> {
        match at {
            0 | 1 => ensure!(byte == MAGIC[at as usize], "not gzip, which begins with 1f 8b"),
            2 => ensure!(byte == DEFLATE, "unknown compression method {byte}"),
            3 => {
                ensure!(byte & RESERVED == 0, "unknown flags {byte:#04x}");
                self.flags = byte;
            }
            _ => {} // Time, effort and operating system change nothing.
        }
        Ok(())
    }

    /// Goes on to the next field that is there; `true` if none is.
    fn next_field(&mut self) -> Result<bool> {
        self.at = 0;
        loop {
            let has = |flag| self.flags & flag != 0;
            let (next, there) = match self.field {
                Field::Fixed => (Field::ExtraLength, has(HAS_EXTRA)),
                Field::ExtraLength => (Field::Extra, self.extra_bytes > 0),
                Field::Extra => (Field::Name, has(HAS_NAME)),
                Field::Name => (Field::Comment, has(HAS_COMMENT)),
                Field::Comment => (Field::Checksum, has(HAS_CHECKSUM)),
                Field::Checksum => {
                    let computed = self.crc.sum() & 0xFFFF;
                    ensure!(
                        !has(HAS_CHECKSUM) || u32::from(self.checksum) == computed,
                        "the checksum of the header is {computed:04x}, and not {:04x} as stored",
                        self.checksum
                    );
                    return Ok(true);
                }
            };
            self.field = next;
            if there {
                return Ok(false);
            }
        }
    }
}
