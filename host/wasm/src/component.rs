use std::path::Path;
use std::sync::Arc;

use entia_protocol::{Digest, EntityId, KindDescription, KindName, Limits};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::artifact::Artifacts;
use crate::bindings::{self, EntityPre};
use crate::compile::Compiler;
use crate::engine::{self, Ticker};
use crate::instance::{GuestConfig, Instance};
use crate::memory::Memory;
use crate::state::State;
use crate::{Refusal, effects, wasi};

/// Compiles, checks and starts components.
pub struct Host {
    engine: Engine,
    linker: Linker<State>,
    artifacts: Artifacts,
    ticker: Ticker,
    memory: Arc<Memory>,
    component_bytes_max: u64,
}

/// What a [`Host`] needs to know.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The program that compiles.
    pub compiler: Compiler,
    /// The longest component, in bytes.
    pub component_bytes_max: u64,
    /// Linear memory of all guests together, in bytes, apart from the first [`FREE_BYTES`](crate::FREE_BYTES) of each.
    pub memory_bytes_max: u64,
}

/// A component that fits the contract, compiled and linked.
#[derive(Clone)]
pub struct Component {
    pub(crate) pre: EntityPre<State>,
    digest: Digest,
    /// Which of the contract's imports with an effect it has.
    pub(crate) imports: Imports,
}

/// The imports that make a component cost more to run than one that has none of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Imports {
    /// `call`: it waits, and so runs on a fiber.
    pub(crate) call: bool,
    /// `call`, `send` or `timers`: its turns need to know their command.
    pub(crate) effects: bool,
}

impl Host {
    /// Prepares an engine that keeps its artifacts in `dir`.
    pub fn new(dir: &Path, options: HostOptions) -> Result<Self, HostError> {
        let engine = Engine::new(&engine::config()).map_err(|error| HostError::Engine {
            message: format!("{error:#}"),
        })?;
        let linker = linker(&engine).map_err(|error| HostError::Engine {
            message: format!("{error:#}"),
        })?;
        let artifacts = Artifacts::open(dir, &engine, options.compiler).map_err(|source| {
            HostError::Artifacts {
                dir: dir.display().to_string(),
                source,
            }
        })?;
        let ticker =
            Ticker::start(engine.clone()).map_err(|source| HostError::Ticker { source })?;
        Ok(Self {
            engine,
            linker,
            artifacts,
            ticker,
            memory: Arc::new(Memory::new(options.memory_bytes_max)),
            component_bytes_max: options.component_bytes_max,
        })
    }

    /// Compiles a component, or takes it from the artifacts, and checks that it fits the contract.
    pub fn prepare(&self, wasm: &[u8]) -> Result<Component, Refusal> {
        self.check_header(wasm)?;
        let digest = Digest::of(wasm);
        let component = self.artifacts.component(&self.engine, &digest, wasm)?;
        let mut imports = Imports::default();
        for (name, _) in component.component_type().imports(&self.engine) {
            check_import(name)?;
            let interface = name.split('@').next().unwrap_or(name);
            imports.call |= interface == "entia:entity/call";
            imports.effects |= EFFECTS.contains(&interface);
        }
        let world = |error: wasmtime::Error| Refusal::World {
            message: format!("{error:#}"),
        };
        let pre = self.linker.instantiate_pre(&component).map_err(world)?;
        Ok(Component {
            pre: EntityPre::new(pre).map_err(world)?,
            digest,
            imports,
        })
    }

    /// Asks a component what kinds it implements.
    pub fn describe(&self, component: &Component) -> Result<Vec<KindDescription>, Refusal> {
        let nobody = EntityId::new(KindName::new("describe").expect("it is a name"), "describe")
            .expect("it is an address");
        let config = GuestConfig {
            limits: Limits {
                cpu_ms_max: DESCRIBE_MS_MAX,
                ..Limits::default()
            },
            settings: Default::default(),
        };
        let mut instance =
            Instance::start(self, component, &nobody, &config, 0).map_err(Refusal::Describe)?;
        let kinds = instance.describe(&self.ticker).map_err(Refusal::Describe)?;
        check_description(&kinds)?;
        Ok(kinds)
    }

    /// Removes a component's artifact. Instances that run go on.
    pub fn forget(&self, digest: &Digest) {
        self.artifacts.forget(digest);
    }

    /// The longest component that [`Host::prepare`] takes, in bytes.
    pub fn component_bytes_max(&self) -> u64 {
        self.component_bytes_max
    }

    /// The linear memory of all guests together, in bytes, counted as its bound is.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    /// Tells apart what people give by mistake, from the first bytes alone.
    fn check_header(&self, wasm: &[u8]) -> Result<(), Refusal> {
        if wasm.len() as u64 > self.component_bytes_max {
            return Err(Refusal::TooLarge {
                bytes: wasm.len() as u64,
                bytes_max: self.component_bytes_max,
            });
        }
        match wasm {
            [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
            [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Refusal::CoreModule),
            [0x7f, b'E', b'L', b'F', ..] | [b'E', b'N', b'T', b'I', b'A', b'C', ..] => {
                Err(Refusal::Precompiled)
            }
            [b'\0', b'a', b's', b'm', ..] | [] => Err(Refusal::Invalid {
                message: format!("it has only {} bytes", wasm.len()),
            }),
            _ => {
                let found = wasm
                    .iter()
                    .take(8)
                    .map(|byte| format!("{byte:02x} "))
                    .collect::<String>();
                Err(Refusal::NotWasm {
                    found: found.trim().to_owned(),
                })
            }
        }
    }
}

impl Component {
    /// The hash of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether its turns may wait for other entities: then [`Host::handle_waiting`] runs them.
    pub fn waits(&self) -> bool {
        self.imports.call
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Component").field(&self.digest).finish()
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("artifacts", &self.artifacts)
            .finish_non_exhaustive()
    }
}

/// Why a [`Host`] cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime does not run here.
    #[error("the WebAssembly engine does not start on this machine: {message}")]
    Engine {
        /// What it said.
        message: String,
    },
    /// The artifacts' directory cannot be used.
    #[error("the artifact cache {dir} cannot be used")]
    Artifacts {
        /// The directory.
        dir: String,
        /// Why.
        source: std::io::Error,
    },
    /// No thread could be started.
    #[error("the epoch thread does not start")]
    Ticker {
        /// Why.
        source: std::io::Error,
    },
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    bindings::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::config::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::send::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::timers::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    effects::add_call_to_linker(&mut linker)?;
    Ok(linker)
}

/// Refuses by name, and with what to do instead, the imports that guests are likely to have and entities do not.
fn check_import(name: &str) -> Result<(), Refusal> {
    let refused = |reason: &str| {
        Err(Refusal::Import {
            name: name.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let interface = name.split('@').next().unwrap_or(name);
    match interface {
        "entia:entity/types" | "entia:entity/log" | "entia:entity/config" => Ok(()),
        _ if EFFECTS.contains(&interface) => Ok(()),
        _ if interface.starts_with("entia:entity/") => refused("it is not in the contract"),
        _ if interface.starts_with("wasi:sockets/") => refused("entities have no sockets"),
        _ if interface.starts_with("wasi:http/") => {
            refused("outgoing HTTP is not open to entities on this node")
        }
        _ if [
            "wasi:cli/",
            "wasi:clocks/",
            "wasi:filesystem/",
            "wasi:io/",
            "wasi:random/",
        ]
        .iter()
        .any(|known| interface.starts_with(known)) =>
        {
            Ok(())
        }
        _ => refused("no entity has it"),
    }
}

fn check_description(kinds: &[KindDescription]) -> Result<(), Refusal> {
    let wrong = |message: String| Err(Refusal::Description { message });
    if kinds.is_empty() || kinds.len() > KINDS_MAX {
        return wrong(format!(
            "it names {} kinds; 1 to {KINDS_MAX} are allowed",
            kinds.len()
        ));
    }
    for (place, kind) in kinds.iter().enumerate() {
        if let Err(error) = KindName::new(&kind.name) {
            return wrong(error.to_string());
        }
        if kinds[..place].iter().any(|other| other.name == kind.name) {
            return wrong(format!("it names the kind `{}` twice", kind.name));
        }
        if kind.schema_version_oldest > kind.schema_version {
            return wrong(format!("`{}` reads no version that it writes", kind.name));
        }
        if kind.methods.len() > METHODS_MAX {
            return wrong(format!(
                "`{}` has more than {METHODS_MAX} methods",
                kind.name
            ));
        }
        for (place, method) in kind.methods.iter().enumerate() {
            let name = &method.name;
            let fine = !name.is_empty()
                && name.len() <= entia_protocol::METHOD_BYTES_MAX
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            if !fine {
                return wrong(format!(
                    "`{name:.40}` is not a method's name: letters, digits, _, - and ."
                ));
            }
            if name == RESERVED {
                return wrong(format!(
                    "`{}` has a method `{name}`, which is the API's own path",
                    kind.name
                ));
            }
            if kind.methods[..place]
                .iter()
                .any(|other| other.name == *name)
            {
                return wrong(format!("`{}` has the method `{name}` twice", kind.name));
            }
        }
    }
    Ok(())
}

/// The interfaces by which an entity has an effect on others, or on itself later.
const EFFECTS: [&str; 3] = [
    "entia:entity/call",
    "entia:entity/send",
    "entia:entity/timers",
];
/// The time of `describe`. It is elapsed time, and a deployment must not fail because the machine is busy.
const DESCRIBE_MS_MAX: u64 = 1_000;
const KINDS_MAX: usize = 16;
const METHODS_MAX: usize = 256;
/// `POST /v1/entities/{kind}/{key}/release` ends a quarantine.
const RESERVED: &str = "release";
