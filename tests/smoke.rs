use hardswitch::{Channel, Error, Result, Settings, Tasklet};
use std::cell::RefCell;
use std::rc::Rc;

fn sliced<F: FnOnce() -> Result<()> + 'static>(f: F) -> Tasklet {
    unsafe { Tasklet::builder().sliced() }.spawn(f).unwrap()
}

#[test]
fn two_tasklets_talk() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let ch = Channel::new();
    for i in 0..3 {
        let (ch, log) = (ch.clone(), log.clone());
        hardswitch::spawn(move || {
            ch.send(i)?;
            log.borrow_mut().push(format!("s{i}"));
            Ok(())
        })
        .unwrap();
    }
    for i in 0..3 {
        let (ch, log) = (ch.clone(), log.clone());
        hardswitch::spawn(move || {
            let v = ch.receive()?;
            assert_eq!(v, i);
            log.borrow_mut().push(format!("r{i}"));
            Ok(())
        })
        .unwrap();
    }
    hardswitch::run().unwrap();
    assert_eq!(log.borrow().join(" "), "r0 r1 r2 s0 s1 s2");
}

#[test]
fn sliced_tasklets_share_one_window() {
    Settings {
        windows: 1,
        ..Settings::default()
    }
    .apply()
    .unwrap();
    let ch: Channel<String> = Channel::new();
    let sum = Rc::new(RefCell::new(0usize));
    for i in 0..100usize {
        let (rx, sum) = (ch.clone(), sum.clone());
        sliced(move || {
            let mut local = [i as u64; 40];
            for _ in 0..10 {
                let s = rx.receive()?;
                std::hint::black_box(&mut local);
                assert!(local.iter().all(|&v| v == i as u64));
                *sum.borrow_mut() += s.len();
            }
            Ok(())
        });
        let tx = ch.clone();
        sliced(move || {
            for k in 0..10 {
                tx.send(format!("{i} {k}"))?;
            }
            Ok(())
        });
    }
    hardswitch::run().unwrap();
    assert!(*sum.borrow() > 3000);
    let stats = hardswitch::stats();
    assert_eq!(stats.tasklets, 1);
    assert_eq!(stats.slice_bytes, 0);
    assert!(stats.copied_bytes > 10_000);
}

#[test]
fn panics_reach_run() {
    hardswitch::spawn(|| -> Result<()> { panic!("boom") }).unwrap();
    match hardswitch::run() {
        Err(Error::Panicked(p)) => assert_eq!(p.message(), "boom"),
        other => panic!("{other:?}"),
    }
    let t = hardswitch::spawn(|| -> Result<()> { hardswitch::schedule_remove() }).unwrap();
    hardswitch::run().unwrap();
    assert!(t.is_paused());
    drop(t);
    assert_eq!(hardswitch::stats().tasklets, 1);
}
