use entia_protocol::{
    EntityId, IdempotencyId, IdempotencyRecord, KindName, KindRecord, StoredState,
};

use crate::StoreError;

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
}

/// What a commit does to an entity's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Nothing.
    Keep,
    /// Replaces it.
    Put(StoredState),
    /// Removes it and every command that the entity remembers. What the same commit remembers is written after that.
    Delete,
}

impl EntityCommit {
    /// Replaces the state and remembers nothing.
    pub fn put(entity: EntityId, state: StoredState) -> Self {
        Self {
            entity,
            state: StateChange::Put(state),
            remembered: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    /// Removes the entity: its state and all that it remembers.
    pub fn delete(entity: EntityId) -> Self {
        Self {
            entity,
            state: StateChange::Delete,
            remembered: Vec::new(),
            forgotten: Vec::new(),
        }
    }
}

/// Everything that the committer can be asked to write.
pub(crate) enum Change {
    Entity(EntityCommit),
    PutKind(Box<KindRecord>),
    RemoveKind(KindName),
    /// Raw keys, for removing a kind's entities some at a time.
    RemoveKeys {
        states: Vec<Vec<u8>>,
        idempotency: Vec<Vec<u8>>,
    },
}

impl Change {
    /// About what the change occupies while it waits, and on disk, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 128;
        OVERHEAD_BYTES
            + match self {
                Self::Entity(commit) => {
                    let state = match &commit.state {
                        StateChange::Put(state) => state.bytes.len(),
                        StateChange::Keep | StateChange::Delete => 0,
                    };
                    let remembered = commit.remembered.iter().map(|record| {
                        OVERHEAD_BYTES + commit.entity.key().len() + record.cost_bytes()
                    });
                    commit.entity.key().len() + state + remembered.sum::<usize>()
                }
                Self::PutKind(kind) => kind_bytes(kind),
                Self::RemoveKind(_) => 0,
                Self::RemoveKeys {
                    states,
                    idempotency,
                } => states.iter().chain(idempotency).map(Vec::len).sum(),
            }
    }
}

/// About the length of a kind's record: its texts.
fn kind_bytes(kind: &KindRecord) -> usize {
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
