//! The words in which errors are told, and what can be asked of them.

use super::*;

#[test]
fn every_message_is_the_one_stackless_users_know() {
    use hardswitch::StateError::*;
    for (error, message) in [
        (Error::Closed, "Send/receive operation on a closed channel"),
        (
            Error::Deadlock,
            "Deadlock: the last runnable tasklet cannot be blocked.",
        ),
        (
            Error::MainReceiving,
            "the main tasklet is receiving without a sender available.",
        ),
        (
            Error::MainSending,
            "the main tasklet is sending without a receiver available.",
        ),
        (
            Error::BlockTrap,
            "this tasklet does not like to be blocked.",
        ),
        (Error::SwitchTrap, "switch_trap"),
        (Error::State(Alive), "tasklet is alive"),
        (
            Error::State(NotBound),
            "the tasklet was not bound to a function",
        ),
        (
            Error::State(BindCurrent),
            "can't (re)bind the current tasklet",
        ),
        (Error::State(Scheduled), "tasklet is scheduled"),
        (Error::State(StackInUse), "tasklet has C state on its stack"),
        (Error::State(RunBlocked), "You cannot run a blocked tasklet"),
        (
            Error::State(RunDead),
            "You cannot run an unbound(dead) tasklet",
        ),
        (
            Error::State(RemoveBlocked),
            "You cannot remove a blocked tasklet.",
        ),
        (
            Error::State(RemoveCurrent),
            "The current tasklet cannot be removed.",
        ),
        (
            Error::State(ThrowDead),
            "You cannot throw to a dead tasklet",
        ),
        (Error::State(NoThread), "tasklet has no thread"),
        (
            Error::State(ThreadNotInitialized),
            "Target thread isn't initialized",
        ),
        (
            Error::State(RecursiveSchedule),
            "Recursive scheduler call due to callbacks!",
        ),
        (
            Error::State(RecursiveChannel),
            "Recursive channel call due to callbacks!",
        ),
        (
            Error::State(OtherThread),
            "can't switch to a different thread.",
        ),
        (
            Error::State(BindRunnable),
            "can't (re)bind a runnable tasklet",
        ),
        (Error::State(ThreadNotFound), "Thread id not found"),
    ] {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn an_exception_tells_the_message_of_what_it_carries() {
    let inner = std::io::Error::other("the disc is scratched");
    let e = Error::exception(inner);
    assert_eq!(e.to_string(), "the disc is scratched");
    match &e {
        Error::Thrown(thrown) => assert!(thrown.downcast_ref::<std::io::Error>().is_some()),
        other => panic!("expected an exception, got {other:?}"),
    }
    assert!(!e.is_exit());
}

#[test]
fn a_text_that_is_thrown_is_the_message_and_the_payload() {
    let told = Error::thrown("the bridge is gone");
    assert_eq!(told.to_string(), "the bridge is gone");
    let Error::Thrown(thrown) = &told else {
        panic!("expected an exception, got {told:?}");
    };
    assert_eq!(thrown.downcast_ref(), Some(&"the bridge is gone"));
    let owned = Error::thrown(String::from("so is the ford"));
    assert_eq!(owned.to_string(), "so is the ford");
    // Any other payload has the name of its type.
    assert_eq!(Error::thrown(5).to_string(), "i32");
}

#[test]
fn errors_are_small_and_copies_share_the_payload() {
    assert!(std::mem::size_of::<Error>() <= 2 * std::mem::size_of::<usize>());
    let e = oops(1);
    let copy = e.clone();
    match (&e, &copy) {
        (Error::Thrown(a), Error::Thrown(b)) => {
            assert!(std::ptr::eq(
                a.downcast_ref::<Oops>().unwrap(),
                b.downcast_ref::<Oops>().unwrap()
            ));
        }
        _ => panic!("both are thrown errors"),
    }
}

#[test]
fn a_panic_payload_survives_the_way_to_main() {
    fresh(|s| {
        s.spawn(|| panic_with(Oops(77)));
        match hardswitch::run() {
            Err(Error::Panicked(payload)) => {
                assert_eq!(payload.downcast_ref::<Oops>(), Some(&Oops(77)))
            }
            other => panic!("expected the panic, got {other:?}"),
        }
    });
}

#[test]
fn each_tasklet_has_its_own_panic() {
    // A panic that is being handled in one tasklet does not show in another.
    fresh(|s| {
        let log = Log::default();
        let seen = log.clone();
        s.spawn(move || {
            let caught = std::panic::catch_unwind(|| panic_with(1));
            hardswitch::schedule()?;
            seen.add(format!("{} {}", caught.is_err(), std::thread::panicking()));
            Ok::<_, Error>(())
        });
        let seen = log.clone();
        s.spawn(move || seen.add(std::thread::panicking()));
        hardswitch::run().unwrap();
        assert_eq!(log.take(), "false true false");
    });
}
