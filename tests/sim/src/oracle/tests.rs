use super::*;

const FIRST: u64 = 1;

/// What a client was told: (issued, answered, what).
enum Told {
    /// Serial, at position, behind.
    Appended(u64, u64, u64),
    Listed(&'static [u64]),
    Deleted(u64, u64),
}
use Told::{Appended, Deleted, Listed};

fn entity() -> EntityId {
    "durable/a".parse().unwrap()
}

/// What the oracle says of a history of an entity whose first serial is 1.
fn judge(durability: Durability, history: &[(u64, u64, Told)]) -> (Option<&'static str>, usize) {
    let mut oracle = Oracle::default();
    oracle.announce(entity(), durability);
    for _ in 1..=9 {
        oracle.serial(&entity(), true);
    }
    for (issued, answered, told) in history {
        let span = Span {
            issued: *issued,
            answered: *answered,
        };
        match told {
            Appended(serial, position, previous) => {
                let place = Place {
                    life: if *position == 1 { *serial } else { FIRST },
                    position: *position,
                    previous: *previous,
                };
                oracle.appended(&entity(), *serial, &place, span);
            }
            Listed(serials) => {
                let life = serials.first().copied().unwrap_or_default();
                oracle.listed(&entity(), life, serials, span);
            }
            Deleted(life, length) => {
                oracle.deleting(&entity());
                oracle.forgotten(&entity(), *life, *length, span);
            }
        }
    }
    let violation = oracle.violation().map(|violation| violation.invariant);
    (violation, oracle.losses().len())
}

#[test]
fn a_history_that_can_be_put_in_order_is_not_accused() {
    let history = [
        (0, 10, Appended(1, 1, 0)),
        (5, 20, Appended(3, 3, 2)),
        // Asked before the answer above, answered after it.
        (6, 30, Appended(2, 2, 1)),
        (19, 40, Listed(&[1, 2])),
        (31, 41, Listed(&[1, 2, 3])),
        (50, 60, Deleted(1, 3)),
        (55, 65, Listed(&[])),
        (70, 80, Appended(4, 1, 0)),
    ];
    assert_eq!(judge(Durability::Durable, &history), (None, 0));
}

#[test]
fn a_lost_append_is_noticed() {
    let overwritten = [
        (0, 10, Appended(1, 1, 0)),
        (11, 20, Appended(2, 2, 1)),
        (15, 30, Appended(3, 2, 1)),
    ];
    let skipped = [
        (0, 10, Appended(1, 1, 0)),
        (11, 20, Appended(2, 2, 1)),
        (12, 30, Appended(4, 3, 3)),
    ];
    let all = [(0, 10, Appended(1, 1, 0)), (11, 20, Listed(&[]))];
    let anew = [(0, 10, Appended(1, 1, 0)), (11, 20, Appended(2, 1, 0))];
    assert_eq!(judge(Durability::Durable, &overwritten).0, Some("I6"));
    assert_eq!(judge(Durability::Durable, &skipped).0, Some("I6"));
    assert_eq!(judge(Durability::Durable, &all).0, Some("I6"));
    assert_eq!(judge(Durability::Durable, &anew).0, Some("I6"));
}

#[test]
fn a_list_in_memory_may_be_lost_and_says_when() {
    let anew = [(0, 10, Appended(1, 1, 0)), (11, 20, Appended(2, 1, 0))];
    assert_eq!(judge(Durability::Memory, &anew), (None, 1));
    let back = [
        (0, 10, Appended(1, 1, 0)),
        (11, 20, Appended(2, 1, 0)),
        (21, 30, Appended(3, 2, 1)),
    ];
    assert_eq!(judge(Durability::Memory, &back).0, Some("I8"));
}

#[test]
fn a_doubled_append_is_noticed() {
    let answered_twice = [
        (0, 10, Appended(1, 1, 0)),
        (11, 20, Appended(2, 2, 1)),
        (11, 30, Appended(2, 3, 2)),
    ];
    let listed = [(0, 10, Appended(1, 1, 0)), (11, 20, Listed(&[1, 2, 2]))];
    assert_eq!(judge(Durability::Durable, &answered_twice).0, Some("I7"));
    assert_eq!(judge(Durability::Durable, &listed).0, Some("I7"));
}

#[test]
fn a_stale_answer_is_noticed() {
    let read = [
        (0, 10, Appended(1, 1, 0)),
        (11, 20, Appended(2, 2, 1)),
        (21, 30, Listed(&[1])),
    ];
    let append = [
        (0, 10, Appended(1, 1, 0)),
        (5, 20, Appended(3, 3, 2)),
        (21, 30, Appended(2, 2, 1)),
    ];
    let after_a_read = [(0, 10, Listed(&[1, 2])), (11, 20, Listed(&[1]))];
    assert_eq!(judge(Durability::Durable, &read).0, Some("I8"));
    assert_eq!(judge(Durability::Durable, &append).0, Some("I8"));
    assert_eq!(judge(Durability::Durable, &after_a_read).0, Some("I8"));
}

#[test]
fn a_deleted_list_stays_deleted() {
    let back = [
        (0, 10, Appended(1, 1, 0)),
        (11, 20, Deleted(1, 1)),
        (21, 30, Listed(&[1])),
    ];
    let more = [
        (0, 10, Appended(1, 1, 0)),
        (0, 12, Appended(2, 2, 1)),
        (11, 20, Deleted(1, 1)),
    ];
    assert_eq!(judge(Durability::Durable, &back).0, Some("I8"));
    assert_eq!(judge(Durability::Durable, &more).0, Some("I6"));
}

#[test]
fn a_callers_calls_in_the_wrong_order_are_noticed() {
    let mut oracle = Oracle::default();
    oracle.announce(entity(), Durability::Durable);
    let place = |position| Place {
        life: FIRST,
        position,
        previous: 0,
    };
    let turn = |number| Turn { lane: 5, number };
    oracle.ordered(&entity(), turn(2), &place(8));
    oracle.ordered(&entity(), turn(4), &place(10));
    oracle.ordered(&entity(), turn(3), &place(9));
    assert_eq!(oracle.violation(), None);
    oracle.ordered(&entity(), turn(1), &place(11));
    assert_eq!(oracle.violation().map(|v| v.invariant), Some("I8"));
}

#[test]
fn what_nobody_may_see_is_noticed() {
    let judge = |serial, visible| {
        let mut oracle = Oracle::default();
        oracle.announce(entity(), Durability::Durable);
        oracle.serial(&entity(), visible);
        oracle.serial(&"durable/b".parse().unwrap(), true);
        let span = Span {
            issued: 0,
            answered: 1,
        };
        oracle.listed(&entity(), serial, &[serial], span);
        oracle.violation().map(|violation| violation.invariant)
    };
    assert_eq!(judge(1, true), None);
    assert_eq!(judge(1, false), Some("I15"), "a turn that trapped");
    assert_eq!(judge(2, true), Some("I13"), "another entity's");
    assert_eq!(judge(3, true), Some("I13"), "nobody's");
}

#[test]
fn where_leases_lie_only_what_is_durable_counts() {
    let mut oracle = Oracle::default();
    oracle.announce(entity(), Durability::Durable);
    for _ in 1..=3 {
        oracle.serial(&entity(), true);
    }
    oracle.leases_lie();
    let span = |issued| Span {
        issued,
        answered: issued + 1,
    };
    oracle.listed(&entity(), 1, &[1, 2], span(0));
    oracle.listed(&entity(), 1, &[1], span(5));
    assert_eq!(oracle.violation(), None, "stale, and that may be");
    oracle.listed(&entity(), 1, &[1, 3], span(7));
    assert_eq!(oracle.violation().map(|v| v.invariant), Some("I6"));
}
