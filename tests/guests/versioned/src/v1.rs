use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Versioned {
    count: u64,
    #[serde(default)]
    ballast: String,
}

/// Counts, and says which code does.
#[entity]
impl Versioned {
    /// Adds to the count and returns it.
    fn add(&mut self, by: u64) -> u64 {
        self.count += by;
        self.count
    }

    /// The count.
    fn count(&self) -> u64 {
        self.count
    }

    /// Makes the state so many bytes longer.
    fn fill(&mut self, bytes: u32) {
        self.ballast = "x".repeat(bytes as usize);
    }

    /// Which version of the code answers.
    fn code(&self) -> String {
        if cfg!(feature = "again") {
            "again".to_owned()
        } else {
            "v1".to_owned()
        }
    }

    /// Becomes a command.
    fn look(&self) -> u64 {
        self.count
    }

    /// Goes away.
    fn old(&self) -> u64 {
        self.count
    }

    /// Gets an argument that has to be given.
    fn label(&self, text: String) -> String {
        text
    }

    /// Loses an argument.
    fn cut(&self, text: String, at: u32) -> String {
        text.chars().take(at as usize).collect()
    }

    /// Gets another result.
    fn size(&self) -> u32 {
        u32::BITS
    }
}
