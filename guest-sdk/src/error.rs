//! The error of plugins: anything `?`-able, told to the host as one line of text.
//!
//! The contracts know errors as strings, so all that has to survive is the chain of messages.
//! Not here: the typed errors of the host's services (each is beside its service).

use std::fmt;

/// The most bytes of error text that cross to the host.
const WIRE_BYTES_MAX: usize = 4096;

/// What the functions of a plugin return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin did not do what it was asked, as a chain of messages from the outside in.
///
/// Every [`std::error::Error`] turns into it by `?`, with its sources; [`Context`] adds what was
/// being done. `Display` joins the chain with `": "`.
///
/// ```
/// use guest_sdk::{Context, Result};
///
/// fn width(text: &str) -> Result<u32> {
///     let width = text.parse().with_context(|| format!("`{text}` is no width"))?;
///     guest_sdk::ensure!(width > 0, "a width of 0 leaves nothing");
///     Ok(width)
/// }
/// assert_eq!(width("x").unwrap_err().to_string(), "`x` is no width: invalid digit found in string");
/// assert_eq!(width("0").unwrap_err().to_string(), "a width of 0 leaves nothing");
/// ```
pub struct Error {
    /// Never empty; outermost first.
    chain: Vec<String>,
}

impl Error {
    /// An error that says `message`.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self { chain: vec![message.to_string()] }
    }

    /// The same error, with what was being done in front of it.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.chain.insert(0, doing.to_string());
        self
    }

    /// The messages, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        self.chain.iter().map(String::as_str)
    }

    /// The text for the host: the chain, cut at 4 KiB on a character boundary.
    #[doc(hidden)]
    #[must_use]
    pub fn into_wire(self) -> String {
        let mut text = self.to_string();
        if text.len() > WIRE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(WIRE_BYTES_MAX - '…'.len_utf8()));
            text.push('…');
        }
        text
    }
}

// `Error` itself is no `std::error::Error`: that is what lets this hold for all of them.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Some libraries print their source themselves; once is enough.
            if !chain.last().is_some_and(|outer| outer.ends_with(&text)) {
                chain.push(text);
            }
            source = inner.source();
        }
        Self { chain }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Puts `doing` in front of the error.
    ///
    /// # Errors
    /// The error there was, or for an `Option` that there was nothing, with `doing` in front.
    fn context(self, doing: impl fmt::Display) -> Result<T>;

    /// The same, with a text that is made only when it is needed.
    ///
    /// # Errors
    /// As [`Context::context`].
    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(doing))
    }

    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().context(doing()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::msg(doing))
    }

    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.ok_or_else(|| Error::msg(doing()))
    }
}

/// Returns from the function with an error of this text.
///
/// ```
/// fn refuse(kind: &str) -> guest_sdk::Result<()> {
///     guest_sdk::bail!("`{kind}` is not taken here")
/// }
/// assert_eq!(refuse("gif").unwrap_err().to_string(), "`gif` is not taken here");
/// ```
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::msg(::std::format!($($message)+)).into())
    };
}

/// Returns from the function with an error of this text unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_sources_is_kept_and_joined() {
        let inner = std::io::Error::other("disk gone");
        let error =
            Err::<(), _>(inner).context("reading the list").context("starting").unwrap_err();
        assert_eq!(error.to_string(), "starting: reading the list: disk gone");
        assert_eq!(error.chain().count(), 3);
    }

    #[test]
    fn a_source_that_the_message_already_repeats_is_said_once() {
        #[derive(Debug)]
        struct Outer(std::fmt::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "outer: {}", self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from(Outer(std::fmt::Error));
        assert_eq!(error.chain().count(), 1);
    }

    #[test]
    fn an_option_without_value_becomes_its_context() {
        assert_eq!(None::<u8>.context("no width").unwrap_err().to_string(), "no width");
    }

    #[test]
    fn the_text_for_the_host_is_cut_at_4_kib_between_characters() {
        let text = Error::msg("ä".repeat(WIRE_BYTES_MAX)).into_wire();
        assert!(text.len() <= WIRE_BYTES_MAX && text.len() > WIRE_BYTES_MAX - 4);
        assert!(text.ends_with('…'));
        assert_eq!(Error::msg("short").into_wire(), "short");
    }
}
