//! Sends what the `log` crate is given to the host's logger.
//!
//! Installed at the first entry into the plugin, so authors only write `log::info!(…)`. The
//! target of a record (by default the module path) becomes the name of the logger.

use std::sync::Once;

use super::backend;

struct HostLogger;

impl log::Log for HostLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        match record.args().as_str() {
            Some(text) => backend::log(record.level(), record.target(), text),
            None => backend::log(record.level(), record.target(), &record.args().to_string()),
        }
    }

    fn flush(&self) {
        backend::log_flush();
    }
}

/// Takes over the `log` crate, unless somebody else has.
///
/// Lines below `Debug` are not even made by default: each would cross to the host and count
/// against the plugin's share. `log::set_max_level` in `initialize` changes that.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if log::set_logger(&HostLogger).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    });
}
