//! Changes text by a chain of steps.
//!
//! Option `ops` names the steps, separated by commas, in the order they are taken:
//!
//! | step       | what it does                                                              |
//! |------------|---------------------------------------------------------------------------|
//! | `lower`, `upper`, `title` | changes case; `title` raises the first letter of each word |
//! | `trim`     | removes white space at both ends                                          |
//! | `collapse` | makes each run of white space one space                                   |
//! | `nfc`, `nfd`, `nfkc` | brings the text into that Unicode normal form                   |
//! | `slugify`  | ASCII letters and digits in lower case, joined by `-`                     |
//! | `markdown` | CommonMark with tables to HTML; raw HTML in the text is shown, not used    |
//! | `replace`  | each match of option `pattern` (a regular expression) by option `with`, in which `$1` or `${name}` stand for groups |
//!
//! Not here: the steps themselves (`steps`).

mod steps;
#[cfg(test)]
mod tests;

use guest_sdk::prelude::*;

/// The longest text that is taken, in bytes.
const INPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest text that a step may make, in bytes. Normal forms, HTML and replacements can grow
/// a text many times over.
const TEXT_BYTES_MAX: usize = 12 * 1024 * 1024;

const STEPS_MAX: usize = 32;

struct TextTransformer;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    ops: Vec<Step>,
    pattern: Option<String>,
    with: Option<String>,
}

#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Step {
    Lower,
    Upper,
    Title,
    Trim,
    Collapse,
    Nfc,
    Nfd,
    Nfkc,
    Slugify,
    Markdown,
    Replace,
}

impl Plugin for TextTransformer {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl Processor for TextTransformer {
    type Options = Options;

    fn process(&self, input: Input, options: Options) -> Result<Output> {
        let mut content_type = match input.content_type.as_str() {
            "" => "text/plain",
            "text/plain" | "text/markdown" => &input.content_type,
            other => bail!("content type `{other}`: expected text/plain or text/markdown"),
        };
        ensure!(
            input.bytes.len() <= INPUT_BYTES_MAX,
            "the text has {} bytes; the most is {INPUT_BYTES_MAX}",
            input.bytes.len()
        );
        ensure!(!options.ops.is_empty(), "option `ops`: no step given");
        ensure!(
            options.ops.len() <= STEPS_MAX,
            "option `ops`: {} steps given; the most is {STEPS_MAX}",
            options.ops.len()
        );
        let replace = steps::Replace::new(&options)?;

        let mut text = input.text()?.to_owned();
        for step in options.ops {
            text = match step {
                Step::Lower => text.to_lowercase(),
                Step::Upper => text.to_uppercase(),
                Step::Title => steps::title(&text),
                Step::Trim => text.trim().to_owned(),
                Step::Collapse => steps::collapse(&text),
                Step::Nfc => steps::nfc(&text),
                Step::Nfd => steps::nfd(&text),
                Step::Nfkc => steps::nfkc(&text),
                Step::Slugify => {
                    content_type = "text/plain";
                    steps::slugify(&text)
                }
                Step::Markdown => {
                    content_type = "text/html";
                    steps::markdown(&text)?
                }
                Step::Replace => match &replace {
                    Some(replace) => replace.run(&text)?,
                    None => bail!("option `pattern` is missing: `replace` needs it"),
                },
            };
            ensure!(text.len() <= TEXT_BYTES_MAX, "the text grows beyond {TEXT_BYTES_MAX} bytes");
        }
        Ok(Output::new(text, content_type))
    }

    fn validate(&self, input: &[u8]) -> bool {
        input.len() <= INPUT_BYTES_MAX && std::str::from_utf8(input).is_ok()
    }
}

guest_sdk::processor_plugin!(TextTransformer);
