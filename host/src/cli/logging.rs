//! Log lines, to standard error.
//!
//! A host that serves writes them on a thread of its own: a terminal that is held, or a reader that has stopped
//! reading, holds up no call. So many lines wait for it; what comes then is dropped and counted.

use std::{
    io::{self, IsTerminal},
    sync::mpsc,
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, writer::BoxMakeWriter},
};

use super::{Cli, Command, LogForm};

/// Lines that wait to be written; of guests', each has up to 8 KiB before it is escaped, and 48 KiB then.
const LINES_MAX: usize = 1_024;

/// Between two looks at what was dropped.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Longest wait at the end for what is still to be written.
const END_MAX: Duration = Duration::from_millis(1_500);

/// Dropped at the end of the program, it has what still waits written.
pub(crate) struct Logging(Option<WorkerGuard>);

impl Drop for Logging {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        let (ended, end) = mpsc::channel();
        // Where standard error takes nothing, the guard does not come to an end, and the program has to.
        let _ = thread::Builder::new().name("log-end".to_owned()).spawn(move || {
            drop(guard);
            let _ = ended.send(());
        });
        let _ = end.recv_timeout(END_MAX);
    }
}

/// Tells of lines that were dropped, once there is room to do so.
fn report(dropped: &ErrorCounter) {
    let mut told = 0;
    loop {
        thread::sleep(REPORT_EVERY);
        let now = dropped.dropped_lines();
        if now > told {
            let lines = now - told;
            tracing::warn!(lines, "log lines were dropped: standard error did not take them");
            if dropped.dropped_lines() == now {
                told = now;
            }
        }
    }
}

pub(crate) fn logging(cli: &Cli) -> Logging {
    if !matches!(cli.command, Command::Serve(_)) {
        // What they say comes before their answer, in order.
        init(cli, "warn", io::stderr);
        return Logging(None);
    }
    let (lines, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let dropped = lines.error_counter();
    init(cli, "info", lines);
    // Without it, nobody is told, and nothing else is lost.
    let _ = thread::Builder::new().name("log-report".to_owned()).spawn(move || report(&dropped));
    Logging(Some(guard))
}

fn init(cli: &Cli, default: &str, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A log that cannot be written must not fail calls: the default complains with a macro that panics.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(writer))
        .log_internal_errors(false);
    match cli.log {
        LogForm::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogForm::Json => lines.json().flatten_event(true).init(),
    }
}
