//! The supervisors of a scenario.

use std::collections::HashMap;

use serde_json::Value;

use crate::scenario::{Call, Node, Options, Scenario, Step, Strategy, Supervisor};

/// What the comparison must know of the supervisors of a scenario, by path.
pub(crate) struct Supervisors<'a>(HashMap<String, &'a Supervisor>);

impl<'a> Supervisors<'a> {
    /// Those of the tree at boot.
    pub(crate) fn of(scenario: &'a Scenario) -> Self {
        let mut all = Self(HashMap::new());
        all.add("", &scenario.tree);
        all
    }

    /// Adds those that `step` started, as its result says.
    pub(crate) fn learn(&mut self, step: &'a Step, result: &Value) {
        match (step, result) {
            (Step::Batch { items, .. }, Value::Array(results)) => {
                for (item, result) in items.iter().zip(results) {
                    self.learn(item, result);
                }
            }
            (
                Step::Call(Call {
                    sup,
                    child: Some(child),
                    ..
                }),
                result,
            ) if result.get("ok").is_some() => {
                self.add(&format!("{sup}/"), child);
            }
            _ => {}
        }
    }

    fn add(&mut self, above: &str, node: &'a Node) {
        if let Node::Supervisor(supervisor) = node {
            let path = format!("{above}{}", supervisor.id);
            for child in &supervisor.children {
                self.add(&format!("{path}/"), child);
            }
            self.0.insert(path, supervisor);
        }
    }

    pub(super) fn is_simple(&self, path: &str) -> bool {
        let supervisor = self.0.get(path);
        supervisor.is_some_and(|it| it.strategy == Strategy::SimpleOneForOne)
    }

    /// Without an order among its children.
    pub(super) fn is_dynamic(&self, path: &str) -> bool {
        let supervisor = self.0.get(path);
        supervisor
            .is_some_and(|it| matches!(it.strategy, Strategy::SimpleOneForOne | Strategy::Dynamic))
    }

    /// The template that a `simple_one_for_one` has.
    pub(super) fn template(&self, path: &str) -> Option<&Options> {
        self.0
            .get(path)
            .filter(|_| self.is_simple(path))?
            .template
            .as_ref()
    }
}
