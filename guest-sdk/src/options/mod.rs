//! Options and configuration as the author's own struct, instead of pairs of strings.
//!
//! The contracts carry options as `list<tuple<string, string>>`. [`from_pairs`] reads them into
//! anything that derives `serde::Deserialize`:
//!
//! | field                    | accepted                                                      |
//! |--------------------------|---------------------------------------------------------------|
//! | numbers                  | what `str::parse` takes: `12`, `-3`, `0.5`                    |
//! | `bool`                   | `true` or `false`, also `1`/`0`, `yes`/`no`, `on`/`off`       |
//! | `String`, `char`         | the value as it is                                            |
//! | enum of unit variants    | the name of a variant                                         |
//! | `Option<T>`              | absent, or as `T`                                             |
//! | `Vec<T>`, sets, tuples   | one value with commas, or the option repeated, one item each  |
//! | `HashMap<String, String>`| for the whole set: every option by name                       |
//!
//! An option given twice where one value is wanted is an error, and so is an unknown option when
//! the struct says `#[serde(deny_unknown_fields)]`. Each message names the option and the form
//! that would have been accepted. `#[serde(flatten)]` and untagged enums see every value as a
//! string: serde asks them for no type.

mod de;
#[cfg(test)]
mod tests;

pub use de::OptionsError;
use serde::de::DeserializeOwned;

/// Reads `pairs` into a `T`.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, rename_all = "kebab-case")]
/// struct Options {
///     max_width: Option<u32>,
///     #[serde(default)]
///     ops: Vec<String>,
/// }
///
/// let pairs = [("max-width".to_owned(), "320".to_owned()), ("ops".to_owned(), "trim,lower".to_owned())];
/// let options: Options = guest_sdk::options::from_pairs(&pairs)?;
/// assert_eq!((options.max_width, options.ops.len()), (Some(320), 2));
///
/// let pairs = [("max-width".to_owned(), "wide".to_owned())];
/// let error = guest_sdk::options::from_pairs::<Options>(&pairs).err().unwrap();
/// assert_eq!(error.to_string(), "option `max-width`: expected a whole number from 0 to 4294967295, got `wide`");
/// # Ok::<(), guest_sdk::Error>(())
/// ```
///
/// # Errors
/// A text that names the option and what it takes.
pub fn from_pairs<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, OptionsError> {
    T::deserialize(de::Pairs(pairs))
}
