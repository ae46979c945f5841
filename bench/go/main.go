// The Go peer of bench. It is asked on standard input and answers on standard output;
// bench/src/peers/outside.rs and bench/src/weigh.rs are the other side.
//
//	timed: "CASE OPERATIONS" -> "took NANOSECONDS PREEMPTIONS"; any other line ends it
//	herd:  "ready" <- "park" -> "parked" <- "wake" -> "woken" <- "end"
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const burst = 100

func main() {
	if len(os.Args) == 2 && os.Args[1] == "herd" {
		herd()
		return
	}
	cases := map[string]func(int){
		"yield":       yield,
		"yield-many":  yieldMany,
		"rendezvous":  rendezvous,
		"spawn":       func(n int) { spawn(n, 1) },
		"spawn-join":  spawnJoin,
		"spawn-burst": func(n int) { spawn(n, burst) },
		"thread-rendezvous": func(n int) {
			runtime.GOMAXPROCS(2)
			rendezvous(n)
		},
		"thread-rendezvous-locked": func(n int) {
			runtime.GOMAXPROCS(2)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			serve(n, runtime.LockOSThread)
		},
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var name string
		var operations int
		if _, err := fmt.Sscan(lines.Text(), &name, &operations); err != nil || cases[name] == nil {
			return
		}
		before := preemptions()
		measured = 0
		start := time.Now()
		cases[name](operations)
		took := time.Since(start)
		if measured > 0 {
			took = measured
		}
		fmt.Println("took", took.Nanoseconds(), preemptions()-before)
	}
}

// How often the kernel has taken the processor away against the program's will.
func preemptions() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Nivcsw
}

func yield(operations int) {
	ended := make(chan struct{})
	turn := func() {
		for i := 0; i < operations/2; i++ {
			runtime.Gosched()
		}
		ended <- struct{}{}
	}
	go turn()
	go turn()
	<-ended
	<-ended
}

// What a case has measured itself, without what is before and after it; else 0.
var measured time.Duration

// 1,000 goroutines of four functions. The first takes the time of its turns, in which all others have as many.
func yieldMany(operations int) {
	const many = 1000
	each := (operations + many - 1) / many
	if each < 200 {
		each = 200
	}
	ended := make(chan uint64, many)
	kinds := []func(int) uint64{turns2, turns3, turns6, turns10}
	for i := 0; i < many; i++ {
		go func(i int, kind func(int) uint64) {
			sum := kind(2)
			start := time.Now()
			sum += kind(each)
			if i == 0 {
				// As if there were as many as asked for.
				measured = time.Since(start) * time.Duration(operations) / time.Duration(each*many)
			}
			ended <- sum + kind(2)
		}(i, kinds[i%4])
	}
	for i := 0; i < many; i++ {
		<-ended
	}
}

//go:noinline
func turns2(turns int) uint64 {
	var state [2]uint64
	for turn := 0; turn < turns; turn++ {
		state[turn%2] = state[turn%2]*2 + uint64(turn)
		runtime.Gosched()
	}
	return state[0]
}

//go:noinline
func turns3(turns int) uint64 {
	var state [3]uint64
	for turn := 0; turn < turns; turn++ {
		state[turn%3] = state[turn%3]*3 + uint64(turn)
		runtime.Gosched()
	}
	return state[0]
}

//go:noinline
func turns6(turns int) uint64 {
	var state [6]uint64
	for turn := 0; turn < turns; turn++ {
		state[turn%6] = state[turn%6]*6 + uint64(turn)
		runtime.Gosched()
	}
	return state[0]
}

//go:noinline
func turns10(turns int) uint64 {
	var state [10]uint64
	for turn := 0; turn < turns; turn++ {
		state[turn%10] = state[turn%10]*10 + uint64(turn)
		runtime.Gosched()
	}
	return state[0]
}

// The result comes over a channel: goroutines have no other way.
func spawnJoin(operations int) {
	for i := 0; i < operations; i++ {
		result := make(chan int, 1)
		go func() { result <- 1 }()
		if <-result != 1 {
			panic("wrong result")
		}
	}
}

func rendezvous(operations int) { serve(operations, func() {}) }

// The other goroutine calls prepare before it answers.
func serve(operations int, prepare func()) {
	ask, answer := make(chan int), make(chan int)
	go func() {
		prepare()
		for question := range ask {
			answer <- question + 1
		}
	}()
	for question := 0; question < operations; question++ {
		ask <- question
		if <-answer != question+1 {
			panic("wrong answer")
		}
	}
	close(ask)
}

// The counter is atomic because a goroutine may be preempted anywhere, even on one
// processor; that is 1 or 2 ns of the result.
func spawn(operations, tasks int) {
	var finished int64
	for i := 0; i < operations/tasks; i++ {
		for t := 0; t < tasks; t++ {
			go func() { atomic.AddInt64(&finished, 1) }()
		}
		for atomic.LoadInt64(&finished) < int64((i+1)*tasks) {
			runtime.Gosched()
		}
	}
}

func herd() {
	lines := bufio.NewScanner(os.Stdin)
	await := func(word string) {
		if !lines.Scan() || lines.Text() != word {
			os.Exit(1)
		}
	}
	tasks, err := strconv.Atoi(os.Getenv("BENCH_TASKS"))
	if err != nil {
		os.Exit(2)
	}
	fmt.Println("ready")
	await("park")
	channel := make(chan int)
	var blocked, woken, received int64
	for i := 0; i < tasks; i++ {
		go func() {
			atomic.AddInt64(&blocked, 1)
			atomic.AddInt64(&received, int64(<-channel))
			atomic.AddInt64(&woken, 1)
		}()
	}
	for atomic.LoadInt64(&blocked) < int64(tasks) {
		runtime.Gosched()
	}
	fmt.Println("parked")
	await("wake")
	for i := 0; i < tasks; i++ {
		channel <- i
	}
	for atomic.LoadInt64(&woken) < int64(tasks) {
		runtime.Gosched()
	}
	if received != int64(tasks)*int64(tasks-1)/2 {
		panic("a message was lost")
	}
	fmt.Println("woken")
	await("end")
}
