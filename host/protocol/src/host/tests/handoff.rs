//! A shard moves away, or does not.

use super::*;
use crate::cluster::{Chunk, Mutant};

/// The chunks that were sent so far; they are acknowledged.
fn ship(story: &mut Story) -> Vec<Arc<Chunk>> {
    let mut all: Vec<Arc<Chunk>> = Vec::new();
    loop {
        let chunks = story.sent.iter().filter_map(|(_, message)| match message {
            Message::Chunk(chunk) => Some(Arc::clone(chunk)),
            _ => None,
        });
        let fresh: Vec<_> = chunks.filter(|chunk| !all.contains(chunk)).collect();
        if fresh.is_empty() {
            return all;
        }
        for chunk in fresh {
            let acked = Message::ChunkAcked {
                transfer: chunk.transfer,
                shard: chunk.shard,
                part: chunk.part,
            };
            all.push(chunk);
            story.message(2, acked);
        }
    }
}

fn texts(chunks: &[Arc<Chunk>]) -> Vec<(String, String)> {
    let records = chunks.iter().flat_map(|chunk| &chunk.records);
    let text = |record: &StoredRecord| String::from_utf8(record.record.bytes.0.to_vec()).unwrap();
    records
        .map(|r| (r.entity.key().to_owned(), text(r)))
        .collect()
}

#[test]
fn a_drain_moves_what_waits_ends_what_runs_and_then_acknowledges() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.call("note/a", 1);
    story.call("note/a", 2);
    story.chained("note/b", 3);
    story.chained("note/a", 4);
    let (a, b) = (story.runs[0].0, story.runs[1].0);
    story.begin_handoff(shard);
    story.call("note/c", 5);
    assert_eq!(story.moved(), [2, 5]);
    story.chained("note/c", 6);
    story.end(a, Some("one"));
    story.end(b, Some("three"));
    assert_eq!(story.ran(), ["1", "3", "6", "4"]);
    assert_eq!(story.acked(), 0);
    let (six, four) = (story.runs[2].0, story.runs[3].0);
    story.end(six, None);
    story.end(four, Some("four"));
    assert_eq!(story.acked(), 1);
    story.chained("note/a", 7);
    assert_eq!(
        story.moved(),
        [2, 5, 7],
        "after the acknowledgement nothing runs"
    );
    let replies = pairs(&[(1, "one"), (3, "three"), (6, "read"), (4, "four")]);
    assert_eq!(story.replies(), replies);
    let end = ship(&mut story).last().unwrap().end;
    assert!(end.is_some());
}

#[test]
fn a_drain_waits_for_commits() {
    let mut story = Story::new();
    let shard = story.shard("account");
    story.call("account/a", 1);
    story.end(story.turn(), Some("one"));
    story.begin_handoff(shard);
    assert_eq!(story.acked(), 0);
    story.commit();
    assert_eq!(story.replies(), pairs(&[(1, "one")]));
    assert_eq!(story.acked(), 1);
    assert_eq!(texts(&ship(&mut story)), [("a".into(), "one".into())]);
}

#[test]
fn turns_that_take_too_long_are_interrupted_and_leave_no_trace() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.call("note/a", 1);
    story.end(story.turn(), Some("one"));
    story.call("note/a", 2);
    story.chained("note/a", 3);
    let turn = story.turn();
    story.begin_handoff(shard);
    story.pass(999);
    assert_eq!(story.acked(), 0);
    story.pass(1);
    assert_eq!(story.replies(), pairs(&[(1, "one"), (2, "interrupted")]));
    assert_eq!((story.moved(), story.acked()), (vec![3], 1));
    assert_eq!(story.discarded, [id("note/a")]);
    story.end(turn, Some("two"));
    assert_eq!(texts(&ship(&mut story)), [("a".into(), "one".into())]);
}

#[test]
fn a_handoff_that_is_ordered_again_is_acknowledged_again() {
    for (mutant, acked) in [(None, 2), (Some(Mutant::NoReAck), 1)] {
        let mut story = Story::new();
        story.settings.mutant = mutant;
        let shard = story.shard("note");
        let handoff = story.begin_handoff(shard);
        let order = story.order(shard);
        story.message(3, Message::BeginHandoff { handoff, order });
        assert_eq!(story.acked(), acked);
    }
}

#[test]
fn a_complete_handoff_drops_everything_and_remembers_its_last_replies() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.call("note/a", 1);
    story.end(story.turn(), Some("one"));
    let first = story.numbered("note/a", 1);
    let handoff = story.begin_handoff(shard);
    story.complete(handoff, shard);
    assert_eq!(story.host.activations().count(), 1, "only the other kind's");
    assert_eq!(story.discarded, [id("note/a")]);
    let stamp = story.control.shards[&shard].since;
    assert_eq!(story.forgotten, [(shard, stamp)]);
    assert_eq!(story.host.lengths().shipments, 0);

    story.forget();
    story.message(2, Message::Call(first.clone()));
    assert_eq!(story.replies(), pairs(&[(1, "one")]));
    story.pass(story.settings.timing.handoff.as_millis() as u64);
    story.message(2, Message::Call(first));
    assert_eq!(story.moved(), [1]);
}

#[test]
fn an_aborted_handoff_goes_on_under_the_new_epoch_with_what_was_in_memory() {
    let mut story = Story::new();
    let shard = story.shard("account");
    story.call("account/a", 1);
    story.end(story.turn(), Some("one"));
    story.commit();
    let old = story.numbered("account/a", 1);
    let handoff = story.begin_handoff(shard);
    story.abort(handoff, shard);
    let epoch = story.epoch(shard);
    assert!(epoch > old.epoch);
    let started = Message::Started {
        shards: vec![(shard, epoch)],
    };
    assert!(story.sent.contains(&(NodeId(3), started)));
    assert_eq!(story.host.serving(shard), Some(epoch));

    story.forget();
    story.call("account/a", 1);
    story.end(story.turn(), Some("two"));
    assert_eq!(story.activated, [], "the instance is still there");
    let (.., record) = &story.appends[0];
    assert_eq!(record.age(), (epoch, 2));
    story.commit();
    assert_eq!(story.replies(), pairs(&[(1, "two")]));
}

#[test]
fn what_ran_under_an_epoch_is_answered_under_it_after_an_abort() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.call("note/a", 1);
    let (old, turn) = (story.numbered("note/a", 1), story.turn());
    let moved = story.numbered("note/b", 2);
    let handoff = story.begin_handoff(shard);
    story.message(2, Message::Call(moved.clone()));
    story.abort(handoff, shard);
    story.end(turn, Some("one"));
    assert_eq!(story.replies(), pairs(&[(1, "one")]));
    story.message(2, Message::Call(old));
    assert_eq!(story.replies(), pairs(&[(1, "one"), (1, "one")]));
    story.message(2, Message::Call(moved));
    assert_eq!(story.moved(), [2, 2]);
    assert_eq!(story.ran(), ["1"]);
}

#[test]
fn a_dead_target_gives_the_shard_back() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.begin_handoff(shard);
    assert_eq!(story.host.serving(shard), None);
    let member = story.home(2);
    story.apply(Command::Down { member });
    assert_eq!(story.host.serving(shard), Some(story.epoch(shard)));
}

#[test]
fn a_precopy_ships_what_there_is_and_the_stop_phase_only_what_changed() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.settings.timing.idle = Duration::from_millis(10);
    for (seq, entity) in [(1, "note/a"), (2, "note/b")] {
        story.call(entity, seq);
        story.end(story.turn(), Some("old"));
    }
    story.pass(20);
    story.call("note/c", 3);
    story.end(story.turn(), Some("live"));
    let order = story.order(shard);
    story.message(3, Message::Precopy(order.clone()));
    assert_eq!(ship(&mut story).len(), 2);
    let precopied = |(_, message): &&(_, Message)| matches!(message, Message::Precopied { .. });
    assert_eq!(story.sent.iter().filter(precopied).count(), 1);
    story.message(3, Message::Precopy(order));
    assert_eq!(story.sent.iter().filter(precopied).count(), 2, "told again");

    story.call("note/a", 4);
    story.end(story.turn(), Some("new"));
    story.forget();
    story.begin_handoff(shard);
    let rest = ship(&mut story);
    assert_eq!(texts(&rest), [("a".into(), "new".into())]);
    assert_eq!(rest.last().unwrap().end.map(|(parts, _)| parts), Some(3));
}

#[test]
fn a_precopy_of_what_is_not_here_or_not_from_the_coordinator_is_ignored() {
    let mut story = Story::new();
    let shard = story.shard("note");
    let order = story.order(shard);
    story.message(2, Message::Precopy(order.clone()));
    let mut stale = order.clone();
    stale.shards[0].1 = Epoch(1);
    story.message(3, Message::Precopy(stale));
    assert_eq!(story.host.lengths().shipments, 0);
    story.message(3, Message::Precopy(order));
    assert_eq!(story.host.lengths().shipments, 1);
    story.message(
        3,
        Message::HandoffAborted {
            term: TERM,
            index: Index(0),
            transfer: TRANSFER,
            shards: vec![shard],
        },
    );
    assert_eq!(story.host.lengths().shipments, 0);
}

#[test]
fn a_shard_that_was_taken_over_while_it_drained_is_dropped() {
    let mut story = Story::new();
    let shard = story.shard("note");
    story.call("note/a", 1);
    let handoff = story.begin_handoff(shard);
    story.complete(handoff, shard);
    let Ownership::Owned { home } = story.control.shards[&shard].ownership else {
        panic!("it is owned");
    };
    assert_eq!(home, story.home(2));
    assert_eq!(story.host.lengths().turns, 0);
    assert_eq!(story.replies(), []);
}

#[test]
fn a_source_that_runs_on_after_it_acknowledged_is_a_mutant() {
    let mut story = Story::new();
    story.settings.mutant = Some(Mutant::RunAfterAck);
    let shard = story.shard("note");
    story.begin_handoff(shard);
    story.call("note/a", 1);
    assert_eq!(story.ran(), ["1"]);
}

#[test]
fn a_shard_that_comes_is_installed_and_wakes_its_entities() {
    let mut story = Story::new();
    let shard = story.shard("note");
    let away = story.begin_handoff(shard);
    story.complete(away, shard);
    story.forget();
    let stamp = Epoch(story.control.applied.0);
    let order = ShardMove {
        term: TERM,
        transfer: TransferId {
            number: 2,
            ..TRANSFER
        },
        stamp,
        to: story.home(1),
        shards: vec![(shard, story.epoch(shard))],
    };
    let mut shipment = crate::transfer::Shipment::new(order.clone());
    let record = StoredRecord {
        entity: id("note/a"),
        epoch: story.epoch(shard),
        record: Record {
            version: 4,
            wake_ms: Some(story.now.utc_ms + 50),
            deleted: false,
            bytes: b"there".to_vec().into(),
        },
    };
    let index = story.apply(Command::BeginHandoff {
        transfer: order.transfer,
        stamp,
        from: story.home(2),
        to: story.home(1),
        shards: order.shards,
    });
    story.input(|_, cx| shipment.offer(cx, shard, vec![record], true));
    while let Some(action) = shipment.poll_action() {
        if let crate::transfer::Action::Send { message, .. } = action {
            story.message(2, message);
        }
    }
    let installed = |(_, message): &(_, _)| matches!(message, Message::Installed { .. });
    assert!(story.sent.iter().any(installed));
    assert_eq!(story.host.serving(shard), None);
    story.complete(HandoffId(index.0), shard);
    assert_eq!(story.host.serving(shard), Some(story.epoch(shard)));
    story.pass(50);
    assert_eq!(story.ran(), ["wake"]);
    let (.., record) = &story.activated[0];
    assert_eq!(record.as_ref().map(|record| record.version), Some(4));
}
