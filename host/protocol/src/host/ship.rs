//! What leaves with a shard, and what comes with one.
//!
//! ```text
//!   Precopy ──► scan, page by page ──► what turns have changed meanwhile ──► all acknowledged: Precopied
//!   acked   ──► what turns have changed since ──► end
//! ```
//! A scan that began in another ledger than the one that the node writes now may have missed what was adopted since: it begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::activation::Place;
use super::drain::Moving;
use super::schedule::Append;
use super::{Action, Host};
use crate::cluster::{
    Context, Instant, LedgerId, Message, Peer, ShardId, ShardMove, StoredRecord, TransferId,
};
use crate::{Durability, EntityId, journal, transfer};

/// Shards on their way from and to this node.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) shipments: BTreeMap<TransferId, Shipping>,
    /// The shipment that a shard is in.
    of: BTreeMap<ShardId, TransferId>,
    pub(super) receiver: transfer::Receiver,
}

/// A transfer from here.
#[derive(Debug)]
pub(super) struct Shipping {
    shipment: transfer::Shipment,
    passes: BTreeMap<ShardId, Pass>,
    precopied: bool,
    /// When it is forgotten unless the control log has begun it.
    until: Instant,
}

/// How far the shipping of a shard is.
#[derive(Debug)]
struct Pass {
    scan: Scan,
    /// The ledger that the scan reads.
    ledger: Option<LedgerId>,
    /// What turns have written since the scan began.
    changed: BTreeMap<EntityId, Arc<StoredRecord>>,
    /// All of the first pass was offered.
    first: bool,
    /// The shard has stopped: what is offered now is the rest.
    rest: bool,
}

#[derive(Debug)]
enum Scan {
    From(Option<EntityId>),
    Asked,
    Through,
}

impl Transfers {
    /// A turn has written a record.
    pub(super) fn changed(&mut self, place: &Place, record: &Arc<StoredRecord>) {
        let Some(transfer) = self.of.get(&place.shard) else {
            return;
        };
        let shipping = self.shipments.get_mut(transfer);
        if let Some(pass) = shipping.and_then(|s| s.passes.get_mut(&place.shard)) {
            pass.changed.insert(place.entity.clone(), record.clone());
        }
    }

    /// A shard does not move any more, or has moved.
    pub(super) fn forget_shipment(&mut self, shard: ShardId) {
        let Some(transfer) = self.of.remove(&shard) else {
            return;
        };
        if let Some(shipping) = self.shipments.get_mut(&transfer) {
            shipping.shipment.forget(shard);
            shipping.passes.remove(&shard);
            if shipping.passes.is_empty() {
                self.shipments.remove(&transfer);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let shipments = self.shipments.values();
        let due = shipments.map(|s| s.shipment.poll_timeout().unwrap_or(s.until).min(s.until));
        due.min()
    }

    pub(super) fn check_invariants(&self) {
        let passes: usize = self.shipments.values().map(|s| s.passes.len()).sum();
        assert_eq!(passes, self.of.len(), "a shard is in two shipments");
        for shipping in self.shipments.values() {
            shipping.shipment.check_invariants();
        }
        self.receiver.check_invariants();
    }
}

impl Host {
    /// The coordinator plans a handoff: what can be shipped before anything stops is shipped.
    pub(super) fn precopy(&mut self, cx: &Context<'_>, from: Peer, order: &ShardMove) {
        let known = order.term.node == from.node && order.term >= cx.control.coordinator;
        if !known || cx.control.live(order.to).is_none() || order.to == self.me {
            return;
        }
        if let Some(shipping) = self.transfers.shipments.get(&order.transfer) {
            if shipping.precopied {
                self.say_precopied(order.transfer);
            }
            return;
        }
        if self.transfers.shipments.len() >= cx.settings.bounds.handoffs_max {
            return;
        }
        let ships = |&(id, epoch): &(ShardId, _)| {
            let here = self.shards.get(&id);
            let newer = self
                .transfers
                .of
                .get(&id)
                .is_none_or(|of| *of < order.transfer);
            newer && here.is_some_and(|here| here.epoch == epoch && here.phase.serving())
        };
        if order.shards.iter().all(ships) {
            self.ship_new(cx, order.clone());
        }
    }

    fn ship_new(&mut self, cx: &Context<'_>, order: ShardMove) {
        let transfer = order.transfer;
        let mut passes = BTreeMap::new();
        for &(id, _) in &order.shards {
            self.transfers.forget_shipment(id);
            self.transfers.of.insert(id, transfer);
            passes.insert(
                id,
                Pass {
                    scan: Scan::From(None),
                    ledger: None,
                    changed: self.unsaved(id),
                    first: false,
                    rest: false,
                },
            );
        }
        let timing = &cx.settings.timing;
        let shipping = Shipping {
            shipment: transfer::Shipment::new(order),
            passes,
            precopied: false,
            until: cx.now.instant + timing.phase + timing.handoff,
        };
        self.transfers.shipments.insert(transfer, shipping);
        self.ship(cx, transfer);
    }

    /// The records that are in memory only.
    fn unsaved(&self, id: ShardId) -> BTreeMap<EntityId, Arc<StoredRecord>> {
        let activations = self.shards.get(&id).map(|shard| &shard.activations);
        let dirty = activations.into_iter().flatten().filter(|(_, a)| a.dirty);
        dirty
            .filter_map(|(entity, a)| Some((entity.clone(), a.record.clone()?)))
            .collect()
    }

    /// A shard has stopped: the rest of it, or all of it if there was no precopy.
    pub(super) fn ship_rest(&mut self, cx: &Context<'_>, id: ShardId, moving: Moving) {
        if self.transfers.of.get(&id) != Some(&moving.transfer) {
            self.transfers.forget_shipment(id);
            if self.transfers.shipments.contains_key(&moving.transfer) {
                return; // It was taken out of its transfer: the coordinator will notice that nothing comes.
            }
            let epoch = self.shards.get(&id).map(|shard| shard.epoch);
            self.ship_new(
                cx,
                ShardMove {
                    term: moving.transfer.term,
                    transfer: moving.transfer,
                    stamp: moving.stamp,
                    to: moving.to,
                    shards: epoch.map(|epoch| (id, epoch)).into_iter().collect(),
                },
            );
        }
        let shipping = self.transfers.shipments.get_mut(&moving.transfer);
        if let Some(pass) = shipping.and_then(|shipping| shipping.passes.get_mut(&id)) {
            pass.rest = true;
        }
        self.ship(cx, moving.transfer);
    }

    /// A ledger was adopted, for which a scan may have waited.
    pub(super) fn ship_of(&mut self, cx: &Context<'_>, id: ShardId) {
        if let Some(&transfer) = self.transfers.of.get(&id) {
            self.ship(cx, transfer);
        }
    }

    fn ship(&mut self, cx: &Context<'_>, transfer: TransferId) {
        let Some(shipping) = self.transfers.shipments.get(&transfer) else {
            return;
        };
        for id in shipping.passes.keys().copied().collect::<Vec<_>>() {
            while self.ship_more(cx, transfer, id) {}
        }
        if let Some(shipping) = self.transfers.shipments.get_mut(&transfer)
            && !shipping.precopied
            && shipping.shipment.acked()
            && shipping.passes.values().all(|pass| pass.first)
        {
            shipping.precopied = true;
            self.say_precopied(transfer);
        }
    }

    /// The next step of shipping a shard; whether there may be another one.
    fn ship_more(&mut self, cx: &Context<'_>, transfer: TransferId, id: ShardId) -> bool {
        let Some(shipping) = self.transfers.shipments.get_mut(&transfer) else {
            return false;
        };
        let shipment = &mut shipping.shipment;
        let Some(pass) = shipping.passes.get_mut(&id) else {
            return false;
        };
        if !shipment.wants_more() || shipment.ended(id) {
            return false;
        }
        let (whole, ledger) = readable(cx, id);
        match &pass.scan {
            Scan::Asked => false,
            Scan::From(after) => {
                if after.is_none() && !whole {
                    return false;
                }
                if after.is_none() {
                    pass.ledger = ledger;
                }
                let ask = journal::Request::Scan {
                    id: self.asked.next(),
                    shard: id,
                    after: after.clone(),
                };
                if let journal::Request::Scan { id: number, .. } = ask {
                    self.asked.scans.insert(number, (transfer, id));
                }
                pass.scan = Scan::Asked;
                self.actions.push_back(Action::Journal(ask));
                false
            }
            Scan::Through if pass.ledger != ledger => {
                pass.scan = Scan::From(None);
                true
            }
            Scan::Through if pass.first && !pass.rest => false,
            Scan::Through => {
                let mut records = Vec::new();
                while records.len() < cx.settings.bounds.page_max.max(1) {
                    let Some((_, record)) = pass.changed.pop_first() else {
                        break;
                    };
                    records.push(StoredRecord::clone(&record));
                }
                pass.first |= pass.changed.is_empty();
                let end = pass.rest && pass.changed.is_empty();
                let more = !records.is_empty() && !end;
                if more || end {
                    shipment.offer(cx, id, records, end);
                }
                more
            }
        }
    }

    pub(super) fn scanned(
        &mut self,
        cx: &Context<'_>,
        id: u64,
        records: Vec<StoredRecord>,
        more: bool,
    ) {
        let Some((transfer, shard)) = self.asked.scans.remove(&id) else {
            return;
        };
        let Some(shipping) = self.transfers.shipments.get_mut(&transfer) else {
            return;
        };
        let Some(pass) = shipping.passes.get_mut(&shard) else {
            return;
        };
        let last = records.last().map(|record| record.entity.clone());
        pass.scan = match last {
            Some(last) if more => Scan::From(Some(last)),
            _ => Scan::Through,
        };
        if !records.is_empty() {
            shipping.shipment.offer(cx, shard, records, false);
        }
        self.ship(cx, transfer);
    }

    pub(super) fn transfer_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match message {
            Message::ChunkAcked { transfer, .. } => {
                if let Some(shipping) = self.transfers.shipments.get_mut(transfer) {
                    shipping.shipment.handle_message(cx, from, message);
                    self.ship(cx, *transfer);
                }
            }
            Message::HandoffAborted {
                index,
                transfer,
                shards,
                ..
            } if *index <= cx.control.applied => {
                for id in shards {
                    let phase = self.shards.get(id).map(|shard| shard.phase);
                    let moving = phase.and_then(super::shard::Phase::moving);
                    // Where the control log knows of the handoff it decides, not the message.
                    let begun = moving.is_some_and(|moving| moving.transfer == *transfer);
                    if !begun && self.transfers.of.get(id) == Some(transfer) {
                        self.transfers.forget_shipment(*id);
                    }
                }
            }
            _ => {}
        }
        self.transfers.receiver.handle_message(cx, from, message);
    }

    pub(super) fn transfers_timeout(&mut self, cx: &Context<'_>) {
        let mut over = Vec::new();
        for (&transfer, shipping) in &mut self.transfers.shipments {
            shipping.shipment.handle_timeout(cx);
            if shipping.until <= cx.now.instant {
                shipping.until = cx.now.instant + cx.settings.timing.handoff;
                over.push(transfer);
            }
        }
        for transfer in over {
            let shards = self.transfers.of.iter().filter(|(_, of)| **of == transfer);
            for id in shards.map(|(&id, _)| id).collect::<Vec<_>>() {
                let phase = self.shards.get(&id).map(|shard| shard.phase);
                if phase.and_then(super::shard::Phase::moving).is_none() {
                    self.transfers.forget_shipment(id);
                }
            }
        }
    }

    /// Does what shipments and the receiver want done.
    pub(super) fn run_transfers(&mut self, cx: &Context<'_>) {
        let mut wanted = Vec::new();
        for shipping in self.transfers.shipments.values_mut() {
            wanted.extend(std::iter::from_fn(|| shipping.shipment.poll_action()));
        }
        for action in wanted {
            self.run_transfer(cx, action);
        }
        while let Some(action) = self.transfers.receiver.poll_action() {
            self.run_transfer(cx, action);
        }
    }

    fn run_transfer(&mut self, cx: &Context<'_>, action: transfer::Action) {
        match action {
            transfer::Action::Send { to, message } => self.send(to, message),
            transfer::Action::Install { id, shard, record } => {
                let record = Arc::new(record);
                let space = cx.control.spaces.get(&shard.space);
                if space.is_some_and(|space| space.durability == Durability::Durable) {
                    let number = self.asked.next();
                    self.asked.appends.insert(number, Append::Install(id));
                    let append = journal::Request::Append {
                        id: number,
                        shard,
                        record,
                    };
                    self.actions.push_back(Action::Journal(append));
                } else {
                    let stash = journal::Request::Stash { shard, record };
                    self.actions.push_back(Action::Journal(stash));
                    self.transfers.receiver.handle_installed(cx, id);
                }
            }
            transfer::Action::Received { shard, wakes, .. } => {
                self.learn_wakes(cx, shard, wakes);
            }
        }
    }

    fn say_precopied(&mut self, transfer: TransferId) {
        self.send(transfer.term.node, Message::Precopied { transfer });
    }
}

/// Whether all of a shard is in what this node writes, and the ledger that this is: none of a memory kind.
fn readable(cx: &Context<'_>, id: ShardId) -> (bool, Option<LedgerId>) {
    let space = cx.control.spaces.get(&id.space);
    if space.is_none_or(|space| space.durability == Durability::Memory) {
        return (true, None);
    }
    let shard = cx.control.shards.get(&id);
    let whole = shard.is_some_and(|shard| shard.sources.is_empty());
    let ledger = cx
        .control
        .live(cx.me.home())
        .and_then(|member| member.ledger);
    (whole, ledger)
}
