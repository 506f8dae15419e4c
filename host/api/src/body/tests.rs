use std::collections::BTreeMap;

use entia_protocol::{
    CallError, Durability, KindName, Limits, Payload, Rejection, Subject, Unavailability,
};
use serde_json::{Value, json};

use super::*;
use crate::ApiError;

fn body(error: ApiError) -> Value {
    serde_json::to_value(ErrorBody::from(&error)).unwrap()
}

#[test]
fn every_error_has_the_one_shape() {
    let error = ApiError::from(CallError::DeadlineExceeded { may_have_run: true });
    assert_eq!(error.status(), 504);
    assert_eq!(
        body(error),
        json!({"error": {
            "code": "deadline_exceeded",
            "message": "the deadline passed while the call ran",
            "may_have_run": true,
            "hint": "repeat the call with the same Idempotency-Key: it takes effect once",
        }})
    );
}

#[test]
fn a_refusal_carries_the_entitys_own_words() {
    let rejected = |data: Option<Vec<u8>>| {
        ApiError::from(CallError::Rejected(Rejection {
            code: "overdraft".to_owned(),
            message: "5 is missing".to_owned(),
            data: data.map(Payload),
        }))
    };
    let data = rmp_serde::to_vec_named(&BTreeMap::from([("missing", 5)])).unwrap();
    let error = rejected(Some(data));
    assert_eq!(error.status(), 422);
    let rejection = &body(error)["error"]["rejection"];
    assert_eq!(
        rejection,
        &json!({"code": "overdraft", "message": "5 is missing", "data": {"missing": 5}})
    );

    // Details that are no JSON do not hide the refusal.
    let rejection = &body(rejected(Some(vec![0xc1])))["error"]["rejection"];
    assert_eq!(rejection["code"], "overdraft");
    assert_eq!(
        rejection["data_error"],
        "the result cannot be written as JSON: an extension type has no JSON"
    );
    assert_eq!(body(rejected(None))["error"]["rejection"].get("data"), None);
}

#[test]
fn overload_says_when_to_try_again() {
    let overloaded = |retry_after_ms| {
        ApiError::from(CallError::Overloaded {
            queue: "the mailbox".to_owned(),
            retry_after_ms,
        })
    };
    assert_eq!(overloaded(50).status(), 429);
    assert_eq!(body(overloaded(50))["error"]["retry_after_ms"], 50);
    // The header counts in seconds; 0 would mean at once.
    let seconds = [0, 50, 1_000, 1_001].map(|ms| overloaded(ms).retry_after_s());
    assert_eq!(seconds, [Some(1), Some(1), Some(1), Some(2)]);
}

#[test]
fn statuses_tell_whose_turn_it_is() {
    let too_large = |subject| CallError::TooLarge {
        subject,
        bytes_max: 1,
    };
    let text = String::new;
    let cases = [
        (CallError::BadArguments { message: text() }, 400),
        (
            CallError::UnknownKind {
                kind: text(),
                known: vec![],
            },
            404,
        ),
        (too_large(Subject::Arguments), 413),
        (too_large(Subject::Component), 413),
        (too_large(Subject::IdempotencyKey), 413),
        (too_large(Subject::Result), 422),
        (too_large(Subject::State), 422),
        (
            CallError::KeyReused {
                key: text(),
                method: text(),
            },
            422,
        ),
        (
            CallError::Trapped {
                during: text(),
                message: text(),
            },
            500,
        ),
        (CallError::BadResult { message: text() }, 500),
        (
            CallError::Deadlock {
                chain: Vec::new(),
                may_have_run: false,
            },
            409,
        ),
        (CallError::TooDeep { chain_max: 1 }, 409),
        (CallError::ShuttingDown, 503),
        (
            CallError::Unavailable {
                reason: Unavailability::NoOwner,
            },
            503,
        ),
        (CallError::Interrupted, 503),
        (
            CallError::StoreFailed {
                message: text(),
                may_have_run: true,
            },
            503,
        ),
    ];
    for (error, status) in cases {
        assert_eq!(
            ApiError::from(error.clone()).status().as_u16(),
            status,
            "{error:?}"
        );
    }
}

#[test]
fn deploy_options_survive_the_query() {
    let options = DeployOptions {
        durability: Some(Durability::Durable),
        limits: BTreeMap::from([("cpu_ms_max".to_owned(), 200)]),
        config: BTreeMap::from([("a&b=c".to_owned(), "ü +%".to_owned())]),
        plan: true,
    };
    let query = options.to_query();
    assert_eq!(
        query,
        "durability=durable&limits.cpu_ms_max=200&config.a%26b%3Dc=%C3%BC%20%2B%25&plan=true"
    );
    assert_eq!(DeployOptions::parse(&query), Ok(options));
    assert_eq!(DeployOptions::parse(""), Ok(DeployOptions::default()));
    let limits = DeployOptions::parse("limits.cpu_ms_max=200")
        .unwrap()
        .limits_over(&Limits::default())
        .unwrap();
    let expected = Limits {
        cpu_ms_max: 200,
        ..Limits::default()
    };
    assert_eq!(limits, expected);
}

#[test]
fn a_bad_parameter_is_named() {
    let cases = [
        (
            "durability=forever",
            "the parameter `durability`: it is `memory` or `durable`",
        ),
        (
            "limits.cpu_ms_max=fast",
            "the parameter `limits.cpu_ms_max`: `fast` is not a number in its range",
        ),
        (
            "limits.cpu_ms_max=1",
            "the parameter `limits`: cpu_ms_max is 1; it has to be from 10 to 60000",
        ),
        (
            "colour=red",
            "the parameter `colour`: there is no such parameter; there is durability, limits.NAME, config.NAME, plan",
        ),
        (
            "plan=maybe",
            "the parameter `plan`: it is `true` or `false`",
        ),
        (
            "config.x=%FF",
            "the parameter `config.x`: its percent-escapes are not valid UTF-8",
        ),
    ];
    for (query, message) in cases {
        let options = DeployOptions::parse(query);
        let limits = options.and_then(|options| options.limits_over(&Limits::default()));
        let error = limits.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!((error.code(), error.status().as_u16()), ("bad_query", 400));
    }
    let unknown = DeployOptions::parse("limits.cpu=200").unwrap();
    let message = unknown.limits_over(&Limits::default()).unwrap_err();
    assert!(message.to_string().contains("there is cpu_ms_max, memory"));
}

#[test]
fn a_list_query_reads_back() {
    let query = ListQuery {
        kind: Some(KindName::new("counter").unwrap()),
        prefix: Some("a/ b".to_owned()),
        cursor: Some("ключ".to_owned()),
        limit: Some(7),
    };
    assert_eq!(ListQuery::parse(&query.to_query()), Ok(query));
    assert_eq!(
        ListQuery::parse("limit=-1").unwrap_err().code(),
        "bad_query"
    );
    assert_eq!(ListQuery::parse("kind=A").unwrap_err().code(), "bad_query");
}

#[test]
fn a_logs_query_reads_back() {
    let query = LogsQuery {
        kind: Some(KindName::new("counter").unwrap()),
        key: Some("a/ b&c".to_owned()),
        level: Some(LogLevel::Warn),
        limit: Some(7),
        cursor: Some(u64::MAX),
        follow: true,
    };
    assert_eq!(LogsQuery::parse(&query.to_query()), Ok(query));
    assert_eq!(LogsQuery::parse(""), Ok(LogsQuery::default()));
    for (bad, message) in [
        ("limit=0", "the parameter `limit`: it is from 1 to 1000"),
        ("limit=1001", "the parameter `limit`: it is from 1 to 1000"),
        (
            "key=a",
            "the parameter `key`: it names an entity only with `kind`",
        ),
        (
            "level=loud",
            "the parameter `level`: a level is trace, debug, info, warn or error",
        ),
        (
            "follow=yes",
            "the parameter `follow`: it is `true` or `false`",
        ),
        (
            "cursor=counter/a",
            "the parameter `cursor`: it is not one that a list ended with",
        ),
        (
            "since=1",
            "the parameter `since`: there is no such parameter; there is kind, key, level, limit, cursor, follow",
        ),
    ] {
        let error = LogsQuery::parse(bad).unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            ("bad_query", message)
        );
    }
}

#[test]
fn an_events_query_follows_unless_it_says_no() {
    assert!(EventsQuery::parse("").unwrap().follow);
    let list = EventsQuery {
        limit: Some(3),
        cursor: Some(9),
        follow: false,
    };
    assert_eq!(EventsQuery::parse(&list.to_query()), Ok(list));
    assert!(EventsQuery::parse("kind=counter").is_err());
}

#[test]
fn an_event_is_flat_and_one_of_a_later_node_is_read_too() {
    let event = EventBody {
        id: 7,
        at_ms: 8,
        event: Event::DeadLetter {
            entity: EntityName {
                kind: KindName::new("account").unwrap(),
                key: "alice".to_owned(),
            },
            target: EntityName {
                kind: KindName::new("account").unwrap(),
                key: "bob".to_owned(),
            },
            method: "deposit".to_owned(),
            code: "unknown_kind".to_owned(),
            message: "gone".to_owned(),
        },
    };
    let json = json!({
        "id": 7, "at_ms": 8, "type": "dead_letter", "kind": "account", "key": "alice",
        "target": {"kind": "account", "key": "bob"},
        "method": "deposit", "code": "unknown_kind", "message": "gone",
    });
    assert_eq!(serde_json::to_value(&event).unwrap(), json);
    assert_eq!(serde_json::from_value::<EventBody>(json).unwrap(), event);
    let later = json!({"id": 1, "at_ms": 2, "type": "node_joined", "node": 3});
    let later: EventBody = serde_json::from_value(later).unwrap();
    assert_eq!(later.event, Event::Unknown);
}
