//! Where Uptree differs from OTP on purpose, or has no such thing: each with a name and a reason.
//!
//! A rule says what is compared otherwise than as it stands, by what happens in a scenario and never
//! by the scenario's name. There is nothing else that is let through.

use std::fmt;

/// A deliberate difference.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// What is below a killed supervisor is killed with it.
    KilledSubtree,
    /// The starts of a dynamic supervisor do not hold each other up.
    StartsOverlap,
    /// There is no `simple_one_for_one`.
    OneTemplate,
    /// A dynamic supervisor reports each child that did not stop as it should.
    OneReportEach,
    /// A dynamic supervisor accepts what Elixir's accepts.
    ElixirAccepts,
    /// A child that ended before its dynamic supervisor came to stop it is no special case.
    EndedBefore,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::KilledSubtree,
        Self::StartsOverlap,
        Self::OneTemplate,
        Self::OneReportEach,
        Self::ElixirAccepts,
        Self::EndedBefore,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::KilledSubtree => "killed-subtree",
            Self::StartsOverlap => "starts-overlap",
            Self::OneTemplate => "one-template",
            Self::OneReportEach => "one-report-each",
            Self::ElixirAccepts => "elixir-accepts",
            Self::EndedBefore => "ended-before",
        }
    }

    /// What is compared otherwise, and why.
    pub fn reason(self) -> &'static str {
        match self {
            Self::KilledSubtree => {
                "Whatever is below a supervisor that is killed is killed with it, and is gone before \
                 the supervisor counts as gone. In OTP it goes by itself, some of it in order. So of \
                 `orphans` the paths that went down are compared, without reason, order or reports."
            }
            Self::StartsOverlap => {
                "A DynamicSupervisor goes on while a child starts or stops, and its own end calls \
                 starts off. In OTP everything waits for everything. So in a batch on one: what happens \
                 to each child is compared in order, and not what happens to one between the events of \
                 another; of a start that was called off neither its answer nor what followed is \
                 compared; who asks about a child that is starting or stopping is answered by the player \
                 as OTP does, with what becomes of it; and who is refused because of one asks again. If \
                 nobody exits, the calls of a batch are played one by one."
            }
            Self::OneTemplate => {
                "There is no simple_one_for_one: it is played on a DynamicSupervisor, each child with \
                 the template's options. What the types do not allow is answered by the player as OTP \
                 does: restart_child, delete_child and a terminate_child by id with \
                 `simple_one_for_one`, a terminate_child of a process that is dead with `ok`, and \
                 `specs` is 1. A child that is ignored is `{ok, undefined}`."
            }
            Self::OneReportEach => {
                "At its end a simple_one_for_one reports how many children did not stop as they \
                 should, by reason, and Elixir's DynamicSupervisor reports each, both when all are \
                 gone; ours reports each when that is gone. So such reports are counted, and have no \
                 order among the ends of the children."
            }
            Self::ElixirAccepts => {
                "A permanent child that answers a stop with {shutdown, _} is reported by \
                 simple_one_for_one and accepted by a DynamicSupervisor. So such reports of a \
                 simple_one_for_one are left out."
            }
            Self::EndedBefore => {
                "A child may have ended by itself when its dynamic supervisor comes to stop it, and the \
                 supervisor does not know yet. Elixir's then reports all but a `normal`; ours goes by \
                 the same table as for any stop, and for a child that is to be killed that table has only \
                 `killed`. So in a batch on one, whether the stop of a child that ended in that batch is \
                 reported is not compared; and for a simple_one_for_one, whose reports do not say which \
                 child, an end in order is left out where all are killed."
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.name(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Rule;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_a_reason() {
        let names: HashSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert!(rule.reason().ends_with('.'), "{rule}");
        }
    }
}
