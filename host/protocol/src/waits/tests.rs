//! Three nodes of which each knows its own waits. Messages between them arrive at once, unless a test holds them.

use crate::cluster::{Identity, Incarnation, Now, Settings};
use crate::control::{ControlState, Ownership, Role};
use crate::router::tests::rig::{SHARD, control, home};
use crate::{EntityId, KindName};

use super::*;

struct Rig {
    control: ControlState,
    settings: Settings,
    nodes: BTreeMap<NodeId, Waits>,
    now: Instant,
    /// Sent and not delivered.
    held: VecDeque<(NodeId, NodeId, Message)>,
    sent: usize,
    found: Vec<String>,
}

/// Kinds `n1`, `n2` and `n3`, each with one shard on the node of that number.
fn placed() -> ControlState {
    let mut control = control();
    let space = control.spaces.remove(&SHARD.space).unwrap();
    let shard = control.shards.remove(SHARD).unwrap();
    for number in 1..=3 {
        let (mut space, mut shard, mut id) = (space.clone(), shard.clone(), SHARD);
        space.name = KindName::new(&format!("n{number}")).unwrap();
        assert_eq!(space.role, Role::Kind);
        shard.ownership = Ownership::Owned {
            home: home(number, number),
        };
        id.space.0 = number;
        control.spaces.insert(id.space, space);
        control.shards.insert(id, shard);
    }
    control
}

fn entity(text: &str) -> EntityId {
    text.parse().unwrap()
}

impl Rig {
    fn new() -> Self {
        Self {
            control: placed(),
            settings: Settings::lan(),
            nodes: (1..=3).map(|n| (NodeId(n), Waits::new())).collect(),
            now: Instant(1_000_000_000_000),
            held: VecDeque::new(),
            sent: 0,
            found: Vec::new(),
        }
    }

    fn input(&mut self, node: NodeId, input: impl FnOnce(&mut Waits, &Context<'_>)) {
        let cx = Context {
            now: Now {
                instant: self.now,
                utc_ms: 0,
            },
            control: &self.control,
            settings: &self.settings,
            me: Identity {
                node,
                incarnation: Incarnation(node.0),
            },
            lease_until: Instant(u64::MAX),
        };
        let waits = self.nodes.get_mut(&node).unwrap();
        input(waits, &cx);
        waits.check_invariants();
        while let Some(action) = waits.poll_action() {
            match action {
                Action::Send { to, message } => {
                    self.sent += 1;
                    self.held.push_back((node, to, message));
                }
                Action::Circle { number, chain, .. } => {
                    let chain: Vec<_> = chain.iter().map(ToString::to_string).collect();
                    self.found.push(format!("{number}: {}", chain.join(" ")));
                }
            }
        }
    }

    /// The node of an entity is the one that its kind names.
    fn begin(&mut self, who: &str, number: u64, whom: &str) {
        let node = NodeId(who[1..2].parse().unwrap());
        self.input(node, |waits, cx| {
            waits.begin(cx, entity(who), number, entity(whom));
        });
    }

    fn end(&mut self, who: &str, number: u64) {
        let node = NodeId(who[1..2].parse().unwrap());
        self.input(node, |waits, _| waits.end(&entity(who), number));
    }

    fn deliver(&mut self) {
        while let Some((from, to, message)) = self.held.pop_front() {
            self.message(from, to, &message);
        }
    }

    fn message(&mut self, from: NodeId, to: NodeId, message: &Message) {
        self.input(to, |waits, cx| {
            waits.handle_message(cx, home(from.0, from.0), message);
        });
    }

    /// Lets time pass and messages arrive.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.tick();
            self.deliver();
        }
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(10);
        for node in (1..=3).map(NodeId) {
            self.input(node, |waits, cx| waits.handle_timeout(cx));
        }
    }
}

#[test]
fn an_entity_that_waits_for_itself_is_found_at_once() {
    let mut rig = Rig::new();
    rig.begin("n1/a", 7, "n1/a");
    assert_eq!(rig.found, ["7: n1/a n1/a"]);
    assert_eq!(rig.nodes[&NodeId(1)].waiting(), 0);
}

#[test]
fn a_circle_over_nodes_is_found_once_by_the_wait_of_the_greatest_entity() {
    let mut rig = Rig::new();
    rig.begin("n1/a", 1, "n2/b");
    rig.begin("n2/b", 2, "n3/c");
    rig.begin("n3/c", 3, "n1/a");
    rig.pass(500);
    assert_eq!(rig.found, ["3: n3/c n1/a n2/b n3/c"]);
    rig.end("n3/c", 3);
    rig.pass(5_000);
    assert_eq!(rig.found.len(), 1, "the others wait for somebody who runs");
}

#[test]
fn a_circle_on_one_node_is_found_the_same_way() {
    let mut rig = Rig::new();
    rig.begin("n1/b", 2, "n1/a");
    rig.begin("n1/a", 1, "n1/b");
    rig.pass(500);
    assert_eq!(rig.found, ["2: n1/b n1/a n1/b"]);
}

#[test]
fn who_waits_for_a_circle_without_being_in_it_is_not_blamed() {
    let mut rig = Rig::new();
    rig.begin("n3/z", 9, "n2/b");
    rig.begin("n2/b", 2, "n1/a");
    rig.begin("n1/a", 1, "n2/b");
    rig.pass(500);
    assert_eq!(rig.found, ["2: n2/b n1/a n2/b"]);
}

#[test]
fn a_wait_that_is_over_is_no_part_of_a_circle() {
    let mut rig = Rig::new();
    rig.begin("n1/a", 1, "n2/b");
    rig.begin("n2/b", 2, "n1/a");
    rig.end("n1/a", 1);
    rig.end("n1/a", 1);
    rig.pass(3_000);
    assert_eq!(rig.found, [""; 0]);
    // The end of an earlier wait does not end this one.
    rig.begin("n1/a", 3, "n2/b");
    rig.end("n1/a", 1);
    rig.pass(1_500);
    assert_eq!(rig.found, ["2: n2/b n1/a n2/b"]);
}

#[test]
fn an_answer_on_its_way_closes_no_circle() {
    let mut rig = Rig::new();
    rig.begin("n2/b", 2, "n1/a");
    rig.pass(190);
    // `a` has answered, which `b` has not heard yet, and calls back.
    rig.begin("n1/a", 1, "n2/b");
    rig.pass(50);
    rig.end("n2/b", 2);
    rig.pass(2_000);
    assert_eq!(rig.found, [""; 0]);
}

#[test]
fn messages_that_come_late_or_twice_blame_nobody() {
    let mut rig = Rig::new();
    rig.begin("n1/a", 1, "n2/b");
    rig.begin("n2/b", 2, "n1/a");
    let mut seen = Vec::new();
    for _ in 0..50 {
        rig.tick();
        while let Some((from, to, message)) = rig.held.pop_front() {
            for _ in 0..3 {
                rig.message(from, to, &message);
            }
            seen.push((from, to, message));
        }
    }
    assert_eq!(rig.found, ["2: n2/b n1/a n2/b"]);
    // The same entities wait again, for other calls.
    rig.end("n1/a", 1);
    rig.begin("n1/a", 3, "n2/b");
    rig.begin("n2/b", 4, "n3/c");
    for (from, to, message) in &seen {
        rig.message(*from, *to, message);
    }
    rig.pass(3_000);
    assert_eq!(rig.found.len(), 1);
}

#[test]
fn waits_that_are_soon_over_cost_no_message() {
    let mut rig = Rig::new();
    for number in 0..10 {
        rig.begin("n2/b", number, "n1/a");
        rig.pass(100);
        rig.end("n2/b", number);
    }
    assert_eq!(rig.sent, 0);
    assert_eq!(rig.nodes[&NodeId(2)].poll_timeout(), None);
}

#[test]
fn a_probe_goes_no_further_than_the_bound() {
    let mut rig = Rig::new();
    rig.settings.bounds.chain_max = 4;
    rig.begin("n3/z", 0, "n1/0");
    for n in 0..9 {
        rig.begin(&format!("n1/{n}"), 1, &format!("n1/{}", n + 1));
    }
    rig.begin("n1/9", 1, "n3/z");
    rig.pass(1_000);
    assert_eq!(rig.found, [""; 0]);
}

#[test]
fn a_malformed_probe_is_ignored() {
    let mut rig = Rig::new();
    rig.begin("n1/a", 1, "n2/b");
    let probe = |chain: &[&str], node, hop| Message::WaitProbe {
        origin: (entity("n2/b"), 5),
        home: home(node, node),
        chain: chain.iter().map(|text| entity(text)).collect(),
        hop,
    };
    let circle = |chain: &[&str]| Message::WaitCircle {
        origin: (entity("n1/a"), 1),
        chain: chain.iter().map(|text| entity(text)).collect(),
    };
    for message in [
        probe(&[], 2, 0),
        probe(&["n2/b"], 2, 0),
        probe(&["n3/c", "n1/a"], 2, 0),
        probe(&["n2/b", "n1/a"], 9, 0),
        circle(&[]),
        circle(&["n1/a", "n3/c", "n1/a"]),
        circle(&["n1/a", "n2/b"]),
    ] {
        rig.message(NodeId(3), NodeId(1), &message);
        assert_eq!(rig.held.len(), 0, "{message:?}");
    }
    // From a stranger.
    rig.message(NodeId(9), NodeId(1), &probe(&["n2/b", "n1/a"], 2, 0));
    assert_eq!(rig.held.len(), 0);
    rig.message(NodeId(3), NodeId(1), &probe(&["n2/b", "n1/a"], 2, u32::MAX));
    assert_eq!(rig.held.len(), 1);
}
