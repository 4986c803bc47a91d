//! Why a contract is refused.

use std::fmt::Write;

use plugin_contract::Explain;

/// What is wrong with the working tree, each item named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitError {
    /// No doc comment, or no `@since`.
    #[error("not every item of the contracts says what it is and since when{}", list(items))]
    Undocumented { items: Vec<String> },
    /// A `@since` that cannot be true.
    #[error("the `@since` of some items cannot be true{}", list(items))]
    WrongDate { items: Vec<String> },
    /// A file under `wit/released` is not as it was released.
    #[error("a release was edited{}", list(files))]
    ReleasedEdited { files: Vec<String> },
    /// Guests or hosts that exist would no longer fit.
    #[error("what was built against `{release}` would no longer fit{}", list(changes))]
    Breaking { release: String, changes: Vec<String> },
    /// More than is released, under the version that is released.
    #[error(
        "there is more than in `{release}`; an additive change needs version {needed}{}",
        list(changes)
    )]
    NotBumped { release: String, needed: String, changes: Vec<String> },
}

fn list(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        _ = write!(text, "\n  {line}");
    }
    text
}

impl Explain for WitError {
    fn code(&self) -> &'static str {
        match self {
            Self::Undocumented { .. } => "wit/undocumented",
            Self::WrongDate { .. } => "wit/wrong-since",
            Self::ReleasedEdited { .. } => "wit/released-edited",
            Self::Breaking { .. } => "wit/breaking-change",
            Self::NotBumped { .. } => "wit/version-not-bumped",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Undocumented { .. } => "write a doc comment and `@since(version = ...)` for each",
            Self::WrongDate { .. } => {
                "give new items the package's version, and leave the others as released"
            }
            Self::ReleasedEdited { .. } => {
                "restore the files; change the working tree in `wit/` instead"
            }
            Self::Breaking { .. } => {
                "leave the item as it is and add another beside it, or raise the major version"
            }
            Self::NotBumped { .. } => {
                "raise the version in the `package` line of each file of the package"
            }
        }
    }
}
