//! The bug of "Killing a Stackless bug", as a test that can fail.
//!
//! The story: a download on worker threads, its chunks sent between threads and tasklets over
//! channels, on a machine whose stacks are small, so that they spill early. Now and then a chunk
//! turned into `None`: it lay in the receiver's transfer slot while the switch was being cleaned up
//! after, the last reference to some other tasklet went, its destructors ran, and they spilled or
//! used channels themselves.
//!
//! Here the chunks take the same way, and thousands of tasklets end on it, each with a destructor
//! that sends, receives, spills and spawns:
//!
//! ```text
//!   worker thread        thread "net", console limits        thread "game", console limits
//!   make(chunk) ─► offload::call ─► downloader ─► thread::Channel ─► unpacker
//!                                          ─► Channel ─► reader: in order? checksum?
//!                        doomed tasklets end and die all the time,
//!                        each in the middle of somebody's switch
//! ```
//!
//! `RUSTFLAGS="--cfg hsw_bug_late_claim"` and `"--cfg hsw_bug_spill_clobber"` put the historical
//! mistakes back; the test must fail with either. The number of values: `HSW_SEED_VALUES`.

mod common;

use common::has_slices;
use hardswitch::offload::{self, Pool};
use hardswitch::thread::Channel as ThreadChannel;
use hardswitch::{spill, Channel, Error, MainLoop, Preference, Result, Settings, Tasklet};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Values in a chunk.
const CHUNK: u64 = 50;

fn values() -> u64 {
    let default: u64 = if cfg!(target_arch = "x86_64") {
        100_000
    } else {
        2_000
    };
    std::env::var("HSW_SEED_VALUES")
        .map_or(default, |text| text.parse().expect("HSW_SEED_VALUES"))
        .next_multiple_of(CHUNK)
}

/// What is downloaded: it knows what it should be, and it is counted.
struct Value {
    number: u64,
    text: String,
    checksum: u64,
    alive: Arc<AtomicI64>,
}

fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Value {
    fn new(number: u64, alive: &Arc<AtomicI64>) -> Value {
        let text = format!("value {number} of a long download");
        alive.fetch_add(1, Ordering::Relaxed);
        Value {
            number,
            checksum: checksum(&text),
            text,
            alive: alive.clone(),
        }
    }

    fn check(&self, number: u64) {
        assert_eq!(self.number, number, "a value is missing, or came twice");
        assert_eq!(self.checksum, checksum(&self.text), "value {number}");
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The console's, at the lowest watermark: every `spill::call` of a sliced tasklet spills. But
/// larger stacks where all tasklets have their own, as under AddressSanitizer, whose code needs
/// more.
fn limits() -> Settings {
    let console = Settings::console();
    let stack_size = if has_slices() {
        console.stack_size
    } else {
        512 * 1024
    };
    Settings {
        stack_size,
        watermark: 0,
        ..console
    }
}

fn sliced(f: impl FnOnce() -> Result<()> + 'static) -> Result<Tasklet> {
    // SAFETY: nothing on these tasklets' stacks is lent to anybody.
    unsafe { Tasklet::builder().sliced() }.spawn(f)
}

/// Recurses through the watermark, and beyond it.
fn deep(n: u32) -> Result<u32> {
    let local = std::hint::black_box([n; 128]);
    if n == 0 {
        return Ok(0);
    }
    let below = spill::call(move || deep(n - 1))??;
    assert_eq!(local, [n; 128]);
    Ok(below + 1)
}

const DEPTH: u32 = 14;

/// What a doomed tasklet leaves behind; its destructor does what destructors did then, on the stack
/// of whoever is running.
struct Doomed {
    life: Rc<Life>,
    spawns: bool,
}

#[derive(Default)]
struct Life {
    destructors: Cell<u64>,
    spills: Cell<u64>,
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let life = self.life.clone();
        life.destructors.set(life.destructors.get() + 1);
        let copied = hardswitch::stats().copied_bytes;
        // Spills when it runs on a sliced tasklet.
        match deep(DEPTH) {
            Ok(depth) => assert_eq!(depth, DEPTH),
            Err(error) => panic!("a spill failed: {error}"),
        }
        if hardswitch::stats().copied_bytes > copied {
            life.spills.set(life.spills.get() + 1);
        }
        if !self.spawns {
            return;
        }
        // Sends and receives, through a tasklet that it spawns, and that ends with something like
        // itself.
        let echo = Channel::<u64>::new();
        let theirs = echo.clone();
        let next = Doomed {
            life,
            spawns: false,
        };
        let partner = sliced(move || {
            let _doomed = next;
            let n = theirs.receive()?;
            theirs.send(n + 1)
        });
        let Ok(partner) = partner else {
            panic!("no tasklet for a destructor");
        };
        let answer = echo.send(41).and_then(|()| echo.receive());
        if answer.is_err() {
            // Killed in between: nobody else would ever end it.
            let _ = partner.kill();
        }
        match answer {
            Ok(n) => assert_eq!(n, 42, "the destructor's own value"),
            // Who is killed for good while it waits here is told again.
            Err(Error::Exit | Error::SwitchTrap) => {}
            Err(error) => panic!("in a destructor: {error}"),
        }
    }
}

/// Makes a tasklet that is about to end, and whose end runs a destructor: right behind the caller
/// in the run queue, so that it ends when the caller gives way, in front of whoever has just been
/// sent something.
fn doom(life: &Rc<Life>, i: u64) -> Result<()> {
    let doomed = Doomed {
        life: life.clone(),
        spawns: i.is_multiple_of(2),
    };
    match i % 3 {
        // What hangs on the tasklet itself: goes with its last reference, which the switch from it
        // leaves behind.
        0 => {
            let ends = sliced(|| Ok(()))?;
            ends.set_user_data(Some(Rc::new(doomed)));
        }
        // Paused and forgotten: whoever comes next finds that nobody refers to it, and kills it.
        1 => {
            sliced(move || {
                let _doomed = doomed;
                hardswitch::schedule_remove()
            })?;
        }
        // Refers to another one, which never ran, and whose function is dropped with it.
        _ => {
            let never = Tasklet::new()?;
            never.bind(move || drop(doomed))?;
            let ends = sliced(|| Ok(()))?;
            ends.set_user_data(Some(Rc::new(never)));
        }
    }
    Ok(())
}

#[test]
fn every_value_of_a_long_download_arrives_once_in_order_with_its_checksum() {
    let total = values();
    let alive = Arc::new(AtomicI64::new(0));
    let asked = Arc::new(AtomicU64::new(0));
    let between = ThreadChannel::<Vec<Value>>::new();
    let start = Instant::now();

    let (out, counted, calls) = (between.clone(), alive.clone(), asked.clone());
    let net = thread::spawn(move || {
        limits().apply().unwrap();
        let life = Rc::new(Life::default());
        let lives = life.clone();
        let pool = Pool::new(offload::Settings::console()).unwrap();
        sliced(move || {
            for chunk in 0..total / CHUNK {
                let (counted, calls) = (counted.clone(), calls.clone());
                let fetch = move || {
                    calls.fetch_add(1, Ordering::Relaxed);
                    let numbers = chunk * CHUNK..(chunk + 1) * CHUNK;
                    numbers.map(|i| Value::new(i, &counted)).collect()
                };
                let values: Vec<Value> = pool.call(fetch)?;
                doom(&lives, chunk)?;
                out.send(values)?;
            }
            out.close();
            // The one that is waiting already has to be told.
            match out.try_send(vec![]) {
                Ok(()) | Err((Error::Closed | Error::WouldBlock, _)) => Ok(()),
                Err((error, _)) => Err(error),
            }
        })
        .unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
        (life.destructors.get(), life.spills.get())
    });

    let game = thread::spawn(move || {
        limits().apply().unwrap();
        let life = Rc::new(Life::default());
        let unpacked = Channel::<Value>::new();
        // The receiver is queued with the value in its slot; it runs when those in front of it
        // have.
        unpacked.set_preference(Preference::Sender);
        let (single, lives) = (unpacked.clone(), life.clone());
        sliced(move || {
            let mut number = 0;
            while let Some(values) = between.next() {
                for value in values? {
                    if value.number.is_multiple_of(7) {
                        doom(&lives, value.number)?;
                    }
                    value.check(number);
                    number += 1;
                    single.send(value)?;
                }
            }
            single.close();
            Ok(())
        })
        .unwrap();
        let (seen, lives) = (Rc::new(Cell::new(0)), life.clone());
        let count = seen.clone();
        sliced(move || {
            // Wherever it is received, the stack is deep or not.
            while count.get() < total {
                let number = count.get();
                let value = if number.is_multiple_of(5) {
                    let channel = unpacked.clone();
                    at_depth(6, channel)?
                } else {
                    unpacked.receive()?
                };
                value.check(number);
                count.set(number + 1);
                if number.is_multiple_of(11) {
                    doom(&lives, number)?;
                }
            }
            Ok(())
        })
        .unwrap();
        MainLoop::current().unwrap().run_until_idle().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(seen.get(), total, "values that arrived");
        let stats = hardswitch::stats();
        assert_eq!((stats.tasklets, stats.slice_bytes), (1, 0), "left over");
        (life.destructors.get(), life.spills.get())
    });

    let net = net.join().expect("the network's thread");
    let game = game.join().expect("the game's thread");
    assert_eq!(
        alive.load(Ordering::SeqCst),
        0,
        "values that nobody dropped"
    );
    assert_eq!(asked.load(Ordering::SeqCst), total / CHUNK, "calls");
    println!(
        "{total} values in {:.1} s; (destructors, spills among them): network {net:?}, game {game:?}",
        start.elapsed().as_secs_f64()
    );
    // The test is one only if what it is about has happened.
    assert!(game.0 > total / 10, "{game:?}");
    assert!(game.1 > total / 20 || !has_slices(), "{game:?}");
}

/// Receives below frames that are spilled.
fn at_depth(n: u32, channel: Channel<Value>) -> Result<Value> {
    let local = std::hint::black_box([n; 128]);
    let value = if n == 0 {
        channel.receive()?
    } else {
        spill::call(move || at_depth(n - 1, channel))??
    };
    assert_eq!(local, [n; 128]);
    Ok(value)
}
