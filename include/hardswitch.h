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

// The state of a tasklet: bits of `hsw_tasklet_state`.
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

// A length that is not known.
#define HSW_HTTP_UNKNOWN 18446744073709551615ull

// How a dict trades memory for time.
enum hsw_dict_tuning
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The fewest bytes: 2 entries at first, four fifths full, an eighth larger.
  HSW_DICT_COMPACT = 0,
  // As Python on the PlayStation 3: 1 at first, three quarters full, half as large again.
  HSW_DICT_CONSOLE = 1,
  // As CPython 2.7: 8 at first, two thirds full, four times as large.
  HSW_DICT_PYTHON27 = 2,
};
#ifndef __cplusplus
typedef int32_t hsw_dict_tuning;
#endif // __cplusplus

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

// What kind of address it is.
enum hsw_family
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // A name within this machine: a path, an abstract name, or none.
  HSW_FAMILY_UNIX = 1,
  // Four bytes and a port.
  HSW_FAMILY_IPV4 = 4,
  // Sixteen bytes and a port.
  HSW_FAMILY_IPV6 = 6,
};
#ifndef __cplusplus
typedef int32_t hsw_family;
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

// What a request was doing when it failed.
enum hsw_http_phase
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The request was put together; nothing was sent.
  HSW_HTTP_PHASE_PREPARING = 0,
  // The name was looked up, or a connection made.
  HSW_HTTP_PHASE_CONNECTING,
  // The request was sent.
  HSW_HTTP_PHASE_SENDING,
  // The head of the answer was waited for.
  HSW_HTTP_PHASE_READING_HEAD,
  // The answer named another place.
  HSW_HTTP_PHASE_REDIRECTING,
  // The body was read.
  HSW_HTTP_PHASE_READING_BODY,
};
#ifndef __cplusplus
typedef int32_t hsw_http_phase;
#endif // __cplusplus

// What went wrong with a request. `hsw_last_error_message` has words for it, with the method, the
// URL and the phase.
enum hsw_http_problem
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The last error is none of a request.
  HSW_HTTP_PROBLEM_NONE = 0,
  // The URL cannot be used (`HSW_ERR_ARGUMENT`).
  HSW_HTTP_PROBLEM_BAD_URL,
  // A header field has a name that is none, or a value with control characters
  // (`HSW_ERR_ARGUMENT`).
  HSW_HTTP_PROBLEM_BAD_HEADER,
  // The request cannot be sent as it is (`HSW_ERR_ARGUMENT`).
  HSW_HTTP_PROBLEM_BAD_REQUEST,
  // There is no connection (`HSW_ERR_IO`, `HSW_ERR_TIMEOUT`).
  HSW_HTTP_PROBLEM_CONNECT,
  // The connection has failed (`HSW_ERR_IO`), or brought nothing for the time of a read or write
  // (`HSW_ERR_TIMEOUT`: such a read can be made again).
  HSW_HTTP_PROBLEM_CONNECTION,
  // The time for the whole is over, or the answer comes too slowly (`HSW_ERR_TIMEOUT`).
  HSW_HTTP_PROBLEM_TOO_SLOW,
  // The connection ended before the head of the answer did. From here on the status is
  // `HSW_ERR_HTTP`.
  HSW_HTTP_PROBLEM_SHORT_HEAD,
  // The heads are longer than the limit.
  HSW_HTTP_PROBLEM_HEAD_TOO_LONG,
  // There were more interim answers than the limit.
  HSW_HTTP_PROBLEM_TOO_MANY_INTERIM,
  // The answer breaks the protocol, or is not HTTP/1 at all.
  HSW_HTTP_PROBLEM_BAD_ANSWER,
  // The answer uses what this client does not support.
  HSW_HTTP_PROBLEM_UNSUPPORTED,
  // The answer names another place that cannot be followed.
  HSW_HTTP_PROBLEM_BAD_REDIRECT,
  // There were more redirects than the limit.
  HSW_HTTP_PROBLEM_TOO_MANY_REDIRECTS,
  // The source of the request's body has ended too soon.
  HSW_HTTP_PROBLEM_REQUEST_BODY,
  // The file that was to be loaded further is another one now.
  HSW_HTTP_PROBLEM_CHANGED,
  // The server has nothing from where the rest was to begin.
  HSW_HTTP_PROBLEM_NO_RANGE,
  // The connection ended before the body did, or the server has sent less than the file.
  HSW_HTTP_PROBLEM_SHORT_BODY,
  // The body is longer than the caller allowed. It can be read on.
  HSW_HTTP_PROBLEM_BODY_TOO_LONG,
  // The server answered with a status other than success.
  HSW_HTTP_PROBLEM_STATUS,
  // Something else.
  HSW_HTTP_PROBLEM_OTHER,
};
#ifndef __cplusplus
typedef int32_t hsw_http_problem;
#endif // __cplusplus

// Which side runs first when a sender and a receiver have met.
enum hsw_preference
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The receiver: a send switches to it at once. The default.
  HSW_PREFER_RECEIVER = -1,
  // The side that came second goes on.
  HSW_PREFER_NEITHER = 0,
  // The sender.
  HSW_PREFER_SENDER = 1,
};
#ifndef __cplusplus
typedef int32_t hsw_preference;
#endif // __cplusplus

// What a pending error means for a socket.
enum hsw_socket_kind
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // TCP. After an error it is over in both directions.
  HSW_KIND_STREAM = 0,
  // A connection within the machine (Unix domain; stream or sequential packets).
  HSW_KIND_LOCAL = 1,
  // Datagrams. An error is not the end.
  HSW_KIND_DATAGRAM = 2,
};
#ifndef __cplusplus
typedef int32_t hsw_socket_kind;
#endif // __cplusplus

// An option of a socket whose value is a number. `hsw_keepalive` is the one that has several.
enum hsw_socket_option
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // How long a single wait of a read, of a receive, of an accept may last, in nanoseconds;
  // `HSW_NO_LIMIT`, the default: no limit. Not 0.
  HSW_SOCKET_READ_TIMEOUT = 1,
  // The same of a write or a send. Listeners have none.
  HSW_SOCKET_WRITE_TIMEOUT = 2,
  // The room for what has come and was not read yet, in bytes. The system may round it, Linux
  // doubles it.
  HSW_SOCKET_RECEIVE_BUFFER = 3,
  // The room for what was written and has not left yet, in bytes; rounded as the other.
  HSW_SOCKET_SEND_BUFFER = 4,
  // 1: small writes are sent at once; 0, the default: they are collected (Nagle). TCP
  // connections.
  HSW_SOCKET_NODELAY = 5,
  // How long the last close may take to send what was not sent yet, in nanoseconds, rounded up
  // to whole seconds. The system may block the *thread* that long. 0: what was not sent is lost,
  // and the connection reset. `HSW_NO_LIMIT`, the default: it is sent in the background. TCP
  // connections.
  HSW_SOCKET_LINGER = 6,
  // How many routers a packet may pass, 1 to 255. TCP connections, UDP. A socket of IPv6 has
  // this and the next options for the addresses of IPv4 that it reaches as well.
  HSW_SOCKET_TTL = 7,
  // 1: it may send to broadcast addresses; 0, the default: it may not. UDP.
  HSW_SOCKET_BROADCAST = 8,
  // 1, the default: this machine gets what the socket sends to a group; 0: it does not. UDP.
  HSW_SOCKET_MULTICAST_LOOP = 9,
  // How many routers a datagram to a group may pass, 0 to 255; 1, the default: none. UDP.
  HSW_SOCKET_MULTICAST_TTL = 10,
};
#ifndef __cplusplus
typedef int32_t hsw_socket_option;
#endif // __cplusplus

// Where a tasklet's frames live.
enum hsw_stack
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // The default: in a stack window that it shares with others. While it does not run, its live
  // bytes may be on the heap, and *its stack addresses hold somebody else's bytes*. So nothing
  // outside of the tasklet may touch its stack while it is not running: there must be no pointer
  // to one of its locals in another tasklet, another thread, a queue, a list or a pending system
  // call. Data that others shall see goes to the heap.
  HSW_STACK_SLICED = 0,
  // A stack of its own, with a guard page. Pointers into it stay good for as long as its frames
  // live.
  HSW_STACK_OWN = 1,
};
#ifndef __cplusplus
typedef int32_t hsw_stack;
#endif // __cplusplus

// The outcome of a call. `hsw_last_error_message` has words for it.
//
// The codes from `HSW_ERR_EXIT` to below `HSW_ERR_NULL` are events of the runtime. Those from
// `HSW_ERR_NULL` on are mistakes of the caller, found before anything was changed (except for
// `HSW_ERR_INTERNAL`). What a function takes over *also when it fails*, it takes over with each of
// these codes, unless its own description says that after a mistake it does not.
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
  // has failed, and nobody handled that. `hsw_last_error_payload` has the payload of an
  // exception, `hsw_last_error_cause` tells what the failure was. All calls that wait report it
  // with this code, *whatever was thrown*: any other status, except for `HSW_ERR_EXIT` and
  // `HSW_ERR_PANICKED`, is the outcome of the call itself. If the socket of another tasklet has
  // timed out, that is no `HSW_ERR_TIMEOUT` of a call that waits meanwhile.
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
  // The time that the call was given is over. (A connection that the system has found dead is
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
  // The call would have to wait, and must not.
  HSW_ERR_WOULD_BLOCK = 17,
  // Settings that contradict each other or come too late.
  HSW_ERR_SETTINGS = 18,
  // The value of a waiting sender was lost, because another tasklet was in a deadlock.
  HSW_ERR_VALUE_LOST = 19,
  // A tasklet gave up waiting at the barrier, or broke it.
  HSW_ERR_BROKEN = 20,
  // A request of HTTP has failed by what the server has answered, or not: `hsw_http_last_error`
  // has the problem and the phase.
  HSW_ERR_HTTP = 21,
  // Another error of the runtime.
  HSW_ERR_OTHER = 31,
  // A pointer or handle is null that must not be.
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
  // The calling thread has ended its use of the library for good; its handles name nothing any
  // more.
  HSW_ERR_THREAD_ENDING = 38,
  // The library itself has failed (by a bug of it, or of a callback in Rust). The message is
  // that of the panic. A value that the call was to hand over has been freed, or a receiver has
  // it.
  HSW_ERR_INTERNAL = 39,
};
#ifndef __cplusplus
typedef int32_t hsw_status;
#endif // __cplusplus

// What a value of a record is.
enum hsw_value_kind
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
  // Nothing.
  HSW_VALUE_NONE = 0,
  // `of.integer`.
  HSW_VALUE_INTEGER = 1,
  // `of.real`.
  HSW_VALUE_REAL = 2,
  // `of.text`, which ends in a zero byte. A record copies it.
  HSW_VALUE_TEXT = 3,
  // `of.pointer`, which is the record's from then on: see `hsw_record_type_new`.
  HSW_VALUE_POINTER = 4,
};
#ifndef __cplusplus
typedef int32_t hsw_value_kind;
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
// with `hsw_tasklet_release`. All zero is the null handle, which names nothing.
typedef struct hsw_tasklet {
  // Opaque; zero is nothing. Two handles of one tasklet differ: compare `hsw_tasklet_id`.
  uint64_t handle;
} hsw_tasklet;

// Gets a piece of text: `length` bytes. They do not end in a zero, and may end in the middle of a
// line. It must neither use this library nor unwind.
typedef void (*hsw_write)(const char *text, size_t length, void *user);

// A handle of a dict; the rules for its owner and thread are those of `hsw_tasklet`.
typedef struct hsw_dict {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_dict;

// Called for each entry of a dict. `key` ends in a zero byte; it and `value` are lent. Returns
// whether to go on. It may use this library, but the dict cannot be changed meanwhile. It must not
// unwind.
typedef bool (*hsw_dict_visit)(const char *key, void *value, void *user);

// A handle of an error that a call failed with, payload included. Any thread may use it. It has
// one owner, who gives it back with `hsw_error_release`.
typedef struct hsw_error {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_error;

// `__cxa_get_globals` of a C++ runtime (Itanium C++ ABI, 2.2.2).
typedef void *(*hsw_cxa_get_globals)(void);

// As `hsw_entry`, with a result. When it returns `HSW_OK`, the result is what it has written to
// `*result` (null at first). When it returns another status, the tasklet that joins it fails with
// `HSW_ERR_THROWN`, and whatever it has written to `*result` is still its own to free.
typedef hsw_status (*hsw_join_entry)(void *argument, void **result);

// How to make a tasklet. Set all to zero for the defaults.
typedef struct hsw_tasklet_options {
  // A name for messages and tools; it is copied. May be null.
  const char *name;
  // One of `hsw_stack`.
  int32_t stack;
  // Bytes of an own stack; 0: the default of the settings. For a sliced tasklet it must be 0:
  // its stack is its window.
  size_t stack_size;
  // Whether it has floating-point control words (rounding mode, exception masks) of its own,
  // instead of the thread's.
  bool fp_env;
  // The file of the host's source where the tasklet is made, for `hsw_tasklet_site`: a string in
  // UTF-8 that lives for ever, such as `__FILE__`. Null: not known.
  const char *file;
  // The line in that file, such as `__LINE__`.
  uint32_t line;
  // Frees the argument: called once, when the entry function has returned or will certainly
  // never run. May be null.
  hsw_destroy destroy_argument;
} hsw_tasklet_options;

// A handle of a tasklet's result; the rules for its owner and thread are those of `hsw_tasklet`.
// With the last handle, a result that nobody took is freed; the tasklet runs on all the same.
typedef struct hsw_join {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_join;

// One descriptor of a poll. It is laid out as `struct pollfd`, so a pointer to those may be cast;
// the bits are those of `<poll.h>`.
typedef struct hsw_pollfd {
  // The descriptor; a negative one is skipped.
  int32_t fd;
  // The events that are asked for.
  int16_t events;
  // The events that hold. Overwritten by every call.
  int16_t revents;
} hsw_pollfd;

// A system's `poll`: fills in `revents` and returns how many descriptors have any; 0 when
// `timeout_ns` nanoseconds have passed (`HSW_NO_LIMIT`: no limit; round up), and -E when it has
// failed with the error E, in Linux' numbers. `mask` is the signal mask that the caller has passed
// (a `const sigset_t *`), or null. When it fails, `revents` may hold anything that could be true.
typedef int32_t (*hsw_poll_function)(void *context, struct hsw_pollfd *fds, size_t count, uint64_t timeout_ns, const void *mask);

// A system's `select`: leaves in the sets the descriptors that are ready and returns how many are
// left, or fails, as `hsw_poll_function`. The sets are never null; each is an `fd_set`, or
// elsewhere than on Linux 32 words of 32 bits. When it fails, they may hold what is ready, or be
// as they were, or be empty.
typedef int32_t (*hsw_select_function)(void *context, int32_t nfds, void *read_set, void *write_set, void *except_set, uint64_t timeout_ns, const void *mask);

// A clock: nanoseconds since any moment. It never goes back.
typedef uint64_t (*hsw_clock_function)(void *context);

// A question about a socket: the answer, or -E if it failed with the error E.
typedef int32_t (*hsw_socket_question)(void *context, int32_t fd);

// A system's own calls, which may fail for the pending error of one socket. The functions must not
// unwind, and not one of them may read a pending error away but `take_error`. Those that are null
// are not there; `poll` or `select` must be, for the call of the same name.
typedef struct hsw_net_backend {
  // Passed to each function.
  void *context;
  // The system's `poll`.
  hsw_poll_function poll;
  // The system's `select`.
  hsw_select_function select;
  // The clock, read only in calls with a time limit. Null: the system's; without std the
  // thread's.
  hsw_clock_function now_ns;
  // An `hsw_socket_kind`. Null: all are `HSW_KIND_STREAM`. This question and the two after it
  // are asked only about a socket that has a pending error, if the system says no more of it.
  hsw_socket_question kind;
  // How many bytes a datagram socket has to read (`FIONREAD`). Null: none.
  hsw_socket_question unread;
  // Not 0 if there is urgent data to read (`SIOCATMARK`). Null: there is none.
  hsw_socket_question urgent;
  // The pending error of a socket, 0 if it has none (`SO_ERROR`). It is no longer pending then.
  // Only `hsw_take_error` asks.
  hsw_socket_question take_error;
} hsw_net_backend;

// A handle of a channel with a queue; the rules for its owner and thread are those of
// `hsw_tasklet`.
typedef struct hsw_queue {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_queue;

// A handle of a record type; the rules for its owner and thread are those of `hsw_tasklet`.
typedef struct hsw_record_type {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_record_type;

// A value of a record; its kind tells which of them it is.
typedef union hsw_value_of {
  // A whole number.
  int64_t integer;
  // A number.
  double real;
  // Words, which end in a zero byte.
  const char *text;
  // Anything.
  void *pointer;
} hsw_value_of;

// A value of a record. All bytes zero is nothing.
typedef struct hsw_value {
  // One of `hsw_value_kind`.
  int32_t kind;
  // The value.
  union hsw_value_of of;
} hsw_value;

// A handle of a record; the rules for its owner and thread are those of `hsw_tasklet`.
typedef struct hsw_record {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_record;

// How long a run may take, in turns of tasklets and in time; the limit that is reached first
// counts. `HSW_NO_LIMIT` is no limit.
typedef struct hsw_budget {
  // How often a tasklet may be switched to. A tasklet that schedules while no other can run uses
  // a turn as well. With 0 nobody runs.
  uint64_t switches;
  // Nanoseconds. 0 allows one turn.
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
  // Whether the budget was used up.
  bool used_up;
  // The tasklet that was giving way at that moment, if it is still queued; else the null handle.
  // The caller owns the handle.
  struct hsw_tasklet interrupted;
} hsw_run_report;

// A monotonic clock: nanoseconds since any fixed moment. It must not unwind or call this library.
typedef uint64_t (*hsw_clock)(void);

// The function that a tasklet runs. It ends the tasklet by returning `HSW_OK`, or the failure it
// met. To return the status of a failed call passes that error on, with its payload.
// `HSW_ERR_EXIT` ends the tasklet silently; any other error goes to the error handler, or arrives
// as the failure of the innermost `hsw_run`.
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
  // Waits with a timeout that are going on.
  size_t timeouts;
} hsw_counters;

// Called before each switch: `previous` (the null handle when main starts) is still the current
// tasklet. The handles are lent for the time of the call; `hsw_tasklet_retain` makes one to keep.
// It must neither switch nor unwind.
typedef void (*hsw_schedule_callback)(struct hsw_tasklet previous, struct hsw_tasklet next, void *user);

// Called at the beginning of each channel operation, also of one that then fails. The handle of
// the tasklet is lent for the time of the call. It must neither use the channel nor unwind.
typedef void (*hsw_channel_callback)(size_t channel_id, struct hsw_tasklet tasklet, bool sending, bool will_block, void *user);

// An error that a tasklet ended with, for the error handler. All of it is lent for the time of the
// call.
typedef struct hsw_uncaught {
  // The status of the error.
  hsw_status status;
  // Its words; never null.
  const char *message;
  // The payload of an exception of C's, else null.
  void *payload;
  // The function given with the payload, else null.
  hsw_destroy destroy;
} hsw_uncaught;

// Called in a tasklet that ends with an error other than `HSW_ERR_EXIT`. To return `HSW_OK` means
// that the error has been dealt with; after any other answer the error goes on to the innermost
// `hsw_run`. During the call the error is the tasklet's last one, and `hsw_error_last` can keep
// it. The handler must not unwind.
typedef hsw_status (*hsw_error_handler)(const struct hsw_uncaught *error, void *user);

// A handle of a channel between tasklets of any threads. Any thread may use it, and give it back.
//
// It differs from a channel of one thread (`hsw_channel`) as follows. A partner on another thread
// is made runnable there, whatever the preference, and the caller goes on without a switch. Nobody
// can see which tasklets wait. The values, and the function that frees them, cross threads. A
// thread with nothing else to do sleeps in the system until it is woken. `HSW_ERR_DEADLOCK` counts
// all threads that use the library: the last one that can run is not allowed to wait.
//
// A thread that does not use the library yet is counted by means of the handle that is on its way
// to it: *give each thread a handle of its own* (`hsw_thread_channel_retain`) when it is started.
// As long as some handle has never been used and some thread has not used the library yet, no
// deadlock is reported. If the new thread shares a handle that others use already, a deadlock may
// be reported too early.
typedef struct hsw_thread_channel {
  // Opaque; zero is nothing. Two handles of one channel differ: compare `hsw_thread_channel_id`.
  uint64_t handle;
} hsw_thread_channel;

// One of the operations of `hsw_select`. Exactly one of `channel`, `queue`, `join` and
// `thread_channel` is set; the others are null handles.
typedef struct hsw_case {
  // A channel.
  struct hsw_channel channel;
  // A queue. It can be sent to when it has room, and received from when it has a value.
  struct hsw_queue queue;
  // One of `hsw_direction`.
  int32_t direction;
  // The value to send; or where the received value is written.
  void *value;
  // A tasklet's result, which can only be received, as with `hsw_join_wait`.
  struct hsw_join join;
  // A channel between threads: a partner on another thread is made runnable there, and nobody
  // switches because of it. The library needs an operating system for that.
  struct hsw_thread_channel thread_channel;
} hsw_case;

// Sizes and limits of a thread's runtime. Fill it with `hsw_settings_default` or
// `hsw_settings_console`, change what you like, and pass it to `hsw_init`. Sizes in bytes.
typedef struct hsw_settings {
  // How many windows sliced tasklets share, 1 to 1024. As long as no more tasklets than that are
  // switched between, nothing is copied.
  size_t windows;
  // Size of a window: the stack of a sliced tasklet, which it can only exceed by spilling.
  size_t window_size;
  // How much of its stack a tasklet must have in use before a spill moves frames to the heap; 0:
  // it always does.
  size_t watermark;
  // Size of an own stack, unless its tasklet asks for another.
  size_t stack_size;
  // How many used own stacks are kept for new tasklets.
  size_t stack_pool;
  // Size of the guard below each window and stack, which faults when it is touched; at least a
  // page. It takes address space, but no memory. A frame that is larger and was compiled without
  // stack probes (`-fstack-clash-protection`) can step over it.
  size_t guard_size;
  // Bytes of free slices that are kept.
  size_t slice_cache;
  // What control blocks, slices and stacks may take together. Beyond it `hsw_spawn`, and
  // switches that need more memory, fail with `HSW_ERR_OUT_OF_MEMORY`. `SIZE_MAX`: no ceiling.
  size_t memory_ceiling;
  // Whether a stack overflow is reported with the tasklet's name. Installs a handler for SIGSEGV
  // and SIGBUS; the previous handler is called as well, after the report and for all other
  // faults.
  bool overflow_report;
  // How long the last runnable tasklet of the thread spins for its partner on another thread
  // before the thread goes to sleep, in nanoseconds of processor time. 0: never; a library
  // without threads never does.
  uint64_t spin_ns;
} hsw_settings;

// A function that is called once. It must not unwind.
typedef void (*hsw_function)(void *argument);

// Figures of a thread's runtime. Sizes are in bytes.
typedef struct hsw_stats {
  // Switches so far.
  uint64_t switches;
  // Bytes copied out of windows and back into them so far.
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

// When a tasklet ran, in nanoseconds of the thread's clock; measured while `hsw_set_statistics` is
// on.
typedef struct hsw_tasklet_times {
  // How long it has run, the sum of all turns.
  uint64_t run_ns;
  // When it was first switched to; `HSW_NO_LIMIT`: not yet, or not measured.
  uint64_t started_ns;
  // When it ended; `HSW_NO_LIMIT`: not yet, or not measured.
  uint64_t ended_ns;
} hsw_tasklet_times;

// Measurements of a tasklet.
typedef struct hsw_tasklet_stats {
  // How often it was switched to.
  uint64_t switches;
  // Bytes of live stack while parked; 0 while it runs and when it has no stack.
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

// A handle of a socket; the rules for its owner and thread are those of `hsw_tasklet`. Several
// tasklets may use one handle at a time: a reader and a writer do not disturb each other.
typedef struct hsw_socket {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_socket;

// The address of a socket. `hsw_address_parse` and `hsw_address_unix` make one of a text,
// `hsw_address_text` a text of one.
typedef struct hsw_address {
  // One of `hsw_family`.
  int32_t family;
  // IPv6: the number of the interface, for an address of its network alone (`fe80::`); else 0.
  uint32_t scope;
  // IP: the port, in the order of bytes of the machine.
  uint16_t port;
  // Unix: how many bytes the name has; 0, as of most connected sockets: it has none.
  uint16_t name_length;
  // IP: the address, as it is sent, the first byte first. IPv4: the first four bytes.
  uint8_t ip[16];
  // Unix: a path, which ends in a zero byte that does not count; or a zero byte and an abstract
  // name, at most 107 bytes, of any values. This library takes paths of at most 107 bytes; the
  // address of another program's socket may have one of 108.
  char name[109];
} hsw_address;

// When the owner's turn is up, if another thread waits. The limit that is reached first counts.
typedef struct hsw_host_lock_settings {
  // Its turn is up when it has made this many switches while another thread waits; pumps and
  // runs count as well. 0 means 1; `HSW_NO_LIMIT`: switches do not count.
  uint64_t switches;
  // Its turn is up at the first switch after it has had the lock for this many nanoseconds;
  // `HSW_NO_LIMIT`: time does not count.
  uint64_t time_ns;
} hsw_host_lock_settings;

// A lock under which one thread at a time runs its tasklets, as with an interpreter's global lock.
// Any thread may use the handle, and give it back. Only threads that have joined the lock obey it.
// The owner hands it to the thread that has waited longest: in every wait of the library when no
// other tasklet of the thread can run; in `hsw_allow_threads`; when its turn is up and another
// thread waits (not while an atomic tasklet runs); and when its thread ends. Code that neither
// switches nor waits keeps it.
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
  // Nanoseconds that threads have waited for it, summed up; without waits that are still going
  // on.
  uint64_t waited_ns;
  // The longest of these waits.
  uint64_t longest_wait_ns;
  // Nanoseconds that it was owned, without the present owner's turn.
  uint64_t held_ns;
  // Threads that wait.
  size_t waiting;
  // Its owner.
  struct hsw_host_lock_owner owner;
} hsw_host_lock_stats;

// What the hook of a lock is told.
typedef struct hsw_host_lock_event {
  // One of `hsw_host_lock_happening`.
  int32_t what;
  // The thread that it happened to.
  struct hsw_host_lock_owner who;
  // The owner of the lock, when it is contended.
  struct hsw_host_lock_owner owner;
  // How long the thread waited for it (acquired), or had it (released), in nanoseconds.
  uint64_t time_ns;
} hsw_host_lock_event;

// Called on the thread that the event happened to. It may ask questions, but calls that would
// switch or wait are refused. It must not unwind.
typedef void (*hsw_host_lock_hook)(const struct hsw_host_lock_event *event, void *user);

// How much of an answer is kept, and how long it may take. Times are in nanoseconds;
// `HSW_NO_LIMIT` is no limit.
typedef struct hsw_http_limits {
  // Bytes of status lines and header fields, those of interim answers included. The same holds
  // separately for the fields after a body in chunks.
  size_t head;
  // How many interim answers (1xx) there may be.
  size_t interim;
  // How many redirects are followed. 0: an answer that is one is returned.
  uint32_t redirects;
  // The time from the beginning of the request to the end of the body, whatever it is spent on.
  uint64_t total_ns;
  // The time to look the name up and to connect to one of its addresses, all together.
  uint64_t connect_ns;
  // The time for each read and write.
  uint64_t io_ns;
  // The least speed: so many bytes of the answer, head included, ...
  uint64_t least_bytes;
  // ... may take this time of waiting. What the caller does between its reads does not count.
  // `HSW_NO_LIMIT`: there is no least speed.
  uint64_t least_time_ns;
} hsw_http_limits;

// What a client is to be. Fill it with `hsw_http_settings_default`, change what you like, and pass
// it to `hsw_http_client_new`.
typedef struct hsw_http_settings {
  // The limits of its requests, if they do not say otherwise.
  struct hsw_http_limits limits;
  // How many connections are kept for later requests.
  size_t idle;
  // How long a connection is kept without a request, in nanoseconds.
  uint64_t idle_time_ns;
  // The `User-Agent` field; it is copied. Null: the library and its version.
  const char *user_agent;
} hsw_http_settings;

// Sends requests of HTTP/1.1, and keeps connections for the next ones. Any thread may use it, and
// give it back. All handles of a client share its connections.
//
// All functions `hsw_http_` are in the library only if it was built with the feature `http`, as
// `ci/install` builds it. Without it a program that calls one cannot be linked: the linker names
// the function. The same call waits in both ways: in a tasklet, or in main, only that waits; in a
// job of `hsw_offload` the thread waits.
typedef struct hsw_http_client {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_http_client;

// A handle of an answer; the rules for its owner and thread are those of `hsw_tasklet`. In a job
// of `hsw_offload` it belongs to the worker's thread, and is to be given back there. Its head can
// be asked about at any time; its body is read by one tasklet at a time: `HSW_ERR_STATE` for
// another one.
typedef struct hsw_http_answer {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_http_answer;

// The figures of an answer. Lengths are `HSW_HTTP_UNKNOWN` where they are not known.
typedef struct hsw_http_answer_info {
  // The status code, 200 for a success.
  uint16_t status;
  // How many header fields it has.
  size_t headers;
  // The length of the body. After a HEAD, what a GET would have.
  uint64_t length;
  // How many bytes of the body were read so far.
  uint64_t received;
  // Of a download: which byte of the file comes first, 0 or where the earlier one has ended.
  uint64_t start;
  // Of a download: the length of the whole file.
  uint64_t file_length;
} hsw_http_answer_info;

// Takes the next bytes of a body, all of them. `received` is how many have come, these included;
// `length` is how many there are in all, `HSW_HTTP_UNKNOWN` if that is not known; of a download,
// bytes of the whole file. It may wait. Any status but `HSW_OK` ends the copying, and the call
// fails with it, and with the last error that belongs to it. It must not unwind.
typedef hsw_status (*hsw_http_sink)(void *user, const void *data, size_t size, uint64_t received, uint64_t length);

// A request that has failed.
typedef struct hsw_http_error {
  // One of `hsw_http_problem`.
  int32_t problem;
  // One of `hsw_http_phase`.
  int32_t phase;
  // With `HSW_HTTP_PROBLEM_STATUS` the status of the answer, such as 404; otherwise 0.
  uint16_t status;
} hsw_http_error;

// A header field.
typedef struct hsw_http_header {
  // Its name.
  const char *name;
  // Its value, in UTF-8.
  const char *value;
} hsw_http_header;

// Gives the next bytes of a request's body: writes up to `size` bytes into `buffer`, and to
// `*given` how many. 0 is the end. It may wait. Any status but `HSW_OK` ends the request, and the
// call that it was for fails with it, and with the last error that belongs to it. It must not
// unwind.
typedef hsw_status (*hsw_http_source)(void *user, void *buffer, size_t size, size_t *given);

// A request. Zero is a good default for everything but `url`. All but `user` is read when the call
// is made, and not used later.
typedef struct hsw_http_request {
  // `http://host[:port][/path][?query]`.
  const char *url;
  // The method, an upper-case word as a rule. Null: GET.
  const char *method;
  // Header fields. They replace the client's own `Accept`, `Host` or `User-Agent`. Those that
  // frame messages, such as `Content-Length`, are refused.
  const struct hsw_http_header *headers;
  // How many there are.
  size_t header_count;
  // The body from memory; it is copied. Null: there is none.
  const void *body;
  // Bytes of it.
  size_t body_size;
  // Gives the body, if it does not come from memory. Such a request cannot be redirected with
  // its body. Null: it has no source.
  hsw_http_source source;
  // Does the source give `source_length` bytes? If not, it gives bytes up to its end, which are
  // sent in chunks; not every server takes those.
  bool source_has_length;
  // How many bytes the source gives.
  uint64_t source_length;
  // An argument for the source. Once the call is made it is the runtime's, whatever the status,
  // mistakes included.
  void *user;
  // Frees `user` when the source will not be called any more: when the call fails, or with the
  // answer at the latest. May be null.
  hsw_destroy destroy_user;
  // The limits of this request; null: the client's.
  const struct hsw_http_limits *limits;
  // The time for all of it, in nanoseconds, in place of the limits' `total_ns`. 0: that holds.
  uint64_t timeout_ns;
} hsw_http_request;

// What is there already of a file that is loaded.
typedef struct hsw_http_resume {
  // Its first bytes that are there. 0: none, the whole file is asked for.
  uint64_t from;
  // The version that they are of: what `hsw_http_answer_validator` has told. May be null if
  // `from` is 0.
  const char *validator;
  // If the file is another one now, or shorter, or the server sends no parts: whether the whole
  // file is to be loaded. Otherwise the call fails (`HSW_HTTP_PROBLEM_CHANGED`,
  // `HSW_HTTP_PROBLEM_NO_RANGE`).
  bool start_anew;
} hsw_http_resume;

// What the look-ups of the process may use. Fill it with `hsw_lookup_settings_default` or
// `hsw_lookup_settings_console`, change what you like, and pass it to `hsw_lookup_configure`.
typedef struct hsw_lookup_settings {
  // Look-ups that are made at a time, each on a thread. 1 or more.
  size_t threads;
  // Further threads, for when look-ups that nobody waits for any more keep others busy.
  size_t spare;
  // Stack of each thread, in bytes. The system's resolver needs 16 KiB.
  size_t stack_size;
  // How long an answer is kept for later look-ups of the same name, in nanoseconds; 0: not at
  // all, `HSW_NO_LIMIT`: until it is forgotten. The system's resolver does not tell how long its
  // answers stay valid. An answer that leads to no connection is forgotten.
  uint64_t keep_ns;
  // Names whose answers are kept at a time. One more takes the place of the oldest answer.
  size_t names;
} hsw_lookup_settings;

// What the calling thread's loop waits for.
typedef struct hsw_loop_info {
  // Is there nothing that could wake a tasklet: no timer, no socket waited for, no offload call,
  // no event, no `hsw_work`? (Another thread may still do so.)
  bool idle;
  // Tasklets that wait for sockets.
  size_t sockets;
  // Sleepers, timeouts and timers.
  size_t timers;
  // Nanoseconds until the first of those is due; `HSW_NO_LIMIT`: there is none.
  uint64_t next_ns;
} hsw_loop_info;

// A reference to a thread's main loop. Any thread may use it, and give it back. It does not keep
// the loop alive.
typedef struct hsw_loop {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_loop;

// A promise that its holder will post to a loop. Until it is given back the loop is not idle, and
// if the last runnable tasklet of its thread blocks, the thread sleeps instead of failing with
// `HSW_ERR_DEADLOCK` (if the process has other threads). It is for threads that the library knows
// nothing of, as long as they have work for the loop. (An `hsw_loop` alone promises nothing:
// anybody may keep one.) Any thread may use it, and give it back.
typedef struct hsw_work {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_work;

// A piece of memory. It is laid out as `struct iovec`, so a pointer to those may be cast.
typedef struct hsw_buffer {
  // Where it begins; may be null if the size is 0.
  void *data;
  // How many bytes it has.
  size_t size;
} hsw_buffer;

// What a pool may use at most.
typedef struct hsw_pool_settings {
  // Threads, at most. 1 or more.
  size_t threads;
  // Bytes of stack of each thread; if the system's minimum is larger, that.
  size_t stack_size;
  // Calls that may wait for a thread. 1 or more.
  size_t queue;
} hsw_pool_settings;

// Worker threads and their queue. Any thread may use it, and give it back.
typedef struct hsw_pool {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_pool;

// A blocking function, called on a worker thread. It may use nothing that belongs to the tasklet's
// thread: none of its handles, and no address of a sliced stack. It returns the result. It must
// not unwind.
typedef void *(*hsw_job)(void *argument);

// Gets the outcome of a job that its tasklet did not wait for to the end. That is `HSW_OK` and the
// result, which is the callback's from then on; or the reason why the job was not called
// (`HSW_ERR_CLOSED`: its pool was shut down before), and null. It is called once, on the tasklet's
// thread: in a pump of its main loop, or, if the outcome is there already, when the tasklet leaves
// the wait. It must not block or unwind.
typedef void (*hsw_abandoned)(hsw_status outcome, void *result, void *user);

// A call of a blocking function. Zero is a good default for everything but `timeout_ns`.
typedef struct hsw_offload_call {
  // The function.
  hsw_job job;
  // The argument of the job. Once the call is made it is the runtime's, whatever the status,
  // mistakes included. If the job is never called, `destroy_argument` frees it. If the job is
  // called, it must free it; that may be after the call has failed.
  void *argument;
  // Frees the argument of a job that is never called. May be null. Any thread may call it.
  hsw_destroy destroy_argument;
  // Frees a result that nobody takes. May be null. Any thread may call it.
  hsw_destroy destroy_result;
  // How long the tasklet waits, in nanoseconds; `HSW_NO_LIMIT`: as long as it takes. 0: until
  // the next pump.
  uint64_t timeout_ns;
  // The pool in which the job runs; the null handle: the process's pool.
  struct hsw_pool pool;
  // Gets the outcome if the tasklet does not wait to the end. May be null: then `destroy_result`
  // frees the result.
  hsw_abandoned on_abandoned;
  // An argument for the callback. It is the runtime's, like `argument`.
  void *user;
  // Frees `user` when the callback has returned or will not be called, on the tasklet's thread.
  // May be null.
  hsw_destroy destroy_user;
} hsw_offload_call;

// A reference to a tasklet. Any thread may use it, and give it back. Like a handle it keeps the
// tasklet.
//
// Requests are carried out on the tasklet's own thread, in the order in which they were made, at
// that thread's next switch or pump at the latest. Only `hsw_remote_with` and the functions that
// refer to it wait for that; none of them ever switches the calling thread to the tasklet. So an
// operation that the other thread refuses (`hsw_remote_insert` of a tasklet that has ended
// meanwhile) is no error here.
//
// As with `hsw_thread_channel`, each thread should get a handle of its own.
typedef struct hsw_remote {
  // Opaque; zero is nothing. Two handles of one tasklet differ: compare `hsw_remote_tasklet_id`.
  uint64_t handle;
} hsw_remote;

// A function that `hsw_remote_with` calls. It gets a handle of the tasklet that is lent for the
// time of the call; `hsw_tasklet_retain` makes one to keep there. It runs on whatever tasklet is
// running on that thread. It should not block, and must not unwind.
typedef void (*hsw_remote_function)(struct hsw_tasklet tasklet, void *argument);

// How the system finds out whether a silent peer of a TCP connection is still there.
typedef struct hsw_keepalive {
  // The silence after which it asks first, in nanoseconds, rounded up to whole seconds.
  uint64_t idle_ns;
  // The time between questions, in nanoseconds, rounded up to whole seconds.
  uint64_t interval_ns;
  // How many of them may stay without an answer.
  uint32_t probes;
} hsw_keepalive;

// A handle of a lock. It follows the rules of all handles of this part: any thread may use it, and
// it has one owner, who gives it back with `hsw_lock_release`.
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

// Figures of a thread.
typedef struct hsw_thread_info {
  // Its name, cut to the size of this array; "" when it has none, as threads that were not made
  // in Rust.
  char name[64];
  // Its main tasklet. The caller owns the handle.
  struct hsw_remote main_tasklet;
  // The tasklet that was running when the thread answered. The caller owns the handle.
  struct hsw_remote current;
  // Tasklets in its run queue, the running one included.
  size_t run_count;
  // Tasklets that exist there, main included.
  size_t tasklets;
} hsw_thread_info;

// A handle of a clock that has timers; the rules for its owner and thread are those of
// `hsw_tasklet`. (The function of `hsw_set_clock` is a different thing: the source of time for
// budgets and for the timeouts of channels.)
typedef struct hsw_timer_clock {
  // Opaque; zero is nothing.
  uint64_t handle;
} hsw_timer_clock;

// Figures of a clock.
typedef struct hsw_timer_clock_info {
  // Whether it shows simulated time, not wall time.
  bool simulated;
  // Does it stand still because it was paused?
  bool paused;
  // How many times as fast as wall time it runs when it is not paused.
  double scale;
  // Timers and sleepers that wait.
  size_t pending;
  // When the next of them is due, by this clock; `HSW_NO_LIMIT` when there is none, or the
  // moment is too late for this number.
  uint64_t next_due_ns;
} hsw_timer_clock_info;

// A handle of a timer; the rules for its owner and thread are those of `hsw_tasklet`.
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

// Gives a handle back; it is stale from now on. The channel lives on while there are other handles
// or a tasklet is in a call of it.
hsw_status hsw_channel_release(struct hsw_channel channel);

// Sends a value; blocks while nobody receives.
//
// The value is the channel's from now on, *also when this call fails*: then the channel's
// `destroy` frees it, unless a receiver has it already. Only after a mistake of the caller's (a
// status from `HSW_ERR_NULL` on) nothing has changed. (A sender that is killed after its value was
// taken gets `HSW_ERR_EXIT`, too. So a sender cannot know whether the value is its own again, and
// does not need to.)
hsw_status hsw_channel_send(struct hsw_channel channel, void *value);

// Receives a value; blocks while nobody sends. The value is the caller's.
hsw_status hsw_channel_receive(struct hsw_channel channel, void **value);

// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. The rules for the payload are
// those of `hsw_tasklet_throw`.
hsw_status hsw_channel_send_throw(struct hsw_channel channel, void *payload, hsw_destroy destroy, const char *message);

// Sends `count` values one after the other. The rules for each value are those of
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
// The clock is looked at by `hsw_pump`, `hsw_tick` and the other calls that drive the main loop,
// and by `hsw_fire_due`: nobody else ends the wait in time. The main tasklet drives the loop
// itself while it waits here.
hsw_status hsw_channel_send_timeout(struct hsw_channel channel, void *value, uint64_t timeout_ns);

// As `hsw_channel_receive`, but waits for at most `timeout_ns` nanoseconds, by the rules of
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

// Closes the channel and ends with `HSW_ERR_CLOSED` all waits on it; `woken` (may be null) gets
// how many. The tasklets are queued, but none has run yet. The values that senders had to hand
// over are freed.
hsw_status hsw_channel_close_and_wake(struct hsw_channel channel, size_t *woken);

// Opens a closed channel again.
hsw_status hsw_channel_open(struct hsw_channel channel);

// Whether `hsw_channel_close` was called.
hsw_status hsw_channel_is_closing(struct hsw_channel channel, bool *closing);

// Whether it is closing and nobody waits on it any more.
hsw_status hsw_channel_is_closed(struct hsw_channel channel, bool *closed);

// How many tasklets wait: a positive number of senders, or a negative number of receivers.
hsw_status hsw_channel_balance(struct hsw_channel channel, ptrdiff_t *balance);

// The first tasklet that waits on the channel; the null handle when none does. The caller owns the
// handle. `hsw_channel_waiting` tells the others, too.
hsw_status hsw_channel_queue(struct hsw_channel channel, struct hsw_tasklet *first);

// All tasklets that wait on the channel, in the order in which they came; also those that wait
// with a time limit or in a select, and those that drive the main loop meanwhile. A tasklet is
// named once for each of its waits. At most `capacity` handles are written to `tasklets`, which
// may be null when `capacity` is 0; the caller owns each. `count` gets how many tasklets wait.
hsw_status hsw_channel_waiting(struct hsw_channel channel,
                               struct hsw_tasklet *tasklets,
                               size_t capacity,
                               size_t *count);

// Keeps a pointer of the host's with the channel, for all of its handles. The previous pointer is
// freed with the function that came with it. This one is freed with `destroy` (may be null) when
// it is replaced, when the channel goes, or when this call fails.
hsw_status hsw_channel_set_user_data(struct hsw_channel channel, void *data, hsw_destroy destroy);

// The pointer that was set; null when there is none. It stays the channel's.
hsw_status hsw_channel_user_data(struct hsw_channel channel, void **data);

// A number that is the channel's alone while it lives: equal ids name the same channel. Never 0.
hsw_status hsw_channel_id(struct hsw_channel channel, size_t *id);

// Writes a line for each tasklet of the calling thread, main first. It tells the name, the state,
// for a blocked tasklet the channel's id and the direction, and where the stack is. With
// `backtraces`, the backtrace of each started tasklet follows (only with std; slow). `user` is
// passed on to `write`.
hsw_status hsw_dump_tasklets(hsw_write write, void *user, bool backtraces);

// Makes an empty dict: values by keys, which are strings, in the order of their inserts.
// docs/dict.md tells its bytes and its times. `tuning` is one of `hsw_dict_tuning`. `destroy` (may
// be null) frees values that are replaced, or are there when the dict goes.
hsw_status hsw_dict_new(int32_t tuning, hsw_destroy destroy, struct hsw_dict *dict);

// Makes another handle of the same dict, with an owner of its own.
hsw_status hsw_dict_retain(struct hsw_dict dict, struct hsw_dict *other);

// Gives a handle back. Values are freed with the last handle of a dict.
hsw_status hsw_dict_release(struct hsw_dict dict);

// Sets the value of a key, which is copied. The value is the dict's from now on; the one that the
// key had is freed, and the key keeps its place. When this fails the value is still the caller's.
//
// `HSW_ERR_STATE`: the dict is being visited. `HSW_ERR_OUT_OF_MEMORY`: there is no memory for the
// entry. `HSW_ERR_ARGUMENT`: a dict cannot have more entries.
hsw_status hsw_dict_set(struct hsw_dict dict, const char *key, void *value);

// The value of a key, lent: it is the dict's, and stays until the key is set or removed, the dict
// is cleared, or its last handle is given back. `found` (may be null) tells whether there is such
// a key; without one, the value is null.
hsw_status hsw_dict_get(struct hsw_dict dict, const char *key, void **value, bool *found);

// Takes the entry of a key out. Its value is the caller's; with a null `value` it is freed.
// `found` as in `hsw_dict_get`. The other entries keep their order. `HSW_ERR_STATE`: the dict is
// being visited.
hsw_status hsw_dict_remove(struct hsw_dict dict, const char *key, void **value, bool *found);

// Calls `visit` for each entry in the order of the inserts, until it returns false. The dict
// cannot be changed meanwhile: that fails with `HSW_ERR_STATE`. `user` is passed on.
hsw_status hsw_dict_each(struct hsw_dict dict, hsw_dict_visit visit, void *user);

// How many entries there are.
hsw_status hsw_dict_count(struct hsw_dict dict, size_t *count);

// Bytes that the dict has on the heap, with its keys and without its values. O(n).
hsw_status hsw_dict_bytes(struct hsw_dict dict, size_t *bytes);

// Makes room for `more` further entries: while there are no more than that, sets and removals
// allocate nothing but their keys.
//
// `HSW_ERR_ARGUMENT`: more than a dict can have.
hsw_status hsw_dict_reserve(struct hsw_dict dict, size_t more);

// Gives back the memory beyond the entries.
hsw_status hsw_dict_shrink(struct hsw_dict dict);

// Removes all entries, and frees their values and the memory.
hsw_status hsw_dict_clear(struct hsw_dict dict);

// Keeps the calling tasklet's last error, which would be forgotten at its next failing call. So
// code that cleans up may fail, and still pass the first error on with `hsw_error_fail`. The last
// error stays what it is.
//
// `HSW_ERR_STATE`: there is none.
hsw_status hsw_error_last(struct hsw_error *error);

// Makes another handle of the same error, with an owner of its own.
hsw_status hsw_error_retain(struct hsw_error error, struct hsw_error *other);

// Gives a handle back. A payload is freed with the last handle of it and the last copy elsewhere.
hsw_status hsw_error_release(struct hsw_error error);

// Makes the error the calling tasklet's last one, and returns its status: a function that ends
// with `return hsw_error_fail(error)` fails with the very error that was kept. The handle stays
// the caller's. (If the handle names no error, that is a failure like any other.)
hsw_status hsw_error_fail(struct hsw_error error);

// Makes a C++ runtime known. From now on each tasklet of the process has its own exceptions in
// that runtime, and no tasklet switches while one of them is being thrown. Without that a tasklet
// that switches in a `catch` block of that runtime destroys the exceptions of other tasklets. The
// library finds one runtime by itself: the one that is seen by the file which the library is
// linked into. A runtime that was added twice is known until it has been removed twice. Any thread
// may call this, also while others switch.
//
// C++ code that includes this header does not need to call it: each such module does so when it is
// loaded, and takes it back when it is unloaded. It is for modules that catch exceptions, have a
// C++ runtime of their own, and contain no file that includes this header.
//
// `HSW_ERR_LIMIT`: 32 are known.
hsw_status hsw_exceptions_add(hsw_cxa_get_globals get_globals);

// Takes back one `hsw_exceptions_add`. If the module is about to be unloaded, and no other module
// uses this runtime, no tasklet may be in a function of the module.
//
// `HSW_ERR_STATE`: it is not known.
hsw_status hsw_exceptions_remove(hsw_cxa_get_globals get_globals);

// As `hsw_spawn`, for a tasklet with a result, which `hsw_join_wait` gets. `destroy_result` (may
// be null) frees a result that nobody takes. A failure of the tasklet goes to the caller of
// `hsw_join_wait`, and neither to `hsw_run` nor to an error handler.
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
// `hsw_last_error_payload` has what an exception carries, otherwise `hsw_last_error_cause` has the
// status that the tasklet returned. `HSW_ERR_PANICKED`: it panicked. `HSW_ERR_STATE`: it was
// killed. `HSW_ERR_CLOSED`: the result has been taken before. `HSW_ERR_TIMEOUT`: the time is over;
// the tasklet goes on, and can be joined again.
//
// The result stays until a call has returned it: a caller that is killed, or thrown at, before
// this call has returned leaves it to the next caller.
hsw_status hsw_join_wait(struct hsw_join join, uint64_t timeout_ns, void **result);

// Whether the tasklet has ended, so that its result can be had without waiting (unless it was
// taken already).
hsw_status hsw_join_is_done(struct hsw_join join, bool *done);

// The tasklet, for its name, its state or a kill. The caller owns the handle.
hsw_status hsw_join_tasklet(struct hsw_join join, struct hsw_tasklet *tasklet);

// How many handles of objects that any thread may use are live: of channels between threads, locks
// and their kin, remotes, loops, pools and keys of tasklet-local values. For finding leaks.
size_t hsw_live_shared_handles(void);

// `poll` with POSIX's contract: it fails only with an error of the call, never with that of a
// socket, which is marked with `POLLERR` among the others. Fills in `revents`; `*ready` gets how
// many descriptors have any, 0 when `timeout_ns` nanoseconds have passed (0: does not wait;
// `HSW_NO_LIMIT`: no limit).
//
// `backend`: the calls that are used; null for the system's (a library without std has none:
// `HSW_ERR_NULL`). Blocks the *thread*, without its host lock; to block the tasklet, use sockets.
//
// `HSW_ERR_IO`: the call has failed, `hsw_last_error_errno` says how (`EINTR`: a signal came;
// `ENOSYS`: the backend has no `poll`). All `revents` are 0 then. `EINVAL` for more descriptors
// than the process may have, or than an `int` can count: the array is not touched.
// `HSW_ERR_ARGUMENT`: the time is negative.
hsw_status hsw_poll(const struct hsw_net_backend *backend,
                    struct hsw_pollfd *fds,
                    size_t count,
                    uint64_t timeout_ns,
                    size_t *ready);

// As `hsw_poll`, with a signal mask (a `const sigset_t *`) that holds during each call of the
// system's, instead of the thread's. Null: the thread's.
hsw_status hsw_ppoll(const struct hsw_net_backend *backend,
                     struct hsw_pollfd *fds,
                     size_t count,
                     uint64_t timeout_ns,
                     const void *mask,
                     size_t *ready);

// `select` with POSIX's contract: as `hsw_poll`, for sets of descriptors below `nfds`.
// (`hsw_select` waits for channels.) Leaves in the sets the descriptors that are ready; `*ready`
// gets how many they are in all sets together.
//
// Each set is null or points to the system's `fd_set` (elsewhere than on Linux: words of 32 bits,
// descriptor `fd` in bit `fd & 31` of word `fd >> 5`); only descriptors below `nfds` are looked
// at.
//
// `HSW_ERR_IO`: the call has failed, and the sets are as they were. `EINVAL`: `nfds` is negative,
// or above 1,024 (`FD_SETSIZE`). `EBADF`: a descriptor in a set is not open. `ENOSYS`: the backend
// has no `select`.
hsw_status hsw_select_fds(const struct hsw_net_backend *backend,
                          int32_t nfds,
                          void *read_set,
                          void *write_set,
                          void *except_set,
                          uint64_t timeout_ns,
                          size_t *ready);

// As `hsw_select_fds`, with a signal mask as in `hsw_ppoll`.
hsw_status hsw_pselect_fds(const struct hsw_net_backend *backend,
                           int32_t nfds,
                           void *read_set,
                           void *write_set,
                           void *except_set,
                           uint64_t timeout_ns,
                           const void *mask,
                           size_t *ready);

// The pending error of a socket, in Linux' numbers, 0 if it has none. It is no longer pending
// then: a program asks this to learn whether a connection was made, or why it was lost.
//
// `HSW_ERR_IO`: `fd` is no socket, or the backend cannot say.
hsw_status hsw_take_error(const struct hsw_net_backend *backend, int32_t fd, int32_t *errno_value);

// From now on the calling thread's main loop polls through this backend (which is copied; its
// context must last as long as it is in use), under the shim. Null: through the system's calls.
//
// While it polls, the loop counts as asleep: what its functions do with the library must not
// switch, wait or pump, and fails with `HSW_ERR_SWITCH_TRAP` or `HSW_ERR_BLOCK_TRAP` if it would.
//
// `HSW_ERR_NULL`: the backend has no `poll`.
hsw_status hsw_loop_set_backend(const struct hsw_net_backend *backend);

// Makes a channel that keeps up to `bound` values which nobody has received yet. A sender waits
// only while it is full, and a send does not switch to the receiver. `SIZE_MAX`: no bound.
// `destroy` (may be null) frees values that nobody will receive.
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

// Queues an exception: the call that receives it returns `HSW_ERR_THROWN`. The rules for the
// payload are those of `hsw_tasklet_throw`.
hsw_status hsw_queue_send_throw(struct hsw_queue queue, void *payload, hsw_destroy destroy, const char *message);

// The next value of an iteration: `HSW_ERR_STOP_ITERATION` when the queue is closing and empty.
hsw_status hsw_queue_next(struct hsw_queue queue, void **value);

// Closes the queue: no more values are queued, and nobody may start to wait. Values that are
// queued can still be received. With `wake`, all present waits end with `HSW_ERR_CLOSED`.
hsw_status hsw_queue_close(struct hsw_queue queue, bool wake);

// Opens a closed queue again.
hsw_status hsw_queue_open(struct hsw_queue queue);

// `length` gets how many values are queued; `balance` that number plus the senders that wait, or
// minus the receivers that wait. Either may be null.
hsw_status hsw_queue_length(struct hsw_queue queue, size_t *length, ptrdiff_t *balance);

// Makes a record type with `count` fields. Names are checked by the rules of Python's
// `namedtuple`: identifiers and no keywords, those of fields without a leading underscore, no two
// the same. With `rename`, fields whose names break them are called `_0`, `_1` and so on, by their
// place. `destroy` (may be null) frees values of the kind `HSW_VALUE_POINTER` that are in records
// of the type; the copies of a record share them, and the last one frees them.
//
// `HSW_ERR_ARGUMENT`: a name is not allowed; the message is namedtuple's.
hsw_status hsw_record_type_new(const char *name,
                               const char *const *fields,
                               size_t count,
                               bool rename,
                               hsw_destroy destroy,
                               struct hsw_record_type *record_type);

// Makes a record type with the fields of another one and more of them. It has no defaults.
hsw_status hsw_record_type_extend(struct hsw_record_type record_type,
                                  const char *name,
                                  const char *const *fields,
                                  size_t count,
                                  struct hsw_record_type *other);

// Makes a record type as another one, with defaults for the last `count` fields. When this fails
// the values are still the caller's.
//
// `HSW_ERR_ARGUMENT`: more values than fields, or a value is of no kind. `HSW_ERR_LIMIT`: too many
// handles.
hsw_status hsw_record_type_with_defaults(struct hsw_record_type record_type,
                                         const struct hsw_value *values,
                                         size_t count,
                                         struct hsw_record_type *other);

// Makes another handle of the same record type, with an owner of its own.
hsw_status hsw_record_type_retain(struct hsw_record_type record_type, struct hsw_record_type *other);

// Gives a handle back. Its records stay.
hsw_status hsw_record_type_release(struct hsw_record_type record_type);

// How many fields there are.
hsw_status hsw_record_type_count(struct hsw_record_type record_type, size_t *count);

// Copies the name of the type to `buffer`: at most `capacity` bytes with the final zero. `length`
// (may be null) gets its whole length.
hsw_status hsw_record_type_name(struct hsw_record_type record_type, char *buffer, size_t capacity, size_t *length);

// Copies the name of a field, as `hsw_record_type_name`. `HSW_ERR_ARGUMENT`: there is none with
// this index.
hsw_status hsw_record_type_field(struct hsw_record_type record_type,
                                 size_t index,
                                 char *buffer,
                                 size_t capacity,
                                 size_t *length);

// The index of a field, from 0 on. `HSW_ERR_ARGUMENT`: there is none with this name.
hsw_status hsw_record_type_index(struct hsw_record_type record_type, const char *field, size_t *index);

// Makes a record of `count` values, those of the first fields. The other fields have their
// defaults. Texts are copied; pointers are the record's. When this fails they are still the
// caller's.
//
// `HSW_ERR_ARGUMENT`: more values than fields, or a field has no value and no default, or a value
// is of no kind. `HSW_ERR_OUT_OF_MEMORY`: there is no memory for the record. `HSW_ERR_LIMIT`: too
// many handles.
hsw_status hsw_record_new(struct hsw_record_type record_type,
                          const struct hsw_value *values,
                          size_t count,
                          struct hsw_record *record);

// Makes a copy of a record, whose fields can be set without changing the first one.
// `HSW_ERR_OUT_OF_MEMORY`: there is no memory for it.
hsw_status hsw_record_copy(struct hsw_record record, struct hsw_record *other);

// Makes another handle of the same record, with an owner of its own.
hsw_status hsw_record_retain(struct hsw_record record, struct hsw_record *other);

// Gives a handle back. A record's values are freed with the last handle of it.
hsw_status hsw_record_release(struct hsw_record record);

// A handle of the record's type, which is the caller's.
hsw_status hsw_record_type_of(struct hsw_record record, struct hsw_record_type *record_type);

// The value of the field with this index. A text or a pointer is lent: it is the record's, and
// stays until the field is set or the record goes.
hsw_status hsw_record_get(struct hsw_record record, size_t index, struct hsw_value *value);

// The value of the field with this name, as `hsw_record_get`.
hsw_status hsw_record_get_named(struct hsw_record record, const char *field, struct hsw_value *value);

// Sets the value of the field with this index, and frees what it had. When this fails the value is
// still the caller's.
hsw_status hsw_record_set(struct hsw_record record, size_t index, const struct hsw_value *value);

// Sets the value of the field with this name, as `hsw_record_set`.
hsw_status hsw_record_set_named(struct hsw_record record, const char *field, const struct hsw_value *value);

// Copies the record's words to `buffer`, as namedtuple's `repr` has them, such as
// `Point(x=1, y=2.5, name='it')`; sizes as in `hsw_record_type_name`. A pointer is a number.
hsw_status hsw_record_text(struct hsw_record record, char *buffer, size_t capacity, size_t *length);

// Whether two records are equal: as tuples of their values, whatever their types are. Numbers are
// equal to equal numbers of the other kind, pointers only to themselves.
hsw_status hsw_record_equal(struct hsw_record record, struct hsw_record other, bool *equal);

// The order of two records, as tuples of their values: -1, 0 or 1.
//
// `HSW_ERR_WRONG_TYPE`: the first values that differ have no order: they are of two kinds,
// pointers, or no number (NaN).
hsw_status hsw_record_compare(struct hsw_record record, struct hsw_record other, int32_t *order);

// As `hsw_run`, but comes back when the budget is used up; the other tasklets stay queued, and the
// next run goes on with them. The budget is checked when tasklets switch: one that never gives way
// keeps its turn. Atomic tasklets are not interrupted. `report` may be null.
hsw_status hsw_run_with(const struct hsw_budget *budget, struct hsw_run_report *report);

// Sets for the calling thread whether `hsw_tasklet_run` nests, as in Stackless (the default), or
// puts its target first and leaves the order of all others. Returns the old setting.
bool hsw_set_use_nested_tasklets(bool nested);

// Sets whether the run times of the calling thread's tasklets are measured; not by default.
// Returns the old setting.
bool hsw_set_statistics(bool on);

// Gives the calling thread a clock for budgets, timeouts and measurements; null: the system's.
// Without std there is no clock of the system: budgets in time and timeouts fail with
// `HSW_ERR_STATE` until the host gives one.
hsw_status hsw_set_clock(hsw_clock clock);

// The time of the calling thread's clock, in nanoseconds.
hsw_status hsw_now_ns(uint64_t *now);

// Ends the waits of the calling thread whose time has come; returns how many. For hosts that do
// not pump the main loop: `hsw_pump` does the same.
size_t hsw_fire_due(void);

// Calls `function(argument)` with a time limit for all its waits. When `timeout_ns` nanoseconds
// are over, the wait that it is in, of any kind, fails with `HSW_ERR_THROWN`; if the function
// passes that on (`return status`), this call fails with `HSW_ERR_TIMEOUT`. Otherwise it returns
// what the function returned. `HSW_NO_LIMIT`: no limit. Calls nest. A function that does not wait
// is not interrupted. `argument` may point to the caller's stack.
//
// The clock is looked at as in `hsw_channel_send_timeout`.
hsw_status hsw_timeout(uint64_t timeout_ns, hsw_entry function, void *argument);

// Nanoseconds until the next wait with a timeout is due; `HSW_NO_LIMIT` when there is none.
uint64_t hsw_until_next_ns(void);

// The counters of the calling thread.
hsw_status hsw_get_counters(struct hsw_counters *counters);

// Runs all tasklets until none is runnable. Fails with the error of a tasklet that nobody handled;
// the other tasklets stay queued, and the next call goes on with them.
hsw_status hsw_run(void);

// Lets the others run once; the caller goes to the end of the run queue.
hsw_status hsw_schedule(void);

// Pauses the caller and lets the others run. The caller goes on when somebody inserts or runs it.
hsw_status hsw_schedule_remove(void);

// As `hsw_schedule`, with a value in the caller's transfer slot. The value comes back in
// `*returned`, unless somebody has put another one there. It is the runtime's during the call,
// also when that fails (then `destroy` frees it), and the caller's after it.
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

// Adds to the level of the thread's switch trap and returns the old level. While the level is not
// 0, every switch fails with `HSW_ERR_SWITCH_TRAP` and changes nothing.
//
// It is for code of others that a switch would break; above all for initialisers that run at the
// first use of something (a `static` or `thread_local` of a C++ function, `pthread_once`,
// `call_once`). The guards of these tell threads apart, but not the tasklets of one thread. If
// such an initialiser switches, the process ends or waits for ever.
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

// Ends the calling thread's part of the runtime. It kills the tasklets, whose code unwinds and
// frees what it has; cancels the timers; frees what was posted to the loop and has not run, and
// the `user` of abandoned calls; and makes every handle of the thread's objects stale. Objects
// that destructors make meanwhile end too, after ten rounds at the latest. From then on posts of
// other threads are refused. The thread keeps its number, if it attaches again.
//
// `HSW_ERR_STATE`: the caller is not the main tasklet, or is in a function that the library has
// called there, as that of a timer. A thread that ends without this call does the same; without
// std this call is the only way.
hsw_status hsw_thread_exit(void);

// How many handles of the calling thread's objects are live: tasklets, channels, queues, sockets,
// clocks and timers. For finding leaks.
size_t hsw_live_handles(void);

// Does one of the operations that can be done. Waits until there is one, for at most `timeout_ns`
// nanoseconds (`HSW_ERR_TIMEOUT`; 0 does not wait; `HSW_NO_LIMIT` is no limit). If several can be
// done, the choice is fair; with `in_order`, it is the first one of the array.
//
// `chosen` gets the index of the case that was done: its value was sent, or received into its
// `value`. If a case found its channel closed (`HSW_ERR_CLOSED`) or was sent an exception
// (`HSW_ERR_THROWN`), the call fails and `chosen` is the index of that case; `chosen` is
// `SIZE_MAX` when the failure belongs to no case.
//
// After a failure the values to send are still the caller's, except for one at most, whose `value`
// is null then. Either the channel's `destroy` frees it, because `hsw_channel_close_and_wake`
// ended the wait or the switch to a receiver failed; that may be later, if the `destroy` of
// another value of that channel switches. (With a channel between threads and
// `hsw_thread_channel_close_and_wake` the value is still the caller's.) Or a receiver has it, and
// the caller was killed or thrown at (`HSW_ERR_EXIT`, `HSW_ERR_THROWN`, `HSW_ERR_PANICKED`) before
// its turn came.
//
// While it waits the tasklet is in the queue of each channel and counts in its balance. `cases`
// must not lie on a sliced stack other than the caller's own. A select cannot both send and
// receive on the same channel.
hsw_status hsw_select(struct hsw_case *cases, size_t count, uint64_t timeout_ns, bool in_order, size_t *chosen);

// Fills in the settings for machines with virtual memory.
hsw_status hsw_settings_default(struct hsw_settings *settings);

// Fills in the limits of a console: one window of 16 KiB, and little kept.
hsw_status hsw_settings_console(struct hsw_settings *settings);

// Gives the calling thread its runtime. It is optional: the first call that needs a runtime makes
// it, with the default settings, which null stands for, too. `HSW_ERR_SETTINGS`: a value is out of
// range, or the thread has a runtime already; nothing has changed then, so other settings can be
// tried. (A failure does not make a runtime by itself, except without std.)
hsw_status hsw_init(const struct hsw_settings *settings);

// As `hsw_init`, with the windows in memory of the host's: `windows * window_size` bytes, and 32
// more for alignment. The memory must stay the thread's alone until the thread has ended. There
// are no guard pages then: an overflow is found when the tasklet is switched away from, and ends
// the process with a message that names the tasklet.
hsw_status hsw_init_in(const struct hsw_settings *settings, void *memory, size_t bytes);

// Calls `function(argument)`. If the calling tasklet has used more of its window than the
// watermark of the settings, the caller's frames are moved to the heap for the time of the call. A
// recursion that calls itself through this is limited by the heap, not by the window.
//
// *The caller's frames may be away meanwhile*: `argument` must not point into them, and `function`
// must not touch anything there. On failure (no memory for the frames) the function was not
// called.
hsw_status hsw_spill(hsw_function function, void *argument);

// Calls `function(argument)`; if little of the caller's stack is left, on a fresh segment. The
// caller's frames stay where they are: `argument` may point into them. Works on the main tasklet,
// too. On failure (no memory for a segment) the function was not called.
hsw_status hsw_grow(hsw_function function, void *argument);

// Bytes of its window or stack that the calling tasklet has in use; 0 for the main tasklet and on
// a segment.
hsw_status hsw_stack_used(size_t *bytes);

// The figures of the calling thread.
hsw_status hsw_get_stats(struct hsw_stats *stats);

// For languages with exceptions: tells that a call has failed with `HSW_ERR_EXIT` and that this
// becomes an exception. Returns the number of that exception. If the exception is destroyed before
// it has reached the end of the tasklet's function, `hsw_exit_swallowed` reports that.
// `hardswitch.hpp` does this.
uint64_t hsw_exit_told(void);

// Reports that the exception with this number is gone, and its tasklet runs on. If that is the
// calling tasklet, and this was the last kill that it was told of, its next wait fails with
// `HSW_ERR_EXIT` again; after ten times nothing more is done. In all other cases this does
// nothing.
void hsw_exit_swallowed(uint64_t number);

// The name of a status, such as "HSW_ERR_CLOSED"; "unknown status" for a number that is none.
// Never null, never freed.
const char *hsw_status_name(hsw_status status);

// The message of the calling tasklet's last error; "" when it had none. Never null.
//
// The last error belongs to the tasklet, not just to the thread: it does not change by what other
// tasklets do meanwhile. Only calls that fail set it. Functions that the library calls on this
// tasklet (callbacks, functions of timers, destructors) have a last error of their own while they
// run. The text stays valid until the tasklet's next call that fails, or its end. A thread that is
// ending, or is beyond the limit of threads, gets a general text for the status.
const char *hsw_last_error_message(void);

// The status of the calling tasklet's last error; `HSW_OK` when it had none.
hsw_status hsw_last_error_status(void);

// The status of the calling tasklet's last error as such. It differs from `hsw_last_error_status`
// for an `HSW_ERR_THROWN`: then it is the status of the call that failed with the error first, in
// whatever tasklet (`HSW_ERR_TIMEOUT`, `HSW_ERR_IO`, ...), and again `HSW_ERR_THROWN` if that was
// an exception. It is for messages: only the status of the call tells whose a value is.
hsw_status hsw_last_error_cause(void);

// The operating system's number (`errno`) of the calling tasklet's last error, also of one that
// was thrown; 0 when it was not an error of input or output.
int32_t hsw_last_error_errno(void);

// Lends the payload of the exception that the last call reported with `HSW_ERR_THROWN`: the one
// given to `hsw_fail`, `hsw_tasklet_throw` or `hsw_channel_send_throw`. It stays valid until the
// calling tasklet's next call that fails, or its end. The copies of an exception share one
// payload, and the last of them frees it. `destroy` may be null. The function can serve as a type:
// a host that finds its own function there knows what `data` points to.
//
// `HSW_ERR_STATE`: the last error is no exception of C's.
hsw_status hsw_last_error_payload(void **data, hsw_destroy *destroy);

// Makes an exception the last error of the calling tasklet and returns `HSW_ERR_THROWN`: an entry
// function that ends with `return hsw_fail(...)` ends its tasklet with that exception, which is
// then treated as any uncaught one. `message` may be null. The payload is freed with `destroy`
// when the last copy of the exception has gone.
hsw_status hsw_fail(void *data, hsw_destroy destroy, const char *message);

// Makes a tasklet that will call `function(argument)` and appends it to the run queue. It first
// runs when the caller blocks, schedules or runs the others.
//
// The argument is the tasklet's from now on, also when this call fails:
// `options->destroy_argument` frees it. It must not point to a sliced stack, the caller's own
// included. `options` may be null. `tasklet` may be null: then nobody holds a handle, and the
// tasklet lives until it ends.
hsw_status hsw_spawn(hsw_entry function,
                     void *argument,
                     const struct hsw_tasklet_options *options,
                     struct hsw_tasklet *tasklet);

// Makes a tasklet that has no function yet: see `hsw_tasklet_bind`.
hsw_status hsw_tasklet_new(const struct hsw_tasklet_options *options, struct hsw_tasklet *tasklet);

// Makes another handle of the same tasklet, with an owner of its own.
hsw_status hsw_tasklet_retain(struct hsw_tasklet tasklet, struct hsw_tasklet *other);

// Gives a handle back; it is stale from now on. The tasklet lives on while it is queued or runs,
// or there are other handles of it. If it is paused, the release of its last handle kills it.
hsw_status hsw_tasklet_release(struct hsw_tasklet tasklet);

// Gives a tasklet that is not alive a function to run. It is *bound* then, and alive after
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

// As `hsw_tasklet_bind`, with an argument that may be used and freed on any thread. So the tasklet
// may move to another thread before it starts (`hsw_tasklet_bind_thread`).
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
// `pending` the tasklet is only made runnable, otherwise it runs at once. The payload is the
// runtime's from now on, also when this call fails; the last copy of the exception frees it with
// `destroy`, on whatever thread that is. `message` may be null.
hsw_status hsw_tasklet_throw(struct hsw_tasklet tasklet,
                             void *payload,
                             hsw_destroy destroy,
                             const char *message,
                             bool pending);

// Kills the tasklet: the call it waits in returns `HSW_ERR_EXIT`. With `pending` the tasklet is
// only made runnable, otherwise it runs at once, to its end if it obeys. No-op for a tasklet that
// is dead.
hsw_status hsw_tasklet_kill(struct hsw_tasklet tasklet, bool pending);

// The state of the tasklet: the sum of the bits `HSW_TASKLET_ALIVE` and so on that hold.
hsw_status hsw_tasklet_state(struct hsw_tasklet tasklet, uint32_t *state);

// Sets or clears the block trap: with it, an operation that would block the tasklet fails with
// `HSW_ERR_BLOCK_TRAP`. `old` may be null.
hsw_status hsw_tasklet_set_block_trap(struct hsw_tasklet tasklet, bool on, bool *old);

// Sets or clears the atomic flag: an atomic tasklet is not interrupted by a run with a budget.
// `old` may be null.
hsw_status hsw_tasklet_set_atomic(struct hsw_tasklet tasklet, bool on, bool *old);

// Sets or clears Stackless' flag that allows interrupts in nested interpreter calls. Native code
// has no such calls: the flag is kept, and changes nothing. `old` may be null.
hsw_status hsw_tasklet_set_ignore_nesting(struct hsw_tasklet tasklet, bool on, bool *old);

// The next tasklet in the run queue; or, of a tasklet that is blocked on a channel and waits for
// nothing else, in that channel's queue. The null handle at the end, and for a tasklet that waits
// in a select or with a time limit. (A tasklet that drives the main loop while it waits, as main
// does, is in the run queue. `hsw_channel_waiting` tells all that wait on a channel.) The caller
// owns the handle.
hsw_status hsw_tasklet_next(struct hsw_tasklet tasklet, struct hsw_tasklet *next);

// The tasklet before it, otherwise as `hsw_tasklet_next`.
hsw_status hsw_tasklet_prev(struct hsw_tasklet tasklet, struct hsw_tasklet *prev);

// A number that is the tasklet's alone while it lives: equal ids name the same tasklet. Never 0.
hsw_status hsw_tasklet_id(struct hsw_tasklet tasklet, size_t *id);

// The name, "" when it has none: at most `capacity` bytes including the final zero are written to
// `buffer`, which may be null when `capacity` is 0. `length` (may be null) gets the length of the
// whole name, without the zero.
hsw_status hsw_tasklet_name(struct hsw_tasklet tasklet, char *buffer, size_t capacity, size_t *length);

// The place in the host's source where the tasklet was made: the file, written to `buffer` as by
// `hsw_tasklet_name` ("" when it is not known), and the line (`line` may be null; 0 when it is not
// known). It is known for tasklets that were made while `hsw_set_statistics` was on, with a site
// in their `hsw_tasklet_options`.
hsw_status hsw_tasklet_site(struct hsw_tasklet tasklet, char *buffer, size_t capacity, size_t *length, uint32_t *line);

// Takes the value out of a tasklet's transfer slot: the one that its `hsw_schedule_with`, or its
// pending receive, would return. Null when the slot is empty. The value is the caller's.
// `HSW_ERR_WRONG_TYPE`: it is a value of the Rust side, and stays there.
hsw_status hsw_tasklet_take_tempval(struct hsw_tasklet tasklet, void **value);

// Puts a value into a tasklet's transfer slot. It is the runtime's from now on, also when this
// call fails; `destroy` frees it. The old value is freed.
hsw_status hsw_tasklet_set_tempval(struct hsw_tasklet tasklet, void *value, hsw_destroy destroy);

// Keeps a pointer of the host's with the tasklet. The previous pointer is freed with the function
// that came with it. This one is freed with `destroy` (may be null) when it is replaced, when the
// tasklet and its last handle are gone, or when this call fails.
hsw_status hsw_tasklet_set_user_data(struct hsw_tasklet tasklet, void *data, hsw_destroy destroy);

// The pointer that was set; null when there is none. It stays the tasklet's.
hsw_status hsw_tasklet_user_data(struct hsw_tasklet tasklet, void **data);

// Sets an error handler for this tasklet; null clears it. It is asked before the thread's handler
// (`hsw_set_error_handler`), which is asked if this one does not return `HSW_OK`.
hsw_status hsw_tasklet_set_error_handler(struct hsw_tasklet tasklet, hsw_error_handler handler, void *user);

// The thread that the tasklet belongs to, as `hsw_thread_id` says it there.
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

// Gives the calling tasklet a value, which is the tasklet's from now on. The old one is freed;
// null leaves the tasklet without a value. When this fails the new value is still the caller's.
hsw_status hsw_local_set(struct hsw_local local, void *value);

// The calling tasklet's value, null when it has none. It stays the tasklet's.
hsw_status hsw_local_get(struct hsw_local local, void **value);

// Makes a UDP socket with this IP address ("127.0.0.1", "::") and port. Port 0 stands for any free
// one: `hsw_socket_port` tells which it is.
hsw_status hsw_udp_bind(const char *ip, uint16_t port, struct hsw_socket *socket);

// As `hsw_udp_bind`, of an address that others may have as well if they ask for it in this way
// (`SO_REUSEADDR`): each of them gets what is sent to a group, and one of them what is sent to the
// address alone.
hsw_status hsw_udp_bind_shared(const char *ip, uint16_t port, struct hsw_socket *socket);

// From now on the datagram socket sends to `address`, and receives only from there. It does not
// wait.
hsw_status hsw_socket_connect(struct hsw_socket socket, const struct hsw_address *address);

// Sends a datagram of `size` bytes to `to`, or, if that is null, to the peer that the socket is
// connected to. Waits while the system has no room for it. It is sent whole, or not at all. The
// rules for the data are those for the buffer of `hsw_socket_read`.
//
// `HSW_ERR_IO`: `EMSGSIZE`, it is too large; `EDESTADDRREQ` or `ENOTCONN`, the socket is not
// connected; `ECONNREFUSED`, nobody is there, or was there when an earlier one came; `EACCES`, it
// is a broadcast, and `HSW_SOCKET_BROADCAST` is not set.
hsw_status hsw_socket_send(struct hsw_socket socket, const void *data, size_t size, const struct hsw_address *to);

// Receives a datagram; waits while there is none. `*received` gets how many bytes of it are in the
// buffer, and `length` (may be null) how many it has: if that is more, the rest is lost. Both are
// 0 for an empty one. `from` (may be null) gets the sender's address. Several tasklets may wait;
// each gets the next datagram, in the order in which they began.
//
// The rules for the buffer are those of `hsw_socket_read`.
hsw_status hsw_socket_receive(struct hsw_socket socket,
                              void *buffer,
                              size_t size,
                              size_t *received,
                              size_t *length,
                              struct hsw_address *from);

// As `hsw_socket_receive`, but the datagram stays to be received again, all of it.
hsw_status hsw_socket_peek_from(struct hsw_socket socket,
                                void *buffer,
                                size_t size,
                                size_t *received,
                                size_t *length,
                                struct hsw_address *from);

// The UDP socket receives from now on what is sent to the group ("239.1.2.3"), by the interface
// with this address; null: the system chooses.
hsw_status hsw_udp_join_multicast_v4(struct hsw_socket socket, const char *group, const char *interface);

// The UDP socket leaves a group that it has joined with these arguments.
hsw_status hsw_udp_leave_multicast_v4(struct hsw_socket socket, const char *group, const char *interface);

// The UDP socket receives from now on what is sent to the group ("ff12::1234"), by the interface
// of this number; 0: the system chooses.
hsw_status hsw_udp_join_multicast_v6(struct hsw_socket socket, const char *group, uint32_t interface);

// The UDP socket leaves a group that it has joined with these arguments.
hsw_status hsw_udp_leave_multicast_v6(struct hsw_socket socket, const char *group, uint32_t interface);

// Blocks the tasklet until one of the events of `interest` (the bits of `<poll.h>`) has come for
// the descriptor `fd`, or an error or hang-up, which are always waited for. `*ready` gets what has
// come. Waits at most `timeout_ns` nanoseconds (0: does not wait; `HSW_NO_LIMIT`: no limit).
//
// The descriptor stays the caller's, and may be of any kind that `poll` takes: a pipe, an eventfd,
// a socket of another library. It need not be non-blocking. A regular file is always ready. If
// several tasklets wait for the same event, it ends the oldest wait. Costs one system call to
// begin, besides those of the loop.
//
// `HSW_ERR_TIMEOUT`: the time is up. `HSW_ERR_IO` with `EBADF`: it is no open descriptor. Close it
// only when no tasklet waits for it: a wait for a descriptor that was closed meanwhile fails in
// that way, but as late as two seconds afterwards.
hsw_status hsw_fd_wait(int32_t fd, int16_t interest, uint64_t timeout_ns, int16_t *ready);

// Fills in the settings that a null pointer stands for: 5 ms, and no limit of switches.
hsw_status hsw_host_lock_settings_default(struct hsw_host_lock_settings *settings);

// Makes a lock that no thread has joined. Null: the default settings.
hsw_status hsw_host_lock_new(const struct hsw_host_lock_settings *settings, struct hsw_host_lock *lock);

// Makes another handle of the same lock, with an owner of its own.
hsw_status hsw_host_lock_retain(struct hsw_host_lock lock, struct hsw_host_lock *other);

// Gives a handle (not the lock) back; it is stale from now on. Threads that have joined the lock
// remain members.
hsw_status hsw_host_lock_release(struct hsw_host_lock lock);

// The calling thread takes the lock, which blocks the *thread* until it is its turn. From then on
// it runs only while it has the lock, until it leaves or ends. No-op for a member.
// `HSW_ERR_STATE`: it has joined another lock.
hsw_status hsw_host_lock_join(struct hsw_host_lock lock);

// The calling thread gives the lock up for good. No-op for a thread that has not joined it, and
// within `hsw_allow_threads`.
hsw_status hsw_host_lock_leave(struct hsw_host_lock lock);

// The calling thread joins, and so does every thread that uses the library: new threads with their
// first call, present ones at their next switch or pump. The workers of pools do not. Fails as
// `hsw_host_lock_join` does.
hsw_status hsw_host_lock_install(struct hsw_host_lock lock);

// New threads join no lock from now on. Present members remain.
hsw_status hsw_host_lock_uninstall(void);

// The lock that the calling thread has joined; the null handle when there is none. The caller owns
// the handle.
hsw_status hsw_host_lock_current(struct hsw_host_lock *lock);

// Calls `function(argument)`, and lets other threads have the lock meanwhile: for blocking work of
// the host's own. Calls nest. A thread that has joined no lock just calls the function. `argument`
// may point to the caller's stack.
//
// Inside, no tasklet runs: calls that would switch or pump fail with `HSW_ERR_SWITCH_TRAP`, calls
// that would wait with `HSW_ERR_BLOCK_TRAP`.
hsw_status hsw_allow_threads(hsw_function function, void *argument);

// The settings that the lock was made with.
hsw_status hsw_host_lock_get_settings(struct hsw_host_lock lock, struct hsw_host_lock_settings *settings);

// The figures of a lock.
hsw_status hsw_host_lock_get_stats(struct hsw_host_lock lock, struct hsw_host_lock_stats *stats);

// Sets the function that is told of the lock's events on all threads; null clears it. `user` is
// passed on to it. `user` is freed with `destroy_user` (may be null), on any thread, when the hook
// has been replaced and no call of it is under way any more, or when this call fails.
hsw_status hsw_host_lock_set_hook(struct hsw_host_lock lock,
                                  hsw_host_lock_hook hook,
                                  void *user,
                                  hsw_destroy destroy_user);

// Fills in 16 KiB of heads, 10 interim answers, 10 redirects, 10 s to connect, 30 s without a
// byte, no other limits of time, and 16 connections that are kept for 15 s.
hsw_status hsw_http_settings_default(struct hsw_http_settings *settings);

// Makes a client; nothing is connected yet. Null: the default settings. `HSW_ERR_ARGUMENT`: a time
// beyond 292 years.
hsw_status hsw_http_client_new(const struct hsw_http_settings *settings, struct hsw_http_client *client);

// Makes another handle of the same client, with an owner of its own.
hsw_status hsw_http_client_retain(struct hsw_http_client client, struct hsw_http_client *other);

// Gives a handle back; it is stale from now on, for all threads. Kept connections are closed with
// the last handle and the last answer of the client.
hsw_status hsw_http_client_release(struct hsw_http_client client);

// How many connections are kept for later requests. Those that their servers have ended do not
// count.
hsw_status hsw_http_client_idle(struct hsw_http_client client, size_t *count);

// Makes another handle of the same answer, with an owner of its own.
hsw_status hsw_http_answer_retain(struct hsw_http_answer answer, struct hsw_http_answer *other);

// Gives a handle back; it is stale from now on. With the last one, the connection of an answer
// that was not read to its end is closed.
hsw_status hsw_http_answer_release(struct hsw_http_answer answer);

// The figures of an answer, also while it is read.
hsw_status hsw_http_answer_get_info(struct hsw_http_answer answer, struct hsw_http_answer_info *info);

// Copies the URL that has answered: after a redirect, the last one. At most `capacity` bytes with
// the final zero are written; `length` (may be null) gets the whole length. So do the other
// functions that copy a text of an answer.
hsw_status hsw_http_answer_url(struct hsw_http_answer answer, char *buffer, size_t capacity, size_t *length);

// Copies the server's word for the status; may be empty.
hsw_status hsw_http_answer_reason(struct hsw_http_answer answer, char *buffer, size_t capacity, size_t *length);

// Copies what tells this version of the file from another, to be kept for `hsw_http_resume`. It is
// empty if the server sends nothing that is good for that.
hsw_status hsw_http_answer_validator(struct hsw_http_answer answer, char *buffer, size_t capacity, size_t *length);

// Copies the value of the first header field of that name (upper and lower case are the same).
// `found` (may be null) tells whether there is one; if not, the text is empty.
hsw_status hsw_http_answer_header(struct hsw_http_answer answer,
                                  const char *name,
                                  char *buffer,
                                  size_t capacity,
                                  size_t *length,
                                  bool *found);

// Copies the name, in lower case, of a header field, counted from 0 in the order they came (those
// of one name stand together). `HSW_ERR_ARGUMENT`: there are not so many.
hsw_status hsw_http_answer_header_name(struct hsw_http_answer answer,
                                       size_t index,
                                       char *buffer,
                                       size_t capacity,
                                       size_t *length);

// Copies the value of a header field, counted as for `hsw_http_answer_header_name`.
hsw_status hsw_http_answer_header_value(struct hsw_http_answer answer,
                                        size_t index,
                                        char *buffer,
                                        size_t capacity,
                                        size_t *length);

// Succeeds if the status of the answer is one of success (2xx). Otherwise it fails with
// `HSW_ERR_HTTP` (`HSW_HTTP_PROBLEM_STATUS`); the body can be read all the same.
hsw_status hsw_http_answer_check_status(struct hsw_http_answer answer);

// Reads up to `size` bytes of the body; waits while there are none. `*received` is 0 at the end:
// then everything has come that was announced.
//
// After `HSW_ERR_TIMEOUT` for a single wait (`HSW_HTTP_PROBLEM_CONNECTION`), and after what was
// thrown at the tasklet, nothing is lost: the next read goes on where this one was. Every other
// failure is final, and each later read fails in the same way.
hsw_status hsw_http_answer_read(struct hsw_http_answer answer, void *buffer, size_t size, size_t *received);

// Reads the rest of the body, `limit` bytes at most, into memory that is the caller's: to be given
// back by `free`. `*size` gets how many bytes it has; a zero byte follows them.
//
// `HSW_ERR_HTTP` (`HSW_HTTP_PROBLEM_BODY_TOO_LONG`): the body is longer than `limit`. Bytes that
// were read before a failure are kept, and the next call, of whatever function that reads, has
// them first. `HSW_ERR_OUT_OF_MEMORY`: they are lost.
hsw_status hsw_http_answer_read_all(struct hsw_http_answer answer, size_t limit, void **data, size_t *size);

// Gives the rest of the body to `sink`, piece by piece. `user` is its argument, and stays the
// caller's. `copied` (may be null) gets how many bytes the sink has taken, also if the call fails.
//
// What the sink has failed with is the failure of the call, as it is. The piece that it has failed
// with has not been taken: the next call gives it again.
hsw_status hsw_http_answer_copy_to(struct hsw_http_answer answer, hsw_http_sink sink, void *user, uint64_t *copied);

// What went wrong with the request of the calling tasklet's last error, and when. It does not
// change the last error. An error that was thrown at the tasklet, or that comes from a callback,
// has nothing of the request.
hsw_status hsw_http_last_error(struct hsw_http_error *error);

// Sends a request, and returns when the head of its answer has come. The status of the answer is
// not judged: see `hsw_http_answer_check_status`. The answer is the caller's, and belongs to the
// calling thread, which is a worker's in a job.
//
// A GET or HEAD without a body whose kept connection ends before a byte of an answer has come is
// sent once more over a new one; nothing else is ever sent twice. Redirects are followed: 303 by a
// GET, a POST with 301 or 302 as well, all others by the same method and body. To another server,
// `Authorization` and `Cookie` are not sent on.
//
// `HSW_ERR_ARGUMENT`: a wrong URL, a header field with a line's end in it, and all else that
// cannot be sent. `HSW_ERR_IO`: there is no connection, or it has failed; `hsw_last_error_errno`
// has the system's number. `HSW_ERR_TIMEOUT`: a time of the limits is over. `HSW_ERR_HTTP`: the
// rest. The message names the method, the URL and the phase; `hsw_http_last_error` tells problem
// and phase. What the source has failed with is the call's failure, as it is.
hsw_status hsw_http_send(struct hsw_http_client client,
                         const struct hsw_http_request *request,
                         struct hsw_http_answer *answer);

// As `hsw_http_send`, for a file, which may go on where an earlier download has ended; null: it
// does not. The request is a GET without a body. `hsw_http_answer_info` tells which byte of the
// file comes first; what was there from there on is to be replaced. An answer that is no file is
// `HSW_HTTP_PROBLEM_STATUS`.
//
// The server is asked for the rest if the file is still the same (`If-Range`), and what it sends
// is compared with what was asked for. An answer of 416 never means that the file is complete: for
// one that may be, compare with the length that a HEAD tells.
hsw_status hsw_http_download(struct hsw_http_client client,
                             const struct hsw_http_request *request,
                             const struct hsw_http_resume *resume,
                             struct hsw_http_answer *answer);

// Turns a host, given by name or address, into addresses with this port, in the order in which
// they are to be tried. Only the tasklet waits while a worker looks up the name, for at most
// `timeout_ns` nanoseconds (`HSW_NO_LIMIT`: no limit). An address needs no worker.
//
// The first `room` addresses go into `addresses`, which may be null if `room` is 0; `*count` gets
// how many there are. If that is more than there was room for, call it again with more.
//
// `HSW_ERR_IO`: the name is unknown or has no address, or there is no thread for the look-up.
// `HSW_ERR_TIMEOUT`: the time is up.
hsw_status hsw_lookup(const char *host,
                      uint16_t port,
                      uint64_t timeout_ns,
                      struct hsw_address *addresses,
                      size_t room,
                      size_t *count);

// Fills in 4 threads, 60 to spare, 256 KiB each; nothing is kept. They hold where nothing else was
// set.
hsw_status hsw_lookup_settings_default(struct hsw_lookup_settings *settings);

// Fills in the limits of a console: 1 thread, 6 to spare, 64 KiB each; the answers for 16 names
// are kept for 10 seconds.
hsw_status hsw_lookup_settings_console(struct hsw_lookup_settings *settings);

// Sets what the process's look-ups may use; null stands for the default settings. Any thread may
// call it at any time: running threads stay as they are, and kept answers are forgotten.
// `HSW_ERR_ARGUMENT`: no threads, or a time beyond 292 years. Nothing has changed then.
hsw_status hsw_lookup_configure(const struct hsw_lookup_settings *settings);

// Forgets the kept answer for a host's name; null: all of them. A look-up that is under way is not
// affected.
hsw_status hsw_lookup_forget(const char *host);

// One frame: wakes the tasklets whose sleep is over, whose socket is ready or whose worker has
// answered, then runs tasklets until none is runnable or `budget_ns` nanoseconds are over. With a
// budget it may wait within it, 250 us at a time, for a peer that has brought 1 MiB or more in
// this frame; otherwise it never waits. `HSW_NO_LIMIT`: no budget. `complete` (may be null) tells
// whether all tasklets ran until they blocked.
//
// The clock is looked at on every switch, but at least one tasklet has its turn. A tasklet that
// got no turn is among the first in the next tick. Call it from the main tasklet. Fails with the
// error of a tasklet that nobody handled; the other tasklets stay queued for the next tick.
hsw_status hsw_tick(uint64_t budget_ns, bool *complete);

// Wakes tasklets as `hsw_tick` does, but runs none. Waits up to `limit_ns` nanoseconds for
// something to happen (`HSW_NO_LIMIT`: as long as it takes), and not at all while tasklets are
// runnable. `done` (may be null) gets how many things happened. A game loop calls this in the rest
// of its frame, instead of sleeping.
hsw_status hsw_pump(uint64_t limit_ns, size_t *done);

// Pumps, waits and runs tasklets until none is runnable, sleeping, waiting for a socket or in an
// offload call, and nobody has an `hsw_work` of the loop. For programs without frames.
hsw_status hsw_run_until_idle(void);

// As `hsw_run_until_idle`, but when idle it waits for what other threads send (`hsw_loop_post`),
// until `hsw_loop_stop`. For threads that serve others.
hsw_status hsw_run_until_stopped(void);

// Sets how many bytes a socket of the calling thread may move before its next operation waits for
// the loop once, which lets the others run; 1 MiB by default. It is the most that a pump does for
// a socket whose peer is fast: a smaller number makes the turns of such a socket shorter, with a
// larger one the others wait longer for theirs. `SIZE_MAX`: nothing but the peer ends a turn; 0:
// each operation waits. It holds for a socket from its next wait on.
hsw_status hsw_loop_set_burst(size_t bytes);

// How many bytes `hsw_loop_set_burst` has set.
hsw_status hsw_loop_get_burst(size_t *bytes);

// What the calling thread's loop waits for.
hsw_status hsw_get_loop_info(struct hsw_loop_info *info);

// The calling thread's loop, for other threads. The caller owns the handle.
hsw_status hsw_loop_current(struct hsw_loop *main_loop);

// Makes another handle of the same loop, with an owner of its own.
hsw_status hsw_loop_retain(struct hsw_loop main_loop, struct hsw_loop *other);

// Gives a handle back. It is stale from now on, for all threads.
hsw_status hsw_loop_release(struct hsw_loop main_loop);

// Has the loop's thread call `function(argument)` in its next pump, and ends its wait. Events are
// called in the order they came, on the tasklet that pumps. They may send on channels with a
// waiting receiver, and spawn tasklets; work that blocks for long belongs in such a tasklet.
//
// If the function returns something other than `HSW_OK`, that is the failure of a tasklet made for
// this purpose: it goes to the error handler, or arrives from the next `hsw_run` or `hsw_tick`.
//
// The argument is the runtime's from now on, also when this call fails: `destroy_argument` frees
// it, on whatever thread, when the function has returned or will not be called. It must not point
// to a sliced stack.
//
// `HSW_ERR_STATE`: the thread is gone. `HSW_ERR_LIMIT`: 16,384 events wait for its next pump.
hsw_status hsw_loop_post(struct hsw_loop main_loop, hsw_entry function, void *argument, hsw_destroy destroy_argument);

// Ends the loop's wait (in `hsw_pump`, and in the runs that wait), or its next one if it does not
// wait now. No-op when the thread is gone.
hsw_status hsw_loop_interrupt(struct hsw_loop main_loop);

// Ends `hsw_run_until_stopped` or `hsw_run_until_idle` once the tasklets that are runnable have
// run. If neither is under way, ends the next one. No-op when the thread is gone.
hsw_status hsw_loop_stop(struct hsw_loop main_loop);

// Has the loop wait for what the caller will post. The caller owns the handle.
hsw_status hsw_loop_work(struct hsw_loop main_loop, struct hsw_work *work);

// One more promise, with an owner of its own: the loop waits until both are given back.
hsw_status hsw_work_retain(struct hsw_work work, struct hsw_work *other);

// Ends the promise. Ends the loop's wait as well, if this was the last promise and nothing else is
// left to wait for.
hsw_status hsw_work_release(struct hsw_work work);

// Blocks the calling tasklet for at least this many nanoseconds; the others run meanwhile. 0 lets
// them run once, as `hsw_schedule` does; `HSW_NO_LIMIT` sleeps until the tasklet is killed.
// `HSW_ERR_ARGUMENT`: any other number above `INT64_MAX`, which negative numbers become.
hsw_status hsw_sleep(uint64_t nanoseconds);

// Connects to a host, given by name or address, and a port. Blocks the tasklet meanwhile, also
// while a worker looks up the name. The first address of the host that answers is connected to:
// when one has not answered after 250 ms, the next one is tried beside it. All of it together
// takes at most `timeout_ns` nanoseconds (`HSW_NO_LIMIT`: as long as the system tries).
hsw_status hsw_tcp_connect(const char *host, uint16_t port, uint64_t timeout_ns, struct hsw_socket *socket);

// Listens at an address ("127.0.0.1", "::") and a port. Port 0 stands for any free one:
// `hsw_socket_port` tells which it is.
hsw_status hsw_tcp_listen(const char *address, uint16_t port, struct hsw_socket *socket);

// Waits for a connection.
hsw_status hsw_tcp_accept(struct hsw_socket listener, struct hsw_socket *socket);

// Receives up to `size` bytes; waits while there are none. 0 in `*received` means that the peer
// has ended the stream.
//
// The buffer may lie on the calling tasklet's stack, also a sliced one: it is written only while
// the tasklet runs.
hsw_status hsw_socket_read(struct hsw_socket socket, void *buffer, size_t size, size_t *received);

// Sends all `size` bytes; waits while the system takes no more. The rules for the data are those
// for the buffer of `hsw_socket_read`.
//
// `sent` (may be null) gets how many bytes the system has taken, *also on failure*: a caller whose
// write has timed out goes on with the rest. With null, the only thing left after a failure is to
// give the connection up.
hsw_status hsw_socket_write(struct hsw_socket socket, const void *data, size_t size, size_t *sent);

// As `hsw_socket_read`, into several buffers: each is filled before the next one gets anything.
// They must not overlap.
hsw_status hsw_socket_read_vectored(struct hsw_socket socket,
                                    const struct hsw_buffer *buffers,
                                    size_t count,
                                    size_t *received);

// Sends all of several pieces of memory, one after the other, as if they were one; else as
// `hsw_socket_write`. Nothing is written to them.
hsw_status hsw_socket_write_vectored(struct hsw_socket socket,
                                     const struct hsw_buffer *buffers,
                                     size_t count,
                                     size_t *sent);

// As `hsw_socket_read`, but the data stays to be read again. Only of TCP connections.
hsw_status hsw_socket_peek(struct hsw_socket socket, void *buffer, size_t size, size_t *received);

// Sets how long a single wait of a read or a write may last, in nanoseconds, or of a receive or a
// send; of a listener, a wait of an accept. Then the call fails with `HSW_ERR_TIMEOUT`.
// `HSW_NO_LIMIT`, the default: no limit. 0 is `HSW_ERR_ARGUMENT`. (`hsw_socket_set_option` sets
// the two directions apart.)
hsw_status hsw_socket_set_timeout(struct hsw_socket socket, uint64_t nanoseconds);

// Ends the sending direction: the peer reads to the end of the stream. Reading is still possible.
hsw_status hsw_socket_end_writing(struct hsw_socket socket);

// Ends the receiving direction: what has come can still be read, then readers are at the end of
// the stream, also those that wait. Writing is still possible.
hsw_status hsw_socket_end_reading(struct hsw_socket socket);

// The port of this end of a TCP or UDP socket.
hsw_status hsw_socket_port(struct hsw_socket socket, uint16_t *port);

// The descriptor of the socket, for the system's calls. It stays the socket's, which does not
// block the thread (`O_NONBLOCK`): do not close it, and do not change that. `HSW_ERR_IO`: the
// socket was closed.
hsw_status hsw_socket_fd(struct hsw_socket socket, int32_t *fd);

// The pending error of the socket, in Linux' numbers, 0 if it has none. It is no longer pending
// then; the loss of a connection is remembered all the same, and told to who reads or writes.
hsw_status hsw_socket_take_error(struct hsw_socket socket, int32_t *errno_value);

// Makes another handle of the same socket, with an owner of its own.
hsw_status hsw_socket_retain(struct hsw_socket socket, struct hsw_socket *other);

// Closes the socket at once, for all its handles: tasklets that wait on it fail with `HSW_ERR_IO`.
// The handles must still be released.
hsw_status hsw_socket_close(struct hsw_socket socket);

// Gives a handle back; it is stale from now on. The socket is closed with its last handle, once no
// tasklet is in a call of it.
hsw_status hsw_socket_release(struct hsw_socket socket);

// Fills in the settings that the process's pool has by default: 4 threads of 256 KiB, and 1024
// calls that may wait.
hsw_status hsw_pool_settings_default(struct hsw_pool_settings *settings);

// Fills in settings for a console: 2 threads of 64 KiB, and 64 calls that may wait.
hsw_status hsw_pool_settings_console(struct hsw_pool_settings *settings);

// Sets what the process's pool may use, before its first use; null: the default settings.
// `HSW_ERR_SETTINGS`: it is in use already, or a value is out of range.
hsw_status hsw_offload_configure(const struct hsw_pool_settings *settings);

// Makes a pool; no thread is started yet. Null: the default settings. `HSW_ERR_SETTINGS`: a value
// is out of range.
hsw_status hsw_pool_new(const struct hsw_pool_settings *settings, struct hsw_pool *pool);

// A handle of the process's pool, which `hsw_offload` uses. The caller owns it.
hsw_status hsw_pool_of_process(struct hsw_pool *pool);

// Makes another handle of the same pool, with an owner of its own.
hsw_status hsw_pool_retain(struct hsw_pool pool, struct hsw_pool *other);

// Gives a handle back; it is stale from now on, for all threads. The last one shuts the pool down
// as `hsw_pool_shutdown` does, and blocks the thread as long as that does.
hsw_status hsw_pool_release(struct hsw_pool pool);

// Refuses new calls (`HSW_ERR_CLOSED`), finishes those it has, and ends the threads. Blocks the
// *thread* until then. The outcomes arrive with the next pump of the threads that called. With
// `cancel`, calls that no worker has begun are given back: they fail with `HSW_ERR_CLOSED`. To
// call it twice is fine.
hsw_status hsw_pool_shutdown(struct hsw_pool pool, bool cancel);

// The settings that the pool was made with.
hsw_status hsw_pool_get_settings(struct hsw_pool pool, struct hsw_pool_settings *settings);

// How many threads were started so far, and how many calls wait for one. Either may be null.
hsw_status hsw_pool_load(struct hsw_pool pool, size_t *threads, size_t *waiting);

// Calls a job on a worker thread. The calling tasklet is blocked meanwhile, the others run. The
// result is the caller's.
//
// If the caller does not wait to the end (it was killed, or the time was over: `HSW_ERR_TIMEOUT`),
// the job still runs on, and its outcome goes to `on_abandoned`. `HSW_ERR_WOULD_BLOCK`: the pool's
// queue is full. `HSW_ERR_CLOSED`: the pool has been shut down. `HSW_ERR_IO`: the system makes no
// more threads.
hsw_status hsw_offload_with(const struct hsw_offload_call *call, void **result);

// As `hsw_offload_with`, in the process's pool and without a callback for an abandoned job.
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

// Gives a tasklet to another thread, which uses the library already. The tasklet must not have
// started and must not be queued, and must have been bound by `hsw_tasklet_bind_send` or not at
// all. `remote` refers to it on its new thread; the previous handles of it refer to an empty
// tasklet. Waits until both threads have switched or pumped; for the calling thread the wait is
// enough.
//
// `HSW_ERR_STATE`: there is no such thread, it has ended, or the tasklet may not move; then
// nothing has changed. Otherwise it fails as `hsw_remote_with` does: after such a failure the
// tasklet may be without a thread, but is whole, and can be given to another one.
hsw_status hsw_tasklet_bind_thread(struct hsw_tasklet tasklet, uint64_t thread_id, struct hsw_remote *remote);

// As `hsw_tasklet_bind_thread`, for a tasklet that any thread refers to, also one whose thread has
// ended. All references to it refer to it on the new thread then. No-op when it is there already.
hsw_status hsw_remote_bind_thread(struct hsw_remote remote, uint64_t thread_id);

// As `hsw_tasklet_bind_send`, on the tasklet's thread; with `paused`, it is alive and paused at
// once. Waits and fails as `hsw_remote_with` does. A tasklet without a thread is bound at once,
// but cannot be paused (`HSW_ERR_STATE`).
hsw_status hsw_remote_bind(struct hsw_remote remote,
                           hsw_entry function,
                           void *argument,
                           hsw_destroy destroy_argument,
                           bool paused);

// Takes the function away again; its argument is freed. Waits and fails as `hsw_remote_with` does.
hsw_status hsw_remote_unbind(struct hsw_remote remote);

// A handle of the tasklet, for its own thread (`HSW_ERR_WRONG_THREAD` elsewhere). The caller owns
// it.
hsw_status hsw_remote_tasklet(struct hsw_remote remote, struct hsw_tasklet *tasklet);

// On the tasklet's own thread, as `hsw_tasklet_switch`; elsewhere `HSW_ERR_STATE`.
hsw_status hsw_remote_switch(struct hsw_remote remote);

// Appends the tasklet to the run queue of its thread. `HSW_ERR_STATE`: its thread is gone.
hsw_status hsw_remote_insert(struct hsw_remote remote);

// Makes it the next one to run on its thread. `HSW_ERR_STATE`: its thread is gone.
hsw_status hsw_remote_run(struct hsw_remote remote);

// Makes a bound tasklet alive and appends it to the run queue of its thread. `HSW_ERR_STATE`: its
// thread is gone.
hsw_status hsw_remote_setup(struct hsw_remote remote);

// Takes it out of the run queue of its thread. No-op when its thread is gone.
hsw_status hsw_remote_remove(struct hsw_remote remote);

// Throws an exception into the tasklet, and makes it the next one to run on its thread; with
// `pending` it runs when its turn comes. The rules for the payload are those of
// `hsw_tasklet_throw`. `HSW_ERR_STATE`: its thread is gone.
hsw_status hsw_remote_throw(struct hsw_remote remote,
                            void *payload,
                            hsw_destroy destroy,
                            const char *message,
                            bool pending);

// Kills the tasklet: the call it waits in returns `HSW_ERR_EXIT`. It is the next one to run on its
// thread; with `pending` it runs when its turn comes. No-op when its thread is gone, since the
// tasklet is gone with it.
hsw_status hsw_remote_kill(struct hsw_remote remote, bool pending);

// The state of the tasklet on its thread: the sum of the bits `HSW_TASKLET_ALIVE` and so on that
// hold. Waits and fails as `hsw_remote_with` does; 0 when its thread is gone.
hsw_status hsw_remote_state(struct hsw_remote remote, uint32_t *state);

// The id of the tasklet, as `hsw_tasklet_id` says it. It changes when the tasklet moves to another
// thread.
hsw_status hsw_remote_tasklet_id(struct hsw_remote remote, size_t *id);

// The tasklet's thread, as `hsw_thread_id` says it there; 0 when that thread is gone.
hsw_status hsw_remote_thread_id(struct hsw_remote remote, uint64_t *id);

// Has the tasklet's thread call `function(tasklet, argument)`, and waits for the end of that call:
// that thread makes it when it switches or pumps next. On the tasklet's own thread the function is
// called at once.
//
// The argument is the runtime's from now on, also when this call fails: `destroy_argument` frees
// it, on whatever thread, when the function has returned or will not be called. It must not point
// to a sliced stack, the caller's own included.
//
// `HSW_ERR_STATE`: the thread is gone, or ended before it made the call. It may also fail as any
// call that waits (`HSW_ERR_EXIT`, `HSW_ERR_DEADLOCK`, `HSW_ERR_BLOCK_TRAP`, ...); the function
// may be called all the same then.
hsw_status hsw_remote_with(struct hsw_remote remote,
                           hsw_remote_function function,
                           void *argument,
                           hsw_destroy destroy_argument);

// Makes an address of a path, or of '@' and an abstract name ("./@x" is a path).
// `HSW_ERR_ARGUMENT`: it is empty, or longer than 107 bytes.
hsw_status hsw_address_unix(const char *name, struct hsw_address *address);

// Makes an address of a text ("127.0.0.1", "::1", "fe80::1%2", where 2 is the number of the
// interface) and a port. It looks no names up. `HSW_ERR_ARGUMENT`: the text is no IP address.
hsw_status hsw_address_parse(const char *text, uint16_t port, struct hsw_address *address);

// The address as a text: "127.0.0.1:80", "[::1]:80", a path, '@' and an abstract name, or nothing
// for a socket without a name. At most `capacity` bytes are written, with
// the final zero; `length` (may be null) gets the length of the whole text.
hsw_status hsw_address_text(const struct hsw_address *address, char *buffer, size_t capacity, size_t *length);

// The address of this end of the socket, with the port that the system has chosen.
hsw_status hsw_socket_local_address(struct hsw_socket socket, struct hsw_address *address);

// The address of the other end. `HSW_ERR_IO` with `ENOTCONN`: there is none, or it has gone.
hsw_status hsw_socket_peer_address(struct hsw_socket socket, struct hsw_address *address);

// Sets an option of a socket, one of `hsw_socket_option`.
//
// `HSW_ERR_ARGUMENT`: sockets of that kind do not have it, or it cannot be that. `HSW_ERR_IO`: the
// system has refused it (`EINVAL`: out of its range).
hsw_status hsw_socket_set_option(struct hsw_socket socket, int32_t option, uint64_t value);

// The value of an option of a socket, as `hsw_socket_set_option` takes it.
hsw_status hsw_socket_get_option(struct hsw_socket socket, int32_t option, uint64_t *value);

// Has the system find out whether the peer of a TCP connection is still there when it is silent:
// if not, the connection is given up, and who uses it gets `HSW_ERR_IO` with `ETIMEDOUT`. Null,
// the default: it does not ask.
hsw_status hsw_socket_set_keepalive(struct hsw_socket socket, const struct hsw_keepalive *keepalive);

// Does the system ask a silent peer of a TCP connection whether it is still there? If so,
// `*keepalive` says how; if not, it is not written.
hsw_status hsw_socket_keepalive(struct hsw_socket socket, bool *on, struct hsw_keepalive *keepalive);

// Makes a lock that nobody holds.
hsw_status hsw_lock_new(struct hsw_lock *lock);

// Makes another handle of the same lock, with an owner of its own.
hsw_status hsw_lock_retain(struct hsw_lock lock, struct hsw_lock *other);

// Gives a handle back; it is stale from now on. Tasklets that hold the lock or wait for it go on.
hsw_status hsw_lock_release(struct hsw_lock lock);

// Takes the lock when it is the caller's turn: first come, first served. Blocks only the calling
// tasklet. A main tasklet, and so a plain thread, drives its thread's main loop meanwhile.
//
// Waits for at most `timeout_ns` nanoseconds: 0 tries once and lets nobody else run;
// `HSW_NO_LIMIT` waits as long as it takes. Any other number above `INT64_MAX`, which negative
// numbers become, is `HSW_ERR_ARGUMENT` (-1 is `HSW_NO_LIMIT`). The same holds for all waits of
// this part.
//
// `HSW_ERR_TIMEOUT`: the time is over. `HSW_ERR_EXIT`, `HSW_ERR_THROWN`: the tasklet was killed or
// thrown at while it waited. `HSW_ERR_BLOCK_TRAP`, `HSW_ERR_SWITCH_TRAP`: it may not wait. The
// lock is not held then. The lock is not reentrant: a holder that takes it again waits for itself.
//
// If a tasklet ends without giving the lock back, the lock stays taken until somebody else gives
// it back.
hsw_status hsw_lock_lock(struct hsw_lock lock, uint64_t timeout_ns);

// Gives the lock back, whoever took it. The waiter that has waited longest gets it. Does not
// switch. `HSW_ERR_STATE`: nobody held it.
hsw_status hsw_lock_unlock(struct hsw_lock lock);

// Whether it is held, whether by the calling tasklet, and how many wait for it. Each may be null.
hsw_status hsw_lock_state(struct hsw_lock lock, bool *locked, bool *mine, size_t *waiting);

// Makes a reentrant lock that nobody holds.
hsw_status hsw_rlock_new(struct hsw_rlock *lock);

// Makes another handle of the same lock, with an owner of its own.
hsw_status hsw_rlock_retain(struct hsw_rlock lock, struct hsw_rlock *other);

// Gives a handle back; it is stale from now on. Tasklets that hold the lock or wait for it go on.
hsw_status hsw_rlock_release(struct hsw_rlock lock);

// As `hsw_lock_lock`; but a tasklet that holds the lock already gets it at once, once more.
//
// The lock belongs to the tasklet that took it: if that ends without giving it back, it stays
// taken for good.
hsw_status hsw_rlock_lock(struct hsw_rlock lock, uint64_t timeout_ns);

// Undoes one `hsw_rlock_lock` of the calling tasklet; the last one gives the lock back.
// `HSW_ERR_STATE`: the calling tasklet does not hold it.
hsw_status hsw_rlock_unlock(struct hsw_rlock lock);

// Whether it is held, whether by the calling tasklet, and how many wait for it. Each may be null.
hsw_status hsw_rlock_state(struct hsw_rlock lock, bool *locked, bool *mine, size_t *waiting);

// Makes a semaphore with `permits` free permits. If it is `bounded`, it never has more than those.
// `HSW_ERR_ARGUMENT`: `permits` is more than half of `SIZE_MAX`.
hsw_status hsw_semaphore_new(size_t permits, bool bounded, struct hsw_semaphore *semaphore);

// Makes another handle of the same semaphore, with an owner of its own.
hsw_status hsw_semaphore_retain(struct hsw_semaphore semaphore, struct hsw_semaphore *other);

// Gives a handle (not a permit) back; it is stale from now on. Tasklets that wait go on.
hsw_status hsw_semaphore_release(struct hsw_semaphore semaphore);

// Takes a permit when it is the caller's turn. Waits and fails as `hsw_lock_lock` does.
hsw_status hsw_semaphore_acquire(struct hsw_semaphore semaphore, uint64_t timeout_ns);

// Gives `count` permits back, all or none. Those that have waited longest get them first. Any
// thread may give back a permit that another one took. Does not switch. `HSW_ERR_STATE`: there
// would be more permits than there may be.
hsw_status hsw_semaphore_give_back(struct hsw_semaphore semaphore, size_t count);

// How many permits are free, and how many wait for one. Each may be null.
hsw_status hsw_semaphore_state(struct hsw_semaphore semaphore, size_t *available, size_t *waiting);

// Makes a condition that nobody waits for.
hsw_status hsw_condition_new(struct hsw_condition *condition);

// Makes another handle of the same condition, with an owner of its own.
hsw_status hsw_condition_retain(struct hsw_condition condition, struct hsw_condition *other);

// Gives a handle back; it is stale from now on. Tasklets that wait go on.
hsw_status hsw_condition_release(struct hsw_condition condition);

// Gives the lock up, waits to be notified, and takes the lock again. It returns only after a
// notification or with one of the errors below: there are no spurious wake-ups. But another
// tasklet may have had the lock in between, so the condition that was waited for may be false
// again.
//
// * `HSW_ERR_TIMEOUT`: it was not notified within `timeout_ns` nanoseconds (see `hsw_lock_lock`;
//   with 0 the lock is given up and taken again). **The lock is held**, however long it took to
//   get it.
// * `HSW_ERR_STATE`: the calling tasklet did not hold the lock. As with all mistakes, nothing has
//   changed.
// * Any other error (killed, thrown at, a trap): **the lock is not held.**
hsw_status hsw_condition_wait(struct hsw_condition condition, struct hsw_lock lock, uint64_t timeout_ns);

// Notifies the `count` tasklets that have waited longest; `SIZE_MAX`: all. The caller may hold the
// lock or not; if it does, nothing can happen between a waiter's test of the condition and its
// wait. Does not switch, and wakes nobody who would have to wait for the lock first.
hsw_status hsw_condition_notify(struct hsw_condition condition, size_t count);

// How many wait to be notified.
hsw_status hsw_condition_waiting(struct hsw_condition condition, size_t *waiting);

// Makes an event that is not set.
hsw_status hsw_event_new(struct hsw_event *event);

// Makes another handle of the same event, with an owner of its own.
hsw_status hsw_event_retain(struct hsw_event event, struct hsw_event *other);

// Gives a handle back; it is stale from now on. Tasklets that wait go on.
hsw_status hsw_event_release(struct hsw_event event);

// Sets the event: all that wait for it go on, even if it is cleared again before their turn comes.
// Does not switch.
hsw_status hsw_event_set(struct hsw_event event);

// Clears the event: new callers wait.
hsw_status hsw_event_clear(struct hsw_event event);

// Waits until the event is set. Waits and fails as `hsw_lock_lock` does.
hsw_status hsw_event_wait(struct hsw_event event, uint64_t timeout_ns);

// Whether it is set, and how many wait for it. Each may be null.
hsw_status hsw_event_state(struct hsw_event event, bool *set, size_t *waiting);

// Makes a barrier where `parties` tasklets wait for each other; with 0 or 1, nobody waits.
hsw_status hsw_barrier_new(size_t parties, struct hsw_barrier *barrier);

// Makes another handle of the same barrier, with an owner of its own.
hsw_status hsw_barrier_retain(struct hsw_barrier barrier, struct hsw_barrier *other);

// Gives a handle back; it is stale from now on. Tasklets that wait go on.
hsw_status hsw_barrier_release(struct hsw_barrier barrier);

// Waits until all parties have come; `last` (may be null) is true for the one that came last.
// Waits and fails as `hsw_lock_lock` does; with a time of 0, only the last party passes.
//
// A party that gives up (`HSW_ERR_TIMEOUT`, killed, thrown at, a trap) breaks the barrier: all
// others, also later ones, get `HSW_ERR_BROKEN` until `hsw_barrier_reset`. Mistakes of the caller
// do not break it.
hsw_status hsw_barrier_wait(struct hsw_barrier barrier, uint64_t timeout_ns, bool *last);

// Breaks the barrier: present and later parties get `HSW_ERR_BROKEN`.
hsw_status hsw_barrier_abort(struct hsw_barrier barrier);

// Makes the barrier as new. Present parties get `HSW_ERR_BROKEN`.
hsw_status hsw_barrier_reset(struct hsw_barrier barrier);

// How many parties it has, how many of them wait, and whether it is broken. Each may be null.
hsw_status hsw_barrier_state(struct hsw_barrier barrier, size_t *parties, size_t *waiting, bool *broken);

// Makes a queue for up to `capacity` values, at least one; `SIZE_MAX`: no bound. `destroy` (may be
// null) frees values that nobody gets, on any thread.
hsw_status hsw_sync_queue_new(size_t capacity, hsw_destroy destroy, struct hsw_sync_queue *queue);

// Makes another handle of the same queue, with an owner of its own.
hsw_status hsw_sync_queue_retain(struct hsw_sync_queue queue, struct hsw_sync_queue *other);

// Gives a handle back; it is stale from now on. Tasklets that wait go on. Values that are in the
// queue are freed with its last handle.
hsw_status hsw_sync_queue_release(struct hsw_sync_queue queue);

// Appends a value when there is room. Waits and fails as `hsw_lock_lock` does. `HSW_ERR_CLOSED`:
// the queue is closed.
//
// After `HSW_ERR_TIMEOUT` and after mistakes the value is still the caller's; after any other
// failure it has been freed.
hsw_status hsw_sync_queue_put(struct hsw_sync_queue queue, void *value, uint64_t timeout_ns);

// Takes the first value, which is the caller's; waits while there is none. Waits and fails as
// `hsw_lock_lock` does. `HSW_ERR_CLOSED`: the queue is closed and empty.
hsw_status hsw_sync_queue_get(struct hsw_sync_queue queue, uint64_t timeout_ns, void **value);

// Closes the queue: no more values come in, and tasklets that wait to put one in get
// `HSW_ERR_CLOSED`. Values that are in it can still be taken; then that fails with
// `HSW_ERR_CLOSED` as well. To call it twice is fine.
hsw_status hsw_sync_queue_close(struct hsw_sync_queue queue);

// How many values are in it, and whether it is closed. Each may be null.
hsw_status hsw_sync_queue_state(struct hsw_sync_queue queue, size_t *length, bool *closed);

// Counts the calling thread among those that use the library, and gives it a runtime with the
// default settings if it has none (call `hsw_init` first for other settings). It is optional: the
// first call that needs a runtime does the same. The opposite is `hsw_thread_exit`, or the
// thread's end. A thread that has ended its part attaches again with this or any other call.
hsw_status hsw_thread_attach(void);

// The numbers of the threads that use the library, in the order they came: at most `capacity` of
// them are written to `ids`, which may be null when `capacity` is 0. `count` gets how many threads
// there are.
hsw_status hsw_threads(uint64_t *ids, size_t capacity, size_t *count);

// Asks a thread about itself. The calling tasklet waits for the answer, which the thread gives
// when it switches or pumps next. `HSW_ERR_STATE`: there is no such thread, or it ended before it
// answered. Otherwise fails as `hsw_remote_with` does.
hsw_status hsw_thread_get_info(uint64_t id, struct hsw_thread_info *info);

// Makes a channel between threads. Its values are pointers. `destroy` (may be null) frees values
// that nobody will receive, on any thread.
hsw_status hsw_thread_channel_new(hsw_destroy destroy, struct hsw_thread_channel *channel);

// Makes another handle of the same channel, with an owner of its own.
hsw_status hsw_thread_channel_retain(struct hsw_thread_channel channel, struct hsw_thread_channel *other);

// Gives a handle back; it is stale from now on, for all threads. The channel lives on while there
// are other handles or a tasklet is in a call of it.
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

// As `hsw_thread_channel_receive`, but waits for at most `timeout_ns` nanoseconds, by the rules of
// `hsw_thread_channel_send_timeout`.
hsw_status hsw_thread_channel_receive_timeout(struct hsw_thread_channel channel, uint64_t timeout_ns, void **value);

// Sends a value if somebody is receiving. `HSW_ERR_WOULD_BLOCK`: nobody is, and the value is still
// the caller's. On any other failure it is freed.
hsw_status hsw_thread_channel_try_send(struct hsw_thread_channel channel, void *value);

// Receives a value if somebody is sending, else `HSW_ERR_WOULD_BLOCK`.
hsw_status hsw_thread_channel_try_receive(struct hsw_thread_channel channel, void **value);

// Sends an exception: the receiver's call returns `HSW_ERR_THROWN`. The rules for the payload are
// those of `hsw_tasklet_throw`.
hsw_status hsw_thread_channel_send_throw(struct hsw_thread_channel channel,
                                         void *payload,
                                         hsw_destroy destroy,
                                         const char *message);

// Sends `count` values one after the other. The rules for each value are those of
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

// Which side goes on first when two tasklets of the same thread meet, as one of `hsw_preference`.
hsw_status hsw_thread_channel_preference(struct hsw_thread_channel channel, int32_t *preference);

// Sets which side goes on first when two tasklets of the same thread meet. Only the sign of the
// number counts.
hsw_status hsw_thread_channel_set_preference(struct hsw_thread_channel channel, int32_t preference);

// Whether every rendezvous of two tasklets of the same thread also lets all others of it run.
hsw_status hsw_thread_channel_schedule_all(struct hsw_thread_channel channel, bool *on);

// Sets whether every rendezvous of two tasklets of the same thread also lets all others of it run.
hsw_status hsw_thread_channel_set_schedule_all(struct hsw_thread_channel channel, bool on);

// Closes the channel: operations that would block fail with `HSW_ERR_CLOSED`. Tasklets that wait
// are still served; none is woken.
hsw_status hsw_thread_channel_close(struct hsw_thread_channel channel);

// Closes the channel and ends with `HSW_ERR_CLOSED` all waits on it, on whatever thread; `woken`
// (may be null) gets how many. A value that a sender had to hand over is treated as by any send
// that fails.
hsw_status hsw_thread_channel_close_and_wake(struct hsw_thread_channel channel, size_t *woken);

// Opens a closed channel again.
hsw_status hsw_thread_channel_open(struct hsw_thread_channel channel);

// Whether `hsw_thread_channel_close` was called.
hsw_status hsw_thread_channel_is_closing(struct hsw_thread_channel channel, bool *closing);

// Whether it is closing and nobody waits on it any more.
hsw_status hsw_thread_channel_is_closed(struct hsw_thread_channel channel, bool *closed);

// How many tasklets wait: a positive number of senders, or a negative number of receivers. Other
// threads may change it at any time.
hsw_status hsw_thread_channel_balance(struct hsw_thread_channel channel, ptrdiff_t *balance);

// A number that is the channel's alone while it lives: equal ids name the same channel. Never 0.
hsw_status hsw_thread_channel_id(struct hsw_thread_channel channel, size_t *id);

// Gets the calling thread's clock of wall time, which follows the system's monotonic clock from
// its first use on.
hsw_status hsw_timer_clock_wall(struct hsw_timer_clock *clock);

// Gets the calling thread's clock of simulated time: the same clock with each call. It runs as
// wall time does until the host changes that.
hsw_status hsw_timer_clock_simulated(struct hsw_timer_clock *clock);

// Makes another clock of simulated time, which shows zero.
hsw_status hsw_timer_clock_new(struct hsw_timer_clock *clock);

// Makes another handle of the same clock, with an owner of its own.
hsw_status hsw_timer_clock_retain(struct hsw_timer_clock clock, struct hsw_timer_clock *other);

// Gives a handle back; it is stale from now on. The clock's timers still fire.
hsw_status hsw_timer_clock_release(struct hsw_timer_clock clock);

// What the clock shows: nanoseconds since its start.
hsw_status hsw_timer_clock_now(struct hsw_timer_clock clock, uint64_t *now_ns);

// Stops a clock of simulated time. To stop it twice is fine. `HSW_ERR_ARGUMENT`, here and in the
// next four functions: it is the clock of wall time.
hsw_status hsw_timer_clock_pause(struct hsw_timer_clock clock);

// Lets a stopped clock run again. To call it twice is fine.
hsw_status hsw_timer_clock_resume(struct hsw_timer_clock clock);

// Lets the clock run `scale` times as fast as wall time; at 0 it stands still. `HSW_ERR_ARGUMENT`:
// `scale` is negative, infinite or no number.
hsw_status hsw_timer_clock_set_scale(struct hsw_timer_clock clock, double scale);

// Puts the clock forward, paused or not. Functions that become due are called in the next pump.
// `HSW_ERR_ARGUMENT`: `by_ns` is more than `INT64_MAX`.
hsw_status hsw_timer_clock_advance(struct hsw_timer_clock clock, uint64_t by_ns);

// Sets the time that the clock shows, forward or back; `HSW_NO_LIMIT` is the latest there is.
// Timers keep their moments. `HSW_ERR_ARGUMENT`: any other number above `INT64_MAX`.
hsw_status hsw_timer_clock_set(struct hsw_timer_clock clock, uint64_t now_ns);

// The figures of a clock.
hsw_status hsw_timer_clock_get_info(struct hsw_timer_clock clock, struct hsw_timer_clock_info *info);

// Blocks the calling tasklet for at least this many nanoseconds of this clock; the others run
// meanwhile. 0 lets them run once; `HSW_NO_LIMIT` sleeps until the tasklet is killed.
// `HSW_ERR_ARGUMENT`: any other number above `INT64_MAX`, which negative numbers become.
hsw_status hsw_timer_clock_sleep(struct hsw_timer_clock clock, uint64_t time_ns);

// As `hsw_timer_clock_sleep`, until the clock shows `at_ns`. If that is past, the others run once;
// `HSW_NO_LIMIT` never comes.
hsw_status hsw_timer_clock_sleep_until(struct hsw_timer_clock clock, uint64_t at_ns);

// Has `function(argument)` called once, after `delay_ns` nanoseconds of the clock and never
// before. It is called in a pump of the thread's main loop (`hsw_tick`, `hsw_pump`), on the
// tasklet that pumps; several due functions are called in the order of their moments. Work that
// takes long, or blocks, belongs in a tasklet that the function spawns. If the function returns
// something other than `HSW_OK`, that is the failure of a tasklet made for this purpose: it goes
// to the error handler, or arrives from the next `hsw_run` or `hsw_tick`.
//
// The argument is the timer's from now on, also when this call fails: `destroy_argument` (may be
// null) frees it when the function has returned, the timer is cancelled, or the thread ends.
// `timer` may be null: then the timer cannot be cancelled.
//
// `HSW_ERR_ARGUMENT`: the delay is more than `INT64_MAX`, which negative numbers become, and not
// `HSW_NO_LIMIT`.
hsw_status hsw_timer_call_later(struct hsw_timer_clock clock,
                                uint64_t delay_ns,
                                hsw_entry function,
                                void *argument,
                                hsw_destroy destroy_argument,
                                struct hsw_timer *timer);

// As `hsw_timer_call_later`, when the clock shows `at_ns`: in the next pump if that is past, and
// never with `HSW_NO_LIMIT`.
hsw_status hsw_timer_call_at(struct hsw_timer_clock clock,
                             uint64_t at_ns,
                             hsw_entry function,
                             void *argument,
                             hsw_destroy destroy_argument,
                             struct hsw_timer *timer);

// As `hsw_timer_call_later`, every `period_ns` nanoseconds, until the timer is cancelled or the
// thread ends; failures do not end it. It keeps its beat: however many periods were missed, it is
// called once for them. `HSW_ERR_ARGUMENT`: also for a period of zero.
hsw_status hsw_timer_repeat(struct hsw_timer_clock clock,
                            uint64_t period_ns,
                            hsw_entry function,
                            void *argument,
                            hsw_destroy destroy_argument,
                            struct hsw_timer *timer);

// Makes another handle of the same timer, with an owner of its own.
hsw_status hsw_timer_retain(struct hsw_timer timer, struct hsw_timer *other);

// Gives a handle back; it is stale from now on. The timer still fires: call `hsw_timer_cancel`
// first to stop it.
hsw_status hsw_timer_release(struct hsw_timer timer);

// Cancels a timer: the function will not be called (again). `was_pending` (may be null) tells
// whether it would have been. To cancel a timer twice, or one that has fired, is fine; then
// `was_pending` is false.
hsw_status hsw_timer_cancel(struct hsw_timer timer, bool *was_pending);

// Whether the function will be called (again), and if so when, by the timer's clock (`UINT64_MAX`:
// too late for this number). Each may be null; `due_ns` is left alone if no call is to come.
hsw_status hsw_timer_state(struct hsw_timer timer, bool *pending, uint64_t *due_ns);

// Connects to the Unix listener with this name: a path, or '@' and an abstract name ("./@x" is a
// path). Waits while its queue is full, at most `timeout_ns` nanoseconds (0: does not wait;
// `HSW_NO_LIMIT`: no limit).
//
// `HSW_ERR_ARGUMENT`: the name is empty, or longer than 107 bytes. `HSW_ERR_IO` with `ENOENT` or
// `ECONNREFUSED`: nobody listens there.
hsw_status hsw_unix_connect(const char *name, uint64_t timeout_ns, struct hsw_socket *socket);

// Listens for connections of this machine at a name, as that of `hsw_unix_connect`. The file of a
// path stays when the socket is closed, and must be removed before somebody can listen there
// again: till then, `HSW_ERR_IO` with `EADDRINUSE`.
hsw_status hsw_unix_listen(const char *name, struct hsw_socket *socket);

// Waits for a connection to a Unix listener.
hsw_status hsw_unix_accept(struct hsw_socket listener, struct hsw_socket *socket);

// Makes two connected sockets without names, which are read and written.
hsw_status hsw_unix_pair(struct hsw_socket *one, struct hsw_socket *other);

// Makes a socket for datagrams within this machine, with a name as that of `hsw_unix_listen`; with
// null, one without a name, which can send. Datagrams arrive whole, in order, and none is lost: a
// sender waits while the receiver's queue is full.
hsw_status hsw_unix_datagram(const char *name, struct hsw_socket *socket);

// Makes two connected sockets without names, which send and receive datagrams.
hsw_status hsw_unix_datagram_pair(struct hsw_socket *one, struct hsw_socket *other);

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
