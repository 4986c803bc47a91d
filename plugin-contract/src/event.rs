//! Types of events, and subscriptions to them.

/// Longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;

/// Whether `text` is well-formed as an event type: 1 to 128 bytes of lower-case letters, digits, `.`, `-`
/// and `_`.
pub fn is_event_type(text: &str) -> bool {
    (1..=EVENT_TYPE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')
        })
}

/// Whether `text` is well-formed as a subscription: an event type, or `prefix.*`.
pub fn is_subscription(text: &str) -> bool {
    text.len() <= EVENT_TYPE_BYTES_MAX && is_event_type(text.strip_suffix(".*").unwrap_or(text))
}

/// Whether a subscription, exact or `prefix.*`, covers an event type.
pub fn subscription_covers(wanted: &str, event_type: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => prefix.ends_with('.') && event_type.starts_with(prefix),
        None => wanted == event_type,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_subscription, subscription_covers};

    #[test]
    fn subscriptions_are_exact_or_a_prefix() {
        for (wanted, event_type, covered) in [
            ("log.line", "log.line", true),
            ("log.*", "log.line", true),
            ("log.*", "log.a.b", true),
            ("log.line", "log.lines", false),
            ("log*", "log.line", false),
            ("*", "log.line", false),
            ("log.*", "log", false),
            ("log.*", "logs.line", false),
        ] {
            assert_eq!(
                subscription_covers(wanted, event_type),
                covered,
                "{wanted} for {event_type}"
            );
        }
        for (text, good) in [("a", true), ("a.*", true), ("*", false), ("A", false), ("a*", false)]
        {
            assert_eq!(is_subscription(text), good, "{text}");
        }
    }
}
