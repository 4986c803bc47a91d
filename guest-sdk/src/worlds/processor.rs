//! World `processor-plugin`: one input into one output.

use serde::de::DeserializeOwned;

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::data_processor as wit;
use crate::{Error, Plugin, Result, bail, options};

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The bytes to work on; the host bounds their number.
    pub bytes: Vec<u8>,
    /// The media type, in lower case and without parameters; empty where the caller gave none.
    pub content_type: String,
}

impl Input {
    /// The input as text.
    ///
    /// # Errors
    /// Names the offset of the first byte that is no UTF-8.
    pub fn text(&self) -> Result<&str> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(text),
            Err(error) => {
                bail!("the input is not UTF-8: invalid byte at offset {}", error.valid_up_to())
            }
        }
    }
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The result.
    pub bytes: Vec<u8>,
    /// The media type of `bytes`.
    pub content_type: String,
    /// How many things were worked on: pictures, lines, rows.
    pub items: u32,
}

impl Output {
    /// An output of one item.
    pub fn new(bytes: impl Into<Vec<u8>>, content_type: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), content_type: content_type.into(), items: 1 }
    }

    /// A `text/plain` output of one item.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(text.into(), "text/plain")
    }

    /// The same output, made of this many items.
    #[must_use]
    pub fn items(self, items: u32) -> Self {
        Self { items, ..self }
    }
}

/// Turns one input into one output.
pub trait Processor: Plugin {
    /// The options of a call; see [`crate::options`]. `()` for a plugin without any.
    type Options: DeserializeOwned;

    /// Works on one input.
    ///
    /// # Errors
    /// A text for the caller: what was wrong with the input or the options.
    fn process(&self, input: Input, options: Self::Options) -> Result<Output>;

    /// Whether `process` would take this input, as far as can be told without doing the work.
    fn validate(&self, input: &[u8]) -> bool {
        let _ = input;
        true
    }
}

/// One call as it comes over the boundary; the native harness goes the same way.
pub(crate) fn process<P: Processor>(
    plugin: &P,
    input: Input,
    pairs: &[(String, String)],
) -> Result<Output> {
    let options = options::from_pairs(pairs)?;
    plugin.process(input, options)
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: Processor,
{
    fn process(req: wit::ProcessRequest) -> Result<wit::ProcessResponse, String> {
        let input = Input { bytes: req.input, content_type: req.content_type };
        let output = super::with::<E, _>(|plugin| process(plugin, input, &req.options))
            .map_err(Error::into_wire)?;
        Ok(wit::ProcessResponse {
            output: output.bytes,
            content_type: output.content_type,
            items_processed: output.items,
        })
    }

    fn validate(input: Vec<u8>) -> bool {
        // There is no way to say "not initialized" here; such an instance takes nothing.
        super::with::<E, _>(|plugin| Ok(plugin.validate(&input))).unwrap_or(false)
    }
}

/// Exports a [`Processor`] as the world `processor-plugin`.
///
/// ```
/// use guest_sdk::prelude::*;
///
/// struct Shout;
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Options { times: Option<u32> }
///
/// impl Plugin for Shout {
///     fn initialize() -> Result<Self> { Ok(Shout) }
/// }
/// impl Processor for Shout {
///     type Options = Options;
///     fn process(&self, input: Input, options: Options) -> Result<Output> {
///         let shout = input.text()?.to_uppercase();
///         Ok(Output::text(vec![shout; options.times.unwrap_or(1) as usize].join(" ")))
///     }
/// }
/// guest_sdk::processor_plugin!(Shout);
///
/// let mut shout = guest_sdk::testing::Harness::<Shout>::new()?;
/// assert_eq!(shout.option("times", "2").process("hey", "text/plain")?.bytes, b"HEY HEY");
/// assert!(shout.option("tims", "2").process("hey", "text/plain").is_err());
/// # Ok::<(), guest_sdk::Error>(())
/// ```
#[macro_export]
macro_rules! processor_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::Processor, PROCESSOR_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
            data_processor __export_toolsku_plugin_system_data_processor_1_1_0_cabi
        );
    };
}
