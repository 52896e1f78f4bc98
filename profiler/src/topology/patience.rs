//! Work that may never end, done in a thread of its own: whoever asks waits no longer than it wants to.
//!
//! A read of `/proc/PID/cmdline` waits for the lock of the process's memory, which the process can make last as long as it likes;
//! an engine may accept no connection.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::threads;

/// What `work` gives, if it does so in time. It goes on for nobody else.
pub(super) fn within<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    all_within(patience, vec![work]).pop().flatten()
}

/// The same of several at once, in their order, all within the same time.
pub(super) fn all_within<T, W>(patience: Duration, works: Vec<W>) -> Vec<Option<T>>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let until = Instant::now() + patience;
    let mut results: Vec<Option<T>> = works.iter().map(|_| None).collect();
    let (done, results_come) = mpsc::channel();
    for (number, work) in works.into_iter().enumerate() {
        let done = done.clone();
        let work = move || drop(done.send((number, work())));
        // Without a thread there is no result either.
        let _ = thread::Builder::new().name(threads::BLOCKING.into()).spawn(work);
    }
    drop(done);
    while let Ok((number, result)) = results_come.recv_timeout(until.saturating_duration_since(Instant::now())) {
        results[number] = Some(result);
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_in_time_is_not_waited_for_and_the_rest_is_there() {
        let (keep, never) = mpsc::channel::<()>();
        let never = std::sync::Arc::new(std::sync::Mutex::new(never));
        let begun = Instant::now();
        let works: Vec<Box<dyn FnOnce() -> u32 + Send>> = vec![
            Box::new(move || {
                let _ = never.lock().map(|never| never.recv());
                1
            }),
            Box::new(|| 2),
        ];
        assert_eq!(all_within(Duration::from_millis(200), works), [None, Some(2)]);
        assert!(begun.elapsed() < Duration::from_secs(60));
        drop(keep);
        assert_eq!(within(Duration::from_secs(60), || 3), Some(3));
    }
}
