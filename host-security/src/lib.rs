//! What a plugin may do, and how much of it.
