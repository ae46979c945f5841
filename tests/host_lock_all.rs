//! A host lock that all threads join. A process of its own: it would be the lock of other tests'
//! threads as well.

use hardswitch::thread::{allow_threads, Channel, HostLock};
use hardswitch::MainLoop;
use std::sync::mpsc;
use std::thread;

#[test]
fn an_installed_lock_is_everybodys() {
    let (tx, rx) = mpsc::channel();
    let (ask, asked) = mpsc::channel::<()>();
    // One that is there already, and one that has a lock of its own.
    let there = thread::spawn(move || {
        let main_loop = MainLoop::current().unwrap();
        tx.send((hardswitch::thread_id(), main_loop.remote()))
            .unwrap();
        main_loop.run().unwrap();
        HostLock::current()
    });
    let (id, remote) = rx.recv().unwrap();
    let own = HostLock::new(Default::default());
    let theirs = own.clone();
    let (ready, begun) = mpsc::channel();
    let apart = thread::spawn(move || {
        theirs.join().unwrap();
        ready.send(()).unwrap();
        allow_threads(|| asked.recv()).unwrap();
        hardswitch::schedule().unwrap();
        HostLock::current()
    });
    begun.recv().unwrap();

    let lock = HostLock::new(Default::default());
    lock.install().unwrap();
    assert_eq!(lock.owner().unwrap().thread, hardswitch::thread_id());
    // It answers when it has got the lock, which we give up meanwhile.
    let info = hardswitch::thread::info(id).unwrap();
    assert_eq!(info.main.thread(), Some(id));

    let new = thread::spawn(|| {
        assert_eq!(HostLock::current(), None);
        let channel = Channel::new();
        assert_eq!(
            channel.try_send(1).unwrap_err().1,
            Some(1),
            "the first use of the library"
        );
        HostLock::current()
    });
    // A worker's job may use the library; it blocks, so it does not join.
    let channel = Channel::new();
    let given = channel.clone();
    let worker = hardswitch::offload::call(move || {
        let refused = given.try_send(1).is_err();
        (refused, HostLock::current())
    });
    assert_eq!(worker.unwrap(), (true, None));
    // Unless it asks for it, for this one job.
    let theirs = lock.clone();
    hardswitch::offload::call(move || theirs.join().unwrap()).unwrap();
    assert_eq!(
        hardswitch::offload::call(HostLock::current).unwrap(),
        None,
        "the next job"
    );

    ask.send(()).unwrap();
    remote.stop();
    let [new, there, apart] =
        allow_threads(|| [new.join(), there.join(), apart.join()]).map(Result::unwrap);
    assert_eq!((new, there), (Some(lock.clone()), Some(lock.clone())));
    assert_eq!(apart, Some(own));

    assert_eq!(HostLock::uninstall(), Some(lock.clone()));
    let late = thread::spawn(|| {
        hardswitch::schedule().unwrap();
        HostLock::current()
    });
    assert_eq!(late.join().unwrap(), None);
    lock.leave();
    assert_eq!(lock.owner(), None);
}
