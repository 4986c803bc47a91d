//! What an operator's files and a plugin's wishes come to, through the public interface.

#![expect(clippy::unwrap_used, reason = "tests")]

mod fuzz;
