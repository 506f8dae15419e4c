//! The exports of a component: the contract's functions on one side, [`Entity`] on the other.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Duration;

use crate::bindings::entia::entity::types;
use crate::bindings::exports::entia::entity::guest::Guest;
use crate::context::{Turn, World};
use crate::describe::{Kind, Method};
use crate::entity::Snapshot;
use crate::{Caller, Context, Entity, EntityId, Rejection};

/// The component whose entities are of one type.
pub struct Component<E>(PhantomData<E>);

impl<E: Entity> Guest for Component<E> {
    fn describe() -> Vec<types::Kind> {
        vec![Kind::of::<E>().into()]
    }

    fn activate(me: types::EntityId, stored: Option<types::State>) -> Result<(), types::Rejection> {
        let entity = E::restore(stored.map(Snapshot::from))?;
        let me = EntityId::from(me);
        let turn = Turn::of_timer(&me, "", 0);
        let activation = Activation {
            context: Context::new(me, turn, World),
            entity: Box::new(entity),
        };
        ACTIVATION.with_borrow_mut(|slot| *slot = Some(activation));
        Ok(())
    }

    fn handle(
        context: types::Context,
        method: String,
        arguments: Vec<u8>,
    ) -> Result<Vec<u8>, types::Rejection> {
        with_activation(|activation| {
            activation.context.begin(context.into());
            let Activation { context, entity } = activation;
            Ok(entity.handle(context, &method, &arguments)?)
        })
    }

    fn snapshot() -> types::State {
        with_activation(|activation| activation.entity.snapshot().into())
    }

    fn on_timer(name: String, fire: u64, payload: Vec<u8>) -> Result<(), types::Rejection> {
        with_activation(|activation| {
            let turn = Turn::of_timer(activation.context.me(), &name, fire);
            activation.context.begin(turn);
            let Activation { context, entity } = activation;
            Ok(entity.on_timer(context, &name, fire, &payload)?)
        })
    }
}

/// The one entity of this instance. A static cannot be generic, so it forgets the entity's type.
struct Activation {
    context: Context,
    entity: Box<dyn AnyEntity>,
}

thread_local! {
    static ACTIVATION: RefCell<Option<Activation>> = const { RefCell::new(None) };
}

fn with_activation<T>(use_it: impl FnOnce(&mut Activation) -> T) -> T {
    ACTIVATION.with_borrow_mut(|slot| {
        use_it(slot.as_mut().expect("the host activates an instance first"))
    })
}

trait AnyEntity {
    fn handle(
        &mut self,
        context: &mut Context,
        method: &str,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Rejection>;
    fn on_timer(
        &mut self,
        context: &mut Context,
        name: &str,
        fire: u64,
        payload: &[u8],
    ) -> Result<(), Rejection>;
    fn snapshot(&self) -> Snapshot;
}

impl<E: Entity> AnyEntity for E {
    fn handle(
        &mut self,
        context: &mut Context,
        method: &str,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Rejection> {
        Entity::handle(self, context, method, arguments)
    }

    fn on_timer(
        &mut self,
        context: &mut Context,
        name: &str,
        fire: u64,
        payload: &[u8],
    ) -> Result<(), Rejection> {
        Entity::on_timer(self, context, name, fire, payload)
    }

    fn snapshot(&self) -> Snapshot {
        Entity::snapshot(self)
    }
}

impl From<Kind> for types::Kind {
    fn from(kind: Kind) -> Self {
        Self {
            name: kind.name,
            doc: kind.doc,
            schema_version: kind.schema_version,
            schema_version_oldest: kind.schema_version_oldest,
            methods: kind.methods.into_iter().map(types::Method::from).collect(),
        }
    }
}

impl From<Method> for types::Method {
    fn from(method: Method) -> Self {
        Self {
            name: method.name,
            doc: method.doc,
            query: method.query,
            arguments: method.arguments,
            result: method.result,
            rejection: method.rejection,
        }
    }
}

impl From<types::Context> for Turn {
    fn from(context: types::Context) -> Self {
        Self {
            caller: context.caller.into(),
            key: context.key,
            attempt: context.attempt,
            deadline_left: Duration::from_millis(context.deadline_left_ms),
        }
    }
}

impl From<types::Caller> for Caller {
    fn from(caller: types::Caller) -> Self {
        match caller {
            types::Caller::Anonymous => Self::Anonymous,
            types::Caller::Principal(name) => Self::Principal(name),
            types::Caller::Entity(id) => Self::Entity(id.into()),
        }
    }
}

impl From<types::EntityId> for EntityId {
    fn from(id: types::EntityId) -> Self {
        Self::new(id.kind, id.key)
    }
}

impl From<Snapshot> for types::State {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            schema_version: snapshot.schema_version,
            bytes: snapshot.bytes,
        }
    }
}

impl From<types::State> for Snapshot {
    fn from(state: types::State) -> Self {
        Self {
            schema_version: state.schema_version,
            bytes: state.bytes,
        }
    }
}

impl From<Rejection> for types::Rejection {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code,
            message: rejection.message,
            data: rejection.data.map(|data| data.0),
        }
    }
}
