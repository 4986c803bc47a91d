//! Which revision of a plugin answers which call.
