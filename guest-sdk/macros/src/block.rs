//! The author's `impl` block, checked.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::{Error, Ident, ImplItem, ImplItemFn, Item, ItemImpl, LitStr, Result, Type};

use crate::attributes::{EntityAttributes, doc, take_marker};
use crate::method::{Method, error};
use crate::names::{is_kind, kebab_case};
use crate::special::{Timer, Upgrade};

/// What an entity is, as its author declared it.
pub(crate) struct Block {
    pub(crate) ty: Type,
    pub(crate) name: Ident,
    pub(crate) kind: String,
    pub(crate) doc: String,
    pub(crate) schema_version: u32,
    pub(crate) schema_version_oldest: u32,
    pub(crate) methods: Vec<Method>,
    pub(crate) timer: Option<Timer>,
    pub(crate) upgrade: Option<Upgrade>,
}

/// The item as an inherent `impl` block.
pub(crate) fn impl_block(item: TokenStream) -> Result<ItemImpl> {
    let item: Item = syn::parse2(item)?;
    let block = match item {
        Item::Impl(block) => block,
        Item::Struct(item) => return Err(not_an_impl(&item.ident)),
        Item::Enum(item) => return Err(not_an_impl(&item.ident)),
        other => {
            return Err(error(&other, "`#[entity]` goes on an `impl` block"));
        }
    };
    if let Some((_, path, _)) = &block.trait_ {
        return Err(error(
            path,
            "`#[entity]` goes on the type's own block: `impl Type { .. }`",
        ));
    }
    if !block.generics.params.is_empty() {
        return Err(error(
            &block.generics,
            "a kind of entity is one concrete type: name the types",
        ));
    }
    Ok(block)
}

impl Block {
    /// Checks the block and takes the SDK's markers out of it. Reports everything that is wrong, not just the first.
    pub(crate) fn parse(attributes: TokenStream, block: &mut ItemImpl) -> Result<Self> {
        let mut functions = Functions::default();
        for item in &mut block.items {
            if let ImplItem::Fn(function) = item {
                functions.add(function);
            }
        }
        let mut errors = functions.errors;
        let upgrade = functions.upgrade;
        let attributes =
            EntityAttributes::parse(attributes).unwrap_or_else(|error| note(&mut errors, error));
        let name = type_name(&block.self_ty)?.clone();
        let kind = kind("entity", attributes.kind.as_ref(), &name)
            .unwrap_or_else(|error| note(&mut errors, error));
        let (schema_version, schema_version_oldest) = versions(&attributes, upgrade.as_ref())
            .unwrap_or_else(|error| note(&mut errors, error));
        if functions.methods.is_empty() && errors.is_empty() {
            errors.push(error(
                &block.self_ty,
                "an entity without methods cannot be called: add a function with `&self` or `&mut self`",
            ));
        }
        if let Some(error) = errors.into_iter().reduce(combine) {
            return Err(error);
        }
        Ok(Self {
            ty: (*block.self_ty).clone(),
            name,
            kind,
            doc: doc(&block.attrs),
            schema_version,
            schema_version_oldest,
            methods: functions.methods,
            timer: functions.timer,
            upgrade,
        })
    }
}

#[derive(Default)]
struct Functions {
    methods: Vec<Method>,
    timer: Option<Timer>,
    upgrade: Option<Upgrade>,
    errors: Vec<Error>,
}

impl Functions {
    fn add(&mut self, function: &mut ImplItemFn) {
        let timer = take_marker(&mut function.attrs, "timer");
        let upgrade = take_marker(&mut function.attrs, "upgrade");
        let added = match (timer, upgrade) {
            (Some(_), _) if self.timer.is_some() => Err(only_one(function, "timer")),
            (_, Some(_)) if self.upgrade.is_some() => Err(only_one(function, "upgrade")),
            (Some(_), _) => Timer::parse(function).map(|timer| self.timer = Some(timer)),
            (_, Some(_)) => Upgrade::parse(function).map(|upgrade| self.upgrade = Some(upgrade)),
            _ => Method::parse(function).and_then(|method| self.add_method(method)),
        };
        self.errors.extend(added.err());
    }

    fn add_method(&mut self, method: Method) -> Result<()> {
        let taken = self.methods.iter().any(|known| {
            known.public_name() == method.public_name() && known.conditions == method.conditions
        });
        if taken {
            let message = format!("there are two methods named `{}`", method.public_name());
            return Err(Error::new(method.name.span(), message));
        }
        self.methods.push(method);
        Ok(())
    }
}

/// The kind that the attribute names, or the one that the type or trait is named after.
pub(crate) fn kind(attribute: &str, given: Option<&LitStr>, name: &Ident) -> Result<String> {
    let (kind, span) = match given {
        Some(literal) => (literal.value(), literal.span()),
        None => (kebab_case(&name.unraw().to_string()), name.span()),
    };
    if is_kind(&kind) {
        return Ok(kind);
    }
    let message = format!(
        "`{kind}` is not a kind's name: write `#[{attribute}(kind = \"name\")]` with 1 to 63 characters of a-z, 0-9 and -, \
         beginning with a letter"
    );
    Err(Error::new(span, message))
}

fn type_name(ty: &Type) -> Result<&Ident> {
    let segment = match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    segment.map(|segment| &segment.ident).ok_or_else(|| {
        error(
            ty,
            "`#[entity]` goes on the `impl` block of a struct or enum",
        )
    })
}

/// The version that is written and the oldest that is read.
fn versions(attributes: &EntityAttributes, upgrade: Option<&Upgrade>) -> Result<(u32, u32)> {
    let newest = attributes
        .schema
        .as_ref()
        .map_or(1, |version| version.number);
    match (&attributes.schema_oldest, upgrade) {
        (_, Some(upgrade)) if newest == 1 => Err(Error::new(
            upgrade.name.span(),
            "version 1 of the state is the first: write `#[entity(schema = 2)]` to have something to upgrade from",
        )),
        (Some(oldest), _) if oldest.number > newest => Err(Error::new(
            oldest.span,
            format!("the oldest version is at most the current one, {newest}"),
        )),
        (Some(oldest), None) if oldest.number < newest => Err(Error::new(
            oldest.span,
            "older states are read by a function marked `#[upgrade]`: add one",
        )),
        (Some(oldest), _) => Ok((newest, oldest.number)),
        (None, Some(_)) => Ok((newest, 1)),
        (None, None) => Ok((newest, newest)),
    }
}

fn not_an_impl(name: &Ident) -> Error {
    let message =
        format!("`#[entity]` goes on the block with the methods: `#[entity] impl {name} {{ .. }}`");
    Error::new(name.span(), message)
}

fn only_one(function: &ImplItemFn, marker: &str) -> Error {
    let message = format!("an entity has one `#[{marker}]` function");
    Error::new(function.sig.ident.span(), message)
}

fn note<T: Default>(errors: &mut Vec<Error>, error: Error) -> T {
    errors.push(error);
    T::default()
}

pub(crate) fn combine(mut all: Error, next: Error) -> Error {
    all.combine(next);
    all
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::parse_quote;

    use super::*;

    fn parse(attributes: TokenStream, mut block: ItemImpl) -> Result<Block> {
        Block::parse(attributes, &mut block)
    }

    fn refusal(attributes: TokenStream, block: ItemImpl) -> String {
        parse(attributes, block).err().unwrap().to_string()
    }

    #[test]
    fn the_kind_is_the_types_name_unless_given() {
        let block: ItemImpl = parse_quote! { impl ChatRoom { fn say(&mut self) {} } };
        assert_eq!(parse(quote!(), block.clone()).unwrap().kind, "chat-room");
        let named = parse(quote!(kind = "room"), block.clone()).unwrap();
        assert_eq!(named.kind, "room");
        assert!(refusal(quote!(kind = "A Room"), block).contains("not a kind's name"));
    }

    #[test]
    fn versions_before_the_current_one_need_an_upgrade_function() {
        let plain: ItemImpl = parse_quote! { impl A { fn value(&self) -> u64 { 0 } } };
        let with_upgrade: ItemImpl = parse_quote! {
            impl A {
                fn value(&self) -> u64 { 0 }
                #[upgrade]
                fn upgrade(from: u32, bytes: &[u8]) -> Result<Self, String> { Err(String::new()) }
            }
        };
        let versions = |attributes, block: &ItemImpl| {
            let block = parse(attributes, block.clone()).unwrap();
            (block.schema_version, block.schema_version_oldest)
        };
        assert_eq!(versions(quote!(), &plain), (1, 1));
        assert_eq!(versions(quote!(schema = 3), &plain), (3, 3));
        assert_eq!(versions(quote!(schema = 3), &with_upgrade), (3, 1));
        assert_eq!(
            versions(quote!(schema = 3, schema_oldest = 2), &with_upgrade),
            (3, 2)
        );
        assert!(
            refusal(quote!(schema = 3, schema_oldest = 2), plain.clone()).contains("#[upgrade]")
        );
        assert!(refusal(quote!(schema = 1, schema_oldest = 2), plain.clone()).contains("at most"));
        assert!(refusal(quote!(schema = 0), plain.clone()).contains("from 1 on"));
        assert!(refusal(quote!(), with_upgrade).contains("schema = 2"));
        assert!(refusal(quote!(version = 2), plain).contains("schema_oldest"));
    }

    #[test]
    fn all_mistakes_of_a_block_are_reported_at_once() {
        let error = parse(
            quote!(),
            parse_quote! {
                impl A {
                    async fn wait(&mut self) {}
                    fn make() -> Self { A }
                    fn value(&self) -> u64 { 0 }
                }
            },
        )
        .err()
        .unwrap();
        assert_eq!(error.into_iter().count(), 2);
    }

    #[test]
    fn only_an_inherent_block_of_a_concrete_type_is_an_entity() {
        let message = |item| impl_block(item).err().unwrap().to_string();
        assert!(
            message(quote!(
                struct A;
            ))
            .contains("impl A")
        );
        assert!(message(quote!(impl Clone for A {})).contains("impl Type"));
        assert!(
            message(quote!(
                impl<T> A<T> {}
            ))
            .contains("concrete")
        );
        assert!(
            message(quote!(
                fn a() {}
            ))
            .contains("`impl` block")
        );
    }

    #[test]
    fn a_block_needs_a_method() {
        let message = refusal(quote!(), parse_quote! { impl A { const MAX: u64 = 1; } });
        assert!(message.contains("cannot be called"), "{message}");
    }
}
