mod asks;
mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::{Action, Journal, Query, Request, Restored, Unavailable, Write};
use crate::cluster::{
    Blob, Boot, ClusterId, Context, Epoch, Home, Identity, Incarnation, Index, Instant, LedgerId,
    Message, NodeAddress, NodeId, Now, ProtocolRange, Record, Settings, ShardId, SpaceId,
    StoredRecord, Term,
};
use crate::control::{Assignment, Command, ControlState, Entry, Replica};
use crate::{Digest, Durability, EntityId, KindName};

pub(super) use disk::Disk;

pub(super) type Found = Result<Option<StoredRecord>, Unavailable>;

/// Some nodes, what is between them, and what is decided.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) settings: Settings,
    pub(super) log: Vec<Arc<Entry>>,
    /// What a node that has applied everything sees.
    pub(super) control: ControlState,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) net: VecDeque<Packet>,
    /// Nodes that nothing reaches and that reach nobody but themselves.
    pub(super) cut: BTreeSet<NodeId>,
    /// What owners have said that they adopted.
    pub(super) adopted: BTreeSet<(ShardId, Epoch, LedgerId)>,
    pub(super) durable: SpaceId,
    pub(super) memory: SpaceId,
    next: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) from: Home,
    pub(super) to: NodeId,
    pub(super) message: Message,
}

pub(super) struct Node {
    pub(super) process: u64,
    pub(super) control: ControlState,
    /// None while the process is dead.
    pub(super) journal: Option<Journal>,
    pub(super) disk: Disk,
    pub(super) disk_number: u64,
    /// Not on disk yet, in order.
    pub(super) writes: VecDeque<(u64, Write)>,
    pub(super) reads: VecDeque<(u64, Query)>,
    pub(super) heard: Heard,
}

/// What a journal has said to its host.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) committed: BTreeMap<u64, LedgerId>,
    pub(super) found: BTreeMap<u64, Found>,
    pub(super) scanned: BTreeMap<u64, (Vec<StoredRecord>, bool)>,
    pub(super) swept: Vec<(EntityId, u64)>,
    pub(super) fenced: BTreeSet<LedgerId>,
}

impl Node {
    pub(super) fn me(&self, id: NodeId) -> Identity {
        let member = self.control.members.get(&id);
        let member = member.filter(|member| member.boot.process == self.process);
        Identity {
            node: id,
            incarnation: member.map_or(Incarnation(0), |member| member.incarnation),
        }
    }
}

impl World {
    /// Nodes 1 to `nodes`, members with a ledger each whose other replicas are the next two nodes; a durable and a memory kind.
    pub(super) fn new(nodes: u64) -> Self {
        Self::with(nodes, Settings::lan())
    }

    pub(super) fn with(nodes: u64, settings: Settings) -> Self {
        let mut world = Self {
            now: Instant(1_000_000_000),
            settings,
            log: Vec::new(),
            control: ControlState::new(ClusterId(7)),
            nodes: BTreeMap::new(),
            net: VecDeque::new(),
            cut: BTreeSet::new(),
            adopted: BTreeSet::new(),
            durable: SpaceId(0),
            memory: SpaceId(0),
            next: 0,
        };
        for id in (1..=nodes).map(NodeId) {
            let node = Node {
                process: 0,
                control: ControlState::new(ClusterId(7)),
                journal: None,
                disk: Disk::default(),
                disk_number: id.0 * 100,
                writes: VecDeque::new(),
                reads: VecDeque::new(),
                heard: Heard::default(),
            };
            world.nodes.insert(id, node);
            world.start(id);
        }
        for (name, durability) in [
            ("account", Durability::Durable),
            ("session", Durability::Memory),
        ] {
            let id = world.decide(Command::DeployKind {
                name: KindName::new(name).unwrap(),
                component: Digest::of(b"code"),
                durability,
                shards: 4,
            });
            match durability {
                Durability::Durable => world.durable = SpaceId(id),
                Durability::Memory => world.memory = SpaceId(id),
            }
        }
        for id in (1..=nodes).map(NodeId) {
            let others: Vec<u64> = (0..nodes.min(3))
                .map(|n| (id.0 - 1 + n) % nodes + 1)
                .collect();
            world.open_ledger(id, &others);
        }
        world.run();
        world
    }

    /// Appends to the log; every node that runs and is not cut off applies it.
    pub(super) fn decide(&mut self, command: Command) -> u64 {
        let index = self.propose(command);
        for id in self.running() {
            if !self.cut.contains(&id) {
                self.catch_up(id);
            }
        }
        index
    }

    /// Appends to the log; nobody has heard of it.
    pub(super) fn propose(&mut self, command: Command) -> u64 {
        let entry = Entry {
            index: Index(self.control.applied.0 + 1),
            term: Term::default(),
            command,
        };
        assert!(self.control.apply(&entry).is_some());
        self.control.check_invariants();
        self.log.push(Arc::new(entry));
        self.control.applied.0
    }

    pub(super) fn catch_up(&mut self, id: NodeId) {
        while self.apply_next(id) {}
    }

    pub(super) fn apply_next(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let applied = usize::try_from(node.control.applied.0).unwrap();
        let Some(entry) = self.log.get(applied).cloned() else {
            return false;
        };
        assert!(node.control.apply(&entry).is_some());
        self.with_journal(id, |journal, cx| journal.handle_applied(cx, &entry));
        true
    }

    /// Starts the process of a node and makes it a member again.
    pub(super) fn start(&mut self, id: NodeId) {
        self.boot(id);
        self.join(id);
    }

    pub(super) fn boot(&mut self, id: NodeId) {
        self.next += 1;
        let node = self.nodes.get_mut(&id).unwrap();
        node.process = self.next;
        let sealed = node.disk.sealed.clone();
        node.journal = Some(Journal::new(Restored { sealed }));
        self.with_journal(id, Journal::handle_state);
    }

    pub(super) fn join(&mut self, id: NodeId) {
        let member = self.control.members.get(&id);
        let after = member.map(|member| Home {
            node: id,
            incarnation: member.incarnation,
        });
        let boot = Arc::new(self.introduction(id));
        let index = self.decide(Command::Join { boot, after });
        let member = Home {
            node: id,
            incarnation: Incarnation(index),
        };
        self.decide(Command::Up { member });
    }

    pub(super) fn introduction(&self, id: NodeId) -> Boot {
        let node = &self.nodes[&id];
        Boot {
            cluster: ClusterId(7),
            node: id,
            process: node.process,
            machine: id.0,
            directory: node.disk_number,
            disk: node.disk_number,
            address: NodeAddress::default(),
            zone: String::new(),
            version: 1,
            protocol: ProtocolRange { min: 1, max: 1 },
        }
    }

    pub(super) fn open_ledger(&mut self, id: NodeId, replicas: &[u64]) -> LedgerId {
        let command = self.ledger_command(id, replicas);
        LedgerId(self.decide(command))
    }

    pub(super) fn ledger_command(&self, id: NodeId, replicas: &[u64]) -> Command {
        let replica = |&node: &u64| Replica {
            node: NodeId(node),
            disk: self.nodes[&NodeId(node)].disk_number,
        };
        let member = &self.control.members[&id];
        Command::OpenLedger {
            home: self.home(id),
            after: member.ledger,
            replicas: replicas.iter().map(replica).collect(),
        }
    }

    /// The process dies: what is not on disk is gone, and what it had heard.
    pub(super) fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.journal = None;
        node.writes.clear();
        node.reads.clear();
        node.heard = Heard::default();
    }

    pub(super) fn down(&mut self, id: NodeId) {
        let member = self.home(id);
        self.decide(Command::Down { member });
    }

    /// By the control log.
    pub(super) fn home(&self, id: NodeId) -> Home {
        let incarnation = self.control.members[&id].incarnation;
        Home {
            node: id,
            incarnation,
        }
    }

    pub(super) fn ledger_of(&self, id: NodeId) -> LedgerId {
        self.control.members[&id].ledger.unwrap()
    }

    pub(super) fn assign(&mut self, shard: ShardId, id: NodeId) -> Epoch {
        let after = self.control.shards[&shard].epoch;
        let home = self.home(id);
        let shards = vec![Assignment { shard, after, home }];
        let index = self.decide(Command::Assign { shards });
        assert_eq!(
            self.control.home_of(shard),
            Some((home, Epoch(index))),
            "assigned"
        );
        Epoch(index)
    }

    pub(super) fn running(&self) -> Vec<NodeId> {
        let running = self.nodes.iter().filter(|(_, node)| node.journal.is_some());
        running.map(|(&id, _)| id).collect()
    }

    /// One input to a journal, and then everything that it wants done is on its way.
    pub(super) fn with_journal(
        &mut self,
        id: NodeId,
        input: impl FnOnce(&mut Journal, &Context<'_>),
    ) {
        let node = self.nodes.get_mut(&id).unwrap();
        let me = node.me(id);
        let Some(journal) = &mut node.journal else {
            return;
        };
        let cx = Context {
            now: Now {
                instant: self.now,
                utc_ms: 0,
            },
            control: &node.control,
            settings: &self.settings,
            me,
            lease_until: Instant(u64::MAX),
        };
        input(journal, &cx);
        journal.check_invariants();
        while let Some(action) = journal.poll_action() {
            match action {
                Action::Send {
                    message:
                        Message::Adopted {
                            shard,
                            epoch,
                            source,
                        },
                    ..
                } => {
                    self.adopted.insert((shard, epoch, source));
                }
                Action::Send { to, message } => {
                    self.net.push_back(Packet {
                        from: me.home(),
                        to,
                        message,
                    });
                }
                Action::Persist { token, write } => node.writes.push_back((token, write)),
                Action::Read { token, query } => node.reads.push_back((token, query)),
                Action::Committed { id, ledger } => {
                    assert!(
                        node.heard.committed.insert(id, ledger).is_none(),
                        "committed once"
                    );
                }
                Action::Fenced { ledger } => {
                    node.heard.fenced.insert(ledger);
                }
                Action::Found { id, result } => {
                    assert!(node.heard.found.insert(id, result).is_none(), "found once");
                }
                Action::Scanned { id, records, more } => {
                    node.heard.scanned.insert(id, (records, more));
                }
                Action::Swept { records, .. } => node.heard.swept.extend(records),
            }
        }
    }

    pub(super) fn request(&mut self, id: NodeId, request: Request) {
        self.with_journal(id, |journal, cx| journal.handle_request(cx, request));
    }

    /// The oldest write of a node reaches its disk.
    pub(super) fn sync(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((token, write)) = node.writes.pop_front() else {
            return false;
        };
        node.disk.write(write);
        self.with_journal(id, |journal, cx| journal.handle_persisted(cx, token));
        true
    }

    /// The oldest read of a node is answered. It may see what is not synced yet.
    pub(super) fn read(&mut self, id: NodeId, unsynced: bool) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((token, query)) = node.reads.pop_front() else {
            return false;
        };
        let (records, more) = if unsynced && !node.writes.is_empty() {
            let mut disk = node.disk.clone();
            for (_, write) in &node.writes {
                disk.write(write.clone());
            }
            disk.read(&query)
        } else {
            node.disk.read(&query)
        };
        self.with_journal(id, |journal, cx| {
            journal.handle_read(cx, token, records, more)
        });
        true
    }

    pub(super) fn deliver(&mut self, packet: &Packet) {
        let apart = self.cut.contains(&packet.from.node) || self.cut.contains(&packet.to);
        if packet.from.node == packet.to || !apart {
            self.with_journal(packet.to, |journal, cx| {
                journal.handle_message(cx, packet.from, &packet.message);
            });
        }
    }

    /// Everything that is on its way arrives, until nothing is.
    pub(super) fn run(&mut self) {
        for _ in 0..100_000 {
            let mut busy = false;
            for id in self.running() {
                busy |= self.sync(id) | self.read(id, true);
            }
            if let Some(packet) = self.net.pop_front() {
                self.deliver(&packet);
                busy = true;
            }
            if !busy {
                return;
            }
        }
        panic!("it never ends");
    }

    /// Time passes, a bit at a time.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run();
        while self.now < end {
            self.now = self.now + Duration::from_millis(50);
            self.fire();
            self.run();
        }
    }

    pub(super) fn fire(&mut self) {
        for id in self.running() {
            let due = self.nodes[&id]
                .journal
                .as_ref()
                .and_then(Journal::poll_timeout);
            if due.is_some_and(|due| due <= self.now) {
                self.with_journal(id, Journal::handle_timeout);
            }
        }
    }

    /// The coordinator writes down what was adopted.
    pub(super) fn decide_adopted(&mut self) {
        for (shard, epoch, source) in std::mem::take(&mut self.adopted) {
            self.decide(Command::Adopted {
                shard,
                epoch,
                source,
            });
        }
        self.run();
    }

    pub(super) fn shard(&self, number: u32) -> ShardId {
        ShardId {
            space: self.durable,
            number,
        }
    }

    /// Drops what is on its way and is such a message.
    pub(super) fn lose(&mut self, such: impl Fn(&Packet) -> bool) {
        self.net.retain(|packet| !such(packet));
    }
}

pub(super) fn entity(key: &str) -> EntityId {
    EntityId::new(KindName::new("account").unwrap(), key).unwrap()
}

pub(super) fn record(key: &str, epoch: Epoch, version: u64, text: &str) -> StoredRecord {
    StoredRecord {
        entity: entity(key),
        epoch,
        record: Record {
            version,
            wake_ms: None,
            deleted: false,
            bytes: Blob::from(text.as_bytes().to_vec()),
        },
    }
}

/// What was found, as text; `None` if it is known that there is nothing.
pub(super) fn text(found: Option<Found>) -> Option<String> {
    let found = found.expect("an answer").expect("available");
    found.map(|found| String::from_utf8(found.record.bytes.0.to_vec()).unwrap())
}
