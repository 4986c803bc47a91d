//! Errors, as a person or a program at the terminal reads them.

use std::borrow::Cow;

use host::Explain;

/// An error on its way to the terminal: what happened, its code, and one thing to do next.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    code: Cow<'static, str>,
    remedy: Cow<'static, str>,
}

impl<E: Explain> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::from_ref(&error)
    }
}

impl CliError {
    /// An error that somebody else keeps.
    pub(crate) fn from_ref(error: &impl Explain) -> Self {
        Self::new(host::chain(error), error.code(), error.remedy())
    }

    /// An error of the command line itself.
    pub(crate) fn new(message: String, code: &'static str, remedy: &'static str) -> Self {
        Self { message, code: code.into(), remedy: remedy.into() }
    }

    /// An error that a host has told.
    pub(crate) fn told(message: String, code: String, remedy: String) -> Self {
        Self { message, code: code.into(), remedy: remedy.into() }
    }

    /// A file of the caller's that cannot be used.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(
            format!(
                "`{}` cannot be used\n  caused by: {error}",
                plugin_contract::escape(&path.display().to_string(), 1_000)
            ),
            "host/file",
            "see that the path is right and may be read or written",
        )
    }

    pub(crate) fn render(&self, json: bool) -> String {
        let Self { message, code, remedy } = self;
        if json {
            return serde_json::json!({ "error": { "code": code, "message": message, "remedy": remedy } })
                .to_string();
        }
        format!("error: {message}\ncode: {code}\nhelp: {remedy}")
    }
}
