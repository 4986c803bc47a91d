use proptest::prelude::*;

use super::{Share, Split, SplitKey, SplitKeyError};

const KEY: SplitKey = SplitKey::from_bytes(*b"0123456789abcdef");
const IDS: u64 = 1_000_000;

fn split(salt: &str, basis_points: u16) -> Split {
    Split::new(&KEY, salt.as_bytes(), Share::from_basis_points(basis_points).unwrap())
}

type Ids = Box<dyn Iterator<Item = Vec<u8>>>;

/// Ids as they come: numbers, random UUIDs, and long ones that differ in their last bytes only, which
/// someone outside would try who looks for collisions.
fn families() -> [(&'static str, Ids); 3] {
    let mut random = fastrand::Rng::with_seed(1);
    let numbers = (0..IDS).map(|n| n.to_string().into_bytes());
    let uuids = (0..IDS).map(move |_| format!("{:032x}", random.u128(..)).into_bytes());
    let prefixed = (0..IDS).map(|n| {
        let mut id = vec![0; 64];
        id.extend_from_slice(&n.to_le_bytes()[..3]);
        id
    });
    [("numbers", Box::new(numbers)), ("uuids", Box::new(uuids)), ("prefixed", Box::new(prefixed))]
}

/// One degree of freedom: 15.14 is exceeded by chance once in 10,000 times.
#[test]
fn each_share_takes_as_many_ids_as_it_says() {
    for (family, ids) in families() {
        let splits = [100, 500, 2_500, 5_000].map(|share| split("a", share));
        let mut taken = [0u64; 4];
        for id in ids {
            for (split, taken) in splits.iter().zip(&mut taken) {
                *taken += u64::from(split.takes(&id));
            }
        }
        for (split, taken) in splits.iter().zip(taken) {
            let share = f64::from(split.share().basis_points()) / 10_000.0;
            let (expected, all) = (IDS as f64 * share, IDS as f64);
            let deviation = taken as f64 - expected;
            let chi_squared = deviation.powi(2) * (1.0 / expected + 1.0 / (all - expected));
            println!("{family} {}: {taken}, chi-squared {chi_squared:.2}", split.share());
            assert!(chi_squared < 15.14);
        }
    }
}

/// 9,999 degrees of freedom: 10,535 is exceeded by chance once in 10,000 times.
#[test]
fn every_basis_point_holds_as_many_ids_as_any_other() {
    for (family, ids) in families() {
        let mut counts = vec![0u32; 10_000];
        let split = split("a", 0);
        ids.for_each(|id| counts[usize::from(split.bucket(&id))] += 1);
        let expected = IDS as f64 / 10_000.0;
        let chi_squared: f64 =
            counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        println!("{family}: chi-squared {chi_squared:.0}");
        assert!(chi_squared < 10_535.0);
    }
}

/// A change of the hash would send callers to the other side in the middle of a rollout. The numbers
/// were computed from the description of SipHash, by another program.
#[test]
fn the_hash_stays_what_it_is() {
    let bucket = |salt, id: &str| split(salt, 0).bucket(id.as_bytes());
    assert_eq!(bucket("resizer@1.1.0", ""), 7171);
    assert_eq!(bucket("resizer@1.1.0", "a"), 4678);
    assert_eq!(bucket("resizer@1.2.0", "a"), 6612);
}

#[test]
fn two_rollouts_do_not_pick_the_same_ids() {
    let (one, other) = (split("a@1.1.0", 500), split("a@1.2.0", 500));
    let both = (0..IDS).map(u64::to_le_bytes).filter(|id| one.takes(id) && other.takes(id)).count();
    // A twentieth of a twentieth: 2,500, with a deviation of 50.
    assert!((2_300..2_700).contains(&both), "{both}");
}

#[test]
fn none_takes_nothing_and_all_takes_everything() {
    assert!((0..10_000u32).all(|id| !split("a", 0).takes(&id.to_le_bytes())));
    assert!((0..10_000u32).all(|id| split("a", 10_000).takes(&id.to_le_bytes())));
}

#[test]
fn the_key_is_kept_but_not_shown() {
    let text = serde_json::to_string(&KEY).unwrap();
    assert_eq!(text, r#""30313233343536373839616263646566""#);
    assert_eq!(serde_json::from_str::<SplitKey>(&text).unwrap(), KEY);
    assert_eq!(
        format!("{KEY:?} {:?}", split("a", 1)),
        "SplitKey(..) Split { share: Share(1), .. }"
    );
    for text in ["", "30", "+031323334353637383961626364656", &"é".repeat(16), &"0".repeat(33)] {
        assert_eq!(text.parse::<SplitKey>(), Err(SplitKeyError), "{text}");
    }
}

proptest! {
    #[test]
    fn a_share_that_grows_lets_nobody_go(
        key: [u8; 16], salt: Vec<u8>, id: Vec<u8>, small in 0..=10_000u16, more in 0..=10_000u16,
    ) {
        let takes = |points: u16| {
            let share = Share::from_basis_points(points.min(10_000)).unwrap();
            Split::new(&SplitKey::from_bytes(key), &salt, share).takes(&id)
        };
        prop_assert!(!takes(small) || takes(small.saturating_add(more)));
    }
}
