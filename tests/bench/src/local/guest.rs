//! The counter on plain wasmtime: the same component and the engine's settings of `entia-wasm`, written out again, since a
//! floor has none of our crates.

use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Result, Store, format_err};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use generated::entia::entity::types::{Caller, EntityId};
use generated::entia::entity::{config, log, types};
use generated::exports::entia::entity::guest::Context;
use generated::{Entity, EntityPre};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "entity",
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

/// Starts instances.
pub(crate) struct Guests {
    engine: Engine,
    pre: EntityPre<State>,
}

/// One instance in a store of its own.
pub(crate) struct Guest {
    store: Store<State>,
    exports: Entity,
    context: Context,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Guests {
    pub(crate) fn compile(wasm: &[u8]) -> Result<Self> {
        let engine = Engine::new(&engine_config())?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
        log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
        config::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
        let pre = EntityPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    pub(crate) fn start(&self, key: String) -> Result<Guest> {
        let state = State {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&self.engine, state);
        // Nobody advances the epoch; the guest's checks of it are part of the code all the same.
        store.set_epoch_deadline(u64::MAX / 2);
        let exports = self.pre.instantiate(&mut store)?;
        let me = EntityId {
            kind: "counter".to_owned(),
            key,
        };
        let guest = exports.entia_entity_guest();
        let activated = guest.call_activate(&mut store, &me, None)?;
        activated.map_err(|refused| format_err!("{}", refused.message))?;
        Ok(Guest {
            store,
            exports,
            context: Context {
                caller: Caller::Anonymous,
                key: "00".repeat(16),
                attempt: 1,
                deadline_left_ms: 10_000,
            },
        })
    }
}

impl Guest {
    pub(crate) fn handle(&mut self, method: &str, arguments: &Vec<u8>) -> Result<Vec<u8>> {
        let guest = self.exports.entia_entity_guest();
        let answer = guest.call_handle(&mut self.store, &self.context, method, arguments)?;
        answer.map_err(|refused| format_err!("{}", refused.message))
    }

    /// Returns its bytes' number.
    pub(crate) fn snapshot(&mut self) -> Result<usize> {
        let guest = self.exports.entia_entity_guest();
        Ok(guest.call_snapshot(&mut self.store)?.bytes.len())
    }
}

/// Keep in step with `entia_wasm::engine`.
fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(0)
        .guard_before_linear_memory(false)
        .memory_init_cow(false)
        .wasm_memory64(false)
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    config
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, _level: log::Level, _message: String) -> Result<()> {
        Ok(())
    }
}

impl config::Host for State {
    fn read(&mut self, _name: String) -> Result<Option<String>> {
        Ok(None)
    }
}
