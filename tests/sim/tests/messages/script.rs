//! What clients do: the same in each run, whatever happens when.
//!
//! A client calls again only when it was answered, and asks again under the same key where the answer was an error. So what is
//! in the entities at the end does not depend on time, but for how the calls of several clients mix: [`Thread`] says which
//! serials have an order.

use std::collections::BTreeMap;
use std::sync::Arc;

use entia_protocol::cluster::{Instant, NodeId};
use entia_protocol::{CallError, Caller, CommandKey, EntityId, Envelope, KindName, Payload};
use entia_sim::executor::{Answer, Command};
use entia_sim::node::{OutCall, Ticket};
use entia_sim::plan::SpacePlan;
use entia_sim::seeded::{self, Rng};

/// Serials of one thread are in each entity in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thread {
    /// A client called, or an entity did while the client waited.
    Called(usize),
    /// One entity, by number, sent a message to another because of a client's call.
    Sent(usize, u64),
    /// A timer fired: that is in no order to anything.
    Fired(u64),
}

/// What is in an entity: by thread, because threads mix as they like.
pub(crate) type List = BTreeMap<Thread, Vec<u64>>;

/// What clients do in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Everything, of everybody.
    All,
    /// Everything, of entities that outlive the node that they are on.
    Durable,
    /// They let three entities wait for each other.
    Circles,
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Script {
    clients: Vec<Client>,
    /// By serial minus 1.
    threads: Vec<Thread>,
    /// What has to be there when everything is through.
    pub(crate) expected: BTreeMap<EntityId, List>,
    asked: BTreeMap<Ticket, usize>,
    last_ticket: Ticket,
}

#[derive(Debug)]
struct Client {
    /// What it will do.
    steps: Vec<(EntityId, Command)>,
    /// What it does, or does next.
    at: usize,
    attempts: u32,
    /// When it calls; nothing while it waits for an answer.
    due: Option<u64>,
}

const CLIENTS: usize = 9;
const STEPS: usize = 28;
const CHAINS: usize = 3;
/// From one answer to the next call: the script takes some four seconds.
const PAUSE: u64 = 140_000_000;
const ENTITIES: u64 = 5;
/// The nodes that clients are at. Nothing happens to these.
const NODES: u64 = 3;

impl Script {
    /// The script of a story.
    pub(crate) fn new(calls: Calls) -> Self {
        let mut script = Self {
            clients: Vec::new(),
            threads: Vec::new(),
            expected: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_ticket: 0,
        };
        for client in 0..CLIENTS {
            let mut rng = seeded::rng(4_711, client as u64);
            let mut steps = Vec::new();
            if calls == Calls::Circles {
                steps.extend((0..CHAINS).map(|step| script.link(client, client + step)));
            } else {
                steps.extend((0..STEPS).map(|_| script.draw(client, calls, &mut rng)));
                steps.extend(script.deletion(client));
            }
            let due = Some(200_000_000 + seeded::within(&mut rng, 0, PAUSE));
            let (at, attempts) = (0, 0);
            script.clients.push(Client { steps, at, attempts, due });
        }
        script
    }

    /// Whether all clients have done everything.
    pub(crate) fn done(&self) -> bool {
        let done = |client: &Client| client.at == client.steps.len();
        self.clients.iter().all(done)
    }

    /// How far each client is.
    pub(crate) fn progress(&self) -> Vec<usize> {
        self.clients.iter().map(|client| client.at).collect()
    }

    /// When the next client calls.
    pub(crate) fn due(&self) -> Option<u64> {
        self.clients.iter().filter_map(|client| client.due).min()
    }

    /// The calls that are due.
    pub(crate) fn calls(&mut self, now: u64) -> Vec<(NodeId, OutCall, Ticket)> {
        let mut calls = Vec::new();
        for (number, client) in self.clients.iter_mut().enumerate() {
            if client.due.is_some_and(|due| due <= now) {
                client.due = None;
                client.attempts += 1;
                let (entity, command) = &client.steps[client.at];
                let key = CommandKey::Client(format!("{number}-{}", client.at));
                self.last_ticket += 1;
                self.asked.insert(self.last_ticket, number);
                let node = NodeId(1 + number as u64 % NODES);
                let call = out_call(entity, command, (key, client.attempts), now);
                calls.push((node, call, self.last_ticket));
            }
        }
        calls
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, ticket: Ticket, answer: &Result<Payload, CallError>, now: u64) {
        let Some(number) = self.asked.remove(&ticket) else {
            return;
        };
        let client = &mut self.clients[number];
        let (_, command) = &client.steps[client.at];
        let traps = matches!(command, Command::Boom { .. });
        let right = match answer {
            Ok(_) => !traps,
            Err(CallError::Trapped { .. }) => traps,
            Err(_) => false,
        };
        if !right {
            client.due = Some(now + 20_000_000);
            return;
        }
        client.at += 1;
        client.attempts = 0;
        client.due = (client.at < client.steps.len()).then_some(now + PAUSE);
    }

    /// Sorts what an entity has into threads.
    pub(crate) fn threads(&self, serials: &[u64]) -> List {
        let mut list = List::new();
        // Workers' lists begin with a name of their own, and nobody calls workers here.
        for &serial in serials {
            let at = usize::try_from(serial - 1).expect("serials are small");
            list.entry(self.threads[at]).or_default().push(serial);
        }
        list
    }

    /// A step: mostly appends, and some of everything else.
    fn draw(&mut self, client: usize, calls: Calls, rng: &mut Rng) -> (EntityId, Command) {
        let kinds: &[&str] = match calls {
            Calls::All => &[SpacePlan::DURABLE, SpacePlan::MEMORY],
            Calls::Durable | Calls::Circles => &[SpacePlan::DURABLE],
        };
        let mut any = || {
            let kind = seeded::pick(rng, kinds);
            let number = seeded::within(rng, 0, ENTITIES - 1);
            (number, entity(kind, &number.to_string()))
        };
        let ((number, own), (_, other)) = (any(), any());
        let draw = seeded::within(rng, 0, 99);
        let command = match draw {
            0..15 => Command::Read,
            15..30 if other != own => Command::Chain {
                theirs: self.serial(&other, Thread::Called(client)),
                serial: self.serial(&own, Thread::Called(client)),
                other,
            },
            30..45 if other != own => {
                let from = number + 100 * own.kind().as_str().len() as u64;
                Command::Post {
                    theirs: self.serial(&other, Thread::Sent(client, from)),
                    serial: self.serial(&own, Thread::Called(client)),
                    other,
                }
            }
            45..52 => {
                let serial = self.threads.len() as u64 + 1;
                self.serial(&own, Thread::Fired(serial));
                let after_ms = seeded::within(rng, 50, 1_500);
                Command::Remind { serial, after_ms }
            }
            52..56 => {
                // Nobody may ever see it: it is in no list that is expected.
                self.threads.push(Thread::Called(client));
                let serial = self.threads.len() as u64;
                Command::Boom { serial }
            }
            _ => {
                let serial = self.serial(&own, Thread::Called(client));
                Command::Append { serial }
            }
        };
        (own, command)
    }

    /// One of three entities calls the next one of them.
    fn link(&mut self, client: usize, step: usize) -> (EntityId, Command) {
        let of_three = |number: usize| entity(SpacePlan::DURABLE, &(number % 3).to_string());
        let (own, other) = (of_three(step), of_three(step + 1));
        let command = Command::Chain {
            theirs: self.serial(&other, Thread::Called(client)),
            serial: self.serial(&own, Thread::Called(client)),
            other,
        };
        (own, command)
    }

    /// An entity of the client's own comes, goes, and comes again.
    fn deletion(&mut self, client: usize) -> [(EntityId, Command); 4] {
        let own = entity(SpacePlan::DURABLE, &format!("of-{client}"));
        let mut append = || Command::Append {
            serial: self.serial(&own, Thread::Called(client)),
        };
        let (first, second, third) = (append(), append(), append());
        let Command::Append { serial } = third else {
            unreachable!("it was made above")
        };
        let left = List::from([(Thread::Called(client), vec![serial])]);
        self.expected.insert(own.clone(), left);
        [first, second, Command::Forget, third].map(|command| (own.clone(), command))
    }

    /// A new serial, which is expected to be there in the end.
    fn serial(&mut self, entity: &EntityId, thread: Thread) -> u64 {
        self.threads.push(thread);
        let serial = self.threads.len() as u64;
        let list = self.expected.entry(entity.clone()).or_default();
        list.entry(thread).or_default().push(serial);
        serial
    }
}

/// A call that reads everything that an entity has.
pub(crate) fn read(entity: &EntityId, now: u64) -> OutCall {
    out_call(entity, &Command::Read, (CommandKey::Client("read".to_owned()), 1), now)
}

/// What a read was answered.
pub(crate) fn listing(answer: &Result<Payload, CallError>) -> Option<Vec<u64>> {
    match Answer::of(answer.as_ref().ok()?)? {
        Answer::Listing { serials, .. } => Some(serials),
        _ => None,
    }
}

fn out_call(
    entity: &EntityId,
    command: &Command,
    (key, attempt): (CommandKey, u32),
    now: u64,
) -> OutCall {
    let deadline_left_ms = 8_000;
    let envelope = Envelope {
        entity: entity.clone(),
        method: command.method().to_owned(),
        arguments: command.payload(),
        caller: Caller::Anonymous,
        key,
        attempt,
        deadline_left_ms,
        chain: Vec::new(),
    };
    OutCall {
        envelope: Arc::new(envelope),
        deadline: Instant(now + deadline_left_ms * 1_000_000),
    }
}

fn entity(kind: &str, key: &str) -> EntityId {
    EntityId::new(KindName::new(kind).unwrap(), key).unwrap()
}
