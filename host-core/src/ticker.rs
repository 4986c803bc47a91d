//! The clock of the engines: one OS thread.
//!
//! Not a task of an executor: a guest that spins owns the thread that would run it.

use std::{thread, time::Duration};

use wasmtime::EngineWeak;

use crate::CoreError;

/// Ticks `engines` every `tick` until the last of them is gone.
pub(crate) fn drive(tick: Duration, engines: Vec<EngineWeak>) -> Result<(), CoreError> {
    let work = move || {
        loop {
            thread::sleep(tick);
            let mut alive = false;
            for engine in engines.iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
                alive = true;
            }
            if !alive {
                return;
            }
        }
    };
    let spawned = thread::Builder::new().name("plugin-epochs".to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| CoreError::Engine(error.into()))
}
