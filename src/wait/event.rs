//! Closures that other threads post, and that the owner of the queue runs.
//!
//! Each thread with a [main loop](crate::main_loop) owns one queue. Any thread posts through a
//! [`Poster`]. The owner runs the posted closures when its loop pumps, on its own stack, in the
//! order they came. Posting ends the owner's sleep: a thread that sleeps on a word is woken there;
//! one that waits for sockets polls the queue's descriptor with them (an `eventfd` on Linux).
//!
//! No closure is lost: it is run; or [`Poster::post`] refuses it; or, if the owner ends first, it
//! is dropped with a line in the log.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::contain::contain_each;
use crate::core::thrown;
use crate::wait::fork::Origin;
use crate::wait::parker::Parker;
use crate::wait::prim::{self, Signal};

type Event = Box<dyn FnOnce() + Send>;

/// How many events a queue holds by default.
pub const DEFAULT_LIMIT: usize = 16 * 1024;

/// The reason why an event was not posted. The closure has been dropped, on the thread that posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PostError {
    /// The queue's owner is gone.
    Closed,
    /// The queue holds as many events as it may; the owner has not pumped for long.
    Full,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PostError::Closed => "the thread that owned the event queue is gone",
            PostError::Full => "the event queue is full",
        })
    }
}

impl std::error::Error for PostError {}

/// The owner's side of the queue. It stays on its thread.
pub struct EventQueue {
    shared: Arc<Shared>,
    stays_here: PhantomData<*const ()>,
}

/// The side for all others: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Poster {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Are there events? Written under the lock; the owner sees it after a notification.
    any: AtomicBool,
    /// How many [`Promise`]s to post there are.
    promises: AtomicUsize,
    limit: usize,
    parker: Arc<Parker>,
    origin: Origin,
}

struct Queue {
    events: VecDeque<Event>,
    open: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The only thing under the lock that can panic is the growth of the deque, which leaves it
        // whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Event> {
        let mut queue = self.lock();
        let event = queue.events.pop_front();
        self.any.store(!queue.events.is_empty(), Ordering::Relaxed);
        event
    }
}

impl EventQueue {
    /// A queue for the calling thread that holds at most `limit` events. Errors: the operating
    /// system has no descriptor left.
    pub fn new(limit: usize) -> io::Result<EventQueue> {
        Ok(EventQueue::with_parker(
            limit,
            Parker::polled(Signal::new()?),
        ))
    }

    /// The queue of a thread that sleeps on the parker itself.
    pub(crate) fn of_loop(limit: usize) -> io::Result<EventQueue> {
        Ok(EventQueue::with_parker(limit, Parker::new(Signal::new()?)))
    }

    fn with_parker(limit: usize, parker: Parker) -> EventQueue {
        let queue = Mutex::new(Queue {
            events: VecDeque::new(),
            open: true,
        });
        EventQueue {
            shared: Arc::new(Shared {
                queue,
                any: AtomicBool::new(false),
                promises: AtomicUsize::new(0),
                limit,
                parker: Arc::new(parker),
                origin: Origin::here(),
            }),
            stays_here: PhantomData,
        }
    }

    /// The parker that ends the owner's sleep.
    pub(crate) fn parker(&self) -> &Arc<Parker> {
        &self.shared.parker
    }

    /// Another side to post through.
    pub fn poster(&self) -> Poster {
        Poster {
            shared: self.shared.clone(),
        }
    }

    /// Runs the events that are there now. Events that they post wait for the next call, so this
    /// ends. Returns how many ran.
    ///
    /// When an event panics, the panic goes on to the caller; the events behind it stay and are run
    /// by the next call.
    pub fn run_pending(&self) -> usize {
        if !self.shared.any.load(Ordering::Relaxed) {
            return 0;
        }
        let count = {
            let queue = self.shared.lock();
            // Without events it was an interrupt, which is to end the next wait.
            if !queue.events.is_empty() && self.shared.parker.is_notified() {
                self.shared.parker.set_quiet();
            }
            queue.events.len()
        };
        for i in 0..count {
            // The lock is not held while the event runs.
            match self.shared.pop() {
                Some(event) => thrown::guest(event),
                None => return i, // an event has pumped
            }
        }
        count
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.shared.lock().events.len()
    }

    /// Are there no events?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has somebody promised to post?
    pub(crate) fn is_promised(&self) -> bool {
        self.shared.promises.load(Ordering::Acquire) > 0
    }

    /// Makes the descriptor not readable any more: to be called when it is readable, before
    /// [`run_pending`](Self::run_pending). A post after this makes it readable again.
    pub fn acknowledge(&self) {
        self.shared.parker.set_quiet();
    }
}

impl AsRawFd for EventQueue {
    /// Becomes readable when somebody posts or interrupts.
    fn as_raw_fd(&self) -> RawFd {
        self.shared.parker.signal().as_raw_fd()
    }
}

impl EventQueue {
    /// From now on posts are refused. The events are dropped; returns whether there were any.
    pub(crate) fn close(&self) -> bool {
        let left = {
            let mut queue = self.shared.lock();
            queue.open = false;
            std::mem::take(&mut queue.events)
        };
        if !left.is_empty() {
            log::warn!(
                "{} events were posted to a thread that has ended; they are dropped",
                left.len()
            );
        }
        let any = !left.is_empty();
        contain_each("the end of an event that was not run", left);
        any
    }
}

/// While this exists, nobody else uses the queue or its signal.
pub(crate) struct Held {
    /// Both are declared before `shared`, from which they borrow, so that they are dropped first.
    _signal: prim::Held<'static>,
    _queue: MutexGuard<'static, Queue>,
    _shared: Arc<Shared>,
}

impl EventQueue {
    pub(crate) fn hold(&self) -> Held {
        let shared = self.shared.clone();
        // SAFETY: `Held` keeps a reference to `shared` and drops the guards first, and what they
        // borrow lies in the heap; so the guards do not outlive it.
        let (queue, signal) = unsafe {
            (
                std::mem::transmute::<MutexGuard<'_, Queue>, MutexGuard<'static, Queue>>(
                    shared.lock(),
                ),
                std::mem::transmute::<prim::Held<'_>, prim::Held<'static>>(
                    shared.parker.signal().hold(),
                ),
            )
        };
        Held {
            _signal: signal,
            _queue: queue,
            _shared: shared,
        }
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        self.close();
    }
}

impl Poster {
    /// Has the owner run `event` when it pumps next, and ends its wait. Errors: [`PostError`];
    /// `event` is dropped then.
    ///
    /// Cost: one allocation, a short lock, and a system call when the owner sleeps (or when it
    /// polls the descriptor itself, which is not readable yet).
    pub fn post(&self, event: impl FnOnce() + Send + 'static) -> Result<(), PostError> {
        self.push(Box::new(event), self.shared.limit)
    }

    /// As [`post`](Self::post), beyond the limit: for events that are bounded elsewhere and must
    /// arrive.
    pub(crate) fn post_always(
        &self,
        event: impl FnOnce() + Send + 'static,
    ) -> Result<(), PostError> {
        self.push(Box::new(event), usize::MAX)
    }

    /// Tells the owner to expect a post, until the promise is dropped.
    pub(crate) fn promise(&self) -> Promise {
        self.shared.promises.fetch_add(1, Ordering::Relaxed);
        Promise(self.clone())
    }

    /// Ends the owner's wait, or its next one, without an event.
    pub fn interrupt(&self) {
        self.shared.parker.notify();
    }

    fn push(&self, event: Event, limit: usize) -> Result<(), PostError> {
        // A refused event is dropped after the lock is released: its destructor may post.
        let refused = if self.shared.origin.is_lost() {
            // The owner is a thread of the parent process, which may have held the lock at the
            // fork.
            Some((event, PostError::Closed))
        } else {
            let mut queue = self.shared.lock();
            match () {
                () if !queue.open => Some((event, PostError::Closed)),
                () if queue.events.len() >= limit => Some((event, PostError::Full)),
                () => {
                    queue.events.push_back(event);
                    self.shared.any.store(true, Ordering::Relaxed);
                    drop(queue);
                    // The lock is not held here, since the owner wakes up and takes it.
                    self.shared.parker.notify();
                    None
                }
            }
        };
        refused.map_or(Ok(()), |(_, why)| Err(why))
    }
}

/// A promise to post. Its drop ends the owner's wait, so that the owner looks whether there is
/// anything left to wait for.
pub(crate) struct Promise(Poster);

impl Promise {
    pub(crate) fn poster(&self) -> &Poster {
        &self.0
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Release: an owner that finds no promise any more sees all that was posted before.
        self.0.shared.promises.fetch_sub(1, Ordering::Release);
        self.0.interrupt();
    }
}

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::shim::{Events, PollFd};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    fn readable(queue: &EventQueue, wait: Duration) -> bool {
        crate::net::poll(
            &mut [PollFd::new(queue.as_raw_fd(), Events::IN)],
            Some(wait),
        )
        .unwrap()
            == 1
    }

    #[test]
    fn events_run_in_the_order_they_came() {
        let queue = EventQueue::new(10).unwrap();
        let seen = Arc::new(Mutex::new(vec![]));
        for i in 0..5 {
            let seen = seen.clone();
            queue
                .poster()
                .post(move || seen.lock().unwrap().push(i))
                .unwrap();
        }
        assert_eq!((queue.run_pending(), queue.run_pending()), (5, 0));
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn posting_from_another_thread_ends_the_wait() {
        let queue = EventQueue::new(10).unwrap();
        let poster = queue.poster();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            poster.post(|| {}).unwrap();
        });
        let start = Instant::now();
        assert!(readable(&queue, Duration::from_secs(10)));
        assert!(start.elapsed() < Duration::from_secs(9));
        queue.acknowledge();
        assert_eq!(queue.run_pending(), 1);
        assert!(!readable(&queue, Duration::ZERO));
        queue.poster().interrupt();
        assert!(readable(&queue, Duration::ZERO));
        thread.join().unwrap();
    }

    #[test]
    fn no_event_is_lost_between_many_threads() {
        const EACH: usize = 2000;
        let queue = EventQueue::new(usize::MAX).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (poster, ran) = (queue.poster(), ran.clone());
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        let ran = ran.clone();
                        poster
                            .post(move || {
                                ran.fetch_add(1, Ordering::Relaxed);
                            })
                            .unwrap();
                    }
                })
            })
            .collect();
        // It always waits first: an event that does not end the wait would leave this waiting.
        while ran.load(Ordering::Relaxed) < 4 * EACH {
            assert!(
                readable(&queue, Duration::from_secs(10)),
                "after {}",
                ran.load(Ordering::Relaxed)
            );
            queue.acknowledge();
            queue.run_pending();
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
    }

    #[test]
    fn what_an_event_posts_waits_for_the_next_time() {
        let queue = EventQueue::new(10).unwrap();
        let poster = queue.poster();
        queue
            .poster()
            .post(move || poster.post(|| {}).unwrap())
            .unwrap();
        assert_eq!(
            (
                queue.run_pending(),
                queue.run_pending(),
                queue.run_pending()
            ),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_full_and_an_ownerless_queue_say_so() {
        let queue = EventQueue::new(2).unwrap();
        let poster = queue.poster();
        let (token, events) = (Arc::new(()), Arc::new(()));
        for expected in [Ok(()), Ok(()), Err(PostError::Full)] {
            let token = token.clone();
            assert_eq!(poster.post(move || drop(token)), expected);
        }
        let late = events.clone();
        assert_eq!(poster.post_always(move || drop(late)), Ok(()));
        drop(queue);
        assert_eq!(poster.post(|| {}), Err(PostError::Closed));
        assert_eq!(poster.post_always(|| {}), Err(PostError::Closed));
        assert_eq!(
            (Arc::strong_count(&token), Arc::strong_count(&events)),
            (1, 1),
            "events that never ran are dropped"
        );
    }

    #[test]
    fn a_panic_leaves_the_events_behind_it() {
        let queue = EventQueue::new(10).unwrap();
        queue.poster().post(|| panic!("an event's panic")).unwrap();
        queue.poster().post(|| {}).unwrap();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.run_pending())).unwrap_err();
        assert_eq!(queue.run_pending(), 1);
    }
}
