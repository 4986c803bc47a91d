//! Host services for guests: logging, configuration, events.
