//! How an entry changes the control state.
//!
//! ```text
//!              Assign                   BeginHandoff
//!  Unassigned ────────► Owned{from} ──────────────────► Handoff{from, to} ──► Owned{to}
//!    ▲    ▲               │   ▲                            │  │        Complete
//!    │    └── Down(owner) ┘   └─ Abort, Down(to): from lives ┘  │
//!    └───────────────────────── Abort, Down(to): from is dead ──┘
//! ```
//! Down of a handoff's source leaves the handoff alone: the target may have everything, and the coordinator asks it. Each arrow
//! to an owner has a new epoch. Each arrow from an owner whose life is over leaves its ledger behind as a source.

mod ledgers;
mod membership;
mod ownership;
mod spaces;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Command, ControlState, Entry, Shard};
use crate::Durability;
use crate::cluster::{Index, LedgerId, Mutant, NodeId, ShardId, SpaceId, Term};

/// What an entry changed, each in ascending order and once. Removed things are among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Shards that are new, gone, or not as they were, or whose owner's life ended.
    pub shards: Vec<ShardId>,
    /// Members.
    pub members: Vec<NodeId>,
    /// Ledgers that were opened or are not needed any more.
    pub ledgers: Vec<LedgerId>,
    /// Kinds and daemon sets.
    pub spaces: Vec<SpaceId>,
    /// Others vote.
    pub voters: bool,
    /// Another coordinator rules.
    pub coordinator: bool,
}

impl Changes {
    /// The entry was void.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ControlState {
    /// Applies the next entry and says what it changed: nothing, if it is void. `None` for an entry that does not follow the
    /// last one, which leaves everything as it is.
    pub fn apply(&mut self, entry: &Entry) -> Option<Changes> {
        self.apply_with(entry, None)
    }

    /// As [`ControlState::apply`], with a rule left out.
    pub fn apply_with(&mut self, entry: &Entry, mutant: Option<Mutant>) -> Option<Changes> {
        if entry.index.0 != self.applied.0 + 1 {
            return None;
        }
        let encoded = rmp_serde::to_vec(entry).expect("our own types always encode into memory");
        self.hash = xxh3_64_with_seed(&encoded, self.hash);
        self.applied = entry.index;
        if entry.term < self.coordinator {
            return Some(Changes::default());
        }
        let mut step = Step {
            state: self,
            index: entry.index,
            mutant,
            changes: Changes::default(),
            loose: false,
        };
        step.follow(entry.term);
        step.run(&entry.command);
        Some(step.finish())
    }
}

/// One entry at work.
struct Step<'a> {
    state: &'a mut ControlState,
    index: Index,
    mutant: Option<Mutant>,
    changes: Changes,
    /// A ledger may have lost the last that needed it.
    loose: bool,
}

impl Step<'_> {
    /// Whatever the first entry of a coordinator is, those of an older one are void behind it (I3).
    fn follow(&mut self, term: Term) {
        if term > self.state.coordinator {
            self.state.coordinator = term;
            self.changes.coordinator = true;
        }
    }

    fn run(&mut self, command: &Command) {
        match command {
            Command::Coordinate => {}
            Command::Join { boot, after } => self.join(boot, *after),
            Command::Up { member } => self.up(*member),
            Command::Leave { member } => self.leave(*member),
            Command::Down { member } => self.down(*member),
            Command::Remove { member } => self.remove(*member),
            Command::Voters { from, to } => self.voters(from, to),
            Command::DeployKind {
                name,
                component,
                durability,
                shards,
            } => self.deploy(name, *component, *durability, *shards),
            Command::Scale {
                name,
                component,
                durability,
                workers,
                after,
            } => self.scale(name, *component, *durability, (*after, *workers)),
            Command::Retire { space, revision } => self.retire(*space, *revision),
            Command::Drop { space } => self.drop_space(*space),
            Command::Assign { shards } => shards.iter().for_each(|one| self.assign(one)),
            Command::BeginHandoff {
                transfer,
                stamp,
                from,
                to,
                shards,
            } => self.begin_handoff((*transfer, *stamp), *from, *to, shards),
            Command::CompleteHandoff { handoff, shards } => {
                for &(shard, ledger) in shards {
                    self.complete_handoff(*handoff, shard, ledger);
                }
            }
            Command::AbortHandoff { handoff, shards } => {
                for &shard in shards {
                    self.abort_handoff(*handoff, shard);
                }
            }
            Command::OpenLedger {
                home,
                after,
                replicas,
            } => self.open_ledger(*home, *after, replicas),
            Command::Adopted {
                shard,
                epoch,
                source,
            } => self.adopted(*shard, *epoch, *source),
        }
    }

    fn finish(mut self) -> Changes {
        if self.loose {
            self.drop_loose_ledgers();
        }
        let mut changes = self.changes;
        tidy(&mut changes.shards);
        tidy(&mut changes.members);
        tidy(&mut changes.ledgers);
        tidy(&mut changes.spaces);
        changes
    }

    fn change(&mut self, shard: ShardId, edit: impl FnOnce(&mut Shard)) {
        self.state.shards.change(shard, edit);
        self.changes.shards.push(shard);
    }

    fn durable(&self, shard: ShardId) -> bool {
        let space = self.state.spaces.get(&shard.space);
        space.is_some_and(|space| space.durability == Durability::Durable)
    }
}

fn tidy<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
mod tests;
