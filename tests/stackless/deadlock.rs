//! When nobody is left to run.

use super::*;

#[test]
fn main_alone_cannot_block() {
    fresh(|_| {
        let c: Channel<i64> = Channel::new();
        assert_eq!(told(c.receive()), DEADLOCK);
        assert_eq!(told(c.send(1)), DEADLOCK);
        assert!(matches!(c.receive(), Err(Error::Deadlock)));
    });
}

#[test]
fn main_is_told_when_the_last_tasklet_ends_while_it_receives() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        s.spawn(|| ());
        s.spawn(hardswitch::schedule);
        assert_eq!(told(c.receive()), RECEIVING);
        assert_eq!(c.balance(), 0);
        s.spawn(|| ());
        assert!(matches!(c.receive(), Err(Error::MainReceiving)));
    });
}

#[test]
fn main_is_told_when_the_last_tasklet_ends_while_it_sends() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        s.spawn(|| ());
        assert_eq!(told(c.send(1)), SENDING);
        assert_eq!(c.balance(), 0);
        s.spawn(|| ());
        assert!(matches!(c.send(1), Err(Error::MainSending)));
    });
}

#[test]
fn an_uncaught_error_reaches_a_blocked_main() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        s.spawn(|| Err::<(), _>(oops(1)));
        let rest = s.spawn(|| ());
        assert_eq!(told(c.receive()), "oops 1");
        assert_eq!(c.balance(), 0);
        assert!(rest.is_scheduled(), "the others stay queued");
        hardswitch::run().unwrap();
    });
}

#[test]
fn the_blocker_is_told_while_main_is_blocked_and_goes_on() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            let mine: Channel<i64> = Channel::new();
            seen.add(told(mine.receive()));
            chan.send(5)
        });
        assert_eq!(c.receive().unwrap(), 5);
        assert_eq!(log.take(), DEADLOCK);
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_deadlock_the_blocker_lets_pass_moves_to_main() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        s.spawn(|| Channel::<i64>::new().receive().map(drop));
        assert_eq!(told(c.receive()), DEADLOCK);
        assert_eq!(c.balance(), 0);
    });
}

#[test]
fn an_error_is_passed_on_where_there_is_no_deadlock() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let chan = c.clone();
        let other = s.spawn(move || chan.receive().map(drop));
        s.spawn(|| Err::<(), _>(oops(2)));
        assert_eq!(told(hardswitch::run()), "oops 2");
        assert!(other.is_blocked());
        other.kill().unwrap();
    });
}

#[test]
fn a_running_main_is_woken_instead_of_a_deadlock() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let chan = c.clone();
        let t = s.spawn(move || chan.receive().map(drop));
        hardswitch::run().unwrap();
        assert!(t.is_blocked(), "run returns with a blocked tasklet");
        assert_eq!((c.balance(), hardswitch::run_count()), (-1, 1));
        t.kill().unwrap();
    });
}

#[test]
fn a_paused_main_is_woken_when_the_ring_empties() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || {
            seen.add(told(hardswitch::main_tasklet().remove()));
        });
        hardswitch::schedule().unwrap();
        assert_eq!(log.take(), "ok");
        s.spawn(|| ());
        hardswitch::schedule_remove().unwrap();
        assert_eq!(hardswitch::run_count(), 1, "and it is in the ring again");
    });
}

#[test]
fn a_tasklet_that_blocks_with_an_error_to_send_gives_a_copy_to_the_run_it_ends() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let chan = c.clone();
        let t = s.spawn(move || chan.send_throw(oops(6)));
        assert_eq!(told(hardswitch::run()), "oops 6");
        assert!(t.is_blocked(), "it still waits for a receiver");
        assert_eq!(told(c.receive()), "oops 6");
        hardswitch::run().unwrap();
        assert!(!t.is_alive());
    });
}

#[test]
fn a_refused_blocker_leaves_main_able_to_be_served() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            let nobody: Channel<i64> = Channel::new();
            for _ in 0..3 {
                seen.add(told(nobody.send(1)));
            }
            seen.add(chan.balance());
            chan.send(8)
        });
        assert_eq!(c.receive().unwrap(), 8);
        assert_eq!(log.take(), format!("{DEADLOCK} {DEADLOCK} {DEADLOCK} -1"));
        hardswitch::run().unwrap();
    });
}

#[test]
fn main_alone_cannot_block_after_its_children_have_ended_either() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        for _ in 0..3 {
            s.spawn(|| ());
        }
        hardswitch::run().unwrap();
        assert_eq!(told(c.receive()), DEADLOCK);
        assert_eq!(told(c.send(1)), DEADLOCK);
        assert_eq!(c.balance(), 0);
    });
}

#[test]
fn a_value_main_was_sending_is_lost_to_a_deadlock_and_its_receiver_is_told() {
    fresh(|s| {
        let c: Channel<i64> = Channel::new();
        let log = Log::default();
        let (chan, seen) = (c.clone(), log.clone());
        s.spawn(move || {
            seen.add(told(Channel::<i64>::new().receive()));
            match chan.receive() {
                Err(Error::ValueLost) => seen.add("lost"),
                other => seen.add(format!("{other:?}")),
            }
        });
        assert_eq!(told(c.send(32)), "ok");
        hardswitch::run().unwrap();
        assert_eq!(log.take(), format!("{DEADLOCK} lost"));
    });
}
