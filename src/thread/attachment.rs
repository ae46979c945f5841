//! What a thread keeps about its relations with other threads: the tasklets that wait for them, and
//! the tasklets that they refer to. Only the thread itself touches it.
//!
//! A tasklet that waits for another thread is blocked on a *parking spot*: at the spot's wait
//! point, an ordinary local one, so it can be looked at and killed like any blocked tasklet. The
//! other thread knows the number of the spot and of the wait ([`Place`]), never an address. A value
//! that it brings lies elsewhere, in the heap; to be woken only means to look there.

use crate::channel;
use crate::channel::wait_point::WaitPoint;
use crate::core::contain::contain;
use crate::core::hooks::{after, HOOK_INBOX};
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::error::{Error, Result, StateError, WaitError};
use crate::wait::reactor::{self, Reactor, Waiter, Wake};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::home::{Home, Message, Place};
use super::host_lock;
use super::inbox::StayAwake;
use super::parker::Parker;
use super::remote::{Lent, There};
use super::spin::Pace;
use super::unstarted::Unstarted;
use super::wait_state::WaitState;
use crate::wait::fork::forks;

pub(crate) struct Local {
    pub(crate) home: Arc<Home>,
    /// Messages that were taken out of the inbox and not read yet.
    unread: RefCell<VecDeque<Message>>,
    spots: RefCell<Vec<Rc<Spot>>>,
    free: RefCell<Vec<u32>>,
    /// The parker that it sleeps on.
    parker: OnceCell<Arc<Parker>>,
    pace: Pace,
    /// How calls of workers spin; they take longer than an answer of a partner.
    pace_of_calls: Pace,
    /// The tasklets that `Remote`s refer to.
    lent: RefCell<BTreeMap<u64, Loan>>,
    /// The number of each, by its address.
    numbers: RefCell<HashMap<usize, u64>>,
    next_loan: Cell<u64>,
    /// How many sleeps in a row had no hope but in threads that do not use the library yet.
    hoped: Cell<u32>,
}

/// A thread that does not use the library wakes nobody when it ends. So a thread whose only hope is
/// such a thread looks again after this time, and then after twice as long, and so on.
const HOPE: Duration = Duration::from_millis(20);
const HOPES: u32 = 5;

/// A tasklet that `Remote`s refer to, and that is kept for them.
struct Loan {
    tasklet: Tasklet,
    lent: Weak<Lent>,
}

/// Ends the wait of a select, given its first stand-in: see `select::called`.
pub(super) type Ends = unsafe fn(*mut Task) -> bool;

/// Makes the error of a call whose worker was lost in a fork.
type Lost = fn() -> Error;

struct Spot {
    point: WaitPoint,
    turn: Cell<u32>,
    /// The tasklet that has the spot: blocked at the point, or in a select.
    task: Cell<*mut Task>,
    /// For a select, which is blocked elsewhere: its first stand-in, and the function that ends its
    /// wait.
    select: Cell<Option<(*mut Task, Ends)>>,
    waiter: RefCell<Option<Rc<Waiter>>>,
    /// Set when it waits for a worker: how often the process had been forked when it asked.
    calls: Cell<Option<(u32, Lost)>>,
    /// Takes the wait out of whatever queue it is in.
    leave: RefCell<Option<Arc<dyn Leave>>>,
}

impl Spot {
    /// Does it wait for a worker of the parent process?
    fn is_orphan(&self) -> bool {
        self.calls.get().is_some_and(|(of, _)| of != forks())
    }
}

/// A wait that can be given up.
pub trait Leave: Send + Sync {
    /// Leaves the queue, if it is still there.
    fn leave(&self);
}

thread_local! {
    // It has no destructor: `detach` ends it, called by the runtime's end.
    static LOCAL: Cell<*const Local> = const { Cell::new(ptr::null()) };
}

/// The calling thread gets a runtime.
pub fn attach(runtime: &Runtime) {
    // SAFETY: `detach` closes the home before the runtime ends, so the hooks live until then.
    let home = unsafe { Home::attach(runtime.thread_id, &runtime.hooks) };
    let local = Rc::new(Local {
        home,
        unread: RefCell::default(),
        spots: RefCell::default(),
        free: RefCell::default(),
        parker: OnceCell::new(),
        pace: Pace::new(runtime.settings.spin),
        pace_of_calls: Pace::new(runtime.settings.spin),
        lent: RefCell::default(),
        numbers: RefCell::default(),
        next_loan: Cell::new(0),
        hoped: Cell::new(0),
    });
    LOCAL.set(Rc::into_raw(local));
}

/// The calling thread's runtime ends. `whole`: its tasklets have ended as well.
pub fn detach(whole: bool) {
    let local = LOCAL.replace(ptr::null());
    if local.is_null() {
        return;
    }
    // SAFETY: from `Rc::into_raw` in `attach`; it is taken out of `LOCAL` here, so this happens
    // once.
    let local = unsafe { Rc::from_raw(local) };
    let messages = local.home.close();
    for spot in local.spots.borrow().iter() {
        // A tasklet that refused to end waits for nobody any more.
        let leave = spot.leave.take();
        if let Some(wait) = leave {
            wait.leave();
        }
    }
    // This runs user code: destructors. A caller that waits for an answer learns that there will be
    // none.
    drop(messages);
    drop(local.unread.take());
    if whole {
        for loan in local.lent.take().into_values() {
            if let Some(lent) = loan.lent.upgrade() {
                lent.thread_ended(Unstarted::take_what_can_leave(&loan.tasklet).ok());
            }
        }
    } else {
        std::mem::forget(local);
    }
}

/// The calling thread ends. Its tasklets that have not started and can leave are set free, if there
/// are references to them, for other threads to take over. Returns what is left of them, to be
/// dropped where user code may run.
pub fn set_free() -> Vec<Tasklet> {
    let Some(local) = existing() else {
        return Vec::new();
    };
    let mut free = Vec::new();
    local.lent.borrow_mut().retain(|_, loan| {
        let Some(lent) = loan.lent.upgrade() else {
            return true;
        };
        // SAFETY: the handle in `loan` keeps the task alive, and it is of this thread.
        let (bound, sendable) = unsafe {
            let task = &*loan.tasklet.as_ptr();
            (task.is(flag::BOUND), task.is(flag::SENDABLE))
        };
        if !bound || !sendable {
            return true;
        }
        let Ok(unstarted) = Unstarted::take_from_queue(&loan.tasklet) else {
            return true;
        };
        free.push((loan.tasklet.clone(), lent, unstarted));
        false
    });
    let settle = |(tasklet, lent, unstarted): (Tasklet, Arc<Lent>, _)| {
        lent.thread_ended(Some(unstarted));
        tasklet
    };
    free.into_iter().map(settle).collect()
}

/// The calling thread's state; an error when it is ending.
pub fn local() -> Result<Rc<Local>> {
    Runtime::get();
    existing().ok_or_else(|| StateError::NoThread.into())
}

/// Gives the calling thread a runtime if it has none. Errors: it is ending.
#[inline]
pub fn be_attached() -> Result<()> {
    match LOCAL.get().is_null() {
        true => local().map(drop),
        false => Ok(()),
    }
}

/// As [`local`], without making a runtime.
pub fn existing() -> Option<Rc<Local>> {
    let local = LOCAL.get();
    if local.is_null() {
        return None;
    }
    // SAFETY: `LOCAL` holds a counted reference from `Rc::into_raw`, so the state is alive; one
    // more is counted here and owned by the result.
    unsafe {
        Rc::increment_strong_count(local);
        Some(Rc::from_raw(local))
    }
}

/// Reads the calling thread's inbox. Runs user code; the caller's slot must be empty. Returns how
/// many messages there were.
pub fn read_inbox() -> usize {
    existing().map_or(0, |local| local.read_inbox())
}

/// Raises an error that a message threw at the running tasklet, which has read the message itself.
pub fn raise() -> Result<()> {
    thrown::raise(Runtime::get().current())
}

impl Local {
    pub(crate) fn read_inbox(&self) -> usize {
        if !Runtime::get().has_messages() && self.unread.borrow().is_empty() {
            return 0;
        }
        // Twice, since a message may have posted others to this thread, and its sender expects that
        // nobody runs before them. Not for ever, since those may post again.
        (0..2).map(|_| self.read_messages()).sum()
    }

    /// Reads the messages that are there.
    fn read_messages(&self) -> usize {
        if Runtime::get().has_messages() {
            self.home.take_messages(&mut *self.unread.borrow_mut());
        }
        let mut count = 0;
        loop {
            // The queue is not borrowed while a message is read: that may switch, and the next
            // tasklet may read on.
            let message = self.unread.borrow_mut().pop_front();
            match message {
                Some(Message::Wake(place)) => self.wake(place),
                Some(Message::Do(what)) => {
                    // The function may block: then the tasklet that runs next reads on.
                    if !self.unread.borrow().is_empty() {
                        Runtime::get().later(after::INBOX);
                    }
                    // Its failures are no business of the tasklet that happens to read it.
                    contain("what another thread asked for", || {
                        thrown::guest(|| what(self));
                    });
                }
                None => return count,
            }
            count += 1;
        }
    }

    /// The thread is about to sleep on `parker`. `stuck`: only another attached thread will wake
    /// it. Returns how long it may sleep, if there is a limit.
    pub(crate) fn begin_sleep(
        &self,
        stuck: bool,
        parker: &Arc<Parker>,
    ) -> Result<Option<Duration>, StayAwake> {
        let hopes = self.home.begin_sleep(stuck, parker)?;
        self.parker.get_or_init(|| parker.clone());
        if !hopes {
            self.hoped.set(0);
            return Ok(None);
        }
        let times = self.hoped.get();
        self.hoped.set((times + 1).min(HOPES));
        Ok(Some(HOPE * (1 << times)))
    }

    /// The thread has woken up. Takes its messages, which are read later.
    pub(crate) fn end_sleep(&self) {
        self.home.end_sleep(&mut *self.unread.borrow_mut());
    }

    /// The messages that were taken will not be read by the tasklet that took them: the next one
    /// that looks reads them.
    pub(crate) fn remind(&self) {
        if !self.unread.borrow().is_empty() {
            Runtime::get().set_hook(HOOK_INBOX, true);
        }
    }

    /// Is there work for the thread: messages, an event, an interrupt?
    fn is_wanted(&self) -> bool {
        Runtime::get().has_messages()
            || self.parker.get().is_some_and(|parker| parker.is_notified())
    }

    /// May the running tasklet spin for its partner, before it blocks? Not if other tasklets can
    /// run, nor if the thread has a host lock, which keeps the partner from running.
    #[inline]
    pub(crate) fn may_spin(&self) -> bool {
        crate::run_count() <= 1 && !host_lock::is_member() && self.pace.should_spin()
    }

    /// Spins until `found`, or until the thread has other work, or for as long as it has learned
    /// to.
    #[inline]
    pub(crate) fn spin(&self, found: impl Fn() -> bool) {
        self.pace.spin(found, || self.is_wanted());
    }

    /// In a child process: ends the waits for workers when the thread reads its inbox next.
    pub(crate) fn forked(&self, forget: impl FnOnce() + Send + 'static) {
        let message = Message::Do(Box::new(move |local: &Local| {
            forget();
            let spots = local.spots.borrow().clone();
            for (number, spot) in spots.iter().enumerate() {
                if spot.is_orphan() {
                    local.wake(Place {
                        spot: number as u32,
                        turn: spot.turn.get(),
                    });
                }
            }
        }));
        let _ = self.home.post(message);
    }

    /// A parking spot for one wait of the running tasklet.
    pub(crate) fn take_spot(self: &Rc<Self>) -> Parking {
        let free = self.free.borrow_mut().pop();
        let number = free.unwrap_or_else(|| {
            let mut spots = self.spots.borrow_mut();
            spots.push(Rc::new(Spot {
                point: WaitPoint::new(),
                turn: Cell::new(0),
                task: Cell::new(ptr::null_mut()),
                select: Cell::new(None),
                waiter: RefCell::default(),
                calls: Cell::new(None),
                leave: RefCell::default(),
            }));
            (spots.len() - 1) as u32
        });
        let spot = self.spots.borrow()[number as usize].clone();
        spot.task.set(Runtime::get().current());
        Parking {
            local: self.clone(),
            place: Place {
                spot: number,
                turn: spot.turn.get(),
            },
            spot,
        }
    }

    /// How many tasklets wait for other threads.
    pub(crate) fn waiting(&self) -> usize {
        self.spots.borrow().len() - self.free.borrow().len()
    }

    /// How many tasklets other threads may refer to.
    pub(crate) fn lent_out(&self) -> usize {
        self.lent.borrow().len()
    }

    /// Makes the tasklet at `place` runnable, if it still waits there. Returns whether it does.
    pub(crate) fn wake_up(&self, place: Place, next: bool) -> bool {
        let spots = self.spots.borrow();
        let Some(spot) = spots.get(place.spot as usize).cloned() else {
            return false;
        };
        drop(spots);
        if spot.turn.get() != place.turn {
            return false;
        }
        let waiter = spot.waiter.borrow().clone();
        if let Some(waiter) = waiter {
            if let Ok(reactor) = Reactor::current() {
                reactor.wake(&waiter, Wake::Ready);
            }
            return false;
        }
        let task = spot.task.get();
        let runtime = Runtime::get();
        // SAFETY: the tasklet that has the spot is a live task of this thread: it gives the spot
        // back before its frames end. If it is blocked at the spot's point, the point's
        // reference moves to the run queue. The stand-ins of a select live as long as the spot
        // knows of them.
        unsafe {
            if let Some((first, ended)) = spot.select.get() {
                if !ended(first) {
                    return false;
                }
            } else if !(*task).is(flag::BLOCKED) || !spot.point.holds(task) {
                return false;
            } else {
                channel::unlink_blocked(task);
            }
            if next {
                runtime.queue.insert_after(runtime.current(), task);
            } else {
                runtime.queue.append(task);
            }
        }
        true
    }

    fn wake(&self, place: Place) {
        self.wake_up(place, false);
    }

    /// The state that all `Remote`s of `tasklet` share.
    pub(crate) fn lend(&self, tasklet: Tasklet) -> Arc<Lent> {
        let number = self.numbers.borrow().get(&tasklet.id()).copied();
        if let Some(lent) = number.and_then(|key| self.lent.borrow().get(&key)?.lent.upgrade()) {
            return lent;
        }
        Arc::new_cyclic(|lent| Lent::new(self.keep(tasklet, lent.clone())))
    }

    /// Keeps `tasklet` for the references that share `lent`.
    pub(crate) fn keep(&self, tasklet: Tasklet, lent: Weak<Lent>) -> There {
        let (key, id) = (self.next_loan.get(), tasklet.id());
        self.next_loan.set(key + 1);
        self.numbers.borrow_mut().insert(id, key);
        self.lent.borrow_mut().insert(key, Loan { tasklet, lent });
        There {
            home: self.home.clone(),
            key,
            id,
        }
    }

    pub(crate) fn lent(&self, key: u64) -> Option<Tasklet> {
        Some(self.lent.borrow().get(&key)?.tasklet.clone())
    }

    /// No reference to it is left.
    pub(crate) fn take_back(&self, key: u64) {
        let loan = self.lent.borrow_mut().remove(&key);
        if let Some(loan) = loan {
            // A reference that was made after the last one had gone has another number.
            let mut numbers = self.numbers.borrow_mut();
            if numbers.get(&loan.tasklet.id()) == Some(&key) {
                numbers.remove(&loan.tasklet.id());
            }
            drop(numbers);
            drop(loan);
        }
    }
}

/// What any thread needs to end a wait: the state of the wait, and where its tasklet is parked.
pub struct Waker {
    home: Arc<Home>,
    place: Place,
    state: WaitState,
}

/// A wait that is over. Its tasklet must be told, unless it has seen it itself.
#[must_use]
pub struct Ended(bool);

impl Waker {
    pub fn is_over(&self) -> bool {
        self.state.is_over()
    }

    /// Ends the wait: the tasklet sees all that was written before. It is cheap enough to be done
    /// under a lock.
    pub fn end(&self) -> Ended {
        Ended(self.state.end())
    }

    /// Is it a wait on this thread?
    pub fn is_of(&self, local: &Local) -> bool {
        Arc::ptr_eq(&self.home, &local.home)
    }

    /// Has the processor fetch the memory that is needed to tell the tasklet.
    pub fn fetch(&self) {
        self.home.fetch();
    }

    /// Tells the tasklet, whatever its thread. False: the thread is gone, and the tasklet with it.
    pub fn tell(&self, ended: Ended) -> bool {
        !ended.0 || self.home.post(Message::Wake(self.place)).is_ok()
    }

    /// As [`tell`](Waker::tell); a tasklet of the calling thread is made runnable at once, if that
    /// is possible.
    pub fn wake(&self, ended: Ended) -> bool {
        // Inside a channel callback no channel may be touched: the tasklet is told by a message, as
        // if by another thread.
        let may = Runtime::existing().is_some_and(|runtime| !runtime.in_channel_callback.get());
        match existing().filter(|local| may && self.is_of(local)) {
            Some(local) => {
                self.tell_here(ended, &local, false);
                true
            }
            None => self.tell(ended),
        }
    }

    /// As [`tell`](Waker::tell), for a tasklet of this thread: makes it runnable; with `next`, as
    /// the next one. Returns whether that was needed.
    pub fn tell_here(&self, ended: Ended, local: &Local, next: bool) -> bool {
        ended.0 && local.wake_up(self.place, next)
    }
}

/// The running tasklet's wait for another thread. It gives its parking spot back when dropped.
pub struct Parking {
    local: Rc<Local>,
    spot: Rc<Spot>,
    place: Place,
}

impl Parking {
    /// For those who may end the wait.
    pub fn waker(&self) -> Waker {
        Waker {
            home: self.local.home.clone(),
            place: self.place,
            state: WaitState::new(),
        }
    }

    /// For those who may end the wait of a select, which does not spin: they always send a message.
    pub fn waker_by_message(&self) -> Waker {
        let waker = self.waker();
        waker.state.park();
        waker
    }

    /// Messages end the select with these stand-ins. It leaves by `leave` if its thread ends and it
    /// does not.
    pub(super) fn stand_for(&self, first: *mut Task, ended: Ends, leave: Arc<dyn Leave>) {
        self.spot.select.set(Some((first, ended)));
        *self.spot.leave.borrow_mut() = Some(leave);
    }

    /// From now on messages come too late.
    pub fn stand_for_nothing(&self) {
        self.spot.select.set(None);
    }

    /// Makes `waker`, which nobody else knows any more, that of this wait.
    pub fn renew(&self, waker: &mut Waker) {
        if waker.is_of(&self.local) {
            waker.place = self.place;
            waker.state = WaitState::new();
        } else {
            *waker = self.waker();
        }
    }

    /// To be called before the [`wait`](Parking::wait): spins for a while.
    pub fn spin(&self, waker: &Waker) {
        if self.local.may_spin() {
            self.local.spin(|| waker.is_over());
        }
    }

    /// Blocks the tasklet until its wait is ended (true), or the deadline has passed. `waker` is
    /// its own. It leaves by `leave` if its thread ends and it does not.
    ///
    /// Errors: an error that was thrown at it; it is hindered by `Deadlock`, `SwitchTrap`, no
    /// memory for a slice.
    pub fn wait(
        &self,
        waker: &Waker,
        sends: bool,
        deadline: Option<Instant>,
        leave: impl FnOnce() -> Option<Arc<dyn Leave>>,
    ) -> Result<bool, WaitError> {
        if !waker.state.park() {
            return Ok(true);
        }
        *self.spot.leave.borrow_mut() = leave();
        match deadline {
            Some(_) => self.wait_until(waker, deadline),
            None => self.wait_for_ever(waker, sends),
        }
    }

    /// As [`wait`](Parking::wait), for the answer of a worker. `unanswered`: there was no answer
    /// for as long as it spun.
    pub fn wait_for_call(
        &self,
        waker: &Waker,
        deadline: Option<Instant>,
        unanswered: impl FnOnce(),
        lost: Lost,
    ) -> Result<bool, WaitError> {
        let local = &*self.local;
        let pace = &local.pace_of_calls;
        if crate::run_count() <= 1 && !host_lock::is_member() && pace.should_spin() {
            let late = || deadline.is_some_and(|at| at <= Instant::now());
            if pace.spin(|| waker.is_over(), || local.is_wanted() || late()) {
                unanswered();
            }
        }
        self.spot.calls.set(Some((forks(), lost)));
        self.wait(waker, false, deadline, || None)
    }

    /// Is nobody left who could end the wait?
    pub fn is_orphan(&self) -> bool {
        self.spot.is_orphan()
    }

    /// Errors: nobody can end the wait.
    fn may_go_on(&self) -> Result<(), WaitError> {
        match self.spot.calls.get() {
            Some((of, lost)) if of != forks() => Err(WaitError::Hindered(lost())),
            _ => Ok(()),
        }
    }

    fn wait_for_ever(&self, waker: &Waker, sends: bool) -> Result<bool, WaitError> {
        while !waker.is_over() {
            self.may_go_on()?;
            // SAFETY: a spot is counted, so it lies in the heap.
            let block = || unsafe { self.spot.point.park(sends) };
            reactor::round(true, || waker.is_over(), block)?;
        }
        Ok(true)
    }

    fn wait_until(&self, waker: &Waker, deadline: Option<Instant>) -> Result<bool, WaitError> {
        let reactor = Reactor::current().map_err(WaitError::own)?;
        while !waker.is_over() {
            self.may_go_on()?;
            let registered = reactor.register(None, deadline);
            *self.spot.waiter.borrow_mut() = Some(registered.waiter().clone());
            let wake = reactor.block(registered.waiter())?;
            if wake == Wake::TimedOut && !waker.is_over() {
                // The tasklet may go on to wait without a limit.
                drop(self.spot.waiter.take());
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        let spot = &self.spot;
        spot.turn.set(spot.turn.get().wrapping_add(1));
        let rest = (spot.waiter.take(), spot.leave.take());
        spot.task.set(ptr::null_mut());
        spot.calls.set(None);
        self.stand_for_nothing();
        self.local.free.borrow_mut().push(self.place.spot);
        drop(rest);
    }
}
