//! Texts that a stranger chose, made fit to be shown.

/// At most `bytes_max` bytes of `text`, without anything that a terminal or a log reader would act
/// on: control characters and those that reorder or break lines are written as `\u{..}`.
///
/// ```
/// assert_eq!(plugin_contract::escape("red \u{1b}[31m\n", 64), r"red \u{1b}[31m\n");
/// assert_eq!(plugin_contract::escape("abcdef", 3), "abc...");
/// ```
pub fn escape(text: &str, bytes_max: usize) -> String {
    let cut = text.floor_char_boundary(bytes_max);
    let mut out = String::with_capacity(cut);
    for c in text[..cut].chars() {
        let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let separates = matches!(c, '\u{2028}' | '\u{2029}');
        if (c.is_control() && c != '\t') || reorders || separates {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if cut < text.len() {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(escape("abc", 3), "abc");
        assert_eq!(escape("\u{e9}\u{e9}", 3), "\u{e9}...");
        assert_eq!(escape(&"x".repeat(10 << 20), 8 << 10).len(), (8 << 10) + 3);
    }

    #[test]
    fn what_terminals_act_on_is_spelled_out() {
        assert_eq!(escape("\r\u{202e}\u{2028}\u{9b}", 99), r"\r\u{202e}\u{2028}\u{9b}");
        assert_eq!(escape("tab\there \u{1f600}", 99), "tab\there \u{1f600}");
    }
}
