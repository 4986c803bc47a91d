//! From the bytes of a component to a finished call.
