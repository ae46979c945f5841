//! Whatever way tasklets leave their sockets, no descriptor stays open. A program of its own:
//! others would open some meanwhile.

use hardswitch::net::{TcpListener, TcpStream};
use hardswitch::{spawn, MainLoop, Tasklet};
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn round(main_loop: &MainLoop) {
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let addr = listener.local_addr().unwrap();
    let mut tasklets: Vec<Tasklet> = vec![];
    for i in 0..12 {
        let acceptor = listener.clone();
        tasklets.push(spawn(move || drop(acceptor.accept())).unwrap());
        tasklets.push(
            spawn(move || -> hardswitch::Result<()> {
                let mut stream = TcpStream::connect(addr)?;
                stream.write_all(b"x")?;
                match i % 4 {
                    0 => stream.close(),
                    1 => drop(stream.try_clone()?),
                    2 => stream.set_read_timeout(Some(Duration::from_millis(5)))?,
                    _ => {}
                }
                let _nothing_comes = stream.read(&mut [0])?;
                Ok(())
            })
            .unwrap(),
        );
        // Given up in the middle of connecting: nobody accepts beyond the kernel's queue, and kills
        // come early.
        tasklets.push(spawn(move || drop(TcpStream::connect(addr))).unwrap());
    }
    let _ = main_loop.tick();
    for tasklet in &tasklets[20..] {
        tasklet.kill().unwrap();
    }
    for _ in 0..20 {
        // Uncaught errors of tasklets (resets) come out here; they are expected.
        let _ = main_loop.tick();
        std::thread::sleep(Duration::from_millis(1));
    }
    for tasklet in &tasklets {
        tasklet.kill().unwrap();
    }
    drop(listener);
    let nobody = addr;
    assert!(TcpStream::connect(nobody).is_err());
    assert_eq!(main_loop.waiting(), (0, 0));
}

#[test]
fn no_descriptor_and_no_waiter_is_left() {
    let main_loop = MainLoop::current().unwrap();
    round(&main_loop);
    let before = open_descriptors();
    for _ in 0..5 {
        round(&main_loop);
    }
    assert_eq!(open_descriptors(), before);

    // A thread that ends takes its loop with it, and the sockets of tasklets that still waited.
    for _ in 0..5 {
        std::thread::spawn(|| {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            spawn(move || drop(listener.accept())).unwrap();
            MainLoop::current().unwrap().tick().unwrap();
        })
        .join()
        .unwrap();
    }
    assert_eq!(open_descriptors(), before);
}
