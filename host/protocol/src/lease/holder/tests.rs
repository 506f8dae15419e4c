use super::*;
use crate::cluster::{Home, Incarnation, Index};
use crate::control::Command;
use crate::lease::fixture::{Fixture, TERM, ms, term};

/// A member of a cluster of three, and its holder.
struct Region {
    fixture: Fixture,
    holder: Holder,
}

impl Region {
    fn new() -> Self {
        let mut fixture = Fixture::new(3);
        fixture.vote([2, 3]);
        let mut holder = Holder::new(fixture.now);
        holder.reset(fixture.now);
        Self { fixture, holder }
    }

    /// Lets the time come at which it renews, and says when that was.
    fn renew(&mut self) -> Instant {
        self.fixture.now = self.holder.poll_timeout().expect("it renews");
        self.holder.handle_timeout(&self.fixture.cx());
        while self.holder.poll_action().is_some() {}
        self.holder.check_invariants();
        self.fixture.now
    }

    fn grant(&self, seq: u64) -> Grant {
        Grant {
            term: TERM,
            seq,
            incarnation: self.fixture.me.incarnation,
            index: Index(1),
        }
    }

    fn receive(&mut self, grant: Grant) -> Instant {
        let from = Home {
            node: grant.term.node,
            incarnation: Incarnation(1),
        };
        self.receive_from(from, grant)
    }

    fn receive_from(&mut self, from: Peer, grant: Grant) -> Instant {
        let cx = self.fixture.cx();
        self.holder
            .handle_message(&cx, from, &Message::Grant(grant));
        self.holder.check_invariants();
        self.holder.until()
    }
}

/// 990 ms less the guard of 20.
const TRUSTED: u64 = 970;

#[test]
fn every_voter_is_asked_every_tenth_of_a_lease() {
    let mut region = Region::new();
    let first = region.fixture.now;
    for round in 1..=3 {
        region.fixture.now = region.holder.poll_timeout().expect("it renews");
        assert_eq!(region.fixture.now, first + ms(100) * (round - 1));
        region.holder.handle_timeout(&region.fixture.cx());
        for node in 1..=3 {
            let Some(Action::Send { to, message }) = region.holder.poll_action() else {
                panic!("a voter is not asked");
            };
            assert_eq!(to, NodeId(node));
            assert!(matches!(message, Message::Renew(renew) if renew.seq == u64::from(round)));
        }
        assert_eq!(region.holder.poll_action(), None);
    }
}

#[test]
fn a_process_that_is_no_member_asks_nobody() {
    let mut region = Region::new();
    region.fixture.me.incarnation = Incarnation(0);
    region.holder.reset(region.fixture.now);
    region.holder.handle_timeout(&region.fixture.cx());
    assert_eq!(region.holder.poll_action(), None);
    assert_eq!(region.holder.poll_timeout(), None);
}

#[test]
fn a_lease_runs_from_the_sending_of_its_renewal() {
    let mut region = Region::new();
    let sent = region.renew();
    region.fixture.wait(400);
    let grant = region.grant(1);
    assert_eq!(region.receive(grant), sent + ms(TRUSTED));
}

#[test]
fn a_lease_from_its_receipt_is_a_mutant() {
    let mut region = Region::new();
    region.fixture.settings.mutant = Some(Mutant::LeaseFromReceipt);
    let sent = region.renew();
    region.fixture.wait(400);
    let grant = region.grant(1);
    assert_eq!(region.receive(grant), sent + ms(400 + TRUSTED));
}

#[test]
fn a_grant_that_is_doubled_late_or_out_of_order_changes_nothing() {
    let mut region = Region::new();
    region.renew();
    let second = region.renew();
    let newer = region.grant(2);
    let until = region.receive(newer);
    assert_eq!(until, second + ms(TRUSTED));
    for seq in [1, 2, 2, 1] {
        region.fixture.wait(300);
        let older = region.grant(seq);
        assert_eq!(region.receive(older), until);
    }
}

#[test]
fn a_grant_that_is_not_for_this_life_and_its_renewals_changes_nothing() {
    let mut region = Region::new();
    region.renew();
    let none = region.holder.until();
    let grant = region.grant(1);
    let other_life = Grant {
        incarnation: Incarnation(grant.incarnation.0 + 1),
        ..grant
    };
    assert_eq!(region.receive(other_life), none);
    for seq in [0, 2, u64::MAX] {
        assert_eq!(region.receive(Grant { seq, ..grant }), none);
    }
    let impostor = region.fixture.home(2);
    assert_eq!(region.receive_from(impostor, grant), none);
}

#[test]
fn a_coordinator_of_the_past_grants_nothing() {
    let mut region = Region::new();
    region.renew();
    region.renew();
    region.renew();
    let newer = Grant {
        term: term(2, 2),
        ..region.grant(1)
    };
    let until = region.receive(newer);
    let older = region.grant(2);
    assert_eq!(region.receive(older), until, "a newer one has granted");

    region.fixture.apply(term(3, 3), Command::Coordinate);
    let older = Grant {
        term: term(2, 2),
        ..region.grant(3)
    };
    assert_eq!(region.receive(older), until, "a newer one is in the log");
}

#[test]
fn the_next_renewal_confirms_the_highest_grant() {
    let mut region = Region::new();
    region.renew();
    region.renew();
    for seq in [2, 1] {
        let grant = region.grant(seq);
        region.receive(grant);
    }
    region.fixture.wait(100);
    region.holder.handle_timeout(&region.fixture.cx());
    let Some(Action::Send { message, .. }) = region.holder.poll_action() else {
        panic!("it renews");
    };
    assert!(matches!(message, Message::Renew(renew) if renew.confirmed == 2));
}

#[test]
fn a_new_life_has_no_lease_of_the_old_one() {
    let mut region = Region::new();
    region.renew();
    let grant = region.grant(1);
    assert!(region.receive(grant) > region.fixture.now);
    region.renew();
    region.holder.reset(region.fixture.now);
    assert_eq!(region.holder.until(), region.fixture.now);
    let old = region.grant(2);
    assert_eq!(region.receive(old), region.fixture.now);
}

#[test]
fn after_a_pause_only_a_renewal_from_behind_it_counts() {
    let mut region = Region::new();
    region.renew();
    let first = region.grant(1);
    region.receive(first);
    region.renew();
    region.fixture.wait(400);
    region.holder.handle_late(&region.fixture.cx());
    let lost = region.holder.until();
    assert!(lost <= region.fixture.now);
    let before = region.grant(2);
    assert_eq!(region.receive(before), lost);
    let sent = region.renew();
    assert_eq!(sent, region.fixture.now, "it renews at once");
    let behind = region.grant(3);
    assert_eq!(region.receive(behind), sent + ms(TRUSTED));
}

#[test]
fn renewals_that_nobody_grants_are_forgotten() {
    let mut region = Region::new();
    for _ in 0..1_000 {
        region.renew();
    }
    let none = region.holder.until();
    let forgotten = region.grant(1_000 - SENT_MAX as u64);
    assert_eq!(region.receive(forgotten), none);
    let known = region.grant(1_000);
    assert!(region.receive(known) > none);
}
