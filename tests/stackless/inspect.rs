//! What can be seen of tasklets: the value they wait with, their stacks, all of them, and those
//! that refuse to end.

use super::*;
use hardswitch::Value;
use std::cell::Cell;

#[test]
fn the_value_a_paused_tasklet_will_return_can_be_replaced_by_anybody() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            let v = hardswitch::schedule_remove_with(Value::new("rv".to_string()))?;
            seen.add(v.downcast::<String>().expect("a String"));
            Ok::<_, Error>(())
        });
        hardswitch::run().unwrap();
        let old = t.set_tempval(Value::new("changed".to_string()));
        assert_eq!(old.downcast::<String>().ok().as_deref(), Some("rv"));
        t.insert().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "changed");
    });
}

#[test]
fn a_channel_can_be_built_from_schedule_remove_and_the_tempval() {
    #[derive(Clone, Default)]
    struct Made(Rc<RefCell<Vec<Tasklet>>>);
    impl Made {
        fn receive(&self) -> Result<i64, Error> {
            self.0.borrow_mut().push(hardswitch::current());
            let v = hardswitch::schedule_remove_with(Value::new(-1i64))?;
            Ok(v.downcast::<i64>().expect("an i64"))
        }
        fn send(&self, v: i64) -> Result<(), Error> {
            let t = self.0.borrow_mut().remove(0);
            t.set_tempval(Value::new(v));
            t.run()
        }
    }
    fresh(|s| {
        let (made, log) = (Made::default(), Log::default());
        for i in 0..2 {
            let (made, log) = (made.clone(), log.clone());
            s.spawn(move || made.receive().map(|v| log.add(format!("{i}:{v}"))));
        }
        hardswitch::run().unwrap();
        made.send(10).unwrap();
        made.send(20).unwrap();
        assert_eq!(log.take(), "0:10 1:20");
        assert_eq!(hardswitch::run_count(), 1);
    });
}

#[test]
fn a_value_can_be_seen_while_its_sender_waits() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 42);
        let waiting = t.take_tempval().downcast::<i64>().ok();
        assert_eq!(waiting, Some(42));
        t.set_tempval(Value::new(43i64));
        assert_eq!(c.receive().unwrap(), 43, "and be replaced");
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_value_of_the_wrong_type_is_told() {
    fresh(|s| {
        let c = Channel::new();
        let t = s.sender(&c, 42);
        t.set_tempval(Value::new("not an i64".to_string()));
        assert!(matches!(c.receive(), Err(Error::WrongType)));
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn all_tasklets_are_listed() {
    fresh(|s| {
        let main = hardswitch::main_tasklet();
        assert_eq!(hardswitch::tasklets(), std::slice::from_ref(&main));
        let c = Channel::new();
        let mut made = vec![
            s.receiver(&c),
            s.started(),
            s.paused(|| ()),
            s.bound(|| ()),
            s.spawn(|| ()),
        ];
        let mut all = hardswitch::tasklets();
        assert_eq!(all.len(), 6);
        assert_eq!(hardswitch::stats().tasklets, 6);
        all.retain(|t| !made.contains(t));
        assert_eq!(all, [main]);
        made.iter().for_each(|t| t.kill().unwrap());
        made.clear();
        assert_eq!(hardswitch::stats().tasklets, 1, "gone with the last handle");
    });
}

#[test]
fn switches_are_counted() {
    fresh(|s| {
        let t = s.spawn(|| (0..4).try_for_each(|_| hardswitch::schedule()));
        assert_eq!(t.stats().switches, 0);
        let before = hardswitch::stats().switches;
        hardswitch::schedule().unwrap();
        assert_eq!(t.stats().switches, 1);
        assert_eq!(hardswitch::stats().switches - before, 2, "there and back");
        let u = s.spawn(hardswitch::schedule);
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
        assert_eq!(u.stats().switches, 2);
    });
}

#[test]
fn a_parked_tasklet_has_stack_and_an_ended_one_has_none() {
    fresh(|s| {
        assert_eq!(s.unbound().stats().stack_bytes, 0);
        let t = s.started();
        assert!(t.stats().stack_bytes > 0);
        let big = s.spawn(|| {
            let frame = std::hint::black_box([1u8; 8000]);
            let r = hardswitch::schedule_remove();
            assert_eq!(std::hint::black_box(frame)[7999], 1);
            r
        });
        big.run().unwrap();
        assert!(
            big.stats().stack_bytes >= 8000,
            "{} bytes",
            big.stats().stack_bytes
        );
        let log = Log::default();
        let seen = log.clone();
        let running = s.spawn(move || seen.add(hardswitch::current().stats().stack_bytes));
        running.run().unwrap();
        assert_eq!(log.take(), "0", "while it runs its bytes are the stack's");
        for t in [&t, &big, &running] {
            t.kill().unwrap();
            let stats = t.stats();
            assert_eq!((stats.stack_bytes, stats.slice_bytes), (0, 0));
        }
    });
}

#[test]
#[cfg_attr(feature = "asan", ignore = "what it refuses to give back is a leak")]
fn a_forgotten_tasklet_that_refuses_to_end_becomes_a_zombie() {
    fresh(|s| {
        let kills = Rc::new(Cell::new(0));
        let count = kills.clone();
        let t = s.spawn(move || loop {
            if let Err(e) = hardswitch::schedule_remove() {
                assert!(e.is_exit());
                count.set(count.get() + 1);
            }
        } as Result<(), Error>);
        t.run().unwrap();
        assert!(t.is_paused());
        drop(t);
        assert_eq!(kills.get(), 10, "it is told ten times");
        assert_eq!(hardswitch::stats().zombies, 1);
        let zombie = hardswitch::tasklets()
            .into_iter()
            .find(Tasklet::is_zombie)
            .expect("it is still listed");
        assert!(zombie.is_alive() && zombie.is_paused());
        drop(zombie);
        assert_eq!(kills.get(), 10, "and then left alone");
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_forgotten_tasklet_that_gives_in_late_is_no_zombie() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.spawn(move || {
            for i in 0..3 {
                seen.add(format!("{i} {}", told(hardswitch::schedule_remove())));
            }
        });
        t.run().unwrap();
        drop(t);
        assert_eq!(log.take(), "0 TaskletExit 1 TaskletExit 2 TaskletExit");
        assert_eq!(
            (hardswitch::stats().zombies, hardswitch::stats().tasklets),
            (0, 1)
        );
    });
}

#[test]
#[cfg_attr(
    any(feature = "asan", feature = "tsan"),
    ignore = "there are no slices"
)]
fn a_tasklet_knows_what_kind_of_stack_it_has() {
    fresh(|s| {
        assert_eq!(s.unbound().is_sliced(), matches!(s, Stacks::Window));
        assert!(!hardswitch::main_tasklet().is_sliced());
    });
}
