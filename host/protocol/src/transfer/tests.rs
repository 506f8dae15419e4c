use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::cluster::{
    Boot, Chunk, ClusterId, Context, Epoch, Home, Identity, Incarnation, Index, Instant, LedgerId,
    NodeAddress, Now, Peer, ProtocolRange, Settings, ShardMove, SpaceId, Term, TransferId,
};
use crate::control::{ControlState, Ledger, Member, Ownership, Role, Shard, Space, Status};
use crate::{Durability, KindName};

const SOURCE: Home = home(1, 11);
const TARGET: Home = home(2, 12);
const COORDINATOR: NodeId = NodeId(3);
const SHARD: ShardId = ShardId {
    space: SpaceId(20),
    number: 4,
};
const STAMP: Epoch = Epoch(50);
const HANDOFF: HandoffId = HandoffId(60);
const TRANSFER: TransferId = TransferId {
    term: Term {
        number: 2,
        node: COORDINATOR,
    },
    number: 1,
};

const fn home(node: u64, incarnation: u64) -> Home {
    Home {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
    }
}

/// Source and target, and what the control log has decided.
struct Pair {
    control: ControlState,
    settings: Settings,
    now: Now,
    shipment: Shipment,
    receiver: Receiver,
    /// Installs that are not safe yet.
    installing: Vec<(u64, StoredRecord)>,
    installed: Vec<StoredRecord>,
    to_target: Vec<Message>,
    to_source: Vec<Message>,
    to_coordinator: Vec<Message>,
    received: Vec<(EntityId, u64)>,
}

impl Pair {
    fn new(durability: Durability) -> Self {
        let order = ShardMove {
            term: TRANSFER.term,
            transfer: TRANSFER,
            stamp: STAMP,
            to: TARGET,
            shards: vec![(SHARD, Epoch(40))],
        };
        let mut settings = Settings::lan();
        settings.bounds.page_max = 2;
        Self {
            control: decided(durability),
            settings,
            now: Now::default(),
            shipment: Shipment::new(order),
            receiver: Receiver::new(),
            installing: Vec::new(),
            installed: Vec::new(),
            to_target: Vec::new(),
            to_source: Vec::new(),
            to_coordinator: Vec::new(),
            received: Vec::new(),
        }
    }

    fn offer(&mut self, records: Vec<StoredRecord>, end: bool) {
        let cx = context(&self.control, &self.settings, self.now, SOURCE);
        self.shipment.offer(&cx, SHARD, records, end);
        self.collect();
    }

    fn at_target(&mut self, from: Peer, message: &Message) {
        let cx = context(&self.control, &self.settings, self.now, TARGET);
        self.receiver.handle_message(&cx, from, message);
        self.collect();
    }

    fn at_source(&mut self, message: &Message) {
        let cx = context(&self.control, &self.settings, self.now, SOURCE);
        self.shipment.handle_message(&cx, TARGET, message);
        self.collect();
    }

    fn query(&mut self, last: bool) {
        let message = Message::InstallQuery {
            term: TRANSFER.term,
            handoff: HANDOFF,
            shards: vec![SHARD],
            last,
        };
        self.at_target(home(3, 13), &message);
    }

    fn commit(&mut self) {
        for (id, record) in std::mem::take(&mut self.installing) {
            self.installed.push(record);
            let cx = context(&self.control, &self.settings, self.now, TARGET);
            self.receiver.handle_installed(&cx, id);
        }
        self.collect();
    }

    /// Delivers and commits everything until nothing is left.
    fn settle(&mut self) {
        loop {
            for message in std::mem::take(&mut self.to_target) {
                self.at_target(SOURCE, &message);
            }
            self.commit();
            for message in std::mem::take(&mut self.to_source) {
                self.at_source(&message);
            }
            if self.to_target.is_empty() && self.installing.is_empty() && self.to_source.is_empty()
            {
                return;
            }
        }
    }

    fn own(&mut self, ownership: Ownership) {
        self.control
            .shards
            .change(SHARD, |shard| shard.ownership = ownership);
        let cx = context(&self.control, &self.settings, self.now, TARGET);
        self.receiver.handle_state(&cx);
        self.collect();
    }

    fn begin(&mut self) {
        self.own(Ownership::Handoff {
            handoff: HANDOFF,
            transfer: TRANSFER,
            stamp: STAMP,
            from: SOURCE,
            to: TARGET,
        });
    }

    fn collect(&mut self) {
        let from_source = std::iter::from_fn(|| self.shipment.poll_action()).collect::<Vec<_>>();
        let from_target = std::iter::from_fn(|| self.receiver.poll_action()).collect::<Vec<_>>();
        for action in from_source.into_iter().chain(from_target) {
            match action {
                Action::Send { to, message } if to == TARGET.node => self.to_target.push(message),
                Action::Send { to, message } if to == SOURCE.node => self.to_source.push(message),
                Action::Send { message, .. } => self.to_coordinator.push(message),
                Action::Install { id, record, .. } => self.installing.push((id, record)),
                Action::Received { wakes, .. } => self.received.extend(wakes),
            }
        }
        self.shipment.check_invariants();
        self.receiver.check_invariants();
    }

    fn says_installed(&self) -> bool {
        let said = |message: &Message| matches!(message, Message::Installed { .. });
        self.to_coordinator.iter().any(said)
    }

    fn says_not_installed(&self) -> bool {
        let said = |message: &Message| matches!(message, Message::NotInstalled { .. });
        self.to_coordinator.iter().any(said)
    }
}

fn context<'a>(
    control: &'a ControlState,
    settings: &'a Settings,
    now: Now,
    me: Home,
) -> Context<'a> {
    Context {
        now,
        control,
        settings,
        me: Identity {
            node: me.node,
            incarnation: me.incarnation,
        },
        lease_until: Instant(u64::MAX),
    }
}

fn decided(durability: Durability) -> ControlState {
    let mut control = ControlState::new(ClusterId(1));
    control.applied = Index(60);
    control.coordinator = TRANSFER.term;
    for (home, ledger) in [(SOURCE, 31), (TARGET, 32)] {
        let boot = Boot {
            cluster: ClusterId(1),
            node: home.node,
            process: home.node.0,
            machine: 0,
            directory: 0,
            disk: home.node.0,
            address: NodeAddress::default(),
            zone: String::new(),
            version: 1,
            protocol: ProtocolRange { min: 1, max: 1 },
        };
        let member = Member {
            incarnation: home.incarnation,
            boot: Arc::new(boot),
            status: Status::Up,
            since: Index(30),
            ledger: Some(LedgerId(ledger)),
        };
        control.members.insert(home.node, member);
        let ledger_of = Ledger {
            home,
            replicas: Vec::new(),
        };
        control.ledgers.insert(LedgerId(ledger), ledger_of);
    }
    let space = Space {
        name: KindName::new("counter").unwrap(),
        component: Digest::of(b""),
        version: 1,
        durability,
        shards: 8,
        role: Role::Kind,
    };
    control.spaces.insert(SHARD.space, space);
    let shard = Shard {
        epoch: Epoch(40),
        since: Epoch(40),
        sources: Vec::new(),
        ownership: Ownership::Owned { home: SOURCE },
    };
    control.shards.insert(SHARD, shard);
    control
}

fn record(key: &str, version: u64) -> StoredRecord {
    StoredRecord {
        entity: format!("counter/{key}").parse().unwrap(),
        epoch: Epoch(40),
        record: Record {
            version,
            wake_ms: (key == "b").then_some(version * 10),
            deleted: false,
            bytes: vec![u8::try_from(version).unwrap(); 4].into(),
        },
    }
}

fn all() -> Vec<StoredRecord> {
    ["a", "b", "c", "d", "e"].map(|key| record(key, 1)).to_vec()
}

#[test]
fn what_was_precopied_is_not_shipped_again_and_all_of_it_arrives_stamped() {
    let mut pair = Pair::new(Durability::Durable);
    pair.offer(all(), false);
    pair.settle();
    assert!(pair.shipment.acked());
    assert_eq!(pair.installed.len(), 5);
    pair.begin();
    let mut rest = all();
    rest[1] = record("b", 2);
    pair.offer(rest, true);
    pair.settle();

    assert!(pair.shipment.done(SHARD) && pair.says_installed());
    assert_eq!(pair.installed.len(), 6, "only `b` had changed");
    assert!(pair.installed.iter().all(|record| record.epoch == STAMP));
    pair.own(Ownership::Owned { home: TARGET });
    assert_eq!(pair.received, [("counter/b".parse().unwrap(), 20)]);
    assert!(pair.receiver.is_empty());
}

#[test]
fn chunks_that_come_thrice_and_in_reverse_change_nothing_more() {
    let mut plain = Pair::new(Durability::Memory);
    let mut wild = Pair::new(Durability::Memory);
    for pair in [&mut plain, &mut wild] {
        pair.begin();
        pair.offer(all(), true);
    }
    plain.settle();
    let chunks = std::mem::take(&mut wild.to_target);
    for chunk in chunks.iter().rev().chain(&chunks).chain(&chunks) {
        wild.at_target(SOURCE, chunk);
        wild.commit();
    }
    wild.settle();

    let keys =
        |pair: &Pair| -> BTreeSet<_> { pair.installed.iter().map(|r| r.entity.clone()).collect() };
    assert_eq!(keys(&plain), keys(&wild));
    assert_eq!(wild.installed.len(), 5);
    let digest = |pair: &Pair| {
        pair.to_coordinator
            .iter()
            .find_map(|message| match message {
                Message::Installed { digest, .. } => Some(*digest),
                _ => None,
            })
    };
    assert!(digest(&plain).is_some());
    assert_eq!(digest(&plain), digest(&wild));
}

#[test]
fn a_chunk_is_acknowledged_when_its_records_are_safe_and_not_before() {
    let mut pair = Pair::new(Durability::Durable);
    pair.offer(vec![record("a", 1)], false);
    let chunk = pair.to_target.pop().unwrap();
    pair.at_target(SOURCE, &chunk);
    assert!(pair.to_source.is_empty());
    pair.at_target(SOURCE, &chunk);
    assert!(pair.to_source.is_empty() && pair.installing.len() == 1);
    pair.commit();
    assert_eq!(pair.to_source.len(), 1);
}

#[test]
fn a_transfer_without_its_end_is_never_installed() {
    let mut pair = Pair::new(Durability::Durable);
    pair.begin();
    pair.offer(all(), false);
    pair.settle();
    pair.query(false);
    assert!(!pair.says_installed() && !pair.says_not_installed());
    pair.query(true);
    assert!(!pair.says_installed() && pair.says_not_installed());

    // The promise holds even if the source speaks again.
    pair.offer(Vec::new(), true);
    pair.settle();
    pair.query(false);
    assert!(!pair.says_installed());
}

#[test]
fn what_is_here_is_installed_even_if_the_source_is_gone() {
    let mut pair = Pair::new(Durability::Durable);
    pair.begin();
    pair.offer(all(), true);
    pair.settle();
    pair.control.members.get_mut(&SOURCE.node).unwrap().status = Status::Down;
    pair.begin();
    pair.to_coordinator.clear();
    pair.query(true);
    assert!(pair.says_installed() && !pair.says_not_installed());
}

#[test]
fn a_node_that_opened_another_ledger_meanwhile_refuses_the_transfer() {
    let mut pair = Pair::new(Durability::Durable);
    pair.offer(all(), false);
    pair.settle();
    pair.control.members.get_mut(&TARGET.node).unwrap().ledger = Some(LedgerId(33));
    pair.begin();
    pair.offer(Vec::new(), true);
    pair.settle();
    pair.query(false);
    assert!(!pair.says_installed() && pair.says_not_installed());
}

#[test]
fn chunks_of_a_node_that_does_not_have_the_shard_and_damaged_ones_are_ignored() {
    let mut pair = Pair::new(Durability::Durable);
    pair.offer(vec![record("a", 1)], false);
    let message = pair.to_target.pop().unwrap();
    pair.at_target(home(1, 10), &message);
    pair.at_target(home(3, 13), &message);
    let Message::Chunk(chunk) = &message else {
        panic!("{message:?}");
    };
    let mut damaged = Chunk::clone(chunk);
    damaged.records[0].record.bytes = vec![9].into();
    pair.at_target(SOURCE, &Message::Chunk(Arc::new(damaged)));
    assert!(pair.receiver.is_empty() && pair.installing.is_empty());
    pair.at_target(SOURCE, &message);
    assert_eq!(pair.installing.len(), 1);
}

#[test]
fn lost_chunks_are_sent_again_until_they_are_acknowledged() {
    let mut pair = Pair::new(Durability::Memory);
    pair.offer(all(), false);
    assert_eq!(std::mem::take(&mut pair.to_target).len(), 3);
    pair.now.instant = pair.shipment.poll_timeout().unwrap();
    let cx = context(&pair.control, &pair.settings, pair.now, SOURCE);
    pair.shipment.handle_timeout(&cx);
    pair.collect();
    assert_eq!(pair.to_target.len(), 3);
    pair.settle();
    assert!(pair.shipment.acked() && pair.shipment.poll_timeout().is_none());
}
