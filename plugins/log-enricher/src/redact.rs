//! Finds secrets: by the name of their field, by `name=value` within a text, and by their form.
//!
//! Errs on the side of redacting. What it cannot know is a secret that looks like any other word
//! and has no name beside it.

use std::borrow::Cow;

use guest_sdk::prelude::*;
use regex::{Captures, Regex};
use serde_json::Value;

const REDACTED: &str = "[redacted]";

/// What a private key is reduced to, so that it is found again and counted.
const EMPTY_KEY: &str = "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----";

/// Names that say that their value is a secret, in lower case and without punctuation.
const SECRET_WITHIN: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "credential",
    "authtoken",
];
const SECRET_AT_END: [&str; 7] = ["token", "pwd", "cookie", "cvv", "cvc", "sessionid", "jwt"];

pub(crate) struct Redactor {
    private_key: Regex,
    authorization: Regex,
    named: Regex,
    in_url: Regex,
    token: Regex,
    card: Regex,
    email: Option<Regex>,
}

impl Redactor {
    pub(crate) fn new(redact_email: bool) -> Result<Self> {
        let email = r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b";
        Ok(Self {
            // Without an end it goes on to the end of the text.
            private_key: Regex::new(
                r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
            )?,
            authorization: Regex::new(r"(?i)\b(bearer|basic)(\s+)([A-Za-z0-9+/_.~-]{8,}=*)")?,
            named: Regex::new(
                r#"(?i)([\w.-]*(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential|cookie|session[_-]?id)[\w.-]*\\?["']?\s*[=:]\s*)(\\?"(?:[^"\\]|\\[^"])*(?:\\?"|\z)|'[^']*(?:'|\z)|(?:(?:bearer|basic|digest|token)\s+)?[^\s,;&"']+)"#,
            )?,
            in_url: Regex::new(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^\s/@:]*:[^\s/@]+@")?,
            token: Regex::new(
                r"\b(?:(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|xox[abprs]-[A-Za-z0-9-]{10,250}|sk_live_[A-Za-z0-9]{16,250}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)",
            )?,
            card: Regex::new(r"\b[2-6](?:[ -]?\d){12,18}\b")?,
            email: redact_email.then(|| Regex::new(email)).transpose()?,
        })
    }

    /// Puts each private key on one line, so that it can be told from a line alone.
    pub(crate) fn hide_keys<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.private_key.replace_all(text, EMPTY_KEY)
    }

    /// Redacts all texts and numbers within `value`, and counts what was redacted.
    pub(crate) fn value(&self, value: &mut Value, redactions: &mut u32) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.text(text, redactions) {
                    *text = redacted;
                }
            }
            Value::Number(number) => {
                if let Cow::Owned(redacted) = self.text(&number.to_string(), redactions) {
                    *value = Value::String(redacted);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, redactions)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    if !is_secret(name) {
                        self.value(value, redactions);
                    } else if !value.is_null() {
                        *value = REDACTED.into();
                        *redactions += 1;
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Redacts what is secret in a text.
    pub(crate) fn text<'t>(&self, text: &'t str, redactions: &mut u32) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        let mut pass = |pattern: &Regex, replace: &dyn Fn(&Captures<'_>) -> Option<String>| {
            let mut found = 0;
            let replaced = pattern.replace_all(&text, |captures: &Captures<'_>| {
                let replacement = replace(captures);
                found += u32::from(replacement.is_some());
                replacement.unwrap_or_else(|| captures[0].to_owned())
            });
            if found > 0 {
                text = Cow::Owned(replaced.into_owned());
                *redactions += found;
            }
        };
        let whole = |_: &Captures<'_>| Some(REDACTED.to_owned());
        pass(&self.private_key, &whole);
        pass(&self.authorization, &|found| {
            let plausible = match found[1].to_ascii_lowercase().as_str() {
                "basic" => is_user_and_password(&found[3]),
                _ => found[3].contains(|letter: char| letter.is_ascii_digit()),
            };
            plausible.then(|| format!("{}{}{REDACTED}", &found[1], &found[2]))
        });
        pass(&self.named, &|found| {
            (!found[2].contains(REDACTED)).then(|| format!("{}{REDACTED}", &found[1]))
        });
        pass(&self.in_url, &|found| Some(format!("{}{REDACTED}@", &found[1])));
        pass(&self.token, &whole);
        pass(&self.card, &|found| is_card(&found[0]).then(|| REDACTED.to_owned()));
        if let Some(email) = &self.email {
            pass(email, &whole);
        }
        text
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_WITHIN.iter().any(|word| plain.contains(word))
        || SECRET_AT_END.iter().any(|word| plain.ends_with(word))
}

/// Whether this is base64 of something with a colon in it: "basic functionality" is not.
fn is_user_and_password(text: &str) -> bool {
    let mut bits = 0_u32;
    let mut count = 0;
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            if (bits >> count) & 0xFF == u32::from(b':') {
                return true;
            }
        }
    }
    false
}

/// The check digit of payment cards, over 13 to 19 digits.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, &digit)| match at % 2 {
            1 if digit > 4 => 2 * digit - 9,
            1 => 2 * digit,
            _ => digit,
        })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}
