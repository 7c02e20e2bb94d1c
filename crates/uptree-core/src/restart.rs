//! The two tables: which exits lead to a restart, and which exits are an answer to a stop.

/// When a child that has exited by itself is started again.
///
/// Defaults to [`Permanent`](Self::Permanent), as in OTP.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Restart {
    /// Always, also after a normal exit.
    #[default]
    Permanent,
    /// Only after an abnormal exit.
    Transient,
    /// Never, not even when a sibling's failure took it down. Once down it is forgotten.
    Temporary,
}

/// How a child ended: OTP's exit reasons, as far as a supervisor tells them apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Exit {
    /// It finished by itself (OTP's `normal`).
    Normal,
    /// It stopped because it was asked to (OTP's `shutdown`).
    Shutdown,
    /// It stopped in order and says why (OTP's `{shutdown, Term}`).
    ShutdownWith,
    /// It was killed: aborted, not asked (OTP's `killed`).
    Killed,
    /// It returned an error or panicked.
    Abnormal,
}

impl Exit {
    /// Whether it is one that restarts a transient child and is reported.
    pub fn is_abnormal(self) -> bool {
        matches!(self, Self::Killed | Self::Abnormal)
    }
}

impl Restart {
    /// Whether a child that ended by itself with `exit` is started again.
    pub fn restarts_after(self, exit: Exit) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => exit.is_abnormal(),
            Self::Temporary => false,
        }
    }

    /// Whether `exit` is an accepted answer to a stop: of a child that was asked, or of one that
    /// was killed without being asked ([`BrutalKill`](crate::Shutdown::BrutalKill)).
    ///
    /// Any other is reported as OTP's `shutdown_error`; it never causes a restart.
    pub fn accepts_at_stop(self, brutal_kill: bool, exit: Exit) -> bool {
        let permanent = self == Self::Permanent;
        match exit {
            Exit::Killed => brutal_kill,
            Exit::Shutdown => !brutal_kill || !permanent,
            Exit::Normal | Exit::ShutdownWith => !permanent,
            Exit::Abnormal => false,
        }
    }

    /// The same for a child of a [`DynamicSupervisor`](crate::DynamicSupervisor), whose table is
    /// Elixir's and differs in a few places.
    pub fn accepts_at_dynamic_stop(self, brutal_kill: bool, exit: Exit) -> bool {
        match exit {
            Exit::Killed => brutal_kill,
            Exit::Shutdown | Exit::ShutdownWith => !brutal_kill,
            Exit::Normal => !brutal_kill && self != Self::Permanent,
            Exit::Abnormal => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Restart};

    const EXITS: [Exit; 5] = [
        Exit::Normal,
        Exit::Shutdown,
        Exit::ShutdownWith,
        Exit::Killed,
        Exit::Abnormal,
    ];
    const YES: bool = true;
    const NO: bool = false;

    #[test]
    fn restart_type_by_exit() {
        let restarts = |restart: Restart| EXITS.map(|exit| restart.restarts_after(exit));
        //                                        normal, shutdown, with, killed, abnormal
        assert_eq!(restarts(Restart::Permanent), [YES, YES, YES, YES, YES]);
        assert_eq!(restarts(Restart::Transient), [NO, NO, NO, YES, YES]);
        assert_eq!(restarts(Restart::Temporary), [NO, NO, NO, NO, NO]);
    }

    #[test]
    fn what_is_accepted_at_a_stop() {
        let asked = |restart: Restart| EXITS.map(|exit| restart.accepts_at_stop(false, exit));
        //                                     normal, shutdown, with, killed, abnormal
        assert_eq!(asked(Restart::Permanent), [NO, YES, NO, NO, NO]);
        assert_eq!(asked(Restart::Transient), [YES, YES, YES, NO, NO]);
        assert_eq!(asked(Restart::Temporary), [YES, YES, YES, NO, NO]);
        let killed = |restart: Restart| EXITS.map(|exit| restart.accepts_at_stop(true, exit));
        assert_eq!(killed(Restart::Permanent), [NO, NO, NO, YES, NO]);
        assert_eq!(killed(Restart::Transient), [YES, YES, YES, YES, NO]);
        assert_eq!(killed(Restart::Temporary), [YES, YES, YES, YES, NO]);
    }

    #[test]
    fn what_is_accepted_at_the_stop_of_a_dynamic_child() {
        let accepts = |restart: Restart, brutal_kill| {
            EXITS.map(|exit| restart.accepts_at_dynamic_stop(brutal_kill, exit))
        };
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            let normal = restart != Restart::Permanent;
            //                                          normal, shutdown, with, killed, abnormal
            assert_eq!(accepts(restart, false), [normal, YES, YES, NO, NO]);
            assert_eq!(accepts(restart, true), [NO, NO, NO, YES, NO]);
        }
    }
}
