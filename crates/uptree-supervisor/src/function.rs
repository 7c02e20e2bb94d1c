//! Children made of a plain `async fn`.

use std::{borrow::Cow, future::Future, marker::PhantomData};

use crate::{Child, ChildSpec, Context, IntoChild, Result, Starting};

/// A child made of a function: what [`worker`], [`service`] and [`once`] return.
///
/// `P` is what the function is given beside its state: a [`Context`], a [`Starting`] or nothing.
#[derive(Clone, Debug)]
#[must_use = "a child does nothing until it is put in a list"]
pub struct FnChild<S, F, P> {
    id: Cow<'static, str>,
    function: Function<S, F, P>,
}

/// The child without its id, which the list has.
#[derive(Clone, Debug)]
struct Function<S, F, P> {
    state: S,
    run: F,
    given: PhantomData<fn(P)>,
}

impl<S, F, P> FnChild<S, F, P> {
    fn new(id: impl Into<Cow<'static, str>>, state: S, run: F) -> Self {
        let given = PhantomData;
        Self {
            id: id.into(),
            function: Function { state, run, given },
        }
    }
}

impl<S, F, P> IntoChild for FnChild<S, F, P>
where
    Function<S, F, P>: Child,
{
    fn into_child(self) -> ChildSpec {
        ChildSpec::named(self.id, self.function)
    }
}

impl<S, F, Fut> Child for Function<S, F, Starting>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Starting) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    fn run(&self, cx: Starting) -> impl Future<Output = Result> + Send {
        (self.run)(self.state.clone(), cx)
    }
}

impl<S, F, Fut> Child for Function<S, F, Context>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    fn run(&self, cx: Starting) -> impl Future<Output = Result> + Send {
        (self.run)(self.state.clone(), cx.ready())
    }
}

impl<S, F, Fut> Child for Function<S, F, ()>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    async fn run(&self, cx: Starting) -> Result {
        (self.run)(self.state.clone()).await?;
        cx.done()
    }
}

/// A child that says itself when it is ready. `state` is cloned for each incarnation.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Result, Starting, Supervisor, service};
///
/// async fn consume(queue: &'static str, cx: Starting) -> Result {
///     cx.step("subscribe");
///     let cx = cx.ready();
///     println!("reads {queue}");
///     cx.shutdown().await;
///     Ok(())
/// }
///
/// let tree = Supervisor::new("app").child(service("consumer", "orders", consume));
/// ```
pub fn service<S, F, Fut>(
    id: impl Into<Cow<'static, str>>,
    state: S,
    f: F,
) -> FnChild<S, F, Starting>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Starting) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    FnChild::new(id, state, f)
}

/// A child that is ready at once, and then runs. `state` is cloned for each incarnation.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use uptree_supervisor::{Context, Result, Supervisor, worker};
///
/// async fn tick(every: Duration, cx: Context) -> Result {
///     while cx.until_shutdown(tokio::time::sleep(every)).await.is_some() {
///         println!("tick");
///     }
///     Ok(())
/// }
///
/// let tree = Supervisor::new("app").child(worker("ticker", Duration::from_secs(1), tick));
/// ```
pub fn worker<S, F, Fut>(id: impl Into<Cow<'static, str>>, state: S, f: F) -> FnChild<S, F, Context>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    FnChild::new(id, state, f)
}

/// A child that runs to its end before the next one starts, and leaves nothing to supervise.
///
/// # Examples
///
/// ```
/// use uptree_supervisor::{Result, Supervisor, once};
///
/// async fn warm_up(cache: &'static str) -> Result {
///     println!("fills {cache}");
///     Ok(())
/// }
///
/// let tree = Supervisor::new("app").child(once("cache", "prices", warm_up));
/// ```
pub fn once<S, F, Fut>(id: impl Into<Cow<'static, str>>, state: S, f: F) -> FnChild<S, F, ()>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    FnChild::new(id, state, f)
}
