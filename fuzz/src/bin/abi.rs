//! Random programs over the C interface, on one to four threads: every function of the header, called by tasklets, and by whatever the library calls: destructors,
//! callbacks, timers, events.
//!
//! What is checked, besides that nothing crashes or hangs: each value, argument, result and payload is a *token*, which ends exactly once: received, given back by a status, or
//! destroyed by the library, as the header says of each call. None is left when all threads have ended, and no handle.
//!
//! Every fourth seed is a program of one thread that does the same each time: it has no wall time in it. `FUZZ_TRACE=1` prints each call.

use std::cell::Cell;
use std::ffi::{c_char, c_void, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fuzz::hsw::*;
use fuzz::Rng;

/// After this, waits that may last for ever are ended, one after the other.
const PROGRAM: Duration = Duration::from_millis(10);

// ------------------------------------------------------------------------------------------------ tokens

/// What is known of a token: who made it, and whether it has ended.
static TOKENS: [AtomicU32; 1 << 16] = [const { AtomicU32::new(0) }; 1 << 16];
static MADE: AtomicUsize = AtomicUsize::new(0);
const OUT: u32 = 1 << 31;
const ENDED: u32 = 1 << 30;

/// Something to be handed to the library.
fn token() -> *mut c_void {
    let maker = with(|w| w.op).unwrap_or(0) as u32;
    let number = MADE.fetch_add(1, SeqCst);
    let token = TOKENS.get(number).expect("fewer tokens");
    token.store(OUT | maker, SeqCst);
    note("token", token);
    token.as_ptr().cast()
}

/// A line of the trace.
fn note(what: &str, token: &AtomicU32) {
    if TRACE.load(SeqCst) {
        let at = token.as_ptr() as usize - TOKENS.as_ptr() as usize;
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a worker");
        eprintln!("{name}: {what} {}", at / size_of::<AtomicU32>());
    }
}

fn find(token: *mut c_void) -> &'static AtomicU32 {
    let at = (token as usize).wrapping_sub(TOKENS.as_ptr() as usize);
    let (number, rest) = (at / size_of::<AtomicU32>(), at % size_of::<AtomicU32>());
    assert!(
        rest == 0 && number < MADE.load(SeqCst),
        "{token:?} is no token"
    );
    &TOKENS[number]
}

/// It has come to where it ends. Not twice.
fn end(token: *mut c_void) {
    note("end of token", find(token));
    let before = find(token).fetch_xor(OUT | ENDED, SeqCst);
    assert_eq!(
        before & (OUT | ENDED),
        OUT,
        "a token of '{}' ends twice",
        maker(before)
    );
}

fn is_out(token: *mut c_void) -> bool {
    find(token).load(SeqCst) & OUT != 0
}

/// Lent by the library: so it may not have ended.
fn is_lent(token: *mut c_void) {
    assert!(
        token.is_null() || is_out(token),
        "a token of '{}' that is lent has ended",
        maker(find(token).load(SeqCst))
    );
}

fn maker(token: u32) -> &'static str {
    OPS.get((token & 0xffff) as usize).map_or("?", |op| op.0)
}

/// Received from the library, which gives what was handed to it.
fn received(token: *mut c_void) {
    if !token.is_null() {
        end(token);
    }
}

/// After a call that sends it: it is the library's also when that fails; but nothing changes by a mistake.
fn sent(status: i32, token: *mut c_void) -> i32 {
    if status >= HSW_ERR_NULL {
        end(token);
    }
    status
}

/// After a call that gives the token back when the time was over, or nobody was there.
fn timed(status: i32, token: *mut c_void) -> i32 {
    if status == HSW_ERR_TIMEOUT || status == HSW_ERR_WOULD_BLOCK {
        end(token);
        return status;
    }
    sent(status, token)
}

unsafe extern "C" fn destroy(data: *mut c_void) {
    // A result may be null, and is freed all the same.
    received(data);
    foreign();
}

// ------------------------------------------------------------------------------------------------- world

#[derive(Clone, Copy, PartialEq, Debug)]
enum K {
    Tasklet,
    Channel,
    Queue,
    Join,
    Clock,
    Timer,
    Socket,
    Dict,
    RecordType,
    Record,
    HttpAnswer,
    // From here on any thread may use them.
    ThreadChannel,
    Remote,
    Loop,
    Work,
    Pool,
    Lock,
    Rlock,
    Semaphore,
    Condition,
    Event,
    Barrier,
    SyncQueue,
    HostLock,
    Local,
    HttpClient,
}
use K::*;

const ALL: [K; 26] = [
    Tasklet,
    Channel,
    Queue,
    Join,
    Clock,
    Timer,
    Socket,
    Dict,
    RecordType,
    Record,
    HttpAnswer,
    ThreadChannel,
    Remote,
    Loop,
    Work,
    Pool,
    Lock,
    Rlock,
    Semaphore,
    Condition,
    Event,
    Barrier,
    SyncQueue,
    HostLock,
    Local,
    HttpClient,
];
const OWN: usize = 11;
/// Handles of a kind that a thread keeps.
const KEPT: usize = 8;

/// What a thread of the program has. It is looked at in `with` alone, which calls nobody.
struct World {
    rng: Rng,
    handles: [Vec<u64>; ALL.len()],
    stale: Vec<u64>,
    ports: Vec<u16>,
    /// Which operation is under way.
    op: usize,
    /// How many operations are to come.
    fuel: usize,
    /// How deep operations lie in what the library has called.
    depth: usize,
    /// Wall time, other threads and sockets are used.
    wall: bool,
    now: u64,
    /// Where its loop is known, and at which place.
    stop: (Arc<Stop>, usize),
}

thread_local! {
    static WORLD: Cell<*mut World> = const { Cell::new(null_mut()) };
}

/// None on a thread that is not one of the program's: a worker of a pool.
fn with<R>(look: impl FnOnce(&mut World) -> R) -> Option<R> {
    let world = WORLD.get();
    // SAFETY: the thread's own, and `look` neither comes here again nor calls the library, so nobody else has it meanwhile.
    (!world.is_null()).then(|| look(unsafe { &mut *world }))
}

fn below(bound: usize) -> usize {
    with(|w| w.rng.below(bound)).unwrap_or(0)
}

fn one_in(n: usize) -> bool {
    below(n) == 0
}

fn coin() -> bool {
    below(2) == 0
}

fn wall() -> bool {
    with(|w| w.wall).unwrap_or(false)
}

fn has_fuel() -> bool {
    with(|w| w.fuel > 0).unwrap_or(false)
}

/// A handle of the kind; now and then one that is not good. None: there is none yet.
fn pick(kind: K) -> Option<u64> {
    with(|w| {
        if w.rng.one_in(60) {
            return match w.rng.below(4) {
                0 => Some(0),
                1 => Some(w.rng.number()),
                2 => w.stale.get(w.rng.below(w.stale.len().max(1))).copied(),
                _ => w.handles[w.rng.below(ALL.len())].first().copied(),
            };
        }
        let handles = &w.handles[kind as usize];
        let at = w.rng.below(handles.len().max(1));
        handles.get(at).copied()
    })
    .flatten()
}

/// Owns a handle that a call has given.
fn keep(kind: K, handle: u64) {
    if handle == 0 {
        return;
    }
    let over = with(|w| {
        let handles = &mut w.handles[kind as usize];
        handles.push(handle);
        (handles.len() > KEPT).then(|| handles.swap_remove(w.rng.below(KEPT)))
    });
    match over {
        Some(Some(over)) => let_go(kind, over),
        Some(None) => {}
        None => assert_eq!(release(kind, handle), HSW_OK),
    }
}

/// Gives a handle back that is the thread's.
fn let_go(kind: K, handle: u64) {
    with(|w| {
        if w.stale.len() < 64 {
            w.stale.push(handle);
        }
    });
    let status = release(kind, handle);
    // The handles of a thread are stale when it has ended its part, which a destructor may see.
    let gone = [HSW_ERR_STALE, HSW_ERR_WRONG_THREAD, HSW_ERR_THREAD_ENDING];
    assert!(
        status == HSW_OK || ((kind as usize) < OWN && gone.contains(&status)),
        "{status}: a handle of a {kind:?} cannot be given back: {}",
        words()
    );
}

fn words() -> String {
    // SAFETY: never null; copied at once.
    let words = unsafe { std::ffi::CStr::from_ptr(hsw_last_error_message()) };
    words.to_string_lossy().into_owned()
}

macro_rules! by_kind {
    ($kind:expr, $handle:expr, $call:ident) => {
        // SAFETY: plain calls with handles.
        unsafe {
            let handle = $handle;
            match $kind {
                Tasklet => $call!(hsw_tasklet, handle),
                Channel => $call!(hsw_channel, handle),
                Queue => $call!(hsw_queue, handle),
                Join => $call!(hsw_join, handle),
                Clock => $call!(hsw_timer_clock, handle),
                Timer => $call!(hsw_timer, handle),
                Socket => $call!(hsw_socket, handle),
                Dict => $call!(hsw_dict, handle),
                RecordType => $call!(hsw_record_type, handle),
                Record => $call!(hsw_record, handle),
                ThreadChannel => $call!(hsw_thread_channel, handle),
                Remote => $call!(hsw_remote, handle),
                Loop => $call!(hsw_loop, handle),
                Work => $call!(hsw_work, handle),
                Pool => $call!(hsw_pool, handle),
                Lock => $call!(hsw_lock, handle),
                Rlock => $call!(hsw_rlock, handle),
                Semaphore => $call!(hsw_semaphore, handle),
                Condition => $call!(hsw_condition, handle),
                Event => $call!(hsw_event, handle),
                Barrier => $call!(hsw_barrier, handle),
                SyncQueue => $call!(hsw_sync_queue, handle),
                HostLock => $call!(hsw_host_lock, handle),
                Local => $call!(hsw_local, handle),
                HttpAnswer => $call!(hsw_http_answer, handle),
                HttpClient => $call!(hsw_http_client, handle),
            }
        }
    };
}

fn release(kind: K, handle: u64) -> i32 {
    macro_rules! give_back {
        (hsw_tasklet, $h:ident) => {
            hsw_tasklet_release(hsw_tasklet { handle: $h })
        };
        (hsw_channel, $h:ident) => {
            hsw_channel_release(hsw_channel { handle: $h })
        };
        (hsw_queue, $h:ident) => {
            hsw_queue_release(hsw_queue { handle: $h })
        };
        (hsw_join, $h:ident) => {
            hsw_join_release(hsw_join { handle: $h })
        };
        (hsw_timer_clock, $h:ident) => {
            hsw_timer_clock_release(hsw_timer_clock { handle: $h })
        };
        (hsw_timer, $h:ident) => {
            hsw_timer_release(hsw_timer { handle: $h })
        };
        (hsw_socket, $h:ident) => {
            hsw_socket_release(hsw_socket { handle: $h })
        };
        (hsw_dict, $h:ident) => {
            hsw_dict_release(hsw_dict { handle: $h })
        };
        (hsw_record_type, $h:ident) => {
            hsw_record_type_release(hsw_record_type { handle: $h })
        };
        (hsw_record, $h:ident) => {
            hsw_record_release(hsw_record { handle: $h })
        };
        (hsw_thread_channel, $h:ident) => {
            hsw_thread_channel_release(hsw_thread_channel { handle: $h })
        };
        (hsw_remote, $h:ident) => {
            hsw_remote_release(hsw_remote { handle: $h })
        };
        (hsw_loop, $h:ident) => {
            hsw_loop_release(hsw_loop { handle: $h })
        };
        (hsw_work, $h:ident) => {
            hsw_work_release(hsw_work { handle: $h })
        };
        (hsw_pool, $h:ident) => {
            hsw_pool_release(hsw_pool { handle: $h })
        };
        (hsw_lock, $h:ident) => {
            hsw_lock_release(hsw_lock { handle: $h })
        };
        (hsw_rlock, $h:ident) => {
            hsw_rlock_release(hsw_rlock { handle: $h })
        };
        (hsw_semaphore, $h:ident) => {
            hsw_semaphore_release(hsw_semaphore { handle: $h })
        };
        (hsw_condition, $h:ident) => {
            hsw_condition_release(hsw_condition { handle: $h })
        };
        (hsw_event, $h:ident) => {
            hsw_event_release(hsw_event { handle: $h })
        };
        (hsw_barrier, $h:ident) => {
            hsw_barrier_release(hsw_barrier { handle: $h })
        };
        (hsw_sync_queue, $h:ident) => {
            hsw_sync_queue_release(hsw_sync_queue { handle: $h })
        };
        (hsw_host_lock, $h:ident) => {
            hsw_host_lock_release(hsw_host_lock { handle: $h })
        };
        (hsw_local, $h:ident) => {
            hsw_local_release(hsw_local { handle: $h })
        };
        (hsw_http_answer, $h:ident) => {
            hsw_http_answer_release(hsw_http_answer { handle: $h })
        };
        (hsw_http_client, $h:ident) => {
            hsw_http_client_release(hsw_http_client { handle: $h })
        };
    }
    by_kind!(kind, handle, give_back)
}

/// Another handle of the same object, which is the caller's; 0: it failed.
fn retained(kind: K, handle: u64) -> u64 {
    let mut other = 0;
    macro_rules! retain {
        (hsw_tasklet, $h:ident) => {
            one!(hsw_tasklet, hsw_tasklet_retain, $h)
        };
        (hsw_channel, $h:ident) => {
            one!(hsw_channel, hsw_channel_retain, $h)
        };
        (hsw_queue, $h:ident) => {
            one!(hsw_queue, hsw_queue_retain, $h)
        };
        (hsw_join, $h:ident) => {
            one!(hsw_join, hsw_join_retain, $h)
        };
        (hsw_timer_clock, $h:ident) => {
            one!(hsw_timer_clock, hsw_timer_clock_retain, $h)
        };
        (hsw_timer, $h:ident) => {
            one!(hsw_timer, hsw_timer_retain, $h)
        };
        (hsw_socket, $h:ident) => {
            one!(hsw_socket, hsw_socket_retain, $h)
        };
        (hsw_dict, $h:ident) => {
            one!(hsw_dict, hsw_dict_retain, $h)
        };
        (hsw_record_type, $h:ident) => {
            one!(hsw_record_type, hsw_record_type_retain, $h)
        };
        (hsw_record, $h:ident) => {
            one!(hsw_record, hsw_record_retain, $h)
        };
        (hsw_thread_channel, $h:ident) => {
            one!(hsw_thread_channel, hsw_thread_channel_retain, $h)
        };
        (hsw_remote, $h:ident) => {
            one!(hsw_remote, hsw_remote_retain, $h)
        };
        (hsw_loop, $h:ident) => {
            one!(hsw_loop, hsw_loop_retain, $h)
        };
        (hsw_work, $h:ident) => {
            one!(hsw_work, hsw_work_retain, $h)
        };
        (hsw_pool, $h:ident) => {
            one!(hsw_pool, hsw_pool_retain, $h)
        };
        (hsw_lock, $h:ident) => {
            one!(hsw_lock, hsw_lock_retain, $h)
        };
        (hsw_rlock, $h:ident) => {
            one!(hsw_rlock, hsw_rlock_retain, $h)
        };
        (hsw_semaphore, $h:ident) => {
            one!(hsw_semaphore, hsw_semaphore_retain, $h)
        };
        (hsw_condition, $h:ident) => {
            one!(hsw_condition, hsw_condition_retain, $h)
        };
        (hsw_event, $h:ident) => {
            one!(hsw_event, hsw_event_retain, $h)
        };
        (hsw_barrier, $h:ident) => {
            one!(hsw_barrier, hsw_barrier_retain, $h)
        };
        (hsw_sync_queue, $h:ident) => {
            one!(hsw_sync_queue, hsw_sync_queue_retain, $h)
        };
        (hsw_host_lock, $h:ident) => {
            one!(hsw_host_lock, hsw_host_lock_retain, $h)
        };
        (hsw_local, $h:ident) => {
            one!(hsw_local, hsw_local_retain, $h)
        };
        (hsw_http_answer, $h:ident) => {
            one!(hsw_http_answer, hsw_http_answer_retain, $h)
        };
        (hsw_http_client, $h:ident) => {
            one!(hsw_http_client, hsw_http_client_retain, $h)
        };
    }
    macro_rules! one {
        ($type:ident, $retain:ident, $h:ident) => {{
            let mut made = $type { handle: 0 };
            if $retain($type { handle: $h }, &mut made) == HSW_OK {
                other = made.handle;
            }
        }};
    }
    by_kind!(kind, handle, retain);
    other
}

/// May the caller wait for as long as it takes? Not in what the library has called: an event, a timer, a destructor that main's pump runs. What is
/// thrown at main is for main's own wait, so nothing would end that one.
///
/// Nor in a program of one thread. It is no deadlock there: others of the process, which do not use the library yet, may still use a handle that nobody has
/// used. So the wall clock would end such a wait, and the program would do something else each time.
fn patient() -> bool {
    with(|w| w.depth == 0 && w.wall).unwrap_or(false)
}

/// Nanoseconds to wait for. Without wall time nothing happens by itself: at once, or never.
fn time() -> u64 {
    match below(16) {
        0 => u64::MAX - 1, // as a negative number
        1 | 2 if patient() => HSW_NO_LIMIT,
        3..=8 => 0,
        _ if wall() => [1_000, 20_000, 300_000][below(3)],
        _ => 0,
    }
}

/// As `time`, by the clock of `hsw_set_clock`, which the program moves.
fn clock_time() -> u64 {
    match below(4) {
        0 if !wall() => [1_000, 50_000][below(2)],
        _ => time(),
    }
}

/// Moves with each look at it.
unsafe extern "C" fn clock() -> u64 {
    with(|w| {
        w.now += 1_000;
        w.now
    })
    .unwrap_or(0)
}

// --------------------------------------------------------------------------- what the library calls

/// In the middle of something: a few operations, now and then.
fn foreign() {
    let goes_on = |w: &mut World| {
        let goes_on = w.depth < 3 && w.fuel > 0 && w.rng.one_in(4);
        w.depth += usize::from(goes_on);
        goes_on
    };
    if with(goes_on) == Some(true) {
        operation();
        if one_in(3) {
            operation();
        }
        with(|w| w.depth -= 1);
    }
}

/// What tasklets, timers and events do.
fn body() -> i32 {
    loop {
        if !has_fuel() {
            return HSW_OK;
        }
        let status = operation();
        // A kill is obeyed, though not always at once: ten in a row make a zombie, whose things are nobody's.
        if status == HSW_ERR_EXIT && !one_in(8) {
            return status;
        }
        if status == HSW_ERR_THROWN && coin() {
            return status;
        }
        match below(12) {
            0 | 1 => return HSW_OK,
            2 => return fail(),
            _ => {}
        }
    }
}

fn fail() -> i32 {
    let payload = token();
    // SAFETY: as the header has it.
    unsafe { hsw_fail(payload, Some(destroy), c"failed".as_ptr()) }
}

unsafe extern "C" fn entry(argument: *mut c_void) -> i32 {
    is_lent(argument);
    let status = body();
    is_lent(argument);
    status
}

/// An event or a timer, which the pump calls.
unsafe extern "C" fn event(argument: *mut c_void) -> i32 {
    is_lent(argument);
    with(|w| w.depth += 1);
    let status = body();
    with(|w| w.depth -= 1);
    is_lent(argument);
    status
}

unsafe extern "C" fn join_entry(argument: *mut c_void, result: *mut *mut c_void) -> i32 {
    is_lent(argument);
    let status = body();
    if status == HSW_OK && coin() {
        // SAFETY: the library's, to be written to.
        unsafe { *result = token() };
    }
    status
}

unsafe extern "C" fn function(_: *mut c_void) {
    foreign();
}

unsafe extern "C" fn remote_function(tasklet: hsw_tasklet, argument: *mut c_void) {
    is_lent(argument);
    let mut state = 0;
    // SAFETY: a handle that is lent.
    unsafe { hsw_tasklet_state(tasklet, &mut state) };
    foreign();
}

unsafe extern "C" fn on_schedule(previous: hsw_tasklet, next: hsw_tasklet, _: *mut c_void) {
    let mut state = 0;
    // SAFETY: handles that are lent.
    unsafe {
        hsw_tasklet_state(previous, &mut state);
        hsw_tasklet_state(next, &mut state);
    }
    if one_in(8) {
        questions();
    }
}

unsafe extern "C" fn on_channel(_: usize, tasklet: hsw_tasklet, _: bool, _: bool, _: *mut c_void) {
    let mut id = 0;
    // SAFETY: a handle that is lent.
    unsafe { hsw_tasklet_id(tasklet, &mut id) };
    if one_in(8) {
        questions();
    }
}

unsafe extern "C" fn on_error(error: *const hsw_uncaught, _: *mut c_void) -> i32 {
    // SAFETY: lent for the call.
    let error = unsafe { &*error };
    if error.destroy.is_some() {
        is_lent(error.payload);
    }
    foreign();
    [HSW_OK, HSW_ERR_OTHER][below(2)]
}

unsafe extern "C" fn on_lock(_: *const hsw_host_lock_event, user: *mut c_void) {
    is_lent(user);
    foreign();
}

unsafe extern "C" fn write(text: *const c_char, length: usize, _: *mut c_void) {
    // SAFETY: the library's promise.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    std::hint::black_box(text.iter().map(|b| *b as usize).sum::<usize>());
}

/// On a worker's thread, which has no world.
unsafe extern "C" fn job(argument: *mut c_void) -> *mut c_void {
    end(argument);
    let n = argument as usize / 4;
    if n.is_multiple_of(3) {
        std::thread::sleep(Duration::from_micros(n as u64 % 200));
    }
    if n.is_multiple_of(4) {
        null_mut()
    } else {
        token()
    }
}

unsafe extern "C" fn abandoned(_: i32, result: *mut c_void, user: *mut c_void) {
    received(result);
    is_lent(user);
    if one_in(4) {
        questions();
    }
}

// -------------------------------------------------------------------------------------------- operations

type Op = (&'static str, fn() -> i32);

/// Does one of all operations.
fn operation() -> i32 {
    let choice = with(|w| {
        if w.fuel == 0 {
            return None;
        }
        w.fuel -= 1;
        w.op = w.rng.below(OPS.len());
        Some(w.op)
    });
    match choice.flatten() {
        Some(op) => {
            let status = OPS[op].1();
            happened(status as u64);
            assert_ne!(status, HSW_ERR_INTERNAL, "{}: {}", OPS[op].0, words());
            status
        }
        None => HSW_OK,
    }
}

/// The handle as its type, or an object is made first.
macro_rules! pick {
    ($kind:ident, $type:ident) => {
        match pick($kind) {
            Some(handle) => $type { handle },
            None => return make($kind),
        }
    };
}

/// A call whose last parameter gets a handle.
macro_rules! made {
    ($kind:ident, $type:ident, $call:ident($($argument:expr),*)) => {{
        let mut out = $type { handle: 0 };
        let status = $call($($argument,)* &mut out);
        if status == HSW_OK {
            keep($kind, out.handle);
        }
        status
    }};
}

fn make(kind: K) -> i32 {
    // SAFETY: as the header has it.
    unsafe {
        match kind {
            Tasklet => made!(Tasklet, hsw_tasklet, hsw_tasklet_new(&options(false))),
            Channel => made!(Channel, hsw_channel, hsw_channel_new(Some(destroy))),
            Queue => made!(
                Queue,
                hsw_queue,
                hsw_queue_new([0, 1, 3, usize::MAX][below(4)], Some(destroy))
            ),
            Join => spawn_joined(),
            Clock => make_clock(),
            Timer => call_later(),
            Socket => listen(),
            Dict => made!(Dict, hsw_dict, hsw_dict_new(below(4) as i32, Some(destroy))),
            RecordType => make_record_type(),
            Record => make_record(),
            ThreadChannel => made!(
                ThreadChannel,
                hsw_thread_channel,
                hsw_thread_channel_new(Some(destroy))
            ),
            Remote => {
                let tasklet = pick!(Tasklet, hsw_tasklet);
                made!(Remote, hsw_remote, hsw_tasklet_remote(tasklet))
            }
            Loop => made!(Loop, hsw_loop, hsw_loop_current()),
            Work if wall() => {
                let main_loop = pick!(Loop, hsw_loop);
                made!(Work, hsw_work, hsw_loop_work(main_loop))
            }
            Work => HSW_OK,
            Pool => make_pool(),
            Lock => made!(Lock, hsw_lock, hsw_lock_new()),
            Rlock => made!(Rlock, hsw_rlock, hsw_rlock_new()),
            Semaphore => made!(
                Semaphore,
                hsw_semaphore,
                hsw_semaphore_new(below(3), coin())
            ),
            Condition => made!(Condition, hsw_condition, hsw_condition_new()),
            Event => made!(Event, hsw_event, hsw_event_new()),
            Barrier => made!(Barrier, hsw_barrier, hsw_barrier_new(below(4))),
            SyncQueue => made!(
                SyncQueue,
                hsw_sync_queue,
                hsw_sync_queue_new([1, 2, usize::MAX][below(3)], Some(destroy))
            ),
            HostLock => {
                let mut settings = hsw_host_lock_settings {
                    switches: 0,
                    time_ns: 0,
                };
                hsw_host_lock_settings_default(&mut settings);
                settings.switches = [1, 5, HSW_NO_LIMIT][below(3)];
                made!(HostLock, hsw_host_lock, hsw_host_lock_new(&settings))
            }
            Local => made!(Local, hsw_local, hsw_local_new(Some(destroy))),
            HttpClient => make_http_client(),
            HttpAnswer => http_send(),
        }
    }
}

fn options(with_argument: bool) -> hsw_tasklet_options {
    hsw_tasklet_options {
        name: c"some".as_ptr(),
        stack: i32::from(one_in(4)),
        stack_size: 0,
        fp_env: one_in(8),
        file: c"abi.rs".as_ptr(),
        line: 1,
        destroy_argument: if with_argument { Some(destroy) } else { None },
    }
}

fn new_of_any_kind() -> i32 {
    let kind = ALL[below(ALL.len())];
    let few = with(|w| w.handles[kind as usize].len() < KEPT / 2);
    if few == Some(true) {
        make(kind)
    } else {
        HSW_OK
    }
}

fn retain_one() -> i32 {
    let kind = ALL[below(ALL.len())];
    if let Some(handle) = pick(kind) {
        // It may be one of another kind.
        keep(kind, retained(kind, handle));
    }
    HSW_OK
}

fn release_one() -> i32 {
    let kind = ALL[below(ALL.len())];
    let taken = with(|w| {
        let handles = &mut w.handles[kind as usize];
        let at = w.rng.below(handles.len().max(1));
        (at < handles.len()).then(|| handles.swap_remove(at))
    });
    if let Some(Some(handle)) = taken {
        let_go(kind, handle);
    }
    HSW_OK
}

/// Gives back what is no handle of the thread's any more, or never was.
fn release_wrong() -> i32 {
    let wrong = with(|w| match w.rng.below(3) {
        0 => Some(0),
        _ => w.stale.get(w.rng.below(w.stale.len().max(1))).copied(),
    });
    if let Some(Some(wrong)) = wrong {
        let kind = ALL[below(ALL.len())];
        let status = release(kind, wrong);
        assert!(
            status >= HSW_ERR_NULL,
            "{status}: a stale handle is released as a {kind:?}"
        );
    }
    HSW_OK
}

/// Handles for other threads, each with one of its own.
static EXCHANGE: Mutex<Vec<(K, u64)>> = Mutex::new(vec![]);

fn trade() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let kind = ALL[OWN + below(ALL.len() - OWN)];
    if let Some(handle) = pick(kind) {
        let other = retained(kind, handle);
        if other != 0 {
            EXCHANGE.lock().unwrap().push((kind, other));
        }
    }
    let first = {
        let mut all = EXCHANGE.lock().unwrap();
        (all.len() > 2).then(|| all.remove(0))
    };
    if let Some((kind, handle)) = first {
        keep(kind, handle);
    }
    HSW_OK
}

fn spawn() -> i32 {
    let argument = token();
    let mut tasklet = hsw_tasklet { handle: 0 };
    let out = if one_in(4) {
        null_mut()
    } else {
        &raw mut tasklet
    };
    // SAFETY: as the header has it.
    let status = unsafe { hsw_spawn(Some(entry), argument, &options(true), out) };
    if status == HSW_OK {
        keep(Tasklet, tasklet.handle);
    }
    status
}

fn spawn_joined() -> i32 {
    let argument = token();
    let mut join = hsw_join { handle: 0 };
    // SAFETY: as the header has it.
    let status = unsafe {
        hsw_join_spawn(
            Some(join_entry),
            argument,
            Some(destroy),
            &options(true),
            &mut join,
        )
    };
    if status == HSW_OK {
        keep(Join, join.handle);
    }
    status
}

fn join_some() -> i32 {
    let join = pick!(Join, hsw_join);
    let mut result = null_mut();
    // SAFETY: as the header has it.
    unsafe {
        match below(4) {
            0 => {
                let mut done = false;
                hsw_join_is_done(join, &mut done)
            }
            1 => made!(Tasklet, hsw_tasklet, hsw_join_tasklet(join)),
            _ => {
                let status = hsw_join_wait(join, clock_time(), &mut result);
                received(result);
                status
            }
        }
    }
}

fn send() -> i32 {
    let channel = pick!(Channel, hsw_channel);
    let value = token();
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 if patient() => sent(hsw_channel_send(channel, value), value),
            1 => timed(hsw_channel_try_send(channel, value), value),
            _ => timed(
                hsw_channel_send_timeout(channel, value, clock_time()),
                value,
            ),
        }
    }
}

fn receive() -> i32 {
    let channel = pick!(Channel, hsw_channel);
    let mut value = null_mut();
    // SAFETY: as the header has it.
    let status = unsafe {
        match below(4) {
            0 if patient() => hsw_channel_receive(channel, &mut value),
            1 => hsw_channel_try_receive(channel, &mut value),
            2 if patient() => hsw_channel_next(channel, &mut value),
            _ => hsw_channel_receive_timeout(channel, clock_time(), &mut value),
        }
    };
    received(value);
    status
}

/// Of what would have been handed over.
fn not_called(token: *mut c_void) -> i32 {
    end(token);
    HSW_OK
}

fn send_throw() -> i32 {
    if !patient() {
        return HSW_OK;
    }
    let payload = token();
    let message = c"sent".as_ptr();
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => match pick(Channel) {
                Some(handle) => {
                    hsw_channel_send_throw(hsw_channel { handle }, payload, Some(destroy), message)
                }
                None => not_called(payload),
            },
            1 => match pick(Queue) {
                Some(handle) => {
                    hsw_queue_send_throw(hsw_queue { handle }, payload, Some(destroy), message)
                }
                None => not_called(payload),
            },
            _ => match pick(ThreadChannel) {
                Some(handle) => hsw_thread_channel_send_throw(
                    hsw_thread_channel { handle },
                    payload,
                    Some(destroy),
                    message,
                ),
                None => not_called(payload),
            },
        }
    }
}

fn send_sequence() -> i32 {
    if !patient() {
        return HSW_OK;
    }
    let values = [token(), token(), token()];
    let count = below(4);
    let mut many = 0;
    // SAFETY: as the header has it; the caller's own stack.
    let status = unsafe {
        match (coin(), pick(Channel), pick(ThreadChannel)) {
            (true, Some(handle), _) => {
                hsw_channel_send_sequence(hsw_channel { handle }, values.as_ptr(), count, &mut many)
            }
            (_, _, Some(handle)) => hsw_thread_channel_send_sequence(
                hsw_thread_channel { handle },
                values.as_ptr(),
                count,
                &mut many,
            ),
            _ => HSW_ERR_NULL,
        }
    };
    for value in &values[count..] {
        end(*value);
    }
    for value in &values[..count] {
        sent(status, *value);
    }
    status
}

fn channel_state() -> i32 {
    let channel = pick!(Channel, hsw_channel);
    let (mut on, mut number, mut balance, mut size) = (false, 0, 0, 0);
    let mut data = null_mut();
    // SAFETY: as the header has it.
    unsafe {
        match below(15) {
            0 => hsw_channel_preference(channel, &mut number),
            1 => hsw_channel_set_preference(channel, below(3) as i32 - 1),
            2 => hsw_channel_schedule_all(channel, &mut on),
            3 => hsw_channel_set_schedule_all(channel, one_in(3)),
            4 => hsw_channel_close(channel),
            5 => hsw_channel_close_and_wake(channel, &mut size),
            6 | 7 => hsw_channel_open(channel),
            8 => hsw_channel_is_closing(channel, &mut on),
            9 => hsw_channel_is_closed(channel, &mut on),
            10 => hsw_channel_balance(channel, &mut balance),
            11 if coin() => {
                let mut some = [hsw_tasklet { handle: 0 }; 3];
                let mut count = 0;
                let status = hsw_channel_waiting(channel, some.as_mut_ptr(), 3, &mut count);
                for one in some.iter().take(count) {
                    keep(Tasklet, one.handle);
                }
                status
            }
            11 => made!(Tasklet, hsw_tasklet, hsw_channel_queue(channel)),
            12 => {
                let data = token();
                hsw_channel_set_user_data(channel, data, Some(destroy))
            }
            13 => {
                let status = hsw_channel_user_data(channel, &mut data);
                is_lent(data);
                status
            }
            _ => hsw_channel_id(channel, &mut size),
        }
    }
}

fn queue() -> i32 {
    let queue = pick!(Queue, hsw_queue);
    let mut value = null_mut();
    let (mut size, mut balance) = (0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(8) {
            0..=2 => {
                let value = token();
                timed(hsw_queue_send(queue, value, clock_time()), value)
            }
            3 | 4 => {
                let status = hsw_queue_receive(queue, clock_time(), &mut value);
                received(value);
                status
            }
            5 if patient() => {
                let status = hsw_queue_next(queue, &mut value);
                received(value);
                status
            }
            6 if coin() => hsw_queue_close(queue, coin()),
            6 => hsw_queue_open(queue),
            _ => hsw_queue_length(queue, &mut size, &mut balance),
        }
    }
}

fn thread_channel() -> i32 {
    let channel = pick!(ThreadChannel, hsw_thread_channel);
    let mut value = null_mut();
    // SAFETY: as the header has it.
    unsafe {
        let status = match below(7) {
            0 if patient() => {
                let value = token();
                return sent(hsw_thread_channel_send(channel, value), value);
            }
            1 => {
                let value = token();
                return timed(hsw_thread_channel_try_send(channel, value), value);
            }
            2 => {
                let value = token();
                return timed(
                    hsw_thread_channel_send_timeout(channel, value, time()),
                    value,
                );
            }
            3 if patient() => hsw_thread_channel_receive(channel, &mut value),
            4 => hsw_thread_channel_receive_timeout(channel, time(), &mut value),
            6 if patient() => hsw_thread_channel_next(channel, &mut value),
            _ => hsw_thread_channel_try_receive(channel, &mut value),
        };
        received(value);
        status
    }
}

fn thread_channel_state() -> i32 {
    let channel = pick!(ThreadChannel, hsw_thread_channel);
    let (mut on, mut number, mut balance, mut size) = (false, 0, 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(12) {
            0 => hsw_thread_channel_preference(channel, &mut number),
            1 => hsw_thread_channel_set_preference(channel, below(3) as i32 - 1),
            2 => hsw_thread_channel_schedule_all(channel, &mut on),
            3 => hsw_thread_channel_set_schedule_all(channel, one_in(3)),
            4 => hsw_thread_channel_close(channel),
            5 => hsw_thread_channel_close_and_wake(channel, &mut size),
            6 | 7 => hsw_thread_channel_open(channel),
            8 => hsw_thread_channel_is_closing(channel, &mut on),
            9 => hsw_thread_channel_is_closed(channel, &mut on),
            10 => hsw_thread_channel_balance(channel, &mut balance),
            _ => hsw_thread_channel_id(channel, &mut size),
        }
    }
}

fn select() -> i32 {
    let nothing = hsw_case {
        channel: hsw_channel { handle: 0 },
        queue: hsw_queue { handle: 0 },
        direction: HSW_RECEIVE,
        value: null_mut(),
        join: hsw_join { handle: 0 },
        thread_channel: hsw_thread_channel { handle: 0 },
    };
    let mut cases = [nothing; 4];
    let mut sent = [null_mut(); 4];
    let count = below(5);
    for (case, sent) in cases.iter_mut().zip(&mut sent).take(count) {
        match below(4) {
            0 => case.channel.handle = pick(Channel).unwrap_or(0),
            1 => case.queue.handle = pick(Queue).unwrap_or(0),
            2 => case.join.handle = pick(Join).unwrap_or(0),
            _ => case.thread_channel.handle = pick(ThreadChannel).unwrap_or(0),
        }
        if case.join.handle == 0 && coin() {
            case.direction = HSW_SEND;
            *sent = token();
            case.value = *sent;
        }
    }
    let mut chosen = usize::MAX;
    // SAFETY: as the header has it; the caller's own stack.
    let status = unsafe { hsw_select(cases.as_mut_ptr(), count, time(), coin(), &mut chosen) };
    let mut gone = 0;
    for (i, case) in cases.iter().enumerate().take(count) {
        let done = status == HSW_OK && chosen == i;
        match (case.direction, done) {
            (HSW_SEND, true) => {}
            (HSW_SEND, false) if case.value.is_null() => {
                gone += 1;
                // Freed; or a receiver has it, or had it, and its sender was killed or thrown at just then. Or its channel was closed for all
                // that wait, and is about to free it: it frees another one's first, and that has switched.
                let thrown = [HSW_ERR_EXIT, HSW_ERR_THROWN, HSW_ERR_PANICKED].contains(&status);
                let closed = status == HSW_ERR_CLOSED && chosen == i;
                assert!(
                    !is_out(sent[i]) || thrown && chosen == usize::MAX || closed,
                    "{status}, chosen {chosen}: whose is the value of case {i}?"
                );
            }
            (HSW_SEND, false) => {
                assert_eq!(case.value, sent[i], "case {i}");
                end(sent[i]);
            }
            (_, true) => received(case.value),
            (_, false) => {}
        }
    }
    assert!(gone <= 1, "{gone} values of one select are gone");
    status
}

fn schedule() -> i32 {
    let mut returned = null_mut();
    // SAFETY: as the header has it.
    unsafe {
        match below(6) {
            0 | 1 => hsw_schedule(),
            2 if patient() => hsw_schedule_remove(),
            n => {
                let value = token();
                let status = match n {
                    3 if patient() => hsw_schedule_remove_with(value, Some(destroy), &mut returned),
                    _ => hsw_schedule_with(value, Some(destroy), &mut returned),
                };
                received(returned);
                status
            }
        }
    }
}

fn run() -> i32 {
    let budget = hsw_budget {
        switches: [0, 1, 10, HSW_NO_LIMIT][below(4)],
        time_ns: [1_000, HSW_NO_LIMIT, HSW_NO_LIMIT][below(3)],
    };
    // SAFETY: as the header has it.
    unsafe {
        match below(4) {
            0 => {
                let mut report = std::mem::zeroed::<hsw_run_report>();
                let status = hsw_run_with(&budget, &mut report);
                keep(Tasklet, report.interrupted.handle);
                status
            }
            _ => hsw_run(),
        }
    }
}

fn tasklet_switch() -> i32 {
    let tasklet = pick!(Tasklet, hsw_tasklet);
    // SAFETY: as the header has it.
    unsafe {
        match below(7) {
            0 => hsw_tasklet_run(tasklet),
            1 => hsw_tasklet_switch(tasklet),
            2 => hsw_tasklet_insert(tasklet),
            3 => hsw_tasklet_remove(tasklet),
            4 => hsw_tasklet_setup(tasklet),
            _ => hsw_tasklet_kill(tasklet, coin()),
        }
    }
}

fn tasklet_throw() -> i32 {
    let tasklet = pick!(Tasklet, hsw_tasklet);
    let payload = token();
    // SAFETY: as the header has it.
    unsafe { hsw_tasklet_throw(tasklet, payload, Some(destroy), c"thrown".as_ptr(), coin()) }
}

fn tasklet_bind() -> i32 {
    let tasklet = pick!(Tasklet, hsw_tasklet);
    if one_in(4) {
        // SAFETY: a handle.
        return unsafe { hsw_tasklet_unbind(tasklet) };
    }
    let argument = token();
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => hsw_tasklet_bind(tasklet, Some(entry), argument, Some(destroy)),
            1 => hsw_tasklet_bind_paused(tasklet, Some(entry), argument, Some(destroy)),
            _ => hsw_tasklet_bind_send(tasklet, Some(entry), argument, Some(destroy)),
        }
    }
}

fn tasklet_values() -> i32 {
    let tasklet = pick!(Tasklet, hsw_tasklet);
    let mut value = null_mut();
    // SAFETY: as the header has it.
    unsafe {
        match below(5) {
            0 => {
                let status = hsw_tasklet_take_tempval(tasklet, &mut value);
                received(value);
                status
            }
            1 => {
                let value = token();
                hsw_tasklet_set_tempval(tasklet, value, Some(destroy))
            }
            2 => {
                let data = token();
                hsw_tasklet_set_user_data(tasklet, data, Some(destroy))
            }
            3 => {
                let status = hsw_tasklet_user_data(tasklet, &mut value);
                is_lent(value);
                status
            }
            _ => hsw_tasklet_set_error_handler(
                tasklet,
                [None, Some(on_error as _)][below(2)],
                null_mut(),
            ),
        }
    }
}

fn tasklet_flags() -> i32 {
    let tasklet = pick!(Tasklet, hsw_tasklet);
    let mut old = false;
    // A trap that stays is the end of much.
    let on = one_in(4);
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => hsw_tasklet_set_block_trap(tasklet, on, &mut old),
            1 => hsw_tasklet_set_atomic(tasklet, on, &mut old),
            _ => hsw_tasklet_set_ignore_nesting(tasklet, on, &mut old),
        }
    }
}

/// What only looks.
fn questions() -> i32 {
    let tasklet = hsw_tasklet {
        handle: pick(Tasklet).unwrap_or(0),
    };
    let (mut number, mut size, mut wide) = (0, 0, 0);
    let mut text = [0; 16];
    // SAFETY: as the header has it; plain structures of numbers may be zero.
    unsafe {
        match below(24) {
            0 => hsw_tasklet_state(tasklet, &mut number),
            1 => made!(Tasklet, hsw_tasklet, hsw_tasklet_next(tasklet)),
            2 => made!(Tasklet, hsw_tasklet, hsw_tasklet_prev(tasklet)),
            3 => hsw_tasklet_id(tasklet, &mut size),
            4 => hsw_tasklet_name(tasklet, text.as_mut_ptr(), text.len(), &mut size),
            5 => hsw_tasklet_site(
                tasklet,
                text.as_mut_ptr(),
                text.len(),
                &mut size,
                &mut number,
            ),
            6 => hsw_tasklet_thread_id(tasklet, &mut wide),
            7 => hsw_tasklet_get_times(tasklet, &mut std::mem::zeroed()),
            8 => hsw_tasklet_get_stats(tasklet, &mut std::mem::zeroed()),
            9 => hsw_get_stats(&mut std::mem::zeroed()),
            10 => hsw_get_counters(&mut std::mem::zeroed()),
            11 => made!(Tasklet, hsw_tasklet, hsw_current()),
            12 => made!(Tasklet, hsw_tasklet, hsw_main()),
            13 => {
                hsw_run_count();
                hsw_thread_id();
                hsw_live_handles();
                hsw_live_shared_handles();
                hsw_until_next_ns();
                HSW_OK
            }
            14 => {
                assert_eq!(hsw_abi_version(), 1);
                assert!(!hsw_version().is_null());
                assert!(!hsw_status_name(below(50) as i32).is_null());
                hsw_last_error_status();
                hsw_last_error_errno();
                hsw_last_error_cause();
                HSW_OK
            }
            15 => {
                std::hint::black_box(words());
                HSW_OK
            }
            16 => {
                let (mut data, mut how) = (null_mut(), None);
                let status = hsw_last_error_payload(&mut data, &mut how);
                is_lent(data);
                status
            }
            17 => hsw_get_loop_info(&mut std::mem::zeroed()),
            18 => hsw_stack_used(&mut size),
            19 if one_in(4) => hsw_dump_tasklets(Some(write), null_mut(), one_in(16)),
            20 => hsw_now_ns(&mut wide),
            21 => {
                hsw_set_statistics(coin());
                HSW_OK
            }
            22 => {
                let mut settings = std::mem::zeroed::<hsw_settings>();
                hsw_settings_console(&mut settings);
                hsw_settings_default(&mut settings);
                // Too late.
                let status = hsw_init(&settings);
                assert_ne!(status, HSW_ERR_INTERNAL);
                let mut memory = [0_u64; 4];
                hsw_init_in(&settings, memory.as_mut_ptr().cast(), size_of_val(&memory))
            }
            _ => HSW_OK,
        }
    }
}

fn callbacks() -> i32 {
    let (mut old, mut user) = (None, null_mut());
    let (mut old_channel, mut old_handler) = (None, None);
    let on = coin();
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => hsw_set_schedule_callback(
                on.then_some(on_schedule as _),
                null_mut(),
                &mut old,
                &mut user,
            ),
            1 => hsw_set_channel_callback(
                on.then_some(on_channel as _),
                null_mut(),
                &mut old_channel,
                &mut user,
            ),
            _ => hsw_set_error_handler(
                on.then_some(on_error as _),
                null_mut(),
                &mut old_handler,
                &mut user,
            ),
        }
    }
}

fn traps() -> i32 {
    // SAFETY: numbers.
    unsafe {
        match below(3) {
            0 => {
                hsw_switch_trap(1);
                let status = operation();
                hsw_switch_trap(-1);
                status
            }
            1 => {
                hsw_set_use_nested_tasklets(!one_in(3));
                HSW_OK
            }
            _ => {
                hsw_fire_due();
                HSW_OK
            }
        }
    }
}

/// What a C++ runtime keeps of a thread's exceptions: none here.
unsafe extern "C" fn exception_globals() -> *mut c_void {
    thread_local! {
        static GLOBALS: std::cell::UnsafeCell<[usize; 2]> = const { std::cell::UnsafeCell::new([0; 2]) };
    }
    GLOBALS.with(|globals| globals.get().cast())
}

fn exceptions() -> i32 {
    // SAFETY: as the header has it.
    unsafe {
        match coin() {
            true => hsw_exceptions_add(Some(exception_globals)),
            false => hsw_exceptions_remove(Some(exception_globals)),
        };
    }
    // What it comes to depends on programs before: it is the process's.
    HSW_OK
}

/// Keeps the last error, and perhaps fails with it again.
fn errors() -> i32 {
    let (mut error, mut other) = (hsw_error { handle: 0 }, hsw_error { handle: 0 });
    // SAFETY: as the header has it.
    unsafe {
        let told = hsw_exit_told();
        hsw_exit_swallowed(told + (1 << 40)); // nobody's
        if hsw_error_last(&mut error) != HSW_OK {
            return HSW_OK;
        }
        assert_eq!(hsw_error_retain(error, &mut other), HSW_OK);
        assert_eq!(hsw_error_release(error), HSW_OK);
        if coin() {
            assert_eq!(hsw_error_fail(other), hsw_last_error_status());
        }
        hsw_error_release(other)
    }
}

fn elsewhere() -> i32 {
    // SAFETY: as the header has it.
    unsafe {
        match below(4) {
            0 => hsw_spill(Some(function), null_mut()),
            1 => hsw_grow(Some(function), null_mut()),
            2 => hsw_allow_threads(Some(function), null_mut()),
            _ => {
                let argument = token();
                let status = hsw_timeout(clock_time(), Some(entry), argument);
                end(argument);
                status
            }
        }
    }
}

fn local() -> i32 {
    let local = pick!(Local, hsw_local);
    let mut value = null_mut();
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => {
                let status = hsw_local_get(local, &mut value);
                is_lent(value);
                status
            }
            1 if one_in(3) => hsw_local_set(local, null_mut()),
            _ => {
                let value = token();
                let status = hsw_local_set(local, value);
                if status != HSW_OK {
                    end(value);
                }
                status
            }
        }
    }
}

unsafe extern "C" fn on_entry(_: *const c_char, value: *mut c_void, _: *mut c_void) -> bool {
    is_lent(value);
    foreign();
    is_lent(value);
    !one_in(4)
}

fn dict() -> i32 {
    let dict = pick!(Dict, hsw_dict);
    let key = [c"", c"a", c"b", c"key", c"another"][below(5)].as_ptr();
    let (mut value, mut found, mut number) = (null_mut(), false, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(10) {
            0..3 => {
                let value = token();
                let status = hsw_dict_set(dict, key, value);
                if status != HSW_OK {
                    end(value);
                }
                status
            }
            3 => {
                let status = hsw_dict_get(dict, key, &mut value, &mut found);
                is_lent(value);
                status
            }
            4 => {
                let status = hsw_dict_remove(dict, key, &mut value, &mut found);
                received(value);
                status
            }
            5 => hsw_dict_remove(dict, key, null_mut(), null_mut()),
            6 => hsw_dict_each(dict, Some(on_entry), null_mut()),
            7 => {
                hsw_dict_count(dict, &mut number);
                hsw_dict_bytes(dict, &mut number)
            }
            8 if coin() => hsw_dict_shrink(dict),
            8 => hsw_dict_reserve(dict, [0, 3, 100, usize::MAX][below(4)]),
            _ => hsw_dict_clear(dict),
        }
    }
}

/// Names of fields, some of which are not allowed.
fn some_names() -> Vec<*const c_char> {
    let all = [c"a", c"b", c"c", c"class", c"_d"];
    let kinds = if one_in(4) { 5 } else { 3 };
    (0..below(4)).map(|_| all[below(kinds)].as_ptr()).collect()
}

fn make_record_type() -> i32 {
    let names = some_names();
    let (list, count) = (names.as_ptr(), names.len());
    let other = match below(3) {
        0 => pick(RecordType),
        _ => None,
    };
    // SAFETY: as the header has it.
    unsafe {
        match other {
            Some(handle) => {
                let other = hsw_record_type { handle };
                made!(
                    RecordType,
                    hsw_record_type,
                    hsw_record_type_extend(other, c"More".as_ptr(), list, count)
                )
            }
            None => made!(
                RecordType,
                hsw_record_type,
                hsw_record_type_new(c"T".as_ptr(), list, count, coin(), Some(destroy))
            ),
        }
    }
}

/// Values of all kinds, and now and then of none.
fn some_values() -> Vec<hsw_value> {
    let one = |_| match below(5) {
        0 => hsw_value {
            kind: HSW_VALUE_INTEGER,
            of: hsw_value_of {
                integer: below(3) as i64,
            },
        },
        1 => hsw_value {
            kind: [HSW_VALUE_REAL, HSW_VALUE_NONE, 9][below(3)],
            of: hsw_value_of { real: 1.5 },
        },
        2 => hsw_value {
            kind: HSW_VALUE_TEXT,
            of: hsw_value_of {
                text: c"it's".as_ptr(),
            },
        },
        _ => hsw_value {
            kind: HSW_VALUE_POINTER,
            of: hsw_value_of { pointer: token() },
        },
    };
    (0..below(4)).map(one).collect()
}

/// After a call that takes values: they are still the caller's when it has failed.
fn taken(status: i32, values: &[hsw_value]) -> i32 {
    if status != HSW_OK {
        for value in values.iter().filter(|v| v.kind == HSW_VALUE_POINTER) {
            // SAFETY: its kind says that it is a pointer.
            end(unsafe { value.of.pointer });
        }
    }
    status
}

fn make_record() -> i32 {
    let kind = pick!(RecordType, hsw_record_type);
    let values = some_values();
    // SAFETY: as the header has it.
    let status = unsafe {
        made!(
            Record,
            hsw_record,
            hsw_record_new(kind, values.as_ptr(), values.len())
        )
    };
    taken(status, &values)
}

fn record_type() -> i32 {
    let kind = pick!(RecordType, hsw_record_type);
    let (mut buffer, mut number) = ([0; 8], 0);
    let (text, room) = (buffer.as_mut_ptr(), below(9));
    // SAFETY: as the header has it.
    unsafe {
        match below(4) {
            0 => {
                let values = some_values();
                let status = made!(
                    RecordType,
                    hsw_record_type,
                    hsw_record_type_with_defaults(kind, values.as_ptr(), values.len())
                );
                taken(status, &values)
            }
            1 => {
                hsw_record_type_count(kind, &mut number);
                hsw_record_type_name(kind, text, room, &mut number)
            }
            2 => hsw_record_type_field(kind, below(4), text, room, &mut number),
            _ => hsw_record_type_index(kind, c"b".as_ptr(), &mut number),
        }
    }
}

fn record() -> i32 {
    let record = pick!(Record, hsw_record);
    let (mut buffer, mut length, mut equal, mut order) = ([0; 32], 0, false, 0);
    let field = [c"a", c"b", c"z"][below(3)].as_ptr();
    let mut value = hsw_value {
        kind: HSW_VALUE_NONE,
        of: hsw_value_of { integer: 0 },
    };
    // SAFETY: as the header has it.
    unsafe {
        match below(8) {
            0 | 1 => {
                let status = match coin() {
                    true => hsw_record_get(record, below(4), &mut value),
                    false => hsw_record_get_named(record, field, &mut value),
                };
                if value.kind == HSW_VALUE_POINTER {
                    is_lent(value.of.pointer);
                }
                status
            }
            2..5 => {
                let values = some_values();
                let Some(first) = values.first() else {
                    return HSW_OK;
                };
                let status = match coin() {
                    true => hsw_record_set(record, below(4), first),
                    false => hsw_record_set_named(record, field, first),
                };
                taken(status, &values[..1]);
                taken(HSW_ERR_OTHER, &values[1..]);
                status
            }
            5 => made!(Record, hsw_record, hsw_record_copy(record)),
            6 => made!(RecordType, hsw_record_type, hsw_record_type_of(record)),
            _ => {
                let other = pick!(Record, hsw_record);
                hsw_record_text(record, buffer.as_mut_ptr(), below(33), &mut length);
                hsw_record_equal(record, other, &mut equal);
                hsw_record_compare(record, other, &mut order)
            }
        }
    }
}

fn lock() -> i32 {
    let (mut on, mut mine, mut size, mut size2) = (false, false, 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(12) {
            0 | 1 => hsw_lock_lock(pick!(Lock, hsw_lock), time()),
            2 | 3 => hsw_lock_unlock(pick!(Lock, hsw_lock)),
            4 => hsw_lock_state(pick!(Lock, hsw_lock), &mut on, &mut mine, &mut size),
            5 => hsw_rlock_lock(pick!(Rlock, hsw_rlock), time()),
            6 => hsw_rlock_unlock(pick!(Rlock, hsw_rlock)),
            7 => hsw_rlock_state(pick!(Rlock, hsw_rlock), &mut on, &mut mine, &mut size),
            8 | 9 => hsw_semaphore_acquire(pick!(Semaphore, hsw_semaphore), time()),
            10 => hsw_semaphore_give_back(pick!(Semaphore, hsw_semaphore), below(3)),
            _ => hsw_semaphore_state(pick!(Semaphore, hsw_semaphore), &mut size2, &mut size),
        }
    }
}

fn meet() -> i32 {
    let (mut on, mut size, mut size2) = (false, 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(14) {
            // However short its time, it waits for the lock as long as that takes; and a guest
            // cannot be told that the program is over.
            0..=2 if with(|w| w.depth == 0).unwrap_or(false) => {
                let condition = pick!(Condition, hsw_condition);
                hsw_condition_wait(condition, pick!(Lock, hsw_lock), time())
            }
            3 => hsw_condition_notify(
                pick!(Condition, hsw_condition),
                [0, 1, usize::MAX][below(3)],
            ),
            0..=2 | 4 => hsw_condition_waiting(pick!(Condition, hsw_condition), &mut size),
            5 | 6 => hsw_event_wait(pick!(Event, hsw_event), time()),
            7 => hsw_event_set(pick!(Event, hsw_event)),
            8 => hsw_event_clear(pick!(Event, hsw_event)),
            9 => hsw_event_state(pick!(Event, hsw_event), &mut on, &mut size),
            10 | 11 => hsw_barrier_wait(pick!(Barrier, hsw_barrier), time(), &mut on),
            12 if coin() => hsw_barrier_abort(pick!(Barrier, hsw_barrier)),
            12 => hsw_barrier_reset(pick!(Barrier, hsw_barrier)),
            _ => hsw_barrier_state(pick!(Barrier, hsw_barrier), &mut size, &mut size2, &mut on),
        }
    }
}

fn sync_queue() -> i32 {
    let queue = pick!(SyncQueue, hsw_sync_queue);
    let (mut on, mut size, mut value) = (false, 0, null_mut());
    // SAFETY: as the header has it.
    unsafe {
        match below(8) {
            0..=2 => {
                let value = token();
                timed(hsw_sync_queue_put(queue, value, time()), value)
            }
            3..=5 => {
                let status = hsw_sync_queue_get(queue, time(), &mut value);
                received(value);
                status
            }
            6 if one_in(4) => hsw_sync_queue_close(queue),
            _ => hsw_sync_queue_state(queue, &mut size, &mut on),
        }
    }
}

fn make_clock() -> i32 {
    // SAFETY: as the header has it.
    unsafe {
        if wall() && coin() {
            return match coin() {
                true => made!(Clock, hsw_timer_clock, hsw_timer_clock_wall()),
                false => made!(Clock, hsw_timer_clock, hsw_timer_clock_simulated()),
            };
        }
        let mut clock = hsw_timer_clock { handle: 0 };
        let status = hsw_timer_clock_new(&mut clock);
        if status == HSW_OK {
            hsw_timer_clock_pause(clock);
            // It has run for a moment.
            hsw_timer_clock_set(clock, 0);
            keep(Clock, clock.handle);
        }
        status
    }
}

fn clock_state() -> i32 {
    let clock = pick!(Clock, hsw_timer_clock);
    let mut wide = 0;
    // SAFETY: as the header has it.
    unsafe {
        match below(9) {
            0 => hsw_timer_clock_now(clock, &mut wide),
            1 => hsw_timer_clock_pause(clock),
            2 if wall() => hsw_timer_clock_resume(clock),
            3 if wall() => hsw_timer_clock_set_scale(clock, [0.0, 1.0, 1000.0, -1.0][below(4)]),
            4 => hsw_timer_clock_set(clock, [0, 1_000_000, HSW_NO_LIMIT][below(3)]),
            5 => hsw_timer_clock_get_info(clock, &mut std::mem::zeroed()),
            6 if wall() && patient() && coin() => hsw_timer_clock_sleep(clock, time()),
            6 if wall() && patient() => hsw_timer_clock_sleep_until(clock, time()),
            _ => hsw_timer_clock_advance(clock, [0, 1_000, 1_000_000][below(3)]),
        }
    }
}

fn call_later() -> i32 {
    let clock = pick!(Clock, hsw_timer_clock);
    let argument = token();
    let mut timer = hsw_timer { handle: 0 };
    let out = if one_in(8) {
        null_mut()
    } else {
        &raw mut timer
    };
    let at = [0, 1_000, 100_000, 1_000_000][below(4)];
    // SAFETY: as the header has it.
    let status = unsafe {
        match below(5) {
            0 => hsw_timer_repeat(clock, at, Some(event), argument, Some(destroy), out),
            1 | 2 => hsw_timer_call_at(clock, at, Some(event), argument, Some(destroy), out),
            _ => hsw_timer_call_later(clock, at, Some(event), argument, Some(destroy), out),
        }
    };
    if status == HSW_OK {
        keep(Timer, timer.handle);
    }
    status
}

fn timer() -> i32 {
    let timer = pick!(Timer, hsw_timer);
    let (mut on, mut wide) = (false, 0);
    // SAFETY: as the header has it.
    unsafe {
        match coin() {
            true => hsw_timer_cancel(timer, &mut on),
            false => hsw_timer_state(timer, &mut on, &mut wide),
        }
    }
}

fn pump() -> i32 {
    let (mut complete, mut done) = (false, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(8) {
            0..=2 => hsw_tick([0, 20_000, HSW_NO_LIMIT][below(3)], &mut complete),
            3..=5 => hsw_pump(if wall() { time() } else { 0 }, &mut done),
            6 if wall() && patient() => hsw_run_until_idle(),
            7 if wall() && patient() && one_in(4) => hsw_run_until_stopped(),
            _ if wall() => hsw_sleep(time()),
            _ => hsw_sleep(0),
        }
    }
}

fn main_loop() -> i32 {
    let main_loop = pick!(Loop, hsw_loop);
    // SAFETY: as the header has it.
    unsafe {
        match below(6) {
            0 => hsw_loop_interrupt(main_loop),
            1 if wall() => hsw_loop_stop(main_loop),
            2 if wall() => made!(Work, hsw_work, hsw_loop_work(main_loop)),
            _ => {
                let argument = token();
                hsw_loop_post(main_loop, Some(event), argument, Some(destroy))
            }
        }
    }
}

fn make_pool() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let mut settings = hsw_pool_settings {
        threads: 0,
        stack_size: 0,
        queue: 0,
    };
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => {
                hsw_offload_configure(std::ptr::null());
                made!(Pool, hsw_pool, hsw_pool_of_process())
            }
            1 => {
                hsw_pool_settings_default(&mut settings);
                made!(Pool, hsw_pool, hsw_pool_new(std::ptr::null()))
            }
            _ => {
                hsw_pool_settings_console(&mut settings);
                settings.threads = below(2);
                settings.queue = 2;
                made!(Pool, hsw_pool, hsw_pool_new(&settings))
            }
        }
    }
}

fn offload() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let mut settings = hsw_pool_settings {
        threads: 0,
        stack_size: 0,
        queue: 0,
    };
    let (mut size, mut size2, mut result) = (0, 0, null_mut());
    // SAFETY: as the header has it.
    unsafe {
        match below(8) {
            0 => hsw_pool_get_settings(pick!(Pool, hsw_pool), &mut settings),
            1 => hsw_pool_load(pick!(Pool, hsw_pool), &mut size, &mut size2),
            // Not the process's: it would be gone for all programs to come.
            2 if one_in(3) => {
                let mut pool = hsw_pool { handle: 0 };
                let status = hsw_pool_new(std::ptr::null(), &mut pool);
                if status == HSW_OK {
                    let argument = token();
                    hsw_offload_with(&call(pool, argument, false), &mut result);
                    received(result);
                    hsw_pool_shutdown(pool, coin());
                    keep(Pool, pool.handle);
                }
                status
            }
            3 | 4 => {
                let argument = token();
                let status = hsw_offload(
                    Some(job),
                    argument,
                    Some(destroy),
                    Some(destroy),
                    time(),
                    &mut result,
                );
                received(result);
                status
            }
            _ => {
                let pool = hsw_pool {
                    handle: pick(Pool).unwrap_or(0),
                };
                let argument = token();
                let call = call(pool, argument, coin());
                let status = hsw_offload_with(&call, &mut result);
                // Argument and user are the runtime's, whatever the status: the job may still come.
                received(result);
                status
            }
        }
    }
}

fn call(pool: hsw_pool, argument: *mut c_void, is_watched: bool) -> hsw_offload_call {
    hsw_offload_call {
        job: Some(job),
        argument,
        destroy_argument: Some(destroy),
        destroy_result: Some(destroy),
        timeout_ns: time(),
        pool,
        on_abandoned: is_watched.then_some(abandoned as _),
        user: if is_watched { token() } else { null_mut() },
        destroy_user: is_watched.then_some(destroy as _),
    }
}

fn remote() -> i32 {
    let remote = pick!(Remote, hsw_remote);
    let (mut number, mut size, mut wide) = (0, 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(18) {
            0 => made!(Tasklet, hsw_tasklet, hsw_remote_tasklet(remote)),
            1 => hsw_remote_switch(remote),
            2 => hsw_remote_insert(remote),
            3 => hsw_remote_run(remote),
            4 => hsw_remote_setup(remote),
            5 => hsw_remote_remove(remote),
            6 => {
                let payload = token();
                let message = c"from far".as_ptr();

                hsw_remote_throw(remote, payload, Some(destroy), message, coin())
            }
            7 => hsw_remote_kill(remote, coin()),
            8 => hsw_remote_state(remote, &mut number),
            9 => hsw_remote_tasklet_id(remote, &mut size),
            10 => hsw_remote_thread_id(remote, &mut wide),
            11 => hsw_remote_unbind(remote),
            12 | 13 => {
                let argument = token();

                hsw_remote_bind(remote, Some(entry), argument, Some(destroy), coin())
            }
            14 | 15 => {
                let argument = token();

                hsw_remote_with(remote, Some(remote_function), argument, Some(destroy))
            }
            16 => hsw_remote_bind_thread(remote, some_thread()),
            _ => {
                let tasklet = pick!(Tasklet, hsw_tasklet);
                made!(
                    Remote,
                    hsw_remote,
                    hsw_tasklet_bind_thread(tasklet, some_thread())
                )
            }
        }
    }
}

/// The number of a thread that uses the library; now and then of none.
fn some_thread() -> u64 {
    let (mut ids, mut count) = ([0; 8], 0);
    // SAFETY: as the header has it.
    let status = unsafe { hsw_threads(ids.as_mut_ptr(), ids.len(), &mut count) };
    if status != HSW_OK || one_in(10) {
        return 1 << 40;
    }
    // Numbers go on from program to program; the place does not.
    ids[below(count.clamp(1, ids.len()))]
}

fn threads() -> i32 {
    // SAFETY: as the header has it; a plain structure may be zero.
    unsafe {
        match below(3) {
            0 => hsw_thread_attach(),
            _ => {
                let mut info = std::mem::zeroed::<hsw_thread_info>();
                let status = hsw_thread_get_info(some_thread(), &mut info);
                if status == HSW_OK {
                    keep(Remote, info.main_tasklet.handle);
                    keep(Remote, info.current.handle);
                }
                status
            }
        }
    }
}

fn host_lock() -> i32 {
    let lock = pick!(HostLock, hsw_host_lock);
    // SAFETY: as the header has it.
    unsafe {
        match below(8) {
            0 => hsw_host_lock_join(lock),
            1 => hsw_host_lock_leave(lock),
            2 if wall() => hsw_host_lock_install(lock),
            3 => hsw_host_lock_uninstall(),
            4 => made!(HostLock, hsw_host_lock, hsw_host_lock_current()),
            5 => hsw_host_lock_get_settings(lock, &mut std::mem::zeroed()),
            6 => hsw_host_lock_get_stats(lock, &mut std::mem::zeroed()),
            _ => {
                let user = token();
                let hook = coin().then_some(on_lock as _);
                hsw_host_lock_set_hook(lock, hook, user, Some(destroy))
            }
        }
    }
}

/// A backend that answers at random: nothing it says may do harm.
unsafe extern "C" fn answers_polls(
    context: *mut c_void,
    fds: *mut hsw_pollfd,
    count: usize,
    _: u64,
    _: *const c_void,
) -> i32 {
    assert!(context.is_null());
    for at in 0..count {
        // SAFETY: so many are there.
        unsafe { (*fds.add(at)).revents = below(64) as i16 };
    }
    [1, 0, -104, -104, -4, i32::MIN, i32::MAX][below(7)]
}

unsafe extern "C" fn answers_selects(
    _: *mut c_void,
    nfds: i32,
    read: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: u64,
    _: *const c_void,
) -> i32 {
    assert!(nfds <= 1024);
    // SAFETY: a set is that large.
    unsafe { read.cast::<u64>().write(below(1000) as u64) };
    [1, 0, -104, -104, -4, i32::MIN, i32::MAX][below(7)]
}

unsafe extern "C" fn answers_questions(_: *mut c_void, _: i32) -> i32 {
    below(5) as i32 - 2
}

fn poll() -> i32 {
    let backend = hsw_net_backend {
        context: null_mut(),
        poll: (!one_in(8)).then_some(answers_polls as _),
        select: (!one_in(8)).then_some(answers_selects as _),
        now_ns: None,
        kind: coin().then_some(answers_questions as _),
        unread: coin().then_some(answers_questions as _),
        urgent: coin().then_some(answers_questions as _),
        take_error: coin().then_some(answers_questions as _),
    };
    let mut fds = [const {
        hsw_pollfd {
            fd: 0,
            events: 0,
            revents: 0,
        }
    }; 5];
    for fd in &mut fds {
        (fd.fd, fd.events) = (below(12) as i32 - 2, below(64) as i16);
    }
    let mut sets = [[0_u64; 16]; 3];
    for set in &mut sets {
        set[0] = below(1 << 12) as u64;
    }
    let [read, write, except] = sets.each_mut().map(|set| set.as_mut_ptr().cast());
    let nfds = [-1, 0, 5, 12, 64, 1024, 1025][below(7)];
    let count = below(fds.len() + 1);
    let (fds, mask, mut ready, mut error) = (fds.as_mut_ptr(), std::ptr::null(), 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(6) {
            0 => hsw_poll(&backend, fds, count, 0, &mut ready),
            1 => hsw_ppoll(&backend, fds, count, 0, mask, &mut ready),
            2 => hsw_select_fds(&backend, nfds, read, write, except, 0, &mut ready),
            3 => hsw_pselect_fds(
                &backend,
                nfds,
                read,
                null_mut(),
                except,
                0,
                mask,
                &mut ready,
            ),
            4 => hsw_take_error(&backend, below(5) as i32, &mut error),
            _ => hsw_loop_set_backend(std::ptr::null()),
        }
    }
}

fn listen() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let mut socket = hsw_socket { handle: 0 };
    // SAFETY: as the header has it.
    unsafe {
        let status = hsw_tcp_listen(c"127.0.0.1".as_ptr(), 0, &mut socket);
        let mut port = 0;
        if status == HSW_OK {
            hsw_socket_port(socket, &mut port);
            hsw_socket_set_timeout(socket, 300_000);
            with(|w| w.ports.push(port));
            keep(Socket, socket.handle);
        }
        status
    }
}

fn socket() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let socket = pick!(Socket, hsw_socket);
    let mut bytes = [0; 32];
    let (mut size, mut port) = (0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(19) {
            0 | 1 => {
                let last = with(|w| w.ports.last().copied()).flatten().unwrap_or(1);
                let mut made = hsw_socket { handle: 0 };
                let status = hsw_tcp_connect(c"127.0.0.1".as_ptr(), last, 300_000, &mut made);
                if status == HSW_OK {
                    hsw_socket_set_timeout(made, 300_000);
                    keep(Socket, made.handle);
                }
                status
            }
            2 | 3 => {
                let mut made = hsw_socket { handle: 0 };
                let status = hsw_tcp_accept(socket, &mut made);
                if status == HSW_OK {
                    hsw_socket_set_timeout(made, 300_000);
                    keep(Socket, made.handle);
                }
                status
            }
            4 => hsw_socket_read(socket, bytes.as_mut_ptr().cast(), bytes.len(), &mut size),
            5 => {
                let many = below(bytes.len());
                let data = bytes.as_ptr().cast();
                let status = hsw_socket_write(socket, data, many, &mut size);
                assert!(size <= many && (status != HSW_OK || size == many));
                status
            }
            6 => hsw_socket_set_timeout(socket, [0, 20_000, 300_000][below(3)]),
            7 => hsw_socket_end_writing(socket),
            8 if one_in(3) => hsw_socket_close(socket),
            9 => hsw_socket_port(socket, &mut port),
            10 => several_buffers(socket, &mut bytes),
            11 => wait_for_descriptor(),
            12 => addresses(socket),
            13 => socket_options(socket),
            14 => datagrams(socket),
            15 => lookups(),
            _ => unix_sockets(socket),
        }
    }
}

fn several_buffers(socket: hsw_socket, bytes: &mut [u8; 32]) -> i32 {
    let (left, right) = bytes.split_at_mut(below(33));
    let buffer = |part: &mut [u8]| hsw_buffer {
        data: part.as_mut_ptr().cast(),
        size: part.len(),
    };
    let mut buffers = [buffer(left), buffer(right)];
    let (count, mut size) = (below(3), 0);
    let room: usize = buffers[..count].iter().map(|buffer| buffer.size).sum();
    // SAFETY: as the header has it.
    unsafe {
        match below(3) {
            0 => {
                let status = hsw_socket_write_vectored(socket, buffers.as_ptr(), count, &mut size);
                assert!(size <= room && (status != HSW_OK || size == room));
                status
            }
            1 => {
                let status = hsw_socket_read_vectored(socket, buffers.as_ptr(), count, &mut size);
                assert!(size <= room);
                status
            }
            _ => {
                let [first, _] = &mut buffers;
                let status = hsw_socket_peek(socket, first.data, first.size, &mut size);
                assert!(size <= first.size);
                status
            }
        }
    }
}

/// Limits that end each request soon.
unsafe fn http_settings() -> hsw_http_settings {
    // SAFETY: as the header has it; a plain structure may be zero.
    unsafe {
        let mut settings: hsw_http_settings = std::mem::zeroed();
        assert_eq!(hsw_http_settings_default(&mut settings), HSW_OK);
        let limits = &mut settings.limits;
        limits.total_ns = [0, 300_000, 3_000_000, u64::MAX - 1][below(4)];
        limits.head = [0, 40, 16 << 10, usize::MAX][below(4)];
        limits.interim = below(2);
        limits.redirects = below(3) as u32;
        (limits.least_bytes, limits.least_time_ns) = (below(3) as u64, 300_000);
        settings.idle = below(3);
        settings.user_agent = [std::ptr::null(), c"some".as_ptr(), c"a\r\nb".as_ptr()][below(3)];
        settings
    }
}

fn make_http_client() -> i32 {
    // SAFETY: as the header has it.
    unsafe {
        let settings = http_settings();
        match coin() {
            true => made!(HttpClient, hsw_http_client, hsw_http_client_new(&settings)),
            false => made!(
                HttpClient,
                hsw_http_client,
                hsw_http_client_new(std::ptr::null())
            ),
        }
    }
}

/// Some bytes of a body; now and then nothing good.
unsafe extern "C" fn http_source(
    user: *mut c_void,
    buffer: *mut c_void,
    size: usize,
    given: *mut usize,
) -> i32 {
    is_lent(user);
    let (many, wrong) = (below(4).min(size), one_in(20));
    // SAFETY: as the header has it.
    unsafe {
        buffer.write_bytes(b'x', many);
        given.write(if wrong { size + 1 } else { many });
        match one_in(20) {
            true => hsw_schedule(),
            false => i32::from(one_in(20)) * HSW_ERR_CLOSED,
        }
    }
}

unsafe extern "C" fn http_sink(
    _: *mut c_void,
    _: *const c_void,
    size: usize,
    received: u64,
    length: u64,
) -> i32 {
    assert!(size > 0 && size as u64 <= received && received <= length);
    match one_in(8) {
        // SAFETY: as the header has it.
        true => unsafe { hsw_schedule() },
        false => i32::from(one_in(8)) * HSW_ERR_BROKEN,
    }
}

fn http_send() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let client = pick!(HttpClient, hsw_http_client);
    let path = fuzz::origin::PATHS[below(fuzz::origin::PATHS.len())];
    let url = match one_in(12) {
        true => Ok(c"http://a b/".into()),
        false => CString::new(format!("http://127.0.0.1:{}{path}", fuzz::origin::port())),
    };
    let url: CString = url.expect("no zero byte");
    // SAFETY: as the header has it; a plain structure may be zero.
    unsafe {
        let mut limits = http_settings().limits;
        limits.total_ns = limits.total_ns.min(3_000_000);
        let header = hsw_http_header {
            name: [c"X-Some", c"Range", c"Content-Length", c"a b"][below(4)].as_ptr(),
            value: [c"1".as_ptr(), c"1\n2".as_ptr(), c"\xff".as_ptr()]
                [below(30).saturating_sub(27)],
        };
        let mut request: hsw_http_request = std::mem::zeroed();
        request.url = [url.as_ptr(), std::ptr::null()][usize::from(one_in(30))];
        request.method = [
            std::ptr::null(),
            c"HEAD".as_ptr(),
            c"POST".as_ptr(),
            c"PUT".as_ptr(),
            c"G T".as_ptr(),
        ][below(5)];
        request.headers = &header;
        request.header_count = usize::from(one_in(4));
        request.limits = &limits;
        request.timeout_ns = [0, 300_000, 3_000_000][below(3)];
        match below(4) {
            0 => (request.body, request.body_size) = (c"body".as_ptr().cast(), below(5)),
            1 => {
                request.source = Some(http_source);
                request.source_has_length = coin();
                request.source_length = below(10) as u64;
            }
            _ => {}
        }
        request.user = token();
        request.destroy_user = Some(destroy);
        if coin() {
            return made!(HttpAnswer, hsw_http_answer, hsw_http_send(client, &request));
        }
        if coin() {
            request.method = std::ptr::null();
        }
        let resume = hsw_http_resume {
            from: below(4) as u64,
            validator: [
                c"\"1\"".as_ptr(),
                c"W/\"1\"".as_ptr(),
                c"some".as_ptr(),
                std::ptr::null(),
            ][below(4)],
            start_anew: coin(),
        };
        made!(
            HttpAnswer,
            hsw_http_answer,
            hsw_http_download(client, &request, &resume)
        )
    }
}

fn http_answer() -> i32 {
    if !wall() {
        return HSW_OK;
    }
    let answer = pick!(HttpAnswer, hsw_http_answer);
    let mut text = [0 as c_char; 20];
    let (room, mut size, mut found) = (below(20), 0, false);
    // SAFETY: as the header has it; plain structures may be zero.
    unsafe {
        let text = text.as_mut_ptr();
        match below(13) {
            0 => {
                let mut info: hsw_http_answer_info = std::mem::zeroed();
                hsw_http_answer_get_info(answer, &mut info)
            }
            1 => hsw_http_answer_url(answer, text, room, &mut size),
            2 => hsw_http_answer_reason(answer, text, room, &mut size),
            3 => hsw_http_answer_validator(answer, text, room, &mut size),
            4 => {
                let name = c"content-LENGTH".as_ptr();
                hsw_http_answer_header(answer, name, text, room, &mut size, &mut found)
            }
            5 => hsw_http_answer_header_name(answer, below(3), text, room, &mut size),
            6 => hsw_http_answer_header_value(answer, below(3), text, room, &mut size),
            7 => hsw_http_answer_check_status(answer),
            8 => {
                let (mut data, mut size) = (null_mut(), 0);
                let status = hsw_http_answer_read_all(answer, below(200), &mut data, &mut size);
                if status == HSW_OK {
                    assert_eq!(data.cast::<u8>().add(size).read(), 0);
                    libc::free(data);
                }
                status
            }
            9 | 10 => {
                let mut copied = 0;
                hsw_http_answer_copy_to(answer, Some(http_sink), null_mut(), &mut copied)
            }
            11 => {
                let mut count = 0;
                hsw_http_client_idle(pick!(HttpClient, hsw_http_client), &mut count);
                let mut error: hsw_http_error = std::mem::zeroed();
                hsw_http_last_error(&mut error)
            }
            _ => {
                let status = hsw_http_answer_read(answer, text.cast(), room, &mut size);
                assert!(size <= room);
                status
            }
        }
    }
}

/// Addresses, which need no worker, and what look-ups and bursts may be.
fn lookups() -> i32 {
    // SAFETY: as the header has it.
    unsafe {
        match below(4) {
            0 => {
                let mut found: [hsw_address; 2] = std::mem::zeroed();
                let (room, mut count) = (below(3), 0);
                let host = [c"127.0.0.1", c"::1"][below(2)].as_ptr();
                let limit = [0, 300_000, u64::MAX][below(3)];
                let status = hsw_lookup(host, 80, limit, found.as_mut_ptr(), room, &mut count);
                assert_eq!((status, count), (HSW_OK, 1));
                status
            }
            1 => hsw_lookup_forget([std::ptr::null(), c"origin.test".as_ptr()][below(2)]),
            2 => {
                let mut settings: hsw_lookup_settings = std::mem::zeroed();
                match coin() {
                    true => hsw_lookup_settings_console(&mut settings),
                    false => hsw_lookup_settings_default(&mut settings),
                };
                settings.threads = below(3);
                settings.keep_ns = [0, 1_000, u64::MAX - 1, u64::MAX][below(4)];
                hsw_lookup_configure(&settings)
            }
            _ => {
                let (set, mut told) = ([0, 1, 4096, 1 << 20, usize::MAX][below(5)], 0);
                let status = hsw_loop_set_burst(set);
                hsw_loop_get_burst(&mut told);
                assert!(status != HSW_OK || told == set);
                status
            }
        }
    }
}

/// Descriptors that are nobody's of the library.
fn wait_for_descriptor() -> i32 {
    static ENDS: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();
    let (reader, writer) = ENDS.get_or_init(|| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        (reader.into(), writer.into())
    });
    let fd = [-1, i32::MAX, reader.as_raw_fd(), writer.as_raw_fd()][below(4)];
    let limit = [0, 20_000, 300_000, u64::MAX - 1][below(4)];
    let mut ready = 0;
    // SAFETY: as the header has it.
    unsafe { hsw_fd_wait(fd, below(1 << 16) as u16 as i16, limit, &mut ready) }
}

fn addresses(socket: hsw_socket) -> i32 {
    let mut address = hsw_address {
        family: [
            HSW_FAMILY_IPV4,
            HSW_FAMILY_IPV6,
            HSW_FAMILY_UNIX,
            below(9) as i32,
        ][below(4)],
        scope: below(3) as u32,
        port: below(1 << 16) as u16,
        name_length: below(120) as u16,
        ip: std::array::from_fn(|_| below(256) as u8),
        name: std::array::from_fn(|_| below(256) as c_char),
    };
    let (mut text, mut length, mut number) = ([0; 16], 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(6) {
            0 => {
                let text = [c"127.0.0.1", c"::1", c"fe80::1%1", c"", c"localhost"][below(5)];
                hsw_address_parse(text.as_ptr(), 1, &mut address)
            }
            1 => {
                let room = below(text.len() + 1);
                let status = hsw_address_text(&address, text.as_mut_ptr(), room, &mut length);
                assert!(status != HSW_OK || room == 0 || text[..room].contains(&0));
                status
            }
            2 => hsw_socket_local_address(socket, &mut address),
            3 => hsw_socket_peer_address(socket, &mut address),
            4 => hsw_socket_fd(socket, &mut number),
            _ => hsw_socket_take_error(socket, &mut number),
        }
    }
}

/// Keeps a socket that a call has made, if it has.
fn keep_socket(status: i32, made: hsw_socket) -> i32 {
    if status == HSW_OK {
        // SAFETY: as the header has it.
        assert_eq!(unsafe { hsw_socket_set_timeout(made, 300_000) }, HSW_OK);
        keep(Socket, made.handle);
    }
    status
}

/// A name that only this process uses, or none.
fn unix_name() -> CString {
    let name = match below(8) {
        0 => String::new(),
        1 => "x".repeat(200),
        n => format!("@hsw-fuzz-{}-{}", std::process::id(), n % 4),
    };
    CString::new(name).expect("no zero byte")
}

/// An address that is this machine's own.
fn own_address() -> hsw_address {
    // SAFETY: numbers, which may be zero.
    let mut address: hsw_address = unsafe { std::mem::zeroed() };
    let port = with(|w| w.ports.last().copied()).flatten().unwrap_or(1);
    // SAFETY: as the header has it.
    let status = unsafe {
        if coin() {
            hsw_address_parse(c"127.0.0.1".as_ptr(), port, &mut address)
        } else {
            hsw_address_unix(unix_name().as_ptr(), &mut address)
        }
    };
    assert!(status == HSW_OK || address.family == 0);
    address
}

fn datagrams(socket: hsw_socket) -> i32 {
    let (ip, group) = (c"127.0.0.1".as_ptr(), c"239.255.77.5".as_ptr());
    let group_v6 = c"ff12::1234".as_ptr();
    let (to, mut from) = (own_address(), own_address());
    let to = if coin() {
        &raw const to
    } else {
        std::ptr::null()
    };
    let mut made = hsw_socket { handle: 0 };
    let mut bytes = [0_u8; 8];
    let size = below(bytes.len() + 1);
    let (mut received, mut length, mut port) = (0, 0, 0);
    // SAFETY: as the header has it.
    unsafe {
        match below(11) {
            0 | 1 => {
                let bind = [hsw_udp_bind, hsw_udp_bind_shared][below(2)];
                let status = keep_socket(bind(ip, 0, &mut made), made);
                if status == HSW_OK && hsw_socket_port(made, &mut port) == HSW_OK {
                    with(|w| w.ports.push(port));
                }
                status
            }
            2 => hsw_socket_connect(socket, to),
            3 | 4 => hsw_socket_send(socket, bytes.as_ptr().cast(), size, to),
            5 | 6 => {
                let receive = [hsw_socket_receive, hsw_socket_peek_from][below(2)];
                let buffer = bytes.as_mut_ptr().cast();
                let status = receive(socket, buffer, size, &mut received, &mut length, &mut from);
                assert!(received <= size && (status != HSW_OK || received <= length));
                status
            }
            7 => hsw_udp_join_multicast_v4(socket, group, ip),
            8 => hsw_udp_leave_multicast_v4(socket, group, ip),
            9 => hsw_udp_join_multicast_v6(socket, group_v6, below(3) as u32),
            _ => hsw_udp_leave_multicast_v6(socket, group_v6, below(3) as u32),
        }
    }
}

fn unix_sockets(socket: hsw_socket) -> i32 {
    let name = unix_name();
    let mut made = hsw_socket { handle: 0 };
    let mut other = made;
    // SAFETY: as the header has it.
    unsafe {
        match below(6) {
            0 => keep_socket(hsw_unix_listen(name.as_ptr(), &mut made), made),
            1 => keep_socket(hsw_unix_connect(name.as_ptr(), 300_000, &mut made), made),
            2 => keep_socket(hsw_unix_accept(socket, &mut made), made),
            3 => {
                let name = if coin() {
                    name.as_ptr()
                } else {
                    std::ptr::null()
                };
                keep_socket(hsw_unix_datagram(name, &mut made), made)
            }
            _ => {
                let pair = [hsw_unix_pair, hsw_unix_datagram_pair][below(2)];
                let status = pair(&mut made, &mut other);
                keep_socket(status, made);
                keep_socket(status, other)
            }
        }
    }
}

fn socket_options(socket: hsw_socket) -> i32 {
    // The timeouts stay short.
    let which = HSW_SOCKET_RECEIVE_BUFFER + below(10) as i32;
    let value = [0, 1, 2, 100, 4096, 2_000_000_000, u64::MAX, u64::MAX - 1][below(8)];
    let keepalive = hsw_keepalive {
        idle_ns: value,
        interval_ns: 1_000_000_000,
        probes: below(200) as u32,
    };
    let (mut found, mut kept, mut on) = (0, keepalive, false);
    // SAFETY: as the header has it.
    unsafe {
        match below(5) {
            // It would have the last close block the thread.
            0 if which == HSW_SOCKET_LINGER && value > 2 => HSW_OK,
            0 => hsw_socket_set_option(socket, which, value),
            1 => hsw_socket_get_option(socket, below(20) as i32 - 1, &mut found),
            2 => hsw_socket_set_keepalive(socket, &keepalive),
            3 => hsw_socket_keepalive(socket, &mut on, &mut kept),
            _ => hsw_socket_end_reading(socket),
        }
    }
}

/// The thread's part ends, and begins anew with the next call.
fn exit() -> i32 {
    if !one_in(20) {
        return HSW_OK;
    }
    // SAFETY: no arguments.
    let status = unsafe { hsw_thread_exit() };
    if status == HSW_OK {
        with(|w| {
            for handles in &mut w.handles[..OWN] {
                w.stale.append(handles);
            }
            w.stale.truncate(64);
        });
        // The part that begins has a clock and a loop of its own.
        take_clock();
        tell_loop();
    }
    status
}

/// Without wall time the thread goes by the program's clock.
fn take_clock() {
    if !wall() {
        // SAFETY: as the header has it.
        assert_eq!(unsafe { hsw_set_clock(Some(clock)) }, HSW_OK, "{}", words());
    }
}

/// Makes the thread's loop known to what ends its waits.
fn tell_loop() {
    let Some((stop, index)) = with(|w| w.stop.clone()) else {
        return;
    };
    let mut main_loop = hsw_loop { handle: 0 };
    // SAFETY: as the header has it.
    unsafe {
        assert_eq!(hsw_loop_current(&mut main_loop), HSW_OK, "{}", words());
        let before = std::mem::replace(&mut stop.loops.lock().unwrap()[index], main_loop.handle);
        if before != 0 {
            assert_eq!(hsw_loop_release(hsw_loop { handle: before }), HSW_OK);
        }
    }
}

/// How often an operation comes is how often it stands here.
const OPS: &[Op] = &[
    ("new", new_of_any_kind),
    ("retain", retain_one),
    ("release", release_one),
    ("release", release_one),
    ("release wrong", release_wrong),
    ("trade", trade),
    ("trade", trade),
    ("spawn", spawn),
    ("spawn", spawn),
    ("spawn", spawn),
    ("spawn joined", spawn_joined),
    ("join", join_some),
    ("send", send),
    ("send", send),
    ("send", send),
    ("receive", receive),
    ("receive", receive),
    ("receive", receive),
    ("send throw", send_throw),
    ("send sequence", send_sequence),
    ("channel state", channel_state),
    ("queue", queue),
    ("queue", queue),
    ("thread channel", thread_channel),
    ("thread channel", thread_channel),
    ("thread channel", thread_channel),
    ("thread channel state", thread_channel_state),
    ("select", select),
    ("select", select),
    ("select", select),
    ("schedule", schedule),
    ("schedule", schedule),
    ("run", run),
    ("run", run),
    ("switch", tasklet_switch),
    ("switch", tasklet_switch),
    ("throw", tasklet_throw),
    ("bind", tasklet_bind),
    ("values", tasklet_values),
    ("values", tasklet_values),
    ("flags", tasklet_flags),
    ("questions", questions),
    ("callbacks", callbacks),
    ("traps", traps),
    ("exceptions", exceptions),
    ("errors", errors),
    ("elsewhere", elsewhere),
    ("local", local),
    ("dict", dict),
    ("dict", dict),
    ("record type", record_type),
    ("record", record),
    ("record", record),
    ("lock", lock),
    ("lock", lock),
    ("meet", meet),
    ("meet", meet),
    ("sync queue", sync_queue),
    ("sync queue", sync_queue),
    ("clock", clock_state),
    ("timer", timer),
    ("call later", call_later),
    ("pump", pump),
    ("pump", pump),
    ("main loop", main_loop),
    ("offload", offload),
    ("remote", remote),
    ("remote", remote),
    ("threads", threads),
    ("host lock", host_lock),
    ("poll", poll),
    ("listen", listen),
    ("socket", socket),
    ("http send", http_send),
    ("http answer", http_answer),
    ("http answer", http_answer),
    ("exit", exit),
];

// ---------------------------------------------------------------------------------------------- programs

/// What ends a thread's program when its time is over.
struct Stop {
    /// Handles of the threads' loops; 0: not there yet, or not any more.
    loops: Mutex<Vec<u64>>,
    over: AtomicBool,
}

/// In the pump of a thread that has had some time: it is to do less, and nothing in the end.
unsafe extern "C" fn stop_here(_: *mut c_void) -> i32 {
    with(|w| w.fuel /= 2);
    // SAFETY: as the header has it.
    unsafe {
        hsw_spawn(
            Some(end_main_wait),
            null_mut(),
            std::ptr::null(),
            null_mut(),
        )
    }
}

/// Main's wait ends.
unsafe extern "C" fn end_main_wait(_: *mut c_void) -> i32 {
    let payload = token();
    let mut main = hsw_tasklet { handle: 0 };
    // SAFETY: as the header has it.
    unsafe {
        if hsw_main(&mut main) == HSW_OK {
            hsw_tasklet_throw(main, payload, Some(destroy), c"the end".as_ptr(), true);
            hsw_tasklet_release(main);
        } else {
            end(payload);
        }
    }
    HSW_OK
}

/// Ends waits that may last for ever, again and again: a wait may come after the look.
fn stop_all(stop: &Stop) {
    while !stop.over.load(SeqCst) {
        for main_loop in stop.loops.lock().unwrap().iter().filter(|l| **l != 0) {
            let main_loop = hsw_loop { handle: *main_loop };
            // SAFETY: as the header has it.
            unsafe {
                hsw_loop_post(main_loop, Some(stop_here), null_mut(), None);
                hsw_loop_stop(main_loop);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn let_all_go() {
    for kind in ALL {
        while let Some(Some(handle)) = with(|w| w.handles[kind as usize].pop()) {
            let_go(kind, handle);
        }
    }
}

/// One thread of a program.
fn thread(seed: u64, index: usize, wall: bool, given: Vec<(K, u64)>, stop: &Arc<Stop>) {
    let rng = Rng::new(seed.wrapping_mul(31).wrapping_add(index as u64));
    let mut world = World {
        rng,
        handles: Default::default(),
        stale: vec![],
        ports: vec![],
        op: 0,
        fuel: 0,
        depth: 0,
        wall,
        now: 0,
        stop: (stop.clone(), index),
    };
    for (kind, handle) in given {
        world.handles[kind as usize].push(handle);
    }
    WORLD.set(&mut world);
    // SAFETY: as the header has it; a plain structure may be zero.
    unsafe {
        let mut settings = std::mem::zeroed::<hsw_settings>();
        assert_eq!(hsw_settings_default(&mut settings), HSW_OK);
        settings.windows = 1 + below(3);
        settings.window_size = 128 << 10;
        settings.stack_size = if cfg!(feature = "asan") {
            512 << 10
        } else {
            128 << 10
        };
        settings.watermark = [0, 4 << 10, 64 << 10][below(3)];
        settings.slice_cache = [0, 64 << 10][below(2)];
        settings.stack_pool = below(3);
        settings.spin_ns = [0, 10_000][below(2)];
        if one_in(8) {
            settings.memory_ceiling = 2 << 20;
        }
        assert_eq!(hsw_init(&settings), HSW_OK, "{}", words());
        take_clock();
        tell_loop();

        with(|w| w.fuel = 60 + w.rng.below(600));
        while has_fuel() {
            operation();
        }

        // The end: nothing new, and what is there goes, by its handles or with the thread.
        hsw_host_lock_uninstall();
        hsw_set_schedule_callback(None, null_mut(), null_mut(), null_mut());
        hsw_set_channel_callback(None, null_mut(), null_mut(), null_mut());
        hsw_set_error_handler(None, null_mut(), null_mut(), null_mut());
        let_all_go();
        let ended = hsw_thread_exit();
        assert_eq!(ended, HSW_OK, "{}", words());
        // What a call gave to a tasklet that was ending.
        with(|w| w.handles[..OWN].iter_mut().for_each(Vec::clear));
        let_all_go();
        let main_loop = std::mem::take(&mut stop.loops.lock().unwrap()[index]);
        assert_eq!(hsw_loop_release(hsw_loop { handle: main_loop }), HSW_OK);
    }
    WORLD.set(null_mut());
}

fn program(seed: u64) {
    if TRACE.load(SeqCst) {
        eprintln!("program {seed}");
    }
    let count = 1 + (seed % 4) as usize;
    let wall = count > 1;
    for token in &TOKENS[..MADE.swap(0, SeqCst).min(TOKENS.len())] {
        token.store(0, SeqCst);
    }
    let stop = Arc::new(Stop {
        loops: Mutex::new(vec![0; count]),
        over: AtomicBool::new(false),
    });
    let named = |index| std::thread::Builder::new().name(format!("thread {index}"));
    let threads: Vec<_> = (0..count)
        .map(|index| {
            let stop = stop.clone();
            let run = move || thread(seed, index, wall, vec![], &stop);
            named(index).spawn(run).expect("a thread")
        })
        .collect();
    let stopper = {
        let stop = stop.clone();
        let run = move || {
            // A program of one thread has no wait that needs to be ended, and what depended on the wall
            // clock would differ from run to run. One that hangs all the same is named by `--patience`.
            if wall {
                std::thread::park_timeout(PROGRAM);
                stop_all(&stop);
            }
        };
        std::thread::spawn(run)
    };
    let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
    stop.over.store(true, SeqCst);
    stopper.thread().unpark();
    stopper.join().expect("the stopper");
    assert!(ends.iter().all(Result::is_ok), "a thread has failed");

    for (kind, handle) in std::mem::take(&mut *EXCHANGE.lock().unwrap()) {
        assert_eq!(release(kind, handle), HSW_OK);
    }
    // What workers still do, or give back.
    for _ in 0..400 {
        if left().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = left();
    assert!(
        left.is_empty(),
        "tokens that never ended, by who made them: {left:?}"
    );
    // SAFETY: no arguments.
    let handles = unsafe { hsw_live_shared_handles() };
    assert_eq!(handles, 0, "handles that are left");
}

fn left() -> Vec<(usize, &'static str)> {
    let made = &TOKENS[..MADE.load(SeqCst)];
    let states = made.iter().map(|token| token.load(SeqCst)).enumerate();
    let left = states.filter(|(_, token)| token & OUT != 0);
    left.map(|(number, token)| (number, maker(token))).collect()
}

fn main() {
    let arguments = fuzz::Arguments::parse();
    TRACE.store(std::env::var_os("FUZZ_TRACE").is_some(), SeqCst);
    let before = calls();
    let runs = fuzz::for_each_seed("abi", &arguments, program);
    println!("abi: {} calls", calls() - before);
    let never = never_called();
    if runs >= 400 && !arguments.same {
        assert!(never.is_empty(), "broken promise: never called: {never:?}");
    } else if !never.is_empty() {
        println!("abi: not called in so few runs: {never:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_one_thread_does_the_same_each_time() {
        for seed in [4, 8, 12, 16] {
            let course = || {
                take_course();
                program(seed);
                take_course()
            };
            assert_eq!(course(), course(), "seed {seed}");
        }
    }
}
