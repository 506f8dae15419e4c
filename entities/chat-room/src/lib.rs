//! A chat room: what is said is kept for a while, and sent to every member.
//!
//! It shows the three ways in which an entity acts besides answering: messages to others, whose code it does not have; a
//! timer, which runs only while there is something to do; a setting that the operator gives.
//!
//! ```text
//! entia deploy chat_room.wasm --config history_ms=60000
//! entia call chat-room/lobby join '{"member": "chat-inbox/ann"}'
//! entia call chat-room/lobby post '{"author": "bob", "text": "hello"}'
//! entia call chat-room/lobby history '{"after": 0}'
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use entia_sdk::InvalidId;
use entia_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// What survives between calls. `Default` is an empty room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ChatRoom {
    members: BTreeSet<EntityId>,
    history: VecDeque<Message>,
    posted: u64,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Counts the room's messages from 1.
    pub number: u64,
    /// Who said it.
    pub author: String,
    /// What was said.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What a member has to have: any kind of entity with this method, such as `chat-inbox`.
#[entity_ref]
trait Member {
    fn deliver(&mut self, room: &str, author: &str, text: &str);
}

/// A room in which people talk. The setting `history_ms` says how long it remembers: an hour if it is not given.
#[entity]
impl ChatRoom {
    /// Sends what is said from now on to the entity of that address, and returns how many members there are.
    pub fn join(&mut self, member: String) -> Result<usize, Refusal> {
        let member = address(&member)?;
        if self.members.len() == MEMBERS_MAX && !self.members.contains(&member) {
            return Err(Refusal::Full { max: MEMBERS_MAX });
        }
        self.members.insert(member);
        Ok(self.members.len())
    }

    /// Ends that, and returns how many members are left.
    pub fn leave(&mut self, member: String) -> Result<usize, Refusal> {
        self.members.remove(&address(&member)?);
        Ok(self.members.len())
    }

    /// Says something, and returns the message's number.
    pub fn post(
        &mut self,
        ctx: &mut Context,
        author: String,
        text: String,
    ) -> Result<u64, Refusal> {
        check_length("author", &author, AUTHOR_BYTES_MAX)?;
        check_length("text", &text, TEXT_BYTES_MAX)?;
        if self.history.is_empty() {
            let in_time = ctx.after(EXPIRY, history_kept(ctx), &());
            in_time.map_err(Refusal::NotPossible)?;
        }
        self.tell_members(ctx, &author, &text);
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.posted += 1;
        self.history.push_back(Message {
            number: self.posted,
            author,
            text,
            at_ms: ctx.now_ms(),
        });
        Ok(self.posted)
    }

    /// What was said after the message of that number, as far as the room remembers it.
    pub fn history(&self, after: u64) -> Vec<Message> {
        let later = self.history.iter().filter(|message| message.number > after);
        later.cloned().collect()
    }

    /// Forgets what is old, and comes back when the next message is.
    #[timer]
    fn on_timer(&mut self, ctx: &mut Context, _name: &str) -> Result<(), EffectError> {
        let (now_ms, kept) = (ctx.now_ms(), history_kept(ctx));
        let age = |message: &Message| Duration::from_millis(now_ms.saturating_sub(message.at_ms));
        while self
            .history
            .pop_front_if(|oldest| age(oldest) >= kept)
            .is_some()
        {}
        match self.history.front() {
            Some(oldest) => ctx.after(EXPIRY, kept - age(oldest), &()),
            None => Ok(()),
        }
    }
}

impl ChatRoom {
    /// The history is what counts: who was not told, because too many messages are on their way already, finds it there.
    fn tell_members(&self, ctx: &Context, author: &str, text: &str) {
        let room = ctx.me().key();
        for (told, member) in self.members.iter().enumerate() {
            let member = MemberRef::at(member.clone());
            if let Err(error) = member.send().deliver(room, author, text) {
                let members = self.members.len();
                ctx.warn(format_args!("told {told} of {members} members: {error}"));
                return;
            }
        }
    }
}

fn address(member: &str) -> Result<EntityId, Refusal> {
    let reason = |error: InvalidId| Refusal::NoAddress {
        reason: error.to_string(),
    };
    member.parse().map_err(reason)
}

fn check_length(what: &str, text: &str, bytes_max: usize) -> Result<(), Refusal> {
    match text.len() {
        bytes if (1..=bytes_max).contains(&bytes) => Ok(()),
        _ => Err(Refusal::BadLength {
            what: what.to_owned(),
            bytes_max,
        }),
    }
}

/// How long a message is kept.
fn history_kept(ctx: &Context) -> Duration {
    let setting = ctx.config("history_ms");
    let kept_ms = setting.and_then(|text| text.parse().ok());
    Duration::from_millis(kept_ms.unwrap_or(HISTORY_MS)).min(HISTORY_LONGEST)
}

/// Why a room refuses.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Refusal {
    /// There are as many members as a room can have.
    Full {
        /// How many that is.
        max: usize,
    },
    /// The member is not an entity's address.
    NoAddress {
        /// What is wrong with it.
        reason: String,
    },
    /// A text is empty or too long.
    BadLength {
        /// Which text.
        what: String,
        /// The most bytes that it may have.
        bytes_max: usize,
    },
    /// The platform did not take the message.
    NotPossible(EffectError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { max } => write!(f, "there are {max} members already"),
            Self::NoAddress { reason } => f.write_str(reason),
            Self::BadLength { what, bytes_max } => write!(f, "`{what}` has 1 to {bytes_max} bytes"),
            Self::NotPossible(error) => error.fmt(f),
        }
    }
}

/// The timer's name.
const EXPIRY: &str = "expiry";
const HISTORY_MS: u64 = 60 * 60 * 1_000;
const HISTORY_LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const HISTORY_MAX: usize = 100;
const MEMBERS_MAX: usize = 500;
const AUTHOR_BYTES_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 2_000;
