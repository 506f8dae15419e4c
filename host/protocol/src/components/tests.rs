use std::time::Duration;

use crate::cluster::{Identity, Incarnation, Index, Now, Settings};
use crate::control::ControlState;
use crate::router::tests::rig::{SHARD, control, home};

use super::*;

struct Rig {
    components: Components,
    control: ControlState,
    settings: Settings,
    now: Instant,
}

impl Rig {
    /// Node 1, which has none of the kinds' components. Node 3 coordinates.
    fn new() -> Self {
        let mut rig = Self {
            components: Components::default(),
            control: control(),
            settings: Settings::lan(),
            now: Instant(1_000_000_000_000),
        };
        rig.control.spaces.get_mut(&SHARD.space).unwrap().component = Digest::of(b"code");
        rig.input(|components, cx| components.handle_state(cx));
        rig
    }

    fn input(&mut self, input: impl FnOnce(&mut Components, &Context<'_>)) {
        let cx = Context {
            now: Now {
                instant: self.now,
                utc_ms: 0,
            },
            control: &self.control,
            settings: &self.settings,
            me: Identity {
                node: NodeId(1),
                incarnation: Incarnation(1),
            },
            lease_until: Instant(u64::MAX),
        };
        input(&mut self.components, &cx);
        self.components.check_invariants();
    }

    fn message(&mut self, from: u64, message: Message) {
        self.input(|components, cx| components.handle_message(cx, home(from, from), &message));
    }

    fn component(&mut self, from: u64, digest: &[u8], bytes: &[u8]) {
        let digest = Digest::of(digest);
        let bytes = bytes.to_vec().into();
        self.message(from, Message::Component { digest, bytes });
    }

    fn query(&mut self, from: u64) {
        let digest = Digest::of(b"code");
        self.message(from, Message::ComponentQuery { digest });
    }

    fn stored(&mut self) {
        self.input(|components, _| components.handle_stored(Digest::of(b"code")));
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.input(|components, cx| components.handle_timeout(cx));
    }

    fn out(&mut self) -> Vec<String> {
        let actions = std::iter::from_fn(|| self.components.poll_action());
        let text = actions.map(|action| match action {
            Action::Send { to, .. } => format!("ask {to}"),
            Action::Read { to, .. } => format!("read for {to}"),
            Action::Store { digest, bytes } => {
                assert_eq!(Digest::of(&bytes.0), digest);
                "store".to_owned()
            }
        });
        text.collect()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_missing_component_is_asked_of_the_coordinator_and_then_of_the_others_in_turn() {
    let mut rig = Rig::new();
    rig.pass(0);
    for _ in 0..5 {
        rig.pass(400);
    }
    let turns = ["ask n3", "ask n2", "ask n3", "ask n2", "ask n3", "ask n2"];
    assert_eq!(rig.out(), turns);
}

#[test]
fn who_is_alone_asks_nobody_until_somebody_comes() {
    let mut rig = Rig::new();
    for node in [2, 3] {
        rig.control.members.get_mut(&NodeId(node)).unwrap().status = Status::Down;
    }
    rig.pass(400);
    rig.pass(400);
    assert_eq!(rig.out(), NOTHING);
    rig.control.members.get_mut(&NodeId(2)).unwrap().status = Status::Up;
    rig.pass(400);
    assert_eq!(rig.out(), ["ask n2"]);
}

#[test]
fn a_component_is_stored_once_if_its_digest_is_right() {
    let mut rig = Rig::new();
    rig.pass(0);
    rig.out();
    rig.component(3, b"code", b"other code");
    rig.component(3, b"other code", b"other code");
    rig.component(9, b"code", b"code");
    assert_eq!(rig.out(), NOTHING);
    rig.component(2, b"code", b"code");
    rig.component(3, b"code", b"code");
    assert_eq!(rig.out(), ["store"]);
    assert!(!rig.components.has(&Digest::of(b"code")));
    rig.pass(400);
    assert_eq!(rig.out(), NOTHING);
    rig.stored();
    rig.stored();
    rig.component(3, b"code", b"code");
    assert!(rig.components.has(&Digest::of(b"code")));
    assert_eq!(rig.components.poll_timeout(), None);
    assert_eq!(rig.out(), NOTHING);
}

#[test]
fn a_component_that_the_disk_does_not_take_is_fetched_again() {
    let mut rig = Rig::new();
    rig.component(2, b"code", b"code");
    rig.out();
    rig.pass(5_000);
    assert_eq!(rig.out(), ["ask n3"]);
    rig.component(2, b"code", b"code");
    assert_eq!(rig.out(), ["store"]);
}

#[test]
fn a_component_that_is_here_is_read_for_members_that_ask() {
    let mut rig = Rig::new();
    rig.query(2);
    assert_eq!(rig.out(), NOTHING, "it is not here");
    rig.stored();
    for from in [2, 2, 2, 3, 9] {
        rig.query(from);
    }
    assert_eq!(rig.out(), ["read for n2", "read for n3"]);
    rig.pass(200);
    rig.query(2);
    assert_eq!(rig.out(), ["read for n2"]);
}

#[test]
fn what_the_control_state_names_no_more_is_not_looked_for() {
    let mut rig = Rig::new();
    rig.control.spaces.clear();
    let entry = Entry {
        index: Index(11),
        term: rig.control.coordinator,
        command: Command::Drop { space: SHARD.space },
    };
    rig.input(|components, cx| components.handle_applied(cx, &entry));
    assert_eq!(rig.components.missing(), 0);
    assert_eq!(rig.components.poll_timeout(), None);
}
