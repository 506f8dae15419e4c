//! I5: a shard is in exactly one state; epochs strictly increase, never reused.
//!
//! The first half is a type. For the second: whoever may dispatch a shard after an entry, and might not before it, has that
//! entry's index as its epoch, and nobody's epoch ever goes back.

use std::collections::BTreeMap;

use entia_protocol::cluster::{Epoch, ShardId};
use entia_protocol::control::{Changes, Command, ControlState, Entry, Ownership};

use super::{Checked, named};
use crate::violation::Violation;

/// How each shard was before the next entry.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<ShardId, (Epoch, Ownership)>);

impl Owners {
    /// An entry is committed; `control` is what it made.
    pub(super) fn decided(
        &mut self,
        control: &ControlState,
        entry: &Entry,
        changes: &Changes,
    ) -> Checked {
        for &id in &changes.shards {
            let Some(shard) = control.shards.get(&id) else {
                self.0.remove(&id);
                continue;
            };
            let now = (shard.epoch, shard.ownership);
            let before = self.0.insert(id, now);
            let epoch_before = before.map_or(Epoch(0), |(epoch, _)| epoch);
            let wrong = |what: &str| {
                let message = format!(
                    "{id} {what}: {before:?} to {now:?}; {}",
                    named(entry, changes)
                );
                Err(Violation::new("I5", message))
            };
            if now.0 < epoch_before {
                return wrong("has an older epoch");
            }
            if now.0 != epoch_before && now.0.0 != entry.index.0 {
                return wrong("has an epoch that is not the entry's");
            }
            let given = matches!(now.1, Ownership::Owned { .. })
                && before.map(|(_, ownership)| ownership) != Some(now.1);
            // Begin leaves the epoch alone: the source goes on under it.
            let begins = matches!(entry.command, Command::BeginHandoff { .. });
            if given && !begins && now.0 == epoch_before {
                return wrong("has a new owner under an old epoch");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use entia_protocol::cluster::{
        Boot, ClusterId, HandoffId, Home, Index, Mutant, NodeAddress, NodeId, ProtocolRange, Term,
        TransferId,
    };
    use entia_protocol::control::Assignment;
    use entia_protocol::{Digest, Durability, KindName};

    use super::*;

    /// The control log of a cluster in which nothing else happens.
    struct Log {
        control: ControlState,
        owners: Owners,
        mutant: Option<Mutant>,
    }

    impl Log {
        fn decide(&mut self, command: Command) -> Checked {
            let entry = Entry {
                index: Index(self.control.applied.0 + 1),
                term: Term::default(),
                command,
            };
            let changes = self.control.apply_with(&entry, self.mutant).unwrap();
            self.owners.decided(&self.control, &entry, &changes)
        }

        fn join(&mut self, node: u64) -> Home {
            let boot = Arc::new(Boot {
                cluster: ClusterId(1),
                node: NodeId(node),
                process: node,
                machine: node,
                directory: node,
                disk: node,
                address: NodeAddress::default(),
                zone: String::new(),
                version: 1,
                protocol: ProtocolRange { min: 1, max: 1 },
            });
            self.decide(Command::Join { boot, after: None }).unwrap();
            let member = self.control.members[&NodeId(node)].home();
            self.decide(Command::Up { member }).unwrap();
            member
        }
    }

    /// What is said of a handoff that is begun and given up.
    fn given_up(mutant: Option<Mutant>) -> Checked {
        let mut log = Log {
            control: ControlState::new(ClusterId(1)),
            owners: Owners::default(),
            mutant,
        };
        let (from, to) = (log.join(1), log.join(2));
        log.decide(Command::DeployKind {
            name: KindName::new("memory").unwrap(),
            component: Digest::of(b"component"),
            durability: Durability::Memory,
            shards: 1,
        })?;
        let space = *log.control.spaces.first_key_value().unwrap().0;
        let shard = ShardId { space, number: 0 };
        let assignment = Assignment {
            shard,
            after: Epoch(0),
            home: from,
        };
        log.decide(Command::Assign {
            shards: vec![assignment],
        })?;
        let epoch = log.control.shards.get(&shard).unwrap().epoch;
        log.decide(Command::BeginHandoff {
            transfer: TransferId::default(),
            stamp: epoch,
            from,
            to,
            shards: vec![(shard, epoch)],
        })?;
        log.decide(Command::AbortHandoff {
            handoff: HandoffId(log.control.applied.0),
            shards: vec![shard],
        })
    }

    #[test]
    fn whoever_gets_a_shard_back_gets_another_epoch() {
        assert_eq!(given_up(None), Ok(()));
        let violation = given_up(Some(Mutant::SameEpochOnRevert)).unwrap_err();
        assert_eq!(violation.invariant, "I5");
    }
}
