//! How much of the traffic, counted in basis points so that nothing is rounded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A part of all calls, from none to all, in hundredths of a percent.
///
/// Written in percent with at most two digits after the point, in files as on the command line:
///
/// ```
/// use host_deploy::Share;
///
/// let share: Share = "0.5%".parse()?;
/// assert_eq!(share.basis_points(), 50);
/// assert_eq!(share.to_string(), "0.5%");
/// assert!(share < Share::ALL);
/// # Ok::<(), host_deploy::ShareError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u16);

impl Share {
    /// No call at all.
    pub const NONE: Self = Self(0);
    /// Every call.
    pub const ALL: Self = Self(10_000);

    /// `None` if it were more than all: above 10,000.
    pub const fn from_basis_points(basis_points: u16) -> Option<Self> {
        if basis_points <= Self::ALL.0 { Some(Self(basis_points)) } else { None }
    }

    /// 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// No call at all?
    pub const fn is_none(self) -> bool {
        self.0 == Self::NONE.0
    }

    /// Every call?
    pub const fn is_all(self) -> bool {
        self.0 == Self::ALL.0
    }
}

/// Why a text is no [`Share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// Something other than digits, one point, and a percent sign at the end.
    #[error("a share is a number of percent with the sign after it, as in `5%` or `0.25%`")]
    NotPercent,
    /// Finer than a basis point.
    #[error("a share has at most two digits after the point, as in `0.25%`")]
    TooFine,
    /// More than there is.
    #[error("a share is at most `100%`")]
    MoreThanAll,
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').ok_or(ShareError::NotPercent)?;
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        // `u32::from_str` would take a plus sign, too.
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) {
            return Err(ShareError::NotPercent);
        }
        let hundredths = match fraction.unwrap_or("0").as_bytes() {
            [tenths] => u32::from(tenths - b'0') * 10,
            [tenths, hundredths] => u32::from(tenths - b'0') * 10 + u32::from(hundredths - b'0'),
            _ => return Err(ShareError::TooFine),
        };
        // Digits that overflow are a number, only far too large a one.
        let whole: u32 = whole.parse().map_err(|_| ShareError::MoreThanAll)?;
        let basis_points = whole.saturating_mul(100).saturating_add(hundredths);
        u16::try_from(basis_points)
            .ok()
            .and_then(Self::from_basis_points)
            .ok_or(ShareError::MoreThanAll)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match (hundredths, hundredths % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", hundredths / 10),
            _ => write!(f, "{whole}.{hundredths:02}%"),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = ShareError;
    fn try_from(text: String) -> Result<Self, ShareError> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Share, ShareError};

    #[track_caller]
    fn check(text: &str, expected: Result<u16, ShareError>) {
        assert_eq!(text.parse::<Share>().map(Share::basis_points), expected, "{text}");
    }

    #[test]
    fn percent_with_up_to_two_digits_after_the_point() {
        check("0%", Ok(0));
        check("0.01%", Ok(1));
        check("0.5%", Ok(50));
        check("1%", Ok(100));
        check("1.50%", Ok(150));
        check("33.33%", Ok(3_333));
        check("100%", Ok(10_000));
        check("100.00%", Ok(10_000));
    }

    #[test]
    fn what_is_no_share_says_why() {
        for text in ["", "%", "5", ".5%", "5.%", "+5%", "-5%", " 5%", "5 %", "5%%", "1e1%", "٥%"] {
            check(text, Err(ShareError::NotPercent));
        }
        check("0.125%", Err(ShareError::TooFine));
        check("100.01%", Err(ShareError::MoreThanAll));
        check("655.36%", Err(ShareError::MoreThanAll));
        check(&format!("{}%", "9".repeat(1_000)), Err(ShareError::MoreThanAll));
    }

    #[test]
    fn every_share_is_read_back_as_written() {
        for basis_points in 0..=10_000 {
            let share = Share::from_basis_points(basis_points).unwrap();
            assert_eq!(share.to_string().parse(), Ok(share));
        }
        assert_eq!(Share::from_basis_points(10_001), None);
    }

    #[test]
    fn in_files_it_is_the_same_text() {
        let share = Share::from_basis_points(25).unwrap();
        assert_eq!(serde_json::to_string(&share).unwrap(), r#""0.25%""#);
        assert_eq!(serde_json::from_str::<Share>(r#""0.25%""#).unwrap(), share);
        assert!(serde_json::from_str::<Share>(r#""101%""#).is_err());
        assert!(serde_json::from_str::<Share>("25").is_err());
    }
}
