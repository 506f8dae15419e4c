//! The trait under `#[entity_ref]`, checked.

use proc_macro2::TokenStream;
use syn::{Error, Ident, Item, ItemTrait, Result, TraitItem, Visibility};

use crate::attributes::ReferenceAttributes;
use crate::block::{combine, kind};
use crate::method::{Method, error};

/// What an author knows of another component's entity.
pub(crate) struct Contract {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) kind: String,
    pub(crate) methods: Vec<Method>,
}

/// The item as a plain trait.
pub(crate) fn plain_trait(item: TokenStream) -> Result<ItemTrait> {
    let Item::Trait(item) = syn::parse2(item)? else {
        return Err(Error::new(
            proc_macro2::Span::call_site(),
            "`#[entity_ref]` goes on a trait with the other entity's methods: `#[entity_ref] trait Account { .. }`; the \
             `#[entity]` of this crate has its reference already",
        ));
    };
    Ok(item)
}

impl Contract {
    /// Checks the trait. Reports everything that is wrong, not just the first.
    pub(crate) fn parse(attributes: TokenStream, item: &ItemTrait) -> Result<Self> {
        let mut errors = Vec::new();
        if !item.generics.params.is_empty() || !item.supertraits.is_empty() {
            errors.push(error(
                &item.ident,
                "a kind of entity has methods and nothing else: write `trait Name { .. }`",
            ));
        }
        let mut methods: Vec<Method> = Vec::new();
        for member in &item.items {
            match method(member) {
                Ok(method) => methods.push(method),
                Err(error) => errors.push(error),
            }
        }
        if item.items.is_empty() {
            errors.push(error(
                &item.ident,
                "declare the methods that you call: `fn deposit(&mut self, amount: u64) -> u64;`",
            ));
        }
        let kind = ReferenceAttributes::parse(attributes)
            .and_then(|attributes| kind("entity_ref", attributes.kind.as_ref(), &item.ident));
        match (kind, errors.into_iter().reduce(combine)) {
            (Ok(kind), None) => Ok(Self {
                name: item.ident.clone(),
                visibility: item.vis.clone(),
                kind,
                methods,
            }),
            (Ok(_), Some(errors)) => Err(errors),
            (Err(error), None) => Err(error),
            (Err(error), Some(errors)) => Err(combine(errors, error)),
        }
    }
}

fn method(member: &TraitItem) -> Result<Method> {
    match member {
        TraitItem::Fn(function) if function.default.is_none() => {
            Method::declared(&function.attrs, &function.sig)
        }
        TraitItem::Fn(function) => Err(error(
            &function.sig.ident,
            "the other entity has the code: end the declaration with `;`",
        )),
        other => Err(error(
            other,
            "an entity is called by its methods: declare functions only",
        )),
    }
}
