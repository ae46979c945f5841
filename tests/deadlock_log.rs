//! A deadlock tells the log who waits where.
#![cfg(feature = "std")]

use std::sync::Mutex;

use hardswitch::{Channel, Error, Tasklet};
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Keep(Mutex<Vec<String>>);

impl Log for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "hardswitch::deadlock" && metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            assert_eq!(record.level(), Level::Debug);
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

static LOG: Keep = Keep(Mutex::new(Vec::new()));

/// What is logged by a deadlock, when the log is at this level.
fn logged(level: LevelFilter) -> Vec<String> {
    log::set_max_level(level);
    let channel = Channel::<u32>::new();
    let of_it = channel.clone();
    let waits = move || {
        of_it.receive()?;
        Ok(())
    };
    let waiting = Tasklet::builder().name("waiting").spawn(waits).unwrap();
    hardswitch::run().unwrap();
    let result = channel.receive();
    assert!(matches!(result, Err(Error::Deadlock)), "{result:?}");
    waiting.kill().unwrap();
    std::mem::take(&mut *LOG.0.lock().unwrap())
}

#[test]
fn a_deadlock_lists_the_tasklets_when_the_log_asks_for_it() {
    log::set_logger(&LOG).unwrap();
    assert_eq!(logged(LevelFilter::Info), [""; 0]);

    let texts = logged(LevelFilter::Debug);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("Deadlock: "), "{}", texts[0]);
    assert!(
        texts[0].contains("\"waiting\" blocked: receives on channel"),
        "{}",
        texts[0]
    );
    assert!(!texts[0].contains("hsw_asm_start"), "{}", texts[0]);

    let texts = logged(LevelFilter::Trace);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("hsw_asm_start"), "{}", texts[0]);
}
