use super::*;
use crate::cluster::Mutant;

/// When the first `Down` of the node was committed, since `begin`.
fn downed(it: &Cluster, node: u64, begin: Instant) -> Option<Duration> {
    it.log
        .iter()
        .find(|(_, command)| matches!(command, Command::Down { member } if member.node.0 == node))
        .map(|(at, _)| at.since(begin))
}

#[test]
fn who_is_silent_is_downed_when_its_last_lease_has_run_out() {
    let mut it = Cluster::new(3);
    it.run(10);
    let renewed = it.fixture.now;
    it.region(2).speaks = false;
    it.run(600);
    assert!(it.roster.suspect(&it.fixture.cx(), it.home(2)));
    assert!(!it.placeable(2), "nothing new goes there");
    assert_eq!(it.status(2), Some(Status::Up));
    it.run(1_000);
    let after = downed(&it, 2, renewed).expect("it is down");
    assert!(after > ms(1_010) && after <= ms(1_020), "{after:?}");
    assert_eq!(downed(&it, 3, renewed), None);
}

#[test]
fn reassigning_before_expiry_is_a_mutant() {
    let mut it = Cluster::new(3);
    it.fixture.settings.mutant = Some(Mutant::ReassignBeforeExpiry);
    it.run(10);
    let renewed = it.fixture.now;
    it.region(2).speaks = false;
    it.run(1_500);
    let after = downed(&it, 2, renewed).expect("it is down");
    assert!(after < ms(990), "{after:?}");
}

#[test]
fn who_hears_no_grant_is_downed_although_it_speaks() {
    let mut it = Cluster::new(3);
    it.region(2).hears = false;
    let begin = it.fixture.now;
    it.run(2_000);
    let after = downed(&it, 2, begin).expect("it is down");
    assert!(after <= ms(1_700), "{after:?}");
}

#[test]
fn who_hears_no_grant_for_a_while_goes_on_when_it_does() {
    let mut it = Cluster::new(3);
    it.region(2).hears = false;
    it.run(900);
    it.region(2).hears = true;
    it.run(3_000);
    assert_eq!(it.status(2), Some(Status::Up));
    assert!(it.placeable(2));
}

#[test]
fn nobody_is_downed_because_the_coordinator_cannot_commit() {
    let mut it = Cluster::new(5);
    it.commands();
    it.cut = true;
    it.run(3_000);
    it.cut = false;
    it.run(1_000);
    assert_eq!(it.decisions(), []);
    assert!((1..=5).all(|node| it.placeable(node)));
}

#[test]
fn from_the_moment_its_end_is_proposed_a_life_is_granted_nothing() {
    for mutant in [None, Some(Mutant::GrantDownRace)] {
        let mut it = Cluster::new(3);
        it.fixture.settings.mutant = mutant;
        let end = Command::Down { member: it.home(2) };
        it.stuck = true;
        it.region(2).speaks = false;
        it.run(1_500);
        assert!(it.proposed.contains(&end));
        it.region(2).speaks = true;
        it.sent.clear();
        it.run(300);
        assert_eq!(it.granted(2), mutant.is_some());
    }
}

#[test]
fn a_proof_of_death_ends_a_life_at_once() {
    let mut it = Cluster::new(3);
    it.commands();
    let member = it.home(2);
    it.region(2).speaks = false;
    it.roster.handle_exited(&it.fixture.cx(), member);
    it.settle();
    assert_eq!(it.decisions(), [Command::Down { member }]);
}

#[test]
fn a_proof_of_the_death_of_another_life_is_none() {
    let mut it = Cluster::new(3);
    it.commands();
    let old = it.home(2);
    it.join(process(2, 2));
    it.run(100);
    it.commands();
    it.roster.handle_exited(&it.fixture.cx(), old);
    it.settle();
    it.run(500);
    assert_eq!(it.decisions(), []);
}

#[test]
fn a_new_coordinator_serves_who_renews_and_waits_for_who_is_silent() {
    let mut it = Cluster::of(Fixture::new(3));
    it.region(3).speaks = false;
    let elected = it.fixture.now;
    assert!(!it.placeable(2), "not heard yet");
    it.run(100);
    assert!(it.placeable(2));
    it.run(900);
    assert_eq!(it.status(3), Some(Status::Up));
    it.run(500);
    let after = downed(&it, 3, elected).expect("it is down");
    assert!(after > ms(1_010) && after <= ms(1_020), "{after:?}");
}

#[test]
fn a_new_coordinator_that_does_not_wait_is_a_mutant() {
    let mut fixture = Fixture::new(3);
    fixture.settings.mutant = Some(Mutant::NoTakeoverWait);
    let mut it = Cluster::of(fixture);
    it.region(3).speaks = false;
    let elected = it.fixture.now;
    it.run(1_500);
    let after = downed(&it, 3, elected).expect("it is down");
    assert!(after <= ms(510), "{after:?}");
}

#[test]
fn a_loop_that_was_late_downs_nobody() {
    let mut it = Cluster::new(5);
    it.commands();
    it.fixture.wait(10_000);
    it.roster.handle_late(&it.fixture.cx());
    it.run(2_000);
    assert_eq!(it.decisions(), []);
}

#[test]
fn the_coordinator_does_not_suspect_itself() {
    let mut it = Cluster::new(3);
    it.commands();
    it.region(1).speaks = false;
    it.run(3_000);
    assert_eq!(it.decisions(), []);
}

#[test]
fn a_joining_life_that_never_renews_is_downed() {
    let mut it = Cluster::new(1);
    it.join(boot(2));
    it.region(2).speaks = false;
    it.run(900);
    assert_eq!(it.status(2), Some(Status::Joining));
    it.run(300);
    assert_eq!(it.status(2), Some(Status::Down));
}

#[test]
fn a_whole_state_is_looked_at_as_its_entries_would_have_been() {
    let mut it = Cluster::new(2);
    let old = it.home(2);
    it.fixture.apply(TERM, Command::Down { member: old });
    let new = it.fixture.join(boot(2));
    it.fixture.join(boot(3));
    it.roster.handle_state(&it.fixture.cx());
    it.settle();
    it.regions.insert(NodeId(2), Region::new(new));
    it.regions.insert(NodeId(3), Region::new(it.home(3)));
    it.run(300);
    assert_eq!(it.status(2), Some(Status::Up));
    assert_eq!(it.status(3), Some(Status::Up));
    assert_eq!(it.roster.term, term(1, 1));
}
