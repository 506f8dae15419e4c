use entia_sdk::testing::{Host, Value, json};

use super::*;

fn room() -> Host<ChatRoom> {
    Host::new("lobby")
}

fn say(host: &mut Host<ChatRoom>, text: &str) -> Result<Value, Refusal> {
    let posted = host.call("post", json!({"author": "ann", "text": text}));
    posted.map_err(|rejection| rejection.details().unwrap())
}

fn join(host: &mut Host<ChatRoom>, member: &str) -> Result<Value, Refusal> {
    let joined = host.call("join", json!({"member": member}));
    joined.map_err(|rejection| rejection.details().unwrap())
}

fn numbers(host: &mut Host<ChatRoom>, after: u64) -> Vec<u64> {
    let history = host.call("history", json!({"after": after})).unwrap();
    let messages = history.as_array().unwrap().iter();
    messages
        .map(|message| message["number"].as_u64().unwrap())
        .collect()
}

#[test]
fn what_is_said_is_remembered_across_restarts() {
    let mut host = room();
    assert_eq!(say(&mut host, "hello"), Ok(json!(1)));
    assert_eq!(say(&mut host, "anybody?"), Ok(json!(2)));
    host.restart();
    assert_eq!(numbers(&mut host, 0), [1, 2]);
    assert_eq!(numbers(&mut host, 1), [2]);
    let last = &host.entity().history[1];
    assert_eq!(
        (last.author.as_str(), last.text.as_str()),
        ("ann", "anybody?")
    );
}

#[test]
fn every_member_is_told_until_it_leaves() {
    let mut host = room();
    assert_eq!(join(&mut host, "chat-inbox/ann"), Ok(json!(1)));
    assert_eq!(join(&mut host, "bot/bob/1"), Ok(json!(2)));
    assert_eq!(join(&mut host, "bot/bob/1"), Ok(json!(2)));
    host.restart();
    say(&mut host, "hello").unwrap();
    let sends = host.fake_mut().take_sends();
    let targets: Vec<String> = sends.iter().map(|sent| sent.target.to_string()).collect();
    assert_eq!(targets, ["bot/bob/1", "chat-inbox/ann"]);
    assert_eq!(sends[0].method, "deliver");
    let arguments = json!({"room": "lobby", "author": "ann", "text": "hello"});
    assert_eq!(sends[0].arguments, arguments);
    host.call("leave", json!({"member": "bot/bob/1"})).unwrap();
    say(&mut host, "bye").unwrap();
    assert_eq!(host.fake().sends().len(), 1);
}

#[test]
fn a_room_has_a_bounded_number_of_members_and_each_has_an_address() {
    let mut host = room();
    for at in 0..MEMBERS_MAX {
        join(&mut host, &format!("bot/{at}")).unwrap();
    }
    let full = Refusal::Full { max: MEMBERS_MAX };
    assert_eq!(join(&mut host, "bot/more"), Err(full));
    assert_eq!(join(&mut host, "bot/0"), Ok(json!(MEMBERS_MAX)));
    for member in ["ann", "Bot/1", "bot/"] {
        let refused = join(&mut host, member);
        assert!(
            matches!(refused, Err(Refusal::NoAddress { .. })),
            "{member}"
        );
    }
}

#[test]
fn who_cannot_be_told_at_once_finds_the_message_in_the_history() {
    let mut host = room();
    for at in 0..MEMBERS_MAX {
        join(&mut host, &format!("bot/{at}")).unwrap();
    }
    for number in 1..=3 {
        assert_eq!(say(&mut host, "hello"), Ok(json!(number)));
    }
    assert_eq!(numbers(&mut host, 2), [3]);
    let logs = host.fake().logs();
    assert_eq!(logs.len(), 1);
    assert!(logs[0].message.starts_with("told 0 of 500 members"));
}

#[test]
fn texts_have_bounds() {
    let mut host = room();
    let bad = |what: &str, bytes_max| {
        Err(Refusal::BadLength {
            what: what.to_owned(),
            bytes_max,
        })
    };
    let longest = "x".repeat(TEXT_BYTES_MAX);
    assert_eq!(say(&mut host, ""), bad("text", TEXT_BYTES_MAX));
    let too_long = say(&mut host, &format!("{longest}x"));
    assert_eq!(too_long, bad("text", TEXT_BYTES_MAX));
    let nobody = host.call("post", json!({"author": "", "text": "x"}));
    assert_eq!(
        nobody.unwrap_err().details(),
        bad("author", AUTHOR_BYTES_MAX).err()
    );
    assert_eq!(host.fake().timers(), []);
    say(&mut host, &longest).unwrap();
}

#[test]
fn the_oldest_of_too_many_messages_is_forgotten() {
    let mut host = room();
    for _ in 0..=HISTORY_MAX {
        say(&mut host, "x").unwrap();
    }
    let kept = numbers(&mut host, 0);
    assert_eq!((kept.len(), kept[0]), (HISTORY_MAX, 2));
}

#[test]
fn messages_expire_one_by_one_and_the_timer_with_the_last() {
    let mut host = room();
    host.fake_mut().set_config("history_ms", "60000");
    say(&mut host, "first").unwrap();
    host.advance(Duration::from_secs(50));
    say(&mut host, "second").unwrap();
    assert_eq!(host.fake().timers().len(), 1);
    host.restart();
    assert_eq!(host.advance(Duration::from_secs(10)).len(), 1);
    assert_eq!(numbers(&mut host, 0), [2]);
    assert_eq!(host.advance(Duration::from_secs(49)), []);
    assert_eq!(host.advance(Duration::from_secs(1)).len(), 1);
    assert!(numbers(&mut host, 0).is_empty());
    assert_eq!(host.fake().timers(), []);
    assert_eq!(say(&mut host, "third"), Ok(json!(3)));
    assert_eq!(host.fake().timers().len(), 1);
}

#[test]
fn a_setting_out_of_reason_still_makes_a_timer() {
    for (setting, kept) in [
        ("soon", Duration::from_millis(HISTORY_MS)),
        ("-1", Duration::from_millis(HISTORY_MS)),
        (&u64::MAX.to_string(), HISTORY_LONGEST),
        ("0", Duration::ZERO),
    ] {
        let mut host = room();
        host.fake_mut().set_config("history_ms", setting);
        say(&mut host, "hello").unwrap();
        let fired = host.advance(kept);
        assert_eq!(fired.len(), 1, "{setting}");
        assert_eq!(fired[0].outcome, Ok(()));
        assert_eq!(host.fake().timers(), []);
    }
}
