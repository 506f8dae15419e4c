//! What a deployment changes, for people.

use entia_api::body::{Became, ChangeBody, Changed, DryRunBody, PlanBody, VersionBody};

use crate::output::{bytes, printable};

/// A plan as `entia deploy --plan` shows it.
pub(crate) fn planned(plan: &PlanBody) -> String {
    let of = |version: &VersionBody| {
        let (digest, size) = (version.digest.short(), bytes(version.component_bytes));
        format!(
            "{} version {} ({digest}, {size})",
            plan.kind, version.version
        )
    };
    let to = of(&plan.to);
    let mut text = match &plan.from {
        None => format!("{to} would be new\n"),
        Some(_) if plan.changes.is_empty() => format!("{to} is there, and nothing would change\n"),
        Some(from) => format!("{to} would replace {}\n", of(from)),
    };
    text += &changes(&plan.changes);
    text += &dry_run(&plan.dry_run);
    text
}

/// A line for each change; none if nothing changed.
pub(crate) fn changes(changes: &[ChangeBody]) -> String {
    let lines = changes.iter().map(|change| {
        let breaking = change.breaking.as_deref().map(printable);
        let breaking = breaking.map_or_else(String::new, |why| format!("  BREAKING: {why}"));
        format!("  {}{breaking}\n", line(&change.what))
    });
    lines.collect()
}

fn line(what: &Changed) -> String {
    let required = |required: bool| if required { "required" } else { "optional" };
    match what {
        Changed::Component => "~ the component".to_owned(),
        Changed::MethodAdded { method } => format!("+ method {}", printable(method)),
        Changed::MethodRemoved { method } => format!("- method {}", printable(method)),
        Changed::MethodForm { method, query } => {
            let form = if *query { "a query" } else { "a command" };
            format!("~ method {} becomes {form}", printable(method))
        }
        Changed::ArgumentAdded {
            method,
            argument,
            required: needed,
        } => {
            let argument = printable(argument);
            format!(
                "+ argument {argument} of {}, {}",
                printable(method),
                required(*needed)
            )
        }
        Changed::ArgumentRemoved { method, argument } => {
            format!(
                "- argument {} of {}",
                printable(argument),
                printable(method)
            )
        }
        Changed::ArgumentChanged {
            method,
            argument,
            required: needed,
        } => {
            let argument = printable(argument);
            format!(
                "~ argument {argument} of {}, {}",
                printable(method),
                required(*needed)
            )
        }
        Changed::ResultChanged { method } => format!("~ result of {}", printable(method)),
        Changed::RejectionChanged { method } => format!("~ rejections of {}", printable(method)),
        Changed::Schema { from, to, oldest } => {
            format!("~ schema version {from} -> {to}, reads from {oldest}")
        }
        Changed::Limit { limit, from, to } => {
            format!("~ limit {} {from} -> {to}", printable(limit))
        }
        Changed::Config { setting, became } => {
            let sign = match became {
                Became::Added => '+',
                Became::Changed => '~',
                Became::Removed => '-',
            };
            format!("{sign} setting {}", printable(setting))
        }
    }
}

fn dry_run(dry_run: &DryRunBody) -> String {
    let (tried, entities) = (dry_run.tried, dry_run.entities);
    let more = if dry_run.more { "more than " } else { "" };
    if entities == 0 && !dry_run.more {
        return "dry run: there are no states to try it on\n".to_owned();
    }
    let failed = dry_run.failures.len();
    let mut text =
        format!("dry run: tried on {tried} of {more}{entities} states, {failed} failed\n");
    for failure in &dry_run.failures {
        // A backtrace has lines of its own.
        let lines = failure.message.lines().map(printable);
        let message = lines.collect::<Vec<_>>().join("\n    ");
        let already = if failure.already {
            " (as with the version that runs now)"
        } else {
            ""
        };
        let entity = printable(&failure.entity.to_string());
        text += &format!("  {entity}{already}: {message}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use entia_api::body::DryRunFailureBody;
    use entia_protocol::{Digest, KindName};

    use super::*;

    fn version(version: u64) -> VersionBody {
        VersionBody {
            version,
            digest: Digest::of(b""),
            component_bytes: 70_000,
            schema_version: 1,
            schema_version_oldest: 1,
        }
    }

    #[test]
    fn a_plan_says_what_changes_what_breaks_and_what_fails() {
        let method = || "look".to_owned();
        let plan = PlanBody {
            kind: KindName::new("counter").unwrap(),
            from: Some(version(1)),
            to: version(2),
            changes: vec![
                ChangeBody {
                    what: Changed::Component,
                    breaking: None,
                },
                ChangeBody {
                    what: Changed::ArgumentAdded {
                        method: method(),
                        argument: "far".to_owned(),
                        required: true,
                    },
                    breaking: Some("calls that leave it out are refused".to_owned()),
                },
            ],
            dry_run: DryRunBody {
                tried: 2,
                entities: 3,
                more: true,
                failures: vec![DryRunFailureBody {
                    entity: "counter/a\nb".parse().unwrap(),
                    message: "trapped\n0: main".to_owned(),
                    already: true,
                }],
            },
            refusal: None,
        };
        assert_eq!(
            planned(&plan),
            "counter version 2 (af1349b9f5f9, 68 KiB) would replace counter version 1 (af1349b9f5f9, 68 KiB)\n  \
             ~ the component\n  \
             + argument far of look, required  BREAKING: calls that leave it out are refused\n\
             dry run: tried on 2 of more than 3 states, 1 failed\n  \
             counter/a\u{fffd}b (as with the version that runs now): trapped\n    0: main\n"
        );
        let new = PlanBody {
            from: None,
            changes: Vec::new(),
            dry_run: DryRunBody::default(),
            ..plan
        };
        assert_eq!(
            planned(&new),
            "counter version 2 (af1349b9f5f9, 68 KiB) would be new\ndry run: there are no states to try it on\n"
        );
    }
}
