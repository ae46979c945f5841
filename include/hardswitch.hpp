// hardswitch for C++17: tasklets and channels with RAII and exceptions, over the C interface of hardswitch.h.
//
// Header only; link libhardswitch.a. Everything is in namespace hsw. The parts in hardswitch/ can be included alone:
//
//   spawn(f)              makes a tasklet that runs f(), and queues it
//   spawn_joinable(f)     the same, with a result: join(), join_for(), join_all(), join_each()
//   channel<T>            a rendezvous: send() waits for a receive(), receive() for a send(); thread::channel<T> between threads
//   run()                 lets all tasklets run until none can
//   schedule(), sleep()   let others run
//   lock, condition, semaphore, event, barrier, queue<T>    for tasklets of all threads, and for plain threads
//   local<T>              a value of its own for each tasklet
//   dict<T>, record       values by keys in few bytes; values with names, of types that are made at run time
//   clock, sim_clock      timers: call_later(), repeat(); sleep() on a clock that can be paused, scaled and put forward
//   tcp_stream, udp_socket, unix_stream, fd_wait()    wait for the network, or for any descriptor, without blocking the thread
//   http::client          requests of HTTP, with bodies, redirects, kept connections, resumed downloads
//   offload()             waits for a blocking function on a worker thread
//   tick()                the game's frame: runs what is due, within a budget
//
// What holds for all of it
//
// * Threads. Tasklets, channels, sockets, clocks and timers belong to the thread that made them. Handles used elsewhere throw
//   hsw::usage_error; nothing is touched. Locks and their kin, queue<T> and local<T> belong to no thread.
// * Stacks. A tasklet is *sliced* unless options::own_stack says otherwise: while it does not run, its frames may lie on the
//   heap and other tasklets' frames at its addresses. Therefore: NOTHING OUTSIDE OF A SLICED TASKLET MAY TOUCH ITS LOCALS WHILE
//   IT IS NOT RUNNING. No reference to a local in what another tasklet, thread, queue or system call gets. A lambda that
//   captures a local of main by reference is fine (main's stack is never sliced), one that captures a local of a sliced
//   tasklet is not. Share by value, by std::shared_ptr, or through a channel.
// * Errors. A call that fails throws one of the classes below and has changed nothing, unless it says otherwise. A failed call
//   never loses the exception behind it: an exception that leaves a tasklet's function arrives, as itself, from run().
// * Exceptions and switching. Each tasklet has its own exception state: it may switch within a catch block, and rethrow after
//   it. It may not switch in a destructor that runs because of an exception: that throws hsw::switch_trap (so, mind, the program
//   terminates if the destructor lets it out).
// * After an exception. What a call that throws leaves behind: the object is as it was before the call, and can be used on, unless its comment says
//   otherwise. A value that was to be sent, put or thrown is gone; one that was to be received is still there for others, unless T's own move
//   threw, or the caller was killed in the moment it came. An object that was moved from is a null handle: calls throw usage_error, it can be
//   assigned to and destroyed. What leaves a function that was handed in (of spawn, a timer, post, a select's `then`) changes nothing for the object
//   that called it.
// * tasklet_exit is how a tasklet ends that was killed. It is not a std::exception: `catch (std::exception&)` lets it pass. Code that says
//   `catch (...)` must rethrow; if it does not, the tasklet's next wait throws it again, ten times at most. The functions of std::ostream and
//   std::istream catch everything that their streambuf throws: where one waits (it sends on a channel or a socket), say
//   `stream.exceptions(std::ios::badbit)`, so that they rethrow; then a kill ends the tasklet where it is.
// * What is made at its first use (a `static` or `thread_local` of a function, std::call_once) is guarded by thread, and other tasklets are on the same
//   one: an initialiser that switches ends the process, or waits for ever. Hold a hsw::no_switch in it if it calls what might switch.
// * The end of a thread. pthread_exit and the cancellation of a thread unwind its stack by force. That works in main's own code; in a tasklet, or in any
//   function that the library has called, the process ends with words: such unwinding ends at the end of the thread's stack, and there is none.
// * The end of the process (main returns, std::exit from wherever) unwinds no tasklet, and nobody runs after it: destructors of statics may use and
//   release handles, but what would switch or wait throws. hsw::thread::attached in main() ends the tasklets before that, in order.
#ifndef HARDSWITCH_HPP
#define HARDSWITCH_HPP

#include "hardswitch/language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "hardswitch/error.hpp"
#include "hardswitch/tasklet.hpp"
#include "hardswitch/channel.hpp"
#include "hardswitch/join.hpp"
#include "hardswitch/select.hpp"
#include "hardswitch/scheduler.hpp"
#include "hardswitch/callbacks.hpp"
#include "hardswitch/spill.hpp"
#include "hardswitch/main_loop.hpp"
#include "hardswitch/thread.hpp"
#include "hardswitch/sync.hpp"
#include "hardswitch/local.hpp"
#include "hardswitch/dict.hpp"
#include "hardswitch/record.hpp"
#include "hardswitch/timer.hpp"
#include "hardswitch/net.hpp"
#include "hardswitch/http.hpp"

#endif
#endif
