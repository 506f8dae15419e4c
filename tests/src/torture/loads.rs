//! The loads, and what has to be true after them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use entia_protocol::EntityId;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::world::World;
use crate::Node;

const ACCOUNTS: usize = 48;
const DEPOSIT: u64 = 10_000;
const COUNTERS: usize = 24;
const ROOMS: usize = 4;
/// Couriers that are members of every room, and count what they are told.
const MEMBERS: usize = 5;
const CHAINS: usize = 12;
/// Callers of each load.
const CALLERS: usize = 4;

/// Loads that run.
pub(crate) struct Loads {
    transfers: Vec<JoinHandle<()>>,
    increments: Vec<JoinHandle<Numbers>>,
    posts: Vec<JoinHandle<Numbers>>,
    relays: Vec<JoinHandle<u64>>,
    hostile: Vec<JoinHandle<()>>,
}

/// For each entity the numbers that its commands were answered with.
type Numbers = BTreeMap<usize, Vec<u64>>;

/// What the loads did, all of it answered.
pub(crate) struct Done {
    increments: Numbers,
    posts: Numbers,
    relays: u64,
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
            loads.increments.push(tokio::spawn(numbered(
                world(),
                caller,
                ("counter", "increment", COUNTERS),
                json!({ "by": 1 }),
            )));
            loads.posts.push(tokio::spawn(numbered(
                world(),
                caller,
                ("chat-room", "post", ROOMS),
                json!({ "author": format!("caller {caller}"), "text": "hello" }),
            )));
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
            increments: Numbers::new(),
            posts: Numbers::new(),
            relays: 0,
        };
        for (loads, sum) in [
            (self.increments, &mut done.increments),
            (self.posts, &mut done.posts),
        ] {
            for load in loads {
                for (entity, numbers) in load.await.expect("as above") {
                    sum.entry(entity).or_default().extend(numbers);
                }
            }
        }
        for load in self.relays {
            done.relays += load.await.expect("as above");
        }
        done
    }
}

impl Done {
    /// # Panics
    /// If anything is missing or doubled.
    pub(crate) async fn check(self, world: &World, node: &Node) -> String {
        let answered = world.answered.load(Ordering::Relaxed);
        let unanswered = world.unanswered.load(Ordering::Relaxed);
        for (what, numbers) in [("counter", &self.increments), ("chat-room", &self.posts)] {
            for (entity, numbers) in numbers {
                let mut numbers = numbers.clone();
                numbers.sort_unstable();
                let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
                assert_eq!(
                    numbers, expected,
                    "{what}/{entity} lost or doubled commands"
                );
            }
        }
        settled(node).await;
        let mut total = 0;
        for account in 0..ACCOUNTS {
            let account = entity("account", account);
            let in_flight = world.query(&account, "in_flight").await;
            assert_eq!(in_flight, 0, "{account} waits for an answer");
            total += world
                .query(&account, "balance")
                .await
                .as_u64()
                .expect("a number");
        }
        assert_eq!(total, ACCOUNTS as u64 * DEPOSIT, "money was lost or made");
        let posts: usize = self.posts.values().map(Vec::len).sum();
        for member in 0..MEMBERS {
            let told = world.query(&entity("courier", member), "delivered").await;
            assert_eq!(told, posts, "courier/{member} was not told once of each");
        }
        let mut relayed = 0;
        for chain in 0..CHAINS {
            let value = world.query(&entity("caller", chain), "value").await;
            relayed += value.as_u64().expect("a number");
        }
        // Each command adds 1 to itself and to the two that it calls.
        assert_eq!(relayed, 3 * self.relays, "a call was lost or doubled");
        format!(
            "{answered} commands answered, {unanswered} tries without an answer, {posts} posts, {} chains; the accounts' total is exact",
            self.relays
        )
    }
}

/// Waits until no entity has a message on its way.
async fn settled(node: &Node) {
    let client = node.client();
    let accounts = (0..ACCOUNTS).map(|account| entity("account", account));
    let rooms = (0..ROOMS).map(|room| entity("chat-room", room));
    let end = Instant::now() + Duration::from_secs(180);
    for entity in accounts.chain(rooms) {
        loop {
            let seen = client.inspect(&entity).await.expect("the entity is there");
            assert!(seen.dead_letters.is_empty(), "{seen:?}");
            if seen.sends_pending == 0 {
                break;
            }
            assert!(Instant::now() < end, "{seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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

/// Sends commands whose answers are numbers that count them.
async fn numbered(
    world: Arc<World>,
    caller: usize,
    (kind, method, entities): (&str, &str, usize),
    arguments: Value,
) -> Numbers {
    let mut numbers = Numbers::new();
    for number in 0.. {
        if world.is_stopping() {
            break;
        }
        let place = (caller + number) % entities;
        let key = format!("{caller}-{number}");
        let outcome = world
            .command(&entity(kind, place), method, &arguments, &key)
            .await;
        let counted = outcome.expect("nothing to refuse");
        let counted = counted.as_u64().expect("a number");
        numbers.entry(place).or_default().push(counted);
    }
    numbers
}

/// Calls that go through three entities. The lower always calls the higher, so that none of them closes a circle.
async fn relays(world: Arc<World>, caller: usize) -> u64 {
    let mut random = StdRng::seed_from_u64(caller as u64);
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
        match outcome {
            Ok(_) => done += 1,
            Err(code) => panic!("{first}: {code}"),
        }
    }
    done
}

fn entity(kind: &str, key: usize) -> EntityId {
    format!("{kind}/{key}").parse().expect("it is an address")
}
