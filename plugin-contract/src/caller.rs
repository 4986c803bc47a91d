//! On whose behalf a plugin works: which request it is, through whom it came, and until when it matters.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Instant,
};

use crate::PluginId;

/// Most plugins that may wait for each other in a row.
pub const CALL_DEPTH_MAX: u32 = 16;

/// On whose behalf a plugin works. Cheap to clone.
///
/// What a plugin asks of another is asked in the name of whoever it works for itself, whatever it says:
/// [`Caller::relay`] adds the plugin to those who wait, and nothing else changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Names the request in logs on both sides.
    pub request_id: Arc<str>,
    /// The user, where the caller of the host named one.
    pub user_id: Option<Arc<str>>,
    /// The trace that the request belongs to, as a `traceparent` of the W3C, where there is one.
    pub trace: Option<Arc<str>>,
    /// When the answer is of no use any more. A plugin's own limits may end its work before.
    pub deadline: Option<Instant>,
    /// How many events, each emitted while the one before was handled, led here.
    pub hops: u32,
    via: Option<Arc<Link>>,
}

/// A plugin that waits for an answer.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    plugin: PluginId,
    before: Option<Arc<Link>>,
    depth: u32,
}

/// Why a plugin may not ask another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayRefused {
    /// The one that is asked waits for this answer already.
    #[error("calls lead in a circle: {}", chain(.0))]
    Cycle(Vec<PluginId>),
    /// Too many plugins wait for each other.
    #[error("more than {CALL_DEPTH_MAX} plugins would wait for each other")]
    TooDeep,
}

impl Default for Caller {
    /// The host itself.
    fn default() -> Self {
        static HOST: LazyLock<Arc<str>> = LazyLock::new(|| "-".into());
        Self::new(HOST.clone())
    }
}

impl Caller {
    /// A request from outside, by nobody in particular and for as long as it takes.
    pub fn new(request_id: Arc<str>) -> Self {
        Self { request_id, user_id: None, trace: None, deadline: None, hops: 0, via: None }
    }

    /// In whose name `plugin` asks `target`, while it works for this caller.
    ///
    /// # Errors
    /// [`RelayRefused`]: `target` is `plugin` or waits for it, or the chain is too long.
    pub fn relay(&self, plugin: &PluginId, target: &PluginId) -> Result<Self, RelayRefused> {
        let next = self.behind(plugin)?;
        next.may_ask(target)?;
        Ok(next)
    }

    /// In whose name the host works for `plugin`, while that works for this caller: `plugin` waits, and whoever
    /// the host asks in turn is not to ask it.
    ///
    /// # Errors
    /// [`RelayRefused::TooDeep`].
    pub fn behind(&self, plugin: &PluginId) -> Result<Self, RelayRefused> {
        let depth = self.depth() + 1;
        if depth > CALL_DEPTH_MAX {
            return Err(RelayRefused::TooDeep);
        }
        let link = Link { plugin: plugin.clone(), before: self.via.clone(), depth };
        Ok(Self { via: Some(Arc::new(link)), ..self.clone() })
    }

    /// Whether the host may ask `target` in this name.
    ///
    /// # Errors
    /// [`RelayRefused::Cycle`]: `target` waits for the answer.
    pub fn may_ask(&self, target: &PluginId) -> Result<(), RelayRefused> {
        if !self.via().any(|waiting| waiting == target) {
            return Ok(());
        }
        let mut circle: Vec<_> = [target].into_iter().chain(self.via()).cloned().collect();
        circle.reverse();
        let from = circle.iter().position(|waiting| waiting == target).unwrap_or(0);
        Err(RelayRefused::Cycle(circle.split_off(from)))
    }

    /// The plugins that wait for the answer, the one that asked first.
    pub fn via(&self) -> impl Iterator<Item = &PluginId> {
        let links = std::iter::successors(self.via.as_deref(), |link| link.before.as_deref());
        links.map(|link| &link.plugin)
    }

    /// How many plugins wait for the answer.
    pub fn depth(&self) -> u32 {
        self.via.as_ref().map_or(0, |link| link.depth)
    }

    /// The plugin that asks, or that the host asks for; `None` for a caller from outside.
    pub fn plugin(&self) -> Option<&PluginId> {
        self.via.as_ref().map(|link| &link.plugin)
    }

    /// The same, over at `deadline` at the latest.
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |own| own.min(deadline)));
        self
    }

    /// Whoever the events are for that are emitted while this caller is worked for: nobody waits for them,
    /// and they may take as long as they take.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { deadline: None, via: None, ..self.clone() }
    }
}

fn chain(plugins: &[PluginId]) -> impl fmt::Display {
    let names: Vec<&str> = plugins.iter().map(PluginId::as_str).collect();
    names.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::{CALL_DEPTH_MAX, Caller, RelayRefused};
    use crate::PluginId;
    use std::time::{Duration, Instant};

    fn id(name: &str) -> PluginId {
        name.parse().unwrap()
    }

    /// The caller after a chain of calls, each from one name to the next.
    fn chain(names: &[&str]) -> Result<Caller, RelayRefused> {
        let start = Caller::new("r".into());
        names.windows(2).try_fold(start, |caller, pair| caller.relay(&id(pair[0]), &id(pair[1])))
    }

    #[test]
    fn who_waits_is_known_and_the_rest_stays() {
        let mut outside = Caller::new("r-1".into());
        outside.user_id = Some("ann".into());
        let inner = outside.relay(&id("a"), &id("b")).unwrap().relay(&id("b"), &id("c")).unwrap();
        let via: Vec<_> = inner.via().map(PluginId::as_str).collect();
        assert_eq!((via.as_slice(), inner.depth()), (["b", "a"].as_slice(), 2));
        assert_eq!((&*inner.request_id, inner.user_id.as_deref()), ("r-1", Some("ann")));
        assert_eq!(inner.plugin(), Some(&id("b")));
        assert_eq!(outside.plugin(), None);
    }

    #[test]
    fn a_circle_is_refused_and_named() {
        assert!(chain(&["a", "b", "c"]).is_ok());
        for (names, told) in [
            (["x", "a", "b", "a"].as_slice(), "calls lead in a circle: a -> b -> a"),
            (&["a", "a"], "calls lead in a circle: a -> a"),
        ] {
            assert_eq!(chain(names).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn a_chain_may_be_long_but_not_endless() {
        let names: Vec<String> = (0..=CALL_DEPTH_MAX + 1).map(|at| format!("p{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(chain(&names[..=CALL_DEPTH_MAX as usize]).is_ok());
        assert_eq!(chain(&names), Err(RelayRefused::TooDeep));
    }

    #[test]
    fn a_deadline_only_comes_nearer() {
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        assert_eq!(Caller::default().until(later).until(soon).deadline, Some(soon));
        assert_eq!(Caller::default().until(soon).until(later).deadline, Some(soon));
    }

    #[test]
    fn nobody_waits_for_events() {
        let caller = chain(&["a", "b", "c"]).unwrap().until(Instant::now()).detached();
        assert_eq!((caller.depth(), caller.deadline), (0, None));
        assert_eq!(&*caller.request_id, "r");
    }
}
