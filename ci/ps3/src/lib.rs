//! A console program in small: tasklets and channels without std, in memory that the host hands in.
#![no_std]
extern crate alloc;

use alloc::rc::Rc;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, RefCell};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use hardswitch::{time, Channel, Error, Settings, StateError, Tasklet};

/// Nanoseconds.
static CLOCK: AtomicU64 = AtomicU64::new(0);

extern "C" {
    fn report(promise: *const u8, length: usize, kept: i32);
    fn hsw_host_fatal(text: *const u8, length: usize) -> !;
    fn aligned_alloc(alignment: usize, size: usize) -> *mut u8;
    fn free(memory: *mut u8);
}

struct HostMemory;

// SAFETY: C11's aligned_alloc and free; the size is made a multiple of the alignment, as they ask.
unsafe impl GlobalAlloc for HostMemory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let layout = layout.align_to(16).unwrap_or(layout).pad_to_align();
        aligned_alloc(layout.align(), layout.size())
    }
    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        free(memory);
    }
}

#[global_allocator]
static MEMORY: HostMemory = HostMemory;

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    const TEXT: &str = "panic in the console program";
    // SAFETY: the address and length of a string.
    unsafe { hsw_host_fatal(TEXT.as_ptr(), TEXT.len()) }
}

fn promise(text: &str, kept: bool) {
    // SAFETY: the address and length of a string.
    unsafe { report(text.as_ptr(), text.len(), kept.into()) }
}

/// A tasklet whose stack is sliced.
fn spawn_sliced(body: impl FnOnce() -> Result<(), Error> + 'static) -> Tasklet {
    // SAFETY: the bodies below own what they use; nobody gets an address on their stacks.
    unsafe { Tasklet::builder().sliced() }
        .spawn(body)
        .expect("memory for a tasklet")
}

#[no_mangle]
pub extern "C" fn program() {
    promise(
        "the console's settings apply",
        Settings::console().apply().is_ok(),
    );

    // 500 sliced tasklets wait with something on their stacks; each finds it unchanged when its number comes.
    let numbers = Channel::<u64>::new();
    let sums = Rc::new(Cell::new(0));
    for i in 0..500_u64 {
        let (numbers, sums) = (numbers.clone(), sums.clone());
        spawn_sliced(move || {
            let local = core::hint::black_box([i; 64]);
            let number = numbers.receive()?;
            if local.iter().all(|&word| word == i) {
                sums.set(sums.get() + number);
            }
            Ok(())
        });
    }
    while hardswitch::run_count() > 1 {
        hardswitch::schedule().expect("nobody traps switches");
    }
    promise("500 tasklets wait in one window", numbers.balance() == -500);
    for number in 1..=500 {
        numbers.send(number).expect("somebody receives");
    }
    let _ = hardswitch::run();
    promise(
        "each finds its stack and its number",
        sums.get() == 500 * 501 / 2,
    );

    // Without a clock there are no times; the host's, here one that goes on as it is looked at, says when they are up.
    let never = Channel::<()>::new();
    let no_clock = never.receive_timeout(Duration::from_millis(1));
    promise(
        "there is no clock until the host gives one",
        matches!(no_clock, Err(Error::State(StateError::NoClock))),
    );
    time::set_clock(Some(|| CLOCK.fetch_add(1000, Ordering::Relaxed)));
    let waits = never.clone();
    spawn_sliced(
        move || match waits.receive_timeout(Duration::from_millis(5)) {
            Err(Error::Timeout) => Ok(()),
            other => other,
        },
    );
    let start = CLOCK.load(Ordering::Relaxed);
    let waited = never.receive_timeout(Duration::from_millis(10));
    promise(
        "a wait ends when its time is up, and not before",
        matches!(waited, Err(Error::Timeout))
            && CLOCK.load(Ordering::Relaxed) - start >= 10_000_000,
    );
    promise(
        "and that of a tasklet meanwhile",
        time::timeouts() == 0 && never.balance() == 0 && hardswitch::run().is_ok(),
    );

    // Floating-point values live in registers across switches.
    let (ping, pong) = (Channel::<f64>::new(), Channel::<f64>::new());
    let (theirs, ours) = (ping.clone(), pong.clone());
    spawn_sliced(move || loop {
        let value = theirs.receive()?;
        ours.send(value * 0.5 + 1.0)?;
    });
    let mut value = 1024.0;
    for _ in 0..1000 {
        ping.send(value).expect("the partner receives");
        value = pong.receive().expect("the partner answers");
    }
    promise(
        "a thousand round trips converge to 2",
        (1.999..2.001).contains(&value),
    );

    // A killed tasklet says so, on a stack of its own.
    let last_words = Rc::new(RefCell::new(None));
    let words = last_words.clone();
    let never = Channel::<()>::new();
    let victim = hardswitch::spawn(move || {
        let outcome = never.receive();
        *words.borrow_mut() = Some(matches!(outcome, Err(Error::Exit)));
        outcome
    })
    .expect("memory for a stack");
    hardswitch::schedule().expect("nobody traps switches");
    victim.kill().expect("it can be killed");
    promise(
        "a killed tasklet gets Exit",
        *last_words.borrow() == Some(true),
    );
    promise("and is dead then", !victim.is_alive());
}
