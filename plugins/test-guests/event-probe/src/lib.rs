//! Reacts to events in the way that their types say:
//!
//! - `log.enriched`, `probe.note`: emits `seen.TYPE` with the same payload
//! - `probe.fail`: fails; `probe.trap`: traps
//! - `probe.flaky`: fails the first time that it sees a payload
//! - `probe.slow`: takes a while
//! - `probe.loop`: emits itself

use guest_sdk::prelude::*;
use guest_sdk::{config, events};

/// The plugin.
struct Probe;

impl Plugin for Probe {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl EventHandler for Probe {
    fn supported_events(&self) -> Vec<String> {
        vec!["log.enriched".to_owned(), "probe.*".to_owned()]
    }

    fn on_event(&self, event: Event) -> Result<()> {
        let payload = event.payload.as_str();
        match event.event_type.as_str() {
            "log.enriched" | "probe.note" => {
                events::emit(&format!("seen.{}", event.event_type), payload)?;
            }
            "probe.fail" => bail!("told to fail"),
            "probe.trap" => std::process::abort(),
            "probe.flaky" => {
                let is_new = config::get(payload)?.is_none();
                config::set(payload, "seen")?;
                ensure!(!is_new, "the first time");
                events::emit("seen.probe.flaky", payload)?;
            }
            "probe.slow" => std::thread::sleep(std::time::Duration::from_millis(1_500)),
            "probe.loop" => events::emit("probe.loop", payload)?,
            other => bail!("`{other}` is none of mine"),
        }
        Ok(())
    }
}

guest_sdk::event_plugin!(Probe);

#[cfg(test)]
mod tests {
    use super::*;
    use guest_sdk::testing::{Harness, emitted};

    #[test]
    fn what_is_noted_is_passed_on() {
        let mut probe = Harness::<Probe>::new().unwrap();
        probe.event("probe.note", "x").unwrap();
        assert_eq!(emitted()[0].event_type, "seen.probe.note");
        assert!(probe.event("probe.flaky", "y").is_err());
        probe.event("probe.flaky", "y").unwrap();
    }
}
