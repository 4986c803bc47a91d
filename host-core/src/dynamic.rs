//! Calls to functions that this host knows nothing of.
