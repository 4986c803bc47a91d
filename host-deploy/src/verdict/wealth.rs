//! What somebody has made who bets on harm: the evidence for it.

use serde::{Deserialize, Serialize};

use super::{
    Sound,
    block::{ODDS, Table},
};

/// The money of one player, as logarithms, for it grows and shrinks beyond what numbers hold.
///
/// Bet `i` (from 0) is opened with 1/((i+1)(i+2)) of the first unit, equally on all [`ODDS`]. These
/// parts add up to 1, so after `i` of them 1/(i+1) is left as cash. All bets on the same odds win
/// and lose alike from when they are open, so their sum is all that has to be kept of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Wealth {
    bets_ln: [f64; ODDS.len()],
    openings: u32,
    /// Blocks that could be bet on.
    blocks: u64,
    next_opening: u64,
}

impl Default for Wealth {
    fn default() -> Self {
        let first = (0.5 / ODDS.len() as f64).ln();
        Self { bets_ln: [first; ODDS.len()], openings: 1, blocks: 0, next_opening: 1 }
    }
}

impl Wealth {
    /// Bets on a block, and is paid.
    pub(super) fn bet(&mut self, table: Table) {
        let Some(growth_ln) = table.growth_ln() else { return };
        // Before the pay, and at a time that only the past decides.
        if self.blocks >= self.next_opening {
            self.open();
        }
        self.blocks = self.blocks.saturating_add(1);
        for (bet, growth) in self.bets_ln.iter_mut().zip(growth_ln) {
            *bet += growth;
        }
    }

    /// With each opening an eighth later than the one before, the last bet is never older than the
    /// harm by much, and the next never far; and after a million blocks there were but 110.
    fn open(&mut self) {
        let i = f64::from(self.openings);
        let part = -((i + 1.0) * (i + 2.0) * ODDS.len() as f64).ln();
        self.bets_ln = self.bets_ln.map(|bet| add_ln(bet, part));
        self.openings = self.openings.saturating_add(1);
        self.next_opening = self.blocks.saturating_add((self.blocks / 8).max(1));
    }

    /// The logarithm of the e-value: of bets and cash together.
    pub(super) fn ln(&self) -> f64 {
        let cash = -(f64::from(self.openings) + 1.0).ln();
        let most = self.bets_ln.iter().copied().fold(cash, f64::max);
        let sum: f64 = self.bets_ln.iter().map(|bet| (bet - most).exp()).sum();
        most + (sum + (cash - most).exp()).ln()
    }
}

impl Sound for Wealth {
    fn is_sound(&self) -> bool {
        // A block multiplies money by at most 64 to the 64th, so this leaves room for the longest
        // life, and none for infinity.
        self.bets_ln.iter().all(|bet| bet.abs() < 1e100)
    }
}

/// ln(e^a + e^b).
fn add_ln(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

/// As a number, which is finite.
pub(super) fn e_value(ln: f64) -> f64 {
    ln.min(690.0).exp()
}

#[cfg(test)]
mod tests {
    use super::{Table, Wealth, add_ln, e_value};

    const QUIET: Table = Table { calls: [60, 4], shown: [3, 0] };
    const HARM: Table = Table { calls: [60, 4], shown: [2, 1] };

    fn after(blocks: &[(u32, Table)]) -> Wealth {
        let mut wealth = Wealth::default();
        for (times, table) in blocks {
            (0..*times).for_each(|_| wealth.bet(*table));
        }
        wealth
    }

    #[test]
    fn the_game_starts_with_one_unit_and_opening_a_bet_makes_no_money() {
        let mut wealth = Wealth::default();
        for _ in 0..1_000 {
            assert!(wealth.ln().abs() < 1e-9);
            wealth.open();
        }
    }

    #[test]
    fn blocks_without_a_failure_cost_nothing() {
        let wealth = after(&[(10_000, Table { calls: [60, 4], shown: [0, 0] })]);
        assert_eq!(wealth, Wealth::default());
    }

    #[test]
    fn a_long_healthy_time_is_survived_by_cash_and_fresh_bets() {
        let early = after(&[(60, HARM)]);
        let late = after(&[(10_000, QUIET), (60, HARM)]);
        let lost_for_good = early.ln() + 10_000.0 * QUIET.growth_ln().unwrap()[4];
        assert!(late.ln() > lost_for_good + 100.0);
        let longer = after(&[(10_000, QUIET), (600, HARM)]);
        assert!(longer.ln() > 1_000f64.ln(), "{}", longer.ln());
    }

    #[test]
    fn no_number_leaves_the_finite() {
        let rich = after(&[(100_000, Table { calls: [32, 32], shown: [0, 32] })]);
        let poor = after(&[(100_000, Table { calls: [32, 32], shown: [32, 0] })]);
        assert!(e_value(rich.ln()).is_finite() && e_value(rich.ln()) > 1e299);
        assert!(e_value(poor.ln()) > 0.0 && poor.ln() > -5.0);
        assert!((add_ln(0.0, -1e99)).abs() < 1e-15);
    }
}
