//! How much each plugin may tell before its events are counted instead of kept.
//!
//! This stands before the queue, so that a plugin that tells much takes no room from the others. Time
//! comes in as a value.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{
    AuditEvent,
    shape::{Folded, name_of},
};

/// Most plugins that are told apart. Those that come after share one budget, as `(others)`.
const PLUGINS_MAX: usize = 4_096;
/// Most names that are counted apart for one plugin.
const NAMES_MAX: usize = 32;
/// How often one event of a kind is kept whatever the budget says.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const OTHERS: &str = "(others)";
/// Room for another plugin is looked for at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Budgets of all plugins, and what was counted.
#[derive(Debug)]
pub(super) struct Rates {
    per_second: f64,
    burst: f64,
    plugins: HashMap<String, Plugin>,
    others: Plugin,
    swept: Option<Instant>,
    /// Whether anything was counted and not taken yet.
    has_folded: bool,
}

#[derive(Debug, Default)]
struct Plugin {
    /// What the plugin itself causes.
    violations: Bucket,
    /// What is done to it: apart, so that it cannot hide its end behind its deeds.
    decisions: Bucket,
    /// Of the latest event that was counted.
    revision: String,
    counts: BTreeMap<String, u64>,
    /// When one of each name was last kept for its rarity.
    kept: BTreeMap<String, Instant>,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is kept.
    Keep,
    /// It was counted.
    Counted {
        /// Nothing else waits to be told: somebody has to be woken.
        first: bool,
    },
}

impl Rates {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: per_second.into(),
            burst: burst.into(),
            plugins: HashMap::new(),
            others: Plugin::default(),
            swept: None,
            has_folded: false,
        }
    }

    /// Decides on one event, and counts it if it is not kept.
    pub(super) fn admit(&mut self, event: &AuditEvent, now: Instant) -> Answer {
        let (name, revision, cost) = match event {
            AuditEvent::Violation(it) => (&it.plugin, &it.revision, None),
            AuditEvent::Granted { plugin, revision, decisions, .. } => {
                (plugin, revision, Some(decisions.len().max(1)))
            }
            AuditEvent::Lifecycle { plugin, revision, .. } => (plugin, revision, Some(1)),
        };
        self.make_room(name, now);
        let plugin = match self.plugins.get_mut(name) {
            Some(plugin) => plugin,
            None => &mut self.others,
        };
        let is_violation = cost.is_none();
        let (bucket, cost) = match cost {
            None => (&mut plugin.violations, 1.0),
            Some(cost) => (&mut plugin.decisions, cost as f64),
        };
        let has_budget = bucket.take(cost, self.per_second, self.burst, now);
        let mut name = name_of(event);
        // One of each kind a second is kept all the same: a flood of one must not hide what another was about.
        let is_rare = match plugin.kept.get(&name) {
            Some(at) => now.saturating_duration_since(*at) >= KEEP_EVERY,
            None => plugin.kept.len() < NAMES_MAX,
        };
        let may_keep = is_rare && is_violation && self.burst > 0.0;
        if has_budget || may_keep {
            if may_keep {
                plugin.kept.insert(name, now);
            }
            return Answer::Keep;
        }
        if plugin.counts.len() >= NAMES_MAX && !plugin.counts.contains_key(&name) {
            name = "other".to_owned();
        }
        *plugin.counts.entry(name).or_default() += 1;
        plugin.revision.clone_from(revision);
        let first = !self.has_folded;
        self.has_folded = true;
        Answer::Counted { first }
    }

    pub(super) fn has_folded(&self) -> bool {
        self.has_folded
    }

    /// What was counted since the last time.
    pub(super) fn take_folded(&mut self) -> Vec<Folded> {
        if !std::mem::take(&mut self.has_folded) {
            return Vec::new();
        }
        let others = (OTHERS, &mut self.others);
        let all = self.plugins.iter_mut().map(|(name, plugin)| (name.as_str(), plugin));
        all.chain([others])
            .filter(|(_, plugin)| !plugin.counts.is_empty())
            .map(|(name, plugin)| Folded {
                plugin: name.to_owned(),
                revision: std::mem::take(&mut plugin.revision),
                counts: std::mem::take(&mut plugin.counts),
            })
            .collect()
    }

    /// Sees that the plugin has a budget of its own, if there is room for one.
    fn make_room(&mut self, name: &str, now: Instant) {
        if self.plugins.contains_key(name) {
            return;
        }
        let may_sweep = self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY);
        if self.plugins.len() >= PLUGINS_MAX && may_sweep {
            self.swept = Some(now);
            let (per_second, burst) = (self.per_second, self.burst);
            // One that has its whole budget is as good as one that was never seen.
            self.plugins.retain(|_, plugin| {
                let buckets = [&mut plugin.violations, &mut plugin.decisions];
                let is_idle = buckets.map(|bucket| bucket.is_full(per_second, burst, now));
                !(plugin.counts.is_empty() && is_idle == [true; 2])
            });
        }
        if self.plugins.len() < PLUGINS_MAX {
            self.plugins.insert(name.to_owned(), Plugin::default());
        }
    }
}

/// A budget that fills with time. `None`: full, as for one that never took anything.
#[derive(Debug, Default)]
struct Bucket {
    level: Option<(f64, Instant)>,
}

impl Bucket {
    /// Takes `cost` if anything is there. A cost that is larger than what is there is a debt.
    fn take(&mut self, cost: f64, per_second: f64, burst: f64, now: Instant) -> bool {
        let level = self.level(per_second, burst, now);
        let has = level >= 1.0;
        self.level = Some((if has { level - cost } else { level }, now));
        has
    }

    fn is_full(&mut self, per_second: f64, burst: f64, now: Instant) -> bool {
        self.level(per_second, burst, now) >= burst
    }

    fn level(&self, per_second: f64, burst: f64, now: Instant) -> f64 {
        let Some((level, at)) = self.level else { return burst };
        (level + now.saturating_duration_since(at).as_secs_f64() * per_second).min(burst)
    }
}
