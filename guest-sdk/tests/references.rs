//! Entities that refer to others, in turns of the fake world.

use std::fmt;

use entia_sdk::prelude::*;
use entia_sdk::testing::{Host, Sent, json};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
enum Refusal {
    Overdraft { missing: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Overdraft { missing } = self;
        write!(f, "{missing} missing")
    }
}

#[entity]
impl Account {
    fn deposit(&mut self, amount: u64, note: Option<String>) -> u64 {
        drop(note);
        self.balance += amount;
        self.balance
    }

    fn withdraw(&mut self, amount: u64) -> Result<u64, Refusal> {
        let missing = amount.saturating_sub(self.balance);
        let left = self.balance.checked_sub(amount);
        self.balance = left.ok_or(Refusal::Overdraft { missing })?;
        Ok(self.balance)
    }

    fn balance(&self) -> u64 {
        self.balance
    }

    fn collect(&mut self, from: String, amount: u64) -> Result<u64, CallFailure> {
        AccountRef::new(from).withdraw(amount)?;
        self.balance += amount;
        Ok(self.balance)
    }

    fn donate(&mut self, to: String, amount: u64) -> Result<(), EffectError> {
        AccountRef::new(to).send().deposit(amount, None)
    }

    fn compare(&self, with: String) -> Result<bool, CallFailure> {
        Ok(AccountRef::new(with).balance()? <= self.balance)
    }

    fn meddle(&self, with: String) -> Result<u64, CallFailure> {
        AccountRef::new(with).withdraw(1)
    }

    fn leak(&self, to: String) -> Result<(), EffectError> {
        AccountRef::new(to).send().deposit(1, None)
    }
}

fn bob() -> EntityId {
    EntityId::new("account", "bob")
}

#[test]
fn a_reference_calls_with_named_arguments_and_receives_the_result() {
    let mut host = Host::<Account>::new("alice");
    host.fake_mut().answer(&bob(), "withdraw", Ok(95));
    let collected = host.call("collect", json!({"from": "bob", "amount": 5}));
    assert_eq!(collected, Ok(json!(5)));
    let call = Sent {
        target: bob(),
        method: "withdraw".to_owned(),
        arguments: json!({"amount": 5}),
    };
    assert_eq!(host.fake().calls(), [call]);
}

#[test]
fn a_refusal_keeps_its_type_on_the_way_through_the_caller() {
    let mut ctx = Context::test().build();
    let overdraft = Refusal::Overdraft { missing: 3 };
    let refused = Err::<u64, _>(CallFailure::rejected(&overdraft));
    ctx.fake_mut().answer(&bob(), "withdraw", refused);
    let mut alice = Account::default();
    let failure = ctx
        .turn(|_| alice.collect("bob".to_owned(), 5))
        .unwrap_err();
    assert_eq!(failure.details(), Some(overdraft));
    assert_eq!(failure.details::<u64>(), None);
    let CallFailure::Rejected(rejection) = failure else {
        panic!("{failure}");
    };
    assert_eq!(rejection.code, "overdraft");
    assert_eq!(alice.balance, 0);
}

#[test]
fn a_reference_sends_without_waiting() {
    let mut host = Host::<Account>::new("alice");
    host.call("donate", json!({"to": "bob", "amount": 5}))
        .unwrap();
    let message = Sent {
        target: bob(),
        method: "deposit".to_owned(),
        arguments: json!({"amount": 5, "note": null}),
    };
    let recorded = host.fake().sends();
    assert_eq!(recorded, [message]);
    assert_eq!(host.fake_mut().take_sends(), recorded);
    assert_eq!(host.fake().sends(), []);
    assert_eq!(host.fake().calls(), []);
}

#[test]
fn messages_of_a_reference_fit_the_method_that_it_refers_to() {
    let mut alice = Host::<Account>::new("alice");
    let mut bob = Host::<Account>::new("bob");
    alice
        .call("donate", json!({"to": "bob", "amount": 5}))
        .unwrap();
    for sent in alice.fake_mut().take_sends() {
        bob.call(&sent.method, sent.arguments).unwrap();
    }
    assert_eq!(bob.entity().balance, 5);
}

#[test]
fn a_query_calls_queries_and_has_no_effects() {
    let mut host = Host::<Account>::new("alice");
    host.fake_mut().answer(&bob(), "balance", Ok(1));
    let compared = host.call("compare", json!({"with": "bob"}));
    assert_eq!(compared, Ok(json!(false)));
    let rejection = host.call("meddle", json!({"with": "bob"})).unwrap_err();
    assert!(rejection.message.contains("`withdraw` is a command"));
    let rejection = host.call("leak", json!({"to": "bob"})).unwrap_err();
    assert_eq!(rejection.details(), Some(EffectError::InQuery));
    assert_eq!(host.fake().calls().len(), 1);
    assert_eq!(host.fake().sends(), []);
    host.call("donate", json!({"to": "bob", "amount": 1}))
        .unwrap();
}

#[test]
fn an_entity_has_a_thousand_messages_on_their_way() {
    let mut host = Host::<Account>::new("alice");
    let donation = json!({"to": "bob", "amount": 1});
    for _ in 0..1_000 {
        host.call("donate", donation.clone()).unwrap();
    }
    let rejection = host.call("donate", donation.clone()).unwrap_err();
    assert!(rejection.message.contains("1000 messages"), "{rejection}");
    assert_eq!(host.fake_mut().take_sends().len(), 1_000);
    host.call("donate", donation).unwrap();
}

#[test]
#[should_panic(expected = "works in a turn only")]
fn a_reference_outside_of_a_turn_says_where_it_works() {
    let ctx = Context::test().build();
    assert_eq!(ctx.fake().sends(), []);
    let _ = AccountRef::new("bob").balance();
}

#[test]
#[should_panic(expected = "no answer to a call of `balance` of account/bob")]
fn a_call_that_the_test_did_not_foresee_is_named() {
    let _ = Context::test()
        .build()
        .turn(|_| AccountRef::new("bob").balance());
}
