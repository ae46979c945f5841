//! Timers on two clocks: in order, never early, as often as asked, and gone when cancelled.
#![cfg(feature = "std")]

use hardswitch::timer::{call_at, call_later, repeat, Clock, SimClock};
use hardswitch::{spawn, Channel, Error, MainLoop};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<u64>>>);

impl Notes {
    fn add(&self, note: u64) -> impl FnOnce() {
        let list = self.0.clone();
        move || list.borrow_mut().push(note)
    }
    fn all(&self) -> Vec<u64> {
        self.0.borrow().clone()
    }
}

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

fn finish() {
    main_loop().run_until_idle().unwrap();
}

/// A clock that moves only when it is told to.
fn stepped() -> SimClock {
    let clock = SimClock::new();
    clock.pause();
    clock.set(Duration::ZERO);
    clock
}

fn step(clock: &SimClock, by: Duration) {
    clock.advance(by);
    main_loop().tick().unwrap();
}

#[test]
fn calls_come_in_the_order_of_their_times_and_not_early() {
    let (notes, start) = (Notes::default(), Instant::now());
    let mut timers = vec![];
    for ms in [30, 10, 20, 10] {
        let note = notes.add(timers.len() as u64);
        let asked = Instant::now();
        let timer = call_later(MS(ms), move || {
            assert!(asked.elapsed() >= MS(ms));
            note();
        });
        timers.push(timer.unwrap());
    }
    timers.push(call_at(start + MS(15), notes.add(4)).unwrap());
    timers.push(call_at(start, notes.add(5)).unwrap());
    // Who asks late, in between, is served late.
    let mut in_order: Vec<u64> = (0..6).collect();
    in_order.sort_by_key(|&i| timers[i as usize].due());
    assert_eq!(in_order[0], 5);
    assert_eq!(notes.all(), [], "not before the loop pumps");
    finish();
    assert_eq!(notes.all(), in_order);
    assert_eq!(main_loop().waiting(), (0, 0));
}

#[test]
fn a_cancelled_call_does_not_come_and_twice_is_a_no_op() {
    let notes = Notes::default();
    let timer = call_later(MS(5), notes.add(1)).unwrap();
    call_later(MS(10), notes.add(2)).unwrap();
    let same = timer.clone();
    assert!(timer.is_pending() && timer.due().is_some());
    assert!(timer.cancel());
    assert!(!timer.cancel() && !same.cancel() && !same.is_pending());
    finish();
    assert_eq!(notes.all(), [2]);
    let done = call_later(Duration::ZERO, notes.add(3)).unwrap();
    finish();
    assert!(!done.cancel() && done.due().is_none());
}

#[test]
fn the_function_of_a_cancelled_call_is_dropped_at_once() {
    let token = Rc::new(());
    let held = token.clone();
    let timer = call_later(S(1000), move || drop(held)).unwrap();
    assert_eq!(Rc::strong_count(&token), 2);
    timer.cancel();
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn the_loop_waits_for_the_next_timer_and_no_longer() {
    let fired = Rc::new(Cell::new(false));
    let f = fired.clone();
    call_later(MS(40), move || f.set(true)).unwrap();
    let due = main_loop().next_deadline().unwrap();
    assert!(due <= Instant::now() + MS(41));
    let start = Instant::now();
    while !fired.get() {
        main_loop().pump(None).unwrap();
    }
    assert!(start.elapsed() < S(20));
    assert!(main_loop().next_deadline().is_none() && main_loop().is_idle());
}

#[test]
fn a_call_asked_for_by_a_call_waits_for_the_next_pump() {
    let clock = stepped();
    let (notes, c) = (Notes::default(), clock.clone());
    let (first, second) = (notes.add(1), notes.add(2));
    clock
        .call_later(Duration::ZERO, move || {
            first();
            c.call_later(Duration::ZERO, second).unwrap();
        })
        .unwrap();
    main_loop().pump(Some(Duration::ZERO)).unwrap();
    assert_eq!(notes.all(), [1]);
    main_loop().pump(Some(Duration::ZERO)).unwrap();
    assert_eq!(notes.all(), [1, 2]);
}

#[test]
fn a_repeat_keeps_its_beat_and_calls_once_for_what_was_missed() {
    let clock = stepped();
    let at = Rc::new(RefCell::new(vec![]));
    let (a, c) = (at.clone(), clock.clone());
    let timer = clock
        .repeat(S(10), move || a.borrow_mut().push(c.now().as_secs()))
        .unwrap();
    for seconds in [9, 1, 3, 8, 40, 8, 1] {
        step(&clock, S(seconds));
    }
    // Shown: 9 10 13 21 61 69 70.
    assert_eq!(*at.borrow(), [10, 21, 61, 70]);
    assert_eq!(timer.due(), Some(S(80)));
    assert!(timer.cancel() && !timer.cancel());
    step(&clock, S(100));
    assert_eq!(at.borrow().len(), 4);
}

#[test]
fn a_repeat_may_cancel_itself() {
    let (count, timer) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
    let (c, t) = (count.clone(), timer.clone());
    *timer.borrow_mut() = Some(
        repeat(MS(2), move || {
            c.set(c.get() + 1);
            if c.get() == 3 {
                let timer: &hardswitch::timer::Timer = &t.borrow_mut().take().unwrap();
                assert!(timer.cancel());
            }
        })
        .unwrap(),
    );
    finish();
    assert_eq!(count.get(), 3);
}

#[test]
fn a_period_of_zero_is_refused() {
    let refused = repeat(Duration::ZERO, || {}).unwrap_err();
    assert!(matches!(refused, Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidInput));
}

#[test]
fn absurdly_large_times_are_for_ever() {
    let notes = Notes::default();
    let clock = SimClock::new();
    let timers = [
        call_later(Duration::MAX, notes.add(1)).unwrap(),
        clock.call_later(Duration::MAX, notes.add(2)).unwrap(),
        clock.repeat(Duration::MAX, || {}).unwrap(),
    ];
    clock.set_scale(1e-300).unwrap();
    clock.call_later(MS(1), notes.add(3)).unwrap();
    main_loop().tick().unwrap();
    clock.set_scale(1e300).unwrap();
    std::thread::sleep(MS(2));
    main_loop().tick().unwrap();
    assert!(timers[0].is_pending());
    assert_eq!(clock.now(), Duration::MAX);
    timers.iter().for_each(|t| {
        t.cancel();
    });
}

#[test]
fn a_panic_in_a_call_leaves_the_others() {
    let (clock, notes) = (stepped(), Notes::default());
    clock
        .call_later(S(1), || panic!("a timer's panic"))
        .unwrap();
    clock.call_later(S(1), notes.add(1)).unwrap();
    clock.advance(S(1));
    let pump = || main_loop().pump(Some(Duration::ZERO));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(pump)).unwrap_err();
    pump().unwrap();
    assert_eq!(notes.all(), [1]);
}

#[test]
fn a_paused_clock_wakes_nobody_and_keeps_no_loop_running() {
    let (clock, notes) = (SimClock::new(), Notes::default());
    clock.pause();
    clock.pause();
    let shown = clock.now();
    let (sleeper, note) = (clock.clone(), notes.add(1));
    spawn(move || -> hardswitch::Result<()> {
        sleeper.sleep(MS(20))?;
        note();
        Ok(())
    })
    .unwrap();
    finish();
    std::thread::sleep(MS(40));
    finish();
    assert_eq!((notes.all(), clock.now()), (vec![], shown));
    assert!(clock.is_paused() && clock.pending() == 1);
    let start = Instant::now();
    clock.resume();
    finish();
    assert!(start.elapsed() >= MS(20), "it had stood still");
    assert_eq!(notes.all(), [1]);
}

#[test]
fn a_scaled_clock_runs_at_its_pace() {
    let clock = SimClock::new();
    clock.set_scale(1000.0).unwrap();
    assert_eq!(clock.scale(), 1000.0);
    let start = Instant::now();
    clock.sleep(S(50)).unwrap();
    assert!(clock.now() >= S(50));
    assert!(start.elapsed() >= MS(49) && start.elapsed() < S(20));
    let shown = clock.now();
    clock.set_scale(0.0).unwrap();
    assert!(clock.now() >= shown);
    let shown = clock.now();
    std::thread::sleep(MS(5));
    assert_eq!(clock.now(), shown);
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(clock.set_scale(bad).is_err());
    }
    assert_eq!(clock.scale(), 0.0);
}

#[test]
fn a_change_of_pace_moves_who_sleeps_already() {
    let clock = SimClock::new();
    let (c, slept) = (clock.clone(), Rc::new(Cell::new(false)));
    let s = slept.clone();
    spawn(move || -> hardswitch::Result<()> {
        c.sleep(S(3600))?;
        s.set(true);
        Ok(())
    })
    .unwrap();
    hardswitch::run().unwrap();
    let c = clock.clone();
    call_later(MS(5), move || c.set_scale(360_000.0).unwrap()).unwrap();
    let start = Instant::now();
    finish();
    assert!(slept.get() && start.elapsed() < S(20));
}

#[test]
fn a_set_clock_keeps_the_moments_of_its_timers() {
    let (clock, notes) = (stepped(), Notes::default());
    clock.call_at(S(10), notes.add(1)).unwrap();
    clock.set(S(9));
    main_loop().tick().unwrap();
    clock.set(S(2));
    assert_eq!(clock.next_due(), Some(S(10)));
    main_loop().tick().unwrap();
    assert_eq!(notes.all(), []);
    clock.set(S(11));
    main_loop().tick().unwrap();
    assert_eq!(notes.all(), [1]);
}

#[test]
fn nothing_comes_early_when_a_call_puts_the_clock_back() {
    let (clock, late) = (stepped(), Rc::new(Cell::new(false)));
    let back = clock.clone();
    clock
        .call_later(MS(1), move || back.set(Duration::ZERO))
        .unwrap();
    let l = late.clone();
    clock.call_later(MS(2), move || l.set(true)).unwrap();
    step(&clock, MS(5));
    assert!(!late.get(), "the clock shows {:?}", clock.now());
    step(&clock, MS(2));
    assert!(late.get());
}

#[test]
fn both_clocks_serve_sleepers_at_once() {
    let notes = Notes::default();
    let sim = SimClock::current().unwrap();
    sim.set_scale(100.0).unwrap();
    let (note, s) = (notes.add(1), sim.clone());
    spawn(move || -> hardswitch::Result<()> {
        s.sleep(S(1))?; // 10 ms
        note();
        Ok(())
    })
    .unwrap();
    let note = notes.add(2);
    spawn(move || -> hardswitch::Result<()> {
        Clock::wall()?.sleep(MS(1000))?;
        note();
        Ok(())
    })
    .unwrap();
    finish();
    assert_eq!(notes.all(), [1, 2]);
}

#[test]
fn a_killed_sleeper_leaves_its_clock() {
    let clock = stepped();
    let c = clock.clone();
    let sleeper = spawn(move || c.sleep(S(1))).unwrap();
    hardswitch::run().unwrap();
    assert_eq!(clock.pending(), 1);
    sleeper.kill().unwrap();
    assert_eq!(clock.pending(), 0);
    step(&clock, S(2));
}

#[test]
fn a_sleep_of_nothing_lets_the_others_run_once() {
    let (clock, notes) = (stepped(), Notes::default());
    let note = notes.add(1);
    spawn(note).unwrap();
    clock.sleep(Duration::ZERO).unwrap();
    assert_eq!(notes.all(), [1]);
    let c = clock.clone();
    spawn(move || {
        hardswitch::current().set_block_trap(true);
        assert!(matches!(c.sleep(S(1)), Err(Error::BlockTrap)));
    })
    .unwrap();
    hardswitch::run().unwrap();
    assert_eq!(clock.pending(), 0);
}

#[test]
fn a_timer_may_pump() {
    let (clock, count) = (stepped(), Rc::new(Cell::new(0)));
    let (c, n) = (clock.clone(), count.clone());
    let timer = clock
        .repeat(S(1), move || {
            n.set(n.get() + 1);
            c.advance(S(3));
            main_loop().pump(Some(Duration::ZERO)).unwrap();
        })
        .unwrap();
    step(&clock, S(1));
    assert_eq!(count.get(), 1, "it is not called inside itself");
    step(&clock, S(1));
    assert_eq!(count.get(), 2);
    timer.cancel();
}

/// Runs `test` on a thread of its own; what has not ended after a minute hangs.
fn ends(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    if ended.recv_timeout(S(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it does not end");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn timers_of_two_clocks_that_arm_each_other_wait_for_the_next_pump() {
    ends(|| {
        let (notes, clocks) = (Notes::default(), [stepped(), stepped()]);
        /// Asks for a call by one clock, which asks for one by the other, and so on.
        fn arm(notes: &Notes, clocks: [SimClock; 2], left: u64) {
            if left == 0 {
                return;
            }
            let note = notes.add(left);
            let (notes, here) = (notes.clone(), clocks[left as usize % 2].clone());
            let call = move || {
                note();
                arm(&notes, clocks, left - 1);
            };
            here.call_later(Duration::ZERO, call).unwrap();
        }
        arm(&notes, clocks, 4);
        for done in 1..=4 {
            assert_eq!(main_loop().pump(Some(Duration::ZERO)).unwrap(), 1);
            assert_eq!(notes.all().len(), done);
        }
        assert_eq!(notes.all(), [4, 3, 2, 1]);
        // Nor do clocks that are made meanwhile.
        fn anew(notes: Notes) {
            let clock = stepped();
            let call = move || {
                notes.add(1)();
                anew(notes);
            };
            clock.call_later(Duration::ZERO, call).unwrap();
        }
        let notes = Notes::default();
        anew(notes.clone());
        for done in 1..=3 {
            assert_eq!(main_loop().pump(Some(Duration::ZERO)).unwrap(), 1);
            assert_eq!(notes.all().len(), done);
        }
    });
}

#[test]
fn a_clock_loses_nothing_when_its_pace_is_set() {
    let clock = SimClock::new();
    let (shown, start) = (clock.now(), Instant::now());
    for _ in 0..20_000 {
        clock.set_scale(1.0).unwrap();
    }
    let passed = start.elapsed();
    let shown = clock.now() - shown;
    assert!(shown >= passed, "{:?} are lost", passed - shown);
    // A pause, and a step of nothing, lose what they last and no more.
    let (before, start) = (clock.now(), Instant::now());
    for _ in 0..20_000 {
        clock.advance(Duration::ZERO);
    }
    let passed = start.elapsed();
    assert!(clock.now() - before >= passed);
}

#[test]
fn a_repeat_ends_with_its_clock() {
    let clock = stepped();
    let count = Rc::new(Cell::new(0));
    let c = count.clone();
    let timer = clock.repeat(S(1), move || c.set(c.get() + 1)).unwrap();
    clock.set(Duration::MAX);
    for _ in 0..3 {
        main_loop().pump(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(count.get(), 1, "for all the beats that were missed");
    assert!(!timer.is_pending() && !timer.cancel());
    assert_eq!((clock.pending(), Rc::strong_count(&count)), (0, 1));
}

#[test]
fn a_repeat_stays_on_its_beat_however_many_were_missed() {
    let clock = stepped();
    let timer = clock.repeat(Duration::from_nanos(3), || {}).unwrap();
    // More than 2^32 beats.
    clock.set(S(100) + Duration::from_nanos(1));
    main_loop().pump(Some(Duration::ZERO)).unwrap();
    let due = timer.due().unwrap();
    assert!(due > clock.now() && due <= clock.now() + Duration::from_nanos(3));
    assert_eq!(due.as_nanos() % 3, 0);
    timer.cancel();
}

#[test]
fn who_waits_for_a_clock_that_stands_still_is_told_of_the_deadlock_whoever_blocks_last() {
    ends(|| {
        // Main alone.
        let clock = stepped();
        assert!(matches!(clock.sleep(S(1)), Err(Error::Deadlock)));
        assert_eq!(clock.pending(), 0);
        let forever = hardswitch::sleep(Duration::MAX);
        assert!(
            matches!(forever, Err(Error::Deadlock)),
            "nor is that a hope"
        );
        // A tasklet sleeps first, and main blocks then.
        let (c, channel) = (clock.clone(), Channel::<()>::new());
        let sleeper = spawn(move || c.sleep(S(1))).unwrap();
        hardswitch::run().unwrap();
        assert!(matches!(channel.receive(), Err(Error::Deadlock)));
        sleeper.kill().unwrap();
        // Main is blocked first, and a tasklet falls asleep then.
        let (c, sender) = (clock.clone(), channel.clone());
        spawn(move || {
            assert!(matches!(c.sleep(S(1)), Err(Error::Deadlock)));
            sender.send(())
        })
        .unwrap();
        channel.receive().unwrap();
        // Main sleeps, and a tasklet blocks then: it is not the last one, and main is told.
        let (receiver, c) = (channel.clone(), clock.clone());
        let waits = spawn(move || receiver.receive()).unwrap();
        assert!(matches!(c.sleep(S(1)), Err(Error::Deadlock)));
        waits.kill().unwrap();
    });
}

#[test]
fn a_clock_that_stands_still_is_waited_for_as_long_as_somebody_may_let_it_run() {
    ends(|| {
        let clock = stepped();
        // A timer of wall time.
        let c = clock.clone();
        call_later(MS(5), move || c.resume()).unwrap();
        clock.sleep(MS(5)).unwrap();
        // What another thread has promised to post.
        clock.pause();
        let work = main_loop().remote().work();
        let other = thread::spawn(move || {
            thread::sleep(MS(20));
            work.remote()
                .post(|| SimClock::current().unwrap().resume())
                .unwrap();
        });
        let clock = SimClock::current().unwrap();
        clock.pause();
        clock.sleep(MS(5)).unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_repeat_that_cancels_itself_goes_as_a_guest_of_who_pumps() {
    struct Waits(Rc<RefCell<Option<hardswitch::Result<u32>>>>, Channel<u32>);
    impl Drop for Waits {
        fn drop(&mut self) {
            *self.0.borrow_mut() = Some(self.1.receive());
        }
    }
    ends(|| {
        let (told, channel) = (Rc::default(), Channel::new());
        let sender = channel.clone();
        spawn(move || sender.send(7)).unwrap();
        hardswitch::run().unwrap();
        let waits = Waits(Rc::clone(&told), channel);
        let (own, me) = (Rc::new(RefCell::new(None)), hardswitch::main_tasklet());
        let held = own.clone();
        let beat = move || {
            let _ = &waits;
            me.kill().unwrap();
            let timer: hardswitch::timer::Timer = held.borrow_mut().take().unwrap();
            assert!(timer.cancel());
        };
        *own.borrow_mut() = Some(repeat(MS(1), beat).unwrap());
        let slept = hardswitch::sleep(S(20));
        assert!(matches!(slept, Err(Error::Exit)), "{slept:?}");
        assert!(matches!(told.take(), Some(Ok(7))));
    });
}

#[test]
fn a_timer_is_due_at_one_moment_however_often_it_is_asked_for() {
    for (scale, of) in [(1.0, 20), (4.0, 80), (0.25, 5)] {
        let clock = SimClock::new();
        clock.set_scale(scale).unwrap();
        let before = Instant::now();
        let timer = clock.call_later(S(of), || ()).unwrap();
        let due = main_loop().next_deadline().unwrap();
        let (early, late) = (before + S(20) - MS(1), Instant::now() + S(20) + MS(1));
        assert!(early < due && due < late, "{scale}");
        for _ in 0..1000 {
            assert_eq!(main_loop().next_deadline(), Some(due), "{scale}");
        }
        assert!(timer.cancel());
    }
}
