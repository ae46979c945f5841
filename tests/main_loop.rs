//! The loop: it waits as long as it may and no longer, and whoever may interrupt it can.

use hardswitch::event::PostError;
use hardswitch::{sleep, sleep_until, spawn, Channel, Error, MainLoop};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LONG: Duration = Duration::from_secs(30);

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

/// A list that tasklets append to.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<u64>>>);

impl Notes {
    fn add(&self, note: u64) {
        self.0.borrow_mut().push(note);
    }
    fn all(&self) -> Vec<u64> {
        self.0.borrow().clone()
    }
}

#[test]
fn sleepers_wake_in_the_order_of_their_times_and_not_early() {
    let notes = Notes::default();
    // Far enough away for all to be asleep by then, however slow the machine.
    let base = Instant::now() + MS(2000);
    for ms in [30, 10, 20, 10] {
        let notes = notes.clone();
        spawn(move || -> hardswitch::Result<()> {
            sleep_until(base + MS(ms))?;
            assert!(Instant::now() >= base + MS(ms));
            notes.add(ms);
            Ok(())
        })
        .unwrap();
    }
    main_loop().run_until_idle().unwrap();
    assert_eq!(notes.all(), [10, 10, 20, 30]);
    assert!(main_loop().is_idle());
}

#[test]
fn main_sleeps_while_the_others_run() {
    let notes = Notes::default();
    let ticker = notes.clone();
    spawn(move || -> hardswitch::Result<()> {
        for i in 0..4 {
            ticker.add(i);
            sleep(MS(10))?;
        }
        Ok(())
    })
    .unwrap();
    let start = Instant::now();
    sleep(MS(100)).unwrap();
    assert!(start.elapsed() >= MS(100));
    while notes.all() != [0, 1, 2, 3] {
        assert!(start.elapsed() < LONG, "{:?}", notes.all());
        sleep(MS(10)).unwrap();
    }
}

#[test]
fn no_time_at_all_lets_the_others_run_once() {
    let notes = Notes::default();
    let other = notes.clone();
    spawn(move || other.add(1)).unwrap();
    sleep(Duration::ZERO).unwrap();
    notes.add(2);
    let other = notes.clone();
    spawn(move || other.add(3)).unwrap();
    sleep_until(Instant::now() - MS(5)).unwrap();
    assert_eq!(notes.all(), [1, 2, 3]);
}

#[test]
fn a_sleeper_that_is_killed_leaves_no_timer() {
    let notes = Notes::default();
    for time in [LONG, Duration::MAX] {
        let notes = notes.clone();
        let sleeper = spawn(move || -> hardswitch::Result<()> {
            let result = sleep(time);
            assert!(matches!(result, Err(Error::Exit)));
            notes.add(1);
            result
        })
        .unwrap();
        main_loop().tick().unwrap();
        assert!(sleeper.is_blocked());
        sleeper.kill().unwrap();
        assert!(!sleeper.is_alive());
    }
    assert_eq!(notes.all(), [1, 1]);
    assert_eq!(
        (main_loop().waiting(), main_loop().next_deadline()),
        ((0, 0), None)
    );
}

#[test]
fn a_tick_never_waits() {
    for _ in 0..10 {
        spawn(|| sleep(LONG * 10)).unwrap();
    }
    let start = Instant::now();
    for _ in 0..100 {
        main_loop().tick().unwrap();
        assert!(main_loop().tick_for(MS(5)).unwrap());
    }
    // A single wait would be longer.
    assert!(start.elapsed() < LONG);
    assert_eq!(main_loop().waiting(), (0, 10));
}

#[test]
fn a_tick_with_a_budget_ends_although_tasklets_never_block() {
    let turns = Rc::new(Cell::new([0; 3]));
    for i in 0..3 {
        let turns = turns.clone();
        spawn(move || -> hardswitch::Result<()> {
            loop {
                let mut all = turns.get();
                all[i] += 1;
                turns.set(all);
                hardswitch::schedule()?;
            }
        })
        .unwrap();
    }
    for _ in 0..3 {
        assert!(!main_loop().tick_for(MS(3)).unwrap());
    }
    let [a, b, c] = turns.get();
    assert!(
        c >= 3 && a - c <= 1 && b - c <= 1,
        "everybody has had their turns: {:?}",
        turns.get()
    );
    assert!(!main_loop().tick_for(Duration::ZERO).unwrap());
}

#[test]
fn a_pump_waits_for_the_limit_or_the_next_timer_whichever_is_first() {
    let start = Instant::now();
    assert_eq!(main_loop().pump(Some(MS(30))).unwrap(), 0);
    assert!(start.elapsed() >= MS(30));
    // So long that it sleeps still when the loop is asked for it.
    spawn(|| sleep(MS(1000))).unwrap();
    // Not with somebody runnable.
    let start = Instant::now();
    assert_eq!(main_loop().pump(Some(LONG)).unwrap(), 0);
    assert!(start.elapsed() < LONG / 2);
    hardswitch::run().unwrap();
    assert!(main_loop().next_deadline().is_some());
    let start = Instant::now();
    assert_eq!(main_loop().pump(Some(LONG)).unwrap(), 1);
    assert!(start.elapsed() < LONG / 2);
    main_loop().run_until_idle().unwrap();
}

#[test]
fn another_thread_posts_work_and_ends_the_wait() {
    let start = Instant::now();
    let remote = main_loop().remote();
    let home = thread::current().id();
    let (sender, receiver) = mpsc::channel();
    let poster = thread::spawn(move || {
        thread::sleep(MS(30));
        remote
            .post(move || sender.send(thread::current().id()).unwrap())
            .unwrap();
    });
    assert_eq!(main_loop().pump(None).unwrap(), 1);
    assert!(start.elapsed() >= MS(20));
    assert_eq!(
        receiver.recv().unwrap(),
        home,
        "events run on the loop's thread"
    );
    poster.join().unwrap();
}

#[test]
fn an_interrupt_ends_this_wait_or_the_next_one_and_only_that() {
    let remote = main_loop().remote();
    remote.interrupt();
    let start = Instant::now();
    assert_eq!(main_loop().pump(Some(LONG)).unwrap(), 0);
    assert!(start.elapsed() < LONG / 2);
    let start = Instant::now();
    assert_eq!(main_loop().pump(Some(MS(20))).unwrap(), 0);
    assert!(start.elapsed() >= MS(20), "the interrupt was used up");
    let other = thread::spawn(move || {
        thread::sleep(MS(20));
        remote.interrupt();
    });
    main_loop().pump(None).unwrap();
    other.join().unwrap();
}

#[test]
fn a_running_loop_takes_work_until_it_is_stopped() {
    let remote = main_loop().remote();
    let (sender, receiver) = mpsc::channel();
    let other = thread::spawn(move || {
        for i in 0..5 {
            let sender = sender.clone();
            let work = move || {
                spawn(move || -> hardswitch::Result<()> {
                    sleep(MS(5))?;
                    sender.send(i).unwrap();
                    Ok(())
                })
                .unwrap();
            };
            remote.post(work).unwrap();
            assert_eq!(receiver.recv_timeout(LONG), Ok(i));
            // Idle now: that does not end it.
            thread::sleep(MS(5));
        }
        remote.stop();
        remote
    });
    main_loop().run().unwrap();
    let remote = other.join().unwrap();
    // The stop is used up: the next run goes on until it has nothing to do.
    spawn(|| sleep(MS(5))).unwrap();
    main_loop().run_until_idle().unwrap();
    assert!(main_loop().is_idle());
    remote.stop();
    spawn(|| sleep(LONG)).unwrap();
    main_loop().run_until_idle().unwrap();
    assert!(
        !main_loop().is_idle(),
        "a stop before the run ends it as well"
    );
}

#[test]
fn an_error_of_a_tasklet_comes_out_and_the_rest_goes_on_with_the_next_call() {
    let notes = Notes::default();
    let after = notes.clone();
    spawn(|| -> hardswitch::Result<()> { Err(Error::Timeout) }).unwrap();
    spawn(move || after.add(1)).unwrap();
    assert!(matches!(main_loop().tick(), Err(Error::Timeout)));
    assert_eq!(notes.all(), []);
    main_loop().tick().unwrap();
    assert_eq!(notes.all(), [1]);
}

#[test]
fn events_may_pump_spawn_and_send() {
    let channel = Channel::new();
    let inbox = channel.clone();
    let notes = Notes::default();
    let got = notes.clone();
    spawn(move || -> hardswitch::Result<()> {
        got.add(inbox.receive()?);
        Ok(())
    })
    .unwrap();
    main_loop().tick().unwrap();
    thread_local!(static CHANNEL: RefCell<Option<Channel<u64>>> = const { RefCell::new(None) });
    CHANNEL.set(Some(channel));
    let remote = main_loop().remote();
    let inner = remote.clone();
    remote
        .post(move || {
            inner
                .post(|| {
                    CHANNEL
                        .with_borrow(|c| c.as_ref().unwrap().send(42))
                        .unwrap()
                })
                .unwrap();
            assert_eq!(main_loop().pump(Some(Duration::ZERO)).unwrap(), 1);
        })
        .unwrap();
    main_loop().run_until_idle().unwrap();
    assert_eq!(notes.all(), [42]);
    CHANNEL.set(None);
}

#[test]
fn a_loop_whose_thread_is_gone_takes_no_more_events() {
    let remote = thread::spawn(|| main_loop().remote()).join().unwrap();
    assert_eq!(remote.post(|| {}), Err(PostError::Closed));
    remote.interrupt();
    remote.stop();
}

#[test]
fn two_thousand_sleepers_cost_a_turn_each_and_end() {
    let woken = Rc::new(Cell::new(0));
    for i in 0..2000u64 {
        let woken = woken.clone();
        spawn(move || -> hardswitch::Result<()> {
            for _ in 0..3 {
                sleep(Duration::from_micros(100 + i % 17 * 100))?;
            }
            woken.set(woken.get() + 1);
            Ok(())
        })
        .unwrap();
    }
    main_loop().run_until_idle().unwrap();
    assert_eq!((woken.get(), main_loop().waiting()), (2000, (0, 0)));
}

#[test]
fn a_loop_may_run_in_a_tasklet_that_is_not_main() {
    let notes = Notes::default();
    let inner = notes.clone();
    let channel = Channel::new();
    let done = channel.clone();
    spawn(move || -> hardswitch::Result<()> {
        for ms in [20, 10] {
            let inner = inner.clone();
            spawn(move || sleep(MS(ms)).map(|()| inner.add(ms)))?;
        }
        MainLoop::current()?.run_until_idle()?;
        done.send(())
    })
    .unwrap();
    channel.receive().unwrap();
    let mut woken = notes.all();
    woken.sort();
    assert_eq!(woken, [10, 20]);
}

#[test]
fn a_stop_is_kept_when_the_run_fails() {
    let remote = main_loop().remote();
    spawn(move || {
        remote.stop();
        Err(Error::Timeout)
    })
    .unwrap();
    assert!(matches!(main_loop().run(), Err(Error::Timeout)));
    // Were it forgotten, this would wait until then.
    let late = main_loop().remote();
    let helper = hardswitch::timer::call_later(LONG, move || late.stop()).unwrap();
    let start = Instant::now();
    main_loop().run().unwrap();
    assert!(start.elapsed() < LONG);
    helper.cancel();
    main_loop().run_until_idle().unwrap();
    let (go, goes) = mpsc::channel::<()>();
    let late = main_loop().remote();
    // Before the thread's wait begins: it may be over a moment before 50 ms have passed here.
    let start = Instant::now();
    let thread = thread::spawn(move || {
        let _ = goes.recv_timeout(MS(50));
        late.stop();
    });
    main_loop().run().unwrap();
    assert!(start.elapsed() >= MS(50), "and obeyed once");
    drop(go);
    thread.join().unwrap();
}

// --- Work

thread_local! {
    static NUMBERS: Channel<u32> = Channel::new();
}

fn send_a_number() {
    NUMBERS.with(Channel::clone).send(7).unwrap();
}

#[test]
fn a_loop_is_not_idle_while_somebody_has_work_for_it() {
    let ran = Arc::new(AtomicUsize::new(0));
    let (work, counts) = (main_loop().remote().work(), ran.clone());
    let thread = thread::spawn(move || {
        for _ in 0..3 {
            thread::sleep(MS(20));
            let counts = counts.clone();
            work.remote()
                .post(move || {
                    counts.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
        }
        let more = work.clone();
        drop(work);
        thread::sleep(MS(20));
        counts.fetch_add(1, Ordering::SeqCst);
        drop(more);
    });
    assert!(!main_loop().is_idle());
    main_loop().run_until_idle().unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 4);
    assert!(main_loop().is_idle());
    thread.join().unwrap();
}

#[test]
fn who_blocks_as_the_last_one_waits_for_who_has_work() {
    let work = main_loop().remote().work();
    let thread = thread::spawn(move || {
        thread::sleep(MS(50));
        work.remote().post(send_a_number).unwrap();
    });
    let numbers = NUMBERS.with(Channel::clone);
    assert_eq!(numbers.receive().unwrap(), 7);
    thread.join().unwrap();
    // And for nobody else.
    let _remote = main_loop().remote();
    assert!(matches!(numbers.receive(), Err(Error::Deadlock)));
    // Work that comes to nothing.
    let work = main_loop().remote().work();
    let thread = thread::spawn(move || {
        thread::sleep(MS(50));
        drop(work);
    });
    assert!(matches!(numbers.receive(), Err(Error::Deadlock)));
    thread.join().unwrap();
}

/// Gives way until `done`, for at most as long as no test takes.
fn give_way_until(done: impl Fn() -> bool + 'static) {
    let start = Instant::now();
    spawn(move || -> hardswitch::Result<()> {
        while !done() {
            assert!(start.elapsed() < LONG, "the others are starved");
            hardswitch::schedule()?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_only_gives_way_keeps_no_sleeper_no_event_and_no_timer_from_running() {
    // By itself, two at once, and while main waits for something else.
    for (others, main_sleeps) in [(0, false), (1, false), (0, true)] {
        let notes = Notes::default();
        let count = notes.clone();
        give_way_until(move || count.all().len() == 3);
        let done = notes.clone();
        for _ in 0..others {
            let done = done.clone();
            give_way_until(move || done.all().len() == 3);
        }
        let slept = notes.clone();
        spawn(move || -> hardswitch::Result<()> {
            sleep(MS(5))?;
            slept.add(1);
            Ok(())
        })
        .unwrap();
        let called = notes.clone();
        hardswitch::timer::call_later(MS(5), move || called.add(2)).unwrap();
        let remote = main_loop().remote();
        thread_local!(static POSTED: RefCell<Option<Notes>> = const { RefCell::new(None) });
        POSTED.set(Some(notes.clone()));
        let other = thread::spawn(move || {
            thread::sleep(MS(5));
            remote
                .post(|| POSTED.with_borrow(|notes| notes.as_ref().unwrap().add(3)))
                .unwrap();
        });
        match main_sleeps {
            true => sleep(MS(200)).unwrap(),
            false => main_loop().run_until_idle().unwrap(),
        }
        other.join().unwrap();
        // Main may have slept long enough before the others have had their turns.
        while notes.all().len() < 3 {
            main_loop().tick().unwrap();
        }
        main_loop().run_until_idle().unwrap();
        POSTED.set(None);
    }
}

#[test]
fn two_that_hand_a_value_to_and_fro_keep_no_sleeper_waiting() {
    let (there, back) = (Channel::new(), Channel::new());
    let over = Rc::new(Cell::new(false));
    let (receiver, answers, done) = (there.clone(), back.clone(), over.clone());
    spawn(move || -> hardswitch::Result<()> {
        while !done.get() {
            answers.send(receiver.receive()?)?;
        }
        Ok(())
    })
    .unwrap();
    let (start, done) = (Instant::now(), over.clone());
    spawn(move || -> hardswitch::Result<()> {
        while !done.get() {
            assert!(start.elapsed() < LONG, "the sleeper is starved");
            there.send(7)?;
            back.receive()?;
        }
        Ok(())
    })
    .unwrap();
    spawn(move || -> hardswitch::Result<()> {
        sleep(MS(5))?;
        over.set(true);
        Ok(())
    })
    .unwrap();
    main_loop().run_until_idle().unwrap();
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_stop_ends_a_loop_in_which_somebody_only_gives_way() {
    let over = Rc::new(Cell::new(false));
    let done = over.clone();
    give_way_until(move || done.get());
    let remote = main_loop().remote();
    let other = thread::spawn(move || {
        thread::sleep(MS(5));
        remote.stop();
    });
    main_loop().run().unwrap();
    other.join().unwrap();
    assert_eq!(hardswitch::run_count(), 2, "it gives way still");
    over.set(true);
    main_loop().run_until_idle().unwrap();
}

#[test]
fn the_loop_cuts_no_run_of_a_tasklet_short() {
    let ended = Rc::new(Cell::new(0));
    let outer = ended.clone();
    spawn(move || -> hardswitch::Result<()> {
        for _ in 0..3 {
            let inner = outer.clone();
            spawn(move || -> hardswitch::Result<()> {
                // Many more turns than the loop lets go by.
                for _ in 0..10_000 {
                    hardswitch::schedule()?;
                }
                inner.set(inner.get() + 1);
                Ok(())
            })
            .unwrap();
        }
        hardswitch::run()?;
        assert_eq!(outer.get(), 3, "`run` comes back when nobody can go on");
        outer.set(10);
        Ok(())
    })
    .unwrap();
    main_loop().run_until_idle().unwrap();
    assert_eq!(ended.get(), 10);
}

#[test]
fn an_uncaught_error_comes_out_of_the_loop_that_a_tasklet_runs() {
    let got = Rc::new(Cell::new(false));
    let (notes, done) = (got.clone(), got.clone());
    spawn(move || {
        spawn(|| -> hardswitch::Result<()> {
            for _ in 0..1000 {
                hardswitch::schedule()?;
            }
            Err(Error::WouldBlock)
        })
        .unwrap();
        let ran = main_loop().run_until_idle();
        notes.set(matches!(ran, Err(Error::WouldBlock)));
    })
    .unwrap();
    hardswitch::run().unwrap();
    assert!(done.get());
}

#[test]
fn a_stop_ends_the_inner_loops_and_the_outer_one() {
    let inner = Rc::new(Cell::new(false));
    let ended = inner.clone();
    spawn(move || -> hardswitch::Result<()> {
        main_loop().run()?;
        ended.set(true);
        Ok(())
    })
    .unwrap();
    let remote = main_loop().remote();
    let other = thread::spawn(move || {
        thread::sleep(MS(10));
        remote.stop();
    });
    main_loop().run().unwrap();
    other.join().unwrap();
    while !inner.get() {
        main_loop().tick().unwrap();
    }
    // And it is used up.
    spawn(|| sleep(MS(5))).unwrap();
    main_loop().run_until_idle().unwrap();
    assert!(main_loop().is_idle());
}

#[test]
fn the_pump_of_a_tick_is_part_of_its_budget() {
    let turns = Rc::new(Cell::new(0));
    for _ in 0..5 {
        let turns = turns.clone();
        spawn(move || turns.set(turns.get() + 1)).unwrap();
    }
    hardswitch::timer::call_later(Duration::ZERO, || thread::sleep(MS(300))).unwrap();
    assert!(!main_loop().tick_for(MS(250)).unwrap());
    assert_eq!(turns.get(), 1, "a tick gets on, and no more");
    main_loop().tick().unwrap();
    assert_eq!(turns.get(), 5);
}

#[test]
fn the_budget_of_a_tick_is_time_of_the_hosts_clock_alone() {
    // It stands still.
    hardswitch::time::set_clock(Some(|| 7));
    let turns = Rc::new(Cell::new(0));
    for _ in 0..5 {
        let turns = turns.clone();
        spawn(move || turns.set(turns.get() + 1)).unwrap();
    }
    hardswitch::timer::call_later(Duration::ZERO, || thread::sleep(MS(5))).unwrap();
    assert!(main_loop().tick_for(MS(1)).unwrap());
    assert_eq!(turns.get(), 5);
}
