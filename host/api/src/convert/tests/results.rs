use super::*;

fn of<T: serde::Serialize>(value: T) -> Result<String, String> {
    json_of(&rmp_serde::to_vec_named(&value).unwrap())
}

#[test]
fn every_kind_of_value_has_its_json() {
    let bytes = serde_bytes::ByteBuf::from(vec![0, 255, 16]);
    let cases = [
        (of(()), "null"),
        (of(true), "true"),
        (of(false), "false"),
        (of(u64::MAX), "18446744073709551615"),
        (of(i64::MIN), "-9223372036854775808"),
        (
            of((0, 127, 128, 255, 256, 65_535, 65_536)),
            "[0,127,128,255,256,65535,65536]",
        ),
        (
            of((-1, -32, -33, -128, -129, -32_769, i64::from(i32::MIN) - 1)),
            "[-1,-32,-33,-128,-129,-32769,-2147483649]",
        ),
        (of(1.0), "1.0"),
        (of(-0.0), "-0.0"),
        (of(0.1f32), "0.1"),
        (of(0.1f64), "0.1"),
        (of("a\"\\\n\u{0}é🗝"), r#""a\"\\\n\u0000é🗝""#),
        (of(bytes), r#""AP8Q""#),
        (of(serde_bytes::Bytes::new(b"a")), r#""YQ==""#),
        (
            of(BTreeMap::from([("a", 1), ("b\"", 2)])),
            r#"{"a":1,"b\"":2}"#,
        ),
        (of(Vec::<u8>::new()), "[]"),
        (of(BTreeMap::<String, u8>::new()), "{}"),
        (of(vec![vec![1], vec![]]), "[[1],[]]"),
    ];
    for (json, expected) in cases {
        assert_eq!(json.as_deref(), Ok(expected));
    }
}

#[test]
fn long_values_have_long_heads() {
    for length in [31, 32, 255, 256, 65_535, 65_536] {
        assert_eq!(of("x".repeat(length)).unwrap().len(), length + 2);
        assert_eq!(of(vec![1; length]).unwrap().len(), 2 * length + 1);
        let blob = of(serde_bytes::ByteBuf::from(vec![7; length])).unwrap();
        assert_eq!(blob.len(), length.div_ceil(3) * 4 + 2);
        let map: BTreeMap<String, u8> = (0..length).map(|n| (n.to_string(), 1)).collect();
        assert_eq!(of(&map).unwrap(), serde_json::to_string(&map).unwrap());
    }
}

#[test]
fn what_json_does_not_have_is_refused_with_its_place() {
    let cases = [
        (of(f64::NAN), "JSON has no NaN and no infinity"),
        (of(f32::INFINITY), "JSON has no NaN and no infinity"),
        (
            of(BTreeMap::from([("items", vec![1.0, f64::NEG_INFINITY])])),
            "at `items[1]`: JSON has no NaN and no infinity",
        ),
        (of(BTreeMap::from([(7, 1)])), "a map's key is not text"),
        (
            of(BTreeMap::from([("m", BTreeMap::from([((), 1)]))])),
            "at `m`: a map's key is not text",
        ),
        (json_of(&[0xa1, 0xff]), "a text is not UTF-8"),
        (json_of(&[0x81, 0xa1, 0xff, 1]), "a text is not UTF-8"),
        (json_of(&[0xd4, 1, 1]), "an extension type has no JSON"),
        (json_of(&[0xc7, 1, 1, 1]), "an extension type has no JSON"),
        (json_of(&[0xc1]), "an extension type has no JSON"),
        (json_of(&[1, 2]), "1 bytes follow its end"),
    ];
    for (json, expected) in cases {
        assert_eq!(json.unwrap_err(), expected);
    }
}

#[test]
fn a_value_cut_short_anywhere_is_refused() {
    let whole = rmp_serde::to_vec_named(&BTreeMap::from([
        ("list", vec![1u64 << 40, 2]),
        ("more", vec![70_000]),
    ]))
    .unwrap();
    json_of(&whole).unwrap();
    for length in 0..whole.len() {
        let message = json_of(&whole[..length]).unwrap_err();
        assert!(
            message.ends_with("its MessagePack is cut short"),
            "{length}: {message}"
        );
    }
}

#[test]
fn announced_lengths_are_not_believed() {
    for head in [0xdd, 0xdf, 0xdb, 0xc6] {
        let message = json_of(&[head, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert!(message.contains("cut short"), "{message}");
    }
    // Four billion elements, each an announcement of four billion.
    let nested: Vec<u8> = std::iter::repeat_n([0xdd, 0xff, 0xff, 0xff, 0xff], 60)
        .flatten()
        .collect();
    assert!(json_of(&nested).unwrap_err().contains("cut short"));
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
    json_of(&nested(DEPTH_MAX)).unwrap();
    for levels in [DEPTH_MAX + 1, 1_000_000] {
        let message = json_of(&nested(levels)).unwrap_err();
        assert!(message.contains("nests deeper than 64 levels"), "{message}");
    }
}
