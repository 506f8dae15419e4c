use super::*;

#[test]
fn the_first_member_votes_and_a_later_one_does_not() {
    let log = Log::of(2);
    assert_eq!(log.state.voters, [NodeId(1)].into());
    assert_eq!(log.status(2), Status::Up);
}

#[test]
fn a_process_follows_a_life_that_is_down() {
    let mut log = Log::of(2);
    let before = log.home(2);
    log.down(2);
    let boot = Arc::new(boot(2, 1));
    log.void(Command::Join {
        boot: Arc::clone(&boot),
        after: None,
    });
    let after = Some(before);
    log.applies(Command::Join { boot, after });
    assert!(log.home(2).incarnation > before.incarnation);
    assert_eq!(log.status(2), Status::Joining);
    log.void(Command::Up { member: before });
}

#[test]
fn a_process_follows_a_live_one_only_with_the_proof_that_it_is_dead() {
    let mut log = Log::of(2);
    let memory = log.kind("m", Durability::Memory, 1);
    log.assign(shard(memory, 0), 2);
    let after = log.member(2);
    let same = boot(2, 1);
    let moved = Boot {
        machine: 99,
        ..boot(2, 2)
    };
    let copied = Boot {
        directory: 99,
        ..boot(2, 2)
    };
    for boot in [same, moved, copied] {
        let boot = Arc::new(boot);
        log.void(Command::Join { boot, after });
    }
    let boot = Arc::new(boot(2, 2));
    log.applies(Command::Join { boot, after });
    assert_eq!(log.owner(shard(memory, 0)), None);
}

#[test]
fn a_node_with_another_disk_is_another_node() {
    let mut log = Log::of(2);
    log.down(2);
    let lost = Arc::new(Boot {
        disk: 99,
        ..boot(2, 2)
    });
    let after = log.member(2);
    log.void(Command::Join {
        boot: Arc::clone(&lost),
        after,
    });
    log.applies(Command::Remove {
        member: after.unwrap(),
    });
    log.applies(Command::Join {
        boot: lost,
        after: None,
    });
}

#[test]
fn a_member_leaves_and_stays_after_all() {
    let mut log = Log::of(1);
    let member = log.home(1);
    log.applies(Command::Leave { member });
    assert_eq!(log.status(1), Status::Leaving);
    log.applies(Command::Up { member });
    assert_eq!(log.status(1), Status::Up);
    log.down(1);
    log.void(Command::Leave { member });
}

#[test]
fn only_a_member_that_is_free_of_everything_is_removed() {
    let mut log = Log::of(3);
    let memory = log.kind("m", Durability::Memory, 1);
    log.assign(shard(memory, 0), 2);
    log.vote(&[1], &[1, 2]);
    let member = log.home(2);
    log.void(Command::Remove { member });
    log.applies(Command::Leave { member });
    log.void(Command::Remove { member });
    let handoff = log.begin(shard(memory, 0), 2, 3);
    log.complete(handoff, shard(memory, 0), None);
    log.void(Command::Remove { member });
    log.vote(&[1, 2], &[1]);
    let ledger = log.ledger(2).unwrap();
    log.applies(Command::Remove { member });
    assert_eq!(log.member(2), None);
    assert!(!log.state.ledgers.contains_key(&ledger));
}

#[test]
fn voters_change_one_at_a_time_from_what_they_are() {
    let mut log = Log::of(7);
    log.down(7);
    for (from, to) in [
        (&[1][..], &[1][..]),
        (&[1], &[1, 2, 3]),
        (&[1], &[2]),
        (&[1], &[]),
        (&[2], &[1, 2]),
        (&[1], &[1, 7]),
        (&[1], &[1, 8]),
    ] {
        log.void(voters(from, to));
    }
    log.vote(&[1], &[2, 1]);
    log.vote(&[2, 1], &[1, 2, 3]);
    log.vote(&[1, 2, 3], &[1, 2, 3, 4]);
    log.vote(&[1, 2, 3, 4], &[1, 2, 3, 4, 5]);
    log.void(voters(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6]));
    log.down(5);
    log.vote(&[1, 2, 3, 4, 5], &[1, 2, 3, 4]);
}
