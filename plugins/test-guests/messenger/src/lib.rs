//! Answers messages, and sends some. What a message is about says what to do with it:
//!
//! - `echo`: the answer is the message
//! - `who`: the answer is the sender
//! - `later`: there is no answer now; the next `settle` gives it
//! - `settle`: answers the request of the last `later`, with its payload
//! - `ask TARGET [TYPE]`: asks another, and passes its answer on
//! - `tell TARGET [TYPE]`: sends on, and does not wait
//! - `fail`, `trap`, `sleep`, `nap`, `spin`: as they say

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use guest_sdk::messaging::{self, Message};
use guest_sdk::prelude::*;

/// The plugin.
pub struct Messenger {
    /// Sender and request of the last message that was to be answered later.
    later: RefCell<Option<(String, String)>>,
}

impl Plugin for Messenger {
    fn initialize() -> Result<Self> {
        Ok(Self { later: RefCell::new(None) })
    }
}

impl MessageHandler for Messenger {
    fn on_message(&self, message: IncomingMessage) -> Result<Option<Vec<u8>>> {
        let mut words = message.message_type.splitn(3, ' ');
        let (command, target) =
            (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let about = words.next().unwrap_or("echo");
        match command {
            "echo" => Ok(Some(message.payload)),
            "who" => Ok(Some(message.sender.into_bytes())),
            "later" => {
                let id = message.request_id.context("nobody waits")?;
                *self.later.borrow_mut() = Some((message.sender, id));
                Ok(None)
            }
            "settle" => {
                let (target, id) = self.later.borrow_mut().take().context("nothing to settle")?;
                let mut answer = Message::new(&target, "answer", message.payload);
                answer.reply_to = Some(id);
                messaging::send(answer)?;
                Ok(Some(b"settled".to_vec()))
            }
            "ask" => {
                let reply = messaging::request(Message::new(target, about, message.payload), None)?;
                ensure!(reply.success, "{}", String::from_utf8_lossy(&reply.payload));
                Ok(Some(reply.payload))
            }
            "tell" => {
                messaging::send(Message::new(target, about, message.payload))?;
                Ok(Some(Vec::new()))
            }
            "fail" => bail!("told to fail"),
            "trap" => std::process::abort(),
            "sleep" => {
                std::thread::sleep(Duration::from_secs(60));
                Ok(None)
            }
            "nap" => {
                std::thread::sleep(Duration::from_millis(300));
                Ok(Some(Vec::new()))
            }
            "spin" => loop {
                black_box(command);
            },
            other => bail!("`{other}` is no command"),
        }
    }
}

#[cfg(feature = "export")]
guest_sdk::message_plugin!(Messenger);

#[cfg(test)]
mod tests {
    use super::*;
    use guest_sdk::testing::Harness;

    #[test]
    fn commands_are_obeyed() {
        let mut messenger = Harness::<Messenger>::new().unwrap();
        assert_eq!(messenger.message("echo", "hi").unwrap(), Some(b"hi".to_vec()));
        assert_eq!(messenger.message("who", "").unwrap(), Some(b"test".to_vec()));
        assert_eq!(messenger.message("later", "").unwrap(), None);
        assert_eq!(messenger.message("fail", "").unwrap_err().to_string(), "told to fail");
    }
}
