use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Action, Manifest, digest_of_chunk};
use crate::EntityId;
use crate::cluster::{
    Chunk, Context, Instant, Message, Peer, ShardId, ShardMove, StoredRecord, TransferId,
};

/// The source's side of a transfer.
#[derive(Debug)]
pub struct Shipment {
    order: ShardMove,
    shards: BTreeMap<ShardId, Stream>,
    /// Not sent, or sent and not acknowledged.
    open: BTreeMap<(ShardId, u64), Sending>,
    resend_at: Option<Instant>,
    actions: VecDeque<Action>,
}

#[derive(Debug, Default)]
struct Stream {
    manifest: Manifest,
    parts: u64,
    ended: bool,
}

#[derive(Debug)]
struct Sending {
    chunk: Arc<Chunk>,
    sent: bool,
}

/// Chunks on their way at the same time.
const WINDOW: usize = 8;

impl Shipment {
    /// Nothing is shipped yet.
    pub fn new(order: ShardMove) -> Self {
        let shards = order.shards.iter();
        Self {
            shards: shards
                .map(|&(shard, _)| (shard, Stream::default()))
                .collect(),
            order,
            open: BTreeMap::new(),
            resend_at: None,
            actions: VecDeque::new(),
        }
    }

    /// What is to be shipped, and to whom.
    pub fn order(&self) -> &ShardMove {
        &self.order
    }

    /// Its name.
    pub fn transfer(&self) -> TransferId {
        self.order.transfer
    }

    /// Whether there is room for more records.
    pub fn wants_more(&self) -> bool {
        self.open.len() < WINDOW
    }

    /// The version of this entity's record that was offered last.
    pub fn offered(&self, shard: ShardId, entity: &EntityId) -> Option<u64> {
        self.shards.get(&shard)?.manifest.version(entity)
    }

    /// Ships records of a shard: those that are not older than what was shipped. With `end` nothing follows, and the target is told
    /// what all of it is.
    pub fn offer(
        &mut self,
        cx: &Context<'_>,
        shard: ShardId,
        records: Vec<StoredRecord>,
        end: bool,
    ) {
        let Some(stream) = self.shards.get_mut(&shard).filter(|stream| !stream.ended) else {
            return;
        };
        let mut fresh: Vec<_> = records
            .into_iter()
            .filter(|record| stream.manifest.add(&record.entity, &record.record))
            .collect();
        stream.ended = end;
        let page = cx.settings.bounds.page_max.max(1);
        while !fresh.is_empty() || end {
            let rest = fresh.split_off(fresh.len().min(page));
            let last = end && rest.is_empty();
            let chunk = Chunk {
                transfer: self.order.transfer,
                stamp: self.order.stamp,
                shard,
                part: stream.parts,
                digest: digest_of_chunk(&fresh),
                records: fresh,
                end: last.then(|| (stream.parts + 1, stream.manifest.digest())),
            };
            let sending = Sending {
                chunk: Arc::new(chunk),
                sent: false,
            };
            self.open.insert((shard, stream.parts), sending);
            stream.parts += 1;
            fresh = rest;
            if last {
                break;
            }
        }
        self.send(cx, false);
    }

    /// Whether all that was offered has arrived.
    pub fn acked(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether all of this shard has arrived, its end included.
    pub fn done(&self, shard: ShardId) -> bool {
        let ended = self.shards.get(&shard).is_some_and(|stream| stream.ended);
        ended
            && self
                .open
                .range((shard, 0)..=(shard, u64::MAX))
                .next()
                .is_none()
    }

    /// Whether the end of this shard was offered.
    pub fn ended(&self, shard: ShardId) -> bool {
        self.shards.get(&shard).is_some_and(|stream| stream.ended)
    }

    /// A shard does not move, or has moved.
    pub fn forget(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
        self.open.retain(|(other, _), _| *other != shard);
    }

    /// The shards that are still in it.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.shards.keys().copied()
    }

    /// Takes an acknowledgement.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        let Message::ChunkAcked {
            transfer,
            shard,
            part,
        } = message
        else {
            return;
        };
        if from != self.order.to || *transfer != self.order.transfer {
            return;
        }
        let known = self.open.get(&(*shard, *part));
        if known.is_some_and(|sending| sending.sent) {
            self.open.remove(&(*shard, *part));
            self.send(cx, false);
        }
    }

    /// Sends again what nobody has acknowledged.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        if self.resend_at.is_some_and(|at| at <= cx.now.instant) {
            self.send(cx, true);
        }
    }

    /// What is to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resend_at
    }

    /// Panics where something cannot be.
    pub fn check_invariants(&self) {
        let known: BTreeSet<_> = self.shards.keys().collect();
        for (shard, part) in self.open.keys() {
            assert!(
                known.contains(shard),
                "a chunk of {shard}, which does not move"
            );
            assert!(
                *part < self.shards[shard].parts,
                "part {part} was never made"
            );
        }
    }

    fn send(&mut self, cx: &Context<'_>, again: bool) {
        for sending in self.open.values_mut().take(WINDOW) {
            if !sending.sent || again {
                sending.sent = true;
                self.actions.push_back(Action::Send {
                    to: self.order.to.node,
                    message: Message::Chunk(sending.chunk.clone()),
                });
            }
        }
        let due = cx.now.instant + cx.settings.timing.resend;
        self.resend_at = (!self.open.is_empty()).then_some(due);
    }
}
