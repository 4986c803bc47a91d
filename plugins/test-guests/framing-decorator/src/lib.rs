//! Puts a frame around the answer of the plugin it decorates.

use guest_sdk::prelude::*;
use serde_json::{Value, json};

/// The plugin.
pub struct Framing;

impl FullPlugin for Framing {
    type Config = ();

    fn initialize((): ()) -> Result<Self> {
        Ok(Self)
    }

    fn process(&self, ctx: CallContext) -> Result<Answer> {
        let answer = guest_sdk::inner::process(&ctx).context("the inner plugin")?;
        let data = answer.data.unwrap_or_default();
        let inner = serde_json::from_str(&data).unwrap_or(Value::String(data));
        let framed = json!({ "framed-by": env!("CARGO_PKG_NAME"), "inner": inner });
        Ok(Answer { data: Some(framed.to_string()), ..answer })
    }

    fn status(&self) -> Status {
        guest_sdk::inner::status()
    }
}

#[cfg(feature = "export")]
guest_sdk::plugin_world!(Framing);

#[cfg(test)]
mod tests {
    use super::*;
    use guest_sdk::testing::{FullHarness, set_inner};

    #[test]
    fn the_answer_of_the_inner_plugin_is_framed() {
        set_inner(|ctx| Ok(Answer::new(format!("[{}]", ctx.input()))));
        let mut plugin = FullHarness::<Framing>::new(&[]).unwrap();
        let answer = plugin.process("7", &[]).unwrap();
        assert_eq!(answer.data.unwrap(), r#"{"framed-by":"framing-decorator","inner":[7]}"#);
    }

    #[test]
    fn an_error_of_the_inner_plugin_is_passed_on() {
        set_inner(|_| bail!("no"));
        let mut plugin = FullHarness::<Framing>::new(&[]).unwrap();
        assert_eq!(plugin.process("7", &[]).unwrap_err().to_string(), "the inner plugin: no");
    }
}
