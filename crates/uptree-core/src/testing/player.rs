//! Plays scripts against a machine, as a driver would.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{Call, Machine};
use crate::{Action, ChildType, Event, Exit, Incarnation, Index, Note, Restart, Shutdown, Spec};

/// Plays scripts. A line is what happens, and what is said and done in turn until there is nothing
/// to do: `("exited 1 abnormal", "child_terminated 1, restarting 1 left 0, stop 2")`.
///
/// What a line is about is the child's present life, or after `late` the one before. A line can
/// end with the second at which it happens, as in `@12`; time does not pass otherwise.
pub(crate) struct Player<M> {
    pub(crate) machine: M,
    now: Duration,
    /// The latest life in each slot.
    started: HashMap<Index, u32>,
    waits: Vec<Incarnation>,
    calls: VecDeque<Call>,
    pending: Vec<(Incarnation, Call)>,
}

impl<M: Machine> Player<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self {
            machine,
            now: Duration::ZERO,
            started: HashMap::new(),
            waits: Vec::new(),
            calls: VecDeque::new(),
            pending: Vec::new(),
        }
    }

    /// Boots so many children, whatever is said.
    pub(crate) fn booted(mut self, children: usize) -> Self {
        self.happens(Event::Boot);
        for i in 0..children {
            self.happens(Event::Started(Incarnation::first(i)));
        }
        self
    }

    #[track_caller]
    pub(crate) fn play(mut self, script: &[(&str, &str)]) {
        for (line, &(text, expected)) in script.iter().enumerate() {
            let event = self.read(text);
            let said = self.happens(event);
            let said = match said.is_empty() {
                true => "-".into(),
                false => said.join(", "),
            };
            assert_eq!(said, expected, "line {}: {text}", line + 1);
        }
    }

    /// Everything that is said and done from here until there is nothing to do.
    fn happens(&mut self, event: Event) -> Vec<String> {
        let mut said = Vec::new();
        let mut event = event;
        loop {
            let note = &mut |note| said.push(shown(note));
            let action = self.machine.tell(event, self.now, note);
            said.extend(self.answer(event));
            self.machine.audit();
            match action {
                Some(Action::Serve) => self.serve(&mut said),
                Some(action) => said.push(self.perform(action)),
                None => return said,
            }
            if let Some(Action::Finish(_)) = action {
                return said;
            }
            event = Event::Done;
        }
    }

    fn serve(&mut self, said: &mut Vec<String>) {
        let call = self.calls.pop_front().expect("somebody has called");
        let note = &mut |note| said.push(shown(note));
        let served = self.machine.serve(call, note);
        self.machine.audit();
        said.push(match served {
            Ok(Some(action)) => {
                let (Action::Start(it) | Action::Stop(it)) = action else {
                    panic!("a call that wants {action:?}");
                };
                self.pending.push((it, call));
                self.perform(action)
            }
            Ok(None) => "ok".into(),
            Err(refusal) => format!("refused {refusal:?}"),
        });
    }

    fn perform(&mut self, action: Action) -> String {
        match action {
            Action::Start(it) => {
                let before = self.started.insert(it.child, it.number);
                assert!(before < Some(it.number), "not a new life: {it:?}");
                format!("start {}", it.child)
            }
            Action::Stop(it) => format!("stop {}", it.child),
            Action::Wait(it, delay) => {
                self.waits.push(it);
                format!("wait {} {delay:?}", it.child)
            }
            Action::Finish(outcome) => format!("finish {outcome:?}"),
            Action::Serve => unreachable!("served elsewhere"),
        }
    }

    /// What those are told who called for what has now ended.
    fn answer(&mut self, event: Event) -> Vec<String> {
        let (it, how) = match event {
            Event::Started(it) => (it, "started"),
            Event::Ignored(it) => (it, "ignored"),
            Event::Exited(it, _) => (it, "exited"),
            Event::Stuck(it) => (it, "stuck"),
            _ => return Vec::new(),
        };
        let is_over = |&mut (pending, call): &mut (Incarnation, Call)| {
            pending == it && !(how == "started" && matches!(call, Call::Terminate(_)))
        };
        let over = self.pending.extract_if(.., is_over);
        let answers = over.map(|(_, call)| match call {
            Call::Terminate(_) if how != "stuck" => "answer stopped".into(),
            _ => format!("answer {how}"),
        });
        answers.collect()
    }

    fn read(&mut self, text: &str) -> Event {
        let mut words: Vec<&str> = text.split(' ').collect();
        if let Some(second) = words.last().and_then(|word| word.strip_prefix('@')) {
            self.now = Duration::from_secs(second.parse().expect("a second"));
            words.pop();
        }
        let mut words = words.into_iter();
        let mut word = || words.next().expect("another word");
        let mut what = word();
        let late = what == "late";
        if late {
            what = word();
        }
        match what {
            "boot" => return Event::Boot,
            "shutdown" => return Event::Shutdown,
            "done" => return Event::Done,
            "call" => {
                let call = match word() {
                    "start" => Call::Start(spec(words)),
                    "restart" => Call::Restart(index(word())),
                    "terminate" => Call::Terminate(index(word())),
                    "delete" => Call::Delete(index(word())),
                    "ask" => Call::Ask,
                    other => panic!("no such call: {other}"),
                };
                self.calls.push_back(call);
                return Event::Call;
            }
            _ => {}
        }
        let child = index(word());
        if what == "retry" {
            let wait = self.waits.iter().position(|it| it.child == child);
            return Event::Retry(self.waits.remove(wait.expect("a wait of this child")));
        }
        let mut it = self.machine.incarnation(child);
        it.number -= u32::from(late);
        match what {
            "started" => Event::Started(it),
            "ignored" => Event::Ignored(it),
            "stuck" => Event::Stuck(it),
            "exited" => Event::Exited(it, exit(word())),
            other => panic!("no such event: {other}"),
        }
    }
}

fn index(word: &str) -> Index {
    word.parse().expect("an index")
}

fn exit(word: &str) -> Exit {
    match word {
        "normal" => Exit::Normal,
        "shutdown" => Exit::Shutdown,
        "shutdown_with" => Exit::ShutdownWith,
        "killed" => Exit::Killed,
        "abnormal" => Exit::Abnormal,
        other => panic!("no such exit: {other}"),
    }
}

/// Reads a list of specs, such as `"permanent, transient significant"`.
pub(crate) fn specs(text: &str) -> Vec<Spec> {
    let specs = text.split(", ").filter(|text| !text.is_empty());
    specs.map(|text| spec(text.split(' '))).collect()
}

fn spec<'a>(words: impl Iterator<Item = &'a str>) -> Spec {
    let mut spec = Spec::default();
    for word in words {
        match word {
            "permanent" => spec.restart = Restart::Permanent,
            "transient" => spec.restart = Restart::Transient,
            "temporary" => spec.restart = Restart::Temporary,
            "significant" => spec.significant = true,
            "brutal" => spec.shutdown = Shutdown::BrutalKill,
            "supervisor" => spec.child_type = ChildType::Supervisor,
            other => panic!("no such option: {other}"),
        }
    }
    spec
}

fn shown(note: Note) -> String {
    match note {
        Note::StartError(i) => format!("start_error {i}"),
        Note::ChildTerminated(i) => format!("child_terminated {i}"),
        Note::ShutdownError(i) => format!("shutdown_error {i}"),
        Note::MaxIntensity(i) => format!("max_intensity {i}"),
        Note::Restarting { child, left } => format!("restarting {child} left {left}"),
        Note::LeftDown(i) => format!("left_down {i}"),
        Note::AutoShutdown(i) => format!("auto_shutdown {i}"),
        Note::Forgotten(i) => format!("forgotten {i}"),
        Note::Booted => "booted".into(),
    }
}
