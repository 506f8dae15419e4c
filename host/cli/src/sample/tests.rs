use serde_json::json;

use super::*;

/// The sample of a schema, which has to be valid by it.
fn sample(schema: &Value) -> Value {
    let sample = Value::Object(arguments(schema));
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap();
    if let Err(error) = validator.validate(&sample) {
        panic!("{sample} does not fit {schema}: {error}");
    }
    sample
}

/// The sample of an argument.
fn argument(schema: Value) -> Value {
    let schema = json!({"type": "object", "properties": {"a": schema}, "required": ["a"]});
    sample(&schema)["a"].clone()
}

#[test]
fn only_what_is_required_is_there() {
    let schema = json!({
        "type": "object",
        "properties": {"by": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["by"],
        "additionalProperties": false,
    });
    assert_eq!(sample(&schema), json!({"by": 1}));
    assert_eq!(sample(&json!({"type": "object"})), json!({}));
}

#[test]
fn integers_stay_within_their_bounds() {
    for (schema, value) in [
        (json!({"type": "integer", "minimum": 0}), json!(1)),
        (json!({"type": "integer", "minimum": 18}), json!(18)),
        (
            json!({"type": "integer", "exclusiveMinimum": 18}),
            json!(19),
        ),
        (json!({"type": "integer", "maximum": -5}), json!(-5)),
        (json!({"type": "integer", "exclusiveMaximum": 1}), json!(0)),
        (
            json!({"type": "integer", "minimum": 7, "multipleOf": 5}),
            json!(10),
        ),
        (
            json!({"type": "integer", "minimum": u64::MAX}),
            json!(u64::MAX),
        ),
        (
            json!({"type": "integer", "maximum": i64::MIN}),
            json!(i64::MIN),
        ),
        (json!({"type": "integer", "minimum": 2.0}), json!(2)),
        (json!({"type": "number", "minimum": 3.25}), json!(3.25)),
        (
            json!({"type": "number", "exclusiveMaximum": 0}),
            json!(-0.5),
        ),
    ] {
        assert_eq!(argument(schema.clone()), value, "{schema}");
    }
}

#[test]
fn texts_have_the_form_that_is_asked_for() {
    for (format, _) in FORMATS {
        argument(json!({"type": "string", "format": format}));
    }
    let bytes = json!({"type": "string", "contentEncoding": "base64"});
    assert_eq!(argument(bytes), "aGVsbG8=");
    assert_eq!(argument(json!({"type": "string", "minLength": 3})), "axx");
    assert_eq!(argument(json!({"type": "string", "maxLength": 0})), "");
    let named = json!({"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]});
    assert_eq!(sample(&named), json!({"title": "title"}));
}

#[test]
fn what_the_author_gives_as_an_example_is_taken() {
    assert_eq!(
        argument(json!({"type": "string", "examples": ["milk", "salt"]})),
        "milk"
    );
    assert_eq!(
        argument(json!({"type": "string", "enum": ["red", "green"]})),
        "red"
    );
    assert_eq!(argument(json!({"const": 7})), 7);
    assert_eq!(argument(json!({"type": "integer", "default": 30})), 30);
}

#[test]
fn nested_types_are_followed_through_their_references() {
    let schema = json!({
        "type": "object",
        "properties": {
            "to": {"$ref": "#/$defs/Address"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        },
        "required": ["to", "lines", "pair"],
        "$defs": {
            "Address": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "number": {"type": "integer", "minimum": 1}},
                "required": ["city", "number"],
            },
            "Line": {
                "type": "object",
                "properties": {"item": {"type": "string"}, "price": {"type": ["integer", "null"]}},
                "required": ["item", "price"],
            },
        },
    });
    let expected = json!({
        "to": {"city": "city", "number": 1},
        "lines": [{"item": "item", "price": 1}],
        "pair": [1, "pair"],
    });
    assert_eq!(sample(&schema), expected);
}

#[test]
fn of_alternatives_the_first_that_says_something_is_taken() {
    let optional = json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]});
    assert_eq!(argument(optional), true);
    let tagged = json!({
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}, "required": ["kind", "radius"]},
            {"type": "object", "properties": {"kind": {"const": "dot"}}, "required": ["kind"]},
        ],
    });
    assert_eq!(
        argument(tagged),
        json!({"id": 1, "kind": "circle", "radius": 1.5})
    );
    let flattened = json!({"allOf": [
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
    ]});
    assert_eq!(argument(flattened), json!({"a": 1, "b": 1}));
}

#[test]
fn a_type_that_contains_itself_comes_to_an_end() {
    let tree = json!({
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/Tree"}},
        "required": ["root"],
        "$defs": {"Tree": {
            "type": "object",
            "properties": {
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
                "next": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
            },
            "required": ["children", "next"],
        }},
    });
    assert!(sample(&tree)["root"]["children"].is_array());
    // One that has no end has no value either; here it only matters that this returns.
    let endless = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
    assert!(arguments(&endless).is_empty());
    assert!(arguments(&json!({"$ref": "#/nowhere"})).is_empty());
}

#[test]
fn a_call_can_be_pasted_into_a_shell() {
    assert_eq!(quoted(r#"{"a": "it's"}"#), r#"'{"a": "it'\''s"}'"#);
    assert_eq!(
        spaced(&json!({"a": [1, 2], "b": {}})),
        r#"{"a": [1, 2], "b": {}}"#
    );
}
