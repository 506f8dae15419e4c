//! A function of the block as a method that can be called from outside.

use syn::ext::IdentExt;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ImplItemFn, Pat, PatType, PathArguments,
    Receiver, Result, ReturnType, Signature, Type,
};

use crate::attributes::{conditions, doc};

/// A method.
pub(crate) struct Method {
    pub(crate) name: Ident,
    pub(crate) doc: String,
    pub(crate) conditions: Vec<Attribute>,
    pub(crate) query: bool,
    pub(crate) takes_context: bool,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Output,
}

/// A parameter that the caller gives.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// What a function returns.
pub(crate) enum Output {
    Nothing,
    Value(Box<Type>),
    Result(Box<Type>, Box<Type>),
}

impl Method {
    /// A method of an entity, which owns its arguments.
    pub(crate) fn parse(function: &ImplItemFn) -> Result<Self> {
        let method = Self::declared(&function.attrs, &function.sig)?;
        method
            .arguments
            .iter()
            .try_for_each(|argument| check_owned(&argument.ty))?;
        Ok(method)
    }

    /// A method that is called from here, with arguments that may be borrowed.
    pub(crate) fn declared(attributes: &[Attribute], signature: &Signature) -> Result<Self> {
        check_form(signature)?;
        let name = method_name(&signature.ident)?;
        let query = is_query(signature)?;
        let mut arguments = Vec::new();
        let mut takes_context = false;
        for (at, parameter) in typed_parameters(signature).enumerate() {
            match (names_context(&parameter.ty), at) {
                (true, 0) => {
                    check_context(parameter, query)?;
                    takes_context = true;
                }
                (true, _) => {
                    return Err(error(
                        parameter,
                        "the context comes first: put it right after `self`",
                    ));
                }
                (false, _) => arguments.push(Argument::parse(parameter)?),
            }
        }
        Ok(Self {
            name,
            doc: doc(attributes),
            conditions: conditions(attributes),
            query,
            takes_context,
            arguments,
            output: Output::parse(&signature.output)?,
        })
    }

    /// The name as callers write it.
    pub(crate) fn public_name(&self) -> String {
        self.name.unraw().to_string()
    }
}

impl Argument {
    fn parse(parameter: &PatType) -> Result<Self> {
        let Pat::Ident(pattern) = &*parameter.pat else {
            return Err(error(
                &parameter.pat,
                "an argument needs a name, by which callers give it: write `name: Type`",
            ));
        };
        if pattern.by_ref.is_some() || pattern.subpat.is_some() {
            return Err(error(pattern, "write just `name: Type`"));
        }
        if let Type::ImplTrait(_) = &*parameter.ty {
            return Err(error(
                &parameter.ty,
                "name the type: callers are told the schema of the argument",
            ));
        }
        Ok(Self {
            name: pattern.ident.clone(),
            ty: (*parameter.ty).clone(),
        })
    }

    /// The name as callers write it.
    pub(crate) fn public_name(&self) -> String {
        self.name.unraw().to_string()
    }
}

impl Output {
    pub(crate) fn parse(output: &ReturnType) -> Result<Self> {
        let ReturnType::Type(_, ty) = output else {
            return Ok(Self::Nothing);
        };
        if let Type::ImplTrait(_) = &**ty {
            return Err(error(
                ty,
                "name the type: callers are told the schema of the result",
            ));
        }
        let Some(("Result", arguments)) = last_segment(ty)
            .as_ref()
            .map(|(name, arguments)| (name.as_str(), *arguments))
        else {
            return Ok(Self::Value(ty.clone()));
        };
        match &types(arguments)[..] {
            [value, refusal] => Ok(Self::Result(
                Box::new(value.clone()),
                Box::new(refusal.clone()),
            )),
            _ => Err(error(
                ty,
                "write both types: `Result<T, E>`, where callers are told the schema of `E`, too",
            )),
        }
    }
}

/// Refuses forms of functions that no call from outside can have.
pub(crate) fn check_form(signature: &Signature) -> Result<()> {
    if let Some(keyword) = &signature.asyncness {
        return Err(error(
            keyword,
            "an entity handles one call at a time and cannot wait in it: write `fn`; `ctx.call` waits for another entity",
        ));
    }
    if let Some(keyword) = &signature.unsafety {
        return Err(error(
            keyword,
            "callers from outside cannot be careful: write a safe `fn`",
        ));
    }
    if let Some(abi) = &signature.abi {
        return Err(error(abi, "the SDK exports the method: write `fn`"));
    }
    if !signature.generics.params.is_empty() {
        return Err(error(
            &signature.generics,
            "callers send values, so a method has no generic parameters: name the type",
        ));
    }
    Ok(())
}

/// Whether the type is `Context` behind any number of references.
pub(crate) fn names_context(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => names_context(&reference.elem),
        _ => last_segment(ty).is_some_and(|(name, _)| name == "Context"),
    }
}

/// The parameters besides `self`.
pub(crate) fn typed_parameters(signature: &Signature) -> impl Iterator<Item = &PatType> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(parameter) => Some(parameter),
        FnArg::Receiver(_) => None,
    })
}

/// Refuses a context that is not a reference, or that would give a query effects.
pub(crate) fn check_context(parameter: &PatType, query: bool) -> Result<()> {
    match &*parameter.ty {
        Type::Reference(reference) if reference.mutability.is_some() && query => Err(error(
            &parameter.ty,
            "`&self` makes a query, which has no effects: write `&Context`, or `&mut self` for a command",
        )),
        Type::Reference(_) => Ok(()),
        ty if query => Err(error(ty, "write `&Context`")),
        ty => Err(error(ty, "write `&mut Context`")),
    }
}

pub(crate) fn error(tokens: &impl quote::ToTokens, message: impl std::fmt::Display) -> Error {
    Error::new_spanned(tokens, message)
}

fn method_name(name: &Ident) -> Result<Ident> {
    let text = name.unraw().to_string();
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| *reserved == text) {
        let message = format!("`{text}` is reserved: {why}; choose another name");
        return Err(Error::new(name.span(), message));
    }
    if text.starts_with('_') || !text.is_ascii() {
        return Err(Error::new(
            name.span(),
            "callers use the method's name: begin it with a letter and use ASCII only",
        ));
    }
    Ok(name.clone())
}

fn is_query(signature: &Signature) -> Result<bool> {
    let Some(FnArg::Receiver(receiver)) = signature.inputs.first() else {
        return Err(error(
            &signature.ident,
            "every function here is a method: take `&self` (a query) or `&mut self` (a command), or move it to \
             another `impl` block",
        ));
    };
    match by_reference(receiver) {
        Some(mutable) => Ok(!mutable),
        None => Err(error(
            receiver,
            "an entity outlives its calls: write `&self` (a query) or `&mut self` (a command)",
        )),
    }
}

/// Whether the receiver is a reference, and then whether a mutable one.
pub(crate) fn by_reference(receiver: &Receiver) -> Option<bool> {
    match &*receiver.ty {
        Type::Reference(reference) => Some(reference.mutability.is_some()),
        _ => None,
    }
}

fn check_owned(ty: &Type) -> Result<()> {
    let Type::Reference(reference) = ty else {
        return Ok(());
    };
    let message = format!(
        "an argument owns its data: write `{}`",
        owned(&reference.elem)
    );
    Err(error(ty, message))
}

/// The owned type to write instead of a reference to this one.
fn owned(ty: &Type) -> String {
    let name = quote::ToTokens::to_token_stream(ty).to_string();
    match (ty, name.as_str()) {
        (_, "str") => "String".to_owned(),
        (_, "[u8]") => "Bytes".to_owned(),
        (Type::Slice(slice), _) => format!("Vec<{}>", owned(&slice.elem)),
        _ => name.replace(' ', ""),
    }
}

fn last_segment(ty: &Type) -> Option<(String, &PathArguments)> {
    let Type::Path(path) = ty else {
        return None;
    };
    let segment = path.path.segments.last()?;
    Some((segment.ident.to_string(), &segment.arguments))
}

fn types(arguments: &PathArguments) -> Vec<Type> {
    let PathArguments::AngleBracketed(list) = arguments else {
        return Vec::new();
    };
    let types = list.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    types.collect()
}

/// Names that callers could not use, and why.
const RESERVED: [(&str, &str); 5] = [
    (
        "release",
        "the HTTP API has that word after an entity's address",
    ),
    ("new", OF_A_REFERENCE),
    ("at", OF_A_REFERENCE),
    ("id", OF_A_REFERENCE),
    ("send", OF_A_REFERENCE),
];
const OF_A_REFERENCE: &str = "a reference to the entity has a function of that name itself";

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn refusal(function: ImplItemFn) -> String {
        Method::parse(&function).err().unwrap().to_string()
    }

    #[test]
    fn a_method_is_its_name_receiver_context_arguments_and_output() {
        let method = Method::parse(&parse_quote! {
            /// Takes money.
            ///
            /// Never more than there is.
            fn withdraw(&mut self, ctx: &mut Context, mut amount: u64, r#type: Option<String>) -> Result<u64, Overdraft> {
                0
            }
        })
        .unwrap();
        assert_eq!(method.public_name(), "withdraw");
        assert_eq!(method.doc, "Takes money.\n\nNever more than there is.");
        assert!(!method.query);
        assert!(method.takes_context);
        let names: Vec<String> = method.arguments.iter().map(Argument::public_name).collect();
        assert_eq!(names, ["amount", "type"]);
        assert!(matches!(method.output, Output::Result(..)));
    }

    #[test]
    fn a_shared_receiver_makes_a_query() {
        let method = Method::parse(&parse_quote! { fn value(&self) -> u64 { 0 } }).unwrap();
        assert!(method.query);
        assert!(!method.takes_context);
        let method = Method::parse(&parse_quote! { fn clear(self: &mut Self) {} }).unwrap();
        assert!(!method.query);
    }

    #[test]
    fn a_result_without_its_error_type_is_refused() {
        let message = refusal(parse_quote! { fn pay(&mut self) -> io::Result<u64> { Ok(0) } });
        assert!(message.contains("`Result<T, E>`"), "{message}");
    }

    #[test]
    fn a_borrowed_argument_is_answered_with_the_owned_type() {
        for (ty, instead) in [
            ("&str", "`String`"),
            ("&[u8]", "`Bytes`"),
            ("&[&str]", "`Vec<&str>`"),
            ("&Vec<u64>", "`Vec<u64>`"),
        ] {
            let ty: Type = syn::parse_str(ty).unwrap();
            let message = refusal(parse_quote! { fn say(&mut self, text: #ty) {} });
            assert!(message.contains(instead), "{message}");
        }
    }

    #[test]
    fn reserved_and_private_looking_names_are_refused() {
        assert!(refusal(parse_quote! { fn release(&mut self) {} }).contains("reserved"));
        assert!(refusal(parse_quote! { fn _hidden(&mut self) {} }).contains("letter"));
    }
}
