use super::*;
use crate::cluster::Boot;
use crate::lease::fixture::{Fixture, TERM, boot, ms};

/// A control log that commits the ledgers that are proposed.
struct Cluster {
    fixture: Fixture,
    ledgers: Ledgers,
    /// Nothing that is proposed is committed.
    stuck: bool,
    proposed: usize,
}

impl Cluster {
    /// Node 1 of zone `a`, and what joins.
    fn new(zones: &[&str]) -> Self {
        let mut it = Self {
            fixture: Fixture::new(0),
            ledgers: Ledgers::new(),
            stuck: false,
            proposed: 0,
        };
        it.ledgers.handle_state(&it.fixture.cx());
        for (node, zone) in (1..).zip(zones) {
            it.up(zoned(node, zone));
        }
        it
    }

    /// A cluster that has what it wants.
    fn settled(zones: &[&str]) -> Self {
        let mut it = Self::new(zones);
        it.run(1_000);
        it.proposed = 0;
        it
    }

    fn up(&mut self, boot: Boot) {
        let node = boot.node;
        let after = self.fixture.control.members.get(&node).map(Member::home);
        let boot = std::sync::Arc::new(boot);
        self.apply(Command::Join { boot, after });
        let member = self.fixture.home(node.0);
        self.apply(Command::Up { member });
    }

    fn down(&mut self, node: u64) {
        let member = self.fixture.home(node);
        self.apply(Command::Down { member });
    }

    fn apply(&mut self, command: Command) {
        let entry = self.fixture.apply(TERM, command);
        self.ledgers.handle_applied(&self.fixture.cx(), &entry);
        self.settle();
    }

    fn settle(&mut self) {
        self.ledgers.check_invariants();
        while let Some(action) = self.ledgers.poll_action() {
            let Action::Propose(command) = action else {
                panic!("it only proposes");
            };
            self.proposed += 1;
            if !self.stuck {
                self.apply(command);
            }
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.fixture.now + ms(millis);
        while let Some(due) = self.ledgers.poll_timeout().filter(|&due| due <= end) {
            assert!(due > self.fixture.now, "it spins");
            self.fixture.now = due;
            self.ledgers.handle_timeout(&self.fixture.cx());
            self.settle();
        }
        self.fixture.now = end;
    }

    /// The nodes that keep a node's ledger, in the order in which they were chosen.
    fn kept_by(&self, node: u64) -> Vec<u64> {
        let ledger = self.fixture.control.members[&NodeId(node)].ledger;
        let ledger = &self.fixture.control.ledgers[&ledger.expect("it has one")];
        ledger
            .replicas
            .iter()
            .map(|replica| replica.node.0)
            .collect()
    }
}

fn zoned(node: u64, zone: &str) -> Boot {
    Boot {
        zone: String::from(zone),
        ..boot(node)
    }
}

#[test]
fn a_member_gets_a_ledger_at_once() {
    let mut it = Cluster::new(&["a"]);
    assert_eq!(it.kept_by(1), [1]);
    it.apply(Command::Join {
        boot: std::sync::Arc::new(boot(2)),
        after: None,
    });
    assert_eq!(it.kept_by(2), [2, 1], "also one that only joins");
}

#[test]
fn ledgers_grow_with_the_cluster_after_a_while() {
    let mut it = Cluster::new(&["a", "a", "a"]);
    assert_eq!(it.kept_by(1), [1]);
    it.run(249);
    assert_eq!(it.kept_by(1), [1]);
    it.run(1);
    for node in 1..=3 {
        assert_eq!(it.kept_by(node).len(), 3, "{node}");
    }
    let proposed = it.proposed;
    it.run(200_000);
    assert_eq!(it.proposed, proposed, "and then nothing changes");
}

#[test]
fn other_zones_come_first() {
    let it = Cluster::settled(&["a", "a", "a", "b", "b", "c"]);
    let zone = |node: u64| match node {
        1..=3 => 'a',
        4..=5 => 'b',
        _ => 'c',
    };
    for node in 1..=6 {
        let mut zones: Vec<char> = it.kept_by(node).into_iter().map(zone).collect();
        zones.sort_unstable();
        zones.dedup();
        assert_eq!(zones.len(), 3, "{node}");
    }
}

#[test]
fn then_those_that_keep_the_fewest() {
    let it = Cluster::settled(&["a"; 9]);
    let mut counts = [0; 10];
    for node in 1..=9 {
        for keeper in it.kept_by(node) {
            counts[usize::try_from(keeper).expect("small")] += 1;
        }
    }
    assert!(
        counts[1..].iter().all(|&count| (2..=4).contains(&count)),
        "{counts:?}"
    );
}

#[test]
fn a_replica_that_is_down_is_replaced_after_a_minute() {
    let mut it = Cluster::settled(&["a"; 4]);
    let mut without: Vec<u64> = (1..=4).collect();
    let keeper = it.kept_by(1)[1];
    without.retain(|&node| node != keeper);
    it.down(keeper);
    it.run(59_999);
    assert!(it.kept_by(1).contains(&keeper));
    it.run(1);
    for node in without {
        let kept = it.kept_by(node);
        assert!(
            kept.len() == 3 && !kept.contains(&keeper),
            "{node}: {kept:?}"
        );
    }
}

#[test]
fn a_replica_that_comes_back_in_time_stays() {
    let mut it = Cluster::settled(&["a"; 3]);
    it.down(3);
    it.run(50_000);
    it.up(boot(3));
    it.run(50_000);
    assert_eq!(it.proposed, 1, "only its own new one");
}

#[test]
fn a_ledger_that_can_take_no_record_is_replaced_at_once() {
    let mut it = Cluster::settled(&["a"; 5]);
    let kept = it.kept_by(1);
    it.down(kept[1]);
    assert_eq!(it.kept_by(1), kept);
    it.down(kept[2]);
    let now = it.kept_by(1);
    assert_eq!(now.len(), 3);
    assert!(!now.contains(&kept[1]) && !now.contains(&kept[2]));
}

#[test]
fn a_node_alone_writes_to_its_own_disk() {
    let mut it = Cluster::settled(&["a"; 3]);
    it.down(2);
    it.down(3);
    assert_eq!(it.kept_by(1), [1]);
}

#[test]
fn a_disk_of_a_node_that_was_removed_is_gone() {
    let mut it = Cluster::settled(&["a"; 4]);
    let keeper = it.kept_by(1)[1];
    it.down(keeper);
    let member = it.fixture.home(keeper);
    it.apply(Command::Remove { member });
    let kept = it.kept_by(1);
    assert!(kept.len() == 3 && !kept.contains(&keeper));

    let mut other = boot(keeper);
    other.disk = 99;
    it.up(other);
    it.run(1_000);
    assert!(it.fixture.control.ledgers.values().all(|ledger| {
        let mut replicas = ledger.replicas.iter();
        replicas.all(|replica| replica.node.0 != keeper || replica.disk == 99)
    }));
}

#[test]
fn a_member_that_leaves_keeps_nobodys_ledger() {
    let mut it = Cluster::settled(&["a"; 3]);
    let member = it.fixture.home(3);
    it.apply(Command::Leave { member });
    it.run(249);
    assert_eq!(it.kept_by(1).len(), 3);
    it.run(1);
    assert_eq!(it.kept_by(1), [1, 2]);
    assert_eq!(it.kept_by(2), [2, 1]);
    assert_eq!(it.kept_by(3).len(), 3, "its own is not touched");
}

#[test]
fn one_proposal_of_a_member_is_on_its_way_and_made_again_when_it_is_lost() {
    let mut it = Cluster::new(&[]);
    it.stuck = true;
    it.up(boot(1));
    it.up(boot(2));
    assert_eq!(it.proposed, 2);
    it.run(199);
    assert_eq!(it.proposed, 2);
    it.run(1);
    assert_eq!(it.proposed, 4);
    it.stuck = false;
    it.run(1_000);
    assert_eq!(it.kept_by(1), [1, 2]);
}

#[test]
fn a_whole_state_says_as_much_as_its_entries() {
    let mut it = Cluster::settled(&["a"; 3]);
    let fixture = Fixture::new(3);
    it.fixture.control = fixture.control;
    it.ledgers.handle_state(&it.fixture.cx());
    it.settle();
    assert_eq!(it.kept_by(1).len(), 3);
}
