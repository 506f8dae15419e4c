//! `#[entity(kind = "..", schema = N, schema_oldest = N)]`, `#[entity_ref(kind = "..")]`, and doc comments.

use proc_macro2::{Span, TokenStream};
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Lit, LitInt, LitStr, Meta, Result};

/// What the author wrote in the attribute's parentheses.
#[derive(Default)]
pub(crate) struct EntityAttributes {
    pub(crate) kind: Option<LitStr>,
    pub(crate) schema: Option<Version>,
    pub(crate) schema_oldest: Option<Version>,
}

/// What the author wrote in the parentheses of `#[entity_ref]`.
#[derive(Default)]
pub(crate) struct ReferenceAttributes {
    pub(crate) kind: Option<LitStr>,
}

/// A version of the state's schema.
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) span: Span,
}

impl EntityAttributes {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut attributes = Self::default();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("kind") {
                attributes.kind = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("schema") {
                attributes.schema = Some(Version::parse(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("schema_oldest") {
                attributes.schema_oldest = Some(Version::parse(&meta.value()?.parse()?)?);
            } else {
                return Err(meta.error(
                    "`#[entity]` takes `kind = \"name\"`, `schema = 2` and `schema_oldest = 1`",
                ));
            }
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(attributes)
    }
}

impl ReferenceAttributes {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut attributes = Self::default();
        let parser = syn::meta::parser(|meta| {
            if !meta.path.is_ident("kind") {
                return Err(meta.error("`#[entity_ref]` takes `kind = \"name\"`"));
            }
            attributes.kind = Some(meta.value()?.parse()?);
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(attributes)
    }
}

impl Version {
    fn parse(literal: &LitInt) -> Result<Self> {
        match literal.base10_parse() {
            Ok(number) if number > 0 => Ok(Self {
                number,
                span: literal.span(),
            }),
            _ => Err(syn::Error::new(
                literal.span(),
                "a schema version is a whole number from 1 on",
            )),
        }
    }
}

/// The doc comment as the reader of it sees it: without the space that follows `///`.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(doc_line).collect();
    lines.join("\n").trim().to_owned()
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if pair.path.is_ident("doc") => {
            let line = text.value();
            Some(line.strip_prefix(' ').unwrap_or(&line).to_owned())
        }
        _ => None,
    }
}

/// Removes `#[name]` and says where it was.
pub(crate) fn take_marker(attributes: &mut Vec<Attribute>, name: &str) -> Option<Span> {
    let at = attributes
        .iter()
        .position(|attribute| attribute.path().is_ident(name))?;
    Some(attributes.remove(at).span())
}

/// The conditions under which the item exists.
pub(crate) fn conditions(attributes: &[Attribute]) -> Vec<Attribute> {
    let conditions = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.cloned().collect()
}
