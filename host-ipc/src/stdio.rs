//! A guest's standard output and error, line by line into its log.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::{PluginLog, bindings::toolsku::host_api::host_services::LogLevel};

/// Takes what the guest prints. Never closed and never full, so that a guest's `println!` does not
/// fail; what is past the guest's share of log lines is dropped and counted there.
#[derive(Clone)]
pub struct GuestOutput {
    log: PluginLog,
    stream: &'static str,
    /// The line so far, at most a line's limit long.
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// The rest of the line is past the limit.
    skipping: bool,
}

impl GuestOutput {
    pub(crate) fn new(log: PluginLog, stream: &'static str) -> Self {
        Self { log, stream, line: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            if !line.skipping {
                let room = self.log.line_bytes_max() - line.bytes.len();
                line.bytes.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() > room {
                    self.log.tell_cut(|| format!("a longer line on {}", self.stream));
                    self.say(&mut line.bytes);
                    line.skipping = true;
                }
            }
            if ends && !std::mem::take(&mut line.skipping) {
                self.say(&mut line.bytes);
            }
        }
    }

    fn say(&self, line: &mut Vec<u8>) {
        let level = if self.stream == "stderr" { LogLevel::Warn } else { LogLevel::Info };
        self.log.line(level, self.stream, &String::from_utf8_lossy(line));
        line.clear();
    }
}

impl Drop for GuestOutput {
    fn drop(&mut self) {
        // The last holder says what was printed without a newline.
        if Arc::strong_count(&self.line) == 1 {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.bytes.is_empty() {
                self.say(&mut line.bytes);
            }
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // For WASI 0.3, which this host does not link.
        Box::new(tokio::io::sink())
    }
}

#[async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::{GuestOutput, LogLimits, PluginLog, limit::LimitWatch};

    #[test]
    fn a_line_without_an_end_is_cut_and_that_is_told_once() {
        let log = PluginLog::new("loud".parse().unwrap(), "0.1.0", LogLimits::default());
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        log.watched(LimitWatch::new(Arc::new(move |reached| {
            tell.lock().unwrap().push(format!("{}; {}", reached.asked, reached.limit));
        })));
        let output = GuestOutput::new(log, "stdout");
        for _ in 0..100 {
            output.take(&[b'x'; 1_000]);
        }
        assert!(output.line.lock().unwrap().bytes.is_empty());
        output.take(b"\nshort\n");
        assert_eq!(*told.lock().unwrap(), ["a longer line on stdout; log line = 8192 bytes"]);
    }
}
