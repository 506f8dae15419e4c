//! Writes the code.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Type, parse_quote};

use crate::block::{Block, impl_block};
use crate::contract::{Contract, plain_trait};
use crate::method::{Method, Output};
use crate::reference::{Reference, reference};
use crate::special::Timer;

/// The author's block, and what makes its type an entity; or the block and what is wrong with it, so that the rest of
/// the author's crate does not complain about missing methods as well.
pub(crate) fn entity(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let mut block = match impl_block(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            let error = error.into_compile_error();
            return quote! { #item #error };
        }
    };
    let code = match Block::parse(attributes, &mut block) {
        Ok(declared) => {
            let implementation = implementation(&declared);
            let reference = own_reference(&declared);
            let export = export(&declared);
            quote! { #implementation #reference #export }
        }
        Err(error) => error.into_compile_error(),
    };
    quote! { #block #code }
}

/// The author's trait, which is what the compiler checks the types of, and the reference made of it.
pub(crate) fn entity_ref(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let contract = match plain_trait(item.clone()) {
        Ok(contract) => contract,
        Err(error) => {
            let error = error.into_compile_error();
            return quote! { #item #error };
        }
    };
    let code = match Contract::parse(attributes, &contract) {
        Ok(declared) => reference(&Reference {
            name: &declared.name,
            visibility: declared.visibility.clone(),
            kind: &declared.kind,
            methods: &declared.methods,
            this: None,
            lenient: false,
        }),
        Err(error) => error.into_compile_error(),
    };
    quote! { #[allow(dead_code)] #contract #code }
}

fn own_reference(block: &Block) -> TokenStream {
    let this = match &block.ty {
        Type::Path(path) => Some(&path.path),
        _ => None,
    };
    reference(&Reference {
        name: &block.name,
        visibility: parse_quote! { pub },
        kind: &block.kind,
        methods: &block.methods,
        this,
        lenient: true,
    })
}

fn implementation(block: &Block) -> TokenStream {
    let Block {
        ty,
        kind,
        doc,
        schema_version,
        schema_version_oldest,
        ..
    } = block;
    let descriptions = block.methods.iter().map(description);
    let arms = block.methods.iter().map(dispatch);
    let on_timer = on_timer(block.timer.as_ref());
    let upgrade = match &block.upgrade {
        Some(upgrade) => {
            let name = &upgrade.name;
            quote! { Self::#name(_from, _bytes).map_err(|error| ::std::string::ToString::to_string(&error)) }
        }
        None => quote! {
            ::std::result::Result::Err(::std::string::String::from("there is no `#[upgrade]` function"))
        },
    };
    let heading = quote_spanned! { ty.span() => impl ::entia_sdk::Entity for #ty };
    quote! {
        #[automatically_derived]
        #heading {
            const KIND: &'static str = #kind;
            const DOC: &'static str = #doc;
            const SCHEMA_VERSION: u32 = #schema_version;
            const SCHEMA_VERSION_OLDEST: u32 = #schema_version_oldest;

            fn methods() -> ::std::vec::Vec<::entia_sdk::describe::Method> {
                ::std::vec![#(#descriptions)*]
            }

            fn handle(
                &mut self,
                _context: &mut ::entia_sdk::Context,
                method: &str,
                arguments: &[u8],
            ) -> ::std::result::Result<::std::vec::Vec<u8>, ::entia_sdk::Rejection> {
                match method {
                    #(#arms)*
                    _ => ::std::result::Result::Err(
                        ::entia_sdk::__private::unknown_method::<Self>(method)
                    ),
                }
            }

            fn on_timer(
                &mut self,
                _context: &mut ::entia_sdk::Context,
                _name: &str,
                _fire: u64,
                _payload: &[u8],
            ) -> ::std::result::Result<(), ::entia_sdk::Rejection> {
                #on_timer
            }

            fn upgrade(
                _from: u32,
                _bytes: &[u8],
            ) -> ::std::result::Result<Self, ::std::string::String> {
                #upgrade
            }
        }
    }
}

fn description(method: &Method) -> TokenStream {
    let Method {
        doc,
        query,
        conditions,
        ..
    } = method;
    let name = method.public_name();
    let arguments = method.arguments.iter().map(|argument| {
        let (name, ty) = (argument.public_name(), &argument.ty);
        quote! { .argument::<#ty>(#name) }
    });
    let output = match &method.output {
        Output::Nothing => quote! {},
        Output::Value(value) => quote! { .result::<#value>() },
        Output::Result(value, refusal) => {
            quote! { .result::<#value>().rejection::<#refusal>() }
        }
    };
    quote! {
        #(#conditions)*
        ::entia_sdk::__private::MethodBuilder::new(#name, #doc, #query)
            #(#arguments)* #output .build(),
    }
}

fn dispatch(method: &Method) -> TokenStream {
    let Method {
        name: function,
        conditions,
        ..
    } = method;
    let name = method.public_name();
    let locals: Vec<Ident> = (0..method.arguments.len())
        .map(|at| format_ident!("argument_{at}"))
        .collect();
    let names = method
        .arguments
        .iter()
        .map(|argument| argument.public_name());
    let types = method.arguments.iter().map(|argument| &argument.ty);
    let context = method.takes_context.then(|| quote! { _context, });
    let call = quote! { Self::#function(self, #context #(#locals),*) };
    let reply = match &method.output {
        Output::Nothing => quote! { { #call; ::entia_sdk::__private::reply(&()) } },
        Output::Value(_) => quote! { ::entia_sdk::__private::reply(&#call) },
        Output::Result(..) => quote! { ::entia_sdk::__private::reply_or_reject(#call) },
    };
    let mutable = (!locals.is_empty()).then(|| quote! { mut });
    quote! {
        #(#conditions)*
        #name => {
            let #mutable arguments = ::entia_sdk::__private::Arguments::read(arguments)?;
            #(let #locals = arguments.take::<#types>(#names)?;)*
            arguments.finish()?;
            #reply
        }
    }
}

fn on_timer(timer: Option<&Timer>) -> TokenStream {
    let Some(timer) = timer else {
        return quote! {
            ::std::result::Result::Err(::entia_sdk::__private::no_timer::<Self>(_name))
        };
    };
    let function = &timer.name;
    let context = timer.takes_context.then(|| quote! { _context, });
    let fire = timer.takes_fire.then(|| quote! { _fire, });
    let payload = timer.payload.as_ref().map(|ty| {
        quote! { ::entia_sdk::__private::timer_payload::<#ty>(_payload)? }
    });
    let call = quote! { Self::#function(self, #context _name, #fire #payload) };
    match &timer.output {
        Output::Result(..) => quote! { ::entia_sdk::__private::done_or_reject(#call) },
        Output::Nothing | Output::Value(_) => {
            quote! { #call; ::std::result::Result::Ok(()) }
        }
    }
}

/// The component's exports exist in the component only: native builds are for tests, where several entities share a
/// program.
fn export(block: &Block) -> TokenStream {
    let ty = &block.ty;
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = ::entia_sdk::__private::Component<#ty>;
            ::entia_sdk::__private::bindings::export!(
                Exported with_types_in ::entia_sdk::__private::bindings
            );
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(item: TokenStream) -> String {
        let code = entity(TokenStream::new(), item);
        syn::parse2::<syn::File>(code.clone()).expect("the code parses");
        code.to_string()
    }

    #[test]
    fn the_markers_of_special_functions_do_not_reach_the_compiler() {
        let code = expand(quote! {
            impl Clock {
                fn start(&mut self, ctx: &mut Context) {}
                #[timer]
                fn on_timer(&mut self, name: &str) {}
            }
        });
        assert!(!code.contains("# [timer]"), "{code}");
        assert!(
            code.contains("impl :: entia_sdk :: Entity for Clock"),
            "{code}"
        );
    }

    #[test]
    fn an_argument_may_have_any_name() {
        let code = expand(quote! {
            impl Odd {
                fn set(&mut self, context: u8, arguments: u8, method: u8, r#type: u8) {}
            }
        });
        assert!(code.contains("\"type\""), "{code}");
    }

    #[test]
    fn a_wrong_block_is_kept_beside_its_error() {
        let code = expand(quote! { impl A { async fn wait(&mut self) {} } });
        assert!(code.contains("async fn wait"), "{code}");
        assert!(code.contains("compile_error"), "{code}");
        assert!(!code.contains("Entity for"), "{code}");
    }
}
