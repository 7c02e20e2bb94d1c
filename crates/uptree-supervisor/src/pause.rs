//! For tests: a supervisor that looks at nothing for a while.

use std::sync::Arc;

use crate::{call::Live, scope::Scope};

/// Keeps a supervisor from looking at what waits for it; dropped, it resumes.
#[derive(Debug)]
#[must_use = "it resumes when this is dropped"]
pub struct Pause {
    scope: Arc<Scope>,
}

impl Pause {
    pub(crate) fn new(live: &Live) -> Option<Self> {
        let scope = live.get().ok()?;
        scope.inbox.pause(true);
        Some(Self { scope })
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.scope.inbox.pause(false);
    }
}
