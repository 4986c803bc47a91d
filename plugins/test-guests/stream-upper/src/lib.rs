//! Upper-cases the ASCII letters of a stream. A byte 0xFF ends it with an error.

use guest_sdk::prelude::*;

struct Upper;

/// How many bytes have passed.
struct Passed(u64);

impl Plugin for Upper {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl StreamPlugin for Upper {
    type Options = serde::de::IgnoredAny;
    type Transform = Passed;

    fn open(&self, content_type: &str, _: Self::Options) -> Result<(Passed, String)> {
        Ok((Passed(0), content_type.to_owned()))
    }
}

impl Transform for Passed {
    async fn chunk(&mut self, input: &[u8], output: &mut Writer) -> Result<()> {
        let good = input.iter().position(|&byte| byte == 0xFF).unwrap_or(input.len());
        output.write(&input[..good].to_ascii_uppercase()).await?;
        self.0 += good as u64;
        ensure!(good == input.len(), "byte 0xFF at offset {}", self.0);
        Ok(())
    }
}

guest_sdk::stream_plugin!(Upper);

#[cfg(test)]
mod tests {
    use super::*;
    use guest_sdk::testing::Harness;

    #[test]
    fn a_stream_is_upper_cased() {
        let mut upper = Harness::<Upper>::new().unwrap();
        let (output, finished) = upper.stream(&[b"ab", b"cd"], "text/plain").unwrap();
        assert_eq!(output, b"ABCD");
        assert!(finished.is_ok());
    }

    #[test]
    fn a_bad_byte_ends_the_stream_after_what_was_good() {
        let mut upper = Harness::<Upper>::new().unwrap();
        let (output, finished) = upper.stream(&[b"ab", b"c\xFFd"], "text/plain").unwrap();
        assert_eq!(output, b"ABC");
        assert_eq!(finished.unwrap_err().to_string(), "byte 0xFF at offset 3");
    }
}
