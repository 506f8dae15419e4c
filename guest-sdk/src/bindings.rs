//! The guest contract as Rust, made from `wit/entity.wit`.

wit_bindgen::generate!({
    path: "../wit",
    world: "entity",
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "entia_sdk::__private::bindings",
    runtime_path: "entia_sdk::__private::wit_bindgen::rt",
});
