use entia_protocol::CallError;
use serde::{Deserialize, Serialize};

/// Why a component is not accepted. [`Refusal::hint`] says what to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// More bytes than a component may have.
    #[error("the component has {bytes} bytes; {bytes_max} are allowed")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// Not WebAssembly at all.
    #[error("this is not WebAssembly: it begins with {found}")]
    NotWasm {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// A core module.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// Machine code of some wasmtime.
    #[error("this is a precompiled artifact, not a component")]
    Precompiled,
    /// Invalid bytes: truncated, or damaged.
    #[error("the component is not valid: {message}")]
    Invalid {
        /// What the validator said, with the offset.
        message: String,
    },
    /// An import that entities do not have.
    #[error("the component imports `{name}`: {reason}")]
    Import {
        /// The import's full name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// An import or export whose type differs from the contract's, or an export that is missing.
    #[error("the component does not fit the world entia:entity/entity@1.0.0: {message}")]
    World {
        /// Which item, and how it differs.
        message: String,
    },
    /// Compiling takes more than it may.
    #[error("compiling the component took more than {what}")]
    CompileLimit {
        /// Which bound.
        what: String,
    },
    /// The compiler failed for a reason that is not the component's.
    #[error("the component could not be compiled: {message}")]
    CompileFailed {
        /// What happened.
        message: String,
    },
    /// `describe` failed.
    #[error("the component's `describe` failed: {0}")]
    Describe(CallError),
    /// `describe` answered something that cannot be used.
    #[error("the component describes itself wrongly: {message}")]
    Description {
        /// What is wrong.
        message: String,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "build it with `entia build`, which optimises for size",
            Self::NotWasm { .. } => "give the .wasm file that `entia build` prints",
            Self::CoreModule => "build for the target wasm32-wasip2, as `entia build` does",
            Self::Precompiled => "give the .wasm file; the node compiles it itself",
            Self::Invalid { .. } => "build it again; if it was copied, the copy is not whole",
            Self::Import { .. } => "remove the code or the dependency that brings the import in",
            Self::World { .. } => {
                "build it with the entia-sdk of this version; the contract is wit/entity.wit"
            }
            Self::CompileLimit { .. } => "make it smaller, or split its largest function",
            Self::CompileFailed { .. } => "see the node's log; the component itself may be fine",
            Self::Describe(_) => {
                "`describe` runs on a fresh instance, before any `activate`, within a second and the other default limits"
            }
            Self::Description { .. } => "correct what `describe` returns",
        }
    }
}
