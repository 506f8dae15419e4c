//! The functions of the block that are not methods: `#[timer]` and `#[upgrade]`.

use syn::{FnArg, Ident, ImplItemFn, PatType, Result, Type, parse_quote};

use crate::method::{
    Output, by_reference, check_context, check_form, error, names_context, typed_parameters,
};

/// The function that runs when a timer fires.
pub(crate) struct Timer {
    pub(crate) name: Ident,
    pub(crate) takes_context: bool,
    pub(crate) takes_fire: bool,
    pub(crate) payload: Option<Type>,
    pub(crate) output: Output,
}

/// The function that reads older states.
pub(crate) struct Upgrade {
    pub(crate) name: Ident,
}

impl Timer {
    pub(crate) fn parse(function: &ImplItemFn) -> Result<Self> {
        let signature = &function.sig;
        check_form(signature)?;
        let mutable = match signature.inputs.first() {
            Some(FnArg::Receiver(receiver)) => by_reference(receiver),
            _ => None,
        };
        if mutable != Some(true) {
            return Err(error(&signature.ident, TIMER_FORM));
        }
        let mut parameters = typed_parameters(signature).peekable();
        let context = parameters.next_if(|parameter| names_context(&parameter.ty));
        if let Some(context) = context {
            check_context(context, false)?;
        }
        let name: Option<&PatType> = parameters.next();
        let is_text = name.is_some_and(|name| *name.ty == parse_quote!(&str));
        let fire = parameters.next();
        let is_number = fire.is_none_or(|fire| *fire.ty == parse_quote!(u64));
        let payload = parameters.next();
        let is_owned = payload.is_none_or(|payload| !matches!(*payload.ty, Type::Reference(_)));
        if !is_text || !is_number || !is_owned || parameters.next().is_some() {
            return Err(error(&signature.inputs, TIMER_FORM));
        }
        let output = Output::parse(&signature.output)?;
        let returns_unit = match &output {
            Output::Nothing => true,
            Output::Value(_) => false,
            Output::Result(value, _) => **value == parse_quote!(()),
        };
        if !returns_unit {
            return Err(error(
                &signature.output,
                "nobody waits for a timer's result: return nothing or `Result<(), E>`",
            ));
        }
        Ok(Self {
            name: signature.ident.clone(),
            takes_context: context.is_some(),
            takes_fire: fire.is_some(),
            payload: payload.map(|payload| (*payload.ty).clone()),
            output,
        })
    }
}

impl Upgrade {
    pub(crate) fn parse(function: &ImplItemFn) -> Result<Self> {
        let signature = &function.sig;
        check_form(signature)?;
        let types: Vec<&Type> = typed_parameters(signature)
            .map(|parameter| &*parameter.ty)
            .collect();
        let takes_state = match types[..] {
            [from, bytes] => *from == parse_quote!(u32) && *bytes == parse_quote!(&[u8]),
            _ => false,
        };
        let fallible = matches!(Output::parse(&signature.output)?, Output::Result(..));
        if signature.receiver().is_some() || !takes_state || !fallible {
            return Err(error(&signature.ident, UPGRADE_FORM));
        }
        Ok(Self {
            name: signature.ident.clone(),
        })
    }
}

const TIMER_FORM: &str = "write `fn on_timer(&mut self, ctx: &mut Context, name: &str, fire: u64, payload: P)`, where \
                          `ctx`, and from the end `payload` and `fire`, can be left out";
const UPGRADE_FORM: &str = "write `fn upgrade(from: u32, bytes: &[u8]) -> Result<Self, String>`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_function_can_leave_out_what_it_does_not_need() {
        let timer = Timer::parse(&parse_quote! { fn tick(&mut self, name: &str) {} }).unwrap();
        assert!(!timer.takes_context && !timer.takes_fire && timer.payload.is_none());
        let timer = Timer::parse(&parse_quote! {
            fn tick(&mut self, ctx: &mut Context, name: &str, fire: u64, note: String) -> Result<(), Late> { Ok(()) }
        })
        .unwrap();
        assert!(timer.takes_context && timer.takes_fire && timer.payload.is_some());
    }

    #[test]
    fn other_forms_of_a_timer_function_are_refused() {
        let functions: [ImplItemFn; 5] = [
            parse_quote! { fn tick(&self, name: &str) {} },
            parse_quote! { fn tick(&mut self) {} },
            parse_quote! { fn tick(&mut self, name: String) {} },
            parse_quote! { fn tick(&mut self, name: &str, payload: String) {} },
            parse_quote! { fn tick(&mut self, name: &str) -> u64 { 0 } },
        ];
        for function in functions {
            assert!(Timer::parse(&function).is_err());
        }
    }

    #[test]
    fn an_upgrade_function_takes_the_version_and_the_bytes() {
        assert!(
            Upgrade::parse(&parse_quote! {
                fn upgrade(from: u32, bytes: &[u8]) -> Result<Self, String> { Err(String::new()) }
            })
            .is_ok()
        );
        assert!(
            Upgrade::parse(&parse_quote! {
                fn upgrade(bytes: &[u8]) -> Result<Self, String> { Err(String::new()) }
            })
            .is_err()
        );
    }
}
