//! What every error of the system can say beside its message.

/// An error that a person can look up and act on.
///
/// Codes are `area/what-happened`, stable across releases: alerts and scripts may match on them.
pub trait Explain: std::error::Error {
    /// The stable code, such as `core/deadline`.
    fn code(&self) -> &'static str;

    /// One thing to do next, as a sentence fragment: "raise `permissions.memory`".
    fn remedy(&self) -> &'static str;
}
