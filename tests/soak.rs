//! Soak: threads come and go, each with many tasklets, all of which send and receive on random channels between them, and are killed at random.
//! No value is lost or comes twice, nothing leaks, nothing hangs.
//!
//! A few seconds; `HSW_SOAK_SECONDS` makes it longer, `HSW_SOAK_THREADS` and `HSW_SOAK_TASKLETS` larger.

use hardswitch::thread::Channel;
use hardswitch::{spawn, Error, MainLoop};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

const NATIVE: bool = cfg!(target_arch = "x86_64");

/// A value that is counted, and that knows whether it has been received already.
struct Parcel {
    received: AtomicBool,
    books: Arc<Books>,
}

#[derive(Default)]
struct Books {
    alive: AtomicI64,
    /// Sends that returned Ok, and values that came out of a receive.
    sent: AtomicU64,
    received: AtomicU64,
    /// Operations that somebody's kill or timeout ended: their value may have arrived or not.
    cut_short: AtomicU64,
    stop: AtomicBool,
}

impl Parcel {
    fn new(books: &Arc<Books>) -> Parcel {
        books.alive.fetch_add(1, Ordering::Relaxed);
        Parcel {
            received: AtomicBool::new(false),
            books: books.clone(),
        }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.books.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A tasklet's life: so many operations, none of which waits for ever.
fn live(seed: u64, channels: &[Channel<Parcel>], books: &Arc<Books>) -> hardswitch::Result<()> {
    let mut random = Random(seed | 1);
    for _ in 0..20 + random.below(50) {
        if books.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let channel = &channels[random.below(channels.len() as u64) as usize];
        let patience = Duration::from_millis(5 + random.below(20));
        let sends = random.below(2) == 0;
        let outcome = if sends {
            let result = channel.send_timeout(Parcel::new(books), patience);
            result.map_err(|(error, _)| error).map(|()| None)
        } else {
            channel.receive_timeout(patience).map(Some)
        };
        match outcome {
            Ok(None) => {
                books.sent.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Some(parcel)) => {
                assert!(!parcel.received.swap(true, Ordering::Relaxed), "twice");
                books.received.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Timeout) => {}
            Err(error) => {
                books.cut_short.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
        }
        if random.below(8) == 0 {
            hardswitch::schedule()?;
        }
    }
    Ok(())
}

/// A thread's life: tasklets, some of which are killed; sometimes it ends before they do.
fn thread_life(seed: u64, tasklets: u64, channels: &[Channel<Parcel>], books: &Arc<Books>) {
    let mut random = Random(seed | 1);
    let main_loop = MainLoop::current().unwrap();
    let all: Vec<_> = (0..tasklets)
        .map(|_| {
            let (seed, channels, books) =
                (random.below(u64::MAX), channels.to_vec(), books.clone());
            spawn(move || live(seed, &channels, &books)).unwrap()
        })
        .collect();
    for _ in 0..10 {
        main_loop.tick().unwrap();
        let victim = &all[random.below(all.len() as u64) as usize];
        victim.kill().unwrap();
        thread::yield_now();
    }
    if random.below(3) > 0 {
        main_loop.run_until_idle().unwrap();
    }
    // Else the thread ends with them waiting.
}

#[test]
fn threads_and_tasklets_come_and_go_and_nothing_is_lost() {
    let time = Duration::from_secs(setting("HSW_SOAK_SECONDS", if NATIVE { 3 } else { 2 }));
    let threads = setting("HSW_SOAK_THREADS", if NATIVE { 8 } else { 3 });
    let tasklets = setting("HSW_SOAK_TASKLETS", if NATIVE { 100 } else { 15 });
    let books = Arc::new(Books::default());
    let channels: Vec<_> = (0..7).map(|_| Channel::new()).collect();
    let lives = AtomicU64::new(0);
    let (start, seeds) = (Instant::now(), Mutex::new(Random(0x5eed_5eed)));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while start.elapsed() < time {
                    let seed = seeds.lock().unwrap().below(u64::MAX);
                    let (channels, books) = (channels.clone(), books.clone());
                    thread::spawn(move || thread_life(seed, tasklets, &channels, &books))
                        .join()
                        .unwrap();
                    lives.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    books.stop.store(true, Ordering::Relaxed);
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let (sent, received, cut) = (
        count(&books.sent),
        count(&books.received),
        count(&books.cut_short),
    );
    println!(
        "{} threads lived; {sent} values sent, {received} received, {cut} operations cut short",
        count(&lives)
    );
    for channel in &channels {
        assert_eq!(channel.balance(), 0, "somebody is left in a channel");
    }
    assert_eq!(books.alive.load(Ordering::SeqCst), 0, "values that leaked");
    // A value handed over to who is killed before it can count it is one that the sender has counted, and the other way round: no other
    // difference may be.
    assert!(sent.abs_diff(received) <= cut, "lost or doubled");
    assert!(received > 100, "nothing happened");
    assert!(
        hardswitch::thread::threads().is_empty(),
        "threads are left over"
    );
}
