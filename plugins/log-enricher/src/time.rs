//! Points in time as RFC 3339.

use serde_json::Value;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The value of a field that tells the time: a text, or a number since 1970.
pub(crate) fn of_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => of_text(text).or_else(|| of_epoch(text.parse().ok()?)),
        Value::Number(number) => of_epoch(number.as_f64()?),
        _ => None,
    }
}

/// `2026-03-14 09:26:53,123` and its kin. Without a zone it is taken for UTC.
pub(crate) fn of_text(text: &str) -> Option<String> {
    let text = text.trim();
    let (date, clock) = (text.get(..10)?, text.get(11..19)?);
    let well_formed = fits(date, "0000-00-00") && fits(clock, "00:00:00");
    if !well_formed || !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
    let in_range = (1..=12).contains(&number(&date[5..7]))
        && (1..=31).contains(&number(&date[8..]))
        && number(&clock[..2]) < 24
        && number(&clock[3..5]) < 60
        && number(&clock[6..]) <= 60;
    if !in_range {
        return None;
    }
    let mut rest = &text[19..];
    let mut fraction = String::new();
    if let Some(digits) = rest.strip_prefix(['.', ',']) {
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        fraction = format!(".{}", &digits[..end]);
        rest = &digits[end..];
        if end == 0 {
            return None;
        }
    }
    Some(format!("{date}T{clock}{fraction}{}", zone(rest.trim_start())?))
}

/// `14/Mar/2026:09:26:53 +0100`, as web servers write it.
pub(crate) fn of_access_log(text: &str) -> Option<String> {
    let (date, clock) = text.split_once(':')?;
    let mut parts = date.split('/');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    of_text(&format!("{year}-{month:02}-{day} {clock}"))
}

fn zone(text: &str) -> Option<String> {
    match text {
        "" | "Z" | "z" => Some("Z".to_owned()),
        _ if fits(text, "+00:00") => Some(text.to_owned()),
        _ if fits(text, "+0000") => Some(format!("{}:{}", &text[..3], &text[3..])),
        _ => None,
    }
}

/// Whether `text` has digits where `form` has `0`, a sign where it has `+`, and else the same.
fn fits(text: &str, form: &str) -> bool {
    let same = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'+' => matches!(byte, b'+' | b'-'),
        _ => byte == form,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(same)
}

/// Seconds, milliseconds, microseconds or nanoseconds, told apart by how many there are. Anything
/// but the years 2001 to 5138 is no point in time.
fn of_epoch(number: f64) -> Option<String> {
    let seconds = match number {
        n if (1e9..1e11).contains(&n) => n,
        n if (1e12..1e14).contains(&n) => n / 1e3,
        n if (1e15..1e17).contains(&n) => n / 1e6,
        n if (1e18..1e20).contains(&n) => n / 1e9,
        _ => return None,
    };
    let millis = (seconds * 1e3).round() as u64;
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date_of(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    let fraction = if milli == 0 { String::new() } else { format!(".{milli:03}") };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// The date of a day counted from 1970-01-01, by years that begin in March.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next, month, day)
}
