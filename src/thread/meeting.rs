//! Where a sender and a receiver of two threads meet. The first one waits for the second, either
//! spinning in the *place* here or in the queue.
//!
//! ```text
//!   the first one, which spins                      the second one
//!   EMPTY ─► RECEIVES                               bring():  RECEIVES ─► BUSY,
//!                                                      puts the value in, ─► MET
//!   EMPTY ─► ARRIVES, puts its value in, ─► SENDS   fetch():  SENDS ─► BUSY,
//!                                                      takes the value out, ─► MET
//!   sees MET: done, ─► EMPTY                        close_and_wake: RECEIVES as above;
//!                                                      SENDS ─► REFUSED, the value stays
//!   has spun for long enough:
//!      under the lock, ─► EMPTY + QUEUED, and joins the queue
//! ```
//!
//! Word and value lie in one cache line: a value goes from one thread to another one that spins
//! with two transfers of that line, without a lock and without an allocation. Only one tasklet can
//! spin here at a time; all others, and those that have spun in vain, are in the queue, under the
//! lock.
//!
//! **QUEUED** says that the queue is not empty, or may not be joined any more; then nobody begins
//! to spin. A tasklet that is about to join the queue sets it under the lock, in the same step in
//! which it finds that no partner spins. So of two tasklets that want each other one always finds
//! the other.
//!
//! A tasklet that spins has come before all that are in the queue, and is served first.

use super::prim::{pause, Arc, AtomicU32, Mutex, MutexGuard, Ordering, Place, PoisonError};
use std::collections::VecDeque;

/// A wait in a queue, for a partner that comes to meet it.
pub(super) trait Waiting {
    /// Is it one of several waits, of which only one is to be met?
    fn is_one_of_several(&self) -> bool;

    /// Makes the wait the caller's, who has taken it out of the queue and holds the lock. False:
    /// another of the several was met, or they are over.
    fn claim(&self) -> bool;

    /// Would `claim` succeed now?
    fn is_open(&self) -> bool;
}

const PHASE: u32 = 7;
/// Nobody spins.
const EMPTY: u32 = 0;
/// A receiver spins.
const RECEIVES: u32 = 1;
/// A sender is about to spin.
const ARRIVES: u32 = 2;
/// A sender spins; its value is in the place.
const SENDS: u32 = 3;
/// The second one moves the value.
const BUSY: u32 = 4;
/// The value has been moved. The one that spun takes it, if it is the receiver, and leaves.
const MET: u32 = 5;
/// A sender that spins must not go on waiting. It takes its value back, and leaves.
const REFUSED: u32 = 6;

const QUEUED: u32 = 8;

#[repr(C)]
pub(super) struct Meeting<V, W> {
    word: AtomicU32,
    /// The phase says whose it is: in `ARRIVES`, `MET` and `REFUSED` it belongs to the one that
    /// spins, in `BUSY` to the second one. There is a value in it in `SENDS`, in `REFUSED`, and in
    /// `MET` if a receiver spins.
    value: Place<V>,
    queue: Mutex<Queue<W>>,
}

struct Queue<W> {
    /// The waits, the longest first; all send, or all receive.
    line: Line<W>,
    /// How many of them are [one of several](Waiting::is_one_of_several).
    several: usize,
    sends: bool,
    closing: bool,
}

impl<V, W: Waiting> Meeting<V, W> {
    pub(super) fn new() -> Meeting<V, W> {
        Meeting {
            word: AtomicU32::new(EMPTY),
            value: Place::new(),
            queue: Mutex::new(Queue {
                line: Line::new(),
                several: 0,
                sends: false,
                closing: false,
            }),
        }
    }

    /// Hands `value` to a receiver that spins, if there is one.
    #[inline]
    pub(super) fn bring(&self, value: V) -> Result<(), V> {
        if !self.come(RECEIVES) {
            return Err(value);
        }
        // SAFETY: Place: it is ours from `come` to `part`; it is empty, since a receiver spins.
        unsafe { self.value.put(value) };
        self.part();
        Ok(())
    }

    /// Takes the value of a sender that spins, if there is one.
    #[inline]
    pub(super) fn fetch(&self) -> Option<V> {
        if !self.come(SENDS) {
            return None;
        }
        // SAFETY: Place: it is ours from `come` to `part`; it is full, since a sender spins.
        let value = unsafe { self.value.take() };
        self.part();
        Some(value)
    }

    /// Claims the place, if a tasklet spins in this phase.
    #[inline]
    fn come(&self, phase: u32) -> bool {
        // It does not read the word first: that would fetch the cache line, and then fetch it once
        // more for writing.
        let mut found = phase;
        loop {
            let claimed = self.word.compare_exchange(
                found,
                found - phase + BUSY,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match claimed {
                Ok(_) => return true,
                Err(word) if word & PHASE == phase => found = word,
                Err(_) => return false,
            }
        }
    }

    /// Gives the place back.
    #[inline]
    fn part(&self) {
        self.word.fetch_add(MET - BUSY, Ordering::AcqRel);
    }

    /// The caller, a receiver, begins to spin; then [`received`](Meeting::received) must follow.
    /// False: it cannot spin now.
    #[inline]
    pub(super) fn spin_for_sender(&self) -> bool {
        self.enter(RECEIVES)
    }

    /// The caller, a sender, begins to spin; then [`sent`](Meeting::sent) must follow. Gives the
    /// value back if it cannot spin now.
    #[inline]
    pub(super) fn spin_for_receiver(&self, value: V) -> Result<(), V> {
        if !self.enter(ARRIVES) {
            return Err(value);
        }
        // SAFETY: Place: it is ours in ARRIVES; it is empty, as it was in EMPTY.
        unsafe { self.value.put(value) };
        let spinning =
            self.word
                .compare_exchange(ARRIVES, SENDS, Ordering::AcqRel, Ordering::Relaxed);
        if spinning.is_ok() {
            return Ok(());
        }
        // A receiver has joined the queue meanwhile, and does not know of us.
        // SAFETY: Place: it is still ours, and full.
        let value = unsafe { self.value.take() };
        self.word.fetch_sub(ARRIVES, Ordering::AcqRel);
        Err(value)
    }

    #[inline]
    fn enter(&self, phase: u32) -> bool {
        self.word
            .compare_exchange(EMPTY, phase, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Has the partner come, or has the wait been refused? For the one that spins.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.word.load(Ordering::Acquire) & PHASE >= MET
    }

    /// The caller, a receiver, stops spinning. Returns the value; or, if nobody has come, the lock:
    /// then the caller joins the queue as the first one.
    #[inline]
    pub(super) fn received(&self) -> Result<V, Locked<'_, V, W>> {
        if !self.is_over() {
            if let Some(locked) = self.stop(RECEIVES) {
                return Err(locked);
            }
        }
        // SAFETY: Place: it is ours in MET; it is full, since we received.
        let value = unsafe { self.value.take() };
        self.word.fetch_sub(MET, Ordering::AcqRel);
        Ok(value)
    }

    /// As [`received`](Meeting::received), for a sender: its value is gone, or given back.
    #[inline]
    pub(super) fn sent(&self) -> Sent<'_, V, W> {
        if !self.is_over() {
            if let Some(locked) = self.stop(SENDS) {
                // SAFETY: Place: it is full, and nobody else's: QUEUED keeps others from spinning
                // until the lock is free again.
                return Sent::InVain(unsafe { self.value.take() }, locked);
            }
        }
        if self.word.load(Ordering::Relaxed) & PHASE == REFUSED {
            // SAFETY: Place: it is ours in REFUSED, and full, since we sent.
            let value = unsafe { self.value.take() };
            self.word.fetch_sub(REFUSED, Ordering::AcqRel);
            return Sent::Refused(value);
        }
        self.word.fetch_sub(MET, Ordering::AcqRel);
        Sent::Done
    }

    /// Gives up the spin that began with `phase`. `None`: the partner has come.
    #[cold]
    fn stop(&self, phase: u32) -> Option<Locked<'_, V, W>> {
        let locked = self.lock();
        let mut word = self.word.load(Ordering::Relaxed);
        while word & PHASE == phase {
            match self.word.compare_exchange(
                word,
                EMPTY | QUEUED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(locked),
                Err(now) => word = now,
            }
        }
        drop(locked);
        while !self.is_over() {
            pause(); // for as long as a move of a value takes
        }
        None
    }

    pub(super) fn lock(&self) -> Locked<'_, V, W> {
        Locked {
            meeting: self,
            // Under the lock only the growth of the queue can panic, which leaves the queue whole.
            queue: self.queue.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The outcome of a sender's spin.
pub(super) enum Sent<'a, V, W> {
    Done,
    /// No receiver may come any more.
    Refused(V),
    /// No receiver has come: the caller joins the queue as the first one.
    InVain(V, Locked<'a, V, W>),
}

/// A meeting's queue, while nobody else changes it.
pub(super) struct Locked<'a, V, W> {
    meeting: &'a Meeting<V, W>,
    queue: MutexGuard<'a, Queue<W>>,
}

impl<V, W: Waiting> Locked<'_, V, W> {
    /// Takes out the wait that has waited longest to send, or to receive, of those that can be met.
    /// The caller must hand the value over before the lock is free again: a tasklet that gives up
    /// its wait and is not in the queue any more has been served.
    pub(super) fn pop(&mut self, sends: bool) -> Option<Arc<W>> {
        if self.queue.sends != sends {
            return None;
        }
        loop {
            let wait = self.queue.line.pop()?;
            self.has_left(&wait);
            if wait.claim() {
                return Some(wait);
            }
        }
    }

    /// Is there a tasklet that waits to send, or to receive, and can be met: spinning, or in the
    /// queue?
    pub(super) fn waits(&mut self, sends: bool) -> bool {
        let phase = if sends { SENDS } else { RECEIVES };
        if self.meeting.word.load(Ordering::Relaxed) & PHASE == phase {
            return true;
        }
        if self.queue.sends != sends {
            return false;
        }
        while let Some(first) = &self.queue.line.first {
            if first.is_open() {
                return true;
            }
            if let Some(over) = self.queue.line.pop() {
                self.has_left(&over);
            }
        }
        false
    }

    /// Takes this wait out; false when it is not there.
    pub(super) fn remove(&mut self, wait: &W) -> bool {
        let found = self.queue.line.remove(wait);
        if found {
            self.has_left(wait);
        }
        found
    }

    /// May the caller, who sends or receives, join the queue? False: its partner spins. If true it
    /// must join, before the lock is free again.
    pub(super) fn gather(&mut self, sends: bool) -> bool {
        let partner = if sends { RECEIVES } else { SENDS };
        let mut word = self.meeting.word.load(Ordering::Relaxed);
        // A switch of the tests that breaks this: it finds that no partner spins, then says so; a
        // partner that begins to spin in between is overlooked.
        if cfg!(hsw_bug_late_queue) {
            let alone = word & PHASE != partner;
            if alone {
                self.meeting.word.fetch_or(QUEUED, Ordering::AcqRel);
            }
            return alone;
        }
        while word & PHASE != partner {
            match self.meeting.word.compare_exchange(
                word,
                word | QUEUED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// The caller does not join after all.
    pub(super) fn scatter(&mut self) {
        self.thin_out();
    }

    /// Joins the queue. `first`: the tasklet has spun, so it came before all that are there.
    pub(super) fn push(&mut self, wait: Arc<W>, sends: bool, first: bool) {
        debug_assert!(self.queue.line.is_empty() || self.queue.sends == sends);
        self.queue.sends = sends;
        self.queue.several += usize::from(wait.is_one_of_several());
        self.queue.line.push(wait, first);
    }

    /// From now on nobody may join.
    pub(super) fn close(&mut self) {
        self.queue.closing = true;
        self.meeting.word.fetch_or(QUEUED, Ordering::AcqRel);
    }

    /// From now on nobody may join, and nobody waits any more: a receiver that spins gets
    /// `refusal`, a sender that spins gets its value back. Returns whether there was one, and the
    /// waits that were in the queue, which the caller must end, as with [`pop`](Locked::pop).
    pub(super) fn dissolve(&mut self, refusal: V) -> (bool, Vec<Arc<W>>) {
        self.close();
        let sender = self.meeting.come(SENDS);
        if sender {
            let word = &self.meeting.word;
            word.fetch_add(REFUSED - BUSY, Ordering::AcqRel);
        }
        // The lock is held here: a tasklet that has spun in vain would join the queue.
        let spun = sender || self.meeting.bring(refusal).is_ok();
        self.queue.several = 0;
        let mut queued = self.queue.line.drain();
        queued.retain(|wait| wait.claim());
        (spun, queued)
    }

    pub(super) fn open(&mut self) {
        self.queue.closing = false;
        self.thin_out();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue.closing
    }

    /// How many tasklets wait: a positive number of senders, or a negative number of receivers.
    pub(super) fn balance(&mut self) -> isize {
        if self.queue.several > 0 {
            self.tidy_up();
        }
        let spinning = match self.meeting.word.load(Ordering::Relaxed) & PHASE {
            RECEIVES => -1,
            SENDS => 1,
            _ => 0,
        };
        let count = self.queue.line.len() as isize;
        spinning + if self.queue.sends { count } else { -count }
    }

    /// Takes out the waits that nobody can meet any more.
    #[cold]
    fn tidy_up(&mut self) {
        let queue = &mut *self.queue;
        queue.line.retain(W::is_open);
        queue.several = queue.line.count(W::is_one_of_several);
        self.thin_out();
    }

    fn has_left(&mut self, wait: &W) {
        self.queue.several -= usize::from(wait.is_one_of_several());
        self.thin_out();
    }

    fn thin_out(&mut self) {
        if self.queue.line.is_empty() && !self.queue.closing {
            self.meeting.word.fetch_and(!QUEUED, Ordering::AcqRel);
        }
    }
}

/// The waits, first come first served. The first one lies in here, not in memory of its own:
/// usually there is no other.
struct Line<W> {
    first: Option<Arc<W>>,
    others: VecDeque<Arc<W>>,
}

impl<W> Line<W> {
    const fn new() -> Line<W> {
        Line {
            first: None,
            others: VecDeque::new(),
        }
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn push(&mut self, wait: Arc<W>, first: bool) {
        match &mut self.first {
            None => self.first = Some(wait),
            Some(now) if first => self.others.push_front(std::mem::replace(now, wait)),
            Some(_) => self.others.push_back(wait),
        }
    }

    fn pop(&mut self) -> Option<Arc<W>> {
        let first = self.first.take()?;
        self.first = self.others.pop_front();
        Some(first)
    }

    fn drain(&mut self) -> Vec<Arc<W>> {
        let first = self.first.take();
        first.into_iter().chain(self.others.drain(..)).collect()
    }

    fn count(&self, which: impl Fn(&W) -> bool) -> usize {
        let all = self.first.iter().chain(&self.others);
        all.filter(|wait| which(wait)).count()
    }

    fn retain(&mut self, keep: impl Fn(&W) -> bool) {
        self.others.retain(|wait| keep(wait));
        if self.first.as_ref().is_some_and(|first| !keep(first)) {
            self.first = self.others.pop_front();
        }
    }

    fn remove(&mut self, wait: &W) -> bool {
        let is = |other: &Arc<W>| std::ptr::eq(&**other, wait);
        if self.first.as_ref().is_some_and(is) {
            return self.pop().is_some();
        }
        let at = self.others.iter().position(is);
        at.and_then(|at| self.others.remove(at)).is_some()
    }
}
