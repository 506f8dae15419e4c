//! Nodes that leave, and clusters that grow and shrink.

use super::town::Town;
use crate::Durability;
use crate::cluster::NodeId;
use crate::control::{Command, Ownership};
use crate::coordinator::Request;

#[test]
fn a_drain_moves_everything_in_bounded_batches_of_few_entries() {
    let mut town = Town::new(4);
    town.deploy("counter", Durability::Durable, 1_000);
    town.until(500, Town::calm);
    assert_eq!(town.loads(), [250; 4]);
    let node = NodeId(4);
    town.request(Request::Drain { node }).unwrap();
    let mut most = 0;
    let leaver = town.home(4);
    while town.control.owned_by(leaver).next().is_some() {
        town.run_ms(5);
        most = most.max(town.control.shards.moving().count());
        assert!(town.log.len() < 500, "{town}");
    }
    assert!(most <= 64, "{most} at a time");
    let begun = town.logged(|it| matches!(it, Command::BeginHandoff { .. }));
    assert!(begun <= 36, "{begun} entries");
    let sizes: Vec<usize> = (1..=3)
        .map(|node| town.control.owned_by(town.home(node)).count())
        .collect();
    assert!(
        sizes.iter().all(|size| (330..=337).contains(size)),
        "{sizes:?}"
    );
}

#[test]
fn memory_kinds_are_drained_as_well() {
    let mut town = Town::new(2);
    town.deploy("cache", Durability::Memory, 8);
    town.until(200, Town::calm);
    town.request(Request::Drain { node: NodeId(2) }).unwrap();
    let leaver = town.home(2);
    town.until(2_000, |town| town.control.owned_by(leaver).next().is_none());
    assert_eq!(
        town.logged(|it| matches!(it, Command::CompleteHandoff { .. })),
        1
    );
}

#[test]
fn a_drain_that_is_taken_back_leaves_the_rest_where_it_is() {
    let mut town = Town::new(2);
    town.deploy("counter", Durability::Durable, 200);
    town.until(500, Town::calm);
    town.region(2).ignores.insert("BeginHandoff");
    town.request(Request::Drain { node: NodeId(2) }).unwrap();
    town.run_ms(50);
    town.request(Request::Undrain { node: NodeId(2) }).unwrap();
    town.region(2).ignores.clear();
    town.until(5_000, Town::calm);
    assert!(town.loads()[1] >= 36, "{:?}", town.loads());
}

#[test]
fn shards_that_are_not_adopted_yet_are_drained_when_they_are() {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 6);
    town.until(200, Town::calm);
    for node in 1..=2 {
        town.region(node).ignores.insert("Adopted");
    }
    town.kill(3);
    town.until(3_000, |town| {
        let owners = town.control.shards.values().map(|shard| shard.ownership);
        let on_3 = |it| matches!(it, Ownership::Owned { home } if home.node == NodeId(3));
        town.calm() && !owners.clone().any(on_3)
    });
    town.request(Request::Drain { node: NodeId(2) }).unwrap();
    town.run_ms(3_000);
    let leaver = town.home(2);
    let left: Vec<_> = town.control.owned_by(leaver).collect();
    assert_eq!(left.len(), 1, "the one that it took over\n{town}");
    let record = &town.control.shards[&left[0]];
    let (shard, epoch) = (left[0], record.epoch);
    let source = record.sources[0].ledger;
    let adopted = crate::cluster::Message::Adopted {
        shard,
        epoch,
        source,
    };
    town.say(leaver, adopted);
    town.until(1_000, |town| town.control.owned_by(leaver).next().is_none());
}

#[test]
fn one_to_three_to_five_and_back_never_leaves_a_shard_alone() {
    let mut town = Town::new(1);
    town.deploy("counter", Durability::Durable, 60);
    town.until(200, Town::calm);
    for node in 2..=5 {
        town.start(node);
        town.until(20_000, |town| {
            let loads = town.loads();
            loads.len() == usize::try_from(node).unwrap()
                && loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 2
                && town.calm()
        });
    }
    for node in [5, 4] {
        town.request(Request::Drain { node: NodeId(node) }).unwrap();
        let leaver = town.home(node);
        town.until(5_000, |town| town.control.owned_by(leaver).next().is_none());
    }
    town.until(5_000, Town::calm);
    assert_eq!(
        town.logged(|it| matches!(it, Command::AbortHandoff { .. })),
        0
    );
    assert_eq!(town.logged(|it| matches!(it, Command::Assign { .. })), 1);
}

#[test]
fn thirty_percent_of_a_hundred_nodes_die_and_only_their_shards_move() {
    let mut town = Town::new(100);
    town.deploy("counter", Durability::Durable, 1_000);
    town.until(1_000, Town::calm);
    let before: Vec<_> = town.control.shards.values().map(|it| it.epoch).collect();
    for node in 2..=31 {
        town.kill(node);
    }
    town.until(100, |_| true);
    let dead = |node: u64| (2..=31).contains(&node);
    let ms = town.until(5_000, |town| {
        town.control
            .shards
            .keys()
            .all(|&shard| town.owner(shard).is_some_and(|node| !dead(node)))
    });
    assert!(ms <= 1_500, "after {ms} ms");
    town.run_ms(5_000);
    let after = town.control.shards.values().map(|it| it.epoch);
    let moved = before
        .iter()
        .zip(after)
        .filter(|(old, new)| *old != new)
        .count();
    assert!(moved <= 330, "{moved} moves");
}
