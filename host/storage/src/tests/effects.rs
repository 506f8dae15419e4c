//! Timers, outgoing messages and the index of entities to wake.

use super::commits::hold_the_committer;
use super::*;
use crate::StoredEntity;
use crate::commit::Change;

/// A commit with a state, a timer, a message and the row that wakes for them.
fn busy(key: &str, round: u64, wake: WakeChange) -> EntityCommit {
    EntityCommit {
        timers: vec![set("tick", round)],
        sends: vec![sent(round)],
        wake,
        ..turn(key, &round.to_string(), &round.to_string())
    }
}

fn set(name: &str, due_ms: u64) -> (String, Option<TimerRecord>) {
    (name.to_owned(), Some(timer(name, due_ms)))
}

fn sent(number: u64) -> (u64, Option<SendRecord>) {
    (number, Some(send(number)))
}

fn load(store: &Store, key: &str) -> StoredEntity {
    store.load(&counter(key)).unwrap().unwrap()
}

#[test]
fn timers_and_messages_are_loaded_in_order_with_and_without_a_state() {
    let (store, _dir) = new_store();
    let timers = EntityCommit {
        timers: vec![set("b", 1), set("", 2), set("a", 3), set("ab", 4)],
        ..keep("alice")
    };
    store.commit_and_wait(timers).unwrap();
    let names = |stored: &StoredEntity| -> Vec<String> {
        let timers = stored.timers.iter();
        timers.map(|timer| timer.name.clone()).collect()
    };
    assert_eq!(names(&load(&store, "alice")), ["", "a", "ab", "b"]);
    assert_eq!(load(&store, "alice").sequence, 1);

    let sends = EntityCommit {
        sends: vec![sent(256), sent(1), sent(u64::MAX), sent(255)],
        ..keep("bob")
    };
    store.commit_and_wait(sends).unwrap();
    let stored = load(&store, "bob");
    assert_eq!((stored.sequence, stored.state), (2, None));
    assert_eq!(stored.sends, [1, 255, 256, u64::MAX].map(send));

    store.commit_and_wait(put("alice", "one")).unwrap();
    let stored = load(&store, "alice");
    assert_eq!(names(&stored).len(), 4, "kept");
    assert_eq!((stored.sequence, stored.state), (3, Some(state("one"))));
}

#[test]
fn a_timer_and_a_message_are_replaced_and_removed_by_themselves() {
    let (store, _dir) = new_store();
    let commit = EntityCommit {
        timers: vec![set("a", 1), set("b", 1)],
        sends: vec![sent(1), sent(2)],
        ..keep("alice")
    };
    store.commit_and_wait(commit).unwrap();
    let mut dead = send(2);
    dead.accepted_ms = 9;
    let commit = EntityCommit {
        timers: vec![("a".to_owned(), None), set("b", 7)],
        sends: vec![(1, None), (2, Some(dead.clone()))],
        ..keep("alice")
    };
    store.commit_and_wait(commit).unwrap();
    let stored = load(&store, "alice");
    assert_eq!(stored.timers, [timer("b", 7)]);
    assert_eq!(stored.sends, [dead]);

    let commit = EntityCommit {
        timers: vec![("b".to_owned(), None)],
        sends: vec![(2, None)],
        ..keep("alice")
    };
    store.commit_and_wait(commit).unwrap();
    assert_eq!(store.load(&counter("alice")).unwrap(), None);
}

#[test]
fn a_commit_with_timers_messages_and_a_wake_is_all_or_nothing() {
    let (store, dir) = new_store();
    let length = || used(&fs::read(journal(dir.path())).unwrap());
    let after = |store: &Store| (store.load(&counter("alice")).unwrap(), wakes(store));
    store
        .commit_and_wait(busy("alice", 1, woken(None, 1)))
        .unwrap();
    let (first, first_bytes) = (after(&store), length());
    let replaces = EntityCommit {
        timers: vec![("tick".to_owned(), None), set("tock", 2)],
        sends: vec![(1, None), sent(2)],
        ..busy("alice", 2, woken(1, 2))
    };
    store.commit_and_wait(replaces).unwrap();
    let (second, second_bytes) = (after(&store), length());
    assert_ne!(first, second);

    let image = crash_image(dir.path());
    trim_journal(image.path());
    for cut in (first_bytes..second_bytes).step_by(61) {
        let torn = crash_image(image.path());
        let file = fs::OpenOptions::new()
            .write(true)
            .open(journal(torn.path()))
            .unwrap();
        file.set_len(cut as u64).unwrap();
        let torn = Store::open(torn.path(), accept_loss()).unwrap();
        assert_eq!(after(&torn), first, "{cut}");
    }
    assert_eq!(after(&open(image.path()).unwrap()), second);
}

#[test]
fn a_store_reopens_with_timers_messages_and_wakes_from_its_journal_and_from_its_tables() {
    let (store, dir) = new_store();
    let numbers = 1..=30;
    for number in numbers.clone() {
        let commit = busy(&number.to_string(), number, woken(None, number));
        store.commit_and_wait(commit).unwrap();
    }
    let check = |dir: &Path| {
        let store = open(dir).unwrap();
        for number in numbers.clone() {
            let stored = load(&store, &number.to_string());
            assert_eq!(stored.state, Some(state(&number.to_string())));
            assert_eq!(stored.timers, [timer("tick", number)]);
            assert_eq!(stored.sends, [send(number)]);
            assert_eq!(wake_ms(&stored.timers, &stored.sends), Some(number));
        }
        let expected = numbers.clone().map(|due| (due, counter(&due.to_string())));
        assert!(wakes(&store).into_iter().eq(expected));
    };
    check(crash_image(dir.path()).path());
    // From here on, a compaction might change the files while they are copied.
    store.engine().flush_to_tables();
    drop(store);
    check(dir.path());
}

#[test]
fn wakes_come_in_order_and_in_pages_up_to_a_time() {
    let (store, _dir) = new_store();
    let zone = EntityId::new(kind("zone"), "a\0").unwrap();
    let all = [
        (0, counter("bob")),
        (5, counter("alice")),
        (5, counter("bob")),
        (5, zone.clone()),
        (256, counter("alice")),
        (u64::MAX, zone),
    ];
    for (due_ms, entity) in all.iter().rev() {
        let commit = EntityCommit {
            wake: woken(None, *due_ms),
            ..EntityCommit::new(entity.clone())
        };
        store.commit_and_wait(commit).unwrap();
    }
    for (until_ms, count) in [(0, 1), (4, 1), (5, 4), (255, 4), (256, 5), (u64::MAX, 6)] {
        for limit in 1..=all.len() + 1 {
            let mut walked = Vec::new();
            loop {
                let page = store
                    .wakes(walked.last().cloned(), until_ms, limit)
                    .unwrap();
                let ended = page.len() < limit;
                assert!(page.len() <= limit);
                walked.extend(page);
                if ended {
                    break;
                }
            }
            assert_eq!(walked, all[..count], "until {until_ms}, {limit} at a time");
        }
    }
    let behind = |after, until_ms| store.wakes(Some(after), until_ms, 10).unwrap();
    assert_eq!(
        behind((5, counter("az")), 5),
        all[2..4],
        "a cursor need not exist"
    );
    assert!(behind((256, counter("alice")), 5).is_empty());
    assert!(store.wakes(None, u64::MAX, 0).unwrap().is_empty());
}

#[test]
fn a_wake_moves_goes_and_is_not_written_if_nothing_changes() {
    let (store, _dir) = new_store();
    let rewake = |wake| {
        let commit = EntityCommit {
            wake,
            ..keep("alice")
        };
        store.commit_and_wait(commit).unwrap();
        let rows = wakes(&store).into_iter();
        rows.map(|(due_ms, entity)| {
            assert_eq!(entity, counter("alice"));
            due_ms
        })
        .collect::<Vec<_>>()
    };
    assert!(rewake(woken(7, 7)).is_empty(), "nothing was written");
    assert_eq!(rewake(woken(None, 5)), [5]);
    assert_eq!(rewake(woken(5, 5)), [5]);
    assert_eq!(rewake(woken(5, 9)), [9]);
    assert_eq!(rewake(woken(None, None)), [9]);
    assert!(rewake(woken(9, None)).is_empty());
    assert_eq!(store.load(&counter("alice")).unwrap(), None, "only a hint");
}

#[test]
fn deleting_removes_timers_messages_and_the_wake_and_nothing_of_others() {
    let (store, _dir) = new_store();
    for key in ["alice", "alic", "alice\0", "alicea"] {
        store.commit_and_wait(busy(key, 1, woken(None, 1))).unwrap();
    }
    let delete = EntityCommit {
        wake: woken(1, None),
        ..EntityCommit::delete(counter("alice"))
    };
    store.commit_and_wait(delete).unwrap();
    assert_eq!(store.load(&counter("alice")).unwrap(), None);
    let others = ["alic", "alice\0", "alicea"];
    for key in others {
        let stored = load(&store, key);
        assert_eq!((stored.timers.len(), stored.sends.len()), (1, 1), "{key:?}");
    }
    assert_eq!(wakes(&store), others.map(|key| (1, counter(key))));

    // What the commit itself sets and sends is written after that.
    let anew = EntityCommit {
        state: StateChange::Delete,
        timers: vec![set("tock", 2)],
        sends: vec![sent(2)],
        wake: woken(1, 2),
        ..keep("alic")
    };
    store.commit_and_wait(anew).unwrap();
    let stored = load(&store, "alic");
    assert_eq!((stored.state, stored.idempotency.len()), (None, 0));
    assert_eq!(stored.timers, [timer("tock", 2)]);
    assert_eq!(stored.sends, [send(2)]);
    assert!(wakes(&store).contains(&(2, counter("alic"))));
}

#[test]
fn within_one_group_later_timers_messages_and_wakes_count() {
    let (store, dir) = new_store();
    store
        .commit_and_wait(busy("carol", 1, woken(None, 1)))
        .unwrap();
    let release = hold_the_committer(&store);
    let commits = [
        // Set, set anew, removed and set once more.
        busy("alice", 1, woken(None, 1)),
        busy("alice", 2, woken(1, 2)),
        EntityCommit {
            timers: vec![("tick".to_owned(), None)],
            sends: vec![(1, None)],
            wake: woken(2, 1),
            ..keep("alice")
        },
        // Written and removed by the same group.
        busy("bob", 3, woken(None, 3)),
        EntityCommit {
            wake: woken(3, None),
            ..EntityCommit::delete(counter("bob"))
        },
        // Stored before, deleted and written again.
        EntityCommit {
            wake: woken(1, None),
            ..EntityCommit::delete(counter("carol"))
        },
        busy("carol", 4, woken(None, 1)),
        // The same name and number twice in one commit.
        EntityCommit {
            timers: vec![set("tick", 1), set("tick", 2), ("tock".to_owned(), None)],
            sends: vec![sent(1), (1, None), (1, Some(send(1)))],
            ..keep("dave")
        },
    ];
    let answers = commits.map(|commit| queue(&store, commit));
    drop(release);
    for answer in answers {
        answer.recv().unwrap().unwrap();
    }
    assert_eq!(
        store.stats().groups,
        3,
        "carol, the gate and all the others"
    );

    let check = |store: &Store| {
        let alice = load(store, "alice");
        assert_eq!(alice.state, Some(state("2")));
        assert_eq!((alice.timers, alice.sends), (vec![], vec![send(2)]));
        assert_eq!(store.load(&counter("bob")).unwrap(), None);
        let carol = load(store, "carol");
        assert_eq!(carol.state, Some(state("4")));
        assert_eq!(carol.idempotency, [command("4")]);
        assert_eq!(carol.timers, [timer("tick", 4)]);
        assert_eq!(carol.sends, [send(4)]);
        let dave = load(store, "dave");
        assert_eq!(dave.timers, [timer("tick", 2)]);
        assert_eq!(dave.sends, [send(1)]);
        assert_eq!(wakes(store), [(1, counter("alice")), (1, counter("carol"))]);
    };
    check(&store);
    check(&open(crash_image(dir.path()).path()).unwrap());
}

#[test]
fn a_timer_or_message_that_is_too_large_is_refused_by_its_name() {
    let (store, _dir) = new_store();
    let large = Payload(vec![0; entia_protocol::record::BODY_BYTES_MAX]);
    let longest = "n".repeat(TimerRecord::NAME_BYTES_MAX);
    let mut heavy_timer = timer("tick", 1);
    heavy_timer.payload = large.clone();
    let mut heavy_send = send(7);
    heavy_send.arguments = large;
    for (commit, subject) in [
        (
            EntityCommit {
                timers: vec![(format!("{longest}n"), None)],
                ..put("alice", "one")
            },
            "the name of a timer of counter/alice",
        ),
        (
            EntityCommit {
                timers: vec![("tick".to_owned(), Some(heavy_timer))],
                ..put("alice", "one")
            },
            "the timer `tick` of counter/alice",
        ),
        (
            EntityCommit {
                sends: vec![(7, Some(heavy_send))],
                ..put("alice", "one")
            },
            "message 7 of counter/alice",
        ),
    ] {
        let error = store.commit_and_wait(commit).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains(subject), "{error}");
        assert_eq!(store.load(&counter("alice")).unwrap(), None);
    }
    let commit = EntityCommit {
        timers: vec![set(&longest, 1)],
        ..keep("alice")
    };
    store.commit_and_wait(commit).unwrap();
    assert_eq!(load(&store, "alice").timers, [timer(&longest, 1)]);
}

#[test]
fn timers_messages_and_wakes_count_against_the_queue() {
    const PAYLOAD_BYTES: usize = 10_000;
    let cost = |commit: EntityCommit| Change::Entity(Box::new(commit)).cost_bytes();
    let nothing = cost(keep("alice"));
    let mut heavy_timer = timer("tick", 1);
    heavy_timer.payload = Payload(vec![0; PAYLOAD_BYTES]);
    let timers = EntityCommit {
        timers: vec![("tick".to_owned(), Some(heavy_timer))],
        ..keep("alice")
    };
    assert!(cost(timers) > nothing + PAYLOAD_BYTES);
    let mut heavy_send = send(1);
    heavy_send.arguments = Payload(vec![0; PAYLOAD_BYTES]);
    let sends = EntityCommit {
        sends: vec![(1, Some(heavy_send))],
        ..keep("alice")
    };
    assert!(cost(sends) > nothing + PAYLOAD_BYTES);
    let removed = EntityCommit {
        timers: vec![("tick".to_owned(), None)],
        sends: vec![(1, None)],
        ..keep("alice")
    };
    assert!(cost(removed) > nothing);
    let wake = |wake| EntityCommit {
        wake,
        ..keep("alice")
    };
    assert!(cost(wake(woken(1, 2))) > nothing);
    assert_eq!(cost(wake(woken(1, 1))), nothing);
}
