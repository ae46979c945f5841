//! Thousands of downloads from servers that fail in every way, by tasklets and by workers, resumed
//! until they are whole. Each ends with the content of a version of its file, or with the error that
//! there is no way around, within its time; no descriptor and no tasklet is left.
//!
//! **Files.** The content of a file is known by its number and its version; so is what its server
//! does to it ([`plan`]). Most files are to be had: after a few faults there are good answers, so
//! their downloads must become whole. Others never are, and have an error of their own ([`Fate`]).
//!
//! **Faults.** The connection is reset or ended at a random byte, of the head as well; the server
//! falls silent, sends a byte at a time, lies about lengths and parts, sends what is not HTTP, a 503,
//! a 416 or the whole file to who asks for a part, sends no validator or a weak one, or has another
//! version of the file since the last request. Servers also go away, with all their connections, and
//! come back. Names are looked up slowly, or not at once.
//!
//! Some seconds; `HSW_DOWNLOADS` says how many downloads there are, and `HSW_DOWNLOADS_SEED` which.
#![cfg(feature = "http")]

#[path = "../common/mod.rs"]
mod common;
mod nginx;
mod origin;

use common::Random;
use hardswitch::net::http::{Changed, Client, ClientSettings, HttpError, Limits, Timeouts};
use hardswitch::net::lookup;
use hardswitch::{offload, MainLoop, Tasklet};
use origin::Origin;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const NATIVE: bool = cfg!(target_arch = "x86_64");
/// How many downloads run at once by tasklets, and by workers.
const TASKLETS: usize = 48;
const WORKERS: usize = 8;
/// The time for the whole of an attempt at a file that never ends, and of any other one.
const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(120);

/// Held by the test that runs: descriptors are the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// What becomes of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    /// It is had, after so many requests that may meet a fault.
    Whole(u64),
    /// There is none.
    Missing,
    /// Its server falls silent each time.
    Silent,
    /// It comes a byte at a time.
    Drips,
    /// Its end never comes.
    Cut,
    /// Nobody knows the name of its server.
    Unknown,
    /// It is at another place, which is at another place.
    Circle,
    /// There is another version each time, and its downloader does not begin anew.
    Restless,
    /// Its head has no end.
    Endless,
}

/// What is done to a file, by its number.
struct Plan {
    fate: Fate,
    size: usize,
}

fn plan(seed: u64, file: u64) -> Plan {
    let mut rng = Random(mixed(seed, file, 0) | 1);
    let whole = Fate::Whole(rng.below(7));
    let fate = match rng.below(40) {
        0 => Fate::Missing,
        1 => Fate::Silent,
        2 => Fate::Drips,
        3 => Fate::Cut,
        4 => Fate::Unknown,
        5 => Fate::Circle,
        6 => Fate::Restless,
        7 => Fate::Endless,
        _ => whole,
    };
    let most = [10, 1000, 50_000, 300_000][rng.below(4) as usize];
    let size = 2 + rng.below(most) as usize;
    Plan { fate, size }
}

/// A number that depends on all of these.
fn mixed(a: u64, b: u64, c: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ c.rotate_left(32);
    for _ in 0..2 {
        x = (x ^ (x >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    x ^ (x >> 32)
}

/// The bytes of a version of a file.
fn content(file: u64, version: u64, size: usize) -> Vec<u8> {
    let words = (0..size.div_ceil(8) as u64).map(|word| mixed(file, version, word));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(size);
    bytes
}

/// How a download ended, and what it has met.
#[derive(Default)]
struct Report {
    attempts: u64,
    /// Bytes that were there already when an attempt went on, and how often one began anew.
    resumed: u64,
    anew: u64,
    /// Errors on the way, by their kind.
    met: BTreeMap<&'static str, u64>,
    /// The longest time that an attempt took beyond its own.
    over: Duration,
}

fn kind(error: &HttpError) -> &'static str {
    match error {
        HttpError::Connect { .. } => "no connection",
        HttpError::Io(error) if error.kind() == ErrorKind::TimedOut => "a wait's time was up",
        HttpError::Io(_) => "the connection was lost",
        HttpError::ShortHead => "short head",
        HttpError::ShortBody { .. } => "short body",
        HttpError::HeadTooLong(_) => "too long a head",
        HttpError::TooSlow(_) => "the whole time was up",
        HttpError::BadAnswer(_) | HttpError::Protocol(_) => "a broken answer",
        HttpError::Status { status: 404, .. } => "404",
        HttpError::Status { status: 503, .. } => "503",
        HttpError::TooManyRedirects(_) => "redirects",
        HttpError::Changed => "the file has changed",
        other => panic!("no server here does this: {other}"),
    }
}

/// The error that there is no way around.
fn is_final(fate: Fate, error: &HttpError) -> bool {
    match fate {
        Fate::Whole(_) => false,
        Fate::Missing => kind(error) == "404",
        Fate::Silent | Fate::Drips => kind(error) == "the whole time was up",
        Fate::Cut => kind(error) == "short body",
        Fate::Unknown => {
            matches!(error, HttpError::Connect { error, .. } if error.kind() == ErrorKind::NotFound)
        }
        Fate::Circle => kind(error) == "redirects",
        Fate::Restless => kind(error) == "the file has changed",
        Fate::Endless => kind(error) == "too long a head",
    }
}

/// Loads a file, however often it takes.
fn load(client: &Client, seed: u64, file: u64, ports: &[u16]) -> Report {
    let Plan { fate, size, .. } = plan(seed, file);
    let host = match fate {
        Fate::Unknown => "nobody.test".to_owned(),
        _ => format!("origin-{}.test", file % 16),
    };
    let port = ports[(file % ports.len() as u64) as usize];
    let url = format!("http://{host}:{port}/{file}");
    let (mut report, mut bytes, mut validator) = (Report::default(), Vec::new(), None);
    loop {
        report.attempts += 1;
        assert!(report.attempts < 1000, "{url}, {fate:?}: {:?}", report.met);
        let total = match fate {
            Fate::Silent | Fate::Drips => SOON,
            _ => LATE,
        };
        // Longer each time: the machine may be slower than the server.
        let patience = Duration::from_millis(50) * (1 << report.attempts.min(9));
        let io = (total == LATE).then_some(patience);
        let limits = Limits {
            total: Some(total),
            ..Limits::default()
        };
        let mut download = client.download(&url).limits(limits).timeouts(Timeouts {
            connect: Some(LATE),
            io,
        });
        if let Some(validator) = validator.take() {
            download = download.resume_from(bytes.len() as u64, validator);
        }
        if fate != Fate::Restless {
            download = download.if_changed(Changed::StartAnew);
        }
        let start = Instant::now();
        let mut tag = None;
        let done = download.send().and_then(|mut resumed| {
            let from = usize::try_from(resumed.start()).unwrap();
            assert!(from <= bytes.len(), "{url}: a hole in the file");
            report.resumed += from as u64;
            report.anew += u64::from(from < bytes.len());
            bytes.truncate(from);
            tag = resumed.answer().header("etag").map(str::to_owned);
            validator = resumed.validator();
            resumed.copy_to(&mut bytes, |_, _| {})
        });
        report.over = report.over.max(start.elapsed().saturating_sub(total));
        match done {
            Ok(length) => {
                assert!(matches!(fate, Fate::Whole(_)), "{url}: {fate:?} is whole");
                assert_eq!(length, bytes.len() as u64, "{url}");
                let version = origin::version(tag.as_deref());
                let is_so = version.map(|version| bytes == content(file, version, size));
                assert_eq!(is_so, Some(true), "{url}: another content: {tag:?}");
                return report;
            }
            Err(error) => {
                let error = error.into_error();
                *report.met.entry(kind(&error)).or_default() += 1;
                if is_final(fate, &error) {
                    if total == SOON {
                        assert!(start.elapsed() >= SOON, "{url}: given up too early");
                    }
                    return report;
                }
            }
        }
    }
}

/// Answers late, and not always.
fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    if name == "nobody.test" {
        return Err(ErrorKind::NotFound.into());
    }
    let drawn = mixed(1, CALLS.fetch_add(1, Ordering::SeqCst), 0);
    thread::sleep(Duration::from_millis(drawn % 20));
    match drawn % 16 {
        0 => Err(io::Error::other("try again")),
        _ => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
    }
}

/// The pool has one size, whichever test makes it.
fn set_workers() {
    let workers = offload::Settings {
        threads: WORKERS,
        ..offload::Settings::default()
    };
    // The other test may have set them.
    let _ = offload::configure(workers);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// Loads these files, all at once in a few tasklets, of which some leave the loading to workers.
fn campaign(seed: u64, files: std::ops::Range<u64>) -> Vec<(Fate, Report)> {
    let origins: Vec<Origin> = (0..3).map(|_| Origin::new(seed)).collect();
    let ports: Arc<[u16]> = origins.iter().map(Origin::port).collect();
    let client = Client::with_settings(ClientSettings {
        redirects: 4,
        ..ClientSettings::default()
    });
    let next = Rc::new(Cell::new(files.start));
    let reports = Rc::new(RefCell::new(Vec::new()));
    for i in 0..TASKLETS + WORKERS {
        let (client, ports, next) = (client.clone(), ports.clone(), next.clone());
        let (reports, last) = (reports.clone(), files.end);
        // Room for a request where nothing is optimised (docs/stacks.md).
        let roomy = Tasklet::builder().stack_size(256 * 1024);
        let loads = move || {
            while next.get() < last {
                let file = next.replace(next.get() + 1);
                let (to, client) = (ports.clone(), client.clone());
                let loads = move || load(&client, seed, file, &to);
                let report = match i < TASKLETS {
                    true => loads(),
                    false => offload::call(loads).expect("the job itself is fine"),
                };
                reports.borrow_mut().push((plan(seed, file).fate, report));
            }
        };
        roomy.spawn(loads).unwrap();
    }
    // What a tasklet asserts and is not so comes out here.
    MainLoop::current().unwrap().run_until_idle().unwrap();
    reports.take()
}

#[test]
fn each_download_is_whole_or_has_its_error_in_time_and_nothing_is_left() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let most = setting("HSW_DOWNLOADS", if NATIVE { 600 } else { 60 });
    let seed = setting("HSW_DOWNLOADS_SEED", 1);
    set_workers();
    lookup::set_resolver(Some(Arc::new(look_up)));
    // What is made once, and stays.
    campaign(seed, 0..10);
    let (descriptors, tasklets) = (open_descriptors(), hardswitch::stats().tasklets);
    let start = Instant::now();
    let reports = campaign(seed, 10..10 + most);
    let took = start.elapsed();
    assert_eq!(reports.len() as u64, most);
    assert_eq!(MainLoop::current().unwrap().waiting(), (0, 0));
    assert_eq!(hardswitch::stats().tasklets, tasklets);
    // Workers may be about to close the last one.
    common::eventually("all descriptors are closed", || {
        open_descriptors() == descriptors
    });
    let sum = |of: fn(&Report) -> u64| reports.iter().map(|(_, report)| of(report)).sum::<u64>();
    let (mut fates, mut met) = (BTreeMap::new(), BTreeMap::new());
    for (fate, report) in &reports {
        let name = match fate {
            Fate::Whole(_) => "whole".to_owned(),
            fate => format!("{fate:?}").to_lowercase(),
        };
        *fates.entry(name).or_insert(0) += 1;
        for (kind, times) in &report.met {
            *met.entry(*kind).or_insert(0) += times;
        }
    }
    let over = reports.iter().map(|(_, report)| report.over).max().unwrap();
    println!("{most} downloads in {} s: {fates:?}", took.as_secs());
    println!(
        "{} attempts; {} began anew, {} bytes were not loaded again; the latest was {over:?} late",
        sum(|report| report.attempts),
        sum(|report| report.anew),
        sum(|report| report.resumed),
    );
    println!("errors on the way: {met:?}");
    // A machine may be busy, but not for so long.
    assert!(over < Duration::from_secs(60), "{over:?} late");
}
