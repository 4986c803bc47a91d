//! How a failed command says what happened.

use std::{error::Error, fmt::Write};

use host_security::sign::SignError;
use plugin_contract::{ComponentError, Explain, ManifestError};

use crate::{build_plugins::BuildError, check_wit::WitError, tidy::TidyError};

/// The chain of causes on one line each, then the code and one thing to do, where there are any.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        _ = writeln!(text, "  caused by: {cause}");
    }
    if let Some(explained) = error.chain().find_map(explain) {
        _ = writeln!(text, "code: {}\nhelp: {}", explained.code(), explained.remedy());
    }
    text
}

/// An error of this tool or of the contract, by its trait.
fn explain<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Explain> {
    fn is<'a, E: Explain + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Explain> {
        error.downcast_ref::<E>().map(|error| error as &dyn Explain)
    }
    is::<BuildError>(error)
        .or_else(|| is::<WitError>(error))
        .or_else(|| is::<TidyError>(error))
        .or_else(|| is::<ManifestError>(error))
        .or_else(|| is::<ComponentError>(error))
        .or_else(|| is::<SignError>(error))
}

#[cfg(test)]
mod tests {
    use super::describe;
    use crate::build_plugins::BuildError;

    #[test]
    fn an_error_is_told_once_with_code_and_remedy() {
        let error =
            anyhow::Error::from(BuildError::TargetMissing { target: "wasm32-x".to_owned() })
                .context("building the plugins");
        assert_eq!(
            describe(&error),
            "error: building the plugins\n  \
             caused by: the Rust target `wasm32-x` is not installed\n\
             code: build/target-missing\n\
             help: run `rustup target add wasm32-wasip2`\n"
        );
    }
}
