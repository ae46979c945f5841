//! Random crowds of sockets for the filter over `poll` and `select`: `fuzz::shim`.

fn main() {
    fuzz::for_each_seed("shim", &fuzz::Arguments::parse(), fuzz::shim::run);
}
