//! Binding functions to tasklets.

use super::*;
use std::rc::Weak;

/// Something whose end can be watched.
fn token() -> (Rc<()>, Weak<()>) {
    let token = Rc::new(());
    let watch = Rc::downgrade(&token);
    (token, watch)
}

#[test]
fn a_bound_function_runs_once_it_is_set_up() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.unbound();
        t.bind(move || seen.add("ran")).unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "", "bound is not queued");
        t.setup().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "ran");
    });
}

#[test]
fn a_paused_binding_runs_once_it_is_inserted() {
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        let t = s.unbound();
        t.bind_paused(move || seen.add("ran")).unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "", "paused is not queued");
        t.insert().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "ran");
    });
}

#[test]
fn the_last_binding_counts_and_the_earlier_ones_are_dropped_unrun() {
    fresh(|s| {
        let log = Log::default();
        let t = s.unbound();
        let (first, first_watch) = token();
        let seen = log.clone();
        t.bind(move || {
            let _held = first;
            seen.add("first");
        })
        .unwrap();
        let (second, second_watch) = token();
        let seen = log.clone();
        t.bind_paused(move || {
            let _held = second;
            seen.add("second");
        })
        .unwrap();
        assert!(
            first_watch.upgrade().is_none(),
            "a replaced function is dropped"
        );
        let seen = log.clone();
        t.bind_paused(move || seen.add("third")).unwrap();
        assert!(second_watch.upgrade().is_none());
        t.insert().unwrap();
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "third");
    });
}

#[test]
fn unbinding_forgets_the_function() {
    fresh(|s| {
        for paused in [false, true] {
            let (held, watch) = token();
            let t = s.unbound();
            let f = move || drop(held);
            if paused { t.bind_paused(f) } else { t.bind(f) }.unwrap();
            assert!(watch.upgrade().is_some());
            t.unbind().unwrap();
            assert!(watch.upgrade().is_none());
            assert_eq!(told(t.setup()), "the tasklet was not bound to a function");
            assert_eq!(told(t.unbind()), "ok", "once more does no harm");
        }
    });
}

#[test]
fn the_main_tasklet_cannot_be_unbound_from_anywhere() {
    fresh(|s| {
        assert_eq!(
            told(hardswitch::main_tasklet().unbind()),
            "can't (re)bind the current tasklet"
        );
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || seen.add(told(hardswitch::main_tasklet().unbind())));
        hardswitch::schedule().unwrap();
        assert_eq!(log.take(), "tasklet is scheduled");
        let seen = log.clone();
        s.spawn(move || seen.add(hardswitch::main_tasklet().unbind().is_err()));
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "true", "while it waits in run");
    });
}

#[test]
fn set_up_twice_is_refused() {
    fresh(|s| {
        let t = s.bound(|| ());
        t.setup().unwrap();
        refused("setup", "tasklet is alive", &[&t], &[], || t.setup());
        hardswitch::run().unwrap();
    });
}

#[test]
fn a_tasklet_keeps_the_name_it_was_given() {
    fresh(|s| {
        let t = s.builder().name("worker").spawn(|| ()).unwrap();
        assert_eq!(t.name().as_deref(), Some("worker"));
        hardswitch::run().unwrap();
        assert_eq!(t.name().as_deref(), Some("worker"));
    });
}

#[test]
fn ids_tell_living_tasklets_apart() {
    fresh(|s| {
        let t: Vec<_> = (0..4).map(|_| s.spawn(|| ())).collect();
        let mut ids: Vec<_> = t
            .iter()
            .map(Tasklet::id)
            .chain([hardswitch::main_tasklet().id()])
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 5);
        hardswitch::run().unwrap();
    });
}
