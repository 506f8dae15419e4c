use super::*;

fn with(property: Value) -> Value {
    json!({"type": "object", "properties": {"x": property}})
}

#[test]
fn a_schema_that_json_or_messagepack_cannot_carry_is_refused_with_its_place() {
    let cases = [
        (
            json!({"patternProperties": {"^\\d+$": {}}, "type": "object"}),
            "at `x`: maps have keys of text",
        ),
        (
            json!({"type": "object", "propertyNames": {"type": "integer"}}),
            "at `x`: maps have keys of text",
        ),
        (
            json!({"properties": {"deep": {"type": "integer", "format": "uint128"}}}),
            "at `x.deep`: MessagePack has no uint128",
        ),
        (
            json!({"items": {"format": "int128"}}),
            "at `x.(items)`: MessagePack has no int128",
        ),
        (
            json!({"unevaluatedProperties": false}),
            "at `x`: unevaluatedProperties is not supported",
        ),
        (
            json!({"items": [{"type": "string"}]}),
            "at `x`: a tuple's schemas are in prefixItems",
        ),
        (json!(7), "at `x`: a schema is an object, true or false"),
        (json!({"type": "quark"}), "quark"),
        (json!({"pattern": "(unclosed"}), "unclosed"),
        (json!({"minimum": "one"}), "one"),
    ];
    for (property, why) in cases {
        let message = refused_schema(&with(property));
        assert!(
            message.starts_with("method `increment`: the schema of its arguments"),
            "{message}"
        );
        assert!(message.contains(why), "{message}");
    }
    let described = MethodDescription {
        result: r#"{"format": "int128"}"#.to_owned(),
        ..described(&json!({"type": "object"}))
    };
    let message = MethodSchema::compile(&described).unwrap_err().to_string();
    assert!(
        message.contains("the schema of its result: MessagePack"),
        "{message}"
    );
}

#[test]
fn references_go_nowhere_but_to_the_schemas_own_definitions() {
    for target in [
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "other.json",
        "#/properties/x",
        "#anchor",
        "#/$defs/None",
        "json-schema:///",
        "",
    ] {
        let message = refused_schema(&with(json!({"$ref": target})));
        assert!(
            message.contains("is none of the schema's own"),
            "{target}: {message}"
        );
    }
    for keyword in ["$dynamicRef", "$recursiveRef"] {
        let message = refused_schema(&with(json!({keyword: "#x"})));
        assert!(message.contains("is not supported"), "{message}");
    }
    // A foreign `$schema` or `$id` is not followed, and does not change what a reference means.
    let schema = compiled(&json!({
        "$schema": "http://127.0.0.1/schema", "$id": "http://127.0.0.1/id", "type": "object",
        "properties": {"x": {"$id": "http://127.0.0.1/other", "$ref": "#/$defs/a~1b"}},
        "$defs": {"a/b": {"type": "integer"}},
    }));
    assert_eq!(encoded(&schema, r#"{"x": 1}"#), named("x", 1));
    assert_eq!(refused(&schema, r#"{"x": "1"}"#).0, "bad_arguments");
}

#[test]
fn size_depth_and_number_of_schemas_are_bounded() {
    let long = with(json!({"description": "x".repeat(SCHEMA_BYTES_MAX)}));
    assert!(refused_schema(&long).contains("262144 are allowed"));

    let nested = "{\"not\":".repeat(2_000) + "{}" + &"}".repeat(2_000);
    let deep = MethodDescription {
        arguments: nested,
        ..described(&json!({}))
    };
    let message = MethodSchema::compile(&deep).unwrap_err().to_string();
    assert!(message.contains("nests deeper than 100"), "{message}");

    let many: Vec<_> = (0..2_001).map(|_| json!({})).collect();
    assert!(refused_schema(&with(json!({"anyOf": many}))).contains("more than 2000 schemas"));
}

#[test]
fn a_schema_that_applies_to_itself_is_refused() {
    for circle in [
        json!({"type": "object", "$ref": "#"}),
        json!({"type": "object", "anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}),
    ] {
        let message = refused_schema(&circle);
        assert!(message.contains("checking would never end"), "{message}");
    }
    // Through a property it ends with the value.
    compiled(&json!({"type": "object", "properties": {"next": {"$ref": "#"}}}));
}

#[test]
fn a_chain_of_doubling_references_is_refused() {
    let mut definitions = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions.insert(format!("d{level}"), json!({"anyOf": [next, next]}));
    }
    definitions.insert("d40".to_owned(), json!({"type": "integer"}));
    let schema = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert!(refused_schema(&schema).contains("more than 4096 schemas apply"));
}

#[test]
fn a_chain_of_all_schemas_that_there_may_be_compiles_and_is_dropped() {
    for keyword in ["items", "not"] {
        let mut definitions = serde_json::Map::new();
        for level in 0..990 {
            let next = json!({"$ref": format!("#/$defs/d{:04}", level + 1)});
            definitions.insert(format!("d{level:04}"), json!({keyword: next}));
        }
        definitions.insert("d0990".to_owned(), json!({"type": "integer"}));
        let schema = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0000"}}, "$defs": definitions});
        let schema = compiled(&schema);
        let json = format!(r#"{{"x": {}{}}}"#, "[".repeat(60), "]".repeat(60));
        // Whatever the answer: it comes, and not by the end of the stack.
        let _ = schema.arguments_from_json(json.as_bytes(), 1 << 20);
    }
}

#[test]
fn a_small_value_cannot_keep_the_validator_busy() {
    let both = json!({"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]});
    let schema = compiled(&json!({
        "type": "object", "properties": {"x": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "array", "items": both}},
    }));
    let json = format!(r#"{{"x": {}1{}}}"#, "[".repeat(60), "]".repeat(60));
    let (code, message) = refused(&schema, &json);
    assert_eq!(code, "bad_arguments");
    assert!(message.contains("too deep or too many"), "{message}");
    encoded(&schema, r#"{"x": [[[]], []]}"#);
}

#[test]
fn an_honest_recursive_type_reaches_the_full_depth() {
    let child = json!({"$ref": "#/$defs/Tree"});
    let schema = compiled(&json!({
        "type": "object", "properties": {"x": child},
        "$defs": {"Tree": {"oneOf": [
            {"type": "object", "properties": {"Node": child}, "required": ["Node"], "additionalProperties": false},
            {"type": "object", "properties": {"Leaf": {"type": "string", "contentEncoding": "base64"}}, "required": ["Leaf"], "additionalProperties": false},
        ]}},
    }));
    let nested = |leaf: &str| {
        format!(
            r#"{{"x": {}{leaf}{}}}"#,
            r#"{"Node":"#.repeat(61),
            "}".repeat(61)
        )
    };
    let bytes = encoded(&schema, &nested(r#"{"Leaf": "AP8Q"}"#));
    assert!(bytes.ends_with(&[0xc4, 3, 0, 255, 16]));
    assert_eq!(
        refused(&schema, &nested(r#"{"Leaf": 7}"#)).0,
        "bad_arguments"
    );
}

#[test]
fn a_pattern_is_matched_in_linear_time() {
    let schema = compiled(&with(json!({"type": "string", "pattern": "^(a+)+$"})));
    encoded(&schema, &format!(r#"{{"x": "{}"}}"#, "a".repeat(100_000)));
    let (_, message) = refused(&schema, &format!(r#"{{"x": "{}!"}}"#, "a".repeat(100_000)));
    assert!(
        message.starts_with("argument `x`: the text does not match"),
        "{message}"
    );
    // What only a backtracking engine can do is refused at deploy, and so is a pattern that compiles to megabytes.
    for pattern in ["(a)\\1", "(?=a)b", "((a{1000}){1000}){1000}"] {
        refused_schema(&with(json!({"pattern": pattern})));
    }
}

#[test]
fn arguments_that_are_no_object_are_refused_at_deploy() {
    for root in [
        json!({"type": "array"}),
        json!({"$ref": "#/$defs/T", "$defs": {"T": {"type": "string"}}}),
    ] {
        assert!(
            refused_schema(&root).ends_with("arguments are an object with a property for each")
        );
    }
}

#[test]
fn many_large_fractions_cost_no_more_than_their_text() {
    // Each could be an integer that was too large to be read as one, and the text is looked through once for all of them.
    let any = method(json!({ "values": true }));
    let json = format!(r#"{{"values": [{}1]}}"#, "1.5e19,".repeat(100_000));
    assert!(any.arguments_from_json(json.as_bytes(), 4 << 20).is_ok());
    let oversize = format!(
        r#"{{"values": [{}36893488147419103232]}}"#,
        "1.5e19,".repeat(10)
    );
    assert!(
        any.arguments_from_json(oversize.as_bytes(), 4 << 20)
            .is_err()
    );
}
