//! Where a member of chat rooms reads what was said: the other end of `chat-room`.
//!
//! ```text
//! entia call chat-room/lobby join '{"member": "chat-inbox/ann"}'
//! entia call chat-inbox/ann unread
//! ```

use std::collections::VecDeque;

use entia_sdk::prelude::*;

/// What survives between calls. `Default` is an inbox that nobody has written to before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ChatInbox {
    unread: VecDeque<Delivered>,
}

/// What was said in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivered {
    /// The room's key.
    pub room: String,
    /// Who said it.
    pub author: String,
    /// What was said.
    pub text: String,
}

/// Messages of chat rooms that somebody has yet to read; the oldest give way to new ones.
#[entity]
impl ChatInbox {
    /// For rooms: keeps a message.
    pub fn deliver(&mut self, room: String, author: String, text: String) {
        if self.unread.len() == UNREAD_MAX {
            self.unread.pop_front();
        }
        let delivered = Delivered { room, author, text };
        self.unread.push_back(delivered);
    }

    /// What was not read yet, the oldest first.
    pub fn unread(&self) -> Vec<Delivered> {
        self.unread.iter().cloned().collect()
    }

    /// Takes the oldest messages out, and returns how many are left.
    pub fn mark_read(&mut self, count: usize) -> usize {
        self.unread.drain(..count.min(self.unread.len()));
        self.unread.len()
    }
}

const UNREAD_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use entia_sdk::testing::{Host, Value, json};

    use super::*;

    fn inbox(deliveries: usize) -> Host<ChatInbox> {
        let mut host = Host::new("ann");
        for at in 0..deliveries {
            let message = json!({"room": "lobby", "author": "bob", "text": at.to_string()});
            assert_eq!(host.call("deliver", message), Ok(Value::Null));
        }
        host
    }

    #[test]
    fn messages_wait_until_they_are_read_across_restarts() {
        let mut host = inbox(2);
        host.restart();
        let first = json!({"room": "lobby", "author": "bob", "text": "0"});
        assert_eq!(host.call("unread", json!({})).unwrap()[0], first);
        assert_eq!(host.call("mark_read", json!({"count": 1})), Ok(json!(1)));
        assert_eq!(host.entity().unread()[0].text, "1");
        assert_eq!(host.call("mark_read", json!({"count": 9})), Ok(json!(0)));
    }

    #[test]
    fn a_full_inbox_gives_up_the_oldest() {
        let host = inbox(UNREAD_MAX + 1);
        let unread = host.entity().unread();
        assert_eq!(unread.len(), UNREAD_MAX);
        assert_eq!(unread[0].text, "1");
    }
}
