//! The framing decorator, in one component with what it decorates.

guest_sdk::plugin_world!(framing_decorator::Framing);
