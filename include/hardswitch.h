/*
 * hardswitch: tasklets and channels on hard-switched, sliced stacks.
 *
 * This file is generated from src/ffi by cbindgen; docs/c-abi.md explains the rules that hold for all of it: who owns what,
 * which thread may call, what a failed call has changed, and what a sliced stack must not be used for.
 * hardswitch.hpp is the same for C++17, with RAII and exceptions.
 */

#ifndef HARDSWITCH_H
#define HARDSWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of the interface in this header. A host that was compiled against another
// `HSW_ABI_VERSION` than the library it is linked to must not go on: compare the two once at
// start.
#define HSW_ABI_VERSION 1

// No limit: of a budget, or of the time that a call waits.
#define HSW_NO_LIMIT 18446744073709551615ull

// What is true of a tasklet: bits of `hsw_tasklet_state`.
#define HSW_TASKLET_ALIVE 1

// Alive, and neither queued nor blocked.
#define HSW_TASKLET_PAUSED 2

// Waiting on a channel.
#define HSW_TASKLET_BLOCKED 4

// In the run queue, or blocked (as in Stackless).
#define HSW_TASKLET_SCHEDULED 8

// The main tasklet of its thread.
#define HSW_TASKLET_MAIN 16

// The tasklet that is running.
#define HSW_TASKLET_CURRENT 32

// Its block trap is set.
#define HSW_TASKLET_BLOCK_TRAP 64

// It shares a window.
#define HSW_TASKLET_SLICED 128

// It was killed ten times and refused to end; it is kept for ever.
#define HSW_TASKLET_ZOMBIE 256

// What a case of `hsw_select` does.
enum hsw_direction
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // Receives.
  HSW_RECEIVE = -1,
  // Sends.
  HSW_SEND = 1,
};
#ifndef __cplusplus
typedef int32_t hsw_direction;
#endif // __cplusplus

// What happened to a lock.
enum hsw_host_lock_happening
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The thread starts to wait, since another has it.
  HSW_LOCK_CONTENDED = 0,
  // The thread has got it.
  HSW_LOCK_ACQUIRED = 1,
  // The thread is about to give it up.
  HSW_LOCK_RELEASED = 2,
};
#ifndef __cplusplus
typedef int32_t hsw_host_lock_happening;
#endif // __cplusplus

// Who runs first when sender and receiver have met.
enum hsw_preference
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The receiver: a send switches to it at once. The default.
  HSW_PREFER_RECEIVER = -1,
  // Whoever came second goes on.
  HSW_PREFER_NEITHER = 0,
  // The sender.
  HSW_PREFER_SENDER = 1,
};
#ifndef __cplusplus
typedef int32_t hsw_preference;
#endif // __cplusplus

// Where a tasklet's frames live.
enum hsw_stack
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The default: in a stack window that it shares with others. While it does not run, its live
  // bytes may be on the heap, and *its stack addresses hold somebody else's bytes*. So nothing
  // outside of the tasklet may touch its stack while it is not running: no pointer to one of its
  // locals in another tasklet, another thread, a queue, a list or a pending system call. What
  // others shall see goes to the heap.
  HSW_STACK_SLICED = 0,
  // A stack of its own, with a guard page. Pointers into it stay good for as long as its frames
  // live.
  HSW_STACK_OWN = 1,
};
#ifndef __cplusplus
typedef int32_t hsw_stack;
#endif // __cplusplus

// What a call came to. `hsw_last_error_message` has the words.
//
// The codes from `HSW_ERR_EXIT` to below `HSW_ERR_NULL` are events of the runtime; those from
// `HSW_ERR_NULL` on are mistakes of the caller, found before anything was changed (but for
// `HSW_ERR_INTERNAL`). What a function takes over *also when it fails* it takes over with each of
// them, unless its own words say that after a mistake it does not.
enum hsw_status
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // All went well.
  HSW_OK = 0,
  // The calling tasklet was killed (TaskletExit). Clean up and return; a tasklet that goes on
  // blocking gets this again.
  HSW_ERR_EXIT = 1,
  // Somebody threw something at the calling tasklet, or sent it an exception; or another tasklet
  // has failed, and nobody handled that. `hsw_last_error_payload` has what an exception carries,
  // `hsw_last_error_cause` what the failure was. All calls that wait tell it so, *whatever it
  // was*: any other status but the two beside this one is the call's own end. If somebody's
  // socket has timed out, that is no `HSW_ERR_TIMEOUT` of a call that waits meanwhile.
  HSW_ERR_THROWN = 2,
  // A tasklet of the Rust side panicked, and nobody handled it.
  HSW_ERR_PANICKED = 3,
  // The channel is closed.
  HSW_ERR_CLOSED = 4,
  // The last runnable tasklet cannot be blocked.
  HSW_ERR_DEADLOCK = 5,
  // The main tasklet is receiving without a sender available.
  HSW_ERR_MAIN_RECEIVING = 6,
  // The main tasklet is sending without a receiver available.
  HSW_ERR_MAIN_SENDING = 7,
  // The tasklet does not like to be blocked (its block trap is set).
  HSW_ERR_BLOCK_TRAP = 8,
  // A switch where none is allowed: under `hsw_switch_trap`, in a callback, during unwinding.
  HSW_ERR_SWITCH_TRAP = 9,
  // The time is over that the call was given. (A connection that the system found dead is
  // `HSW_ERR_IO`, also with `ETIMEDOUT`.)
  HSW_ERR_TIMEOUT = 10,
  // The object is in a state in which this call makes no sense ("You cannot run a blocked
  // tasklet"); or the calling thread is ending, so that nothing can be waited for or made there
  // any more.
  HSW_ERR_STATE = 11,
  // Iteration over a channel has come to its end.
  HSW_ERR_STOP_ITERATION = 12,
  // A stack of this size cannot be had.
  HSW_ERR_STACK_SIZE = 13,
  // There is no memory for it, or the ceiling of the settings has been reached.
  HSW_ERR_OUT_OF_MEMORY = 14,
  // Input or output failed; `hsw_last_error_errno` has the system's number.
  HSW_ERR_IO = 15,
  // A value of another type than expected.
  HSW_ERR_WRONG_TYPE = 16,
  // A call that must not wait would have to.
  HSW_ERR_WOULD_BLOCK = 17,
  // Settings that contradict themselves or come too late.
  HSW_ERR_SETTINGS = 18,
  // The value that a waiting sender had to hand over was lost to somebody else's deadlock.
  HSW_ERR_VALUE_LOST = 19,
  // Somebody gave up waiting at the barrier, or broke it.
  HSW_ERR_BROKEN = 20,
  // Another error of the runtime.
  HSW_ERR_OTHER = 31,
  // A pointer or handle that must not be null is.
  HSW_ERR_NULL = 32,
  // The handle was released, or never was one.
  HSW_ERR_STALE = 33,
  // The handle belongs to another thread.
  HSW_ERR_WRONG_THREAD = 34,
  // The handle names an object of another kind.
  HSW_ERR_WRONG_KIND = 35,
  // An argument is out of its range.
  HSW_ERR_ARGUMENT = 36,
  // A limit of the interface has been reached.
  HSW_ERR_LIMIT = 37,
  // The calling thread has ended its use of the library for good: there its handles name nothing
  // any more.
  HSW_ERR_THREAD_ENDING = 38,
  // The library has failed within (a bug of it, or of a callback in Rust). The message has the
  // words of the panic. A value that the call was to hand over has been freed, or a receiver has
  // it.
  HSW_ERR_INTERNAL = 39,
};
#ifndef __cplusplus
typedef int32_t hsw_status;
#endif // __cplusplus

// Frees a value that nobody will receive any more. May be null: then nothing is done. It must not
// unwind. It may call this library, also in ways that switch.
typedef void (*hsw_destroy)(void *data);

// A handle of a channel; for its owner and thread the same holds as for `hsw_tasklet`.
typedef struct hsw_channel {
  // Opaque; zero is nothing. Two handles of one channel differ: compare `hsw_channel_id`.
  uint64_t handle;
} hsw_channel;

// A handle of a tasklet. It belongs to the thread that got it and to one owner, who gives it back
// with `hsw_tasklet_release`. All zero is the handle of nothing.
typedef struct hsw_tasklet {
  // Opaque; zero is nothing. Two handles of one tasklet differ: compare `hsw_tasklet_id`.
  uint64_t handle;
} hsw_tasklet;

// Gets a piece of text: `length` bytes, which do not end in a zero and may end in the middle of a
// line. It must neither use this library nor unwind.
typedef void (*hsw_write)(const char *text, size_t length, void *user);

// A handle of an error: of what a call failed with, payload and all. Any thread may use it, and it
// has one owner, who gives it back with `hsw_error_release`.
typedef struct hsw_error {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_error;

// `__cxa_get_globals` of a C++ runtime (Itanium C++ ABI, 2.2.2).
typedef void *(*hsw_cxa_get_globals)(void);

// As `hsw_entry`, with a result: what it has written to `*result` (null at first) when it returns
// `HSW_OK`. What it ends with otherwise is what who joins it is told (`HSW_ERR_THROWN`), and what
// it has written is still its own to free.
typedef hsw_status (*hsw_join_entry)(void *argument, void **result);

// How to make a tasklet. Set all to zero for the defaults.
typedef struct hsw_tasklet_options {
  // A name for messages and tools; copied. May be null.
  const char *name;
  // One of `hsw_stack`.
  int32_t stack;
  // Bytes of an own stack; 0: the default of the settings. A sliced tasklet has its window's
  // size, and 0 must stand here.
  size_t stack_size;
  // Floating-point control words (rounding mode, exception masks) of its own, instead of the
  // thread's.
  bool fp_env;
  // Where in the host's source the tasklet is made, for `hsw_tasklet_site`: a string that stays
  // for ever, as `__FILE__`, in UTF-8. Null: it is not told.
  const char *file;
  // The line there, as `__LINE__`.
  uint32_t line;
  // Frees the argument: called once, when the entry function has returned or it is sure that it
  // will never run. May be null.
  hsw_destroy destroy_argument;
} hsw_tasklet_options;

// A handle of a tasklet's result, once it has ended; for its owner and thread the same holds as
// for `hsw_tasklet`. The last one frees a result that nobody took; the tasklet runs on all the
// same.
typedef struct hsw_join {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_join;

// A handle of a channel with a queue; for its owner and thread the same holds as for
// `hsw_tasklet`.
typedef struct hsw_queue {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_queue;

// How long a run may take, in turns of tasklets and in time, whichever is used up first.
// `HSW_NO_LIMIT` is no limit.
typedef struct hsw_budget {
  // How often a tasklet may be switched to. A tasklet that is alone and schedules has a turn as
  // well. With 0 nobody runs.
  uint64_t switches;
  // Nanoseconds. 0 is one turn.
  uint64_t time_ns;
} hsw_budget;

// What `hsw_run_with` has done.
typedef struct hsw_run_report {
  // Tasklets that are still in the run queue, the caller not included.
  size_t runnable;
  // Turns that tasklets had.
  uint64_t switches;
  // Tasklets that ended.
  uint64_t completed;
  // What is left of the budget; `HSW_NO_LIMIT` where there was no limit.
  struct hsw_budget left;
  // Was the budget used up?
  bool used_up;
  // Who was giving way when it was, if still queued; else the handle of nothing. The caller owns
  // the handle.
  struct hsw_tasklet interrupted;
} hsw_run_report;

// A monotonic clock: nanoseconds since any fixed moment. It must not unwind or call this library.
typedef uint64_t (*hsw_clock)(void);

// What a tasklet runs. It ends the tasklet by returning: `HSW_OK`, or the failure it met.
// Returning the status of a failed call passes that error on, with its payload: `HSW_ERR_EXIT`
// ends the tasklet silently, any other goes to the error handler, or arrives as the failure of the
// innermost `hsw_run`.
typedef hsw_status (*hsw_entry)(void *argument);

// Counters of the calling thread.
typedef struct hsw_counters {
  // Tasklets that were ever made, main included.
  uint64_t tasklets_made;
  // Tasklets that have run to their end.
  uint64_t tasklets_completed;
  // Turns that tasklets had in the last `hsw_run_with`.
  uint64_t last_run_switches;
  // Tasklets that ended in the last `hsw_run_with`.
  uint64_t last_run_completed;
  // Channels and queues of the host that exist.
  size_t channels;
  // Waits with a timeout.
  size_t timeouts;
} hsw_counters;

// Called before each switch: `previous` (the handle of nothing when main starts) is still current.
// The handles are lent for the time of the call: `hsw_tasklet_retain` those to keep. It must
// neither switch nor unwind.
typedef void (*hsw_schedule_callback)(struct hsw_tasklet previous, struct hsw_tasklet next, void *user);

// Called at the begin of each channel operation, also of one that then fails. The handle of the
// tasklet is lent for the time of the call. It must neither use the channel nor unwind.
typedef void (*hsw_channel_callback)(size_t channel_id, struct hsw_tasklet tasklet, bool sending, bool will_block, void *user);

// An error that a tasklet ended with, as the error handler sees it. All of it is lent for the time
// of the call.
typedef struct hsw_uncaught {
  // What it is.
  hsw_status status;
  // Its words; never null.
  const char *message;
  // The payload of an exception of C's, else null.
  void *payload;
  // The function given with the payload, else null.
  hsw_destroy destroy;
} hsw_uncaught;

// Called in a tasklet that ends with an error other than `HSW_ERR_EXIT`. `HSW_OK` means that the
// error has been dealt with; with any other answer it goes on to the innermost `hsw_run`. While it
// runs the error is the tasklet's last one: `hsw_error_last` keeps it. It must not unwind.
typedef hsw_status (*hsw_error_handler)(const struct hsw_uncaught *error, void *user);

// A handle of a channel between tasklets of any threads. Any thread may use it, and give it back.
//
// As a channel of one thread (`hsw_channel`), except: a partner on another thread is made runnable
// there, whatever the preference, and the caller goes on without a switch. Nobody can see who
// waits. Values, and the function that frees them, cross threads. A thread with nothing else to do
// sleeps in the system until it is woken. `HSW_ERR_DEADLOCK` counts all threads that use the
// library: the last one that can run does not get to wait.
//
// A thread that does not use the library yet is counted by the handle that is on its way to it:
// *give each thread a handle of its own* (`hsw_thread_channel_retain`) when it is started. While
// there are a handle that nobody has used yet and a thread that has not used the library yet, no
// deadlock is found. With a handle that others use already, it would be found too early.
typedef struct hsw_thread_channel {
  // Opaque; zero is nothing. Two handles of one channel differ: compare `hsw_thread_channel_id`.
  uint64_t handle;
} hsw_thread_channel;

// One of the operations of `hsw_select`.
typedef struct hsw_case {
  // The channel; or the handle of nothing, and
  struct hsw_channel channel;
  // the queue, which can be sent to when it has room, and received from when it has a value; or
  // `join`; or `thread_channel`.
  struct hsw_queue queue;
  // One of `hsw_direction`.
  int32_t direction;
  // The value to send; or where the received value is written.
  void *value;
  // Or, with the others the handles of nothing, a tasklet's result, to be received: as
  // `hsw_join_wait`.
  struct hsw_join join;
  // Or a channel between threads: a partner on another thread is made runnable there, and nobody
  // switches because of it. The library needs an operating system for that.
  struct hsw_thread_channel thread_channel;
} hsw_case;

// Sizes and limits of a thread's runtime. Fill it with `hsw_settings_default` or
// `hsw_settings_console`, change what you like, and pass it to `hsw_init`. Sizes in bytes.
typedef struct hsw_settings {
  // Windows that sliced tasklets share, 1 to 1024. A hot set of as many tasklets is never
  // copied.
  size_t windows;
  // Size of a window: what a sliced tasklet has for a stack, except by spilling.
  size_t window_size;
  // Stack in use above which a spill puts frames away; 0: always.
  size_t watermark;
  // Size of an own stack, unless its tasklet asks for another.
  size_t stack_size;
  // How many used own stacks are kept for new tasklets.
  size_t stack_pool;
  // Bytes below each window and stack that fault when they are touched; a page at least. Address
  // space alone, no memory. A frame that is larger and was compiled without stack probes
  // (`-fstack-clash-protection`) can step over them.
  size_t guard_size;
  // Bytes of free slices that are kept.
  size_t slice_cache;
  // What control blocks, slices and stacks may take together; beyond it `hsw_spawn`, and
  // switches that need more, fail with `HSW_ERR_OUT_OF_MEMORY`. `SIZE_MAX`: no ceiling.
  size_t memory_ceiling;
  // Report an overflow with the tasklet's name. Installs a handler for SIGSEGV and SIGBUS; the
  // one that was there is called as well, after the report and for all other faults.
  bool overflow_report;
  // Nanoseconds for which the last tasklet of the thread that can run looks for its partner on
  // another thread before the thread goes to sleep. It is processor time. 0: never; a library
  // without threads never does.
  uint64_t spin_ns;
} hsw_settings;

// Figures of a thread's runtime. Bytes unless the name says otherwise.
typedef struct hsw_stats {
  // Switches so far.
  uint64_t switches;
  // Bytes copied out of and into windows so far.
  uint64_t copied_bytes;
  // How often a slice had to come from the allocator.
  uint64_t slice_allocations;
  // Tasklets that exist, main included.
  size_t tasklets;
  // Channels and queues of the host that exist.
  size_t channels;
  // Tasklets in the run queue, the running one included.
  size_t run_count;
  // Tasklets that refused to end.
  size_t zombies;
  // Bytes in the slices that tasklets hold.
  size_t slice_bytes;
  // The most that `slice_bytes` has been.
  size_t slice_peak;
  // Bytes in free slices that are kept.
  size_t slice_cache_bytes;
  // Bytes of all windows.
  size_t window_bytes;
  // Stacks that tasklets own.
  size_t stacks;
  // Stacks that wait in the pool.
  size_t stacks_pooled;
  // Bytes of control blocks, free ones included.
  size_t control_bytes;
  // All bytes that count against the ceiling.
  size_t memory_bytes;
} hsw_stats;

// A function that is called once. It must not unwind.
typedef void (*hsw_function)(void *argument);

// When a tasklet ran, by the thread's clock, in nanoseconds; measured while `hsw_set_statistics`
// is on.
typedef struct hsw_tasklet_times {
  // How long it has run, all turns together.
  uint64_t run_ns;
  // When it was first switched to; `HSW_NO_LIMIT`: not yet, or not measured.
  uint64_t started_ns;
  // When it ended; `HSW_NO_LIMIT`: not yet, or not measured.
  uint64_t ended_ns;
} hsw_tasklet_times;

// What is measured about a tasklet.
typedef struct hsw_tasklet_stats {
  // How often it was switched to.
  uint64_t switches;
  // Bytes of live stack while parked; 0 while it runs and when it has none.
  size_t stack_bytes;
  // Bytes of the heap buffer that holds its slice.
  size_t slice_bytes;
} hsw_tasklet_stats;

// A handle of a key under which each tasklet has a value of its own. Any thread may use it; it has
// one owner, who gives it back with `hsw_local_release`.
typedef struct hsw_local {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_local;

// When the owner's turn is up, if another thread waits.
typedef struct hsw_host_lock_settings {
  // When it has made so many switches while another waits; pumps and runs count as well. 0 and 1
  // are the first; `HSW_NO_LIMIT`: switches do not count.
  uint64_t switches;
  // At the first switch when it has had the lock for so many nanoseconds; `HSW_NO_LIMIT`: time
  // does not count.
  uint64_t time_ns;
} hsw_host_lock_settings;

// A lock under which one thread at a time runs its tasklets, as with an interpreter's global lock.
// Any thread may use the handle, and give it back. Only threads that have joined the lock know of
// it. Its owner gives it up, to who has waited longest, in every wait of the library with nobody
// else to run, in `hsw_allow_threads`, when its turn is up and somebody waits (not while an atomic
// tasklet runs), and when its thread ends. Code that neither switches nor waits keeps it.
typedef struct hsw_host_lock {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_host_lock;

// A thread, and the tasklet that ran there.
typedef struct hsw_host_lock_owner {
  // As `hsw_thread_id`; 0: nobody.
  uint64_t thread_id;
  // As `hsw_tasklet_id`.
  size_t tasklet_id;
} hsw_host_lock_owner;

// Figures of a lock since it was made.
typedef struct hsw_host_lock_stats {
  // Times that a thread got it.
  uint64_t acquired;
  // Times that a thread had to wait for it.
  uint64_t contended;
  // Times that its owner's turn was up.
  uint64_t turns_up;
  // Nanoseconds that threads have waited for it, together; those that still do not counted.
  uint64_t waited_ns;
  // The longest of these waits.
  uint64_t longest_wait_ns;
  // Nanoseconds that it was owned; the present owner not counted.
  uint64_t held_ns;
  // Threads that wait.
  size_t waiting;
  // Who has it.
  struct hsw_host_lock_owner owner;
} hsw_host_lock_stats;

// What the hook of a lock is told.
typedef struct hsw_host_lock_event {
  // One of `hsw_host_lock_happening`.
  int32_t what;
  // The thread that it happened to.
  struct hsw_host_lock_owner who;
  // Who has the lock, when it is contended.
  struct hsw_host_lock_owner owner;
  // How long the thread waited for it (acquired), or had it (released), in nanoseconds.
  uint64_t time_ns;
} hsw_host_lock_event;

// Called by the thread that something happened to. It may look, but what would switch or wait is
// refused. It must not unwind.
typedef void (*hsw_host_lock_hook)(const struct hsw_host_lock_event *event, void *user);

// What the calling thread's loop waits for.
typedef struct hsw_loop_info {
  // Is there nothing that could wake a tasklet: no timer, no socket waited for, no offload call,
  // no event, no `hsw_work`? (Another thread may.)
  bool idle;
  // Tasklets that wait for sockets.
  size_t sockets;
  // Sleepers, timeouts and timers.
  size_t timers;
  // Nanoseconds until the first of those is due; `HSW_NO_LIMIT`: there is none.
  uint64_t next_ns;
} hsw_loop_info;

// A reference to a thread's main loop that any thread may use, and give back. The loop does not
// live longer for it.
typedef struct hsw_loop {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_loop;

// Says that its holder will post to a loop: until it is given back the loop is not idle, and who
// is the last to block on its thread sleeps instead of getting `HSW_ERR_DEADLOCK` (if the process
// has other threads). For threads that the library knows nothing of, as long as they have work for
// the loop; a `hsw_loop` may be kept by anybody, and promises nothing. Any thread may use it, and
// give it back.
typedef struct hsw_work {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_work;

// A handle of a socket; for its owner and thread the same holds as for `hsw_tasklet`. A handle
// that is used by several tasklets at a time is fine: a reader and a writer do not disturb each
// other.
typedef struct hsw_socket {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_socket;

// What a pool may use.
typedef struct hsw_pool_settings {
  // Threads, at most. At least 1.
  size_t threads;
  // Bytes of stack of each thread; the system's minimum if that is more.
  size_t stack_size;
  // Calls that may wait for a thread. At least 1.
  size_t queue;
} hsw_pool_settings;

// Worker threads and their queue. Any thread may use it, and give it back.
typedef struct hsw_pool {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_pool;

// A blocking function, called on a worker thread. It may use nothing that belongs to the tasklet's
// thread: none of its handles, and no address of a sliced stack. What it returns is the result. It
// must not unwind.
typedef void *(*hsw_job)(void *argument);

// Gets the outcome of a job that its tasklet did not wait for to the end: `HSW_OK` and the result,
// which is the callback's then; or why the job was not called (`HSW_ERR_CLOSED`: its pool was shut
// down before), and null. Called once, on the tasklet's thread, in a pump of its main loop, or,
// when the outcome was there already, as the tasklet leaves the wait. It must not block or unwind.
typedef void (*hsw_abandoned)(hsw_status outcome, void *result, void *user);

// A call of a blocking function. Set all to zero for the defaults; but mind `timeout_ns`.
typedef struct hsw_offload_call {
  // The function.
  hsw_job job;
  // What it is called with. The runtime's once the call is made, whatever its status, mistakes
  // included: if the job is never called, `destroy_argument` frees it; once called, the job
  // must, which may be after a call that has failed.
  void *argument;
  // Frees the argument of a job that is never called. May be null. Any thread may call it.
  hsw_destroy destroy_argument;
  // Frees a result that nobody takes. May be null. Any thread may call it.
  hsw_destroy destroy_result;
  // How long the tasklet waits, in nanoseconds; `HSW_NO_LIMIT`: as long as it takes. 0: until
  // the next pump.
  uint64_t timeout_ns;
  // Where the job runs; the handle of nothing: in the process's pool.
  struct hsw_pool pool;
  // Gets the outcome if the tasklet does not wait to the end. May be null: then `destroy_result`
  // frees the result.
  hsw_abandoned on_abandoned;
  // What the callback is called with. The runtime's, as the argument.
  void *user;
  // Frees `user` when the callback has returned or will not be called, on the tasklet's thread.
  // May be null.
  hsw_destroy destroy_user;
} hsw_offload_call;

// A reference to a tasklet that any thread may use, and give back. The tasklet lives on while
// there is one, as with a handle.
//
// What is asked of it is done on the tasklet's own thread, in the order of asking, at that
// thread's next switch or pump at the latest. Nothing here waits for it but `hsw_remote_with` and
// `hsw_remote_state`, and nothing ever switches the calling thread. So an operation that its
// thread refuses (`insert` of a tasklet that has ended meanwhile) is no error here.
//
// As with `hsw_thread_channel`, each thread should get a handle of its own.
typedef struct hsw_remote {
  // Opaque; zero is nothing. Two handles of one tasklet differ: compare `hsw_remote_tasklet_id`.
  uint64_t handle;
} hsw_remote;

// What `hsw_remote_with` calls, with a handle of the tasklet that is lent for the time of the
// call: `hsw_tasklet_retain` one to keep there. It runs on whatever tasklet is running on that
// thread, should not block, and must not unwind.
typedef void (*hsw_remote_function)(struct hsw_tasklet tasklet, void *argument);

// A handle of a lock. As all handles of this part: any thread may use it, and it has one owner,
// who gives it back with `hsw_lock_release`.
typedef struct hsw_lock {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_lock;

// A handle of a lock that its holder may take again; see `hsw_lock`.
typedef struct hsw_rlock {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_rlock;

// A handle of a semaphore; see `hsw_lock`.
typedef struct hsw_semaphore {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_semaphore;

// A handle of a condition; see `hsw_lock`.
typedef struct hsw_condition {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_condition;

// A handle of an event; see `hsw_lock`.
typedef struct hsw_event {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_event;

// A handle of a barrier; see `hsw_lock`.
typedef struct hsw_barrier {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_barrier;

// A handle of a queue between threads; see `hsw_lock`. (`hsw_queue` is one within a thread.)
typedef struct hsw_sync_queue {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_sync_queue;

// What is known of a thread.
typedef struct hsw_thread_info {
  // Its name, cut to what fits in here; "" when it has none. Threads that were not made in Rust
  // have none.
  char name[64];
  // Its main tasklet. The caller owns the handle.
  struct hsw_remote main_tasklet;
  // The tasklet that ran when it answered. The caller owns the handle.
  struct hsw_remote current;
  // Tasklets in its run queue, the running one included.
  size_t run_count;
  // Tasklets that exist there, main included.
  size_t tasklets;
} hsw_thread_info;

// A handle of a clock that has timers; for its owner and thread the same holds as for
// `hsw_tasklet`. (The function of `hsw_set_clock` is another thing: the source of time for budgets
// and for the timeouts of channels.)
typedef struct hsw_timer_clock {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_timer_clock;

// What is to be known of a clock.
typedef struct hsw_timer_clock_info {
  // Simulated time, not wall time.
  bool simulated;
  // Does it stand still because it was paused?
  bool paused;
  // How many times as fast as wall time it runs when it is not paused.
  double scale;
  // Timers and sleepers that wait.
  size_t pending;
  // When the next of them is due, as the clock shows it; `HSW_NO_LIMIT` when there is none, or
  // later than can be told.
  uint64_t next_due_ns;
} hsw_timer_clock_info;

// A handle of a timer; for its owner and thread the same holds as for `hsw_tasklet`.
typedef struct hsw_timer {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_timer;





#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library, as "MAJOR.MINOR.PATCH". Never null, never freed.
const char *hsw_version(void);

// `HSW_ABI_VERSION` of the library that is linked.
uint32_t hsw_abi_version(void);

// Makes a channel. Its values are pointers. `destroy` (may be null) frees those that nobody will
// receive.
hsw_status hsw_channel_new(hsw_destroy destroy, struct hsw_channel *channel);

// Makes another handle of the same channel, with an owner of its own.
hsw_status hsw_channel_retain(struct hsw_channel channel, struct hsw_channel *other);

// Gives a handle back. It is stale from now on. The channel lives on while others have handles or
// a tasklet is in a call of it.
hsw_status hsw_channel_release(struct hsw_channel channel);

// Sends a value; blocks while nobody receives.
//
// The value is the channel's from now on, *also when this call fails* (but for mistakes of the
// caller's, after which nothing has changed): then the channel's `destroy` frees it, unless a
// receiver has it already. (A sender that is killed after its value was taken gets `HSW_ERR_EXIT`,
// too; so a sender cannot know whether a value is its own again, and must not have to.)
hsw_status hsw_channel_send(struct hsw_channel channel, void *value);

// Receives a value; blocks while nobody sends. The value is the caller's.
hsw_status hsw_channel_receive(struct hsw_channel channel, void **value);

// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. For the payload the same holds
// as in `hsw_tasklet_throw`.
hsw_status hsw_channel_send_throw(struct hsw_channel channel, void *payload, hsw_destroy destroy, const char *message);

// Sends `count` values one after the other. For all of them the same holds as in
// `hsw_channel_send`. `sent` (may be null) gets how many were sent, also on failure; the others
// have been freed then.
//
// `values` must not lie on a sliced stack other than the caller's own.
hsw_status hsw_channel_send_sequence(struct hsw_channel channel, void *const *values, size_t count, size_t *sent);

// The next value of an iteration over the channel: as `hsw_channel_receive`, but
// `HSW_ERR_STOP_ITERATION` when the channel is closing and nobody is sending.
hsw_status hsw_channel_next(struct hsw_channel channel, void **value);

// Sends a value if somebody is receiving. `HSW_ERR_WOULD_BLOCK`: nobody is, and the value is still
// the caller's. On any other failure it is freed.
hsw_status hsw_channel_try_send(struct hsw_channel channel, void *value);

// Receives a value if somebody is sending, else `HSW_ERR_WOULD_BLOCK`.
hsw_status hsw_channel_try_receive(struct hsw_channel channel, void **value);

// As `hsw_channel_send`, but waits for at most `timeout_ns` nanoseconds (0: not at all;
// `HSW_NO_LIMIT`: as long as it takes). `HSW_ERR_TIMEOUT`: nobody received, and the value is still
// the caller's. On any other failure it is freed.
//
// Who looks at the clock: `hsw_pump`, `hsw_tick` and the other calls that drive the main loop, or
// `hsw_fire_due`. Main drives the loop itself while it waits here.
hsw_status hsw_channel_send_timeout(struct hsw_channel channel, void *value, uint64_t timeout_ns);

// As `hsw_channel_receive`, but waits for at most `timeout_ns` nanoseconds; otherwise as
// `hsw_channel_send_timeout`.
hsw_status hsw_channel_receive_timeout(struct hsw_channel channel, uint64_t timeout_ns, void **value);

// The preference, as one of `hsw_preference`.
hsw_status hsw_channel_preference(struct hsw_channel channel, int32_t *preference);

// Sets the preference. Only the sign of the number counts.
hsw_status hsw_channel_set_preference(struct hsw_channel channel, int32_t preference);

// Whether every rendezvous also lets all others run.
hsw_status hsw_channel_schedule_all(struct hsw_channel channel, bool *on);

// Sets whether every rendezvous also lets all others run.
hsw_status hsw_channel_set_schedule_all(struct hsw_channel channel, bool on);

// Closes the channel: operations that would block fail with `HSW_ERR_CLOSED`. Tasklets that wait
// are still served; none is woken.
hsw_status hsw_channel_close(struct hsw_channel channel);

// Closes the channel and ends the waits of all who wait on it with `HSW_ERR_CLOSED`; `woken` (may
// be null) gets how many. They are queued, none has run yet. What senders were about to send is
// freed.
hsw_status hsw_channel_close_and_wake(struct hsw_channel channel, size_t *woken);

// Opens a closed channel again.
hsw_status hsw_channel_open(struct hsw_channel channel);

// Whether `hsw_channel_close` was called.
hsw_status hsw_channel_is_closing(struct hsw_channel channel, bool *closing);

// Whether it is closing and nobody waits on it any more.
hsw_status hsw_channel_is_closed(struct hsw_channel channel, bool *closed);

// How many tasklets wait: senders count up, receivers down.
hsw_status hsw_channel_balance(struct hsw_channel channel, ptrdiff_t *balance);

// The first tasklet that waits on the channel; the handle of nothing when none does. The caller
// owns the handle. For the others: `hsw_channel_waiting`.
hsw_status hsw_channel_queue(struct hsw_channel channel, struct hsw_tasklet *first);

// All who wait on the channel, in the order in which they came, also those that wait with a time
// limit, in a select, or drive the main loop meanwhile; a tasklet is named once for each of its
// waits. At most `capacity` handles are written to `tasklets`, which may be null when `capacity`
// is 0; the caller owns each. `count` gets how many wait.
hsw_status hsw_channel_waiting(struct hsw_channel channel,
                               struct hsw_tasklet *tasklets,
                               size_t capacity,
                               size_t *count);

// Keeps a pointer of the host's with the channel, for all of its handles. What was there is freed
// with the function that came with it; so is this one, with `destroy` (may be null), when the
// channel goes, or when this call fails.
hsw_status hsw_channel_set_user_data(struct hsw_channel channel, void *data, hsw_destroy destroy);

// The pointer that was set; null when there is none. It stays the channel's.
hsw_status hsw_channel_user_data(struct hsw_channel channel, void **data);

// A number that is the channel's alone while it lives: equal ids are the same channel. Never 0.
hsw_status hsw_channel_id(struct hsw_channel channel, size_t *id);

// Writes a line for each tasklet of the calling thread, main first: name, state, for a blocked one
// its channel's id and direction, and where its stack is. With `backtraces`, each started one's
// backtrace follows (not without std; slow). `user` is passed on to `write`.
hsw_status hsw_dump_tasklets(hsw_write write, void *user, bool backtraces);

// Keeps the calling tasklet's last error, which is forgotten at its next failing call: so that
// what cleans up may fail, and the error go on all the same, with `hsw_error_fail`. The last error
// stays what it is.
//
// `HSW_ERR_STATE`: there is none.
hsw_status hsw_error_last(struct hsw_error *error);

// Makes another handle of the same error, with an owner of its own.
hsw_status hsw_error_retain(struct hsw_error error, struct hsw_error *other);

// Gives a handle back. With the last one, and the last copy elsewhere, a payload goes.
hsw_status hsw_error_release(struct hsw_error error);

// Makes the error the calling tasklet's last one, and returns its status: a function that ends
// with `return hsw_error_fail(error)` fails with the very error that was kept. The handle stays
// the caller's. (A handle that names no error is a failure like any other.)
hsw_status hsw_error_fail(struct hsw_error error);

// Makes a C++ runtime known: from now on each tasklet of the process has exceptions of its own in
// it, and nobody switches while one of it is on its way. Without that a tasklet that switches in a
// `catch` block of that runtime destroys the exceptions of others. The library finds one by
// itself: the one that the file which the library is linked into sees. What is added twice is
// known until it was removed twice. Any thread may call this, also while others switch.
//
// Nobody needs to call it who includes this header in C++: each such module does so when it is
// loaded, and takes it back when it is unloaded. It is for code that catches in a module with a
// C++ runtime of its own and has no file that includes this header.
//
// `HSW_ERR_LIMIT`: 32 are known.
hsw_status hsw_exceptions_add(hsw_cxa_get_globals get_globals);

// Takes back one `hsw_exceptions_add`. No tasklet may be in a function of a module that uses this
// runtime alone, if it is unloaded now.
//
// `HSW_ERR_STATE`: it is not known.
hsw_status hsw_exceptions_remove(hsw_cxa_get_globals get_globals);

// As `hsw_spawn`, for a tasklet with a result: `hsw_join_wait` gets it. `destroy_result` (may be
// null) frees a result that nobody takes. What the tasklet fails with goes to who joins it, and
// neither to `hsw_run` nor to an error handler.
hsw_status hsw_join_spawn(hsw_join_entry function,
                          void *argument,
                          hsw_destroy destroy_result,
                          const struct hsw_tasklet_options *options,
                          struct hsw_join *join);

// Makes another handle of the same, with an owner of its own.
hsw_status hsw_join_retain(struct hsw_join join, struct hsw_join *other);

// Gives a handle back. It is stale from now on.
hsw_status hsw_join_release(struct hsw_join join);

// Waits until the tasklet has ended, for at most `timeout_ns` nanoseconds (0: not at all;
// `HSW_NO_LIMIT`: as long as it takes), and takes its result, which is the caller's.
//
// `HSW_ERR_THROWN`: the tasklet failed, or something was thrown at the caller;
// `hsw_last_error_payload` has what an exception carries, `hsw_last_error_cause` the status that
// the tasklet returned otherwise. `HSW_ERR_PANICKED`: it panicked. `HSW_ERR_STATE`: it was killed.
// `HSW_ERR_CLOSED`: somebody has had the result. `HSW_ERR_TIMEOUT`: the time is over; the tasklet
// goes on, and can be joined again.
//
// The result stays until somebody has it: a caller that is killed, or thrown at, before this call
// has returned leaves it to the next.
hsw_status hsw_join_wait(struct hsw_join join, uint64_t timeout_ns, void **result);

// Has the tasklet ended, so that its result can be had without waiting (if nobody has had it)?
hsw_status hsw_join_is_done(struct hsw_join join, bool *done);

// The tasklet: to name, kill or look at. The caller owns the handle.
hsw_status hsw_join_tasklet(struct hsw_join join, struct hsw_tasklet *tasklet);

// How many handles of objects that any thread may use are live: of channels between threads, locks
// and their kin, remotes, loops, pools and keys of tasklet-local values. For finding leaks.
size_t hsw_live_shared_handles(void);

// Makes a channel that keeps up to `bound` values which nobody has received yet: a sender waits
// only when it is full, and nobody is switched to. `SIZE_MAX`: no bound. `destroy` (may be null)
// frees values that nobody will receive.
hsw_status hsw_queue_new(size_t bound, hsw_destroy destroy, struct hsw_queue *queue);

// Makes another handle of the same queue, with an owner of its own.
hsw_status hsw_queue_retain(struct hsw_queue queue, struct hsw_queue *other);

// Gives a handle back. It is stale from now on.
hsw_status hsw_queue_release(struct hsw_queue queue);

// Hands a value to a tasklet that receives, or queues it; waits while the queue is full, for at
// most `timeout_ns` nanoseconds (0: not at all; `HSW_NO_LIMIT`: as long as it takes).
// `HSW_ERR_TIMEOUT`: it was full all the time, and the value is still the caller's. On any other
// failure it is freed.
hsw_status hsw_queue_send(struct hsw_queue queue, void *value, uint64_t timeout_ns);

// Takes the first value, which is the caller's; waits while there is none, for at most
// `timeout_ns` nanoseconds (as `hsw_queue_send`).
hsw_status hsw_queue_receive(struct hsw_queue queue, uint64_t timeout_ns, void **value);

// Queues an exception: the call that receives it returns `HSW_ERR_THROWN`. For the payload the
// same holds as in `hsw_tasklet_throw`.
hsw_status hsw_queue_send_throw(struct hsw_queue queue, void *payload, hsw_destroy destroy, const char *message);

// The next value of an iteration: `HSW_ERR_STOP_ITERATION` when the queue is closing and empty.
hsw_status hsw_queue_next(struct hsw_queue queue, void **value);

// Closes the queue: nothing more is queued, and nobody may start to wait; what is queued can still
// be received. With `wake`, the waits of all who wait end with `HSW_ERR_CLOSED`.
hsw_status hsw_queue_close(struct hsw_queue queue, bool wake);

// Opens a closed queue again.
hsw_status hsw_queue_open(struct hsw_queue queue);

// How many values are queued; and in `balance` that number plus the senders that wait, or minus
// how many receivers wait. Either may be null.
hsw_status hsw_queue_length(struct hsw_queue queue, size_t *length, ptrdiff_t *balance);

// As `hsw_run`, but comes back at once when the budget is used up; the others stay queued, and the
// next run goes on with them. Budgets are checked when tasklets switch: one that never gives way
// keeps its turn. Atomic tasklets are not interrupted. `report` may be null.
hsw_status hsw_run_with(const struct hsw_budget *budget, struct hsw_run_report *report);

// Whether `hsw_tasklet_run` nests, as in Stackless (the default), or puts its target first and
// leaves the order of all others. Of the calling thread; answers the old setting.
bool hsw_set_use_nested_tasklets(bool nested);

// Whether the run times of the calling thread's tasklets are measured; answers the old setting.
// Off at first.
bool hsw_set_statistics(bool on);

// Gives the calling thread a clock for budgets, timeouts and measurements; null: the system's.
// Without std there is none, and budgets in time and timeouts fail with `HSW_ERR_STATE` until one
// is given.
hsw_status hsw_set_clock(hsw_clock clock);

// What the calling thread's clock says, in nanoseconds.
hsw_status hsw_now_ns(uint64_t *now);

// Ends the waits of the calling thread whose time has come; answers how many. For hosts that do
// not pump the main loop: `hsw_pump` does it as well.
size_t hsw_fire_due(void);

// Calls `function(argument)` with a time limit for whatever it waits for: when `timeout_ns`
// nanoseconds are over, the wait that it is in, of any kind, fails with `HSW_ERR_THROWN`, and if
// the function passes that on (`return status`), this call fails with `HSW_ERR_TIMEOUT`. Otherwise
// it returns what the function returned. `HSW_NO_LIMIT`: no limit. Calls nest. A function that
// does not wait is not interrupted. `argument` may point to the caller's stack.
//
// Who looks at the clock: as in `hsw_channel_send_timeout`.
hsw_status hsw_timeout(uint64_t timeout_ns, hsw_entry function, void *argument);

// Nanoseconds until the next wait with a timeout is due; `HSW_NO_LIMIT` when there is none.
uint64_t hsw_until_next_ns(void);

// The counters of the calling thread.
hsw_status hsw_get_counters(struct hsw_counters *counters);

// Runs all tasklets until none is runnable. Fails with the error of a tasklet that nobody handled:
// the remaining ones stay queued, and calling again goes on with them.
hsw_status hsw_run(void);

// Lets the others run once; the caller goes to the end of the run queue.
hsw_status hsw_schedule(void);

// Pauses the caller and lets the others run. It goes on when somebody inserts or runs it.
hsw_status hsw_schedule_remove(void);

// As `hsw_schedule`, with a value in the caller's transfer slot, which comes back in `*returned`
// unless somebody has put another there. The value is the runtime's during the call, also when it
// fails (`destroy` frees it then), and the caller's after it.
hsw_status hsw_schedule_with(void *value, hsw_destroy destroy, void **returned);

// As `hsw_schedule_remove`, with a value as in `hsw_schedule_with`.
hsw_status hsw_schedule_remove_with(void *value, hsw_destroy destroy, void **returned);

// The tasklet that is running. The caller owns the handle.
hsw_status hsw_current(struct hsw_tasklet *current);

// The main tasklet of the thread. The caller owns the handle.
hsw_status hsw_main(struct hsw_tasklet *main_tasklet);

// How many tasklets are in the run queue, the running one included.
size_t hsw_run_count(void);

// A number of the calling thread that no other thread has had. Never 0.
uint64_t hsw_thread_id(void);

// Adds to the level of the thread's switch trap and returns the old level. While it is not 0,
// every switch fails with `HSW_ERR_SWITCH_TRAP`, and changes nothing.
//
// For code in which a switch would break what is not this library's. Above all for initialisers of
// what is made at its first use (a `static` or `thread_local` of a C++ function, `pthread_once`,
// `call_once`): these are guarded by thread, and other tasklets are on the same one. So one that
// switches makes the process end or wait for ever.
int32_t hsw_switch_trap(int32_t delta);

// Sets the schedule callback; null clears it. `user` is passed on. The previous ones go to `old`
// and `old_user`, which may be null.
hsw_status hsw_set_schedule_callback(hsw_schedule_callback callback,
                                     void *user,
                                     hsw_schedule_callback *old,
                                     void **old_user);

// Sets the channel callback; otherwise as `hsw_set_schedule_callback`.
hsw_status hsw_set_channel_callback(hsw_channel_callback callback,
                                    void *user,
                                    hsw_channel_callback *old,
                                    void **old_user);

// Sets the error handler; otherwise as `hsw_set_schedule_callback`.
hsw_status hsw_set_error_handler(hsw_error_handler handler, void *user, hsw_error_handler *old, void **old_user);

// Ends the calling thread's part of the runtime: kills its tasklets, whose code unwinds and frees
// what it has, cancels its timers, frees what was posted to its loop and has not run, and the
// `user` of abandoned calls, and makes every handle of its objects stale; what destructors make on
// the way ends too, after ten rounds at the latest. Others' posts are refused from then on. The
// thread keeps its number, if it attaches again. From main only, and not in a function that the
// library has called there, as that of a timer
// (`HSW_ERR_STATE`). A thread that ends without it does the same; without std it is the one way.
hsw_status hsw_thread_exit(void);

// How many handles of the calling thread's objects are live: tasklets, channels, queues, sockets,
// clocks and timers. For finding leaks.
size_t hsw_live_handles(void);

// Does the first of the operations that can be done; waits until there is one, for at most
// `timeout_ns` nanoseconds (`HSW_ERR_TIMEOUT`; 0 does not wait; `HSW_NO_LIMIT` is no limit). If
// several can be done, the choice is fair, or, `in_order`, the first of the array.
//
// `chosen` gets which one it was: its value was sent, or received into its `value`. If it found
// its channel closed (`HSW_ERR_CLOSED`) or was sent an exception (`HSW_ERR_THROWN`), the call
// fails and `chosen` says whose failure it is; it is `SIZE_MAX` when the failure belongs to no
// case. After a failure the values to send are still the caller's, but for one at most, whose
// `value` is null. The channel's `destroy` has freed that one, if `hsw_channel_close_and_wake`
// ended the wait or the switch to a receiver failed. (With a channel between threads, whose
// `hsw_thread_channel_close_and_wake` did so, it is still the caller's.) Or a receiver has it, and
// the caller was killed or thrown at (`HSW_ERR_EXIT`, `HSW_ERR_THROWN`, `HSW_ERR_PANICKED`) before
// its turn came.
//
// While it waits the tasklet is in the queue of each channel and counts in its balance. `cases`
// must not lie on a sliced stack other than the caller's own. A select cannot send and receive on
// the same channel.
hsw_status hsw_select(struct hsw_case *cases, size_t count, uint64_t timeout_ns, bool in_order, size_t *chosen);

// Fills in the settings for machines with virtual memory.
hsw_status hsw_settings_default(struct hsw_settings *settings);

// Fills in the limits of a console: one window of 16 KiB, and little kept.
hsw_status hsw_settings_console(struct hsw_settings *settings);

// Gives the calling thread its runtime. Optional: the first call that needs one makes it, with the
// default settings. Null means these, too. `HSW_ERR_SETTINGS`: a value cannot be, or the thread
// has a runtime already; nothing has changed then, so that others can be tried. (To fail makes no
// runtime by itself, except without std.)
hsw_status hsw_init(const struct hsw_settings *settings);

// As `hsw_init`, with the windows in memory of the host's: `windows * window_size` bytes and 32
// for alignment. It must stay the thread's alone until the thread has ended. There are no guard
// pages then: an overflow is found when the tasklet is switched away, and ends the process with a
// message that names the tasklet.
hsw_status hsw_init_in(const struct hsw_settings *settings, void *memory, size_t bytes);

// The figures of the calling thread.
hsw_status hsw_get_stats(struct hsw_stats *stats);

// Calls `function(argument)`; if the calling tasklet has used more of its window than the
// watermark of the settings, with the caller's frames moved to the heap for the time of the call.
// A recursion that calls itself through this is limited by the heap, not by the window.
//
// *The caller's frames may be away meanwhile*: `argument` must not point into them, and `function`
// must not touch what lies there. On failure (no memory for the frames) the function was not
// called.
hsw_status hsw_spill(hsw_function function, void *argument);

// Calls `function(argument)`; if little of the caller's stack is left, on a fresh segment. The
// caller's frames stay where they are: `argument` may point into them. Works on main, too. On
// failure (no memory for a segment) the function was not called.
hsw_status hsw_grow(hsw_function function, void *argument);

// Bytes of its window or stack that the calling tasklet has in use; 0 for main and on a segment.
hsw_status hsw_stack_used(size_t *bytes);

// For languages with exceptions: a call has failed with `HSW_ERR_EXIT`, and that becomes an
// exception, whose number this is. When the exception is destroyed without having got to the end
// of the tasklet's function, `hsw_exit_swallowed` says so. `hardswitch.hpp` does this.
uint64_t hsw_exit_told(void);

// The exception with this number is gone, and its tasklet runs on. If that is the calling tasklet,
// and this the last kill that it was told of, its next wait fails with `HSW_ERR_EXIT` again; after
// ten times nothing more is done. Otherwise this does nothing.
void hsw_exit_swallowed(uint64_t number);

// The name of a status, like "HSW_ERR_CLOSED"; "unknown status" for a number that is none. Never
// null, never freed.
const char *hsw_status_name(hsw_status status);

// The words of the calling tasklet's last error; "" when it had none. Never null.
//
// The last error belongs to the tasklet, not just to the thread: what other tasklets do meanwhile
// does not change it. Only calls that fail set it. What the library calls meanwhile on this
// tasklet (callbacks, timers' functions, destructors) has its own while it runs. The text stays
// valid until the tasklet's next call that fails, or its end. A thread that is ending, or one too
// many, has no room for words of its own; then they are general ones.
const char *hsw_last_error_message(void);

// The status of the calling tasklet's last error; `HSW_OK` when it had none.
hsw_status hsw_last_error_status(void);

// What the calling tasklet's last error is by itself. As `hsw_last_error_status`; but of an
// `HSW_ERR_THROWN`, whatever was thrown: the status of the call that failed with it first, in
// whatever tasklet (`HSW_ERR_TIMEOUT`, `HSW_ERR_IO`, ...), or again `HSW_ERR_THROWN` for an
// exception. It is for messages: whose a value is says the status of the call.
hsw_status hsw_last_error_cause(void);

// The operating system's number (`errno`) of the calling tasklet's last error, also of one that
// was thrown; 0 when it was not an error of input or output.
int32_t hsw_last_error_errno(void);

// Lends the payload of the exception that the last call reported with `HSW_ERR_THROWN`: what
// `hsw_fail`, `hsw_tasklet_throw` or `hsw_channel_send_throw` were given. It stays valid until the
// calling tasklet's next call that fails, or its end; the copies of an exception share one
// payload, and the last of them frees it. `destroy` may be null; the function is as good as a
// type: a host that sees its own function there knows what `data` points to.
//
// `HSW_ERR_STATE`: the last error is no exception of C's.
hsw_status hsw_last_error_payload(void **data, hsw_destroy *destroy);

// Makes an exception the last error of the calling tasklet and returns `HSW_ERR_THROWN`: an entry
// function that ends with `return hsw_fail(...)` ends its tasklet with that exception, which goes
// the way of all uncaught ones. `message` may be null. The payload is freed with `destroy` when
// the last copy of the exception has gone.
hsw_status hsw_fail(void *data, hsw_destroy destroy, const char *message);

// Makes a tasklet that will call `function(argument)` and appends it to the run queue. It first
// runs when the caller blocks, schedules or runs the others.
//
// The argument is the tasklet's from now on, also when this call fails:
// `options->destroy_argument` frees it. It must not point to a sliced stack, the caller's own
// included. `options` may be null. `tasklet` may be null: then nobody holds a handle, and the
// tasklet lives on until it ends.
hsw_status hsw_spawn(hsw_entry function,
                     void *argument,
                     const struct hsw_tasklet_options *options,
                     struct hsw_tasklet *tasklet);

// Makes a tasklet that has nothing to run yet: see `hsw_tasklet_bind`.
hsw_status hsw_tasklet_new(const struct hsw_tasklet_options *options, struct hsw_tasklet *tasklet);

// Makes another handle of the same tasklet, with an owner of its own.
hsw_status hsw_tasklet_retain(struct hsw_tasklet tasklet, struct hsw_tasklet *other);

// Gives a handle back. It is stale from now on; the tasklet lives on while it is queued, runs, or
// others have handles. The last handle of a tasklet that is paused kills it.
hsw_status hsw_tasklet_release(struct hsw_tasklet tasklet);

// Gives a tasklet that is not alive a function to run: *bound*, not alive until
// `hsw_tasklet_setup`. The argument is the tasklet's from now on, also when this call fails;
// `destroy_argument` frees it.
hsw_status hsw_tasklet_bind(struct hsw_tasklet tasklet,
                            hsw_entry function,
                            void *argument,
                            hsw_destroy destroy_argument);

// As `hsw_tasklet_bind`, but the tasklet is alive and paused at once: `hsw_tasklet_insert` starts
// it.
hsw_status hsw_tasklet_bind_paused(struct hsw_tasklet tasklet,
                                   hsw_entry function,
                                   void *argument,
                                   hsw_destroy destroy_argument);

// As `hsw_tasklet_bind`, with an argument that may be used and freed on any thread: so the tasklet
// may move to another one before it starts (`hsw_tasklet_bind_thread`).
hsw_status hsw_tasklet_bind_send(struct hsw_tasklet tasklet,
                                 hsw_entry function,
                                 void *argument,
                                 hsw_destroy destroy_argument);

// Takes the function away again. The tasklet ends without running anything; its argument is freed.
hsw_status hsw_tasklet_unbind(struct hsw_tasklet tasklet);

// Makes a bound tasklet alive and appends it to the run queue.
hsw_status hsw_tasklet_setup(struct hsw_tasklet tasklet);

// Appends a paused tasklet to the run queue. No-op for one that is queued.
hsw_status hsw_tasklet_insert(struct hsw_tasklet tasklet);

// Takes a tasklet out of the run queue: paused. No-op for one that is not queued.
hsw_status hsw_tasklet_remove(struct hsw_tasklet tasklet);

// Switches to the tasklet at once. The caller stays at its place in the run queue.
hsw_status hsw_tasklet_run(struct hsw_tasklet tasklet);

// Switches to the tasklet at once and pauses the caller.
hsw_status hsw_tasklet_switch(struct hsw_tasklet tasklet);

// Throws an exception into the tasklet: the call it waits in returns `HSW_ERR_THROWN`. With
// `pending` it is only made runnable, else it runs at once. The payload is the runtime's from now
// on, also when this call fails; the last copy of the exception frees it with `destroy`, on
// whatever thread that is. `message` may be null.
hsw_status hsw_tasklet_throw(struct hsw_tasklet tasklet,
                             void *payload,
                             hsw_destroy destroy,
                             const char *message,
                             bool pending);

// Kills the tasklet: the call it waits in returns `HSW_ERR_EXIT`. With `pending` it is only made
// runnable, else it runs at once, to its end if it obeys. No-op for a tasklet that is dead.
hsw_status hsw_tasklet_kill(struct hsw_tasklet tasklet, bool pending);

// What is true of the tasklet: an or of `HSW_TASKLET_ALIVE` and the others.
hsw_status hsw_tasklet_state(struct hsw_tasklet tasklet, uint32_t *state);

// Sets or clears the block trap: with it, an operation that would block the tasklet fails with
// `HSW_ERR_BLOCK_TRAP`. `old` may be null.
hsw_status hsw_tasklet_set_block_trap(struct hsw_tasklet tasklet, bool on, bool *old);

// Sets or clears the atomic flag: an atomic tasklet is not interrupted by a run with a budget.
// `old` may be null.
hsw_status hsw_tasklet_set_atomic(struct hsw_tasklet tasklet, bool on, bool *old);

// Sets or clears Stackless' flag that allows interrupts in nested interpreter calls. Native code
// has none: it is kept, and changes nothing. `old` may be null.
hsw_status hsw_tasklet_set_ignore_nesting(struct hsw_tasklet tasklet, bool on, bool *old);

// The next tasklet in the run queue; or, of one that is blocked on a channel and waits for nothing
// else, in that channel's queue. The handle of nothing at the end, and for one that waits in a
// select or with a time limit. (Who drives the main loop while it waits, as main does, is in the
// run queue. All who wait on a channel: `hsw_channel_waiting`.) The caller owns the handle.
hsw_status hsw_tasklet_next(struct hsw_tasklet tasklet, struct hsw_tasklet *next);

// The tasklet before it, otherwise as `hsw_tasklet_next`.
hsw_status hsw_tasklet_prev(struct hsw_tasklet tasklet, struct hsw_tasklet *prev);

// A number that is the tasklet's alone while it lives: equal ids are the same tasklet. Never 0.
hsw_status hsw_tasklet_id(struct hsw_tasklet tasklet, size_t *id);

// The name, "" when it has none: at most `capacity` bytes including the final zero are written to
// `buffer`, which may be null when `capacity` is 0. `length` (may be null) gets the length of the
// whole name, without the zero.
hsw_status hsw_tasklet_name(struct hsw_tasklet tasklet, char *buffer, size_t capacity, size_t *length);

// Where in the host's source the tasklet was made: the file as `hsw_tasklet_name` writes the name
// ("" when it is not known), and the line (`line` may be null; 0 when it is not known). Known of
// those that were made while `hsw_set_statistics` was on, if `hsw_tasklet_options` said it.
hsw_status hsw_tasklet_site(struct hsw_tasklet tasklet, char *buffer, size_t capacity, size_t *length, uint32_t *line);

// Takes the value out of a tasklet's transfer slot: what its `hsw_schedule_with`, or its pending
// receive, would return. Null when the slot is empty. The value is the caller's.
// `HSW_ERR_WRONG_TYPE`: something of the Rust side is in it, and stays there.
hsw_status hsw_tasklet_take_tempval(struct hsw_tasklet tasklet, void **value);

// Puts a value into a tasklet's transfer slot. It is the runtime's from now on, also when this
// call fails; `destroy` frees it. What was there is freed.
hsw_status hsw_tasklet_set_tempval(struct hsw_tasklet tasklet, void *value, hsw_destroy destroy);

// Keeps a pointer of the host's with the tasklet. What was there is freed with the function that
// came with it; so is this one, with `destroy` (may be null), when the last handle and the tasklet
// are gone, or when this call fails.
hsw_status hsw_tasklet_set_user_data(struct hsw_tasklet tasklet, void *data, hsw_destroy destroy);

// The pointer that was set; null when there is none. It stays the tasklet's.
hsw_status hsw_tasklet_user_data(struct hsw_tasklet tasklet, void **data);

// Sets an error handler for this tasklet; null clears it. It is asked before the thread's
// (`hsw_set_error_handler`), which gets what this one does not answer with `HSW_OK`.
hsw_status hsw_tasklet_set_error_handler(struct hsw_tasklet tasklet, hsw_error_handler handler, void *user);

// The thread the tasklet belongs to, as `hsw_thread_id` says there.
hsw_status hsw_tasklet_thread_id(struct hsw_tasklet tasklet, uint64_t *id);

// The times of one tasklet.
hsw_status hsw_tasklet_get_times(struct hsw_tasklet tasklet, struct hsw_tasklet_times *times);

// The figures of one tasklet.
hsw_status hsw_tasklet_get_stats(struct hsw_tasklet tasklet, struct hsw_tasklet_stats *stats);

// Makes a key under which no tasklet has a value yet. `destroy` (may be null) frees the values:
// each in its tasklet when that ends (it may still switch then), those of a main tasklet with its
// thread.
hsw_status hsw_local_new(hsw_destroy destroy, struct hsw_local *local);

// Makes another handle of the same key, with an owner of its own.
hsw_status hsw_local_retain(struct hsw_local local, struct hsw_local *other);

// Gives a handle back. It is stale from now on. Values stay with their tasklets until those end.
hsw_status hsw_local_release(struct hsw_local local);

// Gives the calling tasklet a value, which is the tasklet's from now on. The one that it had is
// freed; null leaves it without. When this fails the value is still the caller's.
hsw_status hsw_local_set(struct hsw_local local, void *value);

// The calling tasklet's value, null when it has none. It stays the tasklet's.
hsw_status hsw_local_get(struct hsw_local local, void **value);

// Fills in the settings that a null pointer means: 5 ms, however many switches.
hsw_status hsw_host_lock_settings_default(struct hsw_host_lock_settings *settings);

// Makes a lock that no thread has joined. Null: the default settings.
hsw_status hsw_host_lock_new(const struct hsw_host_lock_settings *settings, struct hsw_host_lock *lock);

// Makes another handle of the same lock, with an owner of its own.
hsw_status hsw_host_lock_retain(struct hsw_host_lock lock, struct hsw_host_lock *other);

// Gives a handle (not the lock) back. It is stale from now on. Threads that have joined the lock
// stay with it.
hsw_status hsw_host_lock_release(struct hsw_host_lock lock);

// The calling thread takes the lock, which blocks the *thread* until it is its turn, and runs only
// while it has it from now on: until it leaves, or ends. No-op for a member. `HSW_ERR_STATE`: it
// has joined another one.
hsw_status hsw_host_lock_join(struct hsw_host_lock lock);

// The calling thread gives the lock up for good. No-op for one that has not joined it, and within
// `hsw_allow_threads`.
hsw_status hsw_host_lock_leave(struct hsw_host_lock lock);

// The calling thread joins, and so does every thread that uses the library: those to come with
// their first call, those that are there at their next switch or pump. Not the workers of pools.
// Fails as `hsw_host_lock_join`.
hsw_status hsw_host_lock_install(struct hsw_host_lock lock);

// Threads to come join no lock. Those that have joined stay members.
hsw_status hsw_host_lock_uninstall(void);

// The lock that the calling thread has joined; the handle of nothing when it has not. The caller
// owns the handle.
hsw_status hsw_host_lock_current(struct hsw_host_lock *lock);

// Calls `function(argument)`, and lets other threads have the lock meanwhile: for blocking work of
// the host's own. Nests; for a thread that has joined no lock it just calls the function.
// `argument` may point to the caller's stack.
//
// Inside, no tasklet runs: what would switch or pump fails with `HSW_ERR_SWITCH_TRAP`, what would
// wait with `HSW_ERR_BLOCK_TRAP`.
hsw_status hsw_allow_threads(hsw_function function, void *argument);

// The settings that the lock was made with.
hsw_status hsw_host_lock_get_settings(struct hsw_host_lock lock, struct hsw_host_lock_settings *settings);

// The figures of a lock.
hsw_status hsw_host_lock_get_stats(struct hsw_host_lock lock, struct hsw_host_lock_stats *stats);

// Sets what is told of the lock's events, by all threads; null clears it. `user` is passed on, and
// freed with `destroy_user` (may be null), on any thread, when the hook has been replaced and no
// call of it is under way, or when this call fails.
hsw_status hsw_host_lock_set_hook(struct hsw_host_lock lock,
                                  hsw_host_lock_hook hook,
                                  void *user,
                                  hsw_destroy destroy_user);

// One frame: wakes the tasklets whose sleep is over, whose socket is ready or whose worker has
// answered, then runs tasklets until none is runnable or `budget_ns` nanoseconds are over. Never
// waits. `HSW_NO_LIMIT`: no budget. `complete` (may be null) tells whether all ran until they
// blocked.
//
// The clock is looked at on every switch, after one turn at least; who did not get a turn is first
// in the next tick. Call it from the main tasklet. Fails with the error of a tasklet that nobody
// handled; the others stay queued for the next tick.
hsw_status hsw_tick(uint64_t budget_ns, bool *complete);

// Wakes tasklets as `hsw_tick` does, but runs none. Waits up to `limit_ns` nanoseconds for
// something to happen (`HSW_NO_LIMIT`: as long as it takes), and not at all while tasklets are
// runnable. `done` (may be null) gets how much happened. What a game loop calls in the rest of its
// frame, instead of sleeping.
hsw_status hsw_pump(uint64_t limit_ns, size_t *done);

// Pumps, waits and runs tasklets until none is runnable, sleeping, at a socket or in an offload
// call, and nobody has a `hsw_work` of the loop. For programs without frames.
hsw_status hsw_run_until_idle(void);

// As `hsw_run_until_idle`, but when idle it waits for what other threads send (`hsw_loop_post`),
// until `hsw_loop_stop`. For threads that serve others.
hsw_status hsw_run_until_stopped(void);

// What the calling thread's loop waits for.
hsw_status hsw_get_loop_info(struct hsw_loop_info *info);

// The calling thread's loop, for other threads. The caller owns the handle.
hsw_status hsw_loop_current(struct hsw_loop *main_loop);

// Makes another handle of the same loop, with an owner of its own.
hsw_status hsw_loop_retain(struct hsw_loop main_loop, struct hsw_loop *other);

// Gives a handle back. It is stale from now on, for all threads.
hsw_status hsw_loop_release(struct hsw_loop main_loop);

// Has the loop's thread call `function(argument)` in its next pump, and ends its wait. Events are
// called in the order they came, on the tasklet that pumps: they may send on channels with a
// waiting receiver, and spawn tasklets; what blocks for long belongs into one.
//
// What it returns other than `HSW_OK` is the failure of a tasklet made for that: it goes to the
// error handler, or arrives from the next `hsw_run` or `hsw_tick`.
//
// The argument is the runtime's from now on, also when this call fails: `destroy_argument` frees
// it, on whatever thread, when the function has returned or will not be called. It must not point
// to a sliced stack.
//
// `HSW_ERR_STATE`: the thread is gone. `HSW_ERR_LIMIT`: it has not pumped for 16,384 events.
hsw_status hsw_loop_post(struct hsw_loop main_loop, hsw_entry function, void *argument, hsw_destroy destroy_argument);

// Ends the loop's wait (`hsw_pump`, and the runs that wait), or its next one, with nothing to do.
// No-op when the thread is gone.
hsw_status hsw_loop_interrupt(struct hsw_loop main_loop);

// Ends `hsw_run_until_stopped` or `hsw_run_until_idle` once the tasklets that are runnable have
// run; before the next one if none is under way. No-op when the thread is gone.
hsw_status hsw_loop_stop(struct hsw_loop main_loop);

// Has the loop wait for what the caller will post. The caller owns the handle.
hsw_status hsw_loop_work(struct hsw_loop main_loop, struct hsw_work *work);

// One more promise, with an owner of its own: the loop waits until both are given back.
hsw_status hsw_work_retain(struct hsw_work work, struct hsw_work *other);

// There is no more to come. Ends the loop's wait, if it was the last promise and nothing else is
// left to wait for.
hsw_status hsw_work_release(struct hsw_work work);

// Blocks the calling tasklet for at least so many nanoseconds; the others run meanwhile. 0 lets
// them run once, as `hsw_schedule`; `HSW_NO_LIMIT` is as long as it takes to be killed.
// `HSW_ERR_ARGUMENT`: otherwise more than `INT64_MAX`, as negative numbers become.
hsw_status hsw_sleep(uint64_t nanoseconds);

// Connects to a host, given by name or address, and a port. Blocks the tasklet meanwhile, also
// while a worker looks up the name. Each address of the host is tried. All that together takes
// `timeout_ns` nanoseconds at most (`HSW_NO_LIMIT`: as long as the system tries).
hsw_status hsw_tcp_connect(const char *host, uint16_t port, uint64_t timeout_ns, struct hsw_socket *socket);

// Listens at an address ("127.0.0.1", "::") and a port, 0 for any that is free: `hsw_socket_port`
// tells which.
hsw_status hsw_tcp_listen(const char *address, uint16_t port, struct hsw_socket *socket);

// Waits for a connection.
hsw_status hsw_tcp_accept(struct hsw_socket listener, struct hsw_socket *socket);

// Receives up to `size` bytes; waits while there are none. 0 in `*received`: the peer has ended
// the stream.
//
// The buffer may lie on the calling tasklet's stack, also a sliced one: it is written only while
// the tasklet runs.
hsw_status hsw_socket_read(struct hsw_socket socket, void *buffer, size_t size, size_t *received);

// Sends all `size` bytes; waits while the system takes no more. For the data the same holds as for
// the buffer of `hsw_socket_read`.
//
// `sent` (may be null) gets how many bytes the system has taken, *also on failure*: a write that
// has timed out goes on with those that are left. Who leaves it null can only give the connection
// up then.
hsw_status hsw_socket_write(struct hsw_socket socket, const void *data, size_t size, size_t *sent);

// How long a single wait of a read or a write (of a listener: of an accept) may last, in
// nanoseconds; then `HSW_ERR_TIMEOUT`. `HSW_NO_LIMIT`, the default: no limit. 0 is
// `HSW_ERR_ARGUMENT`.
hsw_status hsw_socket_set_timeout(struct hsw_socket socket, uint64_t nanoseconds);

// Ends the sending: the peer reads to the end of the stream. Reading goes on.
hsw_status hsw_socket_end_writing(struct hsw_socket socket);

// The port of this end.
hsw_status hsw_socket_port(struct hsw_socket socket, uint16_t *port);

// Makes another handle of the same socket, with an owner of its own.
hsw_status hsw_socket_retain(struct hsw_socket socket, struct hsw_socket *other);

// Closes the socket at once, for all its handles: tasklets that wait on it fail with `HSW_ERR_IO`.
// The handle stays to be released.
hsw_status hsw_socket_close(struct hsw_socket socket);

// Gives a handle back. It is stale from now on. The socket is closed with its last handle, once no
// tasklet is in a call of it.
hsw_status hsw_socket_release(struct hsw_socket socket);

// Fills in the settings that the process's pool has unless told otherwise: 4 threads of 256 KiB,
// 1024 calls that wait.
hsw_status hsw_pool_settings_default(struct hsw_pool_settings *settings);

// Fills in settings for a console: 2 threads of 64 KiB, 64 calls that wait.
hsw_status hsw_pool_settings_console(struct hsw_pool_settings *settings);

// Settings of the process's pool, before its first use; null: the default ones.
// `HSW_ERR_SETTINGS`: it is in use already, or a value cannot be.
hsw_status hsw_offload_configure(const struct hsw_pool_settings *settings);

// Makes a pool; no thread is started yet. Null: the default settings. `HSW_ERR_SETTINGS`: a value
// cannot be.
hsw_status hsw_pool_new(const struct hsw_pool_settings *settings, struct hsw_pool *pool);

// A handle of the process's pool, which `hsw_offload` uses. The caller owns it.
hsw_status hsw_pool_of_process(struct hsw_pool *pool);

// Makes another handle of the same pool, with an owner of its own.
hsw_status hsw_pool_retain(struct hsw_pool pool, struct hsw_pool *other);

// Gives a handle back. It is stale from now on, for all threads. The last one shuts the pool down
// as `hsw_pool_shutdown` does, and blocks the thread as long.
hsw_status hsw_pool_release(struct hsw_pool pool);

// Takes no more calls (`HSW_ERR_CLOSED`), finishes those it has, and ends the threads. Blocks the
// *thread* until then. The outcomes come home with the next pump of those who called. With
// `cancel`, calls that no thread has begun are given back: they fail with `HSW_ERR_CLOSED`. Twice
// is fine.
hsw_status hsw_pool_shutdown(struct hsw_pool pool, bool cancel);

// The settings that the pool was made with.
hsw_status hsw_pool_get_settings(struct hsw_pool pool, struct hsw_pool_settings *settings);

// Threads started so far, and calls that wait for one. Either may be null.
hsw_status hsw_pool_load(struct hsw_pool pool, size_t *threads, size_t *waiting);

// Calls a job on a worker thread. The calling tasklet is blocked meanwhile, the others run. The
// result is the caller's.
//
// If the caller does not wait to the end (it was killed, or the time was over: `HSW_ERR_TIMEOUT`),
// the job still runs on, and its outcome goes to `on_abandoned`. `HSW_ERR_WOULD_BLOCK`: the pool's
// queue is full. `HSW_ERR_CLOSED`: the pool has been shut down. `HSW_ERR_IO`: no thread can be
// made.
hsw_status hsw_offload_with(const struct hsw_offload_call *call, void **result);

// As `hsw_offload_with`, for the common case.
hsw_status hsw_offload(hsw_job job,
                       void *argument,
                       hsw_destroy destroy_argument,
                       hsw_destroy destroy_result,
                       uint64_t timeout_ns,
                       void **result);

// A reference to a tasklet of the calling thread, for other threads.
hsw_status hsw_tasklet_remote(struct hsw_tasklet tasklet, struct hsw_remote *remote);

// Makes another handle of the same reference, with an owner of its own.
hsw_status hsw_remote_retain(struct hsw_remote remote, struct hsw_remote *other);

// Gives a handle back. It is stale from now on, for all threads.
hsw_status hsw_remote_release(struct hsw_remote remote);

// Gives a tasklet to another thread, which uses the library: one that has not started, is not
// queued, and was bound by `hsw_tasklet_bind_send` or not at all. `remote` refers to it there; the
// handles that there were are those of an empty tasklet. Waits until both threads have switched or
// pumped; the calling one need not.
//
// `HSW_ERR_STATE`: there is no such thread, it ended, or the tasklet may not move; then nothing
// has changed. Otherwise as `hsw_remote_with`: after a failure of that kind the tasklet may be
// without a thread, whole, and can be given to another.
hsw_status hsw_tasklet_bind_thread(struct hsw_tasklet tasklet, uint64_t thread_id, struct hsw_remote *remote);

// As `hsw_tasklet_bind_thread`, for whom any thread refers to; also for one whose thread has
// ended. All references to it refer to it there then. No-op when it is there already.
hsw_status hsw_remote_bind_thread(struct hsw_remote remote, uint64_t thread_id);

// As `hsw_tasklet_bind_send`, on the tasklet's thread; with `paused`, it is alive and paused at
// once. Waits and fails as `hsw_remote_with`. One without a thread is bound at once, but cannot be
// paused (`HSW_ERR_STATE`).
hsw_status hsw_remote_bind(struct hsw_remote remote,
                           hsw_entry function,
                           void *argument,
                           hsw_destroy destroy_argument,
                           bool paused);

// Takes the function away again; its argument is freed. Waits and fails as `hsw_remote_with`.
hsw_status hsw_remote_unbind(struct hsw_remote remote);

// A handle of the tasklet, for its own thread (`HSW_ERR_WRONG_THREAD` elsewhere). The caller owns
// it.
hsw_status hsw_remote_tasklet(struct hsw_remote remote, struct hsw_tasklet *tasklet);

// On the tasklet's own thread, as `hsw_tasklet_switch`; elsewhere `HSW_ERR_STATE`.
hsw_status hsw_remote_switch(struct hsw_remote remote);

// Appends the tasklet to the run queue of its thread. `HSW_ERR_STATE`: that is gone.
hsw_status hsw_remote_insert(struct hsw_remote remote);

// Makes it the next one to run on its thread. `HSW_ERR_STATE`: that is gone.
hsw_status hsw_remote_run(struct hsw_remote remote);

// Makes a bound tasklet alive and appends it to the run queue of its thread. `HSW_ERR_STATE`: that
// is gone.
hsw_status hsw_remote_setup(struct hsw_remote remote);

// Takes it out of the run queue of its thread. Nothing to do when that is gone.
hsw_status hsw_remote_remove(struct hsw_remote remote);

// Throws an exception into the tasklet, and makes it the next one to run on its thread; with
// `pending`, when its turn comes. For the payload the same holds as in `hsw_tasklet_throw`.
// `HSW_ERR_STATE`: its thread is gone.
hsw_status hsw_remote_throw(struct hsw_remote remote,
                            void *payload,
                            hsw_destroy destroy,
                            const char *message,
                            bool pending);

// Kills the tasklet: the call it waits in returns `HSW_ERR_EXIT`. It is the next one to run on its
// thread; with `pending`, when its turn comes. Nothing to do when its thread is gone: so is the
// tasklet.
hsw_status hsw_remote_kill(struct hsw_remote remote, bool pending);

// What is true of the tasklet on its thread: an or of `HSW_TASKLET_ALIVE` and the others. Waits
// and fails as `hsw_remote_with` does; 0 when its thread is gone.
hsw_status hsw_remote_state(struct hsw_remote remote, uint32_t *state);

// The id of the tasklet, as `hsw_tasklet_id`. Another one when it has moved to another thread.
hsw_status hsw_remote_tasklet_id(struct hsw_remote remote, size_t *id);

// The tasklet's thread, as `hsw_thread_id` says there; 0 when that is gone.
hsw_status hsw_remote_thread_id(struct hsw_remote remote, uint64_t *id);

// Has the tasklet's thread call `function(tasklet, argument)`, and waits until it has: until that
// thread switches or pumps. On its own thread it is called at once.
//
// The argument is the runtime's from now on, also when this call fails: `destroy_argument` frees
// it, on whatever thread, when the function has returned or will not be called. It must not point
// to a sliced stack, the caller's own included.
//
// `HSW_ERR_STATE`: the thread is gone, or ended before it came to it. The call may also fail as
// any that waits (`HSW_ERR_EXIT`, `HSW_ERR_DEADLOCK`, `HSW_ERR_BLOCK_TRAP`, ...); the function may
// be called all the same then.
hsw_status hsw_remote_with(struct hsw_remote remote,
                           hsw_remote_function function,
                           void *argument,
                           hsw_destroy destroy_argument);

// Makes a lock that nobody holds.
hsw_status hsw_lock_new(struct hsw_lock *lock);

// Makes another handle of the same lock, with an owner of its own.
hsw_status hsw_lock_retain(struct hsw_lock lock, struct hsw_lock *other);

// Gives a handle back. It is stale from now on; who holds the lock, or waits for it, goes on.
hsw_status hsw_lock_release(struct hsw_lock lock);

// Takes the lock, when it is the caller's turn: first come, first served. Blocks the calling
// tasklet alone; from a main tasklet, and so from a plain thread, it drives the thread's main loop
// meanwhile.
//
// Waits for at most `timeout_ns` nanoseconds: 0 tries once and lets nobody else run;
// `HSW_NO_LIMIT` as long as it takes. More than `INT64_MAX` otherwise, as negative numbers become,
// is `HSW_ERR_ARGUMENT` (-1 is `HSW_NO_LIMIT`). The same holds for all waits of this part.
//
// `HSW_ERR_TIMEOUT`; `HSW_ERR_EXIT` and `HSW_ERR_THROWN`: the tasklet was killed or thrown at
// while it waited; `HSW_ERR_BLOCK_TRAP`, `HSW_ERR_SWITCH_TRAP`: it may not wait. The lock is not
// held then. It is not reentrant: who holds it waits for itself.
//
// Who ends without giving it back leaves it taken, until somebody does.
hsw_status hsw_lock_lock(struct hsw_lock lock, uint64_t timeout_ns);

// Gives the lock back, whoever took it: to who has waited longest, if anybody waits. Does not
// switch. `HSW_ERR_STATE`: nobody held it.
hsw_status hsw_lock_unlock(struct hsw_lock lock);

// Is it held, and by the calling tasklet; how many wait for it. Each may be null.
hsw_status hsw_lock_state(struct hsw_lock lock, bool *locked, bool *mine, size_t *waiting);

// Makes a reentrant lock that nobody holds.
hsw_status hsw_rlock_new(struct hsw_rlock *lock);

// Makes another handle of the same lock, with an owner of its own.
hsw_status hsw_rlock_retain(struct hsw_rlock lock, struct hsw_rlock *other);

// Gives a handle back. It is stale from now on; who holds the lock, or waits for it, goes on.
hsw_status hsw_rlock_release(struct hsw_rlock lock);

// As `hsw_lock_lock`; a tasklet that holds the lock gets it at once, once more.
//
// It belongs to the tasklet that took it: if that ends without giving it back, it stays taken for
// good.
hsw_status hsw_rlock_lock(struct hsw_rlock lock, uint64_t timeout_ns);

// Undoes one `hsw_rlock_lock` of the calling tasklet; the last one gives the lock back.
// `HSW_ERR_STATE`: the calling tasklet does not hold it.
hsw_status hsw_rlock_unlock(struct hsw_rlock lock);

// Is it held, and by the calling tasklet; how many wait for it. Each may be null.
hsw_status hsw_rlock_state(struct hsw_rlock lock, bool *locked, bool *mine, size_t *waiting);

// Makes a semaphore with so many permits that are free. `bounded`: it never has more than those.
// `HSW_ERR_ARGUMENT`: more than half of `SIZE_MAX`.
hsw_status hsw_semaphore_new(size_t permits, bool bounded, struct hsw_semaphore *semaphore);

// Makes another handle of the same semaphore, with an owner of its own.
hsw_status hsw_semaphore_retain(struct hsw_semaphore semaphore, struct hsw_semaphore *other);

// Gives a handle (not a permit) back. It is stale from now on; who waits goes on.
hsw_status hsw_semaphore_release(struct hsw_semaphore semaphore);

// Takes a permit, when it is the caller's turn. Waits and fails as `hsw_lock_lock`.
hsw_status hsw_semaphore_acquire(struct hsw_semaphore semaphore, uint64_t timeout_ns);

// Gives `count` permits back, all or none: to those who have waited longest, first. Any thread
// may, whoever took them. Does not switch. `HSW_ERR_STATE`: more than there can be.
hsw_status hsw_semaphore_give_back(struct hsw_semaphore semaphore, size_t count);

// Permits that are free, and how many wait for one. Each may be null.
hsw_status hsw_semaphore_state(struct hsw_semaphore semaphore, size_t *available, size_t *waiting);

// Makes a condition that nobody waits for.
hsw_status hsw_condition_new(struct hsw_condition *condition);

// Makes another handle of the same condition, with an owner of its own.
hsw_status hsw_condition_retain(struct hsw_condition condition, struct hsw_condition *other);

// Gives a handle back. It is stale from now on; who waits goes on.
hsw_status hsw_condition_release(struct hsw_condition condition);

// Gives the lock up, waits to be notified, and takes the lock again. Nobody comes back who was not
// notified, but for the errors here; what was waited for may still have been undone by who had the
// lock in between.
//
// * `HSW_ERR_TIMEOUT`: it was not notified within `timeout_ns` nanoseconds (see `hsw_lock_lock`;
//   with 0 the lock is given up and taken again). **The lock is held**, however long it took to
//   get it.
// * `HSW_ERR_STATE`: the calling tasklet did not take the lock. As with all mistakes, nothing has
//   changed.
// * Any other error (killed, thrown at, a trap): **the lock is not held.**
hsw_status hsw_condition_wait(struct hsw_condition condition, struct hsw_lock lock, uint64_t timeout_ns);

// Notifies the `count` who have waited longest; `SIZE_MAX`: all. With or without the lock; with
// it, nothing can come between a waiter's look and its wait. Does not switch, and wakes nobody who
// would have to wait for the lock.
hsw_status hsw_condition_notify(struct hsw_condition condition, size_t count);

// How many wait to be notified.
hsw_status hsw_condition_waiting(struct hsw_condition condition, size_t *waiting);

// Makes an event that is not set.
hsw_status hsw_event_new(struct hsw_event *event);

// Makes another handle of the same event, with an owner of its own.
hsw_status hsw_event_retain(struct hsw_event event, struct hsw_event *other);

// Gives a handle back. It is stale from now on; who waits goes on.
hsw_status hsw_event_release(struct hsw_event event);

// Sets it: all who wait go on, even if it is cleared again before their turn comes. Does not
// switch.
hsw_status hsw_event_set(struct hsw_event event);

// Clears it: who comes from now on waits.
hsw_status hsw_event_clear(struct hsw_event event);

// Waits until it is set. Waits and fails as `hsw_lock_lock`.
hsw_status hsw_event_wait(struct hsw_event event, uint64_t timeout_ns);

// Is it set; how many wait for it. Each may be null.
hsw_status hsw_event_state(struct hsw_event event, bool *set, size_t *waiting);

// Makes a barrier where `parties` wait for each other; with 0 or 1, nobody waits.
hsw_status hsw_barrier_new(size_t parties, struct hsw_barrier *barrier);

// Makes another handle of the same barrier, with an owner of its own.
hsw_status hsw_barrier_retain(struct hsw_barrier barrier, struct hsw_barrier *other);

// Gives a handle back. It is stale from now on; who waits goes on.
hsw_status hsw_barrier_release(struct hsw_barrier barrier);

// Waits until all have come; `last` (may be null) is true for the one that came last. Waits and
// fails as `hsw_lock_lock`; with a time of 0, only who comes last passes.
//
// Who gives up (`HSW_ERR_TIMEOUT`, killed, thrown at, a trap) breaks the barrier: all others, and
// who comes later, get `HSW_ERR_BROKEN`, until `hsw_barrier_reset`. Mistakes of the caller do not
// break it.
hsw_status hsw_barrier_wait(struct hsw_barrier barrier, uint64_t timeout_ns, bool *last);

// Breaks it: those who wait and those who come get `HSW_ERR_BROKEN`.
hsw_status hsw_barrier_abort(struct hsw_barrier barrier);

// As new. Those who wait get `HSW_ERR_BROKEN`.
hsw_status hsw_barrier_reset(struct hsw_barrier barrier);

// How many it takes, how many wait, and is it broken. Each may be null.
hsw_status hsw_barrier_state(struct hsw_barrier barrier, size_t *parties, size_t *waiting, bool *broken);

// Makes a queue for up to `capacity` values, at least one; `SIZE_MAX`: no bound. `destroy` (may be
// null) frees values that nobody gets, on any thread.
hsw_status hsw_sync_queue_new(size_t capacity, hsw_destroy destroy, struct hsw_sync_queue *queue);

// Makes another handle of the same queue, with an owner of its own.
hsw_status hsw_sync_queue_retain(struct hsw_sync_queue queue, struct hsw_sync_queue *other);

// Gives a handle back. It is stale from now on; who waits goes on. Values that are in the queue
// are freed with its last handle.
hsw_status hsw_sync_queue_release(struct hsw_sync_queue queue);

// Puts a value in at the end, when there is room. Waits and fails as `hsw_lock_lock`, and
// `HSW_ERR_CLOSED`.
//
// After `HSW_ERR_TIMEOUT` and after mistakes the value is still the caller's; after any other
// failure it has been freed.
hsw_status hsw_sync_queue_put(struct hsw_sync_queue queue, void *value, uint64_t timeout_ns);

// Takes the first value, which is the caller's; waits while there is none. Waits and fails as
// `hsw_lock_lock`; `HSW_ERR_CLOSED`: it is closed and empty.
hsw_status hsw_sync_queue_get(struct hsw_sync_queue queue, uint64_t timeout_ns, void **value);

// Closes it: nothing more comes in, and who waits to put something in gets `HSW_ERR_CLOSED`. What
// is in it can still be got; then that ends with `HSW_ERR_CLOSED` as well. Twice is fine.
hsw_status hsw_sync_queue_close(struct hsw_sync_queue queue);

// How many values are in it, and is it closed. Each may be null.
hsw_status hsw_sync_queue_state(struct hsw_sync_queue queue, size_t *length, bool *closed);

// Counts the calling thread among those that use the library, and gives it a runtime with the
// default settings if it has none (`hsw_init` before this, for others). Optional: the first call
// that needs one does the same. `hsw_thread_exit`, or the thread's end, is the opposite. A thread
// that has ended its part attaches again with this or any other call.
hsw_status hsw_thread_attach(void);

// The numbers of the threads that use the library, in the order they came: at most `capacity` of
// them are written to `ids`, which may be null when `capacity` is 0. `count` gets how many there
// are.
hsw_status hsw_threads(uint64_t *ids, size_t capacity, size_t *count);

// Asks a thread about itself. The calling tasklet waits for the answer: until that thread switches
// or pumps. `HSW_ERR_STATE`: there is no such thread, or it ended before it answered; otherwise as
// `hsw_remote_with`.
hsw_status hsw_thread_get_info(uint64_t id, struct hsw_thread_info *info);

// Makes a channel between threads. Its values are pointers. `destroy` (may be null) frees those
// that nobody will receive, on whatever thread that is found.
hsw_status hsw_thread_channel_new(hsw_destroy destroy, struct hsw_thread_channel *channel);

// Makes another handle of the same channel, with an owner of its own.
hsw_status hsw_thread_channel_retain(struct hsw_thread_channel channel, struct hsw_thread_channel *other);

// Gives a handle back. It is stale from now on, for all threads. The channel lives on while others
// have handles or a tasklet is in a call of it.
hsw_status hsw_thread_channel_release(struct hsw_thread_channel channel);

// Sends a value; blocks the tasklet while nobody receives. The value is the channel's from now on,
// *also when this call fails*, as in `hsw_channel_send`.
hsw_status hsw_thread_channel_send(struct hsw_thread_channel channel, void *value);

// Receives a value; blocks the tasklet while nobody sends. The value is the caller's.
hsw_status hsw_thread_channel_receive(struct hsw_thread_channel channel, void **value);

// As `hsw_thread_channel_send`, but waits for at most `timeout_ns` nanoseconds (0: not at all;
// `HSW_NO_LIMIT`: as long as it takes). `HSW_ERR_TIMEOUT`: nobody received, and the value is still
// the caller's. On any other failure it is freed.
hsw_status hsw_thread_channel_send_timeout(struct hsw_thread_channel channel, void *value, uint64_t timeout_ns);

// As `hsw_thread_channel_receive`, but waits for at most `timeout_ns` nanoseconds; otherwise as
// `hsw_thread_channel_send_timeout`.
hsw_status hsw_thread_channel_receive_timeout(struct hsw_thread_channel channel, uint64_t timeout_ns, void **value);

// Sends a value if somebody is receiving. `HSW_ERR_WOULD_BLOCK`: nobody is, and the value is still
// the caller's. On any other failure it is freed.
hsw_status hsw_thread_channel_try_send(struct hsw_thread_channel channel, void *value);

// Receives a value if somebody is sending, else `HSW_ERR_WOULD_BLOCK`.
hsw_status hsw_thread_channel_try_receive(struct hsw_thread_channel channel, void **value);

// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. For the payload the same holds
// as in `hsw_tasklet_throw`.
hsw_status hsw_thread_channel_send_throw(struct hsw_thread_channel channel,
                                         void *payload,
                                         hsw_destroy destroy,
                                         const char *message);

// Sends `count` values one after the other. For all of them the same holds as in
// `hsw_thread_channel_send`. `sent` (may be null) gets how many were sent, also on failure; the
// others have been freed then.
//
// `values` must not lie on a sliced stack other than the caller's own.
hsw_status hsw_thread_channel_send_sequence(struct hsw_thread_channel channel,
                                            void *const *values,
                                            size_t count,
                                            size_t *sent);

// The next value of an iteration over the channel: as `hsw_thread_channel_receive`, but
// `HSW_ERR_STOP_ITERATION` when the channel is closing and nobody is sending.
hsw_status hsw_thread_channel_next(struct hsw_thread_channel channel, void **value);

// Who goes on first when two of the same thread meet, as one of `hsw_preference`.
hsw_status hsw_thread_channel_preference(struct hsw_thread_channel channel, int32_t *preference);

// Sets who goes on first when two of the same thread meet. Only the sign of the number counts.
hsw_status hsw_thread_channel_set_preference(struct hsw_thread_channel channel, int32_t preference);

// Whether every rendezvous of two of the same thread also lets all others of it run.
hsw_status hsw_thread_channel_schedule_all(struct hsw_thread_channel channel, bool *on);

// Sets whether every rendezvous of two of the same thread also lets all others of it run.
hsw_status hsw_thread_channel_set_schedule_all(struct hsw_thread_channel channel, bool on);

// Closes the channel: operations that would block fail with `HSW_ERR_CLOSED`. Tasklets that wait
// are still served; none is woken.
hsw_status hsw_thread_channel_close(struct hsw_thread_channel channel);

// Closes the channel and ends the waits of all who wait on it, on whatever thread, with
// `HSW_ERR_CLOSED`; `woken` (may be null) gets how many. What senders were about to send is
// treated as by any send that fails.
hsw_status hsw_thread_channel_close_and_wake(struct hsw_thread_channel channel, size_t *woken);

// Opens a closed channel again.
hsw_status hsw_thread_channel_open(struct hsw_thread_channel channel);

// Whether `hsw_thread_channel_close` was called.
hsw_status hsw_thread_channel_is_closing(struct hsw_thread_channel channel, bool *closing);

// Whether it is closing and nobody waits on it any more.
hsw_status hsw_thread_channel_is_closed(struct hsw_thread_channel channel, bool *closed);

// How many tasklets wait: senders count up, receivers down. Other threads may change it at any
// time.
hsw_status hsw_thread_channel_balance(struct hsw_thread_channel channel, ptrdiff_t *balance);

// A number that is the channel's alone while it lives: equal ids are the same channel. Never 0.
hsw_status hsw_thread_channel_id(struct hsw_thread_channel channel, size_t *id);

// Gets the calling thread's clock of wall time, which follows the system's monotonic clock from
// its first use on.
hsw_status hsw_timer_clock_wall(struct hsw_timer_clock *clock);

// Gets the calling thread's clock of simulated time: the same with each call. It runs as wall time
// does until it is told otherwise.
hsw_status hsw_timer_clock_simulated(struct hsw_timer_clock *clock);

// Makes another clock of simulated time, at zero.
hsw_status hsw_timer_clock_new(struct hsw_timer_clock *clock);

// Makes another handle of the same clock, with an owner of its own.
hsw_status hsw_timer_clock_retain(struct hsw_timer_clock clock, struct hsw_timer_clock *other);

// Gives a handle back. It is stale from now on. The clock's timers still come.
hsw_status hsw_timer_clock_release(struct hsw_timer_clock clock);

// What the clock shows: nanoseconds since its start.
hsw_status hsw_timer_clock_now(struct hsw_timer_clock clock, uint64_t *now_ns);

// Stops a clock of simulated time. Twice is fine. `HSW_ERR_ARGUMENT`, of this and the next four:
// it is the clock of wall time.
hsw_status hsw_timer_clock_pause(struct hsw_timer_clock clock);

// Lets it run again. Twice is fine.
hsw_status hsw_timer_clock_resume(struct hsw_timer_clock clock);

// Lets it run `scale` times as fast as wall time; at 0 it stands still. `HSW_ERR_ARGUMENT`:
// `scale` is negative, infinite or no number.
hsw_status hsw_timer_clock_set_scale(struct hsw_timer_clock clock, double scale);

// Puts it forward, paused or not. What becomes due is called in the next pump. `HSW_ERR_ARGUMENT`:
// more than `INT64_MAX`.
hsw_status hsw_timer_clock_advance(struct hsw_timer_clock clock, uint64_t by_ns);

// Sets what it shows, forward or back; `HSW_NO_LIMIT` is as far as can be. Timers keep their
// moments. `HSW_ERR_ARGUMENT`: otherwise more than `INT64_MAX`.
hsw_status hsw_timer_clock_set(struct hsw_timer_clock clock, uint64_t now_ns);

// What is to be known of a clock.
hsw_status hsw_timer_clock_get_info(struct hsw_timer_clock clock, struct hsw_timer_clock_info *info);

// Blocks the calling tasklet for at least so many nanoseconds of this clock; the others run
// meanwhile. 0 lets them run once, `HSW_NO_LIMIT` is as long as it takes to be killed.
// `HSW_ERR_ARGUMENT`: otherwise more than `INT64_MAX`, as negative numbers become.
hsw_status hsw_timer_clock_sleep(struct hsw_timer_clock clock, uint64_t time_ns);

// As `hsw_timer_clock_sleep`, until the clock shows `at_ns`. What is past lets the others run
// once; `HSW_NO_LIMIT` never comes.
hsw_status hsw_timer_clock_sleep_until(struct hsw_timer_clock clock, uint64_t at_ns);

// Has `function(argument)` called once, after `delay_ns` nanoseconds of the clock: never early, in
// the pump of the thread's main loop (`hsw_tick`, `hsw_pump`), by the tasklet that pumps; in the
// order of the moments. What takes long, or blocks, belongs into a tasklet that it spawns. A
// status other than `HSW_OK` that it returns is the failure of a tasklet made for that: it goes to
// the error handler, or arrives from the next `hsw_run` or `hsw_tick`.
//
// The argument is the timer's from now on, also when this call fails: `destroy_argument` (may be
// null) frees it when the function has returned, the timer is cancelled, or the thread ends.
// `timer` may be null: then it cannot be cancelled.
//
// `HSW_ERR_ARGUMENT`: the delay is more than `INT64_MAX`, as negative numbers become, and not
// `HSW_NO_LIMIT`.
hsw_status hsw_timer_call_later(struct hsw_timer_clock clock,
                                uint64_t delay_ns,
                                hsw_entry function,
                                void *argument,
                                hsw_destroy destroy_argument,
                                struct hsw_timer *timer);

// As `hsw_timer_call_later`, when the clock shows `at_ns`; in the next pump if that is past, and
// never at `HSW_NO_LIMIT`.
hsw_status hsw_timer_call_at(struct hsw_timer_clock clock,
                             uint64_t at_ns,
                             hsw_entry function,
                             void *argument,
                             hsw_destroy destroy_argument,
                             struct hsw_timer *timer);

// As `hsw_timer_call_later`, each `period_ns` nanoseconds, until it is cancelled or the thread
// ends; failures do not end it. It keeps its beat: what was missed is called for once.
// `HSW_ERR_ARGUMENT`: also for a period of zero.
hsw_status hsw_timer_repeat(struct hsw_timer_clock clock,
                            uint64_t period_ns,
                            hsw_entry function,
                            void *argument,
                            hsw_destroy destroy_argument,
                            struct hsw_timer *timer);

// Makes another handle of the same timer, with an owner of its own.
hsw_status hsw_timer_retain(struct hsw_timer timer, struct hsw_timer *other);

// Gives a handle back. It is stale from now on. The timer still comes: to stop it,
// `hsw_timer_cancel` first.
hsw_status hsw_timer_release(struct hsw_timer timer);

// The function will not be called (again). `was_pending` (may be null): it would have been. Twice
// is fine, and so is a timer that has come; both say no.
hsw_status hsw_timer_cancel(struct hsw_timer timer, bool *was_pending);

// Will the function be called (again), and if so when, as the timer's clock shows it
// (`UINT64_MAX`: later than can be told). Each may be null; without a call to come `due_ns` is
// left alone.
hsw_status hsw_timer_state(struct hsw_timer timer, bool *pending, uint64_t *due_ns);

#ifdef __cplusplus
} // extern "C"
#endif // __cplusplus

#endif /* HARDSWITCH_H */

#if defined(__cplusplus) && defined(__GNUC__) && (defined(__cpp_exceptions) || defined(__EXCEPTIONS)) && \
    !defined(HSW_MODULE_H)
#define HSW_MODULE_H

/* Each module in C++ that includes this header makes its C++ runtime known when it is loaded, before anything else of the file that
 * includes it: it may be one that the library cannot find by itself. See hsw_exceptions_add. */
#include <stdio.h>
#include <stdlib.h>

extern "C" void *hsw_module_cxa_get_globals(void) __asm__("__cxa_get_globals") __attribute__((weak));

namespace { struct hsw_module_exceptions { // of each module its own: hidden from all others
    hsw_module_exceptions() {
        if (&hsw_module_cxa_get_globals != 0 && hsw_exceptions_add(&hsw_module_cxa_get_globals) != HSW_OK) {
            fprintf(stderr, "hardswitch: %s\n", hsw_last_error_message());
            abort(); /* the alternative is that exceptions are destroyed in silence */
        }
    }
    ~hsw_module_exceptions() {
        if (&hsw_module_cxa_get_globals != 0) {
            hsw_exceptions_remove(&hsw_module_cxa_get_globals);
        }
    }
    hsw_module_exceptions(const hsw_module_exceptions &);
    hsw_module_exceptions &operator=(const hsw_module_exceptions &);
} hsw_module_exceptions_are_known; } // hsw_module_exceptions
#endif
