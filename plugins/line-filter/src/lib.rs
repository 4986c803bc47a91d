//! Keeps or drops the lines of a text of any length by regular expressions.
//!
//! | option      | value                                                                    |
//! |-------------|--------------------------------------------------------------------------|
//! | `keep`      | a regular expression: lines that it does not match are left out          |
//! | `drop`      | a regular expression: of those kept, lines that it matches are left out   |
//! | `max-lines` | how many lines come out at most; the rest of the input is passed over    |
//!
//! Without an option everything comes out. Lines end with `\n` or `\r\n`, which is no part of what is
//! matched and comes out as it went in; the last line need not have an end and gets none. Lines are
//! bytes: `.` and `\w` match only where they are UTF-8, unless the pattern says `(?-u)`. What comes
//! out is of the media type that went in. A line of more than 1 MiB ends the stream with an error
//! that has its number.

#[cfg(test)]
mod tests;

use std::mem;

use guest_sdk::prelude::*;
use regex::bytes::{Regex, RegexBuilder};

/// The longest line that is taken, in bytes, without its `\n`.
const LINE_BYTES_MAX: usize = 1024 * 1024;

const PATTERN_BYTES_MAX: usize = 1024;

/// Bounds for each compiled pattern and for its cache, in bytes: `\w{1000}` would take megabytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

struct LineFilter;

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    keep: Option<String>,
    drop: Option<String>,
    max_lines: Option<u64>,
}

struct Filter {
    keep: Option<Regex>,
    drop: Option<Regex>,
    /// How many more lines may come out.
    left: u64,
    /// How many lines are done.
    lines: u64,
    /// The start of a line that goes on in the next chunk. Empty once `left` is 0.
    start: Vec<u8>,
}

impl Plugin for LineFilter {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl StreamPlugin for LineFilter {
    type Options = Options;
    type Transform = Filter;

    fn open(&self, content_type: &str, options: Options) -> Result<(Filter, String)> {
        let filter = Filter {
            keep: options.keep.map(|pattern| compile("keep", &pattern)).transpose()?,
            drop: options.drop.map(|pattern| compile("drop", &pattern)).transpose()?,
            left: options.max_lines.unwrap_or(u64::MAX),
            lines: 0,
            start: Vec::new(),
        };
        Ok((filter, content_type.to_owned()))
    }
}

fn compile(option: &str, pattern: &str) -> Result<Regex> {
    ensure!(
        pattern.len() <= PATTERN_BYTES_MAX,
        "option `{option}`: the most is {PATTERN_BYTES_MAX} bytes, got {}",
        pattern.len()
    );
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .with_context(|| format!("option `{option}`"))
}

impl Transform for Filter {
    async fn chunk(&mut self, mut input: &[u8], output: &mut Writer) -> Result<()> {
        while self.left > 0 {
            let Some(end) = memchr::memchr(b'\n', input) else {
                return self.put_by(input);
            };
            let (line, rest) = input.split_at(end + 1);
            input = rest;
            if self.start.is_empty() {
                self.line(line, output).await?;
            } else {
                self.put_by(line)?;
                self.put_together(output).await?;
            }
        }
        Ok(())
    }

    async fn end(&mut self, output: &mut Writer) -> Result<()> {
        if self.start.is_empty() { Ok(()) } else { self.put_together(output).await }
    }
}

impl Filter {
    /// Puts a part of a line to those before it.
    fn put_by(&mut self, part: &[u8]) -> Result<()> {
        self.check(self.start.len() + part.strip_suffix(b"\n").unwrap_or(part).len())?;
        self.start.extend_from_slice(part);
        Ok(())
    }

    /// Takes the parts for a line.
    async fn put_together(&mut self, output: &mut Writer) -> Result<()> {
        let mut line = mem::take(&mut self.start);
        self.line(&line, output).await?;
        line.clear();
        self.start = line;
        Ok(())
    }

    /// Writes a line, which has its end, if it passes.
    async fn line(&mut self, line: &[u8], output: &mut Writer) -> Result<()> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        self.check(text.len())?;
        self.lines += 1;
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let kept = self.keep.as_ref().is_none_or(|keep| keep.is_match(text))
            && !self.drop.as_ref().is_some_and(|drop| drop.is_match(text));
        if kept {
            self.left -= 1;
            output.write(line).await?;
        }
        Ok(())
    }

    fn check(&self, bytes: usize) -> Result<()> {
        ensure!(
            bytes <= LINE_BYTES_MAX,
            "line {} is longer than {LINE_BYTES_MAX} bytes",
            self.lines + 1
        );
        Ok(())
    }
}

guest_sdk::stream_plugin!(LineFilter);
