//! Names of kinds and methods.

/// The longest name of a kind.
const KIND_CHARACTERS_MAX: usize = 63;

/// `ChatRoom` as `chat-room`, `HTTPServer` as `http-server`.
pub(crate) fn kebab_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut kebab = String::new();
    for (at, character) in characters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| characters[before]);
        let after_lower = before.is_some_and(|c| c.is_lowercase() || c.is_ascii_digit());
        let ends_acronym = before.is_some_and(char::is_uppercase)
            && characters
                .get(at + 1)
                .is_some_and(|next| next.is_lowercase());
        if character.is_uppercase() && (after_lower || ends_acronym) {
            kebab.push('-');
        }
        match character {
            '_' => kebab.push('-'),
            _ => kebab.extend(character.to_lowercase()),
        }
    }
    kebab
}

/// Whether the platform takes it as the name of a kind.
pub(crate) fn is_kind(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.len() <= KIND_CHARACTERS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_the_type_in_kebab_case() {
        for (name, kind) in [
            ("Counter", "counter"),
            ("ChatRoom", "chat-room"),
            ("HTTPServer", "http-server"),
            ("Level2Boss", "level2-boss"),
            ("Snake_Case", "snake-case"),
        ] {
            assert_eq!(kebab_case(name), kind);
            assert!(is_kind(kind));
        }
    }

    #[test]
    fn kinds_are_short_and_begin_with_a_letter() {
        for name in ["", "2d", "-a", "Counter", "a_b", "ü", &"k".repeat(64)] {
            assert!(!is_kind(name), "{name}");
        }
    }
}
