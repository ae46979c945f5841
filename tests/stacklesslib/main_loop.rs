//! Running tasklets from the loop: until they block, or for as long as the frame allows.

use crate::common::{fresh, Log};
use hardswitch::{schedule, sleep, MainLoop};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_cooperative_run_gives_everybody_turns_until_they_wait() {
    fresh(|s| {
        let log = Log::default();
        for name in ["a", "b"] {
            let logs = log.clone();
            s.spawn(move || {
                for _ in 0..2 {
                    logs.add(name);
                    schedule()?;
                }
                sleep(MS)
            });
        }
        let main_loop = MainLoop::current().unwrap();
        main_loop.tick().unwrap();
        assert_eq!(log.take(), "a b a b", "one tick, until nobody can run");
        assert_eq!(main_loop.waiting().1, 2);
        main_loop.run_until_idle().unwrap();
        assert_eq!(main_loop.waiting().1, 0);
    });
}

#[test]
fn a_run_with_a_time_comes_back_though_somebody_never_waits() {
    fresh(|s| {
        let (stop, turns) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        for _ in 0..2 {
            let (stop, turns) = (stop.clone(), turns.clone());
            s.spawn(move || {
                while !stop.get() {
                    turns.set(turns.get() + 1);
                    schedule()?;
                }
                Ok(())
            });
        }
        let main_loop = MainLoop::current().unwrap();
        for _ in 0..3 {
            let before = turns.get();
            assert!(!main_loop.tick_for(2 * MS).unwrap());
            assert!(turns.get() > before, "each tick gets on");
        }
        stop.set(true);
        assert!(main_loop.tick_for(1000 * MS).unwrap());
    });
}
