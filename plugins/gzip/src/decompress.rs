//! The data of all gzip members of a stream.
//!
//! flate2 can decode whole files too. It then writes all that a piece of input becomes before it
//! returns, and its errors tell neither where they are nor a file that is cut from one that is
//! corrupt. So it only inflates here.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use guest_sdk::prelude::*;

use crate::header::{Header, MAGIC};

/// How much is inflated at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// A CRC-32 of the data, and their length modulo 2^32.
const TRAILER_BYTES: u32 = 8;

pub(crate) struct Decompressor {
    /// What the next byte of the input is.
    next: Part,
    header: Header,
    inflate: Decompress,
    /// What was inflated last.
    piece: Vec<u8>,
    /// The sum and the length of the member's data so far.
    crc: Crc,
    /// The bytes of the trailer so far, the first one lowest, and how many they are.
    trailer: (u64, u32),
    /// How many members are whole.
    members: u64,
    /// How much of the input is done, in bytes.
    offset: u64,
}

#[derive(Clone, Copy)]
enum Part {
    Header,
    Data,
    Trailer,
    /// The first byte of another member, or of padding.
    Between,
    Padding,
}

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self {
            next: Part::Header,
            header: Header::default(),
            inflate: Decompress::new(false),
            piece: Vec::with_capacity(PIECE_BYTES),
            crc: Crc::new(),
            trailer: (0, 0),
            members: 0,
            offset: 0,
        }
    }

    pub(crate) async fn chunk(&mut self, mut input: &[u8], output: &mut Writer) -> Result<()> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.next {
                Part::Data => {
                    input = self.inflate(input, output).await?;
                    continue;
                }
                Part::Header => {
                    if self.header.take(byte).map_err(|wrong| self.locate(wrong))? {
                        self.next = Part::Data;
                    }
                }
                Part::Trailer => self.take_trailer(byte)?,
                Part::Between if byte == MAGIC[0] => {
                    self.next_member();
                    self.header.take(byte)?;
                }
                Part::Between | Part::Padding => {
                    if byte != 0 {
                        return Err(self.locate("trailing garbage"));
                    }
                    self.next = Part::Padding;
                }
            }
            input = rest;
            self.offset += 1;
        }
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<()> {
        let part = match self.next {
            Part::Header => "header",
            Part::Data => "data",
            Part::Trailer => "trailer",
            Part::Between | Part::Padding => return Ok(()),
        };
        Err(self.locate(format!("the input ends within the {part}")))
    }

    /// Inflates `input` up to where the data of the member end; gives back what follows.
    async fn inflate<'a>(&mut self, mut input: &'a [u8], output: &mut Writer) -> Result<&'a [u8]> {
        loop {
            self.piece.clear();
            let before = self.inflate.total_in();
            let status = self.inflate.decompress_vec(input, &mut self.piece, FlushDecompress::None);
            let taken = self.inflate.total_in() - before;
            self.offset += taken;
            input = &input[taken as usize..];
            self.crc.update(&self.piece);
            output.write(&self.piece).await?;
            match status {
                Ok(Status::StreamEnd) => {
                    self.next = Part::Trailer;
                    return Ok(input);
                }
                Ok(_) if taken > 0 || !self.piece.is_empty() => {}
                // More can come out after all has gone in, so only this is the end of a chunk.
                Ok(_) if input.is_empty() => return Ok(input),
                Ok(_) | Err(_) => return Err(self.locate("the compressed data are corrupt")),
            }
        }
    }

    fn take_trailer(&mut self, byte: u8) -> Result<()> {
        let (bytes, count) = self.trailer;
        self.trailer = (bytes | u64::from(byte) << (8 * count), count + 1);
        if count + 1 < TRAILER_BYTES {
            return Ok(());
        }
        let stored = (self.trailer.0 as u32, (self.trailer.0 >> 32) as u32);
        let (sum, length) = (self.crc.sum(), self.crc.amount());
        if stored.0 != sum {
            let wrong =
                format!("the CRC-32 of the data is {sum:08x}, and not {:08x} as stored", stored.0);
            return Err(self.locate(wrong));
        }
        if stored.1 != length {
            let wrong =
                format!("the data have {length} bytes modulo 2^32, and not {} as stored", stored.1);
            return Err(self.locate(wrong));
        }
        self.members += 1;
        self.next = Part::Between;
        Ok(())
    }

    fn next_member(&mut self) {
        self.next = Part::Header;
        self.header = Header::default();
        self.inflate.reset(false);
        self.crc.reset();
        self.trailer = (0, 0);
    }

    /// Puts in front of `wrong` where it is.
    fn locate(&self, wrong: impl std::fmt::Display) -> Error {
        let (offset, members) = (self.offset, self.members);
        Error::msg(wrong).context(match self.next {
            Part::Header | Part::Data | Part::Trailer => {
                format!("offset {offset}, member {}", members + 1)
            }
            Part::Between | Part::Padding => format!("offset {offset}, after member {members}"),
        })
    }
}
