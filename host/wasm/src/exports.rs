//! A guest's exports, called on the thread or on a fiber.

use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, Waker};

use wasmtime::component::{ComponentNamedList, Func, Lift, Lower};
use wasmtime::{Store, StoreContextMut, Trap, UpdateDeadline};

use crate::bindings::{Context, Entity, types};
use crate::component::Component;
use crate::state::State;

/// The exports of an instance.
pub(crate) enum Exports {
    /// Of a component that never waits: called on the thread.
    Plain(Entity),
    /// Of a component that imports `call`: called on a fiber.
    Fiber(Fiber),
}

/// The exports of an instance that runs on fibers. The generated bindings know one way of calling only.
#[derive(Clone, Copy)]
pub(crate) struct Fiber {
    describe: Func,
    activate: Func,
    handle: Func,
    snapshot: Func,
    on_timer: Func,
}

impl Fiber {
    /// Instantiates a component that imports `call`.
    pub(crate) async fn start(
        component: &Component,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Self> {
        let pre = component.pre.instance_pre();
        let instance = pre.instantiate_async(&mut *store).await?;
        let missing = |name: &str| wasmtime::format_err!("the export {name} is missing");
        let guest = instance
            .get_export_index(&mut *store, None, GUEST)
            .ok_or_else(|| missing(GUEST))?;
        let mut export = |name: &str| {
            let index = instance.get_export_index(&mut *store, Some(&guest), name);
            index
                .and_then(|index| instance.get_func(&mut *store, index))
                .ok_or_else(|| missing(name))
        };
        Ok(Self {
            describe: export("describe")?,
            activate: export("activate")?,
            handle: export("handle")?,
            snapshot: export("snapshot")?,
            on_timer: export("on-timer")?,
        })
    }

    pub(crate) async fn describe(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Vec<types::Kind>> {
        call(store, self.describe, ()).await
    }

    pub(crate) async fn activate(
        &self,
        store: &mut Store<State>,
        me: &types::EntityId,
        stored: Option<&types::State>,
    ) -> wasmtime::Result<Result<(), types::Rejection>> {
        call(store, self.activate, (me, stored)).await
    }

    pub(crate) async fn handle(
        &self,
        store: &mut Store<State>,
        context: &Context,
        method: &str,
        arguments: &[u8],
    ) -> wasmtime::Result<Result<Vec<u8>, types::Rejection>> {
        call(store, self.handle, (context, method, arguments)).await
    }

    pub(crate) async fn snapshot(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<types::State> {
        call(store, self.snapshot, ()).await
    }

    pub(crate) async fn on_timer(
        &self,
        store: &mut Store<State>,
        name: &str,
        fire: u64,
        payload: &[u8],
    ) -> wasmtime::Result<Result<(), types::Rejection>> {
        call(store, self.on_timer, (name, fire, payload)).await
    }
}

/// Looking the type up again each time costs some hundred nanoseconds, beside the fiber's switch.
async fn call<P, R>(store: &mut Store<State>, export: Func, arguments: P) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList,
{
    let export = export.typed::<P, (R,)>(&*store)?;
    let (answer,) = export.call_async(store, arguments).await?;
    Ok(answer)
}

/// Runs a guest on a fiber to its end without leaving the thread. Outside of turns a guest yields but never waits.
pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = TaskContext::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// What a guest on a fiber does at each tick: lets others run, until its time is used up.
pub(crate) fn at_tick(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let meter = &mut store.data_mut().meter;
    meter.ticks_left = meter.ticks_left.saturating_sub(1);
    if meter.ticks_left == 0 {
        return Err(Trap::Interrupt.into());
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(Yield(false))))
}

/// Gives the thread away once.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

const GUEST: &str = "entia:entity/guest@1.0.0";
