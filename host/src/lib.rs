//! The plugin host: the library where the others meet, and the plugin-host program.
