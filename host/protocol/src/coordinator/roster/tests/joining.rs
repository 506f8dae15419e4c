use super::*;
use crate::cluster::{ClusterId, JoinRefusal, ProtocolRange};
use crate::{Digest, Durability, KindName};

use crate::cluster::{Epoch, ShardId, SpaceId};
use crate::control::Assignment;

#[test]
fn a_process_is_a_member_at_once_and_up_when_it_renews() {
    let mut it = Cluster::new(1);
    it.join(boot(2));
    assert_eq!(it.status(2), Some(Status::Joining));
    assert!(!it.placeable(2));
    it.run(20);
    assert_eq!(it.status(2), Some(Status::Up));
    assert!(it.placeable(2));
}

#[test]
fn a_process_that_does_not_know_that_it_is_a_member_is_told() {
    let mut it = Cluster::new(2);
    it.commands();
    it.sent.clear();
    it.join(boot(2));
    assert_eq!(it.commands(), []);
    let sent = it.sent_to(2);
    assert!(matches!(
        sent[..],
        [Message::NewCoordinator { term: TERM, .. }]
    ));
}

#[test]
fn a_newer_process_that_has_the_lock_takes_its_predecessors_place_at_once() {
    let mut it = Cluster::new(3);
    it.commands();
    let old = it.home(2);
    it.join(process(2, 2));
    assert_ne!(it.home(2), old);
    assert_eq!(it.decisions().len(), 1);
    it.run(200);
    assert!(it.placeable(2), "and gets shards at once");
}

#[test]
fn a_newer_process_elsewhere_waits_until_its_predecessors_leases_have_run_out() {
    let mut it = Cluster::new(3);
    it.commands();
    it.sent.clear();
    let (old, asked) = (it.home(2), it.fixture.now);
    let mut clone = process(2, 2);
    clone.machine += 100;
    for _ in 0..12 {
        it.join(clone.clone());
        it.run(100);
    }
    let end = it
        .log
        .iter()
        .find(|(_, command)| *command == Command::Down { member: old })
        .map(|(at, _)| at.since(asked))
        .expect("it is down");
    assert!(end > ms(900) && end <= ms(1_030), "{end:?}");
    let decisions = it.decisions();
    assert!(matches!(decisions[0], Command::Down { member } if member == old));
    assert!(matches!(decisions[1], Command::Join { after: Some(after), .. } if after == old));
    assert_eq!(it.status(2), Some(Status::Up));
    let sent = it.sent_to(2);
    let old_grants = sent.iter().any(
        |message| matches!(message, Message::Grant(grant) if grant.incarnation == old.incarnation),
    );
    assert!(
        !old_grants,
        "its predecessor is granted nothing from then on"
    );
}

#[test]
fn a_process_that_gives_up_leaves_no_trace_but_the_end_of_its_predecessor() {
    let mut it = Cluster::new(2);
    it.commands();
    let mut clone = process(2, 2);
    clone.machine += 100;
    it.stuck = true;
    it.join(clone);
    it.run(1_500);
    it.stuck = false;
    let member = it.home(2);
    it.run(500);
    assert_eq!(it.decisions(), [Command::Down { member }]);
    it.run(1_000);
    assert_eq!(it.decisions(), []);
}

#[test]
fn who_cannot_be_a_member_is_told_why() {
    let protocol = ProtocolRange { min: 2, max: 3 };
    let node = NodeId(2);
    let (ours, theirs) = (ClusterId(7), ClusterId(8));
    let good = process(2, 5);
    let cases = [
        (
            Boot {
                cluster: theirs,
                ..good.clone()
            },
            JoinRefusal::OtherCluster { ours, theirs },
        ),
        (
            Boot {
                protocol,
                ..good.clone()
            },
            JoinRefusal::Protocol {
                cluster: 1,
                node: protocol,
            },
        ),
        (
            Boot {
                disk: 99,
                ..good.clone()
            },
            JoinRefusal::DiskLost { node },
        ),
        (process(2, 3), JoinRefusal::Superseded { node }),
    ];
    for down in [false, true] {
        let mut it = Cluster::new(1);
        it.join(process(2, 4));
        it.run(200);
        if down {
            it.region(2).speaks = false;
            it.run(2_000);
        }
        it.commands();
        for (boot, expected) in &cases {
            it.sent.clear();
            it.join(boot.clone());
            let process = boot.process;
            let reason = expected.clone();
            assert_eq!(it.sent_to(2), [Message::JoinRefused { process, reason }]);
        }
        it.run(300);
        assert_eq!(it.decisions(), []);
    }
}

#[test]
fn nobody_joins_in_the_name_of_another_node_or_with_an_endless_name() {
    let mut it = Cluster::new(2);
    it.commands();
    let impostor = it.home(2);
    it.receive(impostor, Message::Join(Arc::new(boot(3))));
    let mut long = boot(3);
    long.zone = "z".repeat(10_000);
    it.join(long);
    it.run(300);
    assert_eq!(it.decisions(), []);
}

#[test]
fn a_life_that_is_over_is_told_so_and_its_process_joins_again() {
    let mut it = Cluster::new(3);
    let old = it.home(3);
    it.region(3).speaks = false;
    it.run(2_000);
    assert_eq!(it.status(3), Some(Status::Down));
    it.sent.clear();
    it.region(3).speaks = true;
    it.run(20);
    let sent = it.sent_to(3);
    assert!(
        matches!(sent[..], [Message::Downed { incarnation, term: TERM, .. }]
        if incarnation == old.incarnation)
    );
    it.join(boot(3));
    it.run(100);
    assert_eq!(it.status(3), Some(Status::Up));
}

#[test]
fn a_life_from_the_future_is_not_told_that_it_is_over() {
    let mut it = Cluster::new(1);
    it.sent.clear();
    let from = Home {
        node: NodeId(2),
        incarnation: crate::cluster::Incarnation(1_000),
    };
    it.receive(from, renew(from, 1, 0));
    let incarnation = from.incarnation;
    it.receive(from, Message::Leave { incarnation });
    assert_eq!(it.sent_to(2), []);
}

/// Cuts node 3 off until it is down, lets it come back, and says how long it waits for shards.
fn flap(it: &mut Cluster, process: Boot) -> u64 {
    it.region(3).speaks = false;
    while it.status(3) != Some(Status::Down) {
        it.run(100);
    }
    it.join(process);
    let mut waited = 0;
    while !it.placeable(3) {
        it.run(100);
        waited += 100;
        assert!(waited < 100_000, "it never gets shards again");
    }
    waited / 1_000
}

#[test]
fn who_was_downed_and_lives_waits_for_shards_longer_with_each_time() {
    let mut it = Cluster::new(3);
    let waits: Vec<u64> = (0..7).map(|_| flap(&mut it, boot(3))).collect();
    assert_eq!(waits, [5, 10, 20, 40, 80, 5, 10], "the window is 80 s");
}

#[test]
fn a_process_that_is_new_waits_only_when_it_is_not_the_first() {
    let mut it = Cluster::new(3);
    let waits: Vec<u64> = (2..5).map(|p| flap(&mut it, process(3, p))).collect();
    assert_eq!(waits, [0, 5, 10]);
}

#[test]
fn a_link_that_flaps_costs_at_most_one_life_in_five_seconds() {
    let mut it = Cluster::new(3);
    for round in 0..30 {
        it.region(3).speaks = round % 2 == 0;
        it.join(boot(3));
        it.run(1_200);
    }
    let ends: Vec<Instant> = it
        .log
        .iter()
        .filter(|(_, command)| matches!(command, Command::Down { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!(ends.len() > 1);
    for pair in ends.windows(2) {
        assert!(pair[1].since(pair[0]) >= ms(5_000));
    }
}

/// A shard of a kind in memory, owned by the node.
fn own(it: &mut Cluster, node: u64) -> ShardId {
    it.commit(Command::DeployKind {
        name: KindName::new("counter").expect("a name"),
        component: Digest::of(b"counter"),
        durability: Durability::Memory,
        shards: 1,
    });
    let space = SpaceId(it.fixture.control.applied.0);
    let shard = ShardId { space, number: 0 };
    let home = it.home(node);
    let after = Epoch(0);
    it.commit(Command::Assign {
        shards: vec![Assignment { shard, after, home }],
    });
    shard
}

fn leave(it: &mut Cluster, node: u64) {
    let from = it.home(node);
    let incarnation = from.incarnation;
    it.receive(from, Message::Leave { incarnation });
}

#[test]
fn a_member_leaves_when_it_owns_nothing() {
    let mut it = Cluster::new(3);
    it.run(1_000);
    let home = it.home(2);
    let shard = own(&mut it, 2);
    it.commands();
    it.sent.clear();
    leave(&mut it, 2);
    it.run(1_000);
    assert_eq!(it.decisions(), [Command::Leave { member: home }]);
    assert!(it.granted(2), "until then it has its lease");

    it.commit(Command::Drop { space: shard.space });
    it.run(10);
    assert_eq!(it.decisions()[1..], [Command::Down { member: home }]);
    let incarnation = home.incarnation;
    assert!(it.sent_to(2).contains(&Message::LeaveDone { incarnation }));
    leave(&mut it, 2);
    assert_eq!(it.sent_to(2), [Message::LeaveDone { incarnation }]);
    assert!(!it.voters().contains(&2), "its vote was taken before");
}

#[test]
fn a_member_does_not_leave_while_another_writes_to_its_disk() {
    let mut it = Cluster::new(3);
    it.run(1_000);
    let open = |it: &mut Cluster, nodes: [u64; 2]| {
        let home = it.home(1);
        let after = it.fixture.control.members[&NodeId(1)].ledger;
        let replicas = nodes.map(|node| Replica {
            node: NodeId(node),
            disk: node,
        });
        let replicas = replicas.to_vec();
        it.commit(Command::OpenLedger {
            home,
            after,
            replicas,
        });
    };
    open(&mut it, [1, 2]);
    leave(&mut it, 2);
    it.run(1_000);
    assert_eq!(it.status(2), Some(Status::Leaving));
    open(&mut it, [1, 3]);
    it.run(10);
    assert_eq!(it.status(2), Some(Status::Down));
}

#[test]
fn who_is_removed_is_drained_first_and_votes_no_more() {
    let mut it = Cluster::new(3);
    it.run(1_000);
    let shard = own(&mut it, 3);
    it.roster.handle_remove(&it.fixture.cx(), NodeId(3));
    it.settle();
    it.run(1_000);
    assert_eq!(it.status(3), Some(Status::Leaving));
    it.commit(Command::Drop { space: shard.space });
    it.region(3).speaks = false;
    it.run(1_000);
    assert_eq!(it.status(3), None);
    assert_eq!(it.voters(), [1]);
}

#[test]
fn who_is_down_can_be_removed_although_it_voted() {
    let mut it = Cluster::new(3);
    it.run(1_000);
    it.region(3).speaks = false;
    it.run(2_000);
    assert_eq!(it.voters(), [1, 2, 3]);
    it.roster.handle_remove(&it.fixture.cx(), NodeId(3));
    it.settle();
    it.run(1_000);
    assert_eq!(it.status(3), None);
}
