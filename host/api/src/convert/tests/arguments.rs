use super::*;

fn counter() -> MethodSchema {
    method(json!({"by": {"type": "integer", "format": "uint64", "minimum": 0}}))
}

fn blob() -> Value {
    json!({"type": "string", "contentEncoding": "base64"})
}

#[test]
fn arguments_become_a_named_map() {
    assert_eq!(encoded(&counter(), r#"{"by": 5}"#), named("by", 5));
    assert_eq!(encoded(&method(json!({})), "{}"), [0x80]);
}

#[test]
fn an_empty_body_is_a_call_without_arguments() {
    for body in ["", " \r\n\t"] {
        assert_eq!(encoded(&method(json!({})), body), [0x80]);
        let (code, message) = refused(&counter(), body);
        assert_eq!(code, "bad_arguments");
        assert_eq!(message, "argument `by` is missing; increment takes by");
    }
}

#[test]
fn integers_are_exact_to_the_ends_of_64_bits() {
    let any = method(json!({"by": true}));
    let signed = method(json!({"by": {"type": "integer", "format": "int64"}}));
    for value in [
        0,
        1,
        127,
        128,
        255,
        256,
        65_536,
        u64::from(u32::MAX) + 1,
        (1 << 53) + 1,
        u64::MAX,
    ] {
        let json = format!(r#"{{"by": {value}}}"#);
        assert_eq!(encoded(&counter(), &json), named("by", value), "{value}");
        assert_eq!(encoded(&any, &json), named("by", value), "{value}");
    }
    for value in [
        -1,
        -32,
        -33,
        -129,
        -40_000,
        -(1 << 53) - 1,
        i64::MIN,
        i64::MAX,
    ] {
        let json = format!(r#"{{"by": {value}}}"#);
        assert_eq!(encoded(&signed, &json), named("by", value), "{value}");
        assert_eq!(encoded(&any, &json), named("by", value), "{value}");
    }
}

#[test]
fn an_integer_beyond_64_bits_is_refused_and_not_rounded() {
    let any = method(json!({"by": true}));
    let plain = method(json!({"by": {"type": "integer"}}));
    let range =
        "is too large for an integer; they go from -9223372036854775808 to 18446744073709551615";
    for literal in [
        "18446744073709551616",
        "-9223372036854775809",
        "1000000000000000000000000000000",
    ] {
        let json = format!(r#"{{"by": {literal}}}"#);
        for schema in [&any, &plain] {
            let (code, message) = refused(schema, &json);
            assert_eq!(code, "bad_arguments");
            assert_eq!(message, format!("argument `by`: {literal} {range}"));
        }
    }
    // Elsewhere in the text, after a string that looks like a number.
    let (_, message) = refused(&any, r#"{"by": ["\"1\\", {"x": 18446744073709551617}]}"#);
    assert!(
        message.starts_with("argument `by`, at `1/x`: 18446744073709551617 is too"),
        "{message}"
    );
}

#[test]
fn a_float_is_no_integer_and_an_integer_is_a_float_where_one_is_wanted() {
    for literal in ["1.0", "1e2", "-0.0"] {
        let (code, message) = refused(&counter(), &format!(r#"{{"by": {literal}}}"#));
        assert_eq!(code, "bad_arguments");
        assert!(
            message.contains("is not an integer; write it without"),
            "{message}"
        );
    }
    let (_, message) = refused(&counter(), r#"{"by": 1.5}"#);
    assert_eq!(message, r#"argument `by`: 1.5 is not of type "integer""#);

    let float = method(json!({"by": {"type": "number", "format": "double"}}));
    for (literal, value) in [
        ("1", 1.0),
        ("-0.0", -0.0),
        ("0.1", 0.1),
        ("1e300", 1e300),
        ("100000000000000000000", 1e20),
    ] {
        let json = format!(r#"{{"by": {literal}}}"#);
        assert_eq!(encoded(&float, &json), named("by", value), "{literal}");
    }
    let any = method(json!({"by": true}));
    assert_eq!(encoded(&any, r#"{"by": 1e300}"#), named("by", 1e300));
    assert_eq!(encoded(&any, r#"{"by": 1.0}"#), named("by", 1.0));
}

#[test]
fn the_format_bounds_an_integer_that_the_schema_does_not() {
    let cases = [
        (
            "uint32",
            "4294967295",
            "4294967296",
            "greater than the maximum of 4294967295",
        ),
        ("uint64", "0", "-1", "less than the minimum of 0"),
        (
            "int64",
            "9223372036854775807",
            "9223372036854775808",
            "greater than the maximum of 9223372036854775807",
        ),
        ("int8", "-128", "-129", "less than the minimum of -128"),
        (
            "int16",
            "32767",
            "32768",
            "greater than the maximum of 32767",
        ),
        (
            "int32",
            "-2147483648",
            "-2147483649",
            "less than the minimum of -2147483648",
        ),
    ];
    for (format, good, bad, why) in cases {
        let schema = method(json!({"by": {"type": "integer", "format": format}}));
        encoded(&schema, &format!(r#"{{"by": {good}}}"#));
        let (_, message) = refused(&schema, &format!(r#"{{"by": {bad}}}"#));
        assert_eq!(message, format!("argument `by`: {bad} is {why}"));
    }
    let single = method(json!({"by": {"type": "number", "format": "float"}}));
    encoded(&single, r#"{"by": 3.4e38}"#);
    let (_, message) = refused(&single, r#"{"by": 1e39}"#);
    assert_eq!(
        message,
        "argument `by`: 1e+39 is too large for a 32-bit float"
    );
}

#[test]
fn a_refusal_names_the_argument_and_says_what_is_expected() {
    let schema = method(json!({
        "by": {"type": "integer", "minimum": 0},
        "note": {"type": ["string", "null"], "maxLength": 3},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    }));
    let cases = [
        (
            r#"{"by": -1, "note": "", "tags": []}"#,
            "argument `by`: -1 is less than the minimum of 0",
        ),
        (
            r#"{"by": "1", "note": "", "tags": []}"#,
            r#"argument `by`: "1" is not of type "integer""#,
        ),
        (
            r#"{"by": 1, "note": "long", "tags": []}"#,
            r#"argument `note`: "long" is longer than 3 characters"#,
        ),
        (
            r#"{"by": 1, "note": 7, "tags": []}"#,
            r#"argument `note`: 7 is not of types "null", "string""#,
        ),
        (
            r#"{"by": 1, "note": "", "tags": ["c"]}"#,
            r#"argument `tags`, at `0`: "c" is not one of "a" or "b""#,
        ),
        (
            r#"{"by": {"big": "object"}, "note": "", "tags": []}"#,
            r#"argument `by`: the object is not of type "integer""#,
        ),
        (
            r#"{"note": "", "tags": []}"#,
            "argument `by` is missing; increment takes by, note, tags",
        ),
        (
            r#"{"by": 1, "note": "", "tags": [], "bye": 1}"#,
            "unknown argument `bye`; increment takes by, note, tags",
        ),
    ];
    for (json, message) in cases {
        assert_eq!(
            refused(&schema, json),
            ("bad_arguments".to_owned(), message.to_owned()),
            "{json}"
        );
    }
    let (_, message) = refused(&method(json!({})), r#"{"x": 1}"#);
    assert_eq!(
        message,
        "unknown argument `x`; increment takes no arguments"
    );
}

#[test]
fn a_method_may_take_any_arguments_if_its_schema_says_so() {
    let schema = compiled(&json!({"type": "object", "additionalProperties": {"type": "integer"}}));
    assert_eq!(encoded(&schema, r#"{"anything": 3}"#), named("anything", 3));
    let (_, message) = refused(&schema, r#"{"anything": "3"}"#);
    assert!(message.starts_with("argument `anything`: "), "{message}");
}

#[test]
fn what_is_not_one_json_object_is_bad_json() {
    let cases = [
        ("[1]", "an array, and arguments are an object"),
        ("null", "it is null, and"),
        ("7", "it is a number"),
        ("{\"by\": 1} x", "trailing characters"),
        ("{\"by\": 1", "EOF"),
        ("{\"by\": 1,}", "trailing comma"),
        ("{\"by\": NaN}", "expected value"),
        ("{\"by\": 1e999}", "number out of range"),
        (
            "{\"by\": 1, \"by\": 2}",
            "the key `by` is there twice at line 1",
        ),
        (
            "{\"by\": {\"x\": 1, \"x\": 1}}",
            "the key `x` is there twice",
        ),
        ("{\"by\": \"\\ud800\"}", "hex escape"),
        ("{\"by\": 01}", "invalid number"),
        ("{by: 1}", "key must be a string"),
    ];
    for (json, why) in cases {
        let (code, message) = refused(&counter(), json);
        assert_eq!(code, "bad_json", "{json}");
        assert!(message.contains(why), "{json}: {message}");
    }
    let bytes = counter().arguments_from_json(b"{\"by\": \"\xff\"}", 1024);
    assert_eq!(bytes.unwrap_err().code(), "bad_json");
}

#[test]
fn depth_and_size_are_bounded() {
    let any = method(json!({"x": true}));
    let nested =
        |levels: usize| format!(r#"{{"x": {}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    encoded(&any, &nested(DEPTH_MAX - 1));
    let (code, message) = refused(&any, &nested(DEPTH_MAX));
    assert_eq!(code, "bad_json");
    assert!(
        message.contains("it nests deeper than 64 levels"),
        "{message}"
    );
    let (code, _) = refused(&any, &nested(100_000));
    assert_eq!(code, "bad_json");

    let text = |bytes: usize| format!(r#"{{"x": "{}"}}"#, "x".repeat(bytes));
    // 1 for the map, 2 for the name, 3 for the text's head.
    assert_eq!(
        any.arguments_from_json(text(1018).as_bytes(), 1024)
            .unwrap()
            .0
            .len(),
        1024
    );
    for bytes in [1019, 5000] {
        let error = any
            .arguments_from_json(text(bytes).as_bytes(), 1024)
            .unwrap_err();
        assert_eq!(error.code(), "too_large");
    }
}

#[test]
fn base64_becomes_bytes_wherever_the_schema_says_so() {
    let bytes = serde_bytes::ByteBuf::from(vec![0, 255, 16]);
    let optional = json!({"anyOf": [{"$ref": "#/$defs/Blob"}, {"type": "null"}]});
    let schema = compiled(&json!({
        "type": "object",
        "properties": {
            "one": blob(),
            "many": {"type": "array", "items": blob()},
            "maybe": {"type": ["string", "null"], "contentEncoding": "base64"},
            "option": optional,
            "map": {"type": "object", "additionalProperties": blob()},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}, blob()]},
            "plain": {"type": "string"},
        },
        "$defs": {"Blob": blob()},
    }));
    let text = "AP8Q";
    let cases = [
        (
            format!(r#"{{"one": "{text}"}}"#),
            named("one", bytes.clone()),
        ),
        (
            format!(r#"{{"many": ["{text}", ""]}}"#),
            named("many", vec![bytes.clone(), serde_bytes::ByteBuf::new()]),
        ),
        (
            format!(r#"{{"maybe": "{text}"}}"#),
            named("maybe", bytes.clone()),
        ),
        (r#"{"maybe": null}"#.to_owned(), named("maybe", ())),
        (
            format!(r#"{{"option": "{text}"}}"#),
            named("option", bytes.clone()),
        ),
        (r#"{"option": null}"#.to_owned(), named("option", ())),
        (
            format!(r#"{{"map": {{"k": "{text}"}}}}"#),
            named("map", BTreeMap::from([("k", bytes.clone())])),
        ),
        (
            format!(r#"{{"pair": ["{text}", "{text}"]}}"#),
            named("pair", (text, bytes.clone())),
        ),
        (format!(r#"{{"plain": "{text}"}}"#), named("plain", text)),
    ];
    for (json, expected) in cases {
        assert_eq!(encoded(&schema, &json), expected, "{json}");
    }
    for bad in ["AP8", "AP8Q=", "AP8 Q", "AP-_", "é"] {
        let (code, message) = refused(&schema, &format!(r#"{{"one": "{bad}"}}"#));
        assert_eq!(code, "bad_arguments");
        assert!(
            message.starts_with("argument `one`: it is not base64"),
            "{message}"
        );
    }
}

#[test]
fn the_variant_of_an_enum_decides_what_is_bytes() {
    let tag = |name: &str| json!({"type": "string", "const": name});
    let tagged = |name: &str, body: Value| json!({"type": "object", "properties": {"t": tag(name), "v": body}, "required": ["t", "v"]});
    let keyed = |name: &str, body: Value| json!({"type": "object", "properties": {name: body}, "required": [name], "additionalProperties": false});
    let text = json!({"type": "string"});
    let schema = method(json!({
        "x": {"oneOf": [tagged("text", text.clone()), tagged("blob", blob())]},
    }));
    let bytes = serde_bytes::ByteBuf::from(vec![0, 255, 16]);
    let (value, blob_value) = (
        encoded(&schema, r#"{"x": {"t": "text", "v": "AP8Q"}}"#),
        encoded(&schema, r#"{"x": {"t": "blob", "v": "AP8Q"}}"#),
    );
    assert!(value.ends_with(&rmp_serde::to_vec("AP8Q").unwrap()));
    assert!(blob_value.ends_with(&rmp_serde::to_vec(&bytes).unwrap()));

    let schema = method(json!({"x": {"oneOf": [keyed("Text", text), keyed("Blob", blob())]}}));
    let expected = named("x", BTreeMap::from([("Blob", bytes)]));
    assert_eq!(encoded(&schema, r#"{"x": {"Blob": "AP8Q"}}"#), expected);
    let expected = named("x", BTreeMap::from([("Text", "AP8Q")]));
    assert_eq!(encoded(&schema, r#"{"x": {"Text": "AP8Q"}}"#), expected);
}

#[test]
fn the_order_of_the_arguments_does_not_change_the_bytes() {
    let any = compiled(&json!({"type": "object", "additionalProperties": true}));
    let one = encoded(&any, r#"{"b": {"y": 1, "x": 2}, "a": 3}"#);
    let other = encoded(&any, r#"{"a": 3, "b": {"x": 2, "y": 1}}"#);
    assert_eq!(one, other);
}
