//! One router, homes that do what PROTOCOL says, and a network that loses, doubles and reorders. The homes share one state, as
//! owners do that hand it over or take it from a journal: the list of calls that ran.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cluster::{
    Call, Epoch, Home, Identity, Incarnation, Index, Mutant, Now, Reply, Settings,
};
use crate::control::{Assignment, Ownership, Shards, Status};

use super::super::*;
use super::rig::{SHARD, control, envelope, home, member};

/// Two callers call an entity each, with serial numbers as the methods' names. Somebody waits for the calls with odd ones.
struct World {
    random: u64,
    router: Router<u64>,
    settings: Settings,
    /// What the router's node has applied.
    control: ControlState,
    me: Identity,
    now: Instant,
    /// Decided, and not applied yet at the router's node.
    decided: VecDeque<Decision>,
    index: u64,
    owner: Option<(Home, Epoch)>,
    drain: Drain,
    lives: BTreeMap<NodeId, u64>,
    lanes: BTreeMap<(Home, Epoch), HomeLane>,
    mailbox: VecDeque<Call>,
    to_homes: Vec<(NodeId, Home, Call)>,
    to_router: Vec<(Home, Message)>,
    /// The calls of each caller that ran.
    ran: [Vec<u64>; 2],
    answers: BTreeMap<u64, Result<(), bool>>,
    submitted: u64,
    faults: bool,
}

#[derive(Clone, Copy)]
enum Decision {
    Owned(Home, Epoch),
    Down(Home),
    Join(Home),
}

#[derive(Clone, Copy, PartialEq)]
enum Drain {
    Serving,
    /// What somebody waits for still runs.
    Draining,
    Acked,
}

#[derive(Default)]
struct HomeLane {
    expected: u64,
    held: BTreeMap<u64, Call>,
    /// What came of the calls: it ran, or it was sent away.
    outcomes: BTreeMap<u64, bool>,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut settings = Settings::lan();
        settings.mutant = mutant;
        settings.bounds.in_flight_max = 8;
        settings.bounds.waiting_max = 20;
        settings.bounds.replies_max = 12;
        let mut world = Self {
            random: seed,
            router: Router::new(),
            settings,
            control: control(),
            me: Identity {
                node: NodeId(1),
                incarnation: Incarnation(1),
            },
            now: Instant(1_000_000_000_000),
            decided: VecDeque::new(),
            index: 10,
            owner: None,
            drain: Drain::Serving,
            lives: BTreeMap::from([(NodeId(2), 2), (NodeId(3), 3)]),
            lanes: BTreeMap::new(),
            mailbox: VecDeque::new(),
            to_homes: Vec::new(),
            to_router: Vec::new(),
            ran: Default::default(),
            answers: BTreeMap::new(),
            submitted: 0,
            faults: true,
        };
        world.assign();
        world
    }

    /// splitmix64
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn router(&mut self, input: impl FnOnce(&mut Router<u64>, &Context<'_>)) {
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
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Send {
                    to,
                    message: Message::Call(call),
                } => self.to_homes.push((to, self.me.home(), call)),
                Action::Send { .. } => self.tell(),
                Action::Answer { reply, answer } => {
                    let answer = match answer.as_ref() {
                        Ok(_) => Ok(()),
                        Err(error) => Err(error.may_have_run()),
                    };
                    let before = self.answers.insert(reply, answer);
                    assert_eq!(before, None, "call {reply} is answered twice");
                }
            }
        }
    }

    /// The coordinator says where the shard is.
    fn tell(&mut self) {
        let message = Message::ShardHome {
            shard: SHARD,
            index: Index(self.index),
            home: self.owner,
        };
        let coordinator = home(3, self.control.members[&NodeId(3)].incarnation.0);
        self.to_router.push((coordinator, message));
    }

    fn decide(&mut self, decision: impl FnOnce(u64) -> Decision) {
        self.index += 1;
        self.decided.push_back(decision(self.index));
    }

    /// The shard gets an owner, under a new epoch: after a handoff, an aborted one, or a death.
    fn assign(&mut self) {
        let node = NodeId(2 + self.below(2) as u64);
        let owner = home(node.0, self.lives[&node]);
        self.decide(|index| Decision::Owned(owner, Epoch(index)));
        self.owner = Some((owner, Epoch(self.index)));
        self.drain = Drain::Serving;
        self.lanes.clear();
        self.mailbox.clear();
    }

    /// The owner dies, and its successor knows what ran.
    fn kill(&mut self) {
        let Some((dead, _)) = self.owner.take() else {
            return;
        };
        self.mailbox.clear();
        self.lanes.clear();
        self.decide(|_| Decision::Down(dead));
        self.decide(|index| Decision::Join(home(dead.node.0, index)));
        self.lives.insert(dead.node, self.index);
    }

    fn apply(&mut self) {
        let Some(decision) = self.decided.pop_front() else {
            return;
        };
        self.control.applied.0 += 1;
        let before = self.control.shards[&SHARD].clone();
        let own = |shards: &mut Shards, epoch, ownership| {
            shards.change(SHARD, |shard| {
                shard.epoch = epoch;
                shard.ownership = ownership;
            });
        };
        let command = match decision {
            Decision::Owned(home, epoch) => {
                own(&mut self.control.shards, epoch, Ownership::Owned { home });
                let after = before.epoch;
                let assignment = Assignment {
                    shard: SHARD,
                    after,
                    home,
                };
                let shards = vec![assignment];
                Command::Assign { shards }
            }
            Decision::Down(member) => {
                let life = self.control.members.get_mut(&member.node).unwrap();
                life.status = Status::Down;
                if before.ownership == (Ownership::Owned { home: member }) {
                    own(
                        &mut self.control.shards,
                        before.epoch,
                        Ownership::Unassigned,
                    );
                }
                Command::Down { member }
            }
            Decision::Join(home) => {
                let life = member(home.node.0, home.incarnation.0);
                let boot = Arc::clone(&life.boot);
                self.control.members.insert(home.node, life);
                Command::Join { boot, after: None }
            }
        };
        let entry = Entry {
            index: self.control.applied,
            term: self.control.coordinator,
            command,
        };
        self.router(|router, cx| router.handle_applied(cx, &entry));
    }

    fn submit(&mut self) {
        let serial = self.submitted;
        self.submitted += 1;
        let ms = [100, 2_000, 60_000][self.below(3)];
        let (entity, chain) =
            [("account/a", &[][..]), ("account/b", &["account/c"])][parity(serial)];
        let call = OutCall {
            envelope: envelope(entity, &serial.to_string(), chain),
            deadline: self.now + Duration::from_millis(ms),
        };
        self.router(|router, cx| router.handle_call(cx, call, serial));
    }

    /// A call comes to a node.
    fn arrive(&mut self, node: NodeId, from: Home, call: Call) {
        if from != self.me.home() {
            return;
        }
        let here = home(node.0, self.lives[&node]);
        let lane = (here, call.epoch);
        if self.owner != Some(lane) || self.drain == Drain::Acked {
            return self.moved(here, &call);
        }
        let state = self.lanes.entry(lane).or_default();
        state.expected = state.expected.max(call.lowest);
        state.outcomes.retain(|&seq, _| seq >= call.lowest);
        state.held.retain(|&seq, _| seq >= call.lowest);
        match state.outcomes.get(&call.seq) {
            Some(true) => return self.reply(here, &call),
            Some(false) => return self.moved(here, &call),
            None => {}
        }
        if call.seq >= state.expected {
            state.held.insert(call.seq, call);
        }
        let mut next = Vec::new();
        while let Some(call) = state.held.remove(&state.expected) {
            state.expected += 1;
            next.push(call);
        }
        let kept = state.held.len() + state.outcomes.len() + next.len();
        assert!(kept <= self.settings.bounds.replies_max, "{kept} are kept");
        for call in next {
            self.take(here, call);
        }
    }

    /// A call is the next on its lane.
    fn take(&mut self, here: Home, call: Call) {
        if self.drain == Drain::Draining && call.envelope.chain.is_empty() {
            self.finished(here, &call, false);
            self.moved(here, &call);
        } else {
            self.mailbox.push_back(call);
        }
    }

    /// An entity takes its next call.
    fn run(&mut self) {
        let Some(call) = self.mailbox.pop_front() else {
            return;
        };
        let (here, _) = self.owner.expect("without an owner nothing is queued");
        let serial: u64 = call.envelope.method.parse().unwrap();
        let ran = &mut self.ran[parity(serial)];
        if !ran.contains(&serial) {
            let last = ran.last();
            assert!(last.is_none_or(|&last| last < serial), "{serial} is late");
            ran.push(serial);
        }
        self.finished(here, &call, true);
        self.reply(here, &call);
    }

    fn finished(&mut self, here: Home, call: &Call, ran: bool) {
        // A lane that its origin has begun anew waits for nothing.
        if let Some(lane) = self.lanes.get_mut(&(here, call.epoch)) {
            lane.outcomes.insert(call.seq, ran);
        }
    }

    fn drain(&mut self) {
        let Some((here, _)) = self.owner else {
            return;
        };
        match self.drain {
            Drain::Serving => {
                self.drain = Drain::Draining;
                for call in std::mem::take(&mut self.mailbox) {
                    self.take(here, call);
                }
            }
            Drain::Draining if self.mailbox.is_empty() => self.drain = Drain::Acked,
            _ => {}
        }
    }

    fn reply(&mut self, here: Home, call: &Call) {
        let reply = Reply {
            origin: self.me.incarnation,
            shard: SHARD,
            epoch: call.epoch,
            seq: call.seq,
            answer: Arc::new(Ok(Payload::default())),
        };
        self.to_router.push((here, Message::Reply(reply)));
    }

    fn moved(&mut self, here: Home, call: &Call) {
        let owner = self.owner.filter(|_| self.drain == Drain::Serving);
        let message = Message::Moved {
            origin: self.me.incarnation,
            shard: SHARD,
            epoch: call.epoch,
            seq: call.seq,
            to: owner.map(|(home, epoch)| (Index(self.index), home, epoch)),
        };
        self.to_router.push((here, message));
    }

    /// Takes a message out of the network: any, and perhaps not for the last time, or in vain.
    fn deliver(&mut self) {
        let count = self.to_homes.len() + self.to_router.len();
        if count == 0 {
            return;
        }
        let fate = if self.faults { self.below(10) } else { 9 };
        let at = if self.faults { self.below(count) } else { 0 };
        if at < self.to_homes.len() {
            let message = self.to_homes.remove(at);
            if fate < 2 {
                self.to_homes.push(message.clone());
            }
            if fate > 2 {
                self.arrive(message.0, message.1, message.2);
            }
        } else {
            let message = self.to_router.remove(at - self.to_homes.len());
            if fate < 2 {
                self.to_router.push(message.clone());
            }
            if fate > 2 {
                self.router(|router, cx| router.handle_message(cx, message.0, &message.1));
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.router(|router, cx| router.handle_timeout(cx));
    }

    fn step(&mut self) {
        match self.below(100) {
            0..15 => self.submit(),
            15..60 => self.deliver(),
            60..75 => self.run(),
            75..85 => {
                let ms = self.below(200) as u64;
                self.pass(ms);
            }
            85..92 => self.apply(),
            92 => self.drain(),
            93..96 if self.idle() => self.assign(),
            96 => self.kill(),
            97 => self.tell(),
            98 if self.below(5) == 0 => self.begin_another_life(),
            _ => {}
        }
    }

    /// The router's node joins again. The homes hear of it: what its former life still sends is nothing to them.
    fn begin_another_life(&mut self) {
        self.me.incarnation.0 += 1_000_000;
        let life = member(1, self.me.incarnation.0);
        self.control.members.insert(NodeId(1), life);
        self.lanes.clear();
        self.router(|router, cx| router.handle_identity(cx));
    }

    fn idle(&self) -> bool {
        self.drain != Drain::Serving || self.owner.is_none()
    }

    fn heal(&mut self) {
        self.faults = false;
        if self.idle() {
            self.assign();
        }
        for _ in 0..10_000 {
            if self.router.pending() == 0 && self.decided.is_empty() {
                return;
            }
            self.apply();
            self.deliver();
            self.run();
            self.pass(10);
        }
    }
}

fn parity(serial: u64) -> usize {
    usize::from(serial % 2 == 1)
}

/// Returns how many calls ran.
fn play(seed: u64, mutant: Option<Mutant>) -> usize {
    let mut world = World::new(seed, mutant);
    for _ in 0..2_000 {
        world.step();
    }
    world.heal();
    assert_eq!(world.answers.len() as u64, world.submitted, "seed {seed}");
    assert_eq!(world.router.pending(), 0, "seed {seed}");
    for (serial, answer) in &world.answers {
        let ran = world.ran[parity(*serial)].contains(serial);
        match answer {
            Ok(()) => assert!(ran, "seed {seed}: {serial} was answered and did not run"),
            Err(may) => assert!(*may || !ran, "seed {seed}: {serial} ran and denies it"),
        }
    }
    world.ran.iter().map(Vec::len).sum()
}

#[test]
fn calls_run_in_order_and_are_answered_once_whatever_the_network_does() {
    let seeds = 0..40;
    let ran = seeds.map(|seed| {
        println!("seed {seed}");
        play(seed, None)
    });
    assert!(ran.sum::<usize>() > 40 * 30);
}

#[test]
fn without_draining_lanes_calls_overtake_each_other() {
    let late = |seed| {
        let played = std::panic::catch_unwind(|| play(seed, Some(Mutant::NoLaneDrain)));
        let complaint = played
            .err()
            .and_then(|panic| panic.downcast::<String>().ok());
        complaint.is_some_and(|text| text.ends_with("is late"))
    };
    assert!((0..20).any(late));
}
