//! Any inputs in any order: what is counted stays right, nothing runs twice, and in the end everything is said.

use super::*;
use std::collections::BTreeSet;

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

struct Chaos {
    story: Story,
    dice: Dice,
    /// Calls as they were sent: they may come again at any time.
    sent: Vec<Call>,
    next: BTreeMap<(ShardId, Epoch), u64>,
    handoffs: BTreeMap<ShardId, HandoffId>,
    /// Messages as they came: they may come again at any time, too.
    heard: Vec<Message>,
    ended: BTreeSet<TurnId>,
}

const ENTITIES: [&str; 6] = [
    "note/a",
    "note/b",
    "note/c",
    "account/a",
    "account/b",
    "tick/0",
];

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut story = Story::with_workers(1);
        story.settings.bounds.activations_max = 5;
        story.settings.bounds.mailbox_max = 3;
        story.settings.bounds.loading_max = 2;
        story.settings.timing.idle = Duration::from_millis(300);
        Self {
            story,
            dice: Dice(seed),
            sent: Vec::new(),
            next: BTreeMap::new(),
            handoffs: BTreeMap::new(),
            heard: Vec::new(),
            ended: BTreeSet::new(),
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.dice.roll(below as u64) as usize
    }

    fn step(&mut self) {
        match self.pick(16) {
            0..=3 => self.call(),
            4 if !self.sent.is_empty() => {
                let again = self.pick(self.sent.len());
                let call = self.sent[again].clone();
                self.story.message(2, Message::Call(call));
            }
            5..=8 => self.end_turn(),
            9 | 10 => self.story.commit(),
            11 => self.story.lose_lease(),
            12 => self.story.renew_lease(),
            13 => {
                let ms = self.dice.roll(400);
                self.story.pass(ms);
            }
            14 => self.move_shard(),
            _ if !self.heard.is_empty() => {
                let again = self.pick(self.heard.len());
                let message = self.heard[again].clone();
                self.story.message(3, message);
            }
            _ => self.story.slow ^= true,
        }
        if !self.story.slow {
            self.find();
        }
    }

    fn find(&mut self) {
        for (id, shard, entity) in std::mem::take(&mut self.story.finds) {
            let record = self.story.records.get(&(shard, entity)).cloned();
            self.story
                .input(|host, cx| host.handle_found::<()>(cx, id, Ok(record)));
        }
    }

    fn call(&mut self) {
        let entity = ENTITIES[self.pick(ENTITIES.len())];
        let mut call = self.story.numbered(entity, 0);
        let next = self.next.entry((call.shard, call.epoch)).or_insert(1);
        call.seq = *next;
        *next += 1;
        let mut envelope = envelope(entity, call.seq);
        if self.dice.roll(3) == 0 {
            envelope.chain = vec![id("note/caller")];
        }
        call.envelope = Arc::new(envelope);
        call.left_ms = 1 << 40;
        self.sent.push(call.clone());
        // One in four is lost, and comes when it is sent again.
        if self.dice.roll(4) > 0 {
            self.story.message(2, Message::Call(call));
        }
    }

    fn end_turn(&mut self) {
        let runs = self.story.runs.iter().map(|run| run.0);
        let running: Vec<_> = runs.filter(|turn| !self.ended.contains(turn)).collect();
        if running.is_empty() {
            return;
        }
        let turn = running[self.pick(running.len())];
        self.ended.insert(turn);
        let mut ends = match self.pick(4) {
            0 => trapped(),
            1 => outcome(None),
            _ => outcome(Some("state")),
        };
        if self.dice.roll(4) == 0
            && let Some(draft) = &mut ends.record
        {
            draft.wake_ms = Some(self.story.now.utc_ms + self.dice.roll(200));
            draft.deleted = self.dice.roll(5) == 0;
        }
        ends.next_step = Some(Duration::from_millis(50));
        self.story.end_with(turn, ends);
    }

    fn move_shard(&mut self) {
        let kind = ["note", "account", "tick"][self.pick(3)];
        let shard = self.story.shard(kind);
        if let Some(handoff) = self.handoffs.remove(&shard) {
            return self.story.abort(handoff, shard);
        }
        let order = self.story.order(shard);
        if self.dice.roll(2) == 0 {
            self.story.message(3, Message::Precopy(order.clone()));
            self.heard.push(Message::Precopy(order.clone()));
        }
        let handoff = self.story.begin_handoff(shard);
        self.heard.push(Message::BeginHandoff { handoff, order });
        self.handoffs.insert(shard, handoff);
    }

    /// No more faults: everything that was sent is sent until it is answered or moved.
    fn settle(&mut self) {
        self.story.slow = false;
        self.find();
        self.story.renew_lease();
        for (shard, handoff) in std::mem::take(&mut self.handoffs) {
            self.story.abort(handoff, shard);
        }
        for _ in 0..3 {
            for call in self.sent.clone() {
                self.story.message(2, Message::Call(call));
            }
            for _ in 0..200 {
                self.end_turn();
                self.story.commit();
            }
        }
    }
}

#[test]
fn whatever_comes_each_call_runs_at_most_once_and_is_answered_or_moved() {
    for seed in 0..60 {
        let mut chaos = Chaos::new(seed);
        for _ in 0..150 {
            chaos.step();
        }
        chaos.settle();
        let (story, sent) = (&chaos.story, &chaos.sent);
        let mut said = BTreeSet::new();
        for (_, message) in &story.sent {
            match message {
                Message::Reply(reply) => said.insert((reply.shard, reply.epoch, reply.seq)),
                Message::Moved {
                    shard, epoch, seq, ..
                } => said.insert((*shard, *epoch, *seq)),
                _ => continue,
            };
        }
        for call in sent {
            let name = (call.shard, call.epoch, call.seq);
            assert!(said.contains(&name), "seed {seed}: {name:?} has no answer");
            let runs = story.runs.iter().filter(
                |(.., input)| matches!(input, Input::Call(ran) if Arc::ptr_eq(ran, &call.envelope)),
            );
            assert!(runs.count() <= 1, "seed {seed}: {name:?} ran twice");
        }
        let lengths = story.host.lengths();
        assert_eq!(
            (lengths.appending, lengths.loading, lengths.early),
            (0, 0, 0),
            "seed {seed}"
        );
    }
}
