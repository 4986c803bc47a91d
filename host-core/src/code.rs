//! From admitted bytes to compiled code.
