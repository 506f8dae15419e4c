use super::*;

/// Every change of the voters, in order.
fn changes(it: &mut Cluster) -> Vec<Vec<u64>> {
    let commands = it.commands().into_iter();
    commands
        .filter_map(|command| match command {
            Command::Voters { to, .. } => Some(to.iter().map(|node| node.0).collect()),
            _ => None,
        })
        .collect()
}

fn leave(it: &mut Cluster, node: u64) {
    let from = it.home(node);
    let incarnation = from.incarnation;
    it.receive(from, Message::Leave { incarnation });
    it.run(2_000);
    it.region(node).speaks = false;
}

fn zoned(node: u64, zone: &str) -> Boot {
    Boot {
        zone: String::from(zone),
        ..boot(node)
    }
}

#[test]
fn voters_grow_and_shrink_with_the_cluster_one_at_a_time() {
    let mut it = Cluster::new(1);
    let mut counts = Vec::new();
    for node in 2..=5 {
        it.join(boot(node));
        it.run(2_000);
        counts.push(it.voters().len());
    }
    assert_eq!(counts, [1, 3, 3, 5]);
    for node in [5, 4, 3] {
        leave(&mut it, node);
        counts.push(it.voters().len());
    }
    assert_eq!(counts[4..], [3, 3, 1]);
    let changes = changes(&mut it);
    let expected: [&[u64]; 8] = [
        &[1, 2],
        &[1, 2, 3],
        &[1, 2, 3, 4],
        &[1, 2, 3, 4, 5],
        &[1, 2, 3, 4],
        &[1, 2, 3],
        &[1, 2],
        &[1],
    ];
    assert_eq!(changes, expected);
}

#[test]
fn an_even_number_is_never_where_it_ends() {
    let mut it = Cluster::new(1);
    it.join(boot(2));
    it.run(2_000);
    it.join(boot(3));
    it.region(3).speaks = false;
    it.run(500);
    assert_eq!(it.voters(), [1], "the third is not there yet");
}

#[test]
fn who_is_down_keeps_its_vote_for_a_minute_and_longer_where_there_is_no_spare() {
    let mut it = Cluster::new(3);
    it.run(2_000);
    it.region(3).speaks = false;
    it.run(70_000);
    assert_eq!(it.status(3), Some(Status::Down));
    assert_eq!(it.voters(), [1, 2, 3], "there is no spare");
    it.join(boot(4));
    it.run(2_000);
    assert_eq!(it.voters(), [1, 2, 4]);
}

#[test]
fn a_spare_takes_the_vote_of_who_is_down_for_a_minute() {
    let mut it = Cluster::new(4);
    it.run(2_000);
    changes(&mut it);
    it.region(2).speaks = false;
    it.run(59_000);
    assert_eq!(it.voters(), [1, 2, 3]);
    it.run(4_000);
    let expected: [&[u64]; 2] = [&[1, 3], &[1, 3, 4]];
    assert_eq!(changes(&mut it), expected);
}

#[test]
fn five_voters_of_which_two_are_gone_become_three() {
    let mut it = Cluster::new(5);
    it.run(2_000);
    it.region(2).speaks = false;
    it.region(3).speaks = false;
    it.run(65_000);
    assert_eq!(it.voters(), [1, 4, 5]);
}

#[test]
fn voters_are_spread_over_the_zones() {
    let mut it = Cluster::new(3);
    it.run(2_000);
    assert_eq!(it.voters(), [1, 2, 3]);
    it.join(zoned(4, "b"));
    it.run(2_000);
    assert_eq!(it.voters(), [1, 2, 4]);
    it.join(zoned(5, "c"));
    it.join(zoned(6, "c"));
    it.run(3_000);
    let grown = changes(&mut it);
    assert_eq!(it.voters().len(), 5);
    assert!(
        it.voters().starts_with(&[1, 2]),
        "who votes stays: {grown:?}"
    );
    it.run(60_000);
    assert_eq!(changes(&mut it), Vec::<Vec<u64>>::new());
}

#[test]
fn one_change_at_a_time_is_on_its_way() {
    let mut it = Cluster::new(3);
    it.cut = true;
    it.proposed.clear();
    it.run(500);
    it.region(2).speaks = false;
    it.run(3_000);
    let changes: Vec<&Command> = it
        .proposed
        .iter()
        .filter(|command| matches!(command, Command::Voters { .. }))
        .collect();
    assert!(changes.len() > 2, "it is proposed again");
    assert!(changes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn who_is_not_heard_gets_no_vote() {
    let mut it = Cluster::of(Fixture::new(3));
    it.region(3).speaks = false;
    it.run(900);
    assert_eq!(it.voters(), [1]);
}

#[test]
fn a_coordinator_that_leaves_keeps_its_vote_and_goes_when_the_others_can_do_without() {
    let mut it = Cluster::new(3);
    it.run(2_000);
    leave(&mut it, 1);
    assert_eq!(it.status(1), Some(Status::Down));
    assert_eq!(it.voters(), [1, 2, 3]);

    let mut it = Cluster::new(2);
    it.run(2_000);
    leave(&mut it, 1);
    assert_eq!(it.status(1), Some(Status::Leaving), "nobody else votes");
}

#[test]
fn a_voter_that_is_far_behind_gets_no_vote() {
    let mut it = Cluster::new(3);
    it.cut = true;
    let settings = Settings::lan();
    for _ in 0..=settings.bounds.delta_max {
        it.fixture.apply(TERM, Command::Coordinate);
    }
    it.cut = false;
    it.run(2_000);
    assert_eq!(it.voters(), [1], "renewals say that nothing is applied");
}

/// SplitMix64.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

#[test]
fn whatever_happened_the_right_number_votes_when_it_is_over() {
    for seed in 0..8 {
        let mut random = seed;
        let mut it = Cluster::new(1);
        for _ in 0..30 {
            let node = 2 + draw(&mut random, 7);
            match (it.status(node), draw(&mut random, 4)) {
                (None | Some(Status::Down), _) => {
                    let zone = ["a", "b", "c"][draw(&mut random, 3) as usize];
                    it.join(zoned(node, zone));
                }
                (_, 0) => leave(&mut it, node),
                (_, 1) => it.region(node).speaks = false,
                (_, _) => {}
            }
            it.run(100 + draw(&mut random, 3_000));
        }
        // Whom nobody brings back is down for good.
        it.run(70_000);
        let members = it.fixture.control.members.values();
        let count = |status| members.clone().filter(|m| m.status == status).count();
        let (up, down) = (count(Status::Up), count(Status::Down));
        let voters = it.voters();
        let expected = [1, 1, 1, 3, 3, 5][up.min(5)];
        let kept = up < 3 && down > 0 && voters.len() == 3;
        assert!(
            voters.len() == expected || kept,
            "seed {seed}: {voters:?} of {up}"
        );
        assert!(voters.contains(&1));
    }
}
