//! Counts the words of the input. Words in the configured `stop-words` do not count.

use std::collections::BTreeSet;
use std::time::Instant;

use guest_sdk::prelude::*;

struct WordCount {
    stop_words: BTreeSet<String>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    stop_words: Vec<String>,
}

impl FullPlugin for WordCount {
    type Config = Config;

    fn initialize(config: Config) -> Result<Self> {
        let stop_words = config.stop_words.iter().map(|word| word.to_lowercase()).collect();
        Ok(Self { stop_words })
    }

    fn process(&self, ctx: CallContext) -> Result<Answer> {
        let started = Instant::now();
        let text = ctx.get("input").context("option `input` is missing")?.to_lowercase();
        let words: Vec<_> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty() && !self.stop_words.contains(*word))
            .collect();
        let distinct = words.iter().collect::<BTreeSet<_>>().len();
        let data = serde_json::json!({ "words": words.len(), "distinct": distinct });
        Ok(Answer::new(data.to_string()).metrics(Metrics {
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            memory_used_bytes: memory_used_bytes(),
            items_processed: u32::try_from(words.len()).unwrap_or(u32::MAX),
        }))
    }
}

#[cfg(target_family = "wasm")]
fn memory_used_bytes() -> u64 {
    core::arch::wasm32::memory_size::<0>() as u64 * 65_536
}

#[cfg(not(target_family = "wasm"))]
fn memory_used_bytes() -> u64 {
    0
}

guest_sdk::plugin_world!(WordCount);

#[test]
fn stop_words_do_not_count() {
    use guest_sdk::testing::FullHarness;
    let mut plugin = FullHarness::<WordCount>::new(&[("stop-words", "the,a")]).unwrap();
    let answer = plugin.process("The cat, the dog, a cat", &[]).unwrap();
    assert_eq!(answer.data.unwrap(), r#"{"words":3,"distinct":2}"#);
    assert_eq!(answer.metrics.unwrap().items_processed, 3);
    assert!(FullHarness::<WordCount>::new(&[("stop-wrods", "x")]).is_err());
}
