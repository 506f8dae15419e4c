//! References: types by which other code calls an entity's methods, such as `AccountRef`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::visit_mut::{VisitMut, visit_path_mut, visit_type_mut};
use syn::{Lifetime, Path, Type, Visibility, parse_quote};

use crate::method::{Argument, Method, Output};

/// What a reference refers to.
pub(crate) struct Reference<'a> {
    /// The entity's type or trait.
    pub(crate) name: &'a Ident,
    pub(crate) visibility: Visibility,
    pub(crate) kind: &'a str,
    pub(crate) methods: &'a [Method],
    /// The type that `Self` stands for in the methods.
    pub(crate) this: Option<&'a Path>,
    /// Whether the methods' types have to be able to travel. Those of an `#[entity]` need not: its author may have no use
    /// for a reference, and then only whoever calls such a method is told.
    pub(crate) lenient: bool,
}

/// The reference and its sending side.
pub(crate) fn reference(declared: &Reference<'_>) -> TokenStream {
    let Reference {
        name,
        visibility,
        kind,
        methods,
        ..
    } = declared;
    let reference = format_ident!("{name}Ref");
    let sender = format_ident!("{name}Send");
    let calls = methods.iter().map(|method| call(declared, method));
    let commands = methods.iter().filter(|method| !method.query);
    let sends = commands.map(|method| send(declared, method));
    let about = format!(
        "A reference to an entity such as `{kind}/alice`: its methods call the entity's and wait for the answer."
    );
    let about_sender =
        format!("Sends messages for a [`{reference}`]: its methods do not wait for an answer.");
    quote! {
        #[doc = #about]
        #[allow(dead_code, unreachable_pub)]
        #[derive(Debug, Clone, PartialEq, Eq)]
        #visibility struct #reference(::entia_sdk::EntityId);

        #[doc = #about_sender]
        #[allow(dead_code, unreachable_pub)]
        #[derive(Debug, Clone, Copy)]
        #visibility struct #sender<'a>(&'a ::entia_sdk::EntityId);

        #[automatically_derived]
        #[allow(dead_code, private_bounds, private_interfaces, unreachable_pub, clippy::all, rustdoc::all)]
        impl #reference {
            /// The entity of that key.
            pub fn new(key: impl ::std::convert::Into<::std::string::String>) -> Self {
                Self(::entia_sdk::EntityId::new(#kind, key))
            }

            /// An entity of any kind that has these methods, or of this one deployed under another name.
            pub fn at(id: ::entia_sdk::EntityId) -> Self {
                Self(id)
            }

            /// The entity's address.
            pub fn id(&self) -> &::entia_sdk::EntityId {
                &self.0
            }

            /// The commands as messages, which leave after this turn, once, in order. Nobody waits for their results.
            pub fn send(&self) -> #sender<'_> {
                #sender(&self.0)
            }

            #(#calls)*
        }

        #[automatically_derived]
        #[allow(dead_code, private_bounds, private_interfaces, unreachable_pub, clippy::all, rustdoc::all)]
        impl #sender<'_> {
            #(#sends)*
        }
    }
}

fn call(declared: &Reference<'_>, method: &Method) -> TokenStream {
    let result = match &method.output {
        Output::Nothing => parse_quote! { () },
        Output::Value(result) | Output::Result(result, _) => declared.owned(result),
    };
    let can_return = declared.lenient.then(|| {
        quote! { #result: for<'de> ::entia_sdk::__private::Deserialize<'de>, }
    });
    let wait = match method.query {
        true => quote! { query },
        false => quote! { command },
    };
    let head = head(declared, method);
    let can_travel = can_travel(declared, method);
    let message = message(method, &quote! { &self.0 });
    quote! {
        #head -> ::std::result::Result<#result, ::entia_sdk::CallFailure>
        where #can_travel #can_return
        {
            #message.#wait()
        }
    }
}

fn send(declared: &Reference<'_>, method: &Method) -> TokenStream {
    let head = head(declared, method);
    let can_travel = can_travel(declared, method);
    let message = message(method, &quote! { self.0 });
    quote! {
        #head -> ::std::result::Result<(), ::entia_sdk::EffectError>
        where #can_travel
        {
            #message.send()
        }
    }
}

fn head(declared: &Reference<'_>, method: &Method) -> TokenStream {
    let Method {
        name,
        doc,
        conditions,
        ..
    } = method;
    let doc = match &method.output {
        Output::Result(_, refusal) => {
            let refusal = quote! { #refusal }.to_string();
            format!("{doc}\n\nRefuses with `{refusal}`.")
        }
        Output::Nothing | Output::Value(_) if doc.is_empty() => format!("Calls `{name}`."),
        Output::Nothing | Output::Value(_) => doc.clone(),
    };
    let parameters = method.arguments.iter().map(|Argument { name, ty }| {
        let ty = declared.spelled_out(ty);
        quote! { #name: #ty }
    });
    quote! {
        #(#conditions)*
        #[doc = #doc]
        pub fn #name(&self, #(#parameters),*)
    }
}

/// That the arguments can be encoded. Bounds with a lifetime of their own are looked at where the method is used, not where
/// it is declared.
fn can_travel(declared: &Reference<'_>, method: &Method) -> TokenStream {
    if !declared.lenient {
        return TokenStream::new();
    }
    let types = method
        .arguments
        .iter()
        .map(|argument| declared.spelled_out(&argument.ty));
    quote! { #(for<'s> &'s #types: ::entia_sdk::__private::Serialize,)* }
}

fn message(method: &Method, target: &TokenStream) -> TokenStream {
    let name = method.public_name();
    let arguments = method.arguments.iter().map(|argument| {
        let (name, local) = (argument.public_name(), &argument.name);
        quote! { .argument(#name, &#local) }
    });
    quote! { ::entia_sdk::__private::Message::new(#target, #name) #(#arguments)* }
}

impl Reference<'_> {
    /// The type outside of the author's block, where `Self` is another one.
    fn spelled_out(&self, ty: &Type) -> Type {
        let mut ty = ty.clone();
        if let Some(this) = self.this {
            SelfIs(this).visit_type_mut(&mut ty);
        }
        ty
    }

    /// The type of which a result is received: nothing in it is borrowed from the entity.
    fn owned(&self, ty: &Type) -> Type {
        let mut ty = self.spelled_out(ty);
        Owner.visit_type_mut(&mut ty);
        ty
    }
}

/// Puts the entity's type in the place of `Self`.
struct SelfIs<'a>(&'a Path);

impl VisitMut for SelfIs<'_> {
    fn visit_path_mut(&mut self, path: &mut Path) {
        if path
            .segments
            .first()
            .is_some_and(|first| first.ident == "Self")
        {
            let rest = path.segments.iter().skip(1).cloned();
            let mut spelled_out = self.0.clone();
            spelled_out.segments.extend(rest);
            *path = spelled_out;
        }
        visit_path_mut(self, path);
    }
}

/// Puts owned types in the place of references.
struct Owner;

impl VisitMut for Owner {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        while let Type::Reference(reference) = ty {
            *ty = match &*reference.elem {
                Type::Slice(slice) => {
                    let item = &slice.elem;
                    parse_quote! { ::std::vec::Vec<#item> }
                }
                Type::Path(path) if path.path.is_ident("str") => {
                    parse_quote! { ::std::string::String }
                }
                other => other.clone(),
            };
        }
        visit_type_mut(self, ty);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        *lifetime = parse_quote! { 'static };
    }
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    #[test]
    fn results_are_received_as_owned_types() {
        let this: Path = parse_quote! { Account };
        let declared = Reference {
            name: &parse_quote! { Account },
            visibility: Visibility::Inherited,
            kind: "account",
            methods: &[],
            this: Some(&this),
            lenient: true,
        };
        for (returned, received) in [
            ("u64", "u64"),
            ("&str", ":: std :: string :: String"),
            ("&'static [Note]", ":: std :: vec :: Vec < Note >"),
            ("Option<&&Note>", "Option < Note >"),
            ("Cow<'_, str>", "Cow < 'static , str >"),
            ("Vec<Self>", "Vec < Account >"),
            ("[u8; Self::BYTES]", "[u8 ; Account :: BYTES]"),
        ] {
            let ty: Type = syn::parse_str(returned).unwrap();
            let owned = declared.owned(&ty).to_token_stream().to_string();
            assert_eq!(owned, received);
        }
    }
}
