//! The guest contract in Rust, made from `wit/entity.wit`, and the conversions from and to our own words.

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "entity",
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

use entia_protocol as ours;

pub(crate) use generated::entia::entity::{config, log, send, timers, types};
pub(crate) use generated::exports::entia::entity::guest::Context;
pub(crate) use generated::{Entity, EntityPre};

pub(crate) fn entity_id(id: &ours::EntityId) -> types::EntityId {
    types::EntityId {
        kind: id.kind().to_string(),
        key: id.key().to_owned(),
    }
}

pub(crate) fn caller(caller: &ours::Caller) -> types::Caller {
    match caller {
        ours::Caller::Anonymous => types::Caller::Anonymous,
        ours::Caller::Principal(name) => types::Caller::Principal(name.clone()),
        ours::Caller::Entity(id) => types::Caller::Entity(entity_id(id)),
    }
}

/// A refusal or an error of a call that a guest made, as the guest sees it.
pub(crate) fn call_failure(error: ours::CallError) -> types::CallFailure {
    match error {
        ours::CallError::Rejected(rejection) => types::CallFailure::Rejected(types::Rejection {
            code: rejection.code,
            message: rejection.message,
            data: rejection.data.map(|data| data.0),
        }),
        error => types::CallFailure::Failed(types::CallError {
            code: error.code().to_owned(),
            may_have_run: error.may_have_run(),
            message: error.to_string(),
        }),
    }
}

pub(crate) fn snapshot(state: &ours::StoredState) -> types::State {
    types::State {
        schema_version: state.schema_version,
        bytes: state.bytes.clone(),
    }
}

pub(crate) fn rejection(rejection: types::Rejection) -> ours::Rejection {
    ours::Rejection {
        code: rejection.code,
        message: rejection.message,
        data: rejection.data.map(ours::Payload),
    }
}

pub(crate) fn kind(kind: types::Kind) -> ours::KindDescription {
    ours::KindDescription {
        name: kind.name,
        doc: kind.doc,
        schema_version: kind.schema_version,
        schema_version_oldest: kind.schema_version_oldest,
        methods: kind.methods.into_iter().map(method).collect(),
    }
}

fn method(method: types::Method) -> ours::MethodDescription {
    ours::MethodDescription {
        name: method.name,
        doc: method.doc,
        query: method.query,
        arguments: method.arguments,
        result: method.result,
        rejection: method.rejection,
    }
}
