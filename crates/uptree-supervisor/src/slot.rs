//! A place where a child puts what others use while it runs.

use std::{borrow::Cow, fmt, sync::Arc};

use tokio::sync::watch;

use crate::worker::{self, ChildPath};

/// A value that a child publishes for as long as it runs: a pool, an address.
///
/// The handle is made before the tree and is cheap to clone; the child fills it at its start and
/// empties it when it goes down. Values handed out may outlive the incarnation, and then fail.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::Slot;
///
/// let slot = Slot::new("pool");
/// assert_eq!(slot.get().unwrap_err().to_string(), "pool is not running");
/// let published = slot.publish(7).unwrap();
/// assert_eq!(slot.get().unwrap(), 7);
/// drop(published);
/// assert!(slot.get().is_err());
/// ```
pub struct Slot<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: Cow<'static, str>,
    current: watch::Sender<Option<Current<T>>>,
}

struct Current<T> {
    value: T,
    publisher: Option<ChildPath>,
}

impl<T: Clone> Slot<T> {
    /// An empty slot; `name` is what [`Unavailable`] calls it.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let shared = Shared {
            name: name.into(),
            current: watch::Sender::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Fills the slot until the guard is dropped.
    ///
    /// # Errors
    ///
    /// If it is filled: two children that run at once publish in it. Both paths are named.
    pub fn publish(&self, value: T) -> Result<Published<T>, AlreadyPublished> {
        let publisher = worker::current();
        let mut already = None;
        self.shared.current.send_if_modified(|current| {
            if let Some(current) = current {
                already = Some(current.publisher.clone());
                return false;
            }
            *current = Some(Current {
                value,
                publisher: publisher.clone(),
            });
            true
        });
        match already {
            Some(first) => Err(AlreadyPublished {
                name: self.shared.name.clone(),
                first: first.map(|path| path.to_string()),
                second: publisher.map(|path| path.to_string()),
            }),
            None => Ok(Published { slot: self.clone() }),
        }
    }

    /// The value, if its child runs.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn get(&self) -> Result<T, Unavailable> {
        let current = self.shared.current.borrow();
        let value = current.as_ref().map(|current| current.value.clone());
        value.ok_or_else(|| Unavailable {
            name: self.shared.name.clone(),
        })
    }

    /// The value, as soon as its child runs.
    ///
    /// For a child that is ready. In a start use [`get`](Self::get): the child waited for may
    /// come later in the list.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&self) -> T {
        let mut changes = self.shared.current.subscribe();
        loop {
            if let Ok(value) = self.get() {
                return value;
            }
            if changes.changed().await.is_err() {
                // The sender is in `self`.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filled = self.shared.current.borrow().is_some();
        f.debug_struct("Slot")
            .field("name", &self.shared.name)
            .field("filled", &filled)
            .finish()
    }
}

/// Keeps a slot filled; empties it when dropped.
///
/// Only one is alive for a slot at a time, so it can only withdraw its own value.
#[must_use = "the value is withdrawn when this is dropped"]
pub struct Published<T> {
    slot: Slot<T>,
}

impl<T> Published<T> {
    /// Empties the slot, before whatever it held is taken down.
    pub fn withdraw(self) {
        drop(self);
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // The value is dropped outside the slot's lock: its own drop may be long, or look here.
        let withdrawn = self.slot.shared.current.send_replace(None);
        drop(withdrawn);
    }
}

impl<T> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.slot).finish()
    }
}

/// The child that would publish the value does not run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name} is not running")]
pub struct Unavailable {
    name: Cow<'static, str>,
}

/// A second child published in a slot that is filled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name} is published by {} already, and by {} now", shown(.first.as_deref()), shown(.second.as_deref()))]
pub struct AlreadyPublished {
    name: Cow<'static, str>,
    first: Option<String>,
    second: Option<String>,
}

fn shown(path: Option<&str>) -> &str {
    path.unwrap_or("a task outside the tree")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_publisher_is_refused_and_leaves_the_first_alone() {
        let slot = Slot::new("repo");
        let first = slot.publish(1).expect("empty");
        let error = slot.publish(2).expect_err("filled");
        let outside = "a task outside the tree";
        assert_eq!(
            error.to_string(),
            format!("repo is published by {outside} already, and by {outside} now")
        );
        assert_eq!(slot.get(), Ok(1));
        first.withdraw();
        assert!(slot.get().is_err());
        let _second = slot.publish(2).expect("empty again");
        assert_eq!(slot.get(), Ok(2));
    }

    #[tokio::test]
    async fn wait_completes_when_the_value_comes() {
        let slot = Slot::new("repo");
        let waiter = tokio::spawn({
            let slot = slot.clone();
            async move { slot.wait().await }
        });
        tokio::task::yield_now().await;
        let _published = slot.publish("pool").expect("empty");
        assert_eq!(waiter.await.expect("no panic"), "pool");
    }
}
