//! What the targets in `src/bin` share: a generator of numbers, the command line, and the loop over
//! seeds. A run is repeated by its seed: `cargo run --release -p fuzz --bin TARGET -- --seed N --runs 1`.

pub mod hsw;

pub mod http;
pub mod origin;
pub mod shim;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A generator of pseudo-random numbers (SplitMix64): equal seeds give equal numbers on every target.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of the items, of which there must be some.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// The command line of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// The first run's seed; the next runs count up from it.
    pub seed: u64,
    /// How long to go on. A run that has begun is finished.
    pub time: Option<Duration>,
    /// How many runs to make.
    pub runs: Option<u64>,
    /// Has each run the first one's seed?
    pub same: bool,
    /// How long one run may take before it counts as hanging.
    pub patience: Duration,
}

const USAGE: &str = "options: [--seed N] [--seconds N] [--runs N] [--same] [--patience SECONDS]
  --seed N       the first run's seed (default: by the clock); the next runs count up from it
  --seconds N    go on for so long (default: 60, unless --runs is given)
  --runs N       make so many runs
  --same         each run has the first one's seed
  --patience N   a run that takes longer hangs (default: 60 seconds)";

impl Arguments {
    /// The command line's; ends the process where it is wrong.
    pub fn parse() -> Self {
        Self::from(std::env::args().skip(1)).unwrap_or_else(|wrong| {
            eprintln!("{wrong}\n{USAGE}");
            std::process::exit(2)
        })
    }

    fn from(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut arguments = Arguments {
            // Short enough to be typed again.
            seed: clock.map_or(1, |t| t.as_nanos() as u64 >> 10) % 1_000_000_000,
            time: None,
            runs: None,
            same: false,
            patience: Duration::from_secs(60),
        };
        let mut words = words.into_iter();
        while let Some(option) = words.next() {
            if option == "--same" {
                arguments.same = true;
                continue;
            }
            let mut value = || {
                let word = words.next().ok_or(format!("{option} needs a number"))?;
                word.parse::<u64>()
                    .map_err(|_| format!("{option} takes a number, not '{word}'"))
            };
            match option.as_str() {
                "--seed" => arguments.seed = value()?,
                "--seconds" => arguments.time = Some(Duration::from_secs(value()?)),
                "--runs" => arguments.runs = Some(value()?),
                "--patience" => arguments.patience = Duration::from_secs(value()?),
                _ => return Err(format!("unknown option {option}")),
            }
        }
        if arguments.time.is_none() && arguments.runs.is_none() {
            arguments.time = Some(Duration::from_secs(60));
        }
        Ok(arguments)
    }
}

static SEED: AtomicU64 = AtomicU64::new(0);
/// Milliseconds since the process began at which the present run hangs; 0: no run.
static HANGS_AT: AtomicU64 = AtomicU64::new(0);

/// Calls `run` with a seed after the other, as the command line says. A run fails by a panic, by a
/// signal, or by taking too long; its seed is printed then, and the process ends with an error. Answers how many runs
/// there were.
pub fn for_each_seed(target: &str, arguments: &Arguments, mut run: impl FnMut(u64)) -> u64 {
    let began = Instant::now();
    let now = move || began.elapsed().as_millis() as u64;
    print_seed_on_signals();
    let patience = arguments.patience.as_millis() as u64;
    let watch = move || loop {
        std::thread::sleep(Duration::from_millis(100));
        let hangs_at = HANGS_AT.load(SeqCst);
        if hangs_at != 0 && now() > hangs_at {
            eprintln!(
                "broken promise: seed {} takes longer than {} s",
                SEED.load(SeqCst),
                patience / 1000
            );
            // A core, or a debugger that waits for the signal, has all stacks.
            std::process::abort();
        }
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)
        .expect("a thread");

    println!("{target}: seeds from {}", arguments.seed);
    let mut runs = 0;
    while arguments.runs.is_none_or(|most| runs < most)
        && arguments.time.is_none_or(|most| began.elapsed() < most)
    {
        let further = if arguments.same { 0 } else { runs };
        let seed = arguments.seed.wrapping_add(further);
        SEED.store(seed, SeqCst);
        HANGS_AT.store(now() + patience, SeqCst);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        HANGS_AT.store(0, SeqCst);
        if done.is_err() {
            eprintln!("broken promise: seed {seed} fails (the panic above)");
            std::process::exit(1);
        }
        runs += 1;
    }
    println!(
        "{target}: {runs} runs without a finding, in {} s",
        began.elapsed().as_secs()
    );
    runs
}

fn print_seed_on_signals() {
    extern "C" fn say_and_die(signal: libc::c_int) {
        let mut line = *b"broken promise: a signal, at seed 00000000000000000000\n";
        let mut rest = SEED.load(SeqCst);
        for digit in line[34..54].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        // SAFETY: all of these may be called by a signal handler.
        unsafe {
            libc::write(2, line.as_ptr().cast(), line.len());
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGABRT] {
        // SAFETY: a handler that does what a handler may, on the alternate stack that std gives each thread.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = say_and_die as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        Arguments::from(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn equal_seeds_give_equal_numbers() {
        // The first numbers of the published algorithm for seed 0.
        let mut rng = Rng::new(0);
        assert_eq!(rng.number(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.number(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn an_option_without_its_number_or_one_that_is_unknown_is_named() {
        assert!(parsed("--seed").unwrap_err().contains("--seed"));
        assert!(parsed("--runs x").unwrap_err().contains("'x'"));
        assert!(parsed("--sed 1").unwrap_err().contains("--sed"));
    }

    #[test]
    fn without_a_limit_a_target_goes_on_for_a_minute() {
        assert_eq!(parsed("").unwrap().time, Some(Duration::from_secs(60)));
        assert_eq!(parsed("--runs 3").unwrap().time, None);
    }

    #[test]
    fn runs_of_the_same_seed_are_asked_for_by_a_word_without_a_number() {
        let asked = parsed("--same --seed 7").unwrap();
        assert!(asked.same && asked.seed == 7);
        assert!(!parsed("--seed 7").unwrap().same);
    }
}
