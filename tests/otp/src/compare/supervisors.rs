//! The supervisors of a scenario.

use std::collections::HashMap;

use crate::scenario::{Node, Restart, Scenario, Step, Strategy, Supervisor};

/// What the comparison must know of the supervisors of a scenario, by path.
pub(crate) struct Supervisors<'a>(HashMap<String, &'a Supervisor>);

impl<'a> Supervisors<'a> {
    /// Those of the tree, and those that are started later.
    pub(crate) fn of(scenario: &'a Scenario) -> Self {
        let mut all = Self(HashMap::new());
        all.add("", &scenario.tree);
        for step in &scenario.steps {
            all.add_started(step);
        }
        all
    }

    fn add_started(&mut self, step: &'a Step) {
        match step {
            Step::Batch { items, .. } => items.iter().for_each(|item| self.add_started(item)),
            Step::Call(call) => {
                if let Some(child) = &call.child {
                    self.add(&format!("{}/", call.sup), child);
                }
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

    /// Whether its template is permanent.
    pub(super) fn restarts_always(&self, path: &str) -> bool {
        let template = self.0.get(path).and_then(|it| it.template.as_ref());
        template.is_some_and(|it| it.restart == Restart::Permanent)
    }
}
