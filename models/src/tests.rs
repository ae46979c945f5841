//! The models. Each is a few steps of two or three threads; all orders of them are tried.

use crate::claim::Claim;
use crate::inbox::{Census, Flag, Inbox, StayAwake};
use crate::meeting::{Meeting, Sent, Waiting};
use crate::parker::Parker;
use crate::prim::{Arc, AtomicUsize, Mutex, Ordering, Signal};
use crate::slot::Slot;
use crate::wait_state::WaitState;
use loom::cell::UnsafeCell;
use loom::sync::Condvar;
use loom::thread;

/// Tries all orders in which threads are interrupted at most three times where they need not be:
/// each lost wake-up that these models were made for takes one such interruption.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

struct Hook(Arc<AtomicUsize>);

impl Flag for Hook {
    fn raise(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
    fn lower(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A thread of the library: its inbox, its parker, and the flag that its switches look at.
struct Home {
    inbox: Inbox<u32, Hook>,
    parker: Arc<Parker>,
    hooks: Arc<AtomicUsize>,
}

impl Home {
    fn new(census: &Census) -> Home {
        let hooks = Arc::new(AtomicUsize::new(0));
        Home {
            inbox: Inbox::new(Hook(hooks.clone()), census),
            parker: Arc::new(Parker::new(Signal::new())),
            hooks,
        }
    }

    fn read(&self, into: &mut Vec<u32>) {
        if self.hooks.load(Ordering::Relaxed) != 0 {
            self.inbox.take(into);
        }
    }

    /// What a pump does that has nothing else to do: reads, and sleeps if there is nothing. With
    /// `polls` it waits for descriptors, too.
    fn pump(
        &self,
        census: &Census,
        stuck: bool,
        polls: bool,
        into: &mut Vec<u32>,
    ) -> Result<(), StayAwake> {
        match self
            .inbox
            .begin_sleep(stuck, census, &self.parker, || false)
        {
            Ok(hopes) => assert!(!hopes, "everybody is counted"),
            Err(StayAwake::Messages) => {
                self.inbox.take(into);
                return Ok(());
            }
            Err(why) => return Err(why),
        }
        if polls {
            let waits = self.parker.begin_poll();
            if waits {
                self.parker.signal().wait();
            }
            self.parker.end_poll(waits);
        } else {
            self.parker.sleep(None);
        }
        self.inbox.end_sleep(census, into);
        Ok(())
    }
}

fn census() -> Census {
    Census {
        awake: AtomicUsize::new(0),
    }
}

/// Two threads post, and the owner sleeps until it has both messages: each arrives once.
fn messages_arrive(polls: bool) {
    explore(move || {
        let census = Arc::new(census());
        let home = Arc::new(Home::new(&census));
        let posters: Vec<_> = (1..=2)
            .map(|message| {
                let (home, census) = (home.clone(), census.clone());
                thread::spawn(move || home.inbox.post(message, &census).unwrap())
            })
            .collect();
        let mut got = Vec::new();
        while got.len() < 2 {
            home.pump(&census, false, polls, &mut got).unwrap();
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        posters.into_iter().for_each(|p| p.join().unwrap());
        assert_eq!(census.awake.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn messages_arrive_at_a_thread_that_sleeps_on_its_word() {
    messages_arrive(false);
}

#[test]
fn messages_arrive_at_a_thread_that_polls() {
    messages_arrive(true);
}

/// A switch of a thread that is awake finds the flag raised; or the thread finds the message later,
/// when it goes to sleep.
#[test]
fn a_thread_that_is_awake_reads_its_inbox_without_a_notification() {
    explore(|| {
        let census = Arc::new(census());
        let home = Arc::new(Home::new(&census));
        let (there, all) = (home.clone(), census.clone());
        let poster = thread::spawn(move || there.inbox.post(1, &all).unwrap());
        let mut got = Vec::new();
        home.read(&mut got);
        while got.is_empty() {
            home.pump(&census, false, false, &mut got).unwrap();
        }
        assert_eq!(got, [1]);
        poster.join().unwrap();
        let mut more = Vec::new();
        home.inbox.take(&mut more);
        assert!(more.is_empty());
    });
}

/// Two threads wait for nothing but each other, with one message between them: it arrives, and a
/// thread that is told of a deadlock then is the only one that can run.
#[test]
fn a_deadlock_is_found_by_one_and_only_when_nobody_can_run() {
    explore(|| {
        let census = Arc::new(census());
        let homes = Arc::new([Home::new(&census), Home::new(&census)]);
        let side = |me: usize| {
            let (homes, census) = (homes.clone(), census.clone());
            move || {
                let mut got = Vec::new();
                if me == 0 {
                    homes[1].inbox.post(1, &census).unwrap();
                } else {
                    while got.is_empty() {
                        // The other one can run, or has posted.
                        let pumped = homes[1].pump(&census, true, false, &mut got);
                        assert_eq!(pumped, Ok(()));
                    }
                    got.clear();
                }
                // Now both wait for a message that never comes.
                let mut told = 0;
                if homes[me].pump(&census, true, false, &mut got) == Err(StayAwake::Deadlock) {
                    told = 1;
                    // The end of the thread would do this: the other one must look again.
                    homes[me].inbox.close();
                    assert!(census.leave());
                    assert!(homes[1 - me].inbox.nudge(&census));
                }
                assert!(got.is_empty());
                told
            }
        };
        let other = thread::spawn(side(1));
        let told = side(0)();
        assert_eq!(told + other.join().unwrap(), 1);
    });
}

/// A tasklet's wait: it spins, then parks and sleeps until a message comes. It goes on with what
/// was written before the end of the wait, and no message is sent to a tasklet that was not parked.
#[test]
fn a_wait_that_is_ended_goes_on_whether_it_spun_or_parked() {
    explore(|| {
        let census = Arc::new(census());
        let home = Arc::new(Home::new(&census));
        let wait = Arc::new((WaitState::new(), Mutex::new(None)));
        let (there, all, its) = (home.clone(), census.clone(), wait.clone());
        let partner = thread::spawn(move || {
            *its.1.lock().unwrap() = Some(7);
            let parked = its.0.end();
            if parked {
                there.inbox.post(1, &all).unwrap();
            }
            parked
        });
        let mut got = Vec::new();
        let mut parked = false;
        if !wait.0.is_over() {
            parked = wait.0.park();
            // It is blocked: only a message makes it runnable.
            while parked && got.is_empty() {
                home.pump(&census, false, false, &mut got).unwrap();
            }
        }
        assert!(wait.0.is_over());
        assert_eq!(wait.1.lock().unwrap().take(), Some(7));
        assert_eq!(partner.join().unwrap(), parked);
    });
}

/// An event queue: events under a lock, a flag that says whether there are any, and a parker. The
/// owner sets the parker to quiet, looks (at the flag first), and sleeps.
fn events_are_seen(parker: fn(Signal) -> Parker, wait: fn(&Parker)) {
    explore(move || {
        let queue = Arc::new((Mutex::new(0), parker(Signal::new()), AtomicUsize::new(0)));
        let posters: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    let mut events = queue.0.lock().unwrap();
                    *events += 1;
                    queue.2.store(1, Ordering::Relaxed);
                    drop(events);
                    queue.1.notify();
                })
            })
            .collect();
        let mut seen = 0;
        loop {
            if queue.2.load(Ordering::Relaxed) != 0 {
                let mut events = queue.0.lock().unwrap();
                seen += std::mem::take(&mut *events);
                queue.2.store(0, Ordering::Relaxed);
            }
            if seen == 2 {
                break;
            }
            wait(&queue.1);
        }
        posters.into_iter().for_each(|p| p.join().unwrap());
    });
}

#[test]
fn events_end_a_sleep() {
    events_are_seen(Parker::new, |parker| parker.sleep(None));
}

#[test]
fn events_end_a_poll() {
    events_are_seen(Parker::new, |parker| {
        let waits = parker.begin_poll();
        if waits {
            parker.signal().wait();
        }
        parker.end_poll(waits);
    });
}

#[test]
fn events_make_a_polled_signal_stay_raised_until_it_is_silenced() {
    events_are_seen(Parker::polled, |parker| {
        parker.signal().wait();
        parker.set_quiet();
    });
}

/// A wait in the queue of a meeting: the value that it brings or gets, and whether its partner has
/// come.
struct Wait {
    value: Mutex<Option<u32>>,
    over: Mutex<bool>,
    changed: Condvar,
    /// For a wait of a select: its claim, and the number of its case.
    claim: Option<(Arc<Claim>, u32)>,
}

impl Wait {
    fn with(value: Option<u32>) -> Arc<Wait> {
        Wait::of_select(value, None)
    }

    fn of_select(value: Option<u32>, claim: Option<(Arc<Claim>, u32)>) -> Arc<Wait> {
        Arc::new(Wait {
            value: Mutex::new(value),
            over: Mutex::new(false),
            changed: Condvar::new(),
            claim,
        })
    }

    fn end(&self) {
        *self.over.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn block(&self) {
        let mut over = self.over.lock().unwrap();
        while !*over {
            over = self.changed.wait(over).unwrap();
        }
    }
}

impl Waiting for Wait {
    fn is_one_of_several(&self) -> bool {
        self.claim.is_some()
    }

    fn claim(&self) -> bool {
        let claim = self.claim.as_ref();
        claim.is_none_or(|(claim, case)| claim.take_for(*case))
    }

    fn is_open(&self) -> bool {
        self.claim.as_ref().is_none_or(|(claim, _)| claim.is_open())
    }
}

type Place = Meeting<u32, Wait>;

/// As `thread::Channel` sends: with a spin, which ends at once, or without.
fn send(place: &Place, value: u32, spins: bool) {
    let Err(value) = place.bring(value) else {
        return;
    };
    let spun = if spins {
        place.spin_for_receiver(value)
    } else {
        Err(value)
    };
    let (mut value, mut locked, spun) = match spun.map(|()| place.sent()) {
        Ok(Sent::Done) => return,
        Ok(Sent::Refused(_)) => panic!("nobody refuses"),
        Ok(Sent::InVain(value, locked)) => (value, locked, true),
        Err(value) => (value, place.lock(), false),
    };
    let mut joins = spun;
    while !joins {
        match place.bring(value) {
            Ok(()) => return,
            Err(back) => value = back,
        }
        if let Some(partner) = locked.pop(false) {
            *partner.value.lock().unwrap() = Some(value);
            drop(locked);
            return partner.end();
        }
        joins = locked.gather(true);
    }
    let wait = Wait::with(Some(value));
    locked.push(wait.clone(), true, spun);
    drop(locked);
    wait.block();
    assert_eq!(*wait.value.lock().unwrap(), None);
}

fn receive(place: &Place, spins: bool) -> u32 {
    if let Some(value) = place.fetch() {
        return value;
    }
    let (mut locked, spun) = if spins && place.spin_for_sender() {
        match place.received() {
            Ok(value) => return value,
            Err(locked) => (locked, true),
        }
    } else {
        (place.lock(), false)
    };
    let mut joins = spun;
    while !joins {
        if let Some(value) = place.fetch() {
            return value;
        }
        if let Some(partner) = locked.pop(true) {
            let value = partner.value.lock().unwrap().take();
            drop(locked);
            partner.end();
            return value.unwrap();
        }
        joins = locked.gather(false);
    }
    let wait = Wait::with(None);
    locked.push(wait.clone(), false, spun);
    drop(locked);
    wait.block();
    let value = wait.value.lock().unwrap().take();
    value.unwrap()
}

/// A sender and a receiver, each with a spin or without: they meet, and nothing is left.
fn a_sender_and_a_receiver_meet(sender_spins: bool, receiver_spins: bool) {
    explore(move || {
        let place = Arc::new(Place::new());
        let there = place.clone();
        let sender = thread::spawn(move || send(&there, 7, sender_spins));
        assert_eq!(receive(&place, receiver_spins), 7);
        sender.join().unwrap();
        assert_eq!(place.lock().balance(), 0);
        assert!(place.spin_for_sender(), "the next one may spin again");
    });
}

#[test]
fn two_that_spin_for_each_other_meet() {
    a_sender_and_a_receiver_meet(true, true);
}

#[test]
fn a_sender_that_spins_and_a_receiver_that_does_not_meet() {
    a_sender_and_a_receiver_meet(true, false);
}

#[test]
fn a_receiver_that_spins_and_a_sender_that_does_not_meet() {
    a_sender_and_a_receiver_meet(false, true);
}

/// Two senders on threads of their own, and two receives: each value arrives once, whether a
/// tasklet spins, joins the queue, or finds the place taken.
#[test]
fn two_senders_and_a_receiver_lose_nothing() {
    explore(|| {
        let place = Arc::new(Place::new());
        let senders: Vec<_> = (1..=2)
            .map(|value| {
                let place = place.clone();
                thread::spawn(move || send(&place, value, value == 1))
            })
            .collect();
        let mut got = [receive(&place, true), receive(&place, false)];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        senders.into_iter().for_each(|s| s.join().unwrap());
        assert_eq!(place.lock().balance(), 0);
    });
}

/// A receiver in the queue gives up while a sender comes: it is still in the queue, or it has the
/// value.
#[test]
fn who_gives_up_and_has_left_the_queue_has_been_served() {
    explore(|| {
        let place = Arc::new(Place::new());
        let waits = Wait::with(None);
        let mut locked = place.lock();
        assert!(locked.gather(false));
        locked.push(waits.clone(), false, false);
        drop(locked);
        let there = place.clone();
        let sender = thread::spawn(move || send(&there, 7, false));
        let value = if place.lock().remove(&waits) {
            receive(&place, false)
        } else {
            waits.value.lock().unwrap().take().expect("served")
        };
        assert_eq!(value, 7);
        sender.join().unwrap();
    });
}

/// Sends if a receiver waits.
fn try_send(place: &Place, value: u32) -> Result<(), u32> {
    let value = match place.bring(value) {
        Ok(()) => return Ok(()),
        Err(value) => value,
    };
    let mut locked = place.lock();
    let Some(partner) = locked.pop(false) else {
        return Err(value);
    };
    *partner.value.lock().unwrap() = Some(value);
    drop(locked);
    partner.end();
    Ok(())
}

/// The receives of a select, in the queues of two channels.
fn joined(places: &[Place; 2]) -> (Arc<Claim>, [Arc<Wait>; 2]) {
    let claim = Arc::new(Claim::new());
    let waits = [0, 1].map(|case| Wait::of_select(None, Some((claim.clone(), case))));
    let mut held = places.each_ref().map(Meeting::lock);
    for (held, wait) in held.iter_mut().zip(&waits) {
        assert!(held.gather(false));
        held.push(wait.clone(), false, false);
    }
    (claim, waits)
}

/// The values that a select's waits have received. The select has left all queues.
fn left(places: &[Place; 2], waits: &[Arc<Wait>; 2]) -> [Option<u32>; 2] {
    for (place, wait) in places.iter().zip(waits) {
        place.lock().remove(wait);
    }
    waits
        .each_ref()
        .map(|wait| wait.value.lock().unwrap().take())
}

/// A select waits to receive from two channels. A sender comes to each, while the select's time is
/// up: one of the three ends it. A sender that came too late finds nobody, and keeps its value;
/// nobody counts as waiting any more.
#[test]
fn a_select_is_ended_by_one_of_those_who_come_at_once() {
    explore(|| {
        let places = Arc::new([Place::new(), Place::new()]);
        let (claim, waits) = joined(&places);
        let senders: Vec<_> = (0..2)
            .map(|i| {
                let places = places.clone();
                thread::spawn(move || try_send(&places[i], i as u32).is_ok())
            })
            .collect();
        let expired = claim.take();
        let got = left(&places, &waits);
        let sent: Vec<_> = senders.into_iter().map(|s| s.join().unwrap()).collect();
        assert_eq!(claim.case().is_none(), expired);
        assert_eq!(
            sent.iter().filter(|&&sent| sent).count() + usize::from(expired),
            1
        );
        // A select that has left all queues knows what was handed over.
        for i in 0..2 {
            assert_eq!(got[i], sent[i].then_some(i as u32));
        }
        for place in places.iter() {
            assert_eq!(place.lock().balance(), 0);
            assert!(place.spin_for_sender(), "the next one may spin");
        }
    });
}

/// A select that sends on one of two channels and receives from the other. It waits if nobody is
/// there. Returns the value, if it received one.
fn cross(places: &[Place; 2], sends: usize, value: u32) -> Option<u32> {
    let mut held = places.each_ref().map(Meeting::lock);
    let receives = 1 - sends;
    if let Some(partner) = held[sends].pop(false) {
        *partner.value.lock().unwrap() = Some(value);
        drop(held);
        partner.end();
        return None;
    }
    if let Some(partner) = held[receives].pop(true) {
        let got = partner.value.lock().unwrap().take();
        drop(held);
        partner.end();
        return got;
    }
    let claim = Arc::new(Claim::new());
    let waits = [0, 1].map(|i| {
        let value = (i == sends).then_some(value);
        Wait::of_select(value, Some((claim.clone(), i as u32)))
    });
    for (i, held) in held.iter_mut().enumerate() {
        assert!(held.gather(i == sends));
        held.push(waits[i].clone(), i == sends, false);
    }
    drop(held);
    let met = loop {
        match claim.case() {
            Some(met) => break met,
            None => crate::prim::pause(),
        }
    };
    waits[met].block();
    let got = left(places, &waits);
    assert_eq!(got[sends], (met == receives).then_some(value));
    got[receives]
}

/// Two selects, each of which would send where the other one receives: they meet, one way.
#[test]
fn two_selects_that_cross_meet_once() {
    explore(|| {
        let places = Arc::new([Place::new(), Place::new()]);
        let there = places.clone();
        let other = thread::spawn(move || cross(&there, 1, 7));
        let got = (cross(&places, 0, 8), other.join().unwrap());
        assert!(matches!(got, (Some(7), None) | (None, Some(8))), "{got:?}");
        for place in places.iter() {
            assert_eq!(place.lock().balance(), 0);
        }
    });
}

/// A channel is closed on a receiver that spins: it stays, and is served by a thread that comes
/// later.
#[test]
fn a_close_leaves_a_receiver_that_spins() {
    explore(|| {
        let place = Arc::new(Place::new());
        let there = place.clone();
        let other = thread::spawn(move || {
            there.lock().close();
            send(&there, 7, true);
        });
        assert_eq!(receive(&place, true), 7);
        other.join().unwrap();
        assert!(
            !place.spin_for_sender(),
            "nobody begins to spin at a closed one"
        );
        place.lock().open();
        assert!(place.spin_for_sender());
    });
}

/// A tasklet that spins came before the queue, and becomes the first there if it has spun in vain.
#[test]
fn a_receiver_that_spins_is_served_before_the_queue() {
    explore(|| {
        let place = Place::new();
        let later = Wait::with(None);
        assert!(place.spin_for_sender());
        let mut locked = place.lock();
        assert!(locked.gather(false));
        locked.push(later.clone(), false, false);
        assert_eq!(locked.balance(), -2);
        drop(locked);
        assert!(!place.spin_for_sender(), "there is a queue");

        assert_eq!(place.bring(1), Ok(()));
        assert_eq!(place.received().ok(), Some(1));
        assert_eq!(place.bring(2), Err(2), "nobody spins any more");
        assert!(Arc::ptr_eq(&place.lock().pop(false).unwrap(), &later));

        assert!(place.spin_for_sender());
        let mut locked = place.lock();
        assert!(locked.gather(false));
        locked.push(later.clone(), false, false);
        drop(locked);
        let first = Wait::with(None);
        let Err(mut locked) = place.received() else {
            panic!("nobody came");
        };
        locked.push(first.clone(), false, true);
        assert!(Arc::ptr_eq(&locked.pop(false).unwrap(), &first));
        assert!(Arc::ptr_eq(&locked.pop(false).unwrap(), &later));
        assert!(locked.pop(false).is_none());
    });
}

/// A channel is closed on a sender that spins, while a receiver comes: either the receiver gets the
/// value, or the sender has it back.
#[test]
fn a_sender_is_refused_or_served() {
    explore(|| {
        let place = Arc::new(Place::new());
        assert_eq!(place.spin_for_receiver(7), Ok(()));
        let (closes, comes) = (place.clone(), place.clone());
        let closer = thread::spawn(move || closes.lock().dissolve(0).0);
        let receiver = thread::spawn(move || comes.fetch());
        while !place.is_over() {
            crate::prim::pause();
        }
        let back = match place.sent() {
            Sent::Done => None,
            Sent::Refused(value) => Some(value),
            Sent::InVain(..) => panic!("it was over"),
        };
        assert_eq!(closer.join().unwrap(), back.is_some());
        assert_eq!(back.xor(receiver.join().unwrap()), Some(7));
    });
}

/// A channel is closed on a receiver whose spin ends: it is told, or has joined the queue, and is
/// told there.
#[test]
fn a_receiver_that_spins_in_vain_is_not_left_behind_by_a_close() {
    explore(|| {
        let place = Arc::new(Place::new());
        assert!(place.spin_for_sender());
        let closes = place.clone();
        let closer = thread::spawn(move || {
            let (spun, queued) = closes.lock().dissolve(9);
            for wait in &queued {
                *wait.value.lock().unwrap() = Some(9);
                wait.end();
            }
            usize::from(spun) + queued.len()
        });
        let told = match place.received() {
            Ok(value) => value,
            Err(mut locked) => {
                let wait = Wait::with(None);
                locked.push(wait.clone(), false, true);
                drop(locked);
                wait.block();
                let told = wait.value.lock().unwrap().take();
                told.unwrap()
            }
        };
        assert_eq!((told, closer.join().unwrap()), (9, 1));
    });
}

/// An object whose end must come after every use of it: loom checks the cell.
struct Checked {
    number: u32,
    looked_at: UnsafeCell<()>,
    ends: Arc<AtomicUsize>,
}

impl Checked {
    fn look(&self) -> u32 {
        self.looked_at.with(|_| ());
        self.number
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.looked_at.with_mut(|_| ());
        self.ends.fetch_add(1, Ordering::Relaxed);
    }
}

/// A slot, and how many of its objects have ended.
struct Berth {
    slot: Slot<Checked>,
    ends: Arc<AtomicUsize>,
}

impl Berth {
    fn new() -> Arc<Berth> {
        Arc::new(Berth {
            slot: Slot::new(),
            ends: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// To be called only by the thread that has made the slot or emptied it.
    fn fill(&self, number: u32) -> u32 {
        let object = Checked {
            number,
            looked_at: UnsafeCell::new(()),
            ends: self.ends.clone(),
        };
        // SAFETY: the slot is empty and this thread's to fill, as the caller has promised.
        unsafe { self.slot.fill(object) }
    }

    /// A call: the value that it sees, and whether its unpin was the last one.
    fn call(&self, generation: u32) -> (Option<u32>, bool) {
        let good = self.slot.pin(generation);
        // SAFETY: the slot is pinned with success.
        let seen = good.then(|| unsafe { self.slot.object() }.look());
        (seen, self.slot.unpin().is_some())
    }

    /// Gives a handle back: returns whether it was good, and whether nobody works on the object any
    /// more.
    fn release(&self, generation: u32) -> (bool, bool) {
        let good = self.slot.pin(generation) && self.slot.release(generation);
        (good, self.slot.unpin().is_some())
    }
}

/// Two calls work on an object while two threads give its handle back: each call sees the object or
/// is told that the handle is stale, one release is good, and the object leaves once, after all
/// calls.
#[test]
fn an_object_leaves_once_and_after_who_works_on_it() {
    explore(|| {
        let berth = Berth::new();
        let generation = berth.fill(1);
        let others: Vec<_> = [false, true]
            .into_iter()
            .map(|releases| {
                let berth = berth.clone();
                thread::spawn(move || {
                    if releases {
                        let (good, last) = berth.release(generation);
                        (usize::from(good), usize::from(last))
                    } else {
                        let (seen, last) = berth.call(generation);
                        assert!(matches!(seen, None | Some(1)));
                        (0, usize::from(last))
                    }
                })
            })
            .collect();
        let (good, last) = berth.release(generation);
        let (mut released, mut lasts) = (usize::from(good), usize::from(last));
        for other in others {
            let (good, last) = other.join().unwrap();
            released += good;
            lasts += last;
        }
        assert_eq!((released, lasts), (1, 1));
        assert_eq!(berth.ends.load(Ordering::Relaxed), 1);
        assert_eq!(berth.call(generation), (None, false));
    });
}

/// The thread that empties the slot uses it again, while others call with the old handle, and with
/// the new one as soon as it is known.
#[test]
fn a_slot_is_used_again_and_an_old_handle_never_names_the_new_object() {
    explore(|| {
        let berth = Berth::new();
        let old = berth.fill(1);
        let known = Arc::new(AtomicUsize::new(0));
        let (there, new) = (berth.clone(), known.clone());
        let caller = thread::spawn(move || {
            let (seen, mut lasts) = there.call(old);
            assert!(matches!(seen, None | Some(1)));
            let generation = new.load(Ordering::Relaxed) as u32;
            if generation != 0 {
                let (seen, last) = there.call(generation);
                assert_eq!((seen, last), (Some(2), false));
            }
            let (seen, last) = there.call(old);
            assert!(matches!(seen, None | Some(1)));
            lasts |= last;
            lasts
        });
        let (good, last) = berth.release(old);
        assert!(good);
        if last {
            let generation = berth.fill(2);
            assert_ne!(generation, old);
            known.store(generation as usize, Ordering::Relaxed);
        }
        let theirs = caller.join().unwrap();
        assert!(last != theirs, "one of them has emptied it");
        assert_eq!(berth.ends.load(Ordering::Relaxed), 1);
        if last {
            assert_eq!(berth.release(old + 1), (true, true));
        }
    });
}
