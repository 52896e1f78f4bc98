//! The runtime of a thread: one, with no other threads. Whatever waits there (for processes, signals, timers, rings) waits
//! together, so that nothing looks again and again whether something has come.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    os::fd::OwnedFd,
    rc::Rc,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Builder, Runtime},
};

use crate::threads;

thread_local! {
    static RUNTIME: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// The runtime of this thread, made when it is first asked for.
pub fn current() -> Result<Rc<Runtime>> {
    RUNTIME.with_borrow_mut(|place| {
        if let Some(runtime) = place {
            return Ok(runtime.clone());
        }
        let built = Builder::new_current_thread().enable_all().thread_name(threads::BLOCKING).build();
        let runtime = Rc::new(built.context("cannot make the runtime that waits for processes and timers")?);
        *place = Some(runtime.clone());
        Ok(runtime)
    })
}

/// Whether this thread is within [`wait`].
pub fn waits() -> bool {
    WAITS.get()
}

/// Waits for the result of `future`, and meanwhile for all else that this thread waits for.
///
/// # Errors
/// That of `future`; or if this thread waits already, which only `await` may do then.
pub fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    struct Waiting;
    impl Drop for Waiting {
        fn drop(&mut self) {
            WAITS.set(false);
        }
    }
    ensure!(!WAITS.replace(true), "a wait within a wait");
    let _waiting = Waiting;
    current()?.block_on(future)
}

/// A descriptor of which this thread's runtime tells when something can be read. This thread must be within its runtime.
pub fn readable(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: nobody else owns the descriptor, so that it stays open, and the same, until what is made of it here is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    registered.map_err(std::io::Error::from).context("cannot wait for a descriptor")
}

/// Does `work` in a thread of this name and waits for it. What the runtime of that thread is still writing then is left
/// behind: nobody may be reading.
///
/// # Panics
/// If `work` does.
pub fn in_thread<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_thread_beside(name, work, || {})
}

/// The same, and meanwhile this thread does something else.
///
/// # Panics
/// If `work` does.
pub fn in_thread_beside<T: Send>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send,
    meanwhile: impl FnOnce(),
) -> Result<T> {
    let work = || {
        let result = work();
        if let Some(runtime) = RUNTIME.take().and_then(Rc::into_inner) {
            runtime.shutdown_background();
        }
        result
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, work);
        let thread = thread.context("cannot start a thread")?;
        meanwhile();
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_within_a_wait_is_an_error_and_the_next_one_is_not() {
        let within = wait(async { Ok(wait(async { Ok(1) }).is_err()) });
        assert!(within.unwrap());
        assert_eq!(wait(async { Ok(2) }).unwrap(), 2);
    }

    #[test]
    fn a_thread_ends_though_what_it_writes_is_never_read() {
        let begun = std::time::Instant::now();
        let done = in_thread("ns-test", || {
            wait(async {
                tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(3)));
                Ok(7)
            })
        });
        assert_eq!(done.unwrap(), 7);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
