//! Another messenger, under a name of its own.

guest_sdk::message_plugin!(messenger::Messenger);
