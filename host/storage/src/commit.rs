use entia_protocol::{
    Caller, CommandKey, EntityId, IdempotencyId, IdempotencyRecord, KindName, KindRecord,
    SendRecord, StoredState, TimerRecord,
};

use crate::StoreError;
use crate::engine::Table;

/// What is called when a commit is on disk, with the commit's sequence, or when it has failed.
///
/// Called exactly once, on the committer thread and in the order of the sequences; on the calling thread only if the
/// store is closed. Every other commit waits for it, so it has to be cheap, and it must not commit: the committer cannot
/// wait for itself. A panic in it ends the committer, and every later commit is answered [`StoreError::Closed`].
pub type Done = Box<dyn FnOnce(Result<u64, StoreError>) + Send>;

/// What one turn of an entity leaves behind: all of it is written, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityCommit {
    /// Whose.
    pub entity: EntityId,
    /// What becomes of its state.
    pub state: StateChange,
    /// The commands that it now remembers.
    pub remembered: Vec<IdempotencyRecord>,
    /// The commands that left its window.
    pub forgotten: Vec<IdempotencyId>,
    /// The timers that were set, by their names; `None` removes one.
    pub timers: Vec<(String, Option<TimerRecord>)>,
    /// The messages that were accepted or given up, by their numbers; `None` removes one.
    pub sends: Vec<(u64, Option<SendRecord>)>,
    /// What becomes of its row in the index of entities to wake.
    pub wake: WakeChange,
}

/// How a commit moves an entity within the index of entities to wake, see [`crate::Store::wakes`].
///
/// The store does not derive it from the timers and the messages: it would have to read them again for every commit,
/// and whoever commits has them in memory ([`entia_protocol::wake_ms`]). Nothing is written if both are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WakeChange {
    /// The time of the row that goes, if there is one.
    pub before: Option<u64>,
    /// The time of the row that comes, if the entity has something to do by itself.
    pub after: Option<u64>,
}

/// What a commit does to an entity's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Nothing.
    Keep,
    /// Replaces it.
    Put(StoredState),
    /// Removes it and every command that the entity remembers, its timers and its messages. What the same commit
    /// remembers, sets and sends is written after that. The row of the entity to wake is [`WakeChange::before`]'s to remove.
    Delete,
}

impl EntityCommit {
    /// Keeps everything.
    pub fn new(entity: EntityId) -> Self {
        Self {
            entity,
            state: StateChange::Keep,
            remembered: Vec::new(),
            forgotten: Vec::new(),
            timers: Vec::new(),
            sends: Vec::new(),
            wake: WakeChange::default(),
        }
    }

    /// Replaces the state and remembers nothing.
    pub fn put(entity: EntityId, state: StoredState) -> Self {
        Self {
            state: StateChange::Put(state),
            ..Self::new(entity)
        }
    }

    /// Removes the entity: its state and all that it remembers, its timers and its messages.
    pub fn delete(entity: EntityId) -> Self {
        Self {
            state: StateChange::Delete,
            ..Self::new(entity)
        }
    }

    /// About what the commit occupies, in bytes.
    fn cost_bytes(&self) -> usize {
        let record_bytes = OVERHEAD_BYTES + self.entity.key().len();
        let state = match &self.state {
            StateChange::Put(state) => state.bytes.len(),
            StateChange::Keep | StateChange::Delete => 0,
        };
        let remembered = self.remembered.iter();
        let remembered = remembered.map(|record| record_bytes + record.cost_bytes());
        let timers = self.timers.iter().map(|(name, timer)| {
            record_bytes + name.len() + timer.as_ref().map_or(0, timer_cost_bytes)
        });
        let sends = self.sends.iter();
        let sends = sends.map(|(_, send)| record_bytes + send.as_ref().map_or(0, send_cost_bytes));
        let wakes = match self.wake.before == self.wake.after {
            true => 0,
            false => 2 * record_bytes,
        };
        self.entity.key().len()
            + state
            + remembered.sum::<usize>()
            + timers.sum::<usize>()
            + sends.sum::<usize>()
            + wakes
    }
}

/// Everything that the committer can be asked to write.
pub(crate) enum Change {
    Entity(Box<EntityCommit>),
    PutKind {
        kind: Box<KindRecord>,
        /// What becomes the kind's previous record, instead of the one that is.
        previous: Option<Box<KindRecord>>,
    },
    RemoveKind(KindName),
    /// Raw keys, for removing a kind's entities some at a time.
    RemoveKeys(Vec<(Table, Vec<u8>)>),
}

impl Change {
    /// About what the change occupies while it waits, and on disk, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Entity(commit) => commit.cost_bytes(),
                Self::PutKind { kind, previous } => {
                    kind_cost_bytes(kind) + previous.as_deref().map_or(0, kind_cost_bytes)
                }
                Self::RemoveKind(_) => 0,
                Self::RemoveKeys(keys) => keys.iter().map(|(_, key)| key.len()).sum(),
            }
    }
}

/// About what a record has around its texts and bytes.
const OVERHEAD_BYTES: usize = 128;

/// About the length of a timer's record.
pub(crate) fn timer_cost_bytes(timer: &TimerRecord) -> usize {
    timer.name.len() + command_key_bytes(&timer.key) + timer.payload.0.len()
}

/// About the length of a message's record.
pub(crate) fn send_cost_bytes(send: &SendRecord) -> usize {
    let caller = match &send.caller {
        Caller::Anonymous => 0,
        Caller::Principal(name) => name.len(),
        Caller::Entity(entity) => entity.key().len(),
    };
    let dead = send.dead.as_ref();
    send.target.key().len()
        + send.method.len()
        + send.arguments.0.len()
        + caller
        + command_key_bytes(&send.key)
        + dead.map_or(0, |dead| dead.code.len() + dead.message.len())
}

fn command_key_bytes(key: &CommandKey) -> usize {
    match key {
        CommandKey::Client(key) => key.len(),
        CommandKey::Derived(key) | CommandKey::Random(key) => key.len(),
    }
}

/// About the length of a kind's record: its texts.
pub(crate) fn kind_cost_bytes(kind: &KindRecord) -> usize {
    let methods = kind.description.methods.iter().map(|method| {
        let rejection = method.rejection.as_ref().map_or(0, String::len);
        method.name.len()
            + method.doc.len()
            + method.arguments.len()
            + method.result.len()
            + rejection
    });
    let config = kind
        .config
        .iter()
        .map(|(name, value)| name.len() + value.len());
    kind.description.doc.len() + methods.sum::<usize>() + config.sum::<usize>()
}

/// A [`Done`] that cannot be lost: dropped uncalled, it answers that the store is closed.
pub(crate) struct Reply(Option<Done>);

impl Reply {
    pub(crate) fn new(done: Done) -> Self {
        Self(Some(done))
    }

    pub(crate) fn send(mut self, outcome: Result<u64, StoreError>) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(StoreError::Closed));
        }
    }
}

/// One change and whom to tell.
pub(crate) struct Job {
    pub(crate) change: Change,
    pub(crate) reply: Reply,
}
