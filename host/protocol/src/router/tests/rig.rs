//! A router, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{
    Boot, Context, Epoch, HandoffId, Home, Identity, Incarnation, Index, Instant, Message, NodeId,
    Now, ProtocolRange, Reply, Settings, ShardId, SpaceId, Term, TransferId,
};
use crate::control::{
    Assignment, Command, ControlState, Entry, Member, Ownership, Role, Shard, Space, Status,
};
use crate::router::{Action, OutCall, Router};
use crate::{Caller, CommandKey, Digest, Durability, Envelope, KindName, Payload};

pub(crate) const SHARD: ShardId = ShardId {
    space: SpaceId(1),
    number: 0,
};

pub(crate) fn home(node: u64, incarnation: u64) -> Home {
    Home {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
    }
}

pub(crate) fn member(node: u64, incarnation: u64) -> Member {
    let boot = Boot {
        cluster: Default::default(),
        node: NodeId(node),
        process: incarnation,
        machine: 0,
        directory: 0,
        disk: node,
        address: Default::default(),
        zone: String::new(),
        version: 1,
        protocol: ProtocolRange { min: 1, max: 1 },
    };
    Member {
        incarnation: Incarnation(incarnation),
        boot: Arc::new(boot),
        status: Status::Up,
        since: Index(incarnation),
        ledger: None,
    }
}

/// Three members, the third of which coordinates, and a kind with one shard that nobody owns.
pub(crate) fn control() -> ControlState {
    let mut control = ControlState::new(Default::default());
    control.applied = Index(10);
    control.coordinator = Term {
        number: 1,
        node: NodeId(3),
    };
    for node in 1..=3 {
        control.members.insert(NodeId(node), member(node, node));
    }
    let space = Space {
        name: KindName::new("account").unwrap(),
        component: Digest::of(b""),
        version: 1,
        durability: Durability::Durable,
        shards: 1,
        role: Role::Kind,
    };
    control.spaces.insert(SHARD.space, space);
    let shard = Shard {
        epoch: Epoch(0),
        since: Epoch(0),
        sources: Vec::new(),
        ownership: Ownership::Unassigned,
    };
    control.shards.insert(SHARD, shard);
    control
}

pub(crate) fn envelope(entity: &str, method: &str, chain: &[&str]) -> Arc<Envelope> {
    Arc::new(Envelope {
        entity: entity.parse().unwrap(),
        method: method.to_owned(),
        arguments: Payload::default(),
        caller: Caller::Anonymous,
        key: CommandKey::Client(method.to_owned()),
        attempt: 1,
        deadline_left_ms: 0,
        chain: chain.iter().map(|id| id.parse().unwrap()).collect(),
    })
}

pub(super) struct Rig {
    pub(super) router: Router<String>,
    pub(super) control: ControlState,
    pub(super) settings: Settings,
    pub(super) me: Identity,
    pub(super) now: Instant,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            control: control(),
            settings: Settings::lan(),
            me: Identity {
                node: NodeId(1),
                incarnation: Incarnation(1),
            },
            now: Instant(1_000_000_000_000),
        }
    }

    /// Node 2 owns the shard under epoch 11.
    pub(super) fn served() -> Self {
        let mut rig = Self::new();
        rig.assign(home(2, 2));
        rig
    }

    pub(super) fn input(&mut self, input: impl FnOnce(&mut Router<String>, &Context<'_>)) {
        let cx = Context {
            now: Now {
                instant: self.now,
                utc_ms: 0,
            },
            control: &self.control,
            settings: &self.settings,
            me: self.me,
            lease_until: Instant(u64::MAX),
        };
        input(&mut self.router, &cx);
        self.router.check_invariants(&cx);
    }

    pub(super) fn submit(&mut self, label: &str, envelope: Arc<Envelope>, ms: u64) {
        let deadline = self.now + Duration::from_millis(ms);
        let call = OutCall { envelope, deadline };
        self.input(|router, cx| router.handle_call(cx, call, label.to_owned()));
    }

    pub(super) fn call(&mut self, label: &str) {
        self.submit(label, envelope("account/a", label, &[]), 60_000);
    }

    pub(super) fn message(&mut self, from: Home, message: Message) {
        self.input(|router, cx| router.handle_message(cx, from, &message));
    }

    pub(super) fn reply(&mut self, from: Home, epoch: u64, seq: u64) {
        self.reply_to(self.me.incarnation, from, epoch, seq);
    }

    pub(super) fn reply_to(&mut self, origin: Incarnation, from: Home, epoch: u64, seq: u64) {
        let reply = Reply {
            origin,
            shard: SHARD,
            epoch: Epoch(epoch),
            seq,
            answer: Arc::new(Ok(Payload::default())),
        };
        self.message(from, Message::Reply(reply));
    }

    pub(super) fn moved(&mut self, from: Home, epoch: u64, seq: u64, to: Option<(u64, Home, u64)>) {
        let to = to.map(|(index, home, epoch)| (Index(index), home, Epoch(epoch)));
        let origin = self.me.incarnation;
        self.message(
            from,
            Message::Moved {
                origin,
                shard: SHARD,
                epoch: Epoch(epoch),
                seq,
                to,
            },
        );
    }

    pub(super) fn hint(&mut self, index: u64, to: Option<(Home, u64)>) {
        self.message(
            home(3, 3),
            Message::ShardHome {
                shard: SHARD,
                index: Index(index),
                home: to.map(|(home, epoch)| (home, Epoch(epoch))),
            },
        );
    }

    /// Applies an entry whose effect is `change`.
    pub(super) fn apply(
        &mut self,
        command: Command,
        change: impl FnOnce(&mut ControlState, Index),
    ) {
        self.control.applied.0 += 1;
        let index = self.control.applied;
        change(&mut self.control, index);
        let entry = Entry {
            index,
            term: self.control.coordinator,
            command,
        };
        self.input(|router, cx| router.handle_applied(cx, &entry));
    }

    /// The shard has another owner, under an epoch that is the index of the entry.
    pub(super) fn assign(&mut self, home: Home) {
        let after = self.control.shards[&SHARD].epoch;
        let assignment = Assignment {
            shard: SHARD,
            after,
            home,
        };
        let shards = vec![assignment];
        self.apply(Command::Assign { shards }, |control, index| {
            control.shards.change(SHARD, |shard| {
                shard.epoch = Epoch(index.0);
                shard.ownership = Ownership::Owned { home };
            });
        });
    }

    /// The shard begins to move.
    pub(super) fn begin(&mut self, from: Home, to: Home) {
        let transfer = TransferId::default();
        let stamp = Epoch(self.control.applied.0);
        let command = Command::BeginHandoff {
            transfer,
            stamp,
            from,
            to,
            shards: vec![(SHARD, self.control.shards[&SHARD].epoch)],
        };
        self.apply(command, |control, index| {
            let ownership = Ownership::Handoff {
                handoff: HandoffId(index.0),
                transfer,
                stamp,
                from,
                to,
            };
            control
                .shards
                .change(SHARD, |shard| shard.ownership = ownership);
        });
    }

    pub(super) fn down(&mut self, member: Home) {
        self.apply(Command::Down { member }, |control, _| {
            control.members.get_mut(&member.node).unwrap().status = Status::Down;
            control.shards.change(SHARD, |shard| {
                if shard.ownership == (Ownership::Owned { home: member }) {
                    shard.ownership = Ownership::Unassigned;
                }
            });
        });
    }

    /// Lets time pass, to the nanosecond at which something is due.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(at) = self.router.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.input(|router, cx| router.handle_timeout(cx));
        }
        self.now = end;
    }

    /// What was done since this was asked last.
    pub(super) fn out(&mut self) -> Vec<String> {
        let actions = std::iter::from_fn(|| self.router.poll_action());
        let text = actions.map(|action| match action {
            Action::Send {
                to,
                message: Message::Call(call),
            } => format!("{to} {}/{} {}", call.epoch, call.seq, call.envelope.method),
            Action::Send {
                to,
                message: Message::ShardHomeQuery { .. },
            } => format!("{to} where?"),
            Action::Send { message, .. } => panic!("{message:?}"),
            Action::Answer { reply, answer } => match &*answer {
                Ok(_) => format!("{reply}: ok"),
                Err(error) if error.may_have_run() => format!("{reply}: {}?", error.code()),
                Err(error) => format!("{reply}: {}", error.code()),
            },
        });
        text.collect()
    }

    pub(super) fn lowest(&mut self) -> Vec<(u64, u64)> {
        let actions = std::iter::from_fn(|| self.router.poll_action());
        let calls = actions.filter_map(|action| match action {
            Action::Send {
                message: Message::Call(call),
                ..
            } => Some((call.seq, call.lowest)),
            _ => None,
        });
        calls.collect()
    }
}
