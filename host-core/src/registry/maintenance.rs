//! What is done for all plugins again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior};

use super::Shelf;
use crate::{Plugin, StoreData, plugin::later};

/// How often it is looked whether there is something to do.
const ROUND: Duration = Duration::from_millis(500);

/// Longest time between two checks.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Plugins that are asked how they are at one time.
const CHECKS_MAX: usize = 4;

/// Looks after the plugins for as long as there are any who call them.
pub(super) async fn look_after<T: StoreData>(shelf: Weak<Shelf<T>>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Due::default();
    let mut checks = tokio::spawn(async {});
    loop {
        rounds.tick().await;
        let Some(shelf) = shelf.upgrade() else { return };
        let now = Instant::now();
        shelf.runtime.pools().sweep(now);
        let plugins = shelf.all();
        plugins.iter().for_each(|plugin| plugin.look_after(now));
        // A plugin may take its time to answer; the others' instances are not to wait for that.
        if checks.is_finished() {
            let plugins = due.take(plugins, now, shelf.settings.health.interval);
            checks = tokio::spawn(async move { shelf.check_health(plugins).await });
        }
    }
}

/// When each plugin is to be asked next.
#[derive(Default)]
struct Due(HashMap<usize, Instant>);

impl Due {
    fn take<T: StoreData>(
        &mut self,
        mut plugins: Vec<Arc<Plugin<T>>>,
        now: Instant,
        interval: Duration,
    ) -> Vec<Arc<Plugin<T>>> {
        plugins.retain(|plugin| plugin.active().is_some());
        let mut next = HashMap::with_capacity(plugins.len());
        plugins.retain(|plugin| {
            let key = Arc::as_ptr(plugin).addr();
            // A tenth to either side: not all at once.
            let again = || later(now, interval.min(DAY).mul_f64(0.9 + fastrand::f64() / 5.0));
            let at = self.0.get(&key).copied().unwrap_or_else(again);
            let is_due = at <= now;
            next.insert(key, if is_due { again() } else { at });
            is_due
        });
        self.0 = next;
        plugins
    }
}

impl<T: StoreData> Shelf<T> {
    pub(super) async fn check_health(&self, plugins: Vec<Arc<Plugin<T>>>) {
        let checks = stream::iter(plugins).map(|plugin| async move { plugin.check_health().await });
        checks.buffer_unordered(CHECKS_MAX).collect::<()>().await;
    }
}
