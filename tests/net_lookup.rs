//! Names are looked up elsewhere, and all addresses of a name are tried: nobody waits for somebody
//! else's name, nor longer than the time that was set. The resolver is the tests' own; it is the
//! process's, so they run one after the other.

use hardswitch::main_loop::Poller;
use hardswitch::net::lookup::{self, Settings};
use hardswitch::net::{resolve, ConnectError, TcpListener, TcpStream};
use hardswitch::offload::{self, Pool};
use hardswitch::{spawn, Error, MainLoop, Tasklet};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const ADDRESS: fn(u8) -> IpAddr = |i| IpAddr::V4(Ipv4Addr::new(127, 0, 7, i));
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A resolver of a test's. Names that begin with "slow" wait for the gate to be opened; each test
/// has its own, since one that is looked up still would be joined.
struct Names {
    calls: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Names {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match name {
            "none" => Ok(vec![]),
            "unknown" => Err(io::Error::new(ErrorKind::NotFound, "no such name")),
            "panics" => panic!("of {name}"),
            "asks" => resolve("another", 1).map(|_| vec![]).map_err(Into::into),
            name if name.starts_with("slow") => {
                let open = self.open.lock().unwrap();
                drop(self.opened.wait_while(open, |open| !*open).unwrap());
                Ok(vec![HOME])
            }
            // Some addresses of this machine: as many as the name ends with.
            name if name.starts_with("many-") => {
                let count = name["many-".len()..].parse().unwrap();
                Ok((1..=count).map(ADDRESS).collect())
            }
            _ => Ok(vec![HOME]),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// The test's resolver, until it ends.
struct Test {
    names: Arc<Names>,
    _alone: MutexGuard<'static, ()>,
}

impl Test {
    fn new(settings: Settings) -> Test {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let names = Arc::new(Names {
            calls: AtomicUsize::new(0),
            open: Mutex::new(false),
            opened: Condvar::new(),
        });
        let resolver = names.clone();
        lookup::configure(settings).unwrap();
        lookup::set_resolver(Some(Arc::new(move |name: &str| resolver.look_up(name))));
        Test {
            names,
            _alone: alone,
        }
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.names.open();
    }
}

fn small() -> Settings {
    Settings {
        threads: 2,
        ..Settings::default()
    }
}

fn run() {
    MainLoop::current().unwrap().run_until_idle().unwrap();
}

/// Ticks until the condition holds.
fn tick_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        MainLoop::current().unwrap().tick().unwrap();
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(MS(1));
    }
}

/// Looks a name up on a tasklet; what came of it is counted, or shown.
fn ask(name: &str, done: &Rc<Cell<usize>>) -> Tasklet {
    let (name, done) = (name.to_owned(), done.clone());
    let asks = spawn(move || -> hardswitch::Result<()> {
        assert_eq!(resolve(&name, 7)?, [(HOME, 7).into()]);
        done.set(done.get() + 1);
        Ok(())
    });
    asks.unwrap()
}

#[test]
fn equal_look_ups_are_made_once_and_answered_all() {
    let test = Test::new(small());
    let done = Rc::new(Cell::new(0));
    for _ in 0..500 {
        ask("slow-equal", &done);
    }
    tick_until("the look-up", || test.names.calls() == 1);
    let killed = ask("slow-equal", &done);
    hardswitch::schedule().unwrap();
    killed.kill().unwrap();
    test.names.open();
    run();
    assert_eq!((done.get(), test.names.calls()), (500, 1));
    // Nothing is kept.
    ask("slow-equal", &done);
    run();
    assert_eq!((done.get(), test.names.calls()), (501, 2));
}

#[test]
fn as_many_look_ups_as_there_are_tasklets_wait_for_room() {
    let test = Test::new(small());
    let done = Rc::new(Cell::new(0));
    for i in 0..2000 {
        ask(&format!("name-{i}"), &done);
    }
    run();
    assert_eq!((done.get(), test.names.calls()), (2000, 2000));
}

#[test]
fn the_time_to_connect_includes_the_look_up() {
    let _test = Test::new(small());
    let start = Instant::now();
    let late = TcpStream::connect_host("slow-time", 9, Some(MS(100))).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(matches!(Error::from(late), Error::Timeout));
    assert!(start.elapsed() >= MS(100));
    run();
}

#[cfg(feature = "http")]
#[test]
fn the_time_of_a_client_to_connect_includes_the_look_up_both_ways() {
    use hardswitch::net::http::{Client, HttpError, Timeouts};
    let _test = Test::new(small());
    // The gate is closed: it could wait for ever.
    let get = || {
        let timeouts = Timeouts {
            connect: Some(MS(100)),
            io: None,
        };
        let request = Client::new().get("http://slow-client/").timeouts(timeouts);
        request.send().map(drop).unwrap_err().into_error()
    };
    for error in [get(), offload::call(get).unwrap()] {
        let HttpError::Connect { error, .. } = error else {
            panic!("another error");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    run();
}

#[test]
fn all_addresses_of_a_name_have_one_time() {
    let _test = Test::new(small());
    let silent = Silent::at("0.0.0.0:0".parse().unwrap());
    let port = silent.port;
    let start = Instant::now();
    let late = TcpStream::connect_host("many-20", port, Some(MS(1000))).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= MS(1000));
    assert!(start.elapsed() < MS(15_000), "each had the whole time");
}

#[test]
fn who_gave_up_holds_nobody_up() {
    let test = Test::new(small());
    let given_up = Rc::new(Cell::new(0));
    for i in 0..12 {
        let given_up = given_up.clone();
        spawn(move || {
            let late = TcpStream::connect_host(&format!("slow-{i}"), 9, Some(MS(1000)));
            assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            given_up.set(given_up.get() + 1);
        })
        .unwrap();
    }
    run();
    assert_eq!(given_up.get(), 12);
    // Some are under way still, and end never.
    assert!(test.names.calls() >= 2);
    let done = Rc::new(Cell::new(0));
    ask("quick", &done);
    run();
    assert_eq!(done.get(), 1);
    // What nobody waits for any more was not begun, if it could be helped; or is joined.
    let before = test.names.calls();
    let joined = ask("slow-0", &done);
    tick_until("the look-up", || joined.is_blocked());
    test.names.open();
    run();
    assert_eq!(done.get(), 2);
    assert!(test.names.calls() <= before + 1);
}

#[test]
fn look_ups_and_jobs_of_the_worker_pool_do_not_wait_for_each_other() {
    let test = Test::new(small());
    let pool: &Pool = offload::pool();
    let (gate, done) = (test.names.clone(), Rc::new(Cell::new(0)));
    for _ in 0..pool.settings().threads {
        let gate = gate.clone();
        spawn(move || offload::call(move || drop(gate.look_up("slow")))).unwrap();
    }
    ask("quick", &done);
    tick_until("the look-up", || done.get() == 1);
    test.names.open();
    run();
}

#[test]
fn a_look_up_that_fails_tells_why_to_all() {
    let _test = Test::new(small());
    let why = |name: &'static str| {
        let told = Rc::new(RefCell::new(vec![]));
        for _ in 0..3 {
            let told = told.clone();
            spawn(move || {
                let error = resolve(name, 1).unwrap_err();
                assert!(matches!(error, Error::Io(_)));
                told.borrow_mut().push(error.to_string());
            })
            .unwrap();
        }
        run();
        let told = told.take();
        assert!(told.len() == 3 && told.iter().all(|text| *text == told[0]));
        told[0].clone()
    };
    assert_eq!(why("unknown"), "no such name");
    assert_eq!(why("none"), "none has no address");
    assert_eq!(why("panics"), "the resolver panicked: of panics");
    assert_eq!(why("asks"), "a resolver is to look a name up by itself");
}

#[test]
fn what_is_thrown_at_who_waits_for_a_name_comes_out_as_itself() {
    let test = Test::new(small());
    let told = Rc::new(RefCell::new(None));
    let slot = told.clone();
    let tasklet = spawn(move || {
        let error = TcpStream::connect_host("slow-thrown", 1, Some(Duration::from_secs(60)));
        *slot.borrow_mut() = Some(error.map(drop).unwrap_err());
    })
    .unwrap();
    tick_until("the look-up", || test.names.calls() == 1);
    let lost = io::Error::from_raw_os_error(libc::ECONNRESET);
    tasklet.throw(Error::from(lost)).unwrap();
    run();
    let error = told.take().expect("it ended");
    assert_eq!(error.kind(), ErrorKind::Other, "no error of a connection");
    assert!(
        matches!(Error::from(error), Error::Io(e) if e.raw_os_error() == Some(libc::ECONNRESET))
    );
    // A tasklet that must not block is told so, and nothing is looked up.
    let calls = test.names.calls();
    let trapped = spawn(|| {
        let _trap = hardswitch::block_trap();
        assert!(matches!(resolve("trapped", 1), Err(Error::BlockTrap)));
        assert!(resolve("127.0.0.1", 1).is_ok(), "a number needs no look-up");
    });
    trapped.unwrap();
    run();
    assert_eq!(test.names.calls(), calls);
}

#[test]
fn a_name_leads_to_a_connection() {
    let _test = Test::new(small());
    let listener = TcpListener::bind((HOME, 0).into()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream =
        TcpStream::connect_host("origin.test", port, Some(Duration::from_secs(60))).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), (HOME, port).into());
    let refused = lookup::configure(Settings {
        threads: 0,
        ..small()
    });
    assert!(matches!(refused, Err(Error::Io(e)) if e.kind() == ErrorKind::InvalidInput));
}

/// Listeners that answer nobody: their queues are full.
struct Silent {
    port: u16,
    _listener: std::net::TcpListener,
    _taken: Vec<std::net::TcpStream>,
}

impl Silent {
    fn at(addr: SocketAddr) -> Silent {
        let listener = std::net::TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        // SAFETY: it makes the queue of a listening socket shorter.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let mut taken = vec![];
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, MS(300)) {
            taken.push(stream);
            assert!(taken.len() < 1000, "its queue has no end");
        }
        Silent {
            port: addr.port(),
            _listener: listener,
            _taken: taken,
        }
    }
}

/// The first of two addresses answers nobody; the second one has a listener at the same port.
fn silent_and_good() -> (Silent, std::net::TcpListener) {
    loop {
        let silent = Silent::at((ADDRESS(1), 0).into());
        // Somebody else may have that port.
        if let Ok(good) = std::net::TcpListener::bind((ADDRESS(2), silent.port)) {
            return (silent, good);
        }
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn an_address_that_does_not_answer_costs_a_head_start_and_not_the_whole_time() {
    let _test = Test::new(small());
    let (silent, good) = silent_and_good();
    for poller in [Poller::Epoll, Poller::Poll] {
        let main_loop = MainLoop::current().unwrap();
        main_loop.set_poller(poller);
        main_loop.pump(Some(MS(1))).unwrap();
        let before = open_descriptors();
        let start = Instant::now();
        let limit = Some(Duration::from_secs(120));
        let stream = TcpStream::connect_host("many-2", silent.port, limit).unwrap();
        let took = start.elapsed();
        assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
        assert!(took >= MS(250), "the first one had {took:?}");
        assert!(took < MS(30_000), "connected after {took:?}");
        // The loop's epoll is made at the first wait.
        let epoll = usize::from(poller == Poller::Epoll);
        assert!(
            open_descriptors() <= before + 1 + epoll,
            "the other one is closed"
        );
        assert_eq!(main_loop.waiting(), (0, 0));
    }
}

#[test]
fn addresses_that_fail_are_named_and_cost_no_time() {
    let _test = Test::new(small());
    let gone = TcpListener::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let start = Instant::now();
    let error = TcpStream::connect_host("many-120", port, None).unwrap_err();
    // Head starts would take half a minute.
    assert!(start.elapsed() < MS(15_000));
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let each = error.get_ref().unwrap();
    let each = each.downcast_ref::<ConnectError>().unwrap().failures();
    let tried: Vec<_> = each.iter().map(|(addr, _)| *addr).collect();
    let all: Vec<SocketAddr> = (1..=120).map(|i| (ADDRESS(i), port).into()).collect();
    assert_eq!(tried, all);
    for i in 1..=120 {
        let named = format!("{}:{port}: Connection refused", ADDRESS(i));
        assert!(error.to_string().contains(&named), "{error}");
    }
    // The system's number can be had, as C has it.
    let cause = std::error::Error::source(&error).unwrap();
    let cause = cause.downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.raw_os_error(), Some(libc::ECONNREFUSED));
    // A single address has the system's own error.
    let alone = TcpStream::connect((HOME, port).into()).unwrap_err();
    assert_eq!(alone.raw_os_error(), Some(libc::ECONNREFUSED));
}

#[test]
fn who_is_killed_while_several_addresses_are_tried_leaves_none_of_them() {
    let _test = Test::new(small());
    let silent = Silent::at("0.0.0.0:0".parse().unwrap());
    let port = silent.port;
    for poller in [Poller::Epoll, Poller::Poll] {
        let main_loop = MainLoop::current().unwrap();
        main_loop.set_poller(poller);
        let before = open_descriptors();
        let connects = spawn(move || drop(TcpStream::connect_host("many-20", port, None)));
        let connects = connects.unwrap();
        tick_until("three of them are tried", || main_loop.waiting().0 == 3);
        let epoll = usize::from(poller == Poller::Epoll);
        assert_eq!(open_descriptors(), before + 3 + epoll);
        connects.kill().unwrap();
        assert!(!connects.is_alive());
        assert_eq!(main_loop.waiting(), (0, 0));
        assert_eq!(open_descriptors(), before + epoll);
    }
}

fn keeping(keep: Duration, names: usize) -> Settings {
    Settings {
        keep,
        names,
        ..small()
    }
}

#[test]
fn an_answer_is_kept_for_its_time_and_no_longer() {
    let test = Test::new(keeping(MS(3000), 8));
    let done = Rc::new(Cell::new(0));
    let start = Instant::now();
    for _ in 0..3 {
        ask("kept", &done);
        run();
    }
    // A tasklet that must not block has it too.
    let trapped = spawn(|| {
        let _trap = hardswitch::block_trap();
        resolve("kept", 1).map(drop)
    });
    trapped.unwrap();
    run();
    let calls = test.names.calls();
    assert!(calls == 1 || start.elapsed() > MS(3000), "{calls} calls");
    std::thread::sleep(MS(3000));
    ask("kept", &done);
    run();
    assert_eq!((done.get(), test.names.calls()), (4, calls + 1));
}

#[test]
fn as_many_names_are_kept_as_were_set_and_the_oldest_goes_first() {
    let hour = Duration::from_secs(3600);
    let test = Test::new(keeping(hour, 2));
    let done = Rc::new(Cell::new(0));
    let calls_for = |name: &str| {
        let before = test.names.calls();
        ask(name, &done);
        run();
        test.names.calls() - before
    };
    assert_eq!(["a", "b", "a", "b"].map(calls_for), [1, 1, 0, 0]);
    // Its use makes an answer no younger.
    assert_eq!(["c", "b", "c"].map(calls_for), [1, 0, 0]);
    assert_eq!(["a", "c", "b"].map(calls_for), [1, 0, 1]);
    // Another setting begins anew; no room and no time are "not at all".
    for settings in [keeping(hour, 0), keeping(Duration::ZERO, 2)] {
        lookup::configure(settings).unwrap();
        assert_eq!(["a", "a"].map(calls_for), [1, 1]);
    }
    // A time beyond the range of the clock is no limit.
    lookup::configure(keeping(Duration::MAX, 8)).unwrap();
    assert_eq!(["a", "b", "a", "b"].map(calls_for), [1, 1, 0, 0]);
    lookup::forget(Some("a"));
    assert_eq!(["a", "b"].map(calls_for), [1, 0]);
    lookup::forget(None);
    assert_eq!(["a", "b"].map(calls_for), [1, 1]);
}

#[test]
fn failures_are_not_kept_nor_is_what_leads_nowhere_nor_what_another_resolver_has_said() {
    let hour = Duration::from_secs(3600);
    let test = Test::new(keeping(hour, 8));
    for name in ["unknown", "none", "panics"] {
        let before = test.names.calls();
        for _ in 0..2 {
            assert!(resolve(name, 1).is_err());
        }
        assert_eq!(test.names.calls(), before + 2, "{name}");
    }
    // All its addresses have failed, so it is looked up the next time.
    let gone = TcpListener::bind((HOME, 0).into()).unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let before = test.names.calls();
    for _ in 0..2 {
        assert!(TcpStream::connect_host("moved", port, None).is_err());
    }
    assert_eq!(test.names.calls(), before + 2);
    // A look-up that is under way when another resolver comes.
    let done = Rc::new(Cell::new(0));
    let before = test.names.calls();
    ask("slow-old", &done);
    tick_until("the look-up", || test.names.calls() == before + 1);
    let another = test.names.clone();
    lookup::set_resolver(Some(Arc::new(move |name: &str| another.look_up(name))));
    test.names.open();
    run();
    ask("slow-old", &done);
    run();
    assert_eq!((done.get(), test.names.calls()), (2, before + 2));
}
