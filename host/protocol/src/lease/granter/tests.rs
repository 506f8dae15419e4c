use super::*;
use crate::control::Command;
use crate::lease::fixture::{Fixture, TERM, ms, renew, term};

/// A coordinator's granter in a cluster of three, whose members it inherits.
struct Coordinator {
    fixture: Fixture,
    granter: Granter,
}

/// 1 s and its drift.
const LONGEST: u64 = 1_010;

impl Coordinator {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(mutant: Option<Mutant>) -> Self {
        let mut fixture = Fixture::new(3);
        fixture.settings.mutant = mutant;
        let granter = elected(&fixture, TERM);
        Self { fixture, granter }
    }

    fn receive(&mut self, node: u64, seq: u64, confirmed: u64) {
        let home = self.fixture.home(node);
        let message = renew(home, seq, confirmed);
        self.granter
            .handle_message(&self.fixture.cx(), home, &message);
        self.granter.check_invariants();
    }

    /// Waits until a barrier begins.
    fn barrier(&mut self) -> u64 {
        let due = self.granter.poll_timeout().expect("something waits");
        self.fixture.now = self.fixture.now.max(due);
        self.granter.handle_timeout(&self.fixture.cx());
        self.granter.check_invariants();
        match self.granter.poll_action() {
            Some(Action::Barrier { id }) => id,
            other => panic!("no barrier: {other:?}"),
        }
    }

    fn answer(&mut self, id: u64) -> Vec<(u64, u64)> {
        let index = Some(self.fixture.control.applied);
        self.granter.handle_barrier(&self.fixture.cx(), id, index);
        self.granter.check_invariants();
        self.grants()
    }

    /// Which nodes were granted which renewals.
    fn grants(&mut self) -> Vec<(u64, u64)> {
        let mut grants = Vec::new();
        while let Some(action) = self.granter.poll_action() {
            match action {
                Action::Send {
                    to,
                    message: Message::Grant(grant),
                } => grants.push((to.0, grant.seq)),
                other => panic!("{other:?}"),
            }
        }
        grants
    }

    /// A renewal that is granted at once.
    fn granted(&mut self, node: u64, seq: u64, confirmed: u64) -> Vec<(u64, u64)> {
        self.receive(node, seq, confirmed);
        let id = self.barrier();
        self.answer(id)
    }

    fn expires(&self, node: u64) -> Instant {
        self.granter.expires(self.fixture.home(node))
    }

    fn expired(&self, node: u64) -> bool {
        let home = self.fixture.home(node);
        self.granter.expired(&self.fixture.cx(), home)
    }
}

fn elected(fixture: &Fixture, term: Term) -> Granter {
    let mut granter = Granter::new(&fixture.cx(), term);
    for member in fixture.control.members.values() {
        granter.inherit(&fixture.cx(), member.home());
    }
    granter
}

#[test]
fn a_renewal_is_granted_after_a_barrier_and_counts_from_its_receipt() {
    let mut it = Coordinator::new();
    it.receive(2, 1, 0);
    let received = it.fixture.now;
    let id = it.barrier();
    assert_eq!(it.grants(), []);
    it.fixture.wait(30);
    assert_eq!(it.answer(id), [(2, 1)]);
    assert_eq!(it.expires(2), received + ms(LONGEST));
}

#[test]
fn a_barrier_counts_only_for_what_came_before_it_began() {
    let mut it = Coordinator::new();
    it.receive(2, 1, 0);
    let first = it.barrier();
    it.receive(2, 2, 0);
    it.receive(3, 1, 0);
    assert_eq!(it.answer(first), [(2, 1)]);
    let second = it.barrier();
    assert_eq!(it.answer(second), [(2, 2), (3, 1)]);
}

#[test]
fn a_barrier_that_fails_grants_nothing() {
    let mut it = Coordinator::new();
    it.receive(2, 1, 0);
    let before = it.expires(2);
    let id = it.barrier();
    it.granter.handle_barrier(&it.fixture.cx(), id, None);
    assert_eq!(it.grants(), []);
    assert_eq!(it.answer(id), [], "it is answered once");
    assert_eq!(it.expires(2), before);
}

#[test]
fn the_answer_to_a_barrier_of_an_earlier_term_grants_nothing() {
    let mut it = Coordinator::new();
    it.receive(2, 1, 0);
    let old = it.barrier();
    it.granter = elected(&it.fixture, term(2, 1));
    it.receive(2, 1, 0);
    let new = it.barrier();
    assert_ne!(old, new);
    assert_eq!(it.answer(old), []);
    assert_eq!(it.answer(new), [(2, 1)]);
}

#[test]
fn barriers_are_gathered() {
    let mut it = Coordinator::new();
    it.receive(1, 1, 0);
    it.barrier();
    let first = it.fixture.now;
    it.receive(2, 1, 0);
    it.receive(3, 1, 0);
    assert_eq!(it.granter.poll_timeout(), Some(first + ms(50)));
    let id = it.barrier();
    assert_eq!(it.answer(id), [(2, 1), (3, 1)]);
    assert_eq!(it.granter.poll_timeout(), None);
}

#[test]
fn renewals_that_are_doubled_or_older_are_ignored() {
    let mut it = Coordinator::new();
    assert_eq!(it.granted(2, 5, 0), [(2, 5)]);
    for seq in [5, 4, 1] {
        it.receive(2, seq, 0);
        assert_eq!(it.granter.poll_timeout(), None);
    }
}

#[test]
fn barriers_answered_out_of_order_give_no_older_grant() {
    let mut it = Coordinator::new();
    it.receive(2, 1, 0);
    let first = it.barrier();
    it.receive(2, 2, 0);
    let second = it.barrier();
    assert_eq!(it.answer(second), [(2, 2)]);
    let expires = it.expires(2);
    assert_eq!(it.answer(first), []);
    assert_eq!(it.expires(2), expires);
}

#[test]
fn unanswered_barriers_are_bounded() {
    let mut it = Coordinator::new();
    let mut first = None;
    for seq in 1..=100 {
        it.receive(2, seq, 0);
        let id = it.barrier();
        first.get_or_insert(id);
    }
    let first = first.expect("a barrier began");
    assert_eq!(it.answer(first), []);
}

#[test]
fn a_life_that_is_not_a_member_is_granted_nothing() {
    let mut it = Coordinator::new();
    let old = it.fixture.home(2);
    let member = old;
    it.fixture.apply(TERM, Command::Down { member });
    let message = renew(old, 1, 0);
    it.granter.handle_message(&it.fixture.cx(), old, &message);
    assert_eq!(it.granter.poll_timeout(), None);
}

#[test]
fn from_the_moment_its_end_is_proposed_a_life_is_granted_nothing() {
    let mut it = Coordinator::new();
    let home = it.fixture.home(2);
    it.receive(2, 1, 0);
    let id = it.barrier();
    it.granter.stop(&it.fixture.cx(), home);
    let expires = it.expires(2);
    assert_eq!(it.answer(id), [], "not what was received before");
    assert_eq!(it.granted(2, 2, 0), [], "nor what comes then");
    assert_eq!(it.expires(2), expires);
}

#[test]
fn a_grant_that_races_a_proposed_end_is_a_mutant() {
    let mut it = Coordinator::with(Some(Mutant::GrantDownRace));
    let home = it.fixture.home(2);
    it.granter.stop(&it.fixture.cx(), home);
    assert_eq!(it.granted(2, 1, 0), [(2, 1)]);
}

#[test]
fn a_grant_without_a_barrier_is_a_mutant() {
    let mut it = Coordinator::with(Some(Mutant::StaleGrant));
    it.receive(2, 1, 0);
    assert_eq!(it.grants(), [(2, 1)]);
}

#[test]
fn a_region_that_confirms_no_grant_gets_no_new_one_until_it_does() {
    let mut it = Coordinator::new();
    assert_eq!(it.granted(2, 1, 0), [(2, 1)]);
    let first = it.fixture.now;
    let mut last = 1;
    while it.fixture.now.since(first) < ms(400) {
        it.fixture.wait(100);
        last += 1;
        assert_eq!(it.granted(2, last, 0), [(2, last)]);
    }
    let expires = it.expires(2);
    for seq in last + 1..last + 5 {
        it.fixture.wait(100);
        assert_eq!(it.granted(2, seq, 0), [(2, last)], "the last one, again");
        assert_eq!(it.expires(2), expires, "which extends nothing");
    }
    assert!(it.granter.suspect(&it.fixture.cx(), it.fixture.home(2)));
    assert_eq!(it.granted(2, last + 5, last), [(2, last + 5)]);
    assert!(it.expires(2) > expires);
    assert!(!it.granter.suspect(&it.fixture.cx(), it.fixture.home(2)));
}

#[test]
fn grants_that_nobody_confirms_are_a_mutant() {
    let mut it = Coordinator::with(Some(Mutant::UnconfirmedGrants));
    for seq in 1..=20 {
        it.fixture.wait(100);
        assert_eq!(it.granted(2, seq, 0), [(2, seq)]);
    }
    assert!(!it.expired(2));
}

#[test]
fn a_new_coordinator_waits_for_the_leases_of_its_predecessor() {
    let mut it = Coordinator::new();
    let elected = it.fixture.now;
    assert_eq!(
        it.granted(2, 1, 0),
        [(2, 1)],
        "who renews is served at once"
    );
    it.fixture.now = elected + ms(LONGEST);
    assert!(!it.expired(3));
    it.fixture.now = it.fixture.now + Duration::from_nanos(1);
    assert!(it.expired(3));
    let unknown = Home::default();
    assert!(it.granter.expired(&it.fixture.cx(), unknown));
}

#[test]
fn a_new_coordinator_that_does_not_wait_is_a_mutant() {
    let it = Coordinator::with(Some(Mutant::NoTakeoverWait));
    assert!(it.expired(2));
}

#[test]
fn a_late_loop_gives_everybody_the_time_of_a_lease() {
    let mut it = Coordinator::new();
    it.granted(2, 1, 0);
    it.fixture.wait(5_000);
    let home = it.fixture.home(2);
    assert!(it.expired(2) && it.granter.suspect(&it.fixture.cx(), home));
    it.granter.handle_late(&it.fixture.cx());
    assert_eq!(it.expires(2), it.fixture.now + ms(LONGEST));
    assert_eq!(it.expires(3), it.fixture.now + ms(LONGEST));
    assert!(!it.granter.suspect(&it.fixture.cx(), home));
}

#[test]
fn who_is_silent_is_suspect() {
    let mut it = Coordinator::new();
    let home = it.fixture.home(2);
    it.receive(2, 1, 0);
    it.fixture.wait(499);
    assert!(!it.granter.suspect(&it.fixture.cx(), home));
    it.fixture.wait(1);
    assert!(it.granter.suspect(&it.fixture.cx(), home));
    assert!(it.granter.heard(home) && !it.granter.heard(it.fixture.home(3)));
}
