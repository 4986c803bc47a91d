//! One gzip member of a whole stream.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use guest_sdk::prelude::*;

pub(crate) struct Compressor {
    /// The `Vec` has what one chunk came to, which is never much more than the chunk.
    encoder: GzEncoder<Vec<u8>>,
}

impl Compressor {
    pub(crate) fn new(level: u32) -> Self {
        let encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(level));
        Self { encoder }
    }

    pub(crate) async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()> {
        self.encoder.write_all(input)?;
        self.hand_on(output).await
    }

    pub(crate) async fn end(&mut self, output: &mut Writer) -> Result<()> {
        self.encoder.try_finish()?;
        self.hand_on(output).await
    }

    async fn hand_on(&mut self, output: &mut Writer) -> Result<()> {
        output.write(self.encoder.get_ref()).await?;
        self.encoder.get_mut().clear();
        Ok(())
    }
}
