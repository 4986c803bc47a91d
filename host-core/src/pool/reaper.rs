//! One thread that drops what may take a while to drop.
//!
//! A guest that was stopped may leave a large memory and many handles behind. Freeing them on an
//! executor's thread would hold up calls that had no part in it.

use std::{sync::mpsc, thread};

use crate::CoreError;

/// Hands things to the thread, which ends with the last handle.
#[derive(Clone)]
pub(crate) struct Reaper {
    dead: mpsc::Sender<Box<dyn Send>>,
}

impl Reaper {
    pub(crate) fn start() -> Result<Self, CoreError> {
        let (sender, dead) = mpsc::channel::<Box<dyn Send>>();
        let work = move || dead.into_iter().for_each(drop);
        let spawned = thread::Builder::new().name("plugin-reaper".to_owned()).spawn(work);
        spawned.map_err(|error| CoreError::Engine(error.into()))?;
        Ok(Self { dead: sender })
    }

    /// Drops `it`, soon. What waits here is bounded by the permits that come with it.
    pub(crate) fn bury(&self, it: impl Send + 'static) {
        // A thread that is gone hands it back, and it is dropped here.
        let _ = self.dead.send(Box::new(it));
    }
}
