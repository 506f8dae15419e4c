//! The loads, and what they did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use entia_protocol::{EntityId, SendRecord};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::world::World;

pub(super) const ACCOUNTS: usize = 48;
pub(super) const DEPOSIT: u64 = 10_000;
const COUNTERS: usize = 24;
pub(super) const ROOMS: usize = 4;
/// Couriers that are members of every room, and note what they are told.
pub(super) const MEMBERS: usize = 5;
pub(super) const CHAINS: usize = 12;
/// Callers of each load.
const CALLERS: usize = 4;

/// Loads that run.
pub(crate) struct Loads {
    transfers: Vec<JoinHandle<()>>,
    increments: Vec<JoinHandle<Numbers>>,
    posts: Vec<JoinHandle<Numbers>>,
    relays: Vec<JoinHandle<Vec<u64>>>,
    hostile: Vec<JoinHandle<()>>,
}

/// For each entity the numbers that a caller's commands were answered with, in the order of the commands.
pub(super) type Numbers = BTreeMap<usize, Vec<u64>>;

/// What the loads did, all of it answered.
pub(crate) struct Done {
    /// Of each caller.
    pub(super) increments: Vec<Numbers>,
    /// Of each caller.
    pub(super) posts: Vec<Numbers>,
    /// How often each chain was added to.
    pub(super) relayed: Vec<u64>,
}

/// A load of commands whose answers are numbers that count them.
#[derive(Clone, Copy)]
struct Numbered {
    kind: &'static str,
    method: &'static str,
    entities: usize,
    /// Of a caller's command to an entity, of which the caller counts those it sends there from 1.
    arguments: fn(usize, usize) -> Value,
    /// Messages that the entity sends for each command.
    messages: usize,
}

const INCREMENTS: Numbered = Numbered {
    kind: "counter",
    method: "increment",
    entities: COUNTERS,
    arguments: |_, _| json!({ "by": 1 }),
    messages: 0,
};

const POSTS: Numbered = Numbered {
    kind: "chat-room",
    method: "post",
    entities: ROOMS,
    arguments: |caller, serial| json!({ "author": author(caller), "text": serial.to_string() }),
    messages: MEMBERS + 1,
};

/// A caller posts so often to a room before it looks again how many messages wait there.
const POSTS_BLIND: usize = 32;
/// It posts on when there are fewer.
const WAITING_MAX: u64 = 200;

// A room with as many messages as an entity may have on their way tells nobody of a post: nothing is lost, yet not all are told.
const _: () = assert!(
    WAITING_MAX as usize + CALLERS * POSTS_BLIND * POSTS.messages <= SendRecord::PENDING_MAX
);

/// By what name a caller posts.
pub(super) fn author(caller: usize) -> String {
    format!("caller {caller}")
}

impl Loads {
    /// Gives the accounts their money and the rooms their members, and starts.
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        for account in 0..ACCOUNTS {
            let (account, amount) = (entity("account", account), json!({ "amount": DEPOSIT }));
            let deposited = world.command(&account, "deposit", &amount, "first").await;
            assert_eq!(deposited, Ok(json!(DEPOSIT)));
        }
        for room in 0..ROOMS {
            let couriers = (0..MEMBERS).map(|member| format!("courier/{member}"));
            for member in couriers.chain([format!("chat-inbox/{room}")]) {
                let (room, who) = (entity("chat-room", room), json!({ "member": member }));
                let joined = world.command(&room, "join", &who, &member).await;
                joined.expect("there is room");
            }
        }
        let mut loads = Self {
            transfers: Vec::new(),
            increments: Vec::new(),
            posts: Vec::new(),
            relays: Vec::new(),
            hostile: Vec::new(),
        };
        for caller in 0..CALLERS {
            let world = || Arc::clone(world);
            loads
                .transfers
                .push(tokio::spawn(transfers(world(), caller)));
            for (load, loads) in [
                (INCREMENTS, &mut loads.increments),
                (POSTS, &mut loads.posts),
            ] {
                loads.push(tokio::spawn(numbered(world(), caller, load)));
            }
            loads.relays.push(tokio::spawn(relays(world(), caller)));
        }
        for misdeed in ["spin", "allocate"] {
            let world = Arc::clone(world);
            loads.hostile.push(tokio::spawn(async move {
                let entity: EntityId = format!("entia-hostile/{misdeed}").parse().expect("a name");
                while !world.is_stopping() {
                    world.provoke(&entity, misdeed, &json!({})).await;
                    // Quarantined: it is not worth asking at once.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }));
        }
        loads
    }

    /// Ends the loads: each finishes its command.
    pub(crate) async fn finish(self, world: &World) -> Done {
        world.stop();
        for load in self.transfers.into_iter().chain(self.hostile) {
            load.await.expect("a load that fails says why");
        }
        let mut done = Done {
            increments: Vec::new(),
            posts: Vec::new(),
            relayed: vec![0; CHAINS],
        };
        for (loads, all) in [
            (self.increments, &mut done.increments),
            (self.posts, &mut done.posts),
        ] {
            for load in loads {
                all.push(load.await.expect("as above"));
            }
        }
        for load in self.relays {
            let relayed = load.await.expect("as above");
            for (sum, times) in done.relayed.iter_mut().zip(relayed) {
                *sum += times;
            }
        }
        done
    }
}

/// Moves money around. What is refused for want of money is an answer like any other.
async fn transfers(world: Arc<World>, caller: usize) {
    let mut random = StdRng::seed_from_u64(caller as u64);
    for number in 0_u64.. {
        if world.is_stopping() {
            return;
        }
        let from = random.random_range(0..ACCOUNTS);
        let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let arguments = json!({ "to": to.to_string(), "amount": random.random_range(1..100) });
        let key = format!("{caller}-{number}");
        let outcome = world
            .command(&entity("account", from), "transfer", &arguments, &key)
            .await;
        if let Err(code) = outcome {
            assert!(code == "overdraft" || code == "not_sent", "{code}");
        }
    }
}

/// Sends commands to one entity after the other.
async fn numbered(world: Arc<World>, caller: usize, load: Numbered) -> Numbers {
    let mut numbers = Numbers::new();
    for number in 0.. {
        if world.is_stopping() {
            break;
        }
        let place = (caller + number) % load.entities;
        let answers = numbers.entry(place).or_default();
        if load.messages > 0 && answers.len().is_multiple_of(POSTS_BLIND) {
            world
                .until_few_wait(&entity(load.kind, place), WAITING_MAX)
                .await;
        }
        let arguments = (load.arguments)(caller, answers.len() + 1);
        let key = format!("{caller}-{number}");
        let outcome = world
            .command(&entity(load.kind, place), load.method, &arguments, &key)
            .await;
        let counted = outcome.expect("nothing to refuse");
        answers.push(counted.as_u64().expect("a number"));
    }
    numbers
}

/// Calls that go through three entities. The lower always calls the higher, so that none of them closes a circle.
/// Says how often each was added to.
async fn relays(world: Arc<World>, caller: usize) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(caller as u64);
    let mut relayed = vec![0; CHAINS];
    let mut done = 0;
    while !world.is_stopping() {
        let mut places: Vec<usize> = (0..3).map(|_| random.random_range(0..CHAINS)).collect();
        places.sort_unstable();
        places.dedup();
        if places.len() < 3 {
            continue;
        }
        let address = |place: &usize| json!({ "kind": "caller", "key": place.to_string() });
        let path: Vec<_> = places[1..].iter().map(address).collect();
        let arguments = json!({ "path": path, "by": 1 });
        let first = entity("caller", places[0]);
        let key = format!("{caller}-{done}");
        let outcome = world.command(&first, "insist", &arguments, &key).await;
        if let Err(code) = outcome {
            panic!("{first}: {code}");
        }
        done += 1;
        for place in places {
            relayed[place] += 1;
        }
    }
    relayed
}

/// The messages that wait in the room that has most of them.
pub(super) async fn waiting_most(world: &World) -> u64 {
    let mut most = 0;
    for room in 0..ROOMS {
        let waiting = world.waiting(&entity("chat-room", room)).await;
        most = most.max(waiting.unwrap_or_default());
    }
    most
}

pub(super) fn entity(kind: &str, key: usize) -> EntityId {
    format!("{kind}/{key}").parse().expect("it is an address")
}
