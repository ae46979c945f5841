//! A host lock is installed instead of another one, whose end that is. A process of its own, as for
//! `host_lock_all.rs`.

use hardswitch::thread::HostLock;
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

/// Owned by the hook of a lock.
struct Uninstalls(mpsc::Sender<Option<HostLock>>);

impl Drop for Uninstalls {
    fn drop(&mut self) {
        self.0.send(HostLock::uninstall()).unwrap();
    }
}

#[test]
fn a_lock_that_is_replaced_may_use_the_library_as_it_goes() {
    let (tell, told) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let second = HostLock::new(Default::default());
    let installs = second.clone();
    thread::spawn(move || {
        // It is there already, so it does not join the first one by itself.
        ready.send(hardswitch::thread_id()).unwrap();
        goes.recv().unwrap();
        installs.install().unwrap();
    });
    is_ready.recv().unwrap();
    let first = thread::spawn(move || {
        let (lock, last) = (HostLock::new(Default::default()), Uninstalls(tell));
        lock.set_hook(Some(Arc::new(move |_| {
            let _ = &last;
        })));
        lock.install().unwrap();
        lock.leave();
    });
    first.join().unwrap();
    go.send(()).unwrap();
    let found = told.recv_timeout(Duration::from_secs(10));
    let expected = Ok(Some(second));
    assert_eq!(
        found, expected,
        "the old one goes when the new one is there"
    );
}
