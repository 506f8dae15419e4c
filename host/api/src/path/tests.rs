use super::*;

fn parsed(raw: &str) -> Result<(String, String, Option<String>), String> {
    let path = parse_entity_path(raw).map_err(|error| error.to_string())?;
    let (kind, key) = (path.entity.kind().to_string(), path.entity.key().to_owned());
    Ok((kind, key, path.method))
}

#[test]
fn a_key_may_be_any_text_and_survives_the_path() {
    let keys = [
        "alice",
        "a/b",
        "../../etc/passwd",
        "..",
        ".",
        "100%",
        "%2F",
        "a b+c",
        "ключ/🗝",
        "?x=1#y",
        "\u{0}\r\n",
        &"k".repeat(512),
    ];
    for key in keys {
        let entity = EntityId::new(KindName::new("counter").unwrap(), key).unwrap();
        let raw = method_path(&entity, "increment");
        assert!(raw.is_ascii() && raw.matches('/').count() == 5, "{raw}");
        let path = parse_entity_path(&raw).unwrap();
        assert_eq!(path.entity, entity, "{raw}");
        assert_eq!(path.method.as_deref(), Some("increment"));
        let raw = entity_path(&entity);
        assert_eq!(parse_entity_path(&raw).unwrap().method, None, "{raw}");
    }
}

#[test]
fn dots_in_a_key_are_not_resolved() {
    let found = parsed("/v1/entities/counter/../increment").unwrap();
    assert_eq!(
        found,
        ("counter".into(), "..".into(), Some("increment".into()))
    );
}

#[test]
fn an_unreadable_path_says_which_part_and_why() {
    let long = format!("/v1/entities/counter/{}", "k".repeat(513));
    let method = format!("/v1/entities/counter/a/{}", "m".repeat(129));
    let cases = [
        (
            "/v1/entities/counter/%FF/m",
            "the key cannot be read: its percent-escapes are not valid UTF-8",
        ),
        (
            "/v1/entities/counter/a%2/m",
            "the key cannot be read: `%2` is not a percent-escape; a percent sign itself is %25",
        ),
        (
            "/v1/entities/counter/%zz/m",
            "the key cannot be read: `%zz` is not a percent-escape; a percent sign itself is %25",
        ),
        (
            "/v1/entities/counter//m",
            "an entity's key is empty; it has 1 to 512 bytes",
        ),
        (
            "/v1/entities/Counter/a/m",
            "`Counter` is not a kind's name: 1 to 63 characters of a-z, 0-9 and -, beginning with a letter",
        ),
        ("/v1/entities/counter", "the path names a kind and no key"),
        ("/v1/entities/counter/a/", "the method's name is empty"),
        (
            "/v1/entities/room/a/b/say",
            "the path goes on after the method",
        ),
        (&long, "an entity's key has 513 bytes; 512 are allowed"),
        (&method, "the method's name has 129 bytes; 128 are allowed"),
    ];
    for (raw, message) in cases {
        let error = parse_entity_path(raw).unwrap_err();
        assert_eq!(error.code(), "bad_path", "{raw}");
        assert_eq!(error.to_string(), message, "{raw}");
    }
}

#[test]
fn another_path_is_not_found() {
    for raw in ["/v1/entities", "/v1/entitiesx/a/b", "/", "", "/v2/x"] {
        assert_eq!(parse_entity_path(raw).unwrap_err().code(), "not_found");
    }
}

#[test]
fn a_kind_path_reads_back() {
    let kind = KindName::new("chat-room").unwrap();
    assert_eq!(
        parse_kind_path(&kind_path(&kind)),
        Ok((kind.clone(), false))
    );
    assert_eq!(parse_kind_path(&rollback_path(&kind)), Ok((kind, true)));
    for other in [
        "/v1/kinds/a/rollback/",
        "/v1/kinds/a/",
        "/v1/kinds/a/Rollback",
    ] {
        assert_eq!(parse_kind_path(other).unwrap_err().code(), "bad_path");
    }
    assert_eq!(
        parse_kind_path("/v1/kinds/a/b").unwrap_err().code(),
        "bad_path"
    );
    assert_eq!(
        parse_kind_path("/v1/kinds").unwrap_err().code(),
        "not_found"
    );
}
