//! One bet: in a block of calls, how many of those with a sign are the canary's?
//!
//! Let a block have `n` calls, `c` of them the canary's, and let `k` of all show the sign (failed,
//! or slow), `x` of those the canary's. For odds ω > 1 the money is multiplied by
//!
//! ```text
//! f(x, k) = ω^x / E[ω^X],   X hypergeometric: k draws without return from n, c of which count
//! ```
//!
//! This is fair or worse whenever the canary does no harm, given all that was before the block:
//! 1. If the sign does not depend on the arm, chance has dealt the arms among the calls. So `x` is
//!    hypergeometric given `k`, however the calls hang together, and the mean of `f` is 1.
//! 2. A canary that does better shows the sign on fewer of the same calls. Each that it saves takes
//!    (x, k) to (x-1, k-1) and multiplies `f` by E_k[ω^X] / (ω E_{k-1}[ω^X]), which is at most 1:
//!    k draws find at most one more than their first k-1.
//!
//! No rate enters, so none has to be estimated or to stay as it is, and a fault that hits all calls
//! alike says nothing (`k` near `n`). Of calls with fixed probabilities, 2. says what is known as the
//! stochastic order of noncentral hypergeometric laws in their odds ratio.

use serde::{Deserialize, Serialize};

use super::{Arm, Sound};

/// The odds ratios that are bet on. Neighbours are so near that whatever the true one is,
/// betting on the nearest takes about a tenth more calls at worst.
pub(super) const ODDS: [f64; 8] = [1.15, 1.3, 1.7, 2.5, 4.0, 8.0, 20.0, 64.0];

/// What a call may show: that it failed, or was slower than one of three percentiles.
pub(super) const SIGNS: usize = 4;

/// Calls in the order in which they ended, counted until there are enough of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Block {
    calls: [u8; 2],
    /// For each sign the calls that showed it, of both arms.
    shown: [[u8; 2]; SIGNS],
}

impl Block {
    /// So many that even one canary among them meets enough stable calls to be compared with (less
    /// than 2 % of what they can tell is lost), and so few that nobody has to wait for the last.
    pub(super) const CALLS: u8 = 64;

    pub(super) fn add(&mut self, arm: Arm, signs: [bool; SIGNS]) {
        self.calls[arm as usize] += 1;
        for (shown, sign) in self.shown.iter_mut().zip(signs) {
            shown[arm as usize] += u8::from(sign);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.calls[0] + self.calls[1] >= Self::CALLS
    }

    pub(super) fn tables(&self) -> [Table; SIGNS] {
        self.shown.map(|shown| Table { calls: self.calls, shown })
    }
}

impl Sound for Block {
    fn is_sound(&self) -> bool {
        let calls = u32::from(self.calls[0]) + u32::from(self.calls[1]);
        let possible = |shown: &[u8; 2]| shown[0] <= self.calls[0] && shown[1] <= self.calls[1];
        calls < u32::from(Self::CALLS) && self.shown.iter().all(possible)
    }
}

/// A block as one sign shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Stable, canary.
    pub(super) calls: [u8; 2],
    /// Those of them that showed the sign.
    pub(super) shown: [u8; 2],
}

impl Table {
    /// The logarithm of `f` for each of the [`ODDS`]. `None` if all are 0, because `x` was certain.
    pub(super) fn growth_ln(&self) -> Option<[f64; ODDS.len()]> {
        let [stable, canary] = self.calls.map(usize::from);
        let [stable_shown, x] = self.shown.map(usize::from);
        let k = stable_shown + x;
        let (least, most) = (k.saturating_sub(stable), k.min(canary));
        if least == most {
            return None;
        }
        // Chances of each `x` up to a constant; none exceeds 64 over 32, about 1e18.
        let mut chances = [0.0; Block::CALLS as usize + 1];
        let chances = &mut chances[..=most - least];
        let (mut chance, mut sum) = (1.0, 0.0);
        for (slot, x) in chances.iter_mut().zip(least..) {
            *slot = chance;
            sum += chance;
            // The whole numbers are exact. The last product is 0, and nobody looks at it.
            chance *= ((k - x) * (canary - x)) as f64 / ((x + 1) * (stable + x + 1 - k)) as f64;
        }
        Some(ODDS.map(|odds| {
            let mean = chances.iter().rev().fold(0.0, |mean, chance| mean * odds + chance) / sum;
            (x - least) as f64 * odds.ln() - mean.ln()
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ODDS, Table};

    fn growth(calls: [u8; 2], shown: [u8; 2]) -> [f64; ODDS.len()] {
        Table { calls, shown }.growth_ln().unwrap_or_default().map(f64::exp)
    }

    /// The mean of `f` over everything that `n` calls can show, if each shows it by itself.
    fn mean(calls: [u8; 2], chances: [f64; 2]) -> [f64; ODDS.len()] {
        let binomial = |n: u8, k: u8, p: f64| {
            let ways: f64 = (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product();
            ways * p.powi(k.into()) * (1.0 - p).powi((n - k).into())
        };
        let mut sum = [0.0; ODDS.len()];
        for stable in 0..=calls[0] {
            for canary in 0..=calls[1] {
                let chance =
                    binomial(calls[0], stable, chances[0]) * binomial(calls[1], canary, chances[1]);
                let growth = growth(calls, [stable, canary]);
                sum.iter_mut().zip(growth).for_each(|(sum, growth)| *sum += chance * growth);
            }
        }
        sum
    }

    #[test]
    fn one_failure_of_a_rare_canary_is_worth_what_the_formula_says() {
        // 64 ways to deal it, one to the canary: ω / ((63 + ω) / 64).
        let found = growth([63, 1], [0, 1]);
        for (odds, found) in ODDS.iter().zip(found) {
            assert!((found / (64.0 * odds / (63.0 + odds)) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn what_was_certain_is_worth_nothing() {
        for (calls, shown) in [([64, 0], [9, 0]), ([0, 64], [0, 9]), ([40, 24], [0, 0])] {
            assert_eq!(growth(calls, shown), [1.0; ODDS.len()]);
        }
        assert_eq!(growth([40, 24], [40, 24]), [1.0; ODDS.len()]);
    }

    #[test]
    fn a_full_block_stays_within_numbers() {
        for canary in 0..=64u8 {
            for (stable_shown, canary_shown) in [(0, canary), (64 - canary, 0), (5, canary / 2)] {
                let shown = [stable_shown.min(64 - canary), canary_shown];
                let growth = growth([64 - canary, canary], shown);
                assert!(growth.iter().all(|g| g.is_finite() && *g > 0.0), "{canary} {growth:?}");
            }
        }
    }

    #[test]
    fn equal_chances_make_a_fair_bet_for_every_size_and_chance() {
        for calls in [[1, 1], [3, 1], [1, 3], [5, 4], [15, 1], [61, 3], [48, 16], [32, 32]] {
            for chance in [0.0, 1e-6, 0.001, 0.05, 0.3, 0.5, 0.9, 1.0] {
                for mean in mean(calls, [chance, chance]) {
                    assert!((mean - 1.0).abs() < 1e-12, "{calls:?} {chance}: {mean}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_canary_that_does_no_worse_makes_no_money(
            stable in 1..=12u8, canary in 1..=12u8, chance in 0.0..=1.0f64, part in 0.0..=1.0f64,
        ) {
            for mean in mean([stable, canary], [chance, chance * part]) {
                prop_assert!(mean <= 1.0 + 1e-12, "{mean}");
            }
        }

        /// Calls may hang together in any way: whatever would happen to each of them in either arm is
        /// fixed beforehand, and only who gets which call is left to chance.
        #[test]
        fn any_calls_at_all_make_a_fair_bet_if_chance_deals_them(
            calls in prop::collection::vec(prop::sample::select(vec![
                (false, false), (true, false), (true, true),
            ]), 2..=10),
            canary in 1..=9usize,
        ) {
            let (mut sum, mut deals) = ([0.0; ODDS.len()], 0.0);
            let dealt = |deal: u32| deal.count_ones() as usize == canary.min(calls.len() - 1);
            for deal in (0..1u32 << calls.len()).filter(|deal| dealt(*deal)) {
                let (mut n, mut shown) = ([0; 2], [0; 2]);
                for (i, (in_stable, in_canary)) in calls.iter().enumerate() {
                    let arm = (deal >> i & 1) as usize;
                    n[arm] += 1;
                    shown[arm] += u8::from([*in_stable, *in_canary][arm]);
                }
                deals += 1.0;
                sum.iter_mut().zip(growth(n, shown)).for_each(|(sum, growth)| *sum += growth);
            }
            prop_assert!(sum.iter().all(|sum| sum / deals <= 1.0 + 1e-12));
        }
    }
}
