mod joining;
mod leases;
mod voters;

use super::*;
use crate::cluster::{Boot, Settings};
use crate::control::Replica;
use crate::lease::fixture::{Fixture, TERM, boot, ms, renew, term};

/// A coordinator on node 1, a control log that commits what it proposes, and regions that renew.
struct Cluster {
    fixture: Fixture,
    roster: Roster,
    regions: BTreeMap<NodeId, Region>,
    /// No barrier is passed, and nothing committed.
    cut: bool,
    /// Nothing is committed.
    stuck: bool,
    /// Every message to the coordinator comes so often.
    copies: usize,
    /// What was committed since this was looked at, and when.
    log: Vec<(Instant, Command)>,
    /// What was proposed, committed or not.
    proposed: Vec<Command>,
    sent: Vec<(NodeId, Message)>,
}

/// A region, as far as leases see it.
struct Region {
    home: Home,
    seq: u64,
    confirmed: u64,
    /// Its renewals arrive.
    speaks: bool,
    /// Its grants arrive.
    hears: bool,
}

impl Cluster {
    /// Nodes 1 to `nodes` are up, and the coordinator has heard them.
    fn new(nodes: u64) -> Self {
        let mut cluster = Self::of(Fixture::new(nodes));
        cluster.run(200);
        cluster
    }

    fn of(fixture: Fixture) -> Self {
        let roster = Roster::new(&fixture.cx(), TERM);
        let regions = fixture.control.members.values();
        let regions = regions
            .map(|member| (member.boot.node, Region::new(member.home())))
            .collect();
        Self {
            fixture,
            roster,
            regions,
            cut: false,
            stuck: false,
            copies: 1,
            log: Vec::new(),
            proposed: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Lets time pass in steps of 10 ms; every tenth one the regions renew.
    fn run(&mut self, millis: u64) {
        for step in 0..millis / 10 {
            self.fixture.wait(10);
            if step % 10 == 0 {
                self.renew();
            }
            for round in 0.. {
                assert!(round < 20, "it spins");
                if self.due() > self.fixture.now {
                    break;
                }
                self.roster.handle_timeout(&self.fixture.cx());
                self.settle();
            }
        }
    }

    fn due(&self) -> Instant {
        self.roster.poll_timeout().expect("it looks now and then")
    }

    fn renew(&mut self) {
        let mut renewals = Vec::new();
        for region in self.regions.values_mut().filter(|region| region.speaks) {
            region.seq += 1;
            renewals.push((region.home, region.seq, region.confirmed));
        }
        for (home, seq, confirmed) in renewals {
            self.receive(home, renew(home, seq, confirmed));
        }
    }

    fn receive(&mut self, from: Peer, message: Message) {
        for _ in 0..self.copies {
            self.roster
                .handle_message(&self.fixture.cx(), from, &message);
            self.settle();
        }
    }

    fn join(&mut self, boot: Boot) {
        let from = Home {
            node: boot.node,
            incarnation: Default::default(),
        };
        self.receive(from, Message::Join(Arc::new(boot)));
    }

    /// Does what the roster wants done.
    fn settle(&mut self) {
        self.roster.check_invariants();
        while let Some(action) = self.roster.poll_action() {
            match action {
                Action::Send { to, message } => self.deliver(to, message),
                Action::Propose(command) => {
                    self.proposed.push(command.clone());
                    if !(self.cut || self.stuck) {
                        self.commit(command);
                    }
                }
                Action::Barrier { id } => {
                    let index = (!self.cut).then_some(self.fixture.control.applied);
                    self.roster.handle_barrier(&self.fixture.cx(), id, index);
                }
            }
        }
    }

    fn commit(&mut self, command: Command) {
        self.log.push((self.fixture.now, command.clone()));
        let entry = self.fixture.apply(TERM, command);
        self.roster.handle_applied(&self.fixture.cx(), &entry);
        self.roster.check_invariants();
        for member in self.fixture.control.members.values() {
            let region = self.regions.entry(member.boot.node);
            let region = region.or_insert_with(|| Region::new(member.home()));
            if region.home != member.home() {
                *region = Region::new(member.home());
            }
        }
    }

    fn deliver(&mut self, to: NodeId, message: Message) {
        if let Message::Grant(grant) = &message
            && let Some(region) = self.regions.get_mut(&to)
            && region.hears
        {
            assert_eq!(grant.incarnation, region.home.incarnation);
            region.confirmed = region.confirmed.max(grant.seq);
        }
        self.sent.push((to, message));
    }

    fn region(&mut self, node: u64) -> &mut Region {
        self.regions.get_mut(&NodeId(node)).expect("it is there")
    }

    fn home(&self, node: u64) -> Home {
        self.fixture.home(node)
    }

    fn status(&self, node: u64) -> Option<Status> {
        let member = self.fixture.control.members.get(&NodeId(node));
        member.map(|member| member.status)
    }

    fn placeable(&self, node: u64) -> bool {
        self.roster.placeable(&self.fixture.cx(), self.home(node))
    }

    /// What was committed, without when.
    fn commands(&mut self) -> Vec<Command> {
        let log = std::mem::take(&mut self.log);
        log.into_iter().map(|(_, command)| command).collect()
    }

    /// What was committed besides changes of the voters.
    fn decisions(&mut self) -> Vec<Command> {
        let mut commands = self.commands();
        commands.retain(|command| !matches!(command, Command::Voters { .. }));
        commands
    }

    fn voters(&self) -> Vec<u64> {
        self.fixture.control.voters.iter().map(|v| v.0).collect()
    }

    /// The messages to a node since this was looked at.
    fn sent_to(&mut self, node: u64) -> Vec<Message> {
        let (to, others) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(to, _)| *to == NodeId(node));
        self.sent = others;
        to.into_iter().map(|(_, message)| message).collect()
    }

    fn granted(&mut self, node: u64) -> bool {
        let sent = self.sent_to(node);
        sent.iter().any(|m| matches!(m, Message::Grant(_)))
    }
}

impl Region {
    fn new(home: Home) -> Self {
        Self {
            home,
            seq: 0,
            confirmed: 0,
            speaks: true,
            hears: true,
        }
    }
}

fn process(node: u64, process: u64) -> Boot {
    Boot {
        process,
        ..boot(node)
    }
}

#[test]
fn entries_are_told_to_every_member_that_does_not_vote() {
    let mut it = Cluster::new(2);
    it.sent.clear();
    it.join(boot(3));
    let index = it.fixture.control.applied;
    for node in [2, 3] {
        let sent = it.sent_to(node);
        let told = sent.iter().any(|message| {
            matches!(message, Message::MetaDelta(delta)
                if delta.after.0 + 1 == index.0 && delta.entries[0].index == index)
        });
        assert!(told, "{node}");
    }
    let sent = it.sent_to(1);
    assert!(!sent.iter().any(|m| matches!(m, Message::MetaDelta(_))));
}

#[test]
fn it_is_steady_when_everybody_is_up_and_runs_one_version() {
    let mut it = Cluster::new(3);
    assert!(it.roster.steady(&it.fixture.cx()));

    let mut other = boot(4);
    other.version = 2;
    it.join(other);
    assert!(!it.roster.steady(&it.fixture.cx()), "one joins");
    it.run(200);
    assert_eq!(it.status(4), Some(Status::Up));
    assert!(
        !it.roster.steady(&it.fixture.cx()),
        "one runs another version"
    );

    it.region(4).speaks = false;
    it.run(2_000);
    assert_eq!(it.status(4), Some(Status::Down));
    assert!(it.roster.steady(&it.fixture.cx()), "one is down for good");
}

#[test]
fn what_is_proposed_and_lost_is_proposed_again() {
    let mut it = Cluster::new(1);
    it.cut = true;
    it.join(boot(2));
    assert_eq!(it.proposed.len(), 1);
    it.join(boot(2));
    assert_eq!(it.proposed.len(), 1, "not before it may be lost");
    it.run(200);
    assert_eq!(it.proposed.len(), 2);
    assert_eq!(it.proposed[0], it.proposed[1]);
}

#[test]
fn messages_that_come_three_times_change_nothing_more() {
    let run = |copies| {
        let mut it = Cluster::new(3);
        it.copies = copies;
        it.join(boot(4));
        it.run(300);
        it.region(2).speaks = false;
        it.run(2_000);
        it.join(process(2, 2));
        it.run(300);
        let from = it.home(4);
        let incarnation = from.incarnation;
        it.receive(from, Message::Leave { incarnation });
        it.run(1_000);
        (it.fixture.control.clone(), it.commands())
    };
    let (once, log) = run(1);
    let (thrice, same) = run(3);
    assert_eq!(log, same);
    assert_eq!(once.hash, thrice.hash);
}
