use std::collections::BTreeSet;
use std::fs;

use entia_api::body::{KindBody, MethodBody};
use entia_protocol::{Digest, KindName, Limits};
use serde_json::{Value, json};

use super::changes::{added, between};
use super::*;
use crate::output::Output;

fn kind(methods: Vec<MethodBody>) -> KindBody {
    KindBody {
        name: KindName::new("notebook").unwrap(),
        doc: String::new(),
        version: 2,
        digest: Digest::of(b""),
        component_bytes: 70_000,
        durability: Durability::Memory,
        shards: 64,
        limits: Limits::default(),
        schema_version: 1,
        config: vec![],
        methods,
        deployed_ms: 0,
        entities_live: 0,
    }
}

fn method(name: &str, arguments: Value) -> MethodBody {
    MethodBody {
        name: name.to_owned(),
        doc: String::new(),
        query: false,
        arguments,
        result: json!({"type": "null"}),
        rejection: None,
    }
}

fn takes(schema: Value) -> Value {
    json!({"type": "object", "properties": {"a": schema}, "required": ["a"]})
}

#[test]
fn callers_are_told_what_is_new_gone_and_different() {
    let before = kind(vec![
        method("same", json!({})),
        method("typed", takes(json!({"type": "integer"}))),
        method("bounded", takes(json!({"type": "integer"}))),
        method("gone", json!({})),
    ]);
    let now = kind(vec![
        method("same", json!({})),
        method("fresh", json!({})),
        method("typed", takes(json!({"type": "string"}))),
        method("bounded", takes(json!({"type": "integer", "minimum": 0}))),
    ]);
    let shown = |changes: Vec<_>| Vec::from_iter(changes.iter().map(ToString::to_string));
    assert_eq!(
        shown(between(Some(&before), &now)),
        [
            "new: fresh()",
            "now: typed(a: string), was: typed(a: integer)",
            "other types behind: bounded(a: integer)",
            "gone: gone()",
        ]
    );
    assert_eq!(added(&before, &now).unwrap().name, "fresh");
    assert_eq!(shown(between(Some(&now), &now)), [""; 0]);
    assert_eq!(shown(between(None, &now)).len(), 4);
}

#[test]
fn a_step_is_a_line_of_text_or_of_json() {
    let step = Step::Deployed {
        kind: KindName::new("notebook").unwrap(),
        version: 3,
        ms: 420,
        entities_live: 1,
        changes: vec![],
        call: None,
    };
    let plain = Output::plain();
    let line = "deployed notebook as version 3 in 0.4 s, 1 entity live";
    assert_eq!(step.text(&plain), line);
    let json = serde_json::to_string(&step).unwrap();
    assert!(
        json.starts_with(r#"{"step":"deployed","kind":"notebook","version":3,"#),
        "{json}"
    );
    assert_eq!(Step::Built { ms: 1_950 }.text(&plain), "built in 1.9 s");
    let failed = |still_runs| Step::Failed {
        error: failure::detail(&failure::Failure::new("it does not build", "mend it").into()),
        still_runs,
    };
    let text = "error: it does not build\n  next: mend it\nversion 2 still runs";
    assert_eq!(failed(Some(2)).text(&plain), text);
    assert!(failed(None).text(&plain).ends_with("nothing runs yet"));
}

#[tokio::test]
async fn saving_by_rename_and_new_directories_are_changes() {
    let dir = tempfile::tempdir().unwrap();
    let project = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir(project.join("src")).unwrap();
    fs::write(project.join("src/lib.rs"), "1").unwrap();
    let mut watch = Watch::new(&project, None).unwrap();

    fs::write(project.join("src/lib.rs~"), "2").unwrap();
    fs::rename(project.join("src/lib.rs~"), project.join("src/lib.rs")).unwrap();
    assert_eq!(watch.changed().await.unwrap(), ["src/lib.rs"]);

    fs::write(project.join("src/sedXYZ"), "3").unwrap();
    fs::rename(project.join("src/sedXYZ"), project.join("src/lib.rs")).unwrap();
    assert_eq!(watch.changed().await.unwrap(), ["src/lib.rs"]);
    fs::remove_file(project.join("src/lib.rs")).unwrap();
    assert_eq!(watch.changed().await.unwrap(), ["src/lib.rs"]);

    fs::create_dir(project.join("types")).unwrap();
    assert_eq!(watch.changed().await.unwrap(), ["types"]);
    fs::write(project.join("types/mod.rs"), "3").unwrap();
    assert_eq!(watch.changed().await.unwrap(), ["types/mod.rs"]);
}

#[tokio::test]
async fn what_cargo_the_node_and_editors_leave_is_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let project = fs::canonicalize(dir.path()).unwrap();
    for made in ["src", "target/debug", ".git", ".entia", "store", "built"] {
        fs::create_dir_all(project.join(made)).unwrap();
    }
    fs::write(project.join("built/CACHEDIR.TAG"), "").unwrap();
    let mut watch = Watch::new(&project, Some(&project.join("store"))).unwrap();
    for path in [
        "target/debug/lib.rlib",
        "target/lib.rlib",
        ".git/HEAD",
        ".entia/watermark",
        "store/watermark",
        "built/lib.rlib",
        "Cargo.lock",
        "src/.lib.rs.swp",
        "src/#lib.rs#",
        "src/lib.rs~",
    ] {
        fs::write(project.join(path), "x").unwrap();
    }
    // Reading is none, either.
    fs::read_dir(project.join("src")).unwrap().count();
    fs::write(project.join("src/lib.rs"), "x").unwrap();
    assert_eq!(watch.changed().await.unwrap(), ["src/lib.rs"]);
}

#[tokio::test]
async fn packages_beside_the_project_are_watched_when_a_build_has_named_them() {
    let dir = tempfile::tempdir().unwrap();
    let parent = fs::canonicalize(dir.path()).unwrap();
    for made in ["project/src", "shared/src"] {
        fs::create_dir_all(parent.join(made)).unwrap();
    }
    let mut watch = Watch::new(&parent.join("project"), None).unwrap();
    let shared = parent.join("shared");
    watch.also(&BTreeSet::from([shared.clone()])).unwrap();
    let path = shared.join("src/lib.rs");
    fs::write(&path, "x").unwrap();
    assert_eq!(watch.changed().await.unwrap(), [path.display().to_string()]);
}

#[test]
fn a_ready_made_call_has_the_arguments_in_the_authors_order_and_names_a_node_that_is_not_the_usual_one()
 {
    let arguments = json!({
        "type": "object",
        "properties": {"text": {"type": "string"}, "title": {"type": "string"}},
        "required": ["title", "text"],
    });
    let kind = kind(vec![method("write", arguments)]);
    let usual = r#"entia call notebook/mine write '{"title": "title", "text": "text"}'"#;
    assert_eq!(sample::call(&kind, None).unwrap(), usual);
    let other = format!("{usual} --api http://127.0.0.1:1");
    let api = Some("http://127.0.0.1:1");
    assert_eq!(sample::call(&kind, api).unwrap(), other);
    let empty = kind_of_one("reset");
    let call = sample::call(&empty, None).unwrap();
    assert_eq!(call, "entia call notebook/mine reset");
}

fn kind_of_one(name: &str) -> KindBody {
    kind(vec![method(name, json!({}))])
}
