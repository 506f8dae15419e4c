use super::*;
use crate::{PAGE_ENTRIES_MAX, Page};

fn with_keys(keys: &[&str]) -> (Store, TempDir) {
    let (store, dir) = new_store();
    let answers: Vec<_> = keys
        .iter()
        .map(|key| queue(&store, put(key, key)))
        .collect();
    for answer in answers {
        answer.recv().unwrap().unwrap();
    }
    (store, dir)
}

fn page(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> Page {
    store
        .entities(&kind("counter"), prefix, after, limit)
        .unwrap()
}

fn keys(page: &Page) -> Vec<&str> {
    page.entities
        .iter()
        .map(|entity| entity.key.as_str())
        .collect()
}

/// Every key, page by page.
fn walk(store: &Store, prefix: &str, limit: usize) -> Vec<String> {
    let mut walked = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = page(store, prefix, after.as_deref(), limit);
        walked.extend(keys(&page).into_iter().map(str::to_owned));
        match page.next {
            Some(next) => after = Some(next),
            None => return walked,
        }
    }
}

#[test]
fn a_list_has_keys_sequences_and_lengths() {
    let (store, _dir) = with_keys(&["bob", "alice"]);
    let page = page(&store, "", None, 10);
    let entities: Vec<_> = page
        .entities
        .iter()
        .map(|entity| (entity.key.as_str(), entity.sequence, entity.state_bytes))
        .collect();
    assert_eq!(entities, [("alice", 2, 5), ("bob", 1, 3)]);
    assert_eq!(page.next, None);
}

#[test]
fn keys_are_in_order_whatever_they_contain_and_however_large_the_page() {
    let mut all = [
        "a",
        "a\0",
        "a\0b",
        "aa",
        "a/b",
        "ab",
        "b",
        "\0",
        "\0\0",
        "ä",
        "äb",
        "z",
        "日本",
        "日本語",
        "🦀",
        "~",
    ];
    let (store, _dir) = with_keys(&all);
    all.sort_unstable();
    for limit in 1..=all.len() + 1 {
        assert_eq!(walk(&store, "", limit), all, "{limit} at a time");
        for prefix in ["a", "a\0", "日本", "ä", "nothing"] {
            let expected: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).collect();
            assert_eq!(
                walk(&store, prefix, limit),
                expected.into_iter().copied().collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn a_cursor_outside_the_prefix_starts_at_it_or_finds_nothing() {
    let (store, _dir) = with_keys(&["a1", "b1", "b2", "c1"]);
    assert_eq!(keys(&page(&store, "b", Some("a9"), 10)), ["b1", "b2"]);
    assert_eq!(keys(&page(&store, "b", Some("b1"), 10)), ["b2"]);
    assert!(keys(&page(&store, "b", Some("b2"), 10)).is_empty());
    assert!(keys(&page(&store, "b", Some("c"), 10)).is_empty());
    assert!(keys(&page(&store, "b", Some("z"), 10)).is_empty());
    assert_eq!(
        keys(&page(&store, "", Some("b15"), 10)),
        ["b2", "c1"],
        "a cursor need not exist"
    );
}

#[test]
fn a_page_has_at_least_one_and_at_most_a_thousand_entries() {
    let names: Vec<_> = (0..PAGE_ENTRIES_MAX + 1)
        .map(|number| format!("{number:05}"))
        .collect();
    let (store, _dir) = with_keys(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let first = page(&store, "", None, usize::MAX);
    assert_eq!(first.entities.len(), PAGE_ENTRIES_MAX);
    assert_eq!(first.next.as_deref(), Some("00999"));
    let last = page(&store, "", first.next.as_deref(), usize::MAX);
    assert_eq!((keys(&last), last.next.as_deref()), (vec!["01000"], None));
    assert_eq!(page(&store, "", None, 0).entities.len(), 1);
}

#[test]
fn kinds_whose_names_begin_alike_are_listed_apart() {
    let (store, _dir) = with_keys(&["alice"]);
    let other = EntityId::new(kind("counter-2"), "bob").unwrap();
    store
        .commit_and_wait(EntityCommit::put(other, state("x")))
        .unwrap();
    assert_eq!(keys(&page(&store, "", None, 10)), ["alice"]);
    let others = store.entities(&kind("counter-2"), "", None, 10).unwrap();
    assert_eq!(keys(&others), ["bob"]);
}

#[test]
fn an_entity_without_a_state_is_not_listed() {
    let (store, _dir) = with_keys(&["alice"]);
    let commit = EntityCommit {
        remembered: vec![command("a")],
        ..keep("bob")
    };
    store.commit_and_wait(commit).unwrap();
    assert_eq!(keys(&page(&store, "", None, 10)), ["alice"]);
}
