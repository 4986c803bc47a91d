//! What keeps a failing plugin from failing more.
