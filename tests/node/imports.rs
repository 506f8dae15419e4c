//! A component imports what its methods use and nothing else: one that imports `call` runs on a fiber, which costs every turn
//! of it time, so a reference that only sends must not bring it in.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use entia_tests::guest;
use wasmparser::{Parser, Payload};

/// The interfaces of the contract that a guest's component imports, without those of WASI.
fn imports(name: &str) -> Vec<String> {
    let bytes = fs::read(guest(name)).unwrap();
    let mut interfaces = Vec::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        // Of nested components, too; those that the tools make import functions by other names.
        let Payload::ComponentImportSection(section) = payload.unwrap() else {
            continue;
        };
        for import in section {
            let name = import.unwrap().name.name;
            let interface = name.strip_prefix("entia:entity/");
            let interface = interface.and_then(|rest| rest.strip_suffix("@1.0.0"));
            interfaces.extend(interface.map(str::to_owned));
        }
    }
    interfaces.sort();
    interfaces
}

#[test]
fn references_that_nobody_uses_import_nothing() {
    assert_eq!(imports("counter"), ["log", "types"]);
    assert_eq!(imports("chat_inbox"), ["types"]);
}

#[test]
fn references_that_only_send_do_not_import_what_waits() {
    assert_eq!(imports("account"), ["send", "types"]);
    let of_a_room = ["config", "log", "send", "timers", "types"];
    assert_eq!(imports("chat_room"), of_a_room);
}
