use super::*;
use crate::cluster::{Grant, Home, MetaDelta, Term};
use crate::control::Command;
use crate::lease::fixture::{Fixture, TERM, boot, ms, term};

/// A process of node 4, and the control log as it is applied there.
struct Process {
    fixture: Fixture,
    membership: Membership,
}

impl Process {
    /// It knows nothing but its seeds.
    fn starting() -> Self {
        let mut it = Self::member();
        it.fixture.control = crate::control::ControlState::new(it.fixture.control.cluster);
        it.fixture.me.incarnation = Incarnation(0);
        it.membership = Membership::new(Arc::new(boot(4)), seeds(), it.fixture.now);
        it
    }

    /// It is a member beside nodes 1 to 3, of which the first coordinates.
    fn member() -> Self {
        let mut fixture = Fixture::new(4);
        fixture.me.node = NodeId(4);
        fixture.me.incarnation = fixture.home(4).incarnation;
        let mut membership = Membership::new(Arc::new(boot(4)), seeds(), fixture.now);
        membership.handle_state(&fixture.cx());
        Self {
            fixture,
            membership,
        }
    }

    fn apply(&mut self, command: Command) {
        let entry = self.fixture.apply(TERM, command);
        self.membership.handle_applied(&self.fixture.cx(), &entry);
        self.membership.check_invariants();
    }

    fn receive(&mut self, node: u64, message: Message) {
        let from = Home {
            node: NodeId(node),
            incarnation: Incarnation(1),
        };
        self.membership
            .handle_message(&self.fixture.cx(), from, &message);
        self.membership.check_invariants();
    }

    /// What it does within this time.
    fn run(&mut self, millis: u64) -> Vec<Action> {
        let end = self.fixture.now + ms(millis);
        let mut actions = self.drain();
        while let Some(due) = self.membership.poll_timeout().filter(|&due| due <= end) {
            assert!(due >= self.fixture.now || actions.is_empty(), "it spins");
            self.fixture.now = self.fixture.now.max(due);
            self.membership.handle_timeout(&self.fixture.cx());
            self.membership.check_invariants();
            actions.extend(self.drain());
            assert!(actions.len() < 10_000, "it spins");
        }
        self.fixture.now = end;
        actions
    }

    fn drain(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.membership.poll_action()).collect()
    }

    fn incarnation(&self) -> Incarnation {
        self.fixture.me.incarnation
    }

    fn grant(&self, index: u64) -> Message {
        Message::Grant(Grant {
            term: TERM,
            seq: 1,
            incarnation: self.incarnation(),
            index: Index(index),
        })
    }

    fn applied(&self) -> u64 {
        self.fixture.control.applied.0
    }
}

fn seeds() -> Vec<NodeId> {
    vec![NodeId(2), NodeId(3), NodeId(4)]
}

/// To whom messages of this kind went.
fn asked(actions: &[Action], wanted: fn(&Message) -> bool) -> Vec<u64> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send { to, message } if wanted(message) => Some(to.0),
        _ => None,
    });
    sent.collect()
}

fn is_join(message: &Message) -> bool {
    matches!(message, Message::Join(_))
}

fn is_pull(message: &Message) -> bool {
    matches!(message, Message::MetaPull { .. })
}

fn is_leave(message: &Message) -> bool {
    matches!(message, Message::Leave { .. })
}

#[test]
fn a_process_asks_its_seeds_until_it_is_a_member() {
    let mut it = Process::starting();
    let actions = it.run(600);
    assert_eq!(asked(&actions, is_join), [2, 3, 2, 3, 2, 3]);
    assert_eq!(*it.membership.standing(), Standing::Joining);

    let member = Process::member().fixture;
    it.fixture.control = member.control;
    it.membership.handle_state(&it.fixture.cx());
    let incarnation = member.me.incarnation;
    assert_eq!(*it.membership.standing(), Standing::Member { incarnation });
    assert_eq!(it.membership.incarnation(), incarnation);
    assert_eq!(asked(&it.run(600), is_join), []);
}

#[test]
fn many_nodes_are_asked_in_turn_and_the_coordinator_always() {
    let mut it = Process::starting();
    it.fixture.control = Fixture::new(1).control;
    it.membership.seeds = (2..20).map(NodeId).collect();
    let actions = it.run(900);
    let joins = asked(&actions, is_join);
    assert_eq!(joins.iter().filter(|&&node| node == 1).count(), 4);
    assert_eq!(joins.len(), 24);
    assert!(
        (2..20)
            .filter(|&node| node != 4)
            .all(|node| joins.contains(&node))
    );
}

#[test]
fn the_coordinators_own_process_asks_itself() {
    let mut it = Process::starting();
    it.membership.seeds.clear();
    let entry = it.fixture.apply(term(1, 4), Command::Coordinate);
    it.membership.handle_applied(&it.fixture.cx(), &entry);
    assert_eq!(asked(&it.run(10), is_join), [4]);
}

#[test]
fn a_process_that_is_refused_says_why_and_asks_no_more() {
    let mut it = Process::starting();
    it.run(10);
    let reason = JoinRefusal::DiskLost { node: NodeId(4) };
    let refused = |process| Message::JoinRefused {
        process,
        reason: reason.clone(),
    };
    it.receive(1, refused(2));
    assert_eq!(*it.membership.standing(), Standing::Joining, "another's");
    it.receive(1, refused(1));
    it.receive(1, refused(1));
    assert_eq!(it.run(2_000), [Action::Refused(reason.clone())]);
    assert_eq!(*it.membership.standing(), Standing::Refused { reason });
    assert_eq!(it.membership.poll_timeout(), None);
}

#[test]
fn a_refusal_that_comes_late_changes_nothing_for_a_member() {
    let mut it = Process::member();
    it.run(10);
    let reason = JoinRefusal::Superseded { node: NodeId(4) };
    it.receive(1, Message::JoinRefused { process: 1, reason });
    assert!(matches!(it.membership.standing(), Standing::Member { .. }));
}

#[test]
fn the_log_and_not_a_message_says_that_a_life_is_over() {
    let mut it = Process::member();
    it.run(10);
    let incarnation = it.incarnation();
    let index = Index(it.applied() + 1);
    let downed = |incarnation| Message::Downed {
        term: TERM,
        incarnation,
        index,
    };
    it.receive(3, downed(Incarnation(incarnation.0 - 1)));
    assert_eq!(asked(&it.run(10), is_pull), [], "that was another life");
    it.receive(3, downed(incarnation));
    assert_eq!(asked(&it.run(60), is_pull), [3]);
    assert_eq!(it.membership.incarnation(), incarnation);

    let member = it.fixture.home(4);
    it.apply(Command::Down { member });
    assert_eq!(it.membership.incarnation(), Incarnation(0));
    assert_eq!(*it.membership.standing(), Standing::Joining);
    assert!(asked(&it.run(10), is_join).contains(&1), "it joins again");
}

#[test]
fn a_member_that_leaves_says_so_until_it_may() {
    let mut it = Process::member();
    it.membership.handle_leave(&it.fixture.cx());
    it.membership.handle_leave(&it.fixture.cx());
    let actions = it.run(300);
    assert_eq!(asked(&actions, is_leave), [1, 2, 3, 1, 2, 3]);
    let incarnation = Incarnation(1);
    it.receive(1, Message::LeaveDone { incarnation });
    assert_eq!(*it.membership.standing(), Standing::Leaving, "another life");
    let incarnation = it.incarnation();
    it.receive(1, Message::LeaveDone { incarnation });
    it.receive(1, Message::LeaveDone { incarnation });
    assert_eq!(it.run(1_000), [Action::Left]);
}

#[test]
fn a_member_whose_life_is_over_while_it_leaves_has_left() {
    let mut it = Process::member();
    it.membership.handle_leave(&it.fixture.cx());
    let member = it.fixture.home(4);
    it.apply(Command::Down { member });
    assert_eq!(it.run(1_000), [Action::Left]);
    let incarnation = member.incarnation;
    it.receive(1, Message::LeaveDone { incarnation });
    assert_eq!(it.run(1_000), []);
}

#[test]
fn a_process_that_is_no_member_leaves_at_once() {
    let mut it = Process::starting();
    it.membership.handle_leave(&it.fixture.cx());
    assert_eq!(it.run(1_000), [Action::Left]);
}

#[test]
fn only_who_leaves_is_told_that_it_may() {
    let mut it = Process::member();
    let incarnation = it.incarnation();
    it.receive(1, Message::LeaveDone { incarnation });
    assert!(matches!(it.membership.standing(), Standing::Member { .. }));
}

#[test]
fn who_hears_that_nothing_is_new_does_not_ask() {
    let mut it = Process::member();
    it.run(100);
    for _ in 0..20 {
        let grant = it.grant(it.applied());
        it.receive(1, grant);
        assert_eq!(it.run(100), []);
    }
}

#[test]
fn who_hears_nothing_asks_the_coordinator_and_then_the_others() {
    let mut it = Process::member();
    let actions = it.run(2_000);
    assert_eq!(asked(&actions, is_pull), [1, 1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn a_voter_that_hears_nothing_asks_later() {
    let mut it = Process::member();
    it.fixture.vote([4]);
    it.membership.handle_state(&it.fixture.cx());
    assert_eq!(asked(&it.run(990), is_pull), []);
    assert_eq!(asked(&it.run(10), is_pull), [1]);
}

#[test]
fn an_index_that_is_not_applied_is_asked_for_when_it_does_not_come() {
    let mut it = Process::member();
    it.run(10);
    let next = it.applied() + 1;
    let grant = it.grant(next);
    it.receive(3, grant);
    assert_eq!(asked(&it.run(40), is_pull), [], "it may be on its way");
    assert_eq!(asked(&it.run(10), is_pull), [3], "who knows of it is asked");
    it.apply(Command::Coordinate);
    assert_eq!(asked(&it.run(200), is_pull), []);
}

#[test]
fn a_gap_is_asked_for_at_once_and_not_more_often_than_makes_sense() {
    let mut it = Process::member();
    it.run(10);
    let gap = |it: &Process| {
        Message::MetaDelta(MetaDelta {
            after: Index(it.applied() + 5),
            entries: Vec::new(),
        })
    };
    let delta = gap(&it);
    it.receive(1, delta.clone());
    assert_eq!(asked(&it.run(0), is_pull), [1]);
    let mut pulls = 0;
    for _ in 0..100 {
        it.receive(1, delta.clone());
        pulls += asked(&it.run(1), is_pull).len();
    }
    assert_eq!(pulls, 2, "each 50 ms");
}

#[test]
fn an_index_that_does_not_exist_is_forgotten() {
    let mut it = Process::member();
    let grant = it.grant(u64::MAX);
    it.receive(3, grant);
    assert!(asked(&it.run(60_000), is_pull).len() <= 4 * 60 + 1);
    let coordinator: Term = it.fixture.control.coordinator;
    let grant = it.grant(it.applied());
    it.receive(1, grant);
    assert_eq!(it.run(200), [], "{coordinator}'s word counts again");
}
