//! Stories of one host: what it is told, and what it wants done.

mod calls;
mod handoff;
mod memory;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::cluster::{
    Boot, Call, ClusterId, HandoffId, Identity, Index, NodeAddress, Now, ProtocolRange, Reply,
    Settings, ShardMove, Term, TransferId,
};
use crate::control::{Assignment, Command, ControlState, Ownership, Replica};
use crate::{Caller, Durability, KindName};

const TERM: Term = Term {
    number: 1,
    node: NodeId(3),
};
const TRANSFER: TransferId = TransferId {
    term: TERM,
    number: 1,
};

/// One host (node 1) among three nodes; node 3 is the coordinator, calls come from node 2 unless said otherwise.
struct Story {
    host: Host,
    control: ControlState,
    settings: Settings,
    now: Now,
    lease_until: Instant,
    /// What the journal has.
    records: BTreeMap<(ShardId, EntityId), StoredRecord>,
    /// What it was asked to write and has not committed.
    appends: Vec<(u64, ShardId, Arc<StoredRecord>)>,
    /// What it was asked to find and has not answered, while it is slow.
    finds: Vec<(u64, ShardId, EntityId)>,
    slow: bool,
    runs: Vec<(TurnId, EntityId, Input)>,
    activated: Vec<(EntityId, Epoch, Option<Record>)>,
    resumed: Vec<(TurnId, u64, Answer)>,
    discarded: Vec<EntityId>,
    routed: Vec<(Arc<Envelope>, Origin)>,
    sent: Vec<(NodeId, Message)>,
    forgotten: Vec<(ShardId, Epoch)>,
}

impl Story {
    /// Kinds `note` (memory) and `account` (durable) with a shard each, here.
    fn new() -> Self {
        let mut story = Self {
            host: Host::new(BTreeSet::from([component()])),
            control: ControlState::new(ClusterId(7)),
            settings: Settings::lan(),
            now: Now {
                instant: Instant(1_000_000_000),
                utc_ms: 1_000_000,
            },
            lease_until: Instant(u64::MAX),
            records: BTreeMap::new(),
            appends: Vec::new(),
            finds: Vec::new(),
            slow: false,
            runs: Vec::new(),
            activated: Vec::new(),
            resumed: Vec::new(),
            discarded: Vec::new(),
            routed: Vec::new(),
            sent: Vec::new(),
            forgotten: Vec::new(),
        };
        for node in 1..=3 {
            story.join(node);
        }
        for (name, durability) in [
            ("note", Durability::Memory),
            ("account", Durability::Durable),
        ] {
            story.apply(Command::DeployKind {
                name: KindName::new(name).unwrap(),
                component: component(),
                durability,
                shards: 1,
            });
            let shard = story.shard(name);
            story.assign(shard, 1);
        }
        story.forget();
        story
    }

    fn join(&mut self, node: u64) {
        let boot = Boot {
            cluster: ClusterId(7),
            node: NodeId(node),
            process: node,
            machine: node,
            directory: node,
            disk: node,
            address: NodeAddress::default(),
            zone: String::new(),
            version: 1,
            protocol: ProtocolRange { min: 1, max: 1 },
        };
        self.apply(Command::Join {
            boot: Arc::new(boot),
            after: None,
        });
        let home = self.home(node);
        self.apply(Command::Up { member: home });
        let replicas = vec![Replica {
            node: NodeId(node),
            disk: node,
        }];
        self.apply(Command::OpenLedger {
            home,
            after: None,
            replicas,
        });
    }

    fn apply(&mut self, command: Command) -> Index {
        let index = Index(self.control.applied.0 + 1);
        let entry = Entry {
            index,
            term: TERM,
            command,
        };
        assert!(self.control.apply(&entry).is_some(), "{entry:?}");
        self.input(|host, cx| host.handle_applied(cx, &entry));
        index
    }

    fn assign(&mut self, shard: ShardId, node: u64) -> Epoch {
        let assignment = Assignment {
            shard,
            after: self.control.shards[&shard].epoch,
            home: self.home(node),
        };
        let shards = vec![assignment];
        Epoch(self.apply(Command::Assign { shards }).0)
    }

    /// The shard moves from here to node 2.
    fn begin_handoff(&mut self, shard: ShardId) -> HandoffId {
        let order = self.order(shard);
        let index = self.apply(Command::BeginHandoff {
            transfer: order.transfer,
            stamp: order.stamp,
            from: self.home(1),
            to: order.to,
            shards: order.shards,
        });
        HandoffId(index.0)
    }

    fn order(&self, shard: ShardId) -> ShardMove {
        ShardMove {
            term: TERM,
            transfer: TRANSFER,
            stamp: Epoch(self.control.applied.0),
            to: self.home(2),
            shards: vec![(shard, self.epoch(shard))],
        }
    }

    fn complete(&mut self, handoff: HandoffId, shard: ShardId) {
        let ledger = self.control.members[&NodeId(2)].ledger;
        let durable = self.control.spaces[&shard.space].durability == Durability::Durable;
        let shards = vec![(shard, ledger.filter(|_| durable))];
        self.apply(Command::CompleteHandoff { handoff, shards });
    }

    fn abort(&mut self, handoff: HandoffId, shard: ShardId) {
        let shards = vec![shard];
        self.apply(Command::AbortHandoff { handoff, shards });
    }

    fn home(&self, node: u64) -> Home {
        let member = self.control.members.get(&NodeId(node));
        member.map_or(Home::default(), |member| member.home())
    }

    fn shard(&self, kind: &str) -> ShardId {
        let name = KindName::new(kind).unwrap();
        let (space, _) = self.control.space(&name).unwrap();
        ShardId { space, number: 0 }
    }

    fn epoch(&self, shard: ShardId) -> Epoch {
        self.control.shards[&shard].epoch
    }

    /// Gives an input, does what the journal can do at once, and takes up the rest.
    fn input(&mut self, give: impl FnOnce(&mut Host, &Context<'_>)) {
        let me = Identity {
            node: NodeId(1),
            incarnation: self.home(1).incarnation,
        };
        let cx = Context {
            now: self.now,
            control: &self.control,
            settings: &self.settings,
            me,
            lease_until: self.lease_until,
        };
        give(&mut self.host, &cx);
        self.host.check_invariants();
        let mut found = Vec::new();
        let mut scanned = Vec::new();
        while let Some(action) = self.host.poll_action() {
            match action {
                Action::Send { to, message } => self.sent.push((to, message)),
                Action::Activate {
                    entity,
                    epoch,
                    record,
                } => self.activated.push((entity, epoch, record)),
                Action::Run {
                    turn,
                    entity,
                    input,
                } => self.runs.push((turn, entity, input)),
                Action::Resume {
                    turn,
                    number,
                    answer,
                } => self.resumed.push((turn, number, answer)),
                Action::Discard { entity, .. } => self.discarded.push(entity),
                Action::Route { call, origin } => self.routed.push((call, origin)),
                Action::Journal(request) => match request {
                    journal::Request::Append { id, shard, record } => {
                        self.appends.push((id, shard, record));
                    }
                    journal::Request::Stash { shard, record } => {
                        let key = (shard, record.entity.clone());
                        self.records.insert(key, StoredRecord::clone(&record));
                    }
                    journal::Request::Find { id, shard, entity } if self.slow => {
                        self.finds.push((id, shard, entity));
                    }
                    journal::Request::Find { id, shard, entity } => found.push((id, shard, entity)),
                    journal::Request::Scan { id, shard, .. } => scanned.push((id, shard)),
                    journal::Request::Forget { shard, before } => {
                        self.forgotten.push((shard, before));
                    }
                },
            }
        }
        for (id, shard, entity) in found {
            let record = self.records.get(&(shard, entity)).cloned();
            self.input(|host, cx| host.handle_found::<()>(cx, id, Ok(record)));
        }
        for (id, shard) in scanned {
            let records = self.records.iter().filter(|((of, _), _)| *of == shard);
            let records = records.map(|(_, record)| record.clone()).collect();
            self.input(|host, cx| host.handle_scanned(cx, id, records, false));
        }
    }

    fn message(&mut self, from: u64, message: Message) {
        let from = self.home(from);
        self.input(|host, cx| host.handle_message(cx, from, &message));
    }

    /// A call from node 2, `seq` in its lane under the shard's present epoch.
    fn call(&mut self, entity: &str, seq: u64) {
        let call = self.numbered(entity, seq);
        self.message(2, Message::Call(call));
    }

    fn chained(&mut self, entity: &str, seq: u64) {
        let mut call = self.numbered(entity, seq);
        let mut envelope = Envelope::clone(&call.envelope);
        envelope.chain = vec![id("note/caller")];
        call.envelope = Arc::new(envelope);
        self.message(2, Message::Call(call));
    }

    fn numbered(&self, entity: &str, seq: u64) -> Call {
        let envelope = envelope(entity, seq);
        let shard = self.shard(envelope.entity.kind().as_str());
        Call {
            shard,
            epoch: self.epoch(shard),
            seq,
            lowest: 1,
            left_ms: 10_000,
            envelope: Arc::new(envelope),
        }
    }

    /// The last turn that was started.
    fn turn(&self) -> TurnId {
        self.runs.last().expect("a turn was started").0
    }

    /// A turn ends with `answer` and, if `written`, with a record.
    fn end(&mut self, turn: TurnId, written: Option<&str>) {
        let outcome = outcome(written);
        self.input(|host, cx| host.handle_turn_ended(cx, turn, outcome));
    }

    fn end_with(&mut self, turn: TurnId, outcome: Outcome) {
        self.input(|host, cx| host.handle_turn_ended(cx, turn, outcome));
    }

    /// The journal commits all that it was given.
    fn commit(&mut self) {
        for (id, shard, record) in std::mem::take(&mut self.appends) {
            let key = (shard, record.entity.clone());
            self.records.insert(key, StoredRecord::clone(&record));
            self.input(|host, cx| host.handle_committed(cx, id));
        }
    }

    /// Time passes, and the host is woken as often as it wants.
    fn pass(&mut self, ms: u64) {
        let end = self.now.instant + Duration::from_millis(ms);
        for _ in 0..10_000 {
            let due = self.host.poll_timeout().filter(|due| *due <= end);
            let Some(due) = due else {
                self.advance(end);
                return;
            };
            self.advance(due.max(self.now.instant));
            self.input(|host, cx| host.handle_timeout(cx));
        }
        panic!("the host wants to be woken without end: {:?}", self.host);
    }

    fn advance(&mut self, to: Instant) {
        let passed = to.since(self.now.instant).as_millis();
        self.now.utc_ms += u64::try_from(passed).unwrap();
        self.now.instant = to;
    }

    fn lose_lease(&mut self) {
        self.lease_until = self.now.instant;
    }

    fn renew_lease(&mut self) {
        self.lease_until = Instant(u64::MAX);
        self.input(|host, cx| host.handle_lease(cx));
    }

    /// What was answered so far, by number: what the last record of the entity said, or why not.
    fn replies(&self) -> Vec<(u64, String)> {
        let replies = self.sent.iter().filter_map(|(_, message)| match message {
            Message::Reply(Reply { seq, answer, .. }) => Some((*seq, text(answer))),
            _ => None,
        });
        replies.collect()
    }

    /// The numbers of the calls that were moved.
    fn moved(&self) -> Vec<u64> {
        let moved = self.sent.iter().filter_map(|(_, message)| match message {
            Message::Moved { seq, .. } => Some(*seq),
            _ => None,
        });
        moved.collect()
    }

    fn acked(&self) -> usize {
        let acked = |(_, message): &&(_, Message)| matches!(message, Message::HandoffAcked { .. });
        self.sent.iter().filter(acked).count()
    }

    /// The methods of the calls that run, or ran.
    fn ran(&self) -> Vec<String> {
        let ran = self.runs.iter().map(|(_, _, input)| match input {
            Input::Call(envelope) => envelope.method.clone(),
            Input::Wake => "wake".to_owned(),
            Input::Delivered { .. } => "delivered".to_owned(),
            Input::Step => "step".to_owned(),
        });
        ran.collect()
    }

    /// Forgets what was seen so far.
    fn forget(&mut self) {
        self.runs.clear();
        self.activated.clear();
        self.resumed.clear();
        self.discarded.clear();
        self.routed.clear();
        self.sent.clear();
        self.forgotten.clear();
    }
}

fn component() -> Digest {
    Digest::of(b"component")
}

fn id(text: &str) -> EntityId {
    text.parse().unwrap()
}

/// The method is the number in the lane.
fn envelope(entity: &str, seq: u64) -> Envelope {
    Envelope {
        entity: id(entity),
        method: seq.to_string(),
        arguments: Payload::default(),
        caller: Caller::Anonymous,
        key: CommandKey::Client(seq.to_string()),
        attempt: 1,
        deadline_left_ms: 10_000,
        chain: Vec::new(),
    }
}

fn outcome(written: Option<&str>) -> Outcome {
    let text = written.unwrap_or("read");
    Outcome {
        answer: Ok(Payload(text.as_bytes().to_vec())),
        record: written.map(|text| Draft {
            wake_ms: None,
            deleted: false,
            bytes: text.as_bytes().to_vec().into(),
        }),
        sends: Vec::new(),
        next_step: None,
        lost: false,
    }
}

fn trapped() -> Outcome {
    Outcome {
        answer: Err(CallError::Trapped {
            during: "handle".to_owned(),
            message: "boom".to_owned(),
        }),
        lost: true,
        ..outcome(None)
    }
}

fn text(answer: &Answer) -> String {
    match &**answer {
        Ok(payload) => String::from_utf8(payload.0.clone()).unwrap(),
        Err(error) => error.code().to_owned(),
    }
}

fn pairs(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    let pairs = expected.iter();
    pairs.map(|&(seq, text)| (seq, text.to_owned())).collect()
}
