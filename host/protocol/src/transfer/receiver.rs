use std::collections::{BTreeMap, VecDeque};

use super::{Action, Manifest, digest_of_chunk};
use crate::Digest;
use crate::cluster::{
    Chunk, Context, Epoch, HandoffId, LedgerId, Message, Mutant, NodeId, Peer, ShardId,
    StoredRecord, TransferId,
};
use crate::control::{ControlState, Entry, Ownership};

/// The target's side of all transfers to this node.
#[derive(Debug, Default)]
pub struct Receiver {
    incoming: BTreeMap<(TransferId, ShardId), Incoming>,
    /// What will never be installed: the coordinator was told so.
    refused: VecDeque<(TransferId, ShardId)>,
    /// Which chunk an install belongs to.
    installs: BTreeMap<u64, (TransferId, ShardId, u64)>,
    installs_made: u64,
    actions: VecDeque<Action>,
}

/// A shard on its way here.
#[derive(Debug)]
struct Incoming {
    from: Peer,
    stamp: Epoch,
    /// The ledger that its records go to; nothing of a memory kind. Where the node opens another one meanwhile, this one is void.
    ledger: Option<LedgerId>,
    manifest: Manifest,
    /// Parts that came, with how many of their records are not safe yet.
    parts: BTreeMap<u64, usize>,
    end: Option<(u64, Digest)>,
    /// The handoff that the coordinator was told of.
    told: Option<HandoffId>,
}

/// Transfers refused that are remembered: beyond them a query finds an unknown one, which is refused as well.
const REFUSED_MAX: usize = 1_000;

impl Receiver {
    /// Nothing is on its way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a chunk, a query or an abort.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match message {
            Message::Chunk(chunk) => self.take(cx, from, chunk),
            Message::InstallQuery {
                handoff,
                shards,
                last,
                ..
            } => {
                for &shard in shards {
                    self.answer(cx, from.node, *handoff, shard, *last);
                }
            }
            Message::HandoffAborted {
                index,
                transfer,
                shards,
                ..
            } if *index <= cx.control.applied => {
                for &shard in shards {
                    // Where the control log knows of the handoff it decides, not the message.
                    if handoff_of(cx.control, shard, *transfer).is_none() {
                        self.incoming.remove(&(*transfer, shard));
                    }
                }
            }
            _ => {}
        }
    }

    /// A record is as safe as its kind wants.
    pub fn handle_installed(&mut self, cx: &Context<'_>, id: u64) {
        let Some((transfer, shard, part)) = self.installs.remove(&id) else {
            return;
        };
        let Some(incoming) = self.incoming.get_mut(&(transfer, shard)) else {
            return;
        };
        if let Some(left) = incoming.parts.get_mut(&part) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                let from = incoming.from.node;
                self.acknowledge(from, transfer, shard, part);
                self.tell(cx, transfer, shard);
            }
        }
    }

    /// The control log has moved on.
    pub fn handle_applied(&mut self, cx: &Context<'_>, _entry: &Entry) {
        if !self.incoming.is_empty() {
            self.handle_state(cx);
        }
    }

    /// The control state is another one: looks at everything that is on its way.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        let all: Vec<_> = self.incoming.keys().copied().collect();
        for (transfer, shard) in all {
            self.follow(cx, transfer, shard);
        }
    }

    /// What is to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How many shards are on their way.
    pub fn len(&self) -> usize {
        self.incoming.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    /// Panics where something cannot be.
    pub fn check_invariants(&self) {
        for ((transfer, shard), incoming) in &self.incoming {
            let waiting: usize = incoming.parts.values().sum();
            let known = self.installs.values();
            let known = known
                .filter(|(t, s, _)| t == transfer && s == shard)
                .count();
            assert!(
                waiting <= known,
                "{shard}: {waiting} records wait for {known} installs"
            );
        }
    }

    fn take(&mut self, cx: &Context<'_>, from: Peer, chunk: &Chunk) {
        let key = (chunk.transfer, chunk.shard);
        if self.refused.contains(&key) || !expected(cx, from, chunk) {
            return;
        }
        if !self.incoming.contains_key(&key) && self.incoming.len() >= transfers_max(cx) {
            return;
        }
        let known = self.incoming.get(&key);
        let known = known.is_some_and(|incoming| incoming.parts.contains_key(&chunk.part));
        if !known && digest_of_chunk(&chunk.records) != chunk.digest {
            return;
        }
        let ledger = ledger_of(cx, chunk.shard);
        let incoming = self.incoming.entry(key).or_insert_with(|| Incoming {
            from,
            stamp: chunk.stamp,
            ledger,
            manifest: Manifest::default(),
            parts: BTreeMap::new(),
            end: None,
            told: None,
        });
        if incoming.from != from || incoming.stamp != chunk.stamp || incoming.ledger != ledger {
            return;
        }
        if let Some(&left) = incoming.parts.get(&chunk.part) {
            if left == 0 {
                self.acknowledge(from.node, chunk.transfer, chunk.shard, chunk.part);
            }
            return;
        }
        let mut waiting = 0;
        for record in &chunk.records {
            if !incoming.manifest.add(&record.entity, &record.record) {
                continue;
            }
            self.installs_made += 1;
            waiting += 1;
            self.installs.insert(
                self.installs_made,
                (chunk.transfer, chunk.shard, chunk.part),
            );
            self.actions.push_back(Action::Install {
                id: self.installs_made,
                shard: chunk.shard,
                record: StoredRecord {
                    epoch: chunk.stamp,
                    ..record.clone()
                },
            });
        }
        incoming.parts.insert(chunk.part, waiting);
        incoming.end = incoming.end.or(chunk.end);
        if waiting == 0 {
            self.acknowledge(from.node, chunk.transfer, chunk.shard, chunk.part);
            self.tell(cx, chunk.transfer, chunk.shard);
        }
    }

    /// Follows a transfer to its end by the control log.
    fn follow(&mut self, cx: &Context<'_>, transfer: TransferId, shard: ShardId) {
        let incoming = &self.incoming[&(transfer, shard)];
        let told = incoming.told;
        if cx.control.live(incoming.from).is_none() && told.is_none() {
            // Its end may be here all the same: the coordinator asks.
            if handoff_of(cx.control, shard, transfer).is_none() {
                self.incoming.remove(&(transfer, shard));
            }
            return;
        }
        match cx.control.shards.get(&shard).map(|shard| shard.ownership) {
            Some(Ownership::Handoff { transfer: now, .. }) if now == transfer => {
                self.tell(cx, transfer, shard);
            }
            Some(Ownership::Owned { home }) if home == cx.me.home() && told.is_some() => {
                let incoming = self.incoming.remove(&(transfer, shard));
                let incoming = incoming.expect("it was found above");
                self.actions.push_back(Action::Received {
                    shard,
                    handoff: told.expect("it was asked for above"),
                    wakes: incoming.manifest.wakes(),
                });
            }
            // A precopy: the handoff has not begun.
            Some(Ownership::Owned { home }) if home == incoming.from && told.is_none() => {}
            _ => {
                self.incoming.remove(&(transfer, shard));
            }
        }
    }

    /// Tells the coordinator, once, that a shard is here.
    fn tell(&mut self, cx: &Context<'_>, transfer: TransferId, shard: ShardId) {
        let Some(handoff) = handoff_of(cx.control, shard, transfer) else {
            return;
        };
        let told = self
            .incoming
            .get(&(transfer, shard))
            .and_then(|incoming| incoming.told);
        if told != Some(handoff) {
            let coordinator = cx.control.coordinator.node;
            self.report(cx, coordinator, (handoff, transfer, shard));
        }
    }

    /// Says `Installed` if it is.
    fn report(
        &mut self,
        cx: &Context<'_>,
        to: NodeId,
        what: (HandoffId, TransferId, ShardId),
    ) -> bool {
        let (handoff, transfer, shard) = what;
        let Some(incoming) = self.incoming.get_mut(&(transfer, shard)) else {
            return false;
        };
        if !incoming.complete(cx)
            || incoming.ledger != ledger_of(cx, shard) && incoming.told.is_none()
        {
            return false;
        }
        incoming.told = Some(handoff);
        let message = Message::Installed {
            handoff,
            shard,
            digest: incoming.manifest.digest(),
            ledger: incoming.ledger,
        };
        self.actions.push_back(Action::Send { to, message });
        true
    }

    fn answer(
        &mut self,
        cx: &Context<'_>,
        to: NodeId,
        handoff: HandoffId,
        shard: ShardId,
        last: bool,
    ) {
        let Some(Ownership::Handoff {
            handoff: now,
            transfer,
            to: target,
            ..
        }) = cx.control.shards.get(&shard).map(|shard| shard.ownership)
        else {
            return;
        };
        if now != handoff
            || target != cx.me.home()
            || self.report(cx, to, (handoff, transfer, shard))
        {
            return;
        }
        let refused = self.refused.contains(&(transfer, shard));
        let void = self
            .incoming
            .get(&(transfer, shard))
            .is_some_and(|incoming| incoming.ledger != ledger_of(cx, shard));
        if last || refused || void {
            self.incoming.remove(&(transfer, shard));
            if !refused {
                self.refused.push_back((transfer, shard));
                if self.refused.len() > REFUSED_MAX {
                    self.refused.pop_front();
                }
            }
            let message = Message::NotInstalled { handoff, shard };
            self.actions.push_back(Action::Send { to, message });
        }
    }

    fn acknowledge(&mut self, to: NodeId, transfer: TransferId, shard: ShardId, part: u64) {
        let message = Message::ChunkAcked {
            transfer,
            shard,
            part,
        };
        self.actions.push_back(Action::Send { to, message });
    }
}

impl Incoming {
    fn complete(&self, cx: &Context<'_>) -> bool {
        if cx.settings.lacks(Mutant::PartialInstall) {
            return !self.parts.is_empty();
        }
        let Some((parts, digest)) = self.end else {
            return false;
        };
        let here = self.parts.len() as u64 == parts;
        here && self.parts.values().all(|&left| left == 0) && self.manifest.digest() == digest
    }
}

/// Whether the sender of a chunk has the shard, by all that is known here, and gives it to this node.
fn expected(cx: &Context<'_>, from: Peer, chunk: &Chunk) -> bool {
    match cx
        .control
        .shards
        .get(&chunk.shard)
        .map(|shard| shard.ownership)
    {
        Some(Ownership::Owned { home }) => home == from,
        Some(Ownership::Handoff {
            transfer,
            from: source,
            to,
            ..
        }) => source == from && to == cx.me.home() && transfer == chunk.transfer,
        Some(Ownership::Unassigned) | None => false,
    }
}

/// The running handoff to which this transfer belongs.
fn handoff_of(control: &ControlState, shard: ShardId, transfer: TransferId) -> Option<HandoffId> {
    match control.shards.get(&shard)?.ownership {
        Ownership::Handoff {
            handoff,
            transfer: now,
            ..
        } if now == transfer => Some(handoff),
        _ => None,
    }
}

/// The ledger that this node writes now, for shards of durable kinds.
fn ledger_of(cx: &Context<'_>, shard: ShardId) -> Option<LedgerId> {
    let space = cx.control.spaces.get(&shard.space)?;
    match space.durability {
        crate::Durability::Durable => cx.control.live(cx.me.home())?.ledger,
        crate::Durability::Memory => None,
    }
}

fn transfers_max(cx: &Context<'_>) -> usize {
    4 * cx.settings.bounds.handoffs_max
}
