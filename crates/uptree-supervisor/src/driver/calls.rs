//! What a driver does when its supervisor is called.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{Hash, Hasher},
};

use uptree_core::{Action, Counts, Event, Incarnation as Key, Index, Note, Refusal, Status};

use super::{Driver, Slot};
use crate::{
    ChildInfo, ChildRef, ChildSpec, ChildState, ControlError, Started, StopCause,
    call::{Call, Reply, Target},
    machine::Machine,
    scope::Entry,
};

/// A child by its id.
pub(super) struct ById(ChildSpec);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl Driver<'_> {
    /// A call waits for its turn, but for the one that ends everything.
    pub(super) fn on_call(&mut self, call: Call) -> Option<Event> {
        match call {
            Call::Stop(reason, caller) => {
                // Whoever began its end has said what it ends with.
                if !self.ending {
                    self.stop = Some(reason);
                }
                self.stop_callers.push(caller);
                Some(Event::Shutdown)
            }
            // It ends: what waits is answered by that.
            _ if self.ending => None,
            call => {
                self.calls.push_back(call);
                Some(Event::Call)
            }
        }
    }

    /// Serves the call whose turn it is.
    pub(super) fn serve(&mut self, machine: &mut Machine) {
        match self.calls.pop_front() {
            Some(Call::Start(spec, caller)) => self.start_child(machine, spec, caller),
            Some(Call::Restart(id, caller)) => self.restart_child(machine, &id, caller),
            Some(Call::Terminate(target, caller)) => {
                self.terminate_child(machine, &target, caller);
            }
            Some(Call::Delete(id, caller)) => {
                _ = caller.send(self.delete_child(machine, &id));
            }
            Some(Call::Which(caller)) => _ = caller.send(Ok(self.which_children(machine))),
            Some(Call::Count(caller)) => _ = caller.send(Ok(self.counts(machine))),
            Some(Call::Spec(id, caller)) => {
                let spec = self.find(machine, &id).and_then(|it| self.scope.spec(it));
                _ = caller.send(spec.ok_or(ControlError::NotFound));
            }
            Some(Call::Stop(..)) | None => {}
        }
        self.forget();
        #[cfg(test)]
        super::tests::weigh(self);
    }

    fn start_child(&mut self, machine: &mut Machine, spec: ChildSpec, caller: Reply<Started>) {
        if let Some(error) = self.refusal(machine, &spec) {
            _ = caller.send(Err(error));
            return;
        }
        match machine.start_child(spec.core()) {
            Ok(Action::Start(key)) => {
                if let Some(backoff) = spec.options().own_backoff() {
                    machine.set_backoff(key.child, backoff);
                }
                if let Some(ids) = &mut self.ids {
                    ids.insert(ById(spec.clone()), key.child);
                }
                if key.child == self.slots.len() {
                    self.slots.push(Slot::default());
                    self.scope.entries().push(Entry::Free);
                }
                self.start(key, Some(spec), Some(caller));
            }
            Ok(_) => {}
            Err(refusal) => _ = caller.send(Err(refused(refusal))),
        }
    }

    /// Why a child cannot be added, as far as the core does not know.
    fn refusal(&mut self, machine: &mut Machine, spec: &ChildSpec) -> Option<ControlError> {
        let slow = || {
            spec.stop_budget()
                .is_none_or(|budget| budget > self.max_shutdown)
        };
        if self.max_shutdown != std::time::Duration::MAX && slow() {
            return Some(ControlError::TooSlowToStop);
        }
        let fits = |spec: &ChildSpec| machine.fits(spec.core());
        if !fits(spec) {
            return Some(ControlError::BadCombination);
        }
        if !self.scope.ordered {
            return None;
        }
        let known = self.find(machine, spec.id())?;
        Some(match machine.status(known) {
            Status::Running => ControlError::AlreadyStarted,
            Status::Restarting | Status::Undefined => ControlError::AlreadyPresent,
        })
    }

    fn restart_child(&mut self, machine: &mut Machine, id: &str, caller: Reply<Started>) {
        let Some(child) = self.find(machine, id) else {
            _ = caller.send(Err(ControlError::NotFound));
            return;
        };
        match machine
            .ordered()
            .map(|machine| machine.restart_child(child))
        {
            Some(Ok(Action::Start(key))) => self.start(key, None, Some(caller)),
            Some(Err(refusal)) => _ = caller.send(Err(refused(refusal))),
            Some(Ok(_)) | None => {}
        }
    }

    fn terminate_child(&mut self, machine: &mut Machine, target: &Target, caller: Reply<()>) {
        let child = match target {
            Target::Id(id) => self.find(machine, id),
            Target::Child(child) => self.resolve(child),
        };
        let Some(child) = child else {
            _ = caller.send(Err(ControlError::NotFound));
            return;
        };
        let action = machine.terminate_child(child, &mut |note| self.explain(note, &mut None));
        match action {
            Some(Action::Stop(key)) => self.stop(key.child, StopCause::Terminated, Some(caller)),
            // Somebody else is taking it down: this one waits too.
            _ if let Some(flight) = self.flight(child) => flight.ended.push(caller),
            _ => {
                if let Some(life) = &self.slots[child].life {
                    life.show(ChildState::Down, self.at);
                }
                _ = caller.send(Ok(()));
            }
        }
    }

    fn delete_child(&mut self, machine: &mut Machine, id: &str) -> Result<(), ControlError> {
        let child = self.find(machine, id).ok_or(ControlError::NotFound)?;
        let forget = |note| {
            if let Note::Forgotten(child) = note {
                self.forgotten.push(child);
            }
        };
        let deleted = machine
            .ordered()
            .map(|machine| machine.delete_child(child, &mut { forget }));
        deleted.unwrap_or(Ok(())).map_err(refused)
    }

    fn which_children(&self, machine: &Machine) -> Vec<ChildInfo> {
        let entries = self.scope.entries();
        let mut all = Vec::with_capacity(machine.counts().specs);
        machine.each_child(|(child, status)| {
            // Whoever is known was started: nobody is served before.
            if let Entry::Started(life, first) = &entries[child] {
                all.push(ChildInfo::new(life.clone(), *first, status));
            }
        });
        all
    }

    /// As OTP's supervisor, an ordered one looks whether its children are alive; Elixir's does not.
    fn counts(&self, machine: &Machine) -> Counts {
        let mut counts = machine.counts();
        if self.scope.ordered {
            counts.active = counts.active.saturating_sub(self.scope.inbox.gone());
        }
        counts
    }

    /// The slot of the child with this id.
    fn find(&mut self, machine: &Machine, id: &str) -> Option<Index> {
        let ids = self.ids.get_or_insert_with(|| {
            let entries = self.scope.entries();
            let mut ids = HashMap::default();
            machine.each_child(|(child, _)| {
                if let Some(spec) = self.scope.spec_of(child, &entries[child]) {
                    ids.insert(ById(spec.clone()), child);
                }
            });
            ids
        });
        ids.get(id).copied()
    }

    /// The slot of a child that is still known.
    fn resolve(&self, child: &ChildRef) -> Option<Index> {
        let Key {
            child: slot,
            number,
        } = child.first;
        let known = match self.scope.entries().get(slot)? {
            Entry::Started(_, first) => *first == number,
            Entry::Listed => Key::first(slot).number == number,
            Entry::Free => false,
        };
        (known && child.is_of(&self.scope)).then_some(slot)
    }
}

fn refused(refusal: Refusal) -> ControlError {
    match refusal {
        Refusal::Running => ControlError::Running,
        Refusal::Restarting => ControlError::Restarting,
        Refusal::MaxChildren => ControlError::MaxChildren,
        Refusal::BadCombination => ControlError::BadCombination,
        Refusal::Ending => ControlError::NoProc,
    }
}
