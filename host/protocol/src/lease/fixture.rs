//! A control log in memory, and a clock that is told the time.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{
    Boot, ClusterId, Context, Home, Identity, Index, Instant, Message, NodeAddress, NodeId, Now,
    Peer, ProtocolRange, Renew, Settings, Term,
};
use crate::control::{Command, ControlState, Entry, Member};

/// What a machine sees.
pub(crate) struct Fixture {
    pub(crate) control: ControlState,
    pub(crate) settings: Settings,
    pub(crate) now: Instant,
    pub(crate) me: Identity,
}

pub(crate) const TERM: Term = term(1, 1);

pub(crate) const fn term(number: u64, node: u64) -> Term {
    let node = NodeId(node);
    Term { number, node }
}

/// Process 1 of a node of zone `a`.
pub(crate) fn boot(node: u64) -> Boot {
    Boot {
        cluster: ClusterId(7),
        node: NodeId(node),
        process: 1,
        machine: node,
        directory: node,
        disk: node,
        address: NodeAddress::default(),
        zone: String::from("a"),
        version: 1,
        protocol: ProtocolRange { min: 1, max: 1 },
    }
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Fixture {
    /// Node 1 looks; nodes 1 to `nodes` are up, and node 1 votes.
    pub(crate) fn new(nodes: u64) -> Self {
        let mut fixture = Self {
            control: ControlState::new(ClusterId(7)),
            settings: Settings::lan(),
            now: Instant(1_000_000_000),
            me: Identity {
                node: NodeId(1),
                incarnation: Default::default(),
            },
        };
        fixture.apply(TERM, Command::Coordinate);
        for node in 1..=nodes {
            let member = fixture.join(boot(node));
            fixture.apply(TERM, Command::Up { member });
        }
        fixture
    }

    pub(crate) fn cx(&self) -> Context<'_> {
        Context {
            now: Now {
                instant: self.now,
                utc_ms: 0,
            },
            control: &self.control,
            settings: &self.settings,
            me: self.me,
            lease_until: self.now,
        }
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = self.now + ms(millis);
    }

    pub(crate) fn apply(&mut self, term: Term, command: Command) -> Entry {
        let entry = Entry {
            index: Index(self.control.applied.0 + 1),
            term,
            command,
        };
        self.control.apply(&entry).expect("it is the next entry");
        if let Some(member) = self.control.members.get(&self.me.node) {
            self.me.incarnation = member.incarnation;
        }
        entry
    }

    pub(crate) fn join(&mut self, boot: Boot) -> Home {
        let node = boot.node;
        let after = self.control.members.get(&node).map(Member::home);
        let boot = Arc::new(boot);
        self.apply(TERM, Command::Join { boot, after });
        self.home(node.0)
    }

    pub(crate) fn home(&self, node: u64) -> Home {
        self.control.members[&NodeId(node)].home()
    }

    /// Gives the vote to these, one by one.
    pub(crate) fn vote(&mut self, voters: impl IntoIterator<Item = u64>) {
        for node in voters {
            let from: Vec<NodeId> = self.control.voters.iter().copied().collect();
            let mut to = from.clone();
            to.push(NodeId(node));
            self.apply(TERM, Command::Voters { from, to });
        }
    }
}

pub(crate) fn renew(from: Peer, seq: u64, confirmed: u64) -> Message {
    Message::Renew(Renew {
        incarnation: from.incarnation,
        seq,
        confirmed,
        applied: Index(0),
    })
}
