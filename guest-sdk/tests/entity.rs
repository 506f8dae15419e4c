//! An entity with everything, driven as the platform drives it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use entia_sdk::describe::Kind;
use entia_sdk::prelude::*;
use entia_sdk::testing::{Fired, Host, Value, json};
use entia_sdk::{Entity, Snapshot};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
    seen: BTreeMap<String, Bytes>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
enum Refusal {
    Overdraft { missing: u64 },
    Elsewhere(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overdraft { missing } => write!(f, "{missing} missing"),
            Self::Elsewhere(reason) => f.write_str(reason),
        }
    }
}

#[derive(Serialize)]
struct Deposit {
    amount: u64,
}

/// Keeps money.
///
/// Until it is spent.
#[entity(kind = "bank-account", schema = 3, schema_oldest = 2)]
impl Account {
    /// Adds money.
    fn deposit(&mut self, amount: u64) -> u64 {
        self.balance += amount;
        self.balance
    }

    fn withdraw(&mut self, mut amount: u64, fee: Option<u64>) -> Result<u64, Refusal> {
        amount += fee.unwrap_or(0);
        let missing = amount.saturating_sub(self.balance);
        self.balance = self
            .balance
            .checked_sub(amount)
            .ok_or(Refusal::Overdraft { missing })?;
        Ok(self.balance)
    }

    fn transfer(&mut self, ctx: &mut Context, to: EntityId, amount: u64) -> Result<u64, Refusal> {
        self.balance -= amount;
        ctx.call(&to, "deposit", &Deposit { amount })
            .map_err(|failure| Refusal::Elsewhere(failure.to_string()))
    }

    fn remind(&mut self, ctx: &mut Context, context: EntityId) -> Result<(), EffectError> {
        ctx.send(&context, "ping", &())?;
        ctx.every("interest", Duration::from_secs(60), &Deposit { amount: 1 })
    }

    fn remember(&mut self, ctx: &Context, name: String, r#type: Bytes) {
        ctx.info(format_args!("{:?} at {}", ctx.caller(), ctx.now_ms()));
        self.seen.insert(name, r#type);
    }

    fn recall(&self, ctx: &Context, name: String) -> Option<Bytes> {
        ctx.debug(ctx.me());
        self.seen.get(&name).cloned()
    }

    fn refuse(&mut self) -> Result<(), String> {
        Err("never".to_owned())
    }

    fn count(&self) -> usize {
        self.seen.len()
    }

    #[timer]
    fn on_timer(
        &mut self,
        ctx: &mut Context,
        name: &str,
        fire: u64,
        payload: BTreeMap<String, u64>,
    ) -> Result<(), Refusal> {
        self.balance += payload["amount"];
        if fire == 3 {
            ctx.cancel(name).unwrap();
            return Err(Refusal::Elsewhere("enough".to_owned()));
        }
        Ok(())
    }

    #[upgrade]
    fn upgrade(from: u32, bytes: &[u8]) -> Result<Self, String> {
        assert_eq!(from, 2);
        let balance: u64 = decode(bytes)?;
        Ok(Self {
            balance,
            ..Self::default()
        })
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Plain {
    by_name: HashMap<String, u64>,
    #[serde(skip)]
    peeked: std::cell::Cell<bool>,
}

#[entity(schema = 2)]
impl Plain {
    fn put(&mut self, name: String, value: u64) {
        self.by_name.insert(name, value);
    }

    fn size(&self) -> usize {
        self.peeked.set(true);
        self.by_name.len()
    }
}

fn account() -> Host<Account> {
    Host::new("alice")
}

fn state(schema_version: u32, bytes: &[u8]) -> Snapshot {
    Snapshot {
        schema_version,
        bytes: bytes.to_vec(),
    }
}

#[test]
fn commands_change_the_state_and_queries_read_it_across_restarts() {
    let mut host = account();
    assert_eq!(host.call("deposit", json!({"amount": 5})), Ok(json!(5)));
    host.restart();
    assert_eq!(
        host.call("withdraw", json!({"amount": 2, "fee": 1})),
        Ok(json!(2))
    );
    assert_eq!(host.call("withdraw", json!({"amount": 2})), Ok(json!(0)));
    assert_eq!(host.entity().balance, 0);
}

#[test]
fn bytes_are_base64_outside_and_raw_inside() {
    let mut host = account();
    let caller = Caller::Principal("ann".to_owned());
    let arguments = json!({"name": "x", "type": "AP8="});
    assert_eq!(host.call_as(caller, "remember", arguments), Ok(Value::Null));
    host.restart();
    assert_eq!(host.call("recall", json!({"name": "x"})), Ok(json!("AP8=")));
    assert_eq!(host.call("recall", json!({"name": "y"})), Ok(Value::Null));
    assert_eq!(host.call("count", json!({})), Ok(json!(1)));
    assert_eq!(host.entity().seen["x"], Bytes(vec![0, 255]));
    let logs = host.fake().logs();
    assert_eq!(logs[0].message, "Principal(\"ann\") at 1767225600000");
    assert_eq!(logs[1].message, "bank-account/alice");
}

#[test]
fn an_error_becomes_a_rejection_with_code_message_and_data() {
    let mut host = account();
    let rejection = host.call("withdraw", json!({"amount": 7})).unwrap_err();
    assert_eq!(rejection.code, "overdraft");
    assert_eq!(rejection.message, "7 missing");
    assert_eq!(rejection.details(), Some(Refusal::Overdraft { missing: 7 }));
    let rejection = host.call("refuse", json!({})).unwrap_err();
    assert_eq!(rejection.code, "rejected");
    assert_eq!(rejection.details(), Some("never".to_owned()));
}

#[test]
fn a_call_that_does_not_fit_is_refused_by_name() {
    let mut host = account();
    let mut refusal = |method, arguments| {
        let rejection = host.call(method, arguments).unwrap_err();
        (rejection.code, rejection.message)
    };
    let (code, message) = refusal("steal", json!({}));
    assert_eq!(code, "unknown_method");
    assert!(message.contains("`withdraw`"), "{message}");
    for (arguments, name) in [
        (json!({}), "`amount`"),
        (json!({"amount": -1}), "`amount`"),
        (json!({"amount": "1"}), "`amount`"),
        (json!({"amount": 1, "to": "bob"}), "`to`"),
        (json!([1]), "map of names"),
    ] {
        let (code, message) = refusal("deposit", arguments);
        assert_eq!(code, "bad_arguments");
        assert!(message.contains(name), "{message}");
    }
    let (code, message) = refusal("remember", json!({"name": "x", "type": "?"}));
    assert_eq!(code, "bad_arguments");
    assert!(message.contains("base64"), "{message}");
}

#[test]
fn calls_are_answered_as_the_test_says() {
    let mut host = account();
    let bob = EntityId::new("bank-account", "bob");
    let transfer = json!({"to": {"kind": "bank-account", "key": "bob"}, "amount": 1});
    host.call("deposit", json!({"amount": 9})).unwrap();
    host.fake_mut().answer(&bob, "deposit", Ok(31));
    let failure = CallFailure::Failed(CallError {
        code: "deadlock".to_owned(),
        message: "a circle".to_owned(),
        may_have_run: false,
    });
    host.fake_mut()
        .answer(&bob, "deposit", Err::<u64, _>(failure));
    host.fake_mut().answer(&bob, "deposit", Ok("not a number"));
    assert_eq!(host.call("transfer", transfer.clone()), Ok(json!(31)));
    assert_eq!(host.fake().calls()[0].target, bob);
    assert_eq!(host.fake().calls()[0].arguments, json!({"amount": 1}));
    let rejection = host.call("transfer", transfer.clone()).unwrap_err();
    assert_eq!(rejection.code, "elsewhere");
    assert!(rejection.message.contains("deadlock"), "{rejection}");
    let rejection = host.call("transfer", transfer).unwrap_err();
    assert!(rejection.message.contains("bad_result"), "{rejection}");
    assert!(rejection.message.contains("may have run"), "{rejection}");
}

#[test]
fn sends_and_timers_are_recorded_and_timers_fire_in_time() {
    let mut host = account();
    let to = json!({"context": {"kind": "chat-room", "key": "lobby"}});
    host.call("remind", to).unwrap();
    assert_eq!(host.fake().sends()[0].method, "ping");
    assert_eq!(host.fake().sends()[0].arguments, json!({}));
    let timer = &host.fake().timers()[0];
    assert_eq!(timer.period_ms, Some(60_000));
    assert_eq!(timer.payload, json!({"amount": 1}));
    assert_eq!(host.advance(Duration::from_secs(59)), []);
    let ok = |fire| Fired {
        name: "interest".to_owned(),
        fire,
        outcome: Ok(()),
    };
    assert_eq!(host.advance(Duration::from_secs(61)), [ok(1), ok(2)]);
    host.restart();
    let last = host.advance(Duration::from_secs(600));
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].outcome.clone().unwrap_err().code, "elsewhere");
    assert_eq!(host.entity().balance, 3);
    assert_eq!(host.fake().timers(), []);
}

#[test]
fn an_address_that_cannot_be_is_refused() {
    let mut host = account();
    let bad = json!({"context": {"kind": "Chat Room", "key": "lobby"}});
    let rejection = host.call("remind", bad).unwrap_err();
    assert_eq!(rejection.code, "invalid");
}

#[test]
fn older_states_are_upgraded_and_others_refused() {
    let upgraded = Host::<Account>::restore("alice", state(2, &[7])).unwrap();
    assert_eq!(upgraded.entity().balance, 7);
    let code = |stored| {
        let rejection = Host::<Account>::restore("alice", stored).err().unwrap();
        (rejection.code, rejection.message)
    };
    assert_eq!(code(state(2, b"\xa1x")).0, "bad_state");
    assert_eq!(code(state(3, &[0xc0])).0, "bad_state");
    let (too_old, message) = code(state(1, &[]));
    assert_eq!(too_old, "state_too_old");
    assert!(message.contains("reads from 2 on"), "{message}");
    let (too_new, message) = code(state(4, &[]));
    assert_eq!(too_new, "state_too_new");
    assert!(message.contains("knows up to 3"), "{message}");
}

#[test]
fn without_an_upgrade_function_an_older_state_is_refused_with_what_to_write() {
    let rejection = Host::<Plain>::restore("p", state(1, &[0x80]))
        .err()
        .unwrap();
    assert_eq!(rejection.code, "state_too_old");
    assert!(rejection.message.contains("`#[upgrade]`"), "{rejection}");
}

#[test]
fn a_fire_without_a_timer_function_is_refused() {
    let mut context = Context::test().build();
    let rejection = Plain::default()
        .on_timer(&mut context, "tick", 1, &[0xc0])
        .unwrap_err();
    assert_eq!(rejection.code, "no_timer");
}

#[test]
#[should_panic(expected = "BTreeMap")]
fn a_state_whose_bytes_depend_on_hash_order_fails_the_test() {
    let mut host = Host::<Plain>::new("p");
    for at in 0..100 {
        host.call("put", json!({"name": at.to_string(), "value": at}))
            .unwrap();
    }
    host.restart();
}

#[test]
fn what_a_query_does_outside_the_state_is_its_own_affair() {
    let mut host = Host::<Plain>::new("p");
    assert_eq!(host.call("size", json!({})), Ok(json!(0)));
    assert!(host.entity().peeked.get());
    assert_eq!(host.stored(), None);
}

#[test]
fn a_kind_describes_itself() {
    let kind = Kind::of::<Account>();
    assert_eq!(kind.name, "bank-account");
    assert_eq!(kind.doc, "Keeps money.\n\nUntil it is spent.");
    assert_eq!((kind.schema_version, kind.schema_version_oldest), (3, 2));
    let names: Vec<&str> = kind.methods.iter().map(|m| m.name.as_str()).collect();
    let expected = [
        "deposit", "withdraw", "transfer", "remind", "remember", "recall", "refuse", "count",
    ];
    assert_eq!(names, expected);
    let queries: Vec<&str> = kind
        .methods
        .iter()
        .filter(|method| method.query)
        .map(|method| method.name.as_str())
        .collect();
    assert_eq!(queries, ["recall", "count"]);
    let withdraw = &kind.methods[1];
    let arguments: Value = serde_json::from_str(&withdraw.arguments).unwrap();
    assert_eq!(arguments["required"], json!(["amount"]));
    assert_eq!(arguments["additionalProperties"], false);
    assert!(withdraw.rejection.as_ref().unwrap().contains("Overdraft"));
    assert_eq!(kind.methods[0].doc, "Adds money.");
    assert_eq!(Kind::of::<Plain>().name, "plain");
}
