//! What has to be true after the loads, and what differs where it is not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::loads::{ACCOUNTS, CHAINS, DEPOSIT, Done, MEMBERS, ROOMS, author, entity};
use super::world::World;
use crate::Node;

impl Done {
    /// # Panics
    /// If anything is missing or doubled; with all of it. `log` has what the node said in all its processes.
    pub(crate) async fn check(self, world: &World, node: &Node, log: &Path) -> String {
        let mut wrong = Vec::new();
        for (what, callers) in [("counter", &self.increments), ("chat-room", &self.posts)] {
            let mut all = BTreeMap::<usize, Vec<u64>>::new();
            for (entity, numbers) in callers.iter().flatten() {
                all.entry(*entity).or_default().extend(numbers);
            }
            for (entity, numbers) in all {
                let differs = not_one_of_each(numbers);
                wrong.extend(differs.map(|differs| format!("{what}/{entity}: {differs}")));
            }
        }
        settled(node).await;
        wrong.extend(self.accounts(world).await);
        for member in 0..MEMBERS {
            wrong.extend(self.told(world, member).await);
        }
        wrong.extend(self.chains(world).await);
        if !wrong.is_empty() {
            wrong.extend(untold(log));
            panic!("something was lost or doubled:\n{}", wrong.join("\n"));
        }
        format!(
            "{} commands answered, {} tries without an answer, {} posts, {} chains; the accounts' total is exact",
            world.answered.load(Ordering::Relaxed),
            world.unanswered.load(Ordering::Relaxed),
            self.posts
                .iter()
                .flatten()
                .map(|(_, posts)| posts.len())
                .sum::<usize>(),
            self.relayed.iter().sum::<u64>() / 3,
        )
    }

    /// Money is moved, never lost or made.
    async fn accounts(&self, world: &World) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut balances = Vec::new();
        for account in 0..ACCOUNTS {
            let account = entity("account", account);
            let in_flight = world.query(&account, "in_flight").await;
            if in_flight != 0 {
                wrong.push(format!("{account} waits for an answer: {in_flight}"));
            }
            let balance = world.query(&account, "balance").await;
            balances.push(balance.as_u64().expect("a number"));
        }
        let (total, expected) = (balances.iter().sum::<u64>(), ACCOUNTS as u64 * DEPOSIT);
        if total != expected {
            wrong.push(format!(
                "the accounts have {total}, not {expected}: {balances:?}"
            ));
        }
        wrong
    }

    /// A member of all rooms is told once of each message, in the order in which its author sent them.
    async fn told(&self, world: &World, member: usize) -> Vec<String> {
        let member = entity("courier", member);
        let heard = world.query(&member, "heard").await;
        let heard: Heard = serde_json::from_value(heard).expect("it is what the courier returns");
        let mut wrong = Vec::new();
        let mut posts = BTreeMap::new();
        for (caller, numbers) in self.posts.iter().enumerate() {
            let of_room = |(room, numbers)| (format!("{room} {}", author(caller)), numbers);
            posts.extend(numbers.iter().map(of_room));
        }
        let sum = posts
            .values()
            .map(|numbers| numbers.len() as u64)
            .sum::<u64>();
        if heard.messages != sum {
            wrong.push(format!(
                "{member} was told of {} messages, not of {sum}",
                heard.messages
            ));
        }
        for (from, numbers) in &posts {
            let (last, sent) = (heard.last.get(from).copied(), numbers.len() as u64);
            if last.unwrap_or_default() != sent {
                wrong.push(format!(
                    "{member} was last told of {last:?} from {from}, not of {sent}"
                ));
            }
        }
        for OutOfTurn {
            from,
            last,
            came,
            at_ms,
        } in heard.out_of_turn
        {
            let place = usize::try_from(came).unwrap_or_default().wrapping_sub(1);
            let number = posts.get(&from).and_then(|numbers| numbers.get(place));
            wrong.push(format!(
                "{member} was told of {came} from {from} after {last}, at {at_ms} ms; it is the room's {number:?}"
            ));
        }
        wrong
    }

    /// Each command adds 1 to itself and to the two that it calls.
    async fn chains(&self, world: &World) -> Vec<String> {
        let mut wrong = Vec::new();
        for chain in 0..CHAINS {
            let (chain, expected) = (entity("caller", chain), self.relayed[chain]);
            let value = world.query(&chain, "value").await;
            if value != expected {
                wrong.push(format!("{chain} was called {value} times, not {expected}"));
            }
        }
        wrong
    }
}

/// What a courier says of the rooms of which it is a member.
#[derive(Deserialize)]
struct Heard {
    messages: u64,
    last: BTreeMap<String, u64>,
    out_of_turn: Vec<OutOfTurn>,
}

#[derive(Deserialize)]
struct OutOfTurn {
    from: String,
    last: u64,
    came: u64,
    at_ms: u64,
}

/// What is missing from the numbers from 1 on, and what is there twice.
fn not_one_of_each(mut numbers: Vec<u64>) -> Option<String> {
    numbers.sort_unstable();
    let (mut missing, mut doubled) = (Vec::new(), Vec::new());
    let mut last = 0;
    for number in numbers {
        missing.extend((last + 1..number).take(SHOWN_MAX));
        if number == last {
            doubled.push(number);
        }
        last = number;
    }
    missing.truncate(SHOWN_MAX);
    doubled.truncate(SHOWN_MAX);
    let differs = !(missing.is_empty() && doubled.is_empty());
    differs.then(|| format!("no answer was {missing:?}, and several were {doubled:?}"))
}

/// A room says whom it could not tell.
fn untold(log: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let told = log.lines().filter(|line| line.contains(" members: "));
    told.take(SHOWN_MAX).map(ToOwned::to_owned).collect()
}

/// Of a long list the beginning shows what is wrong.
const SHOWN_MAX: usize = 20;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_missing_or_doubled_are_named() {
        assert_eq!(not_one_of_each(vec![2, 1, 3]), None);
        assert_eq!(not_one_of_each(vec![]), None);
        let differs = not_one_of_each(vec![6, 2, 3, 3]).unwrap();
        assert_eq!(differs, "no answer was [1, 4, 5], and several were [3]");
    }
}
