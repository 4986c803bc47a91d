//! What moves, and who waits for whom: a stream may take as long as it likes, but not stand still.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::meter::Earnings;

/// How a stream is doing. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Flow(Arc<Inner>);

struct Inner {
    /// Bytes moved into the guest and out of it.
    moved: AtomicU64,
    /// The guest reads, and there is no input.
    lacks_input: AtomicBool,
    /// The guest writes, and nobody reads.
    lacks_reader: AtomicBool,
    earnings: Earnings,
}

/// Nothing has moved for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stalled {
    /// The guest keeps others waiting.
    Guest,
    /// No input came.
    Input,
    /// Nobody read what comes out.
    Reader,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guest => "the plugin moved nothing",
            Self::Input => "no input came",
            Self::Reader => "nobody read what came out",
        })
    }
}

impl std::error::Error for Stalled {}

impl Flow {
    /// Whoever moves bytes earns the guest CPU time.
    pub(crate) fn new(earnings: Earnings) -> Self {
        Self(Arc::new(Inner {
            moved: AtomicU64::new(0),
            lacks_input: AtomicBool::new(false),
            lacks_reader: AtomicBool::new(false),
            earnings,
        }))
    }

    /// So many bytes went into the guest, or out of it.
    pub(super) fn moved(&self, bytes: usize) {
        self.0.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.earnings.earn(bytes);
    }

    pub(super) fn lacks_input(&self, lacks: bool) {
        self.0.lacks_input.store(lacks, Ordering::Relaxed);
    }

    pub(super) fn lacks_reader(&self, lacks: bool) {
        self.0.lacks_reader.store(lacks, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for too long: `guest_max` while the guest was not kept waiting,
    /// `others_max` while it was. Both hold to within an eighth.
    pub(crate) async fn stalled(&self, guest_max: Duration, others_max: Duration) -> Stalled {
        let step =
            (guest_max.min(others_max) / 8).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let mut moved = 0;
        let (mut guest, mut others) = (Duration::ZERO, Duration::ZERO);
        loop {
            tokio::time::sleep(step).await;
            let now = self.0.moved.load(Ordering::Relaxed);
            if now != moved {
                moved = now;
                (guest, others) = (Duration::ZERO, Duration::ZERO);
            }
            let lacks_input = self.0.lacks_input.load(Ordering::Relaxed);
            let lacks_reader = self.0.lacks_reader.load(Ordering::Relaxed);
            if lacks_input || lacks_reader {
                others += step;
            } else {
                guest += step;
            }
            if guest >= guest_max {
                return Stalled::Guest;
            }
            if others >= others_max {
                return if lacks_reader { Stalled::Reader } else { Stalled::Input };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flow, Stalled};
    use crate::meter::Earnings;
    use std::time::Duration;

    const GUEST: Duration = Duration::from_millis(800);
    const OTHERS: Duration = Duration::from_millis(1_600);

    /// How long it takes for `flow` to be found stalled while `work` is done.
    async fn stalled_after(flow: &Flow, work: impl Future<Output = ()>) -> (Stalled, u128) {
        let began = tokio::time::Instant::now();
        let (stalled, ()) = tokio::join!(flow.stalled(GUEST, OTHERS), work);
        (stalled, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_moves_nothing_is_found() {
        let flow = Flow::new(Earnings::none());
        assert_eq!(stalled_after(&flow, async {}).await, (Stalled::Guest, 800));
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_may_take_for_ever() {
        let flow = Flow::new(Earnings::none());
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(650)).await;
                flow.moved(1);
            }
        };
        let (stalled, after) = stalled_after(&flow, slow).await;
        assert_eq!(stalled, Stalled::Guest);
        assert!((6_500..=7_500).contains(&after), "{after}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_others_take_is_not_the_guests() {
        let flow = Flow::new(Earnings::none());
        flow.lacks_input(true);
        assert_eq!(stalled_after(&flow, async {}).await, (Stalled::Input, 1_600));
        let flow = Flow::new(Earnings::none());
        flow.lacks_reader(true);
        assert_eq!(stalled_after(&flow, async {}).await, (Stalled::Reader, 1_600));
    }
}
