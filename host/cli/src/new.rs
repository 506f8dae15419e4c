//! `entia new`: a project that builds outside of any repository.
//!
//! Until `entia-sdk` is published, the binary carries its source and writes it beside the project:
//!
//! ```text
//!   NAME/                      Cargo.toml, src/lib.rs, README.md, from the template
//!   entia-sdk-VERSION/         guest-sdk/ and wit/, shared by the projects beside it
//! ```

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use entia_protocol::KindName;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

pub(crate) fn run(name: &str, output: &Output) -> anyhow::Result<()> {
    create(Path::new(""), name)?;
    let made = json!({"directory": name, "sdk": SDK_DIR});
    output.result(&made, |_| {
        format!(
            "{name}/ is a new entity; its SDK is in {SDK_DIR}/\n\n  cd {name}\n  entia dev       builds, runs and deploys it, and again with every change of its source"
        )
    })
}

fn create(parent: &Path, name: &str) -> anyhow::Result<()> {
    check_name(name)?;
    let project = parent.join(name);
    // Claimed first, and given up again if there is no SDK for it.
    make_dir(&project)?;
    if let Err(error) = write_sdk(&parent.join(SDK_DIR)) {
        fs::remove_dir(&project)?;
        return Err(error);
    }
    let type_name = pascal(name);
    for (path, bytes) in TEMPLATE {
        let path = path.strip_prefix("template/").unwrap_or(path);
        let path = path.strip_suffix(".template").unwrap_or(path);
        let path = if path == "gitignore" {
            ".gitignore"
        } else {
            path
        };
        let text = std::str::from_utf8(bytes).context("the template is text")?;
        let text = text
            .replace("{{name}}", name)
            .replace("{{type}}", &type_name)
            .replace("{{sdk}}", &format!("../{SDK_DIR}/guest-sdk"));
        write(&project.join(path), text.as_bytes())?;
    }
    Ok(())
}

/// The name becomes a kind, a directory, a crate and a type.
fn check_name(name: &str) -> anyhow::Result<()> {
    let refuse = |message: String| Failure::new(message, "choose a name such as chat-room");
    KindName::new(name).map_err(|error| refuse(error.to_string()))?;
    if name.ends_with('-') || name.contains("--") {
        return Err(refuse(format!("`{name}` has a hyphen that joins nothing")).into());
    }
    if TAKEN.contains(&name) || name == SDK_DIR {
        return Err(refuse(format!("`{name}` means something else to Rust")).into());
    }
    Ok(())
}

/// Projects beside each other share the SDK; one that was changed is not overwritten, nor silently used.
fn write_sdk(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        let same = |(path, bytes): &(&str, &[u8])| {
            fs::read(dir.join(path)).is_ok_and(|found| found == *bytes)
        };
        if SDK.iter().all(same) {
            return Ok(());
        }
        let dir = dir.display();
        let message = format!("{dir} exists and is not the SDK of this version");
        return Err(Failure::new(message, format!("move {dir} away, and try again")).into());
    }
    make_dir(dir)?;
    SDK.iter()
        .try_for_each(|(path, bytes)| write(&dir.join(path), bytes))
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(
            format!("{} exists", dir.display()),
            "choose another name, or move it away; nothing was changed in it",
        )
        .into(),
        _ => anyhow::Error::from(error).context(format!("cannot make {}", dir.display())),
    })
}

/// Writes a file that does not exist, with the directories on the way to it.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::File::create_new(path)?.write_all(bytes)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

fn pascal(name: &str) -> String {
    name.split('-')
        .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
        .collect()
}

const SDK_DIR: &str = concat!("entia-sdk-", env!("CARGO_PKG_VERSION"));

/// Rust's keywords, and crates and types that the project's code names.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "context",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "entia-sdk",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "host",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "note",
    "option",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "refusal",
    "result",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "string",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "vec",
    "virtual",
    "where",
    "while",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_and_its_sdk_are_written_side_by_side() {
        let parent = tempfile::tempdir().unwrap();
        create(parent.path(), "chat-room").unwrap();
        let read = |path: &str| fs::read_to_string(parent.path().join(path)).unwrap();
        let manifest = read("chat-room/Cargo.toml");
        assert!(manifest.contains("name = \"chat-room\""), "{manifest}");
        assert!(
            manifest.contains(&format!("../{SDK_DIR}/guest-sdk")),
            "{manifest}"
        );
        assert!(read("chat-room/src/lib.rs").contains("struct ChatRoom"));
        assert!(read("chat-room/README.md").contains("chat-room"));
        assert!(read("chat-room/.gitignore").contains("target"));
        let sdk = read(&format!("{SDK_DIR}/guest-sdk/Cargo.toml"));
        assert!(sdk.contains("name = \"entia-sdk\""), "{sdk}");
        read(&format!("{SDK_DIR}/guest-sdk/macros/src/lib.rs"));
        read(&format!("{SDK_DIR}/wit/entity.wit"));
        for (path, _) in TEMPLATE {
            assert!(path.ends_with(".template"), "{path}");
        }
        for file in ["Cargo.toml", "src/lib.rs", "README.md"] {
            let text = read(&format!("chat-room/{file}"));
            assert!(!text.contains("{{"), "a placeholder is left in {file}");
        }
    }

    #[test]
    fn projects_share_an_sdk_that_nobody_changed() {
        let parent = tempfile::tempdir().unwrap();
        create(parent.path(), "one").unwrap();
        create(parent.path(), "two").unwrap();
        let wit = parent.path().join(SDK_DIR).join("wit/entity.wit");
        fs::write(wit, "mine").unwrap();
        let error = create(parent.path(), "three").unwrap_err();
        assert!(error.to_string().contains("not the SDK of this version"));
        assert!(!parent.path().join("three").exists());
    }

    #[test]
    fn what_exists_is_not_touched() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("counter")).unwrap();
        let error = create(parent.path(), "counter").unwrap_err();
        assert!(error.to_string().ends_with("counter exists"), "{error}");
        let mut inside = fs::read_dir(parent.path().join("counter")).unwrap();
        assert!(inside.next().is_none());
        assert!(!parent.path().join(SDK_DIR).exists());
    }

    #[test]
    fn a_name_that_is_no_name_or_leaves_the_directory_writes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        for name in [
            "",
            ".",
            "..",
            "../x",
            "/tmp/x",
            "a/b",
            "a\\b",
            "Counter",
            "9x",
            "a_b",
            "-a",
            "a-",
            "a--b",
            "ü",
            "a b",
            "struct",
            "test",
            "std",
            &"k".repeat(64),
            "a\0",
            "{{name}}",
        ] {
            let error = create(parent.path(), name).unwrap_err();
            assert!(error.downcast_ref::<Failure>().is_some(), "{name}: {error}");
        }
        assert!(fs::read_dir(parent.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_kind_becomes_a_type() {
        let types = ["counter", "chat-room", "x-9-y"].map(pascal);
        assert_eq!(types, ["Counter", "ChatRoom", "X9Y"]);
    }
}
