//! Percentiles of the last few thousand latencies, in some kilobytes.
//!
//! A histogram whose buckets grow with what they hold, each by a sixteenth: it needs no idea of the
//! range beforehand, is exact to 6 % from nanoseconds to hours, cannot be thrown off by one value,
//! and counts a call in a nanosecond. Estimators that keep less (P², frugal ones) depend on the
//! order of arrival and are slow to follow a jump. Old calls are forgotten by whole generations:
//! there are always the last 4,096 to 8,192 of them, each with the same weight.

use std::{fmt, mem};

use serde::{Deserialize, Serialize};

/// Buckets below 16 ns, and up to 2^44 ns, near five hours: beyond that, all are one.
const BUCKETS: usize = 16 + 40 * 16;
const LONGEST_NS: u64 = (1 << 44) - 1;
const GENERATION: u16 = 4_096;

/// What came lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Latencies {
    current: Histogram,
    previous: Histogram,
}

impl Latencies {
    pub(super) fn add(&mut self, ns: u64) {
        if self.current.total == GENERATION {
            self.previous = mem::take(&mut self.current);
        }
        self.current.add(ns);
    }

    /// How many there are to tell percentiles from.
    pub(super) fn len(&self) -> usize {
        usize::from(self.current.total) + usize::from(self.previous.total)
    }

    /// The longest latency in the bucket of each percentile, in ns. They are to ascend. `None`
    /// without any latencies.
    pub(super) fn percentiles<const N: usize>(&self, percents: [u8; N]) -> Option<[u64; N]> {
        let total = self.len();
        if total == 0 {
            return None;
        }
        let (mut bucket, mut below) = (0, 0);
        Some(percents.map(|percent| {
            let rank = (total * usize::from(percent)).div_ceil(100);
            while below < rank && bucket < BUCKETS {
                below += usize::from(self.current.counts[bucket]);
                below += usize::from(self.previous.counts[bucket]);
                bucket += 1;
            }
            top(bucket.saturating_sub(1))
        }))
    }
}

/// Of at most [`GENERATION`] latencies. In files, only buckets that are not empty.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u16, u16)>", into = "Vec<(u16, u16)>")]
struct Histogram {
    counts: Box<[u16; BUCKETS]>,
    total: u16,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

impl Histogram {
    fn add(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
    }
}

/// The leading one and the four bits after it name the bucket.
fn bucket(ns: u64) -> usize {
    let ns = ns.min(LONGEST_NS);
    let shift = 59u32.saturating_sub(ns.leading_zeros());
    (shift as usize) * 16 + (ns >> shift) as usize
}

/// The longest latency in a bucket.
fn top(bucket: usize) -> u64 {
    let shift = (bucket / 16).saturating_sub(1);
    (((bucket - shift * 16) as u64 + 1) << shift) - 1
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram(of {})", self.total)
    }
}

impl From<Histogram> for Vec<(u16, u16)> {
    fn from(histogram: Histogram) -> Self {
        let counts = (0..).zip(histogram.counts.iter().copied());
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl TryFrom<Vec<(u16, u16)>> for Histogram {
    type Error = &'static str;

    fn try_from(counts: Vec<(u16, u16)>) -> Result<Self, Self::Error> {
        let mut histogram = Self::default();
        for (bucket, count) in counts {
            let slot = histogram.counts.get_mut(usize::from(bucket)).ok_or("no such bucket")?;
            let total = histogram.total.saturating_add(count);
            if total > GENERATION {
                return Err("more latencies than a histogram holds");
            }
            (*slot, histogram.total) = (*slot + count, total);
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUCKETS, Latencies, bucket, top};

    fn of(values: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        values.into_iter().for_each(|ns| latencies.add(ns));
        latencies
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!((bucket(0), bucket(15), bucket(16)), (0, 15, 16));
        for b in 0..BUCKETS - 1 {
            assert_eq!((bucket(top(b)), bucket(top(b) + 1)), (b, b + 1));
        }
        assert_eq!((bucket(u64::MAX), bucket(top(BUCKETS - 1))), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn percentiles_are_right_to_six_percent() {
        let found = of((1..=4_000).map(|us| us * 1_000)).percentiles([50, 90, 99]).unwrap();
        for (found, exact) in found.into_iter().zip([2_000_000, 3_600_000, 3_960_000]) {
            assert!((exact..exact + exact / 16).contains(&found), "{found} {exact}");
        }
        assert_eq!(of([7]).percentiles([50, 90, 99]), Some([7; 3]));
        assert_eq!(of([]).percentiles([50]), None);
    }

    #[test]
    fn a_new_pace_is_followed_within_two_generations() {
        let slow = std::iter::repeat_n(10, 100_000);
        let latencies = of(slow.chain(std::iter::repeat_n(5, 8_192)));
        assert_eq!(latencies.percentiles([1, 99]), Some([5; 2]));
        assert!((4_096..=8_192).contains(&latencies.len()));
    }

    #[test]
    fn hostile_counts_are_refused() {
        for text in ["[[656,1]]", "[[0,4097]]", "[[0,4096],[0,1]]", "[[0,65535],[1,65535]]"] {
            let text = format!(r#"{{"current":{text},"previous":[]}}"#);
            assert!(serde_json::from_str::<Latencies>(&text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_is_within_a_sixteenth_of_its_top(ns in 0..=super::LONGEST_NS) {
            let top = top(bucket(ns));
            prop_assert!(ns <= top && top - ns <= ns / 16);
        }

        #[test]
        fn files_keep_all_of_it(values in prop::collection::vec(any::<u64>(), 0..9_000)) {
            let latencies = of(values);
            let text = serde_json::to_string(&latencies).unwrap();
            prop_assert_eq!(serde_json::from_str::<Latencies>(&text).unwrap(), latencies);
        }
    }
}
