//! Tasklets that wait in every way there is, for debuggers to look at:
//! `ci/gdb -x gdb/hardswitch.py -ex 'break hsw_stop_here' -ex continue PROGRAM`.
//! With the argument `dump` it lists them itself; with `abort` it leaves a core;
//! with `two` there is another thread that has tasklets.

use std::hint::black_box;

use hardswitch::{spill, Builder, Channel, Result, Settings, Tasklet};

#[inline(never)]
fn outer(n: u32, wait: &Channel<()>) -> Result<u32> {
    let result = inner(black_box(n + 1), wait)?;
    Ok(black_box(result) + 1)
}

#[inline(never)]
fn inner(n: u32, wait: &Channel<()>) -> Result<u32> {
    wait.receive()?;
    Ok(black_box(n) + 1)
}

#[inline(never)]
fn spilling(n: u32, wait: Channel<()>) -> Result<u32> {
    let local = black_box([n; 400]);
    if n == 0 {
        return outer(1, &wait);
    }
    let result = spill::call(move || spilling(n - 1, wait))??;
    Ok(result + black_box(local)[0])
}

#[inline(never)]
fn growing(n: u32, wait: &Channel<()>) -> Result<u32> {
    let local = black_box([n; 400]);
    if n == 0 {
        return outer(1, wait);
    }
    let result = spill::grow(|| growing(n - 1, wait))??;
    Ok(result + black_box(local)[0])
}

const WAITS: usize = 3;

/// Waits with so many bytes more on its stack, a few times.
#[inline(never)]
fn sized<const N: usize>(wait: &Channel<()>) -> Result<()> {
    let local = black_box([1_u8; N]);
    for _ in 0..WAITS {
        wait.receive()?;
    }
    black_box(local);
    Ok(())
}

type Waits = fn(&Channel<()>) -> Result<()>;

/// Tasklets with slices of many sizes change places in the window.
fn sizes() -> Result<()> {
    let wait = Channel::new();
    let functions: [Waits; 16] = [
        sized::<0>,
        sized::<8>,
        sized::<16>,
        sized::<24>,
        sized::<32>,
        sized::<40>,
        sized::<56>,
        sized::<72>,
        sized::<88>,
        sized::<104>,
        sized::<120>,
        sized::<136>,
        sized::<200>,
        sized::<500>,
        sized::<1000>,
        sized::<3000>,
    ];
    for function in functions {
        let wait = wait.clone();
        sliced("of a size").spawn(move || function(&wait))?;
    }
    hardswitch::run()?;
    for _ in 0..WAITS * functions.len() {
        wait.send(())?;
    }
    hardswitch::run()
}

/// Where the test of the gdb script stops.
#[no_mangle]
#[inline(never)]
pub extern "C" fn hsw_stop_here() {
    black_box(());
}

fn asked_for(what: &str) -> bool {
    std::env::args().nth(1).as_deref() == Some(what)
}

#[inline(never)]
fn stopping() -> Result<()> {
    hsw_stop_here();
    if asked_for("abort") {
        std::process::abort();
    }
    black_box(());
    Ok(())
}

/// Runs for as long as the process does.
#[inline(never)]
fn elsewhere(here: &std::sync::mpsc::Sender<()>) {
    let _ = here.send(());
    loop {
        std::thread::park();
        black_box(());
    }
}

/// Another thread with an "own", and with one that runs.
fn second_thread() {
    let (here, is_there) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let wait = Channel::new();
        own("own").spawn(move || outer(1, &wait).map(drop))?;
        own("elsewhere").spawn(move || elsewhere(&here))?;
        hardswitch::run()
    });
    let _ = is_there.recv();
}

fn own(name: &str) -> Builder {
    Tasklet::builder().name(name)
}

fn sliced(name: &str) -> Builder {
    // SAFETY: nothing here lends a local to another tasklet.
    unsafe { own(name).sliced() }
}

fn main() -> Result<()> {
    Settings {
        windows: 1,
        watermark: 4 * 1024,
        ..Settings::desktop()
    }
    .apply()?;
    if asked_for("two") {
        second_thread();
    }
    let wait = Channel::new();
    let blocked = |builder: Builder| {
        let wait = wait.clone();
        builder.spawn(move || outer(1, &wait).map(drop))
    };
    blocked(own("own"))?;
    blocked(sliced("first slice"))?;
    let of_it = wait.clone();
    sliced("spilled").spawn(move || spilling(10, of_it).map(drop))?;
    let of_it = wait.clone();
    sliced("segment").spawn(move || growing(10, &of_it).map(drop))?;
    let newborn = sliced("newborn").bind(|| ())?;
    blocked(sliced("resident"))?;
    hardswitch::run()?;
    sliced("stops").spawn(stopping)?;
    hardswitch::run()?;
    if asked_for("dump") {
        let mut text = String::new();
        // A `String` takes it all.
        let _ = hardswitch::dump_tasklets(&mut text, true);
        print!("{text}");
        sizes()?;
    }
    for _ in 0..5 {
        wait.send(())?;
    }
    drop(newborn);
    hardswitch::run()?;
    println!("all ended, {} left", hardswitch::stats().tasklets);
    Ok(())
}
