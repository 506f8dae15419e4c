use entia_protocol::{Payload, Rejection};
use entia_wasm::Outgoing;

use super::*;

fn entity(text: &str) -> EntityId {
    text.parse().unwrap()
}

fn outgoing(target: &str, key: u8) -> Outgoing {
    Outgoing {
        target: entity(target),
        method: "deposit".into(),
        arguments: Payload(vec![0; 10]),
        key: CommandKey::Derived([key; 16]),
    }
}

fn timer(name: &str, due_ms: u64, period_ms: Option<u64>) -> TimerRecord {
    TimerRecord {
        name: name.into(),
        due_ms,
        period_ms,
        fire: 1,
        key: CommandKey::Derived([9; 16]),
        payload: Payload::default(),
    }
}

/// An agenda with messages to these targets, keyed from 1, that came with commit 1 at the time 1,000.
fn sent(targets: &[&str]) -> Agenda {
    let mut agenda = Agenda::default();
    let sends = targets
        .iter()
        .zip(1..)
        .map(|(target, key)| outgoing(target, key))
        .collect();
    let effects = Effects {
        sends,
        timers: BTreeMap::new(),
    };
    agenda.apply(&entity("account/me"), effects, 1_000, 1);
    agenda
}

/// A timer as a turn sets it.
fn set(timer: TimerRecord) -> (String, Option<TimerRecord>) {
    (timer.name.clone(), Some(timer))
}

fn keys(departures: &[Departure]) -> Vec<(u8, u32)> {
    let key = |departure: &Departure| match departure.send.key {
        CommandKey::Derived(key) => (key[0], departure.attempt),
        _ => unreachable!("tests derive keys"),
    };
    departures.iter().map(key).collect()
}

fn answered(
    agenda: &mut Agenda,
    number: u64,
    outcome: Result<(), CallError>,
    now_ms: u64,
) -> Delivered {
    let key = CommandKey::Derived([number as u8; 16]);
    agenda.delivered(number, &key, outcome, now_ms)
}

fn refused() -> CallError {
    CallError::Rejected(Rejection {
        code: "closed".into(),
        message: "the account is closed".into(),
        data: None,
    })
}

#[test]
fn a_message_leaves_only_after_the_commit_that_it_came_with() {
    let mut agenda = sent(&["account/a"]);
    assert!(agenda.depart(1_000, 0).is_empty());
    assert_eq!(keys(&agenda.depart(1_000, 1)), [(1, 1)]);
    assert!(agenda.depart(9_000, 1).is_empty(), "it is in flight");
    assert!(agenda.in_flight());
}

#[test]
fn messages_to_one_target_leave_in_order_and_others_do_not_wait_for_them() {
    let mut agenda = sent(&["account/a", "account/b", "account/a"]);
    assert_eq!(keys(&agenda.depart(1_000, 1)), [(1, 1), (2, 1)]);
    assert_eq!(answered(&mut agenda, 1, Ok(()), 1_001), Delivered::Done);
    assert_eq!(keys(&agenda.depart(1_001, 1)), [(3, 1)]);
    assert_eq!(answered(&mut agenda, 3, Ok(()), 1_002), Delivered::Done);
    assert_eq!(answered(&mut agenda, 2, Ok(()), 1_002), Delivered::Done);
    assert_eq!(agenda.pending(), (0, 0));
    assert_eq!(agenda.next_ms(), None);
}

#[test]
fn a_message_without_an_answer_is_tried_again_later_and_holds_back_those_behind_it() {
    let mut agenda = sent(&["account/a", "account/a"]);
    let mut now_ms = 1_000;
    for (attempt, wait_ms) in [(1, 100), (2, 200), (3, 400)] {
        assert_eq!(keys(&agenda.depart(now_ms, 1)), [(1, attempt)]);
        let lost = CallError::DeadlineExceeded { may_have_run: true };
        assert_eq!(
            answered(&mut agenda, 1, Err(lost), now_ms),
            Delivered::Again
        );
        assert_eq!(agenda.next_ms(), Some(now_ms + wait_ms));
        assert!(agenda.depart(now_ms + wait_ms - 1, 1).is_empty());
        now_ms += wait_ms;
    }
    agenda.depart(now_ms, 1);
    let busy = CallError::Overloaded {
        queue: "its mailbox".into(),
        retry_after_ms: 5_000,
    };
    answered(&mut agenda, 1, Err(busy), now_ms);
    assert_eq!(agenda.next_ms(), Some(now_ms + 5_000), "as it asked");
}

#[test]
fn a_refusal_or_a_day_without_an_answer_makes_a_dead_letter() {
    let mut agenda = sent(&["account/a", "account/b"]);
    agenda.depart(1_000, 1);
    let Delivered::Dead(dead) = answered(&mut agenda, 1, Err(refused()), 2_000) else {
        panic!("a refusal is final")
    };
    assert_eq!(dead.dead.unwrap().code, "rejected");
    let gone = || CallError::UnknownKind {
        kind: "account".into(),
        known: Vec::new(),
    };
    let day_ms = SendRecord::AGE_MS_MAX;
    assert_eq!(
        answered(&mut agenda, 2, Err(gone()), 999 + day_ms),
        Delivered::Again
    );
    agenda.depart(u64::MAX, 1);
    let Delivered::Dead(_) = answered(&mut agenda, 2, Err(gone()), 1_000 + day_ms) else {
        panic!("a day is enough")
    };
    let summary = agenda.summary().unwrap();
    assert_eq!((summary.sends_pending, summary.dead.len()), (0, 2));
}

#[test]
fn dead_letters_are_bounded_and_the_oldest_go() {
    let mut agenda = Agenda::default();
    for number in 1..=SendRecord::DEAD_MAX as u64 + 1 {
        let effects = Effects {
            sends: vec![outgoing("account/a", number as u8)],
            timers: BTreeMap::new(),
        };
        agenda.apply(&entity("account/me"), effects, 1_000, 0);
        agenda.depart(1_000, 0);
        answered(&mut agenda, number, Err(refused()), 1_000);
    }
    let dead = agenda.summary().unwrap().dead;
    assert_eq!(dead.len(), SendRecord::DEAD_MAX);
    assert_eq!(dead[0].number, 2);
}

#[test]
fn dead_letters_are_bounded_by_their_bytes_too() {
    let mut agenda = Agenda::default();
    let large = SendRecord::DEAD_BYTES_MAX / 4;
    for number in 1..=6 {
        let mut letter = outgoing("account/a", number as u8);
        letter.arguments = Payload(vec![0; large]);
        let effects = Effects {
            sends: vec![letter],
            timers: BTreeMap::new(),
        };
        agenda.apply(&entity("account/me"), effects, 1_000, 0);
        agenda.depart(1_000, 0);
        answered(&mut agenda, number, Err(refused()), 1_000);
    }
    let dead = agenda.summary().unwrap().dead;
    let numbers: Vec<_> = dead.iter().map(|send| send.number).collect();
    assert_eq!(numbers, [3, 4, 5, 6]);
}

#[test]
fn an_answer_to_a_message_that_is_gone_changes_nothing() {
    let mut agenda = sent(&["account/a"]);
    agenda.depart(1_000, 1);
    let other = CommandKey::Derived([77; 16]);
    assert_eq!(
        agenda.delivered(1, &other, Ok(()), 1_000),
        Delivered::Unknown
    );
    assert_eq!(agenda.pending().0, 1);
}

#[test]
fn a_commit_gets_each_change_once_and_the_row_to_wake_by() {
    let me = entity("account/me");
    let mut agenda = sent(&["account/a"]);
    let mut commit = EntityCommit::new(me.clone());
    agenda.take_changes(&mut commit);
    assert_eq!(commit.sends.len(), 1);
    assert_eq!(
        (commit.wake.before, commit.wake.after),
        (None, Some(1_000)),
        "after a crash it has to be delivered"
    );
    assert!(!agenda.has_changes());

    agenda.depart(1_000, 1);
    answered(&mut agenda, 1, Ok(()), 1_500);
    let mut commit = EntityCommit::new(me);
    agenda.take_changes(&mut commit);
    assert_eq!(commit.sends, [(1, None)]);
    assert_eq!((commit.wake.before, commit.wake.after), (Some(1_000), None));
}

#[test]
fn what_was_restored_goes_on_where_it_was() {
    let mut before = sent(&["account/a", "account/b"]);
    let effects = Effects {
        sends: Vec::new(),
        timers: BTreeMap::from([set(timer("tick", 5_000, Some(1_000)))]),
    };
    before.apply(&entity("account/me"), effects, 1_000, 1);
    let mut commit = EntityCommit::new(entity("account/me"));
    before.take_changes(&mut commit);
    let timers = commit.timers.into_iter().filter_map(|(_, timer)| timer);
    let sends = commit.sends.into_iter().filter_map(|(_, send)| send);
    let mut agenda = Agenda::restore(timers.collect(), sends.collect());
    assert_eq!(agenda.wake_on_disk(), Some(1_000));
    assert_eq!(keys(&agenda.depart(2_000, 0)), [(1, 1), (2, 1)]);
    assert!(agenda.timers().contains_key("tick"));
}

#[test]
fn timers_fire_the_longest_due_first_and_a_cancelled_one_not_at_all() {
    let me = entity("room/me");
    let mut agenda = Agenda::default();
    let effects = |timers| Effects {
        sends: Vec::new(),
        timers,
    };
    let timers = BTreeMap::from([
        set(timer("late", 2_000, None)),
        set(timer("early", 1_500, Some(100))),
        set(timer("never", 1_000, None)),
    ]);
    agenda.apply(&me, effects(timers), 500, 0);
    let ended = BTreeMap::from([("never".to_owned(), None)]);
    agenda.apply(&me, effects(ended), 500, 0);
    assert_eq!(agenda.next_ms(), Some(1_500));
    assert_eq!(agenda.due_timer(1_499), None);
    assert_eq!(agenda.due_timer(3_000).unwrap().name, "early");
    agenda.fired("early", &CommandKey::Derived([9; 16]), 1_520);
    assert_eq!(agenda.next_ms(), Some(1_600));
    agenda.fired("late", &CommandKey::Derived([9; 16]), 2_000);
    assert!(!agenda.timers().contains_key("late"));
}

#[test]
fn a_fire_of_a_timer_that_was_set_anew_does_not_end_the_new_one() {
    let me = entity("room/me");
    let mut agenda = Agenda::default();
    let mut anew = timer("tick", 9_000, None);
    anew.key = CommandKey::Derived([10; 16]);
    let effects = Effects {
        sends: Vec::new(),
        timers: BTreeMap::from([set(anew)]),
    };
    agenda.apply(&me, effects, 500, 0);
    agenda.fired("tick", &CommandKey::Derived([9; 16]), 1_000);
    assert_eq!(agenda.next_ms(), Some(9_000));
}

#[test]
fn a_second_answer_is_not_taken_for_the_answer_to_the_next_message() {
    let mut agenda = sent(&["account/a", "account/a", "account/a"]);
    agenda.depart(1_000, 1);
    let Delivered::Dead(_) = answered(&mut agenda, 1, Err(refused()), 1_000) else {
        panic!("a refusal is final")
    };
    assert_eq!(keys(&agenda.depart(1_001, 1)), [(2, 1)]);
    assert_eq!(
        answered(&mut agenda, 1, Err(refused()), 1_002),
        Delivered::Unknown
    );
    assert_eq!(answered(&mut agenda, 2, Ok(()), 1_003), Delivered::Done);
    assert_eq!(keys(&agenda.depart(1_004, 1)), [(3, 1)]);
}

#[test]
fn a_message_that_its_target_may_have_forgotten_does_not_leave_again() {
    let mut agenda = sent(&["account/a", "account/b"]);
    let day_later = 1_000 + SendRecord::AGE_MS_MAX;
    let expired = agenda.expire(day_later);
    assert_eq!(expired.len(), 2);
    assert_eq!(expired[0].dead.as_ref().unwrap().code, "expired");
    assert!(agenda.depart(day_later, 1).is_empty());
    assert_eq!(agenda.pending(), (0, 0));
}

#[test]
fn a_long_wait_for_the_next_try_is_not_in_the_index() {
    let mut agenda = sent(&["account/a"]);
    agenda.depart(1_000, 1);
    let busy = CallError::Overloaded {
        queue: "its mailbox".into(),
        retry_after_ms: 60_000,
    };
    answered(&mut agenda, 1, Err(busy), 1_000);
    assert_eq!(agenda.next_ms(), Some(61_000));
    assert_eq!(agenda.index_ms(), Some(1_000), "so the heap has to wake it");
}

#[test]
fn a_kind_in_memory_forgets_on_disk_what_was_delivered_from_there() {
    let mut before = sent(&["account/a", "account/b"]);
    let mut commit = EntityCommit::new(entity("account/me"));
    before.take_changes(&mut commit);
    let sends = commit.sends.into_iter().filter_map(|(_, send)| send);
    let mut agenda = Agenda::restore(Vec::new(), sends.collect());
    agenda.depart(2_000, 0);
    let mut commit = EntityCommit::new(entity("account/me"));
    assert!(!agenda.take_done(&mut commit), "none is delivered yet");
    answered(&mut agenda, 1, Ok(()), 2_001);
    assert!(agenda.take_done(&mut commit));
    assert_eq!(commit.sends, [(1, None)]);
    assert!(!agenda.take_done(&mut commit), "once");
}
