use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Versioned {
    total: u64,
    #[serde(default)]
    ballast: String,
}

#[derive(Deserialize)]
struct Version1 {
    count: u64,
    ballast: String,
}

/// Counts, and says which code does.
#[entity(schema = 2)]
impl Versioned {
    /// Adds to the count and returns it. The note is new, and can be left out.
    fn add(&mut self, by: u64, note: Option<String>) -> u64 {
        drop(note);
        self.total += by;
        self.total
    }

    /// The count, in other words than before.
    fn count(&self) -> u64 {
        self.total
    }

    /// Makes the state so many bytes longer.
    fn fill(&mut self, bytes: u32) {
        self.ballast = "x".repeat(bytes as usize);
    }

    /// Which version of the code answers.
    fn code(&self) -> String {
        "v2".to_owned()
    }

    /// Became a command.
    fn look(&mut self) -> u64 {
        self.total
    }

    /// Got an argument that has to be given.
    fn label(&self, text: String, size: u32) -> String {
        text.repeat(size as usize)
    }

    /// Lost an argument.
    fn cut(&self, text: String) -> String {
        text
    }

    /// Got another result.
    fn size(&self) -> String {
        "32 bits".to_owned()
    }

    /// New.
    fn new(&self) -> u64 {
        self.total
    }

    #[upgrade]
    fn upgrade(_from: u32, bytes: &[u8]) -> Result<Self, String> {
        let Version1 { count, ballast } = decode(bytes)?;
        if count >= 100 && cfg!(feature = "v2_refuses") {
            return Err(format!("{count} is more than this version can count"));
        }
        assert!(
            count < 100 || !cfg!(feature = "v2_traps"),
            "{count} is more than this version thought of"
        );
        Ok(Self {
            total: count,
            ballast,
        })
    }
}
