use std::collections::BTreeMap;

use entia_sdk::Rejection;
use entia_sdk::testing::{Host, Sent, Value, json};

use super::*;

const KEYS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Accounts, and the messages between them, which the test delivers when it wants to.
struct Bank {
    accounts: BTreeMap<String, Host<Account>>,
    /// In order, with the key of the sender.
    messages: Vec<(String, Sent)>,
}

impl Bank {
    fn new() -> Self {
        let account = |key: &str| (key.to_owned(), Host::new(key));
        Self {
            accounts: KEYS.into_iter().map(account).collect(),
            messages: Vec::new(),
        }
    }

    fn call(&mut self, key: &str, method: &str, arguments: Value) -> Result<Value, Refusal> {
        self.call_as(Caller::Anonymous, key, method, arguments)
    }

    fn call_as(
        &mut self,
        caller: Caller,
        key: &str,
        method: &str,
        arguments: Value,
    ) -> Result<Value, Refusal> {
        let host = self.accounts.get_mut(key).unwrap();
        let answer = host.call_as(caller, method, arguments);
        let sent = host.fake_mut().take_sends().into_iter();
        self.messages
            .extend(sent.map(|sent| (key.to_owned(), sent)));
        answer.map_err(|rejection: Rejection| rejection.details().unwrap())
    }

    fn transfer(&mut self, from: &str, to: &str, amount: u64) -> Result<Value, Refusal> {
        self.call(from, "transfer", json!({"to": to, "amount": amount}))
    }

    /// Delivers the message at that place, or the one that has to come before it: those from one account to another keep
    /// their order.
    fn deliver(&mut self, at: usize) {
        let (from, sent) = &self.messages[at];
        let first = self
            .messages
            .iter()
            .position(|(sender, other)| sender == from && other.target == sent.target);
        let (from, sent) = self.messages.remove(first.unwrap());
        let sender = Caller::Entity(EntityId::new("account", from));
        self.call_as(sender, sent.target.key(), &sent.method, sent.arguments)
            .expect("an account refuses no message of another");
    }

    fn deliver_all(&mut self) {
        while !self.messages.is_empty() {
            self.deliver(0);
        }
    }

    fn balance(&self, key: &str) -> u64 {
        self.accounts[key].entity().balance
    }

    /// All money there is: on accounts, and in messages that carry it.
    fn total(&self) -> u128 {
        let carried = self
            .messages
            .iter()
            .filter(|(_, sent)| sent.method != "settle");
        let carried =
            carried.map(|(_, sent)| u128::from(sent.arguments["amount"].as_u64().unwrap()));
        let balances = KEYS.iter().map(|key| u128::from(self.balance(key)));
        balances.chain(carried).sum()
    }

    /// What accounts believe to be on its way is what messages say, and nothing is or comes back to a closed one.
    fn check_accounts(&self) {
        for key in KEYS {
            let to_or_from = |(from, sent): &&(String, Sent)| match sent.method.as_str() {
                "receive" => from == key,
                _ => sent.target.key() == key,
            };
            let messages = self.messages.iter().filter(to_or_from);
            let amounts = messages.map(|(_, sent)| sent.arguments["amount"].as_u64().unwrap());
            let account = self.accounts[key].entity();
            assert_eq!(account.in_flight, amounts.sum::<u64>());
            assert!(!account.closed || account.balance + account.in_flight == 0);
        }
    }
}

#[test]
fn money_can_be_taken_out_as_far_as_there_is_some() {
    let mut bank = Bank::new();
    assert_eq!(
        bank.call("alice", "deposit", json!({"amount": 9})),
        Ok(json!(9))
    );
    let overdraft = bank.call("alice", "withdraw", json!({"amount": 12}));
    assert_eq!(overdraft, Err(Refusal::Overdraft { missing: 3 }));
    bank.accounts.get_mut("alice").unwrap().restart();
    assert_eq!(
        bank.call("alice", "withdraw", json!({"amount": 9})),
        Ok(json!(0))
    );
    assert_eq!(bank.call("alice", "balance", json!({})), Ok(json!(0)));
    for method in ["deposit", "withdraw"] {
        let nothing = bank.call("alice", method, json!({"amount": 0}));
        assert_eq!(nothing, Err(Refusal::NoAmount));
    }
}

#[test]
fn a_transfer_arrives_and_settles() {
    let mut bank = Bank::new();
    bank.call("alice", "deposit", json!({"amount": 9})).unwrap();
    assert_eq!(bank.transfer("alice", "bob", 5), Ok(json!(4)));
    assert_eq!(bank.call("alice", "in_flight", json!({})), Ok(json!(5)));
    bank.deliver_all();
    assert_eq!((bank.balance("alice"), bank.balance("bob")), (4, 5));
    assert_eq!(bank.call("alice", "in_flight", json!({})), Ok(json!(0)));
}

#[test]
fn a_transfer_that_cannot_be_is_refused_and_sends_nothing() {
    let mut bank = Bank::new();
    bank.call("alice", "deposit", json!({"amount": 9})).unwrap();
    assert_eq!(bank.transfer("alice", "bob", 0), Err(Refusal::NoAmount));
    assert_eq!(bank.transfer("alice", "alice", 1), Err(Refusal::ToItself));
    let overdraft = bank.transfer("alice", "bob", 10);
    assert_eq!(overdraft, Err(Refusal::Overdraft { missing: 1 }));
    for key in ["", &"k".repeat(513)] {
        let refused = bank.transfer("alice", key, 1);
        assert!(matches!(
            refused,
            Err(Refusal::NotSent(EffectError::Invalid(_)))
        ));
    }
    assert!(bank.messages.is_empty());
    assert_eq!(bank.balance("alice"), 9);
}

#[test]
fn what_a_closed_or_full_account_refuses_comes_back() {
    let mut bank = Bank::new();
    bank.call("alice", "deposit", json!({"amount": 9})).unwrap();
    bank.call("bob", "close", json!({})).unwrap();
    bank.call("carol", "deposit", json!({"amount": u64::MAX - 1}))
        .unwrap();
    for (to, amount) in [("bob", 5), ("carol", 2)] {
        let left = bank.transfer("alice", to, amount);
        assert_eq!(left, Ok(json!(9 - amount)));
        bank.deliver_all();
        assert_eq!(bank.balance("alice"), 9);
    }
    bank.check_accounts();
}

#[test]
fn an_account_keeps_room_for_what_may_come_back() {
    let mut bank = Bank::new();
    bank.call("bob", "close", json!({})).unwrap();
    bank.call("alice", "deposit", json!({"amount": u64::MAX}))
        .unwrap();
    bank.transfer("alice", "bob", 7).unwrap();
    let full = bank.call("alice", "deposit", json!({"amount": 1}));
    assert_eq!(full, Err(Refusal::Full { left: 0 }));
    bank.deliver_all();
    assert_eq!(bank.balance("alice"), u64::MAX);
}

#[test]
fn an_account_is_closed_when_nothing_can_come_back() {
    let mut bank = Bank::new();
    bank.call("alice", "deposit", json!({"amount": 9})).unwrap();
    bank.transfer("alice", "bob", 9).unwrap();
    let refused = bank.call("alice", "close", json!({}));
    let expected = Refusal::NotEmpty {
        balance: 0,
        in_flight: 9,
    };
    assert_eq!(refused, Err(expected));
    bank.deliver_all();
    assert_eq!(bank.call("alice", "close", json!({})), Ok(Value::Null));
    bank.accounts.get_mut("alice").unwrap().restart();
    for method in ["deposit", "withdraw"] {
        let closed = bank.call("alice", method, json!({"amount": 1}));
        assert_eq!(closed, Err(Refusal::Closed));
    }
    assert_eq!(bank.transfer("alice", "bob", 1), Err(Refusal::Closed));
}

#[test]
fn only_accounts_move_money_that_is_on_its_way() {
    let mut bank = Bank::new();
    for caller in [
        Caller::Anonymous,
        Caller::Principal("mallory".to_owned()),
        Caller::Entity(EntityId::new("forger", "alice")),
    ] {
        for method in ["receive", "settle", "refund"] {
            let refused = bank.call_as(caller.clone(), "alice", method, json!({"amount": 1}));
            assert_eq!(refused, Err(Refusal::NotAnAccount));
        }
    }
    assert_eq!(bank.total(), 0);
}

#[test]
fn an_account_deployed_under_another_name_pays_accounts_of_that_name() {
    let mut ctx = Context::test().me("savings", "alice").build();
    let mut alice = Account::default();
    alice.deposit(9).unwrap();
    ctx.turn(|ctx| alice.transfer(ctx, "bob".to_owned(), 5))
        .unwrap();
    assert_eq!(
        ctx.fake().sends()[0].target,
        EntityId::new("savings", "bob")
    );
}

#[test]
#[should_panic(expected = "taken when it can be answered")]
fn a_transfer_that_cannot_be_answered_is_undone() {
    let sender = EntityId::new("account", "alice");
    let mut bob = Host::<Account>::new("bob");
    for _ in 0..=1_000 {
        let caller = Caller::Entity(sender.clone());
        bob.call_as(caller, "receive", json!({"amount": 1}))
            .unwrap();
    }
}

/// Whatever happens in whatever order, and with restarts in between.
#[test]
fn no_order_of_events_makes_or_loses_money() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let mut bank = Bank::new();
        let mut expected: u128 = 0;
        for _ in 0..500 {
            let [key, to] = [(); 2].map(|()| KEYS[random.below(KEYS.len())]);
            // Now and then so much that an account is full.
            let amount = match random.below(8) {
                0 => u64::MAX / 2,
                _ => random.below(10) as u64,
            };
            let moved = u128::from(amount);
            match random.below(10) {
                0..3 => drop(bank.transfer(key, to, amount)),
                3 if bank.call(key, "deposit", json!({"amount": amount})).is_ok() => {
                    expected += moved
                }
                4 if bank
                    .call(key, "withdraw", json!({"amount": amount}))
                    .is_ok() =>
                {
                    expected -= moved
                }
                5 => drop(bank.call(key, "close", json!({}))),
                6 => bank.accounts.get_mut(key).unwrap().restart(),
                _ if !bank.messages.is_empty() => {
                    let at = random.below(bank.messages.len());
                    bank.deliver(at);
                }
                _ => {}
            }
            assert_eq!(bank.total(), expected, "seed {seed}");
            bank.check_accounts();
        }
        bank.deliver_all();
        let balances: u128 = KEYS.iter().map(|key| u128::from(bank.balance(key))).sum();
        assert_eq!(balances, expected, "seed {seed}");
        bank.check_accounts();
    }
}

/// Xorshift: the same events for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
