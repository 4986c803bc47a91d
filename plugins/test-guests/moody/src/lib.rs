//! Serves, pauses, breaks and recovers, as it is told by the input:
//!
//! `pause N` answers the next N questions for its status with `paused`; `sulk` answers `errored` from then
//! on; `despair` has every instance after this one fail to initialize, until `hope` is set in the
//! environment as `MOOD`. Anything else is answered with itself.

use std::cell::Cell;

use guest_sdk::prelude::*;
use guest_sdk::{config, env};

struct Moody {
    pauses: Cell<u32>,
    sulks: Cell<bool>,
}

impl FullPlugin for Moody {
    type Config = ();

    fn initialize((): ()) -> Result<Self> {
        let hope = env::var("MOOD").as_deref() == Some("hope");
        if config::get("despair")?.is_some() && !hope {
            bail!("there is no point");
        }
        Ok(Self { pauses: Cell::new(0), sulks: Cell::new(false) })
    }

    fn process(&self, ctx: CallContext) -> Result<Answer> {
        let text = ctx.get("input").unwrap_or_default();
        match text.split_once(' ').unwrap_or((text, "")) {
            ("pause", count) => self.pauses.set(count.parse().unwrap_or(1)),
            ("sulk", _) => self.sulks.set(true),
            ("despair", _) => {
                config::set("despair", "yes")?;
                self.sulks.set(true);
            }
            _ => {}
        }
        Ok(Answer::new(text))
    }

    fn status(&self) -> Status {
        let left = self.pauses.get();
        if self.sulks.get() {
            Status::Errored
        } else if left > 0 {
            self.pauses.set(left - 1);
            Status::Paused
        } else {
            Status::Ready
        }
    }
}

guest_sdk::plugin_world!(Moody);
