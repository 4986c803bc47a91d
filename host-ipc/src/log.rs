//! What guests say, into `tracing`: escaped, cut and counted.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use plugin_contract::{Caller, PluginId, escape};

use crate::limit::LimitWatch;

use crate::bindings::toolsku::host_api::host_services::LogLevel;

/// How much a guest may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// Longest line, in bytes of the guest's text. Default 8 KiB. The rest of a line is dropped.
    pub line_bytes_max: usize,
    /// Lines per call, over all loggers and standard streams. Default 1,000. Further ones are
    /// dropped and counted.
    pub lines_per_call_max: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { line_bytes_max: 8 << 10, lines_per_call_max: 1_000 }
    }
}

/// The log of one instance, shared by its loggers and standard streams. Cheap to clone.
///
/// Lines become `tracing` events with the target `plugin` and the fields `plugin`, `version`,
/// `request_id` and `logger`; and where there is one, `caller`, the plugin that asks, and `trace`.
/// They are handed on at once: what buffers them is whoever subscribes to `tracing`.
#[derive(Debug, Clone)]
pub struct PluginLog(Arc<Inner>);

/// Longest request id that is shown, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

#[derive(Debug)]
struct Inner {
    plugin: PluginId,
    version: String,
    limits: LogLimits,
    call: Mutex<Call>,
    watch: OnceLock<LimitWatch>,
}

#[derive(Debug)]
struct Call {
    request_id: Arc<str>,
    /// The plugin that asks.
    caller: Option<PluginId>,
    /// As it came from outside: letters, digits and dashes.
    trace: Option<Arc<str>>,
    lines_left: u32,
    dropped: u64,
}

impl PluginLog {
    /// A log for one instance.
    pub fn new(plugin: PluginId, version: &str, limits: LogLimits) -> Self {
        let call = Call {
            request_id: "-".into(),
            caller: None,
            trace: None,
            lines_left: limits.lines_per_call_max,
            dropped: 0,
        };
        Self(Arc::new(Inner {
            plugin,
            version: version.to_owned(),
            limits,
            call: Mutex::new(call),
            watch: OnceLock::new(),
        }))
    }

    /// Another log of the same plugin, watched by the same.
    pub(crate) fn within(&self, limits: LogLimits) -> Self {
        let log = Self::new(self.0.plugin.clone(), &self.0.version, limits);
        if let Some(watch) = self.0.watch.get() {
            log.watched(watch.clone());
        }
        log
    }

    /// Has `watch` told of what is cut or dropped. Only the first time: there is one for each log.
    pub(crate) fn watched(&self, watch: LimitWatch) {
        let _ = self.0.watch.set(watch);
    }

    fn tell(&self, asked: impl FnOnce() -> String, limit: impl FnOnce() -> String) {
        if let Some(watch) = self.0.watch.get() {
            watch.tell("log", asked, limit);
        }
    }

    /// Says that a line was cut.
    pub(crate) fn tell_cut(&self, asked: impl FnOnce() -> String) {
        self.tell(asked, || format!("log line = {} bytes", self.0.limits.line_bytes_max));
    }

    /// Lines from here on are said while working for `caller`. Says how many lines of the last call were
    /// dropped.
    pub fn begin_call(&self, caller: &Caller) {
        let request_id = &caller.request_id;
        // It may be a stranger's, and tracing escapes messages only.
        let shown = escape(request_id, REQUEST_ID_BYTES_MAX);
        let request_id = if shown == **request_id { request_id.clone() } else { shown.into() };
        let mut call = self.call();
        let last = std::mem::replace(
            &mut *call,
            Call {
                request_id,
                caller: caller.plugin().cloned(),
                trace: caller.trace.clone(),
                lines_left: self.0.limits.lines_per_call_max,
                dropped: 0,
            },
        );
        drop(call);
        if last.dropped > 0 {
            self.report(last.dropped, &last.request_id);
        }
    }

    /// Lines dropped since the call began.
    pub fn dropped(&self) -> u64 {
        self.call().dropped
    }

    /// Longest line in bytes.
    pub(crate) fn line_bytes_max(&self) -> usize {
        self.0.limits.line_bytes_max
    }

    pub(crate) fn line(&self, level: LogLevel, logger: &str, message: &str) {
        let (request_id, caller, trace) = {
            let mut call = self.call();
            if call.lines_left == 0 {
                call.dropped += 1;
                let is_first = call.dropped == 1;
                drop(call);
                if is_first {
                    let max = self.0.limits.lines_per_call_max;
                    self.tell(
                        || "one line more".to_owned(),
                        || format!("log lines of a call = {max}"),
                    );
                }
                return;
            }
            call.lines_left -= 1;
            (call.request_id.clone(), call.caller.clone(), call.trace.clone())
        };
        let (caller, trace) = (caller.as_ref().map(PluginId::as_str), trace.as_deref());
        let max = self.0.limits.line_bytes_max;
        if message.len() > max {
            self.tell_cut(|| format!("a line of {} bytes", message.len()));
        }
        let message = escape(message, max);
        // `tracing` wants the level to be known at compile time.
        macro_rules! emit {
            ($macro:ident) => {
                tracing::$macro!(target: "plugin", plugin = %self.0.plugin, version = %self.0.version,
                    %request_id, caller, trace, logger, "{message}")
            };
        }
        match level {
            LogLevel::Trace => emit!(trace),
            LogLevel::Debug => emit!(debug),
            LogLevel::Info => emit!(info),
            LogLevel::Warn => emit!(warn),
            LogLevel::Error => emit!(error),
        }
    }

    fn report(&self, dropped: u64, request_id: &str) {
        tracing::warn!(target: "plugin", plugin = %self.0.plugin, version = %self.0.version,
            request_id, dropped, "log lines past the plugin's share were dropped");
    }

    fn call(&self) -> MutexGuard<'_, Call> {
        // Nothing panics while it holds the lock, and a count is right in any case.
        self.0.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let call = self.call.get_mut().unwrap_or_else(PoisonError::into_inner);
        if call.dropped > 0 {
            tracing::warn!(target: "plugin", plugin = %self.plugin, version = %self.version,
                request_id = %call.request_id, dropped = call.dropped,
                "log lines past the plugin's share were dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, LogLimits, PluginLog};
    use crate::bindings::toolsku::host_api::host_services::LogLevel;
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn log(limits: LogLimits) -> PluginLog {
        PluginLog::new("noisy".parse().unwrap(), "1.2.3", limits)
    }

    #[test]
    fn a_line_carries_plugin_version_and_request() {
        let lines = logged(|| {
            let log = log(LogLimits::default());
            log.begin_call(&Caller::new("req-7".into()));
            log.line(LogLevel::Warn, "main", "hello");
        });
        assert_eq!(lines.len(), 1);
        for part in [
            "WARN",
            "hello",
            "plugin=noisy",
            "version=1.2.3",
            "request_id=req-7",
            "logger=\"main\"",
        ] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
    }

    #[test]
    fn a_line_says_which_plugin_asked_and_for_which_trace() {
        let lines = logged(|| {
            let log = log(LogLimits::default());
            let mut caller = Caller::new("r".into());
            caller.trace = Some("00-aa-bb-01".into());
            let asked = caller.relay(&"outer".parse().unwrap(), &"noisy".parse().unwrap());
            log.begin_call(&asked.unwrap());
            log.line(LogLevel::Info, "main", "hello");
        });
        for part in ["caller=\"outer\"", "trace=\"00-aa-bb-01\""] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
    }

    #[test]
    fn a_guest_cannot_forge_a_line_or_colour_the_terminal() {
        let forged = "x\n2026 INFO root: all fine\r\x1b[31m\u{202e}\u{2028}";
        let lines = logged(|| {
            let log = log(LogLimits::default());
            log.begin_call(&Caller::new(forged.into()));
            log.line(LogLevel::Info, "l", forged);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].contains(['\u{1b}', '\u{202e}']), "{lines:?}");
        assert!(
            lines[0].contains(r"x\n2026 INFO root: all fine\r\u{1b}[31m\u{202e}\u{2028}"),
            "{lines:?}"
        );
    }

    #[test]
    fn lines_past_the_share_are_dropped_and_counted_once() {
        let lines = logged(|| {
            let log = log(LogLimits { lines_per_call_max: 2, ..LogLimits::default() });
            log.begin_call(&Caller::new("a".into()));
            (0..1000).for_each(|i| log.line(LogLevel::Info, "l", &format!("line {i}")));
            assert_eq!(log.dropped(), 998);
            log.begin_call(&Caller::new("b".into()));
            log.line(LogLevel::Info, "l", "again");
        });
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(
            lines[2].contains("dropped=998") && lines[2].contains("request_id=\"a\""),
            "{lines:?}"
        );
        assert!(lines[3].contains("again"));
    }
}
