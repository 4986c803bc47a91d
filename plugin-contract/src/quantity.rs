//! Sizes and times as people write them: `"64MB"`, `"64MiB"`, `"30s"`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A size in bytes, as in `"64MB"`. Shown in the largest unit that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// A time, as in `"30s"`. Shown in the largest unit that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(Duration);

impl ByteSize {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl TimeSpan {
    /// This long, in whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        parse_bytes(text).map(Self)
    }
}

impl FromStr for TimeSpan {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        parse_duration(text).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, &BYTE_UNITS, f)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS, f)
    }
}

/// The units, the one that is found first at the end of a text first; then the largest last.
const BYTE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

const TIME_UNITS: [(&str, u64); 3] = [("ms", 1), ("s", 1_000), ("m", 60_000)];

/// `value` in the largest unit that divides it.
fn show(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fitting = units.iter().filter(|(_, factor)| value.is_multiple_of(*factor));
    let (unit, factor) = fitting.max_by_key(|(_, factor)| *factor).unwrap_or(&units[0]);
    write!(f, "{}{unit}", value / factor)
}

/// A text that is no quantity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct InvalidQuantity {
    text: String,
    wanted: &'static str,
}

/// Bytes: a whole number and one of `B`, `KB`, `MB`, `GB` (powers of 1,000) or `KiB`, `MiB`, `GiB`
/// (powers of 1,024).
///
/// # Errors
/// [`InvalidQuantity`] for anything else, zero and what exceeds 64 bits included.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidQuantity> {
    quantity(text, &BYTE_UNITS).ok_or_else(|| InvalidQuantity {
        text: shown(text),
        wanted: "a size: a whole number above zero and B, KB, MB, GB, KiB, MiB or GiB, as in \"64MB\"",
    })
}

/// A time: a whole number and one of `ms`, `s`, `m`.
///
/// # Errors
/// [`InvalidQuantity`] for anything else, zero and what exceeds a day included.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    const DAY_MS: u64 = 24 * 3600 * 1_000;
    quantity(text, &TIME_UNITS).filter(|ms| *ms <= DAY_MS).map(Duration::from_millis).ok_or_else(|| {
        InvalidQuantity {
            text: shown(text),
            wanted: "a time: a whole number above zero and ms, s or m, at most a day, as in \"30s\"",
        }
    })
}

/// `text` as a number of the smallest unit; the first unit that ends it counts.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    // `parse` alone would take a sign.
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let value: u64 = digits.then(|| number.parse().ok())??;
    value.checked_mul(*factor).filter(|value| *value > 0)
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                // Among many values, the one that is wrong is to be found.
                let refused = |problem| format!("`{}`: {problem}", $crate::escape(&text, 80));
                text.parse().map_err(refused)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )*};
}

pub(crate) use as_text;

as_text!(ByteSize, TimeSpan);

#[cfg(test)]
mod tests {
    use super::{ByteSize, TimeSpan, parse_bytes, parse_duration};
    use std::time::Duration;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1B", 1),
            ("64KB", 64_000),
            ("64MB", 64_000_000),
            ("64 MiB", 64 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn times_have_three_units() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("2 m", 120_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn quantities_read_back_as_shown() {
        for (text, shown) in [("64MB", "64MB"), ("65536KiB", "64MiB"), ("1500B", "1500B")] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.to_string().as_str(), shown.parse()), (shown, Ok(size)));
        }
        for (text, shown) in [("500ms", "500ms"), ("120s", "2m"), ("90s", "90s")] {
            let time: TimeSpan = text.parse().unwrap();
            assert_eq!((time.to_string().as_str(), shown.parse()), (shown, Ok(time)));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_accepted_forms() {
        for bad in
            ["", "64", "MB", "0MB", "-1MB", "+1MB", "1.5MB", "64mb", "99999999999GB", "1  MB"]
        {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "30", "s", "0s", "1h", "90000s", "-1s", "18446744073709551615m"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        let error = parse_bytes("lots").unwrap_err().to_string();
        assert!(
            error.starts_with("\"lots\" is not a size") && error.contains("\"64MB\""),
            "{error}"
        );
    }
}
