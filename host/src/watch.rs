//! Hot reload: what changes in a directory serves as soon as it is whole.
//!
//! A round looks at the metadata of all candidates (`look`), writes down what is new (`book`), and has what
//! was left alone for a moment tried ([`PluginHost::take`]). The system's events (`wake`) only have the next
//! round come sooner: where there are none, changes are noticed a second later.

mod book;
mod look;
mod print;
mod wake;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use crate::{
    PluginHost,
    plugin_host::{Outcome, Taken},
};
use book::{Book, Step};
use look::{Looker, Seen};
use wake::Wake;

/// Between two looks, however much happens.
const LOOKS_APART: Duration = Duration::from_millis(50);

/// Plugins that are tried at one time; the others wait.
const TRIES_MAX: usize = 2;

/// How long the next revision of a plugin waits for calls of the last one to end: there are never many
/// revisions on their way out.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// How a directory is watched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WatchSettings {
    /// A plugin is tried once its files were left alone for this long. Default 150 ms.
    pub quiet: Duration,
    /// Files that are written to all the time are tried after this long, whole or not. Default 2 s.
    pub quiet_max: Duration,
    /// How often it is looked for changes that the system did not tell of. Default 1 s; less often where
    /// looking takes long.
    pub interval: Duration,
    /// Time for calls of a plugin that was replaced to end. Default 30 s.
    pub drain: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(150),
            quiet_max: Duration::from_secs(2),
            interval: Duration::from_secs(1),
            drain: Duration::from_secs(30),
        }
    }
}

/// A directory that is watched, until this is dropped or the host shuts down. What is being tried then is
/// brought to its end.
#[derive(Debug)]
#[must_use = "the watch ends when it is dropped"]
pub struct Watching {
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PluginHost {
    /// Watches the directory of plugins, or the one plugin that the directory or file is. Give it as it was given to
    /// the builder or to [`load`](PluginHost::load): plugins are known by their paths.
    ///
    /// | what happens to the files of a plugin | what comes of it |
    /// |---|---|
    /// | changed, replaced, or a link leads elsewhere | the new revision is started, then takes the old one's place in one step |
    /// | new | it is loaded |
    /// | bad, or they do not start | the old revision serves on; told once to log and audit, and found in [`refused`](PluginHost::refused) |
    /// | gone | the old revision serves on, with a warning |
    ///
    /// Bytes that were refused are tried again when they change; what waits for another plugin, when one
    /// changes; what the host had no room or time for, a little later. Plugins whose versions are
    /// [deployed](PluginHost::deploy), or that an operator has unloaded, are left alone.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), host::HostError> {
    /// use host::{PluginHost, WatchSettings};
    ///
    /// let host = PluginHost::builder().plugins("dist/plugins").build().await?;
    /// let _watching = host.watch("dist/plugins", WatchSettings::default());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn watch(&self, directory: impl Into<PathBuf>, settings: WatchSettings) -> Watching {
        let (host, directory) = (self.clone(), directory.into());
        let task = async move {
            let closing = host.clone();
            tokio::select! {
                () = closing.closing() => {}
                () = Watch::new(host, directory, settings).run() => {}
            }
        };
        Watching { task: tokio::spawn(task) }
    }
}

/// What a step came to.
enum Done {
    Tried(PathBuf, Taken),
    /// The calls of its predecessor have ended, or were waited for long enough.
    Drained(PathBuf),
}

struct Watch {
    host: PluginHost,
    directory: PathBuf,
    settings: WatchSettings,
    book: Book,
    alarm: Arc<Notify>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    tries: usize,
    warned: Warned,
}

/// What was warned of already.
#[derive(Default)]
struct Warned {
    unreadable: bool,
    cut: bool,
}

/// What looks and listens. One thread at a time has it.
struct Senses {
    looker: Looker,
    wake: Wake,
}

impl Watch {
    fn new(host: PluginHost, directory: PathBuf, settings: WatchSettings) -> Self {
        let book = Book::new(settings.quiet, settings.quiet_max);
        Self {
            host,
            directory,
            settings,
            book,
            alarm: Arc::default(),
            under_way: FuturesUnordered::new(),
            tries: 0,
            warned: Warned::default(),
        }
    }

    async fn run(mut self) {
        let (directory, alarm) = (self.directory.clone(), self.alarm.clone());
        let make = || Senses { looker: Looker::new(directory), wake: Wake::new(alarm) };
        // An error is the end of the runtime.
        let Ok(mut senses) = tokio::task::spawn_blocking(make).await else { return };
        loop {
            let began = Instant::now();
            let look = tokio::task::spawn_blocking(move || {
                let seen = senses.looker.look();
                if let Ok(seen) = &seen {
                    senses.wake.listen_to(&seen.places);
                }
                (senses, seen)
            });
            let Ok((back, seen)) = look.await else { return };
            senses = back;
            let looked = Instant::now();
            self.take_in(looked, seen);
            // Looking takes a part of one core at most, however much there is to see.
            let took = looked - began;
            let (soon, late) = (LOOKS_APART.max(took * 4), self.settings.interval.max(took * 20));
            self.act_until_next_look(looked + soon, looked + late).await;
        }
    }

    fn take_in(&mut self, now: Instant, seen: io::Result<Seen>) {
        let path = self.directory.display();
        match seen {
            Ok(seen) => {
                if seen.is_cut && !std::mem::replace(&mut self.warned.cut, true) {
                    tracing::warn!(%path, "the directory has more entries than are watched");
                }
                self.warned.unreadable = false;
                self.book.see(now, seen.candidates);
            }
            // Nothing is known of the plugins in it, and nothing is done about them.
            Err(error) => {
                if !std::mem::replace(&mut self.warned.unreadable, true) {
                    tracing::warn!(%path, %error, "the watched directory cannot be listed");
                }
            }
        }
    }

    /// Acts on what was seen for as long as that is fresh, and returns when it is time for the next look: from
    /// `soon` on if something happens or is due, and at `late` anyway.
    async fn act_until_next_look(&mut self, soon: Instant, late: Instant) {
        let mut is_woken = false;
        loop {
            let now = Instant::now();
            if now < soon {
                self.begin_what_is_due(now);
            }
            let next = match self.tries < TRIES_MAX {
                true => self.book.next().map(|next| next.max(soon)),
                false => None,
            };
            let woken = is_woken.then_some(soon);
            let until = [next, woken].into_iter().flatten().fold(late, Instant::min);
            if now >= until {
                return;
            }
            tokio::select! {
                () = self.alarm.notified(), if !is_woken => is_woken = true,
                Some(done) = self.under_way.next() => self.take_note(done),
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn begin_what_is_due(&mut self, now: Instant) {
        while self.tries < TRIES_MAX {
            match self.book.due(now) {
                None => return,
                // What is beyond the bound is not gone.
                Some(Step::Gone(_)) if self.warned.cut => {}
                Some(Step::Gone(path)) => self.host.tell_gone(&path),
                Some(Step::Try(path, failed)) => {
                    self.tries += 1;
                    let (host, drain) = (self.host.clone(), self.settings.drain);
                    let tried = path.clone();
                    // A task of its own: what was begun is not given up in the middle.
                    let task = tokio::spawn(async move { host.take(&tried, failed, drain).await });
                    let done = async move {
                        let taken = task.await.unwrap_or_else(|error| {
                            tracing::error!(path = %path.display(), %error, "a reload panicked");
                            Outcome::Refused(None).into()
                        });
                        Done::Tried(path, taken)
                    };
                    self.under_way.push(done.boxed());
                }
            }
        }
    }

    fn take_note(&mut self, done: Done) {
        match done {
            Done::Tried(path, Taken { outcome, replaced }) => {
                self.tries -= 1;
                self.book.tried(Instant::now(), &path, outcome);
                match replaced {
                    None => self.book.free(&path),
                    Some(replaced) => {
                        let drained = async move {
                            // It goes on draining, until its deadline, whether or not anybody waits.
                            let _ = tokio::time::timeout(DRAIN_WAIT, replaced.drained()).await;
                            Done::Drained(path)
                        };
                        self.under_way.push(drained.boxed());
                    }
                }
            }
            Done::Drained(path) => self.book.free(&path),
        }
    }
}
