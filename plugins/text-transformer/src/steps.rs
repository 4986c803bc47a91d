//! One function for each step that is more than a method of `str`.

use deunicode::deunicode_char;
use guest_sdk::prelude::*;
use pulldown_cmark::{CowStr, Event, Options as Markdown, Parser, Tag, html};
use regex::{Regex, RegexBuilder};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::{Options, Step, TEXT_BYTES_MAX};

const PATTERN_BYTES_MAX: usize = 1024;

/// Bounds for the compiled pattern and for its cache, in bytes: `\w{1000}` would take megabytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

pub(crate) fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    for part in text.split_word_bounds() {
        let mut letters = part.chars();
        if let Some(first) = letters.next() {
            titled.extend(first.to_uppercase());
            titled.push_str(&letters.as_str().to_lowercase());
        }
    }
    titled
}

pub(crate) fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    let mut in_space = false;
    for letter in text.chars() {
        if !letter.is_whitespace() {
            collapsed.push(letter);
        } else if !in_space {
            collapsed.push(' ');
        }
        in_space = letter.is_whitespace();
    }
    collapsed
}

pub(crate) fn nfc(text: &str) -> String {
    text.nfc().collect()
}

pub(crate) fn nfd(text: &str) -> String {
    text.nfd().collect()
}

pub(crate) fn nfkc(text: &str) -> String {
    text.nfkc().collect()
}

pub(crate) fn slugify(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    // Composed first: the tables know `é`, but would drop the accent of `e` and `´` as a letter.
    for ascii in text.nfc().map(|letter| deunicode_char(letter).unwrap_or(" ")) {
        for letter in ascii.chars() {
            if letter.is_ascii_alphanumeric() {
                slug.push(letter.to_ascii_lowercase());
            } else if letter != '\'' && !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// CommonMark with tables, strikethrough and task lists. The result can be put into a page: raw
/// HTML is shown as the text it is, and links lead nowhere unless to the web, to mail, or within
/// the page's own site.
pub(crate) fn markdown(text: &str) -> Result<String> {
    let dialect =
        Markdown::ENABLE_TABLES | Markdown::ENABLE_STRIKETHROUGH | Markdown::ENABLE_TASKLISTS;
    let events = Parser::new_ext(text, dialect).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: harmless(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: harmless(dest_url), title, id })
        }
        other => other,
    });
    let mut out = Bounded(String::with_capacity(text.len() + text.len() / 4));
    html::write_html_fmt(&mut out, events)
        .map_err(|_| Error::msg(format!("the text grows beyond {TEXT_BYTES_MAX} bytes")))?;
    Ok(out.0)
}

/// A string that refuses to grow too long.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        if self.0.len() + part.len() > TEXT_BYTES_MAX {
            return Err(std::fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

fn harmless(url: CowStr<'_>) -> CowStr<'_> {
    // Browsers skip white space and control characters before and within a scheme.
    let plain: String = url.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let scheme = match plain.split_once(':') {
        Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => scheme.to_ascii_lowercase(),
        _ => return url,
    };
    match scheme.as_str() {
        "http" | "https" | "mailto" => url,
        _ => CowStr::Borrowed("#"),
    }
}

/// The step `replace`, with its pattern compiled.
pub(crate) struct Replace {
    pattern: Regex,
    with: String,
}

impl Replace {
    /// Reads `pattern` and `with`, if there are any.
    pub(crate) fn new(options: &Options) -> Result<Option<Self>> {
        let Some(pattern) = &options.pattern else {
            ensure!(options.with.is_none(), "option `with`: says nothing without `pattern`");
            return Ok(None);
        };
        ensure!(options.ops.contains(&Step::Replace), "option `pattern`: `ops` has no `replace`");
        ensure!(
            pattern.len() <= PATTERN_BYTES_MAX,
            "option `pattern`: the most is {PATTERN_BYTES_MAX} bytes, got {}",
            pattern.len()
        );
        let pattern = RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .context("option `pattern`")?;
        Ok(Some(Self { pattern, with: options.with.clone().unwrap_or_default() }))
    }

    pub(crate) fn run(&self, text: &str) -> Result<String> {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = 0;
        for found in self.pattern.captures_iter(text) {
            let whole = found.get_match();
            replaced.push_str(&text[rest..whole.start()]);
            found.expand(&self.with, &mut replaced);
            rest = whole.end();
            ensure!(
                replaced.len() <= TEXT_BYTES_MAX,
                "the text grows beyond {TEXT_BYTES_MAX} bytes"
            );
        }
        replaced.push_str(&text[rest..]);
        Ok(replaced)
    }
}
