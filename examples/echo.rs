//! A server and its clients in one thread, without a callback: `cargo run --example echo`.
//!
//! It prints:
//!
//! ```text
//! 100 clients have heard what they said
//! ```

use hardswitch::net::{TcpListener, TcpStream};
use hardswitch::{spawn, MainLoop, Result};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;

const CLIENTS: usize = 100;

fn serve(listener: TcpListener) -> Result<()> {
    for _ in 0..CLIENTS {
        let (mut stream, _) = listener.accept()?;
        spawn(move || -> Result<()> {
            let mut bytes = [0; 256];
            loop {
                match stream.read(&mut bytes)? {
                    0 => return Ok(()),
                    n => stream.write_all(&bytes[..n])?,
                }
            }
        })?;
    }
    Ok(())
}

fn ask(to: SocketAddr, word: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(word.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    Ok(heard == word)
}

fn main() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    spawn(move || serve(listener))?;
    let heard = Rc::new(Cell::new(0));
    for number in 0..CLIENTS {
        let heard = heard.clone();
        spawn(move || {
            if ask(address, &format!("hello from {number}"))? {
                heard.set(heard.get() + 1);
            }
            Ok(())
        })?;
    }
    MainLoop::current()?.run_until_idle()?;
    println!("{} clients have heard what they said", heard.get());
    Ok(())
}
