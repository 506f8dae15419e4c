use std::collections::BTreeMap;

use entia_protocol::{Digest, Durability, KindDescription, KindName, Limits};
use serde_json::json;

use super::*;

fn record(methods: Vec<MethodDescription>) -> KindRecord {
    KindRecord {
        name: KindName::new("counter").unwrap(),
        version: 1,
        component: Digest::of(b"one"),
        component_bytes: 3,
        durability: Durability::Memory,
        limits: Limits::default(),
        shards: 64,
        description: KindDescription {
            name: "counter".to_owned(),
            doc: String::new(),
            schema_version: 1,
            schema_version_oldest: 1,
            methods,
        },
        config: BTreeMap::new(),
        deployed_ms: 0,
    }
}

fn method(name: &str, query: bool, arguments: Value) -> MethodDescription {
    MethodDescription {
        name: name.to_owned(),
        doc: String::new(),
        query,
        arguments: arguments.to_string(),
        result: json!({"type": "integer", "title": "u64"}).to_string(),
        rejection: None,
    }
}

fn takes(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// The differences that the arguments make.
fn of_arguments(old: Value, new: Value) -> Vec<(Changed, bool)> {
    let changes = ChangeBody::between(
        &record(vec![method("m", false, old)]),
        &record(vec![method("m", false, new)]),
    );
    let changes = changes.into_iter();
    changes
        .map(|change| (change.what, change.breaking.is_some()))
        .collect()
}

#[test]
fn the_same_version_differs_in_nothing() {
    let record = record(vec![method(
        "m",
        false,
        takes(json!({"by": {"type": "integer"}}), &["by"]),
    )]);
    assert_eq!(ChangeBody::between(&record, &record), []);
}

#[test]
fn what_is_only_for_people_is_no_change_and_a_property_of_its_name_is_one() {
    let documented = json!({"by": {"type": "integer", "description": "How much.", "default": 1}});
    let bare = json!({"by": {"type": "integer"}});
    assert_eq!(of_arguments(takes(documented, &[]), takes(bare, &[])), []);
    let title = |of: &str| {
        let options = json!({"type": "object", "properties": {"title": {"type": of}}});
        takes(json!({"options": options}), &[])
    };
    let changes = of_arguments(title("string"), title("integer"));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].1, "{changes:?}");
}

#[test]
fn arguments_break_callers_if_calls_that_fitted_are_refused() {
    let added = |required| Changed::ArgumentAdded {
        method: "m".to_owned(),
        argument: "by".to_owned(),
        required,
    };
    let changed = |required| Changed::ArgumentChanged {
        method: "m".to_owned(),
        argument: "by".to_owned(),
        required,
    };
    let removed = Changed::ArgumentRemoved {
        method: "m".to_owned(),
        argument: "by".to_owned(),
    };
    let none = || takes(json!({}), &[]);
    let by = |of: &str, required: &[&str]| takes(json!({"by": {"type": of}}), required);
    for (old, new, what, breaking) in [
        (none(), by("integer", &["by"]), added(true), true),
        (none(), by("integer", &[]), added(false), false),
        (by("integer", &[]), none(), removed, true),
        (
            by("integer", &[]),
            by("integer", &["by"]),
            changed(true),
            true,
        ),
        (
            by("integer", &["by"]),
            by("integer", &[]),
            changed(false),
            false,
        ),
        (by("integer", &[]), by("string", &[]), changed(false), true),
    ] {
        assert_eq!(
            of_arguments(old.clone(), new.clone()),
            [(what, breaking)],
            "{old} {new}"
        );
    }
}

#[test]
fn a_definition_that_changes_changes_the_arguments_that_refer_to_it() {
    let schema = |of: &str| {
        json!({
            "type": "object",
            "properties": {"to": {"$ref": "#/$defs/Name"}, "by": {"type": "integer"}},
            "$defs": {"Name": {"type": of}},
        })
    };
    let changes = of_arguments(schema("string"), schema("integer"));
    let to = Changed::ArgumentChanged {
        method: "m".to_owned(),
        argument: "to".to_owned(),
        required: false,
    };
    assert_eq!(changes, [(to, true)]);
}

#[test]
fn methods_schema_limits_and_settings_are_told_and_values_are_not() {
    let mut old = record(vec![
        method("gone", false, json!({})),
        method("look", true, json!({})),
        method("size", false, json!({})),
    ]);
    old.config = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), "secret".to_owned())));
    let mut new = record(vec![
        method("look", false, json!({})),
        method("size", true, json!({})),
        method("more", false, json!({})),
    ]);
    new.component = Digest::of(b"two");
    new.description.methods[1].result = json!({"type": "string"}).to_string();
    new.description.methods[1].rejection = Some("{}".to_owned());
    new.description.schema_version = 2;
    new.limits.cpu_ms_max = 200;
    new.config = BTreeMap::from(["b", "c"].map(|name| (name.to_owned(), "other".to_owned())));

    let changes = serde_json::to_value(ChangeBody::between(&old, &new)).unwrap();
    let text = changes.to_string();
    assert!(
        !text.contains("secret") && !text.contains("other\""),
        "{text}"
    );
    let told: Vec<_> = (changes.as_array().unwrap().iter())
        .map(|change| {
            (
                change["change"].as_str().unwrap(),
                change.get("breaking").is_some(),
            )
        })
        .collect();
    let expected = [
        ("component", false),
        ("method_removed", true),
        ("method_form", true),
        ("method_form", false),
        ("result_changed", true),
        ("rejection_changed", false),
        ("method_added", false),
        ("schema", false),
        ("limit", false),
        ("config", false),
        ("config", false),
        ("config", false),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        changes[8],
        json!({"change": "limit", "limit": "cpu_ms_max", "from": 100, "to": 200})
    );
    let read: Vec<ChangeBody> = serde_json::from_value(changes).unwrap();
    assert_eq!(read, ChangeBody::between(&old, &new));
}
