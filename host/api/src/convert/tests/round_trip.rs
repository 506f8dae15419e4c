use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Map;

use super::*;

/// Random JSON of the shapes that people send, ends of the integers and odd texts included.
fn value(random: &mut StdRng, levels: usize) -> Value {
    match random.random_range(0..if levels == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => random.random::<bool>().into(),
        2 => (random.random::<u64>() >> random.random_range(0..64)).into(),
        3 => (random.random::<i64>() >> random.random_range(0..64)).into(),
        4 => f64::from_bits(random.random()).into(),
        5 => text(random).into(),
        6 => (0..random.random_range(0..8))
            .map(|_| value(random, levels - 1))
            .collect(),
        _ => object(random, levels).into(),
    }
}

fn object(random: &mut StdRng, levels: usize) -> Map<String, Value> {
    (0..random.random_range(0..8))
        .map(|_| (text(random), value(random, levels.saturating_sub(1))))
        .collect()
}

fn text(random: &mut StdRng) -> String {
    (0..random.random_range(0..40))
        .map(|_| match random.random_range(0..3) {
            0 => random.random_range(' '..='~'),
            1 => random.random_range('\0'..='\u{1f}'),
            _ => random.random(),
        })
        .collect()
}

#[test]
fn json_comes_back_as_it_went() {
    let any = compiled(&json!({"type": "object", "additionalProperties": true}));
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..200 {
        let sent = Value::Object(object(&mut random, 4));
        let payload = any.arguments_from_json(sent.to_string().as_bytes(), 64 << 20);
        let payload = payload.unwrap_or_else(|error| panic!("seed {seed} round {round}: {error}"));
        let json = json_from_payload(&payload).unwrap();
        let back: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(back, sent, "seed {seed} round {round}");
    }
}

#[test]
fn random_bytes_never_panic_and_what_is_accepted_is_json() {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..random.random_range(0..24))
            .map(|_| random.random())
            .collect();
        if let Ok(json) = json_from_payload(&Payload(bytes.clone())) {
            let parsed: Result<Value, _> = serde_json::from_slice(&json);
            assert!(parsed.is_ok(), "seed {seed}: {bytes:02x?}");
        }
    }
}

#[test]
fn random_text_never_panics() {
    let schema = method(
        json!({"x": {"type": "integer"}, "y": {"type": "string", "contentEncoding": "base64"}}),
    );
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let whole = br#"{"x": -18446744073709551616, "y": "AP8Q\u00e9\\", "z": [1.5e3, null, true]}"#;
    for _ in 0..50_000 {
        let mut json = whole.to_vec();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..json.len());
            json[at] = *b"{}[],:\"\\0123456789.eE-+ \xff"
                .get(random.random_range(0..26))
                .unwrap_or(&b'x');
        }
        let _ = schema.arguments_from_json(&json, 1 << 10);
    }
}
